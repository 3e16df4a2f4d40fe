"""The Gram operator F Gᵀ."""

from ntkspec.operators.base import KernelOperator, paired_factors


class Gram(KernelOperator):
    r"""K = F Gᵀ for features F (n, k) and G (n', k); G defaults to F.

    :math:`\Theta_2` is ``Gram(phi / sqrt(m))``, :math:`\Theta^{lin}` is ``Gram(psi(X))`` (equations (5), (9), (11)).
    Keeps references to F and G. A product costs 2 k (n + n') flops for each vector, a tile 2 k flops an entry.
    """

    def __init__(self, F, G=None):
        self.F, self.G, self.engine = paired_factors(F, G, "the features")
        self.symmetric = self.G is self.F
        self.shape, self.dtype = (self.F.shape[0], self.G.shape[0]), self.F.dtype
        self.tile_flops = 2.0 * self.F.shape[1]
        self.product_flops = 2.0 * self.F.shape[1] * sum(self.shape)

    def accumulate(self, out, rows, cols, scale=1.0):
        self.engine.add_product(out, self.F[rows], self.G[cols], scale)

    def factored_product(self, V):
        return self.F @ (self.G.T @ V)

    def diagonal(self):
        return self.engine.xp.einsum("ik,ik->i", self.F, self.G)

    @property
    def T(self):
        return self if self.symmetric else Gram(self.G, self.F)

    def thin_factors(self):
        return self.F, self.G
