"""A matrix that is already there."""

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.work import Work


class Dense(KernelOperator):
    """An array (n, n') as an operator; ``symmetric`` says that it equals its transpose, which is not checked."""

    grams = ()

    def __init__(self, matrix, *, symmetric: bool = False):
        self.matrix = checks.as_matrix(matrix, "the matrix")
        self.engine = engine_of(self.matrix)
        self.symmetric = symmetric
        self.shape, self.dtype = self.matrix.shape, self.matrix.dtype
        self.product_work = Work(bytes=float(self.matrix.nbytes))
        self.stored_work = Work(entries=1.0, bytes=float(self.dtype.itemsize))

    def accumulate(self, out, tile, scale=1.0):
        self.engine.add_scaled(out, self.matrix[tile.rows, tile.cols], scale)

    def factored_product(self, V):
        return self.matrix @ V

    def _product(self, V):
        return self.factored_product(V)

    def diagonal(self):
        return self.engine.xp.array(self.matrix.diagonal())

    def to_dense(self):
        return self.matrix

    @property
    def T(self):
        return self if self.symmetric else Dense(self.matrix.T)
