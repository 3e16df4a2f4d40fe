"""The Gram operator F Gᵀ."""

from ntkspec.operators.base import KernelOperator, paired_factors
from ntkspec.operators.work import Work

# Up to this many features are added feature by feature; more go through a matrix product.
THIN = 4


class Gram(KernelOperator):
    r"""K = F Gᵀ for features F (n, k) and G (n', k); G defaults to F.

    :math:`\Theta_2` is ``Gram(phi) / m``, the linear models are sums of ``Gram(X)`` and a ``Gram`` of two features
    (equations (5), (9), (11)). Keeps references to F and G.
    A product costs 2 k (n + n') flops for each vector, a tile 2 k flops an entry.
    """

    def __init__(self, F, G=None):
        self.F, self.G, self.engine = paired_factors(F, G, "the features")
        self.symmetric = self.G is self.F
        self.shape, self.dtype = (self.F.shape[0], self.G.shape[0]), self.F.dtype
        self.grams = ((self.F, self.G),)
        self.product_work = Work(bytes=float(self.F.shape[1] * sum(self.shape) * self.dtype.itemsize))

    def accumulate(self, out, tile, scale=1.0):
        if self.F.shape[1] <= THIN:
            xp = self.engine.xp
            self.engine.add_thin(out, self.F[tile.rows], xp.ascontiguousarray(self.G[tile.cols].T), scale)
        else:
            self.engine.add_scaled(out, tile.gram(self.F, self.G), scale)

    def factored_product(self, V):
        return self.F @ (self.G.T @ V)

    def diagonal(self):
        return self.engine.xp.einsum("ik,ik->i", self.F, self.G)

    @property
    def T(self):
        return self if self.symmetric else Gram(self.G, self.F)

    def thin_factors(self):
        return self.F, self.G
