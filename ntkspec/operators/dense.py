"""A matrix that is already there."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.operators.layout import whole_points
from ntkspec.operators.stored import Stored
from ntkspec.operators.tiles import Tile, taken
from ntkspec.operators.work import Cost, Work

# A matrix counts as symmetric up to this many eps of its dtype, in Frobenius norm.
SYMMETRY_EPS = 16
# Entries from which a product is worth the time to wake the other workers.
SHARED_FROM = 2**18


class Dense(Stored):
    """An array (n, n') as an operator.

    Parameters
    ----------
    matrix : array, shape (n, n'), float32 or float64
        Kept, not copied: it must not be changed afterwards.
    symmetric : bool, optional
        None looks at the matrix: it is symmetric where ‖A - Aᵀ‖_F is no more than rounding (16 eps of its dtype times
        ‖A‖_F). True asks for that; False takes the matrix as it is.
    storage_error : float, default 0
        How far in Frobenius norm the array is from the kernel that it stands for.
    rows_per_point : int, default 1
        K where each of K outputs of a network has a row, point-major.

    Raises
    ------
    ValueError
        Where it holds NaN or infinity, or is not symmetric and was said to be; where ``rows_per_point`` does not divide
        the rows and the columns.

    Notes
    -----
    Products of a symmetric matrix read one triangle only; its distance from (A + Aᵀ) / 2 is added to ``storage_error``.
    Looking costs one pass over the matrix. A square matrix that is strided both ways is copied once.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Dense
    >>> Dense(np.ones((2, 2))).symmetric, Dense(np.triu(np.ones((2, 2)))).symmetric
    (True, False)
    """

    def __init__(
        self,
        matrix: ArrayLike,
        *,
        symmetric: bool | None = None,
        storage_error: float = 0.0,
        rows_per_point: int = 1,
    ):
        self.matrix = checks.as_floats(matrix, "the matrix")
        if self.matrix.ndim != 2 or self.matrix.size == 0:
            checks.as_matrix(self.matrix, "the matrix")
        self.engine = engine_of(self.matrix)
        self.shape, self.dtype = self.matrix.shape, self.matrix.dtype
        self.rows_per_point = whole_points(self.shape, rows_per_point)
        self._rows: Any = self._along_rows() if self.shape[0] == self.shape[1] else None
        self.frobenius_squared, self.defect = self._look()
        self.symmetric = self._decide(symmetric, self.defect)
        self.storage_error = storage_error + (self.defect / 2 if self.symmetric else 0.0)
        size = self.matrix.nbytes / (2 if self.symmetric else 1)
        product = Work.of_reading(size, self.engine.last_cache())
        self.cost = Cost(product, own=Work(entries=1.0) + self.dtype.itemsize / size * product)
        self.rounding_depth = float(self.shape[1])

    def _look(self) -> tuple[float, float]:
        """The sum of squares, and |A - Aᵀ|_F (infinite where A is not square); refuses NaN and infinity."""
        if self.shape[0] == self.shape[1]:
            look = partial(self.engine.symmetric.squares_and_defect, self._rows)
            parts = self.engine.run(lambda share: look(*share), self._shares(128))
            squares, defect = (math.fsum(part) for part in zip(*parts, strict=True))
        else:
            squares, defect = float(self.engine.tiles.sum_of_squares(self.matrix)), math.inf
        if not math.isfinite(squares):
            checks.as_matrix(self.matrix, "the matrix")
        if not math.isfinite(squares) or (squares < 1e-290 and self.matrix.any()):
            size = float(abs(self.matrix).max())
            raise ValueError(f"the matrix has entries up to {size:.3g}, whose squares float64 does not hold; scale it")
        return squares, math.sqrt(defect)

    def _decide(self, symmetric: bool | None, defect: float) -> bool:
        allowed = SYMMETRY_EPS * float(np.finfo(self.dtype).eps) * math.sqrt(self.frobenius_squared)
        if symmetric and not defect <= allowed:
            raise ValueError(
                f"the matrix (shape {self.shape}) was said to be symmetric, but |A - A.T| = {defect:.3g} in Frobenius "
                f"norm, while rounding explains {allowed:.3g}; pass (A + A.T) / 2 where its symmetric part is meant"
            )
        return defect <= allowed if symmetric is None else symmetric

    def _along_rows(self):
        """The matrix with its rows in one piece each, as the loops need it: itself, its transpose, or a copy."""
        if self.dtype.itemsize in self.matrix.strides:
            return self.matrix if self.matrix.strides[1] == self.dtype.itemsize else self.matrix.T
        return self.engine.xp.ascontiguousarray(self.matrix)

    def _shares(self, multiple: int) -> list[tuple[int, int]]:
        """First and last rows of equal parts of the lower triangle, at multiples of so many rows."""
        n = self.shape[0]
        parts = len(self.engine.shares(n)) if self.matrix.size > SHARED_FROM else 1
        ends = [min(n, round(n * (k / parts) ** 0.5 / multiple) * multiple) for k in range(parts)] + [n]
        return [(first, last) for first, last in itertools.pairwise(ends) if first < last]

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        self.engine.terms.add_scaled(out, self.matrix[tile.rows, tile.cols], scale)

    def _matmat(self, V: Array) -> Array:
        """``K @ V``; of a symmetric matrix the lower triangle is read once for all vectors."""
        if not self.symmetric:
            return self._rows_times(V)
        n, loops = self.shape[0], self.engine.symmetric
        right = loops.room(V.shape[1], n, V.dtype)
        right[:, :n] = V.T

        def add(share):
            out = loops.room(V.shape[1], n, right.dtype)
            loops.product(self._rows, share[0], share[1], right, out)
            return out

        total, *others = self.engine.run(add, self._shares(64))
        for part in others:
            total += part
        return total[:, :n].T

    def _rows_times(self, V):
        """Row blocks in the dtype of V, which a float32 matrix takes block by block."""
        out = self.engine.xp.empty((self.shape[0], V.shape[1]), V.dtype)

        def fill(share):
            for rows in self.engine.blocks(share, self.shape[1]):
                out[rows] = taken(self.matrix, rows, V.dtype) @ V

        self.engine.run(fill, self.engine.shares(self.shape[0]))
        return out

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        return self.engine.xp.array(self.matrix.diagonal(), dtype or self.dtype)

    def to_dense(self, dtype: DTypeLike | None = None) -> Array:
        return self.matrix.astype(dtype or self.dtype, copy=False)

    @property
    def T(self) -> "Dense":
        if self.symmetric:
            return self
        return Dense(self.matrix.T, symmetric=False, rows_per_point=self.rows_per_point)
