"""The Gram operator F Gᵀ."""

from collections.abc import Iterator

from ntkspec.engines.arrays import Array, ArrayElsewhere, ArrayLike, DTypeLike
from ntkspec.engines.terms import HadamardTerm, LowRankTerm
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.factors import paired_factors, summing_depth
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.tiles import Tile, taken
from ntkspec.operators.work import Cost, Work

# Up to this many features are added feature by feature; more go through a matrix product.
THIN = 4


class Gram(KernelOperator):
    r"""K = F Gᵀ for features F and G.

    :math:`\Theta_2` is ``Gram(phi) / m``, the linear models are sums of ``Gram(X)`` and a ``Gram`` of two features
    (equations (5), (9), (11)).

    Parameters
    ----------
    F : array, shape (n, k), float32 or float64
        Features of the rows.
    G : array, shape (n', k), optional
        Features of the columns, of the dtype of F; F where it is None.

    Raises
    ------
    ValueError
        For shapes that do not fit and for NaN; TypeError for other dtypes.

    Notes
    -----
    Keeps references to F and G. A product costs 2 k (n + n') flops for each vector, a tile 2 k flops an entry.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eqs. (5), (9), (11).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Gram
    >>> F = np.array([[1.0], [2.0]])
    >>> Gram(F).to_dense()
    array([[1., 2.],
           [2., 4.]])
    """

    entrywise = True

    def __init__(self, F: ArrayLike, G: ArrayLike | None = None):
        self.F, self.G, self.engine = paired_factors(F, G, "the features")
        self.symmetric = self.semidefinite = self.G is self.F
        self.shape, self.dtype = (self.F.shape[0], self.G.shape[0]), self.F.dtype
        size = float(self.F.shape[1] * sum(self.shape) * self.dtype.itemsize)
        product = Work.of_reading(size, self.engine.last_cache())
        self.cost = Cost(product, grams=((self.F, self.G),))

    def tile_terms(self, tile: Tile, scale: float = 1.0) -> Iterator[HadamardTerm | LowRankTerm]:
        if self.F.shape[1] <= THIN:
            yield LowRankTerm(scale, taken(self.F, tile.rows, tile.dtype), taken(self.G, tile.cols, tile.dtype))
        else:
            yield HadamardTerm(scale, tile.gram(self.F, self.G))

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        self.engine.terms.add(out, self.tile_terms(tile, scale))

    def _matmat(self, V: Array) -> Array:
        return self.local_jvp(self.local_vjp(V))

    def local_vjp(self, V: Array) -> Array:
        """Gᵀ V, (k, b): it adds up over parts of the points."""
        k, blocks = self.F.shape[1], self.engine.blocks

        def gather(share):
            return sum(taken(self.G, rows, V.dtype).T @ V[rows] for rows in blocks(share, k))

        return sum(self.engine.run(gather, self.engine.shares(self.shape[1])))

    def local_jvp(self, total: Array) -> Array:
        """F times the total."""
        k, blocks = self.F.shape[1], self.engine.blocks
        out = self.engine.xp.empty((self.shape[0], total.shape[1]), total.dtype)

        def scatter(share):
            for rows in blocks(share, k):
                out[rows] = taken(self.F, rows, total.dtype) @ total

        self.engine.run(scatter, self.engine.shares(self.shape[0]))
        return out

    @cached_property
    def rounding(self) -> Rounding:
        """The norm of absolute values is at most ‖F‖_F ‖G‖_F."""
        norms = [self.engine.tiles.sum_of_squares(factor) ** 0.5 for factor in (self.F, self.G)]
        k = self.F.shape[1]
        depth = k + summing_depth(self.engine.blocks(slice(0, self.shape[1]), k))
        return Rounding.of_path(depth, float(norms[0] * norms[1]))

    def against(self, other: "Gram") -> "Gram":
        """The kernel of its rows with those of another."""
        return Gram(self.F, other.F)

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        return self.engine.linalg.row_products(self.F, self.G, dtype or self.dtype)

    @property
    def T(self) -> "Gram":
        return self if self.symmetric else Gram(self.G, self.F)

    def low_rank_factors(self) -> tuple[Array, Array]:
        return self.F, self.G


def gram_of(F: Array) -> KernelOperator:
    """F Fᵀ, also of features whose rows lie elsewhere."""
    return F.engine.gram(F) if isinstance(F, ArrayElsewhere) else Gram(F)
