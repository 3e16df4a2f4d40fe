"""A matrix that is already there."""

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.operators.base import KernelOperator


class Dense(KernelOperator):
    """An array (n, n') as an operator; ``symmetric`` says that it equals its transpose, which is not checked."""

    def __init__(self, matrix, *, symmetric: bool = False):
        self.matrix = checks.as_matrix(matrix, "the matrix")
        self.engine = engine_of(self.matrix)
        self.symmetric = symmetric
        self.shape, self.dtype = self.matrix.shape, self.matrix.dtype
        self.tile_flops = 1.0
        self.product_flops = 2.0 * self.matrix.size

    def accumulate(self, out, rows, cols, scale=1.0):
        out += self.dtype.type(scale) * self.matrix[rows, cols]

    def factored_product(self, V):
        return self.matrix @ V

    def diagonal(self):
        return self.engine.xp.array(self.matrix.diagonal())

    def to_dense(self):
        return self.matrix

    @property
    def T(self):
        return self if self.symmetric else Dense(self.matrix.T)
