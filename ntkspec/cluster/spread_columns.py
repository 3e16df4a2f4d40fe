"""A kernel of a few test points against points that lie on workers."""

import math
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.cluster import pieces
from ntkspec.cluster.in_parts import InParts
from ntkspec.cluster.parts import Parts
from ntkspec.cluster.pieces import Facts
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.cluster.workers import Result
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import Rounding
from ntkspec.operators.rounding import HALF_ULP


class SpreadColumns(InParts):
    """A kernel (t, n): what :func:`ntkspec.predict_gd` and :func:`ntkspec.posterior` take for test points. Products are
    arrays of NumPy, the matrix is spread."""

    entrywise = True

    def __init__(self, parts: Parts, operators: Sequence[Result], facts: Sequence[Facts]):
        super().__init__(parts, operators, facts)
        self.shape = (facts[0].shape[0], parts.n * self.rows_per_point)

    def __matmul__(self, V: ArrayLike) -> Array:
        """``K @ V``, an array of NumPy: the rows of all parts add up."""
        block = self._block(V)
        total = self.parts.total(pieces.multiplied_on_host, self.operators, block.pieces)
        return total.reshape(self.shape[0], *np.shape(V)[1:])

    @property
    def rounding(self) -> Rounding:
        """Parts add up."""
        found = [one.rounding for one in self.facts]
        total, products, entries = (
            sum(getattr(one, name) for one in found)
            for name in ("norm_of_absolute", "matvec_error_bound", "forming_error_bound")
        )
        return Rounding(total, products + len(found) * HALF_ULP * total, entries)

    @cached_property
    def _squares(self) -> tuple[float, float]:
        """Of all parts."""
        found = self.parts.workers.answers(self.parts.map(pieces.squares, self.operators, self.parts.same(None)))
        return checks.finite_sum(size for size, _ in found), math.fsum(error for _, error in found)

    def to_dense(self, dtype: DTypeLike | None = None) -> SpreadArray:  # type: ignore[override]
        """The matrix (t, n), the columns of each part on its worker."""
        dtype = np.dtype(dtype or self.dtype)
        found = self.parts.map(pieces.dense, self.operators, self.parts.same(dtype))
        return SpreadArray(self.parts, found, self.shape, dtype, 1)
