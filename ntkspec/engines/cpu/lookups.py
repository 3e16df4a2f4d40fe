"""Products of bits with numbers on the CPU, by sums that are looked up instead of multiplications."""

from typing import Any

import numpy as xp

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.cpu.tables import BITS, ROWS, SUMS, TABLES, WORD, gather_loop, lines, scatter_loop, width
from ntkspec.engines.cpu.words import bend

# Rows whose selections and sums stay in a core's second cache, and rows that one call of a loop takes.
_BLOCK, _SLAB = 42 * ROWS, 336 * ROWS
# Roundings of a sum that is looked up: those in a table, and three rounds of pairs.
_OF_A_SUM = BITS + 3


class LookedUp:
    """Products of an (n, m) matrix D of two values with points (n, d), in one thread.

    Results (m, d) are in lines, (vectors, lines, m or more, numbers of a line), with zeros where there is nothing.
    """

    def __init__(self, words: Array, columns: int, values: tuple[float, float]):
        self.words, self.columns = words, columns
        self.low, self.step = values[0], values[1] - values[0]

    def empty(self, vectors: int, numbers: int, dtype: DTypeLike) -> Array:
        """Zeros in lines."""
        rows = max(WORD * self.words.shape[1], ROWS * -(-self.columns // ROWS))
        return lines(vectors, -(-numbers // width(dtype)), rows, dtype=dtype)

    def gather(self, rows: slice, X: Array, V: Array) -> Array:
        """D[rows]ᵀ diag(v) X[rows] for each column v of V[rows], in lines of the dtype of V."""
        dtype, (k, d) = V.dtype, (V.shape[1], X.shape[1])
        sums, plain = self.empty(k, d, dtype), xp.zeros((k, d), dtype)
        tables = lines(TABLES * SUMS, dtype=dtype)
        index = xp.empty((_BLOCK // ROWS, WORD * self.words.shape[1]), xp.uint64)
        for slab in _slabs(rows, _SLAB):
            weights, x = _plain(V[slab].T), _plain(X[slab])
            if self.low:
                plain += weights @ x.astype(dtype, copy=False)
            for part in _whole(len(x)):
                words, own, factors = _padded(self.words[slab][part]), _padded(x[part]), _padded(weights[:, part].T)
                gather_loop(sums, words, own, _tail(own, dtype), _plain(factors.T), tables, index)
        return self._of_values(sums, plain)

    def _of_values(self, sums: Array, plain: Array) -> Array:
        """step D + low, from the sums of bits and those of all rows."""
        if self.step != 1:
            sums *= sums.dtype.type(self.step)
        if self.low:
            sums[:, :, : self.columns] += self._in_lines(self.low * plain)[:, :, None]
        return sums

    def scatter(self, rows: slice, X: Array, G: Array) -> Array:
        """d_i · (G x_i) for each of the rows and each of the vectors of G, which is in lines: (rows, vectors)."""
        dtype, count = G.dtype, len(G)
        plain = xp.ascontiguousarray(self.low * G[:, :, : self.columns].sum(axis=2)).reshape(count, -1)[:, : X.shape[1]]
        scaled = G if self.step == 1 else self.step * G
        out = xp.empty((rows.stop - rows.start, count), dtype)
        index = xp.empty((-(-self.columns // ROWS), _BLOCK), xp.uint64)
        tables, sums, total = (lines(size, dtype=dtype) for size in (TABLES * SUMS, _BLOCK, _BLOCK))
        for slab in _slabs(rows, _SLAB):
            x, own = _plain(X[slab]), out[slab.start - rows.start : slab.stop - rows.start]
            ones = xp.ones(ROWS, dtype)
            scatter_loop(own, _plain(self.words[slab]), x, _tail(x, dtype), scaled, ones, tables, index, sums, total)
            if self.low:
                own += x.astype(dtype, copy=False) @ plain.T
        return out

    def activate(self, rows: slice, inputs: Array, readout: Array) -> Array:
        """phi(inputs) @ readout for the phi with phi(0) = 0 whose slopes below and above 0 are the two values, the
        second of them 1; D[rows] becomes phi'(inputs), (rows, m)."""
        out, number = xp.empty(len(inputs), inputs.dtype), inputs.dtype.type
        lowest = -xp.inf if self.low else -1.0  # 0 times -inf is 0 here
        bend(self.words[rows], out, inputs, readout, number(self.low), number(lowest))
        return out

    def _in_lines(self, numbers: Array) -> Array:
        """(..., d) as (..., lines, width)."""
        wide = width(numbers.dtype)
        padded = xp.zeros((*numbers.shape[:-1], -(-numbers.shape[-1] // wide) * wide), numbers.dtype)
        padded[..., : numbers.shape[-1]] = numbers
        return padded.reshape(*numbers.shape[:-1], -1, wide)

    def lines(self, matrix: Array) -> Array:
        """A matrix (m, d) as :meth:`scatter` takes it, for one vector."""
        found = self.empty(1, matrix.shape[1], matrix.dtype)
        found[0, :, : self.columns] = self._in_lines(matrix).transpose(1, 0, 2)
        return found

    def matrix(self, sums: Array, numbers: int) -> Array:
        """(m, d), of a result in lines for one vector."""
        return sums[0, :, : self.columns].transpose(1, 0, 2).reshape(self.columns, -1)[:, :numbers]

    def work(self, numbers: int, dtype: DTypeLike) -> tuple[float, float]:
        """Lines of sums that a row takes, of a product with Dᵀ and of one with D, where points have so many numbers."""
        tables, parts = TABLES * SUMS, -(-numbers // width(dtype))
        gathered = (WORD * self.words.shape[1] * (TABLES + 1) + tables) / ROWS
        scattered = -(-self.columns // ROWS) * (TABLES + 1 + tables / _BLOCK) + 3
        return parts * gathered, parts * scattered

    def depth(self, numbers: int, rows: int) -> tuple[float, float]:
        """Roundings on the longest path in float64, through a product with Dᵀ over so many rows, and one with D."""
        gathered = 2 + _OF_A_SUM + -(-rows // ROWS)
        scattered = 1 + _OF_A_SUM + -(-self.columns // ROWS) + -(-numbers // width(float)) + width(float)
        if not self.low:
            return gathered, scattered
        return gathered + min(rows, _SLAB) + -(-rows // _SLAB), scattered + self.columns + numbers + 2


def products(words: Array, columns: int, values: tuple[float, float]) -> LookedUp:
    """Products of a matrix of bits, which stand for two values."""
    return LookedUp(words, columns, values)


def _slabs(rows: slice, size: int) -> list[slice]:
    return [slice(a, min(a + size, rows.stop)) for a in range(rows.start, rows.stop, size)]


def _whole(count: int) -> list[slice]:
    """What is a multiple of the rows of the tables, and the rest."""
    whole = count - count % ROWS
    return [part for part in (slice(0, whole), slice(whole, count)) if part.stop > part.start]


def _plain(array: Array) -> Array:
    """The array as loops take it: row by row, aligned, and of the one type that is compiled."""
    return xp.require(array, requirements=["C", "A", "W"])


def _padded(array: Array) -> Array:
    """Rows of zeros up to a multiple of the rows of the tables."""
    missing = -len(array) % ROWS
    return _plain(xp.concatenate([array, xp.zeros((missing, *array.shape[1:]), array.dtype)]) if missing else array)


def _tail(X: Array, dtype: DTypeLike) -> Any:
    """The last numbers of each row where they fill no line, in one; one that nothing reads where they do."""
    wide = width(dtype)
    rest = X.shape[1] % wide
    tail = xp.zeros((len(X) if rest else 1, wide), X.dtype)
    if rest:
        tail[:, :rest] = X[:, X.shape[1] - rest :]
    return tail
