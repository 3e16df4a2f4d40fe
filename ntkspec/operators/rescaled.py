"""A kernel of inputs whose norms have been taken out, with the norms put back."""

from collections.abc import Sequence

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.operators.function import OfPairs
from ntkspec.operators.tiles import Tile
from ntkspec.operators.work import Cost


class Rescaled(OfPairs):
    """K_ij = s_i k_ij s'_j for a kernel k of pairs and positive numbers s (n,) and s' (n',), powers of two.

    Entries keep the relative accuracy of k at any size. Cost: that of k. Keeps references.
    """

    def __init__(self, inner: OfPairs, scales: Sequence[Array]):
        self.inner, self.scales, self.function = inner, scales, inner.function
        self.engine, self.shape, self.dtype = inner.engine, inner.shape, inner.dtype
        self.symmetric, self.semidefinite = inner.symmetric, inner.semidefinite
        self.cost = Cost(inner.cost.product, own=inner.cost.entry)
        self.rounding_depth, self.rows_per_point = inner.rounding_depth, inner.rows_per_point

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        entries = self.inner.tile(tile.rows, tile.cols, tile.dtype)
        # One after the other: their product may be beyond what float64 holds where entries are not.
        entries *= self.scales[0][tile.rows, None]
        entries *= self.scales[-1][tile.cols]
        self.engine.terms.add_scaled(out, entries, scale)

    def own_diagonals(self) -> list[Array]:
        """K(x, x) in float64 of the points of each side, inf where it holds no such number."""
        with np.errstate(over="ignore"):
            return [s * one * s for s, one in zip(self.scales, self.inner.own_diagonals(), strict=True)]

    @property
    def relative_storage_error(self) -> float:
        return self.inner.relative_storage_error

    @property
    def T(self) -> "Rescaled":
        return self if self.symmetric else Rescaled(self.inner.T, self.scales[::-1])
