"""Kernels that are known through their entries."""

from abc import abstractmethod
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import MEASURED_SIDE, KernelOperator
from ntkspec.operators.rounding import ASSUMED_EPS, HALF_ULP, Rounding
from ntkspec.operators.sampling import forming_error
from ntkspec.operators.tiles import Rows, Tile
from ntkspec.operators.work import Cost, Work


class EntrywiseOperator(KernelOperator):
    r"""A matrix that is known through its entries: a subclass sets ``shape`` and ``dtype`` and writes ``_tile``.

    Products form every tile. Where a better product is known, write ``_matmat`` as well.

    Notes
    -----
    What it says of ``rounding`` where a subclass says nothing is an assumption: entries are accurate to ASSUMED_EPS eps
    of its dtype, relative to their own size. ``cost`` is measured on one small tile.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> class Laplace(ns.operators.EntrywiseOperator):
    ...     symmetric = semidefinite = True
    ...     def __init__(self, x):
    ...         self.x, self.shape, self.dtype = x, (len(x), len(x)), x.dtype
    ...     def _tile(self, rows, cols, dtype):
    ...         return np.exp(-abs(self.x[rows, None] - self.x[cols]).astype(dtype))
    >>> float(ns.trace(Laplace(np.arange(5.0))))
    5.0
    """

    entrywise = True

    @abstractmethod
    def _tile(self, rows: Rows, cols: slice, dtype: np.dtype) -> Array:
        """``K[rows, cols]``, computed in ``dtype``, for a slice or an array of rows and a slice of columns."""

    def _matmat(self, V: Array) -> Array:
        return self._tiled_product(V)

    def _rmatmat(self, V: Array) -> Array:
        return self.T._tiled_product(V)

    def _product(self, V: Array) -> Array:
        return self._multiplied(V)

    def _entries(self, tile: Tile) -> Array:
        return self._checked(self._tile(tile.rows, tile.cols, tile.dtype), tile.shape, "_tile")

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        self.engine.terms.add_scaled(out, self._entries(tile), scale)

    def write(self, out: Array, tile: Tile, squares: bool = False) -> Any:
        out[...] = self._entries(tile)
        return self.engine.tiles.sum_of_squares(out) if squares else None

    @cached_property
    def cost(self) -> Cost:
        """Measured: one small tile, and where the class has a product of its own, one of those."""
        rows, cols = (slice(0, min(n, MEASURED_SIDE)) for n in self.shape)
        entry = Work.lasting(self._seconds(lambda: self.tile(rows, cols)) / (rows.stop * cols.stop))
        if type(self)._matmat is not EntrywiseOperator._matmat:
            return Cost(Work.lasting(self._seconds(lambda: self._multiplied(self._units(slice(0, 1))))), own=entry)
        return Cost(self.shape[0] * self.shape[1] * (entry + Work(flops=2.0)), own=entry)

    @cached_property
    def _assumed_rounding(self) -> Rounding:
        size = float(self.diagonal(np.float64).sum()) if self.semidefinite else self._probed_size()
        error = ASSUMED_EPS * float(np.finfo(self.dtype).eps) * size + self.shape[1] * HALF_ULP * size
        return Rounding(size, error, error)

    @cached_property
    def _forming_error(self) -> float:
        """A ``_tile`` that computes in float32 whatever is asked for hides its error from the sample."""
        return max(forming_error(self), self.rounding.forming_error_bound)
