"""A matrix whose entries take two values, stored as one bit each."""

from typing import Any

import numpy as np

from ntkspec.engines import OnEngine, engine_of
from ntkspec.engines.arrays import Array
from ntkspec.engines.terms import Levels
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.tiles import Rows, slices
from ntkspec.operators.work import Work

# Parts of the points whose sums are added up in a fixed order; points and lines looked up that are worth a part.
PARTS, POINTS_OF_A_PART, LINES_OF_A_PART = 16, 1000, 1e6
# Flops of a matrix product that take as long as a line.
FLOPS_OF_A_LINE = 50.0


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
    weights : array, shape (m,), optional
        Numbers that the columns are multiplied with; none unless given.

    Notes
    -----
    With the bits B and their row sums p, the Gram matrix is
    :math:`m\,low^2 + low\,(high - low)(p_i + p_j) + (high - low)^2 (B B^T)_{ij}`, and B Bᵀ is AND and popcount: exact
    integers; with weights it is that of unpacked rows. Takes m / 8 bytes a row; ``bits[rows]`` unpacks rows to an
    array of the dtype.

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

    def __init__(
        self,
        words: Array,
        columns: int,
        values: tuple[float, float],
        dtype: np.dtype,
        weights: Array | None = None,
    ):
        self.words, self.engine, self.weights = words, engine_of(words), weights
        self.low, self.high = values[0], values[1]
        self.shape, self.dtype, self.ndim = (words.shape[0], columns), dtype, 2

    def __getitem__(self, rows: Rows) -> Array:
        return self.unpacked(rows, self.dtype)

    def unpacked(self, rows: Rows, dtype: np.dtype) -> Array:
        """``self[rows]`` as numbers of another dtype."""
        found = self.engine.bits.unpack(self.words[rows], self.shape[1], (self.low, self.high), dtype)
        return found if self.weights is None else found * self.weights.astype(dtype, copy=False)

    @property
    def counts(self) -> bool:
        """Whether Gram matrices are counts of common ones."""
        return self.weights is None

    def gram(self, rows: Rows, other: "Bits", cols: slice, dtype: np.dtype) -> Any:
        """``self[rows] @ other[cols].T`` as a factor of parts: without unpacking m / 64 words of AND and popcount."""
        alike = (self.low, self.high) == (other.low, other.high)
        if not (alike and self.counts and other.counts):
            return self.unpacked(rows, dtype) @ other.unpacked(cols, dtype).T
        return self.engine.bits.gram(self.words[rows], other.words[cols], self._levels(rows, other, cols), dtype)

    def _levels(self, rows, other: "Bits", cols: slice) -> Levels | None:
        """None where the values are 0 and 1, and the Gram matrix is that of the bits."""
        if (self.low, self.high) == (0.0, 1.0):
            return None
        step = self.high - self.low
        weights = step**2, self.low * step, self.low**2 * self.shape[1]
        return Levels(*weights, self._ones[rows], other._ones[cols])

    # ------------------------------------------------------------------------------------- products with numbers
    @property
    def products(self) -> Any:
        """Products with numbers by sums that are looked up, in one thread; None where the engine has none."""
        return self.engine.lookups.products(self.words, self.shape[1], (self.low, self.high))

    def works(self, numbers: int) -> tuple[Work, Work] | None:
        """What a row takes of :meth:`gather` and of :meth:`scatter`, where points have so many numbers; None where
        multiplications are sooner, which counts no rows, so that all parts of the points choose alike."""
        if self.products is None:
            return None
        columns, size = self.shape[1], self.dtype.itemsize
        read = Work(cached=columns / 8 + numbers * size)  # fetched ahead, also from memory
        gathered, scattered = (Work(lookups=lines) + read for lines in self.products.work(numbers, self.dtype))
        multiplied = Work(flops=4.0 * columns * numbers * size / 4)  # float64 takes as long as two of float32
        sooner = (gathered + scattered).nominal_seconds < multiplied.nominal_seconds
        return (gathered, scattered) if sooner else None

    def gather(self, X: Array, V: Array) -> Array:
        """selfᵀ diag(v) X for each column v of V, as ``products`` leave it: it adds up over parts of the points.

        The same for any number of workers: the sums of a few parts of the rows are added in their order.
        """
        products, n = self.products, self.shape[0]
        lines = n * V.shape[1] * products.work(X.shape[1], V.dtype)[0]
        count = int(min(PARTS, 1 + n / POINTS_OF_A_PART, 1 + lines / LINES_OF_A_PART))
        found = self.engine.run(lambda rows: products.gather(rows, X, V), slices(n, -(-n // count)))
        return self._weighted(sum(found[1:], start=found[0]))

    def scatter(self, X: Array, total: Array) -> Array:
        """d_i · (G x_i) for each row i and each of the G of a :meth:`gather`, (n, k)."""
        products, total = self.products, self._weighted(total)
        lines = len(total) * products.work(X.shape[1], total.dtype)[1]
        shares = self.engine.shares(self.shape[0], FLOPS_OF_A_LINE * lines)
        found = self.engine.run(lambda rows: products.scatter(rows, X, total), shares)
        return self.engine.xp.concatenate(found)

    def _weighted(self, total: Array) -> Array:
        """A result of :meth:`gather` with its rows times the weights of the columns."""
        if self.weights is None:
            return total
        weights = self.engine.xp.zeros(total.shape[2], total.dtype)
        weights[: self.shape[1]] = self.weights
        return total * weights[:, None]

    def depths(self, numbers: int) -> tuple[float, float]:
        """Roundings on the longest path through :meth:`gather` and through :meth:`scatter`, in float64."""
        gathered, scattered = self.products.depth(numbers, self.shape[0])
        return PARTS + gathered + 1, scattered + 1

    def squares_of_parts(self) -> Array:
        """Sums over rows of (w (abs(low) + abs(high - low) bit))², what the rounding of products is relative to."""
        zero, one = self.low**2, (abs(self.low) + abs(self.high - self.low)) ** 2
        if self.weights is None:
            return zero * self.shape[1] + (one - zero) * self._ones
        squares, rows = self.weights.astype(np.float64) ** 2, slice(0, self.shape[0])
        unpack, columns = self.engine.bits.unpack, self.shape[1]
        blocks = self.engine.blocks(rows, columns)
        found = [unpack(self.words[block], columns, (zero, one), np.float64) @ squares for block in blocks]
        return self.engine.xp.concatenate(found)

    @cached_property
    def _ones(self):
        """The number of ones of each row."""
        return self.engine.bits.count_ones(self.words)
