"""The geometry of a matrix in tiles, and what is computed once for a tile."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ntkspec.engines.arrays import Array

if TYPE_CHECKING:
    from ntkspec.operators.base import KernelOperator

# Consecutive rows, or an array of row numbers.
Rows: TypeAlias = slice | Array
# A matrix is cut into this many rows of tiles, at least, where it takes longer than so many seconds.
LEAST_ROWS, WORTH_SHARING = 3, 1e-3


class Tile:
    """Rows and columns of a matrix, and what several terms of a sum share there.

    The difference of Theta_1 and Theta^lin1 takes one product X Xᵀ a tile, although both terms hold it. A tile lives as
    long as it is being formed: it keeps those Gram matrices A[rows] B[cols]ᵀ.

    Parameters
    ----------
    rows : slice or array of int
        Row numbers; a slice has both ends.
    cols : slice
        Columns.
    dtype : numpy.dtype
        What entries are computed in, float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Tile
    >>> Tile(slice(2, 5), slice(0, 2), np.dtype(float)).shape
    (3, 2)
    """

    def __init__(self, rows: Rows, cols: slice, dtype: np.dtype):
        self.rows, self.cols, self.dtype = rows, cols, dtype
        self._grams: dict = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the tile."""
        rows = self.rows.stop - self.rows.start if isinstance(self.rows, slice) else len(self.rows)
        return rows, self.cols.stop - self.cols.start

    def gram(self, A: Any, B: Any) -> Any:
        """A[rows] @ B[cols].T, computed when it is first asked for; not to be written to."""
        key = id(A), id(B)
        if key not in self._grams:
            if hasattr(A, "gram"):
                self._grams[key] = A.gram(self.rows, B, self.cols, self.dtype)
            else:
                self._grams[key] = taken(A, self.rows, self.dtype) @ taken(B, self.cols, self.dtype).T
        return self._grams[key]


def taken(A: Any, rows: Rows, dtype: np.dtype) -> Array:
    """``A[rows]`` in a dtype, for an array or :class:`Bits`."""
    return A.unpacked(rows, dtype) if hasattr(A, "unpacked") else A[rows].astype(dtype, copy=False)


def slices(n: int, step: int) -> list[slice]:
    """``range(n)`` in pieces of at most ``step``."""
    return [slice(a, min(a + step, n)) for a in range(0, n, step)]


def tiles(operator: "KernelOperator") -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles of a matrix; of a symmetric one the lower triangle, row by row."""
    side = _side(operator)
    for rows in slices(operator.shape[0], side):
        for cols in slices(operator.shape[1], side):
            if not operator.symmetric or cols.start <= rows.start:
                yield rows, cols


def _side(operator: "KernelOperator") -> int:
    """Rows of a tile: fewer than the engine's where all workers are to have some of a small matrix of much work.

    Whatever their number is, so that the bits do not depend on it. Gradients that a tile computes for all its rows are
    not computed again for smaller ones.
    """
    (n, others), cost, engine = operator.shape, operator.cost, operator.engine
    few = cost.grams and not cost.own.flops and (n * others * cost.entry).nominal_seconds > WORTH_SHARING
    return min(engine.TILE, max(engine.LEAST_TILE, 8 * -(-n // (8 * LEAST_ROWS)))) if few else engine.TILE


def places(n: int, side: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles of the lower triangle, in the order of the blocks of a stored one."""
    rows = slices(n, side)
    return [(one, other) for k, one in enumerate(rows) for other in rows[: k + 1]]


def index(i: int, j: int) -> int:
    """The number of block (i, j), j <= i, in that order."""
    return i * (i + 1) // 2 + j
