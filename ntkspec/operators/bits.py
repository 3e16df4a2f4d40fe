"""A matrix whose entries take two values, stored as one bit each."""

from ntkspec.engines import engine_of


class Bits:
    r"""An (n, m) matrix with entries ``low`` and ``high``: phi' of a piecewise-linear activation.

    With the bits B and their row sums p, the Gram matrix is
    :math:`m\,low^2 + low\,(high - low)(p_i + p_j) + (high - low)^2 (B B^T)_{ij}`, and B Bᵀ is AND and popcount: exact
    integers. Takes m / 8 bytes a row; ``bits[rows]`` unpacks rows to an array of the dtype.
    """

    def __init__(self, words, columns: int, values: tuple[float, float], dtype):
        self.words, self.engine = words, engine_of(words)
        self.low, self.high = values
        self.shape, self.dtype, self.ndim = (words.shape[0], columns), dtype, 2

    def __getitem__(self, rows: slice):
        bits = self.engine.unpack_bits(self.words[rows], self.shape[1]).astype(self.dtype)
        if (self.low, self.high) != (0.0, 1.0):
            bits *= self.dtype.type(self.high - self.low)
            bits += self.dtype.type(self.low)
        return bits

    def tile(self, rows: slice, other: "Bits", cols: slice):
        """``self[rows] @ other[cols].T`` without unpacking; 2 m / 64 word operations an entry."""
        product = self.engine.count_common(self.words[rows], other.words[cols], self.dtype)
        if (self.low, self.high) == (0.0, 1.0):
            return product
        step = self.high - self.low
        product *= self.dtype.type(step**2)
        cross = self.low * step
        left = cross * self._row_sums(rows) + self.low**2 * self.shape[1]
        product += left.astype(self.dtype)[:, None]
        product += (cross * other._row_sums(cols)).astype(self.dtype)
        return product

    def _row_sums(self, rows: slice):
        return self.engine.unpack_bits(self.words[rows], self.shape[1]).sum(axis=1, dtype="int64")
