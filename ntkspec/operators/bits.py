"""A matrix whose entries take two values, stored as one bit each."""

from typing import Any

import numpy as np

from ntkspec.engines import OnEngine, engine_of
from ntkspec.engines.arrays import Array
from ntkspec.engines.terms import Levels
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.tiles import Rows


class Bits(OnEngine):
    r"""An (n, m) matrix with entries ``low`` and ``high``, one bit each: phi' of a piecewise-linear activation.

    Parameters
    ----------
    words : array, shape (n, ceil(m / 64)), uint64
        The bits, as an engine's ``pack_bits`` writes them.
    columns : int
        m.
    values : (float, float)
        What the bits 0 and 1 stand for.
    dtype : float32 or float64
        What rows are unpacked to.

    Notes
    -----
    With the bits B and their row sums p, the Gram matrix is
    :math:`m\,low^2 + low\,(high - low)(p_i + p_j) + (high - low)^2 (B B^T)_{ij}`, and B Bᵀ is AND and popcount: exact
    integers. Takes m / 8 bytes a row; ``bits[rows]`` unpacks rows to an array of the dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.engines import cpu
    >>> from ntkspec.operators import Bits
    >>> words = cpu.bits.empty(1, 3)
    >>> cpu.bits.pack(words, np.array([[0.0, 1.0, 1.0]]), 1.0)
    >>> Bits(words, 3, (0.0, 1.0), np.dtype(float))[slice(0, 1)]
    array([[0., 1., 1.]])
    """

    def __init__(self, words: Array, columns: int, values: tuple[float, float], dtype: np.dtype):
        self.words, self.engine = words, engine_of(words)
        self.low, self.high = values[0], values[1]
        self.shape, self.dtype, self.ndim = (words.shape[0], columns), dtype, 2

    def __getitem__(self, rows: Rows) -> Array:
        return self.unpacked(rows, self.dtype)

    def unpacked(self, rows: Rows, dtype: np.dtype) -> Array:
        """``self[rows]`` as numbers of another dtype."""
        return self.engine.bits.unpack(self.words[rows], self.shape[1], (self.low, self.high), dtype)

    def gram(self, rows: Rows, other: "Bits", cols: slice, dtype: np.dtype) -> Any:
        """``self[rows] @ other[cols].T`` without unpacking, as a factor of parts; m / 64 words of AND and popcount."""
        return self.engine.bits.gram(self.words[rows], other.words[cols], self._levels(rows, other, cols), dtype)

    def _levels(self, rows, other: "Bits", cols: slice) -> Levels | None:
        """None where the values are 0 and 1, and the Gram matrix is that of the bits."""
        if (self.low, self.high) == (0.0, 1.0):
            return None
        step = self.high - self.low
        weights = step**2, self.low * step, self.low**2 * self.shape[1]
        return Levels(*weights, self._ones[rows], other._ones[cols])

    @property
    def products(self) -> Any:
        """Products with numbers by looked-up sums, where the engine has them."""
        return self.engine.lookups.products(self.words, self.shape[1], (self.low, self.high))

    def squares_of_parts(self) -> Array:
        """Sum over a row of (\\|low\\| + \\|high - low\\| bit)²: what the rounding of such a product is relative to."""
        zero, one = self.low**2, (abs(self.low) + abs(self.high - self.low)) ** 2
        return zero * self.shape[1] + (one - zero) * self._ones

    @cached_property
    def _ones(self):
        """The number of ones of each row."""
        return self.engine.bits.count_ones(self.words)
