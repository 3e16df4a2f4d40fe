"""Kernels of outputs that have nothing in common, as one kernel of all outputs."""

import math
from collections.abc import Sequence
from typing import Any

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.tiles import Rows, Tile
from ntkspec.operators.work import Cost, Work


class Interleaved(KernelOperator):
    """Row i K + k and column j K + k hold entry (i, j) of kernel k; entries of two different outputs are zero.

    kernels : K operators of one shape, dtype and engine. A product costs theirs, on a K-th of the vector each.
    """

    def __init__(self, kernels: Sequence[KernelOperator]):
        self.kernels, first = list(kernels), kernels[0]
        self.rows_per_point = len(self.kernels)
        self.shape = first.shape[0] * len(self.kernels), first.shape[1] * len(self.kernels)
        self.dtype, self.engine = first.dtype, first.engine
        self.symmetric = all(kernel.symmetric for kernel in self.kernels)
        self.semidefinite = all(kernel.semidefinite for kernel in self.kernels)
        self.entrywise = all(kernel.entrywise for kernel in self.kernels)
        self.storage_error = math.hypot(*(kernel.storage_error for kernel in self.kernels))

    @cached_property
    def cost(self) -> Cost:
        """Of a product those of all kernels; of an entry a K-th of theirs, and a pass over the tile."""
        whole = Cost.of_sum(kernel.cost for kernel in self.kernels)
        return Cost(whole.product, own=self.rows_per_point**-2 * whole.entry + Work(entries=1.0))

    @property
    def rounding(self) -> Rounding:
        """That of the worst kernel; of all entries together that of all of them."""
        parts = [kernel.rounding for kernel in self.kernels]
        return Rounding(
            max(part.norm_of_absolute for part in parts),
            max(part.matvec_error_bound for part in parts),
            math.hypot(*(part.forming_error_bound for part in parts)),
        )

    def _matmat(self, V: Array) -> Array:
        each = V.reshape(-1, self.rows_per_point, V.shape[1])
        xp = self.engine.xp
        found = [kernel._multiplied(xp.ascontiguousarray(each[:, k])) for k, kernel in enumerate(self.kernels)]
        return xp.stack(found, axis=1).reshape(self.shape[0], V.shape[1])

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        for k, kernel in enumerate(self.kernels):
            places, rows = self._own(tile.rows, k)
            columns, cols = self._own(tile.cols, k)
            if len(places) and len(columns):
                out[places[:, None], columns] += out.dtype.type(scale) * kernel.tile(rows, cols, tile.dtype)

    def _own(self, rows: Rows, k: int) -> tuple[Array, Any]:
        """(places in a tile, points) of the rows of output k."""
        K, xp = self.rows_per_point, self.engine.xp
        if isinstance(rows, slice):
            first = (k - rows.start) % K
            places = xp.arange(first, rows.stop - rows.start, K)
            point = (rows.start + first) // K
            return places, slice(point, point + len(places))
        places = xp.flatnonzero(rows % K == k)
        return places, rows[places] // K

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        return self.engine.xp.stack([kernel.diagonal(dtype) for kernel in self.kernels], axis=1).ravel()

    @property
    def T(self) -> KernelOperator:
        return self if self.symmetric else Interleaved([kernel.T for kernel in self.kernels])
