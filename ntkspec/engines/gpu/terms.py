"""Tiles of sums of kernels on the GPU: one pass adds up their terms, and the squares where that is asked for."""

from collections.abc import Iterable
from functools import cache

import cupy as xp
import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.engines.gpu.bits import Counts
from ntkspec.engines.gpu.compiling import grid_of, kernel, launch, line
from ntkspec.engines.terms import HadamardTerm, LowRankTerm, Term

# As in terms.cu: matrices, and low-rank terms, of one launch; rows that a thread takes at once.
MOST, _TOGETHER = 4, 4


def add(out: Array, terms: Iterable[Term]) -> None:
    """Add terms (:mod:`ntkspec.engines.terms`) to ``out``."""
    for one in _launches(terms):
        one.start(out, False, None)


def write(out: Array, terms: Iterable[Term], squares: bool) -> Array | None:
    """Make ``out`` the sum of the terms; returns the sum of its squared entries where ``squares`` asks for it.

    That is an array of no dimension on the device, float64: nothing waits for it.
    """
    first, *more = _launches(terms)
    sums = xp.empty(int(np.prod(_grid(out)))) if squares else None
    first.start(out, True, None if more else sums)
    for one in more:
        one.start(out, False, sums if one is more[-1] else None)
    return None if sums is None else sums.sum()


def add_scaled(out: Array, P: Array, scale: float) -> None:
    """``out += scale * P`` entry by entry."""
    add(out, [HadamardTerm(scale, P)])


def _launches(terms: Iterable[Term]) -> list["_Launch"]:
    """As few launches as take the terms in their order."""
    launches = [_Launch()]
    for term in terms:
        if not launches[-1].takes(term):
            launches.append(_Launch())
            launches[-1].takes(term)
    return launches


class _Launch:
    """Terms that one launch adds up: a polynomial in at most MOST matrices, each read once, and low-rank terms."""

    def __init__(self):
        self.grams: dict = {}
        self.low_rank: list[LowRankTerm] = []
        self.alone, self.pairs = np.zeros(MOST), np.zeros((MOST, MOST))

    def takes(self, term: Term) -> bool:
        """Whether there is room for a term; then it is in."""
        if isinstance(term, LowRankTerm):
            self.low_rank += [term] if len(self.low_rank) < MOST else []
            return term is self.low_rank[-1]
        grams = self.grams | {id(factor): factor for factor in term.factors}
        if len(grams) > MOST:
            return False
        self.grams = grams
        larger, *smaller = sorted((list(grams).index(id(factor)) for factor in term.factors), reverse=True)
        coefficients = self.pairs[:, smaller[0]] if smaller else self.alone
        coefficients[larger] += term.scale
        return True

    def start(self, out: Array, fresh: bool, sums: Array | None) -> None:
        """``out = terms`` or ``out += terms``; sums : None, or room for the sum of each block's squared entries."""
        grams = [_in_dtype(factor, out.dtype) for factor in self.grams.values()]
        sides = [[_in_dtype(side, out.dtype) for side in (term.F, term.G)] for term in self.low_rank]
        table, scales = np.zeros((), _layout(out.dtype.char)), [term.scale for term in self.low_rank]
        table["alone"], table["pairs"], table["scales"][: len(scales)] = self.alone, self.pairs, scales
        for k, factor in enumerate(grams):
            table["grams"][k] = _gram(factor)
        for k, (F, G) in enumerate(sides):
            table["low_rank"][k] = _numbers(F), _numbers(G), F.shape[1]
        counts = [isinstance(factor, Counts) for factor in grams]
        levels = [count and factor.levels is not None for count, factor in zip(counts, grams, strict=True)]
        shape = {"GRAMS": len(grams), "COUNTS": _mask(counts), "LEVELS": _mask(levels), "LOW_RANK": len(sides)}
        function = kernel("terms", "add_terms", out.dtype.char, **shape)
        launch(function, _grid(out), out, np.uint64(0) if sums is None else sums, table, int(fresh), *out.shape)


def _grid(out) -> tuple[int, int]:
    return grid_of(-(-out.shape[0] // _TOGETHER), out.shape[1])


def _mask(flags: list[bool]) -> int:
    """An integer whose bit k is the flag k."""
    return sum(flag << k for k, flag in enumerate(flags))


def _in_dtype(factor, dtype):
    return factor if isinstance(factor, Counts) else factor.astype(dtype, copy=False)


# ------------------------------------------------------------------------------------------- the structs of terms.cu
@cache
def _layout(real: str) -> np.dtype:
    """``Sum``: fields of 8 bytes, but for the coefficients, which come last."""
    numbers = np.dtype([("first", "u8"), ("down", "i8"), ("along", "i8")])
    gram = np.dtype([("numbers", numbers), ("ones", "u8", 2), ("weights", "f8", 3)])
    low_rank = np.dtype([("F", numbers), ("G", numbers), ("features", "i8")])
    coefficients = [("alone", real, MOST), ("pairs", real, (MOST, MOST)), ("scales", real, MOST)]
    return np.dtype([("grams", gram, MOST), ("low_rank", low_rank, MOST), *coefficients])


def _numbers(matrix) -> tuple[int, ...]:
    return matrix.data.ptr, *(step // matrix.itemsize for step in matrix.strides)


def _gram(factor) -> tuple:
    """``Gram``: a matrix, or counts and what they stand for."""
    if not isinstance(factor, Counts):
        return _numbers(factor), (0, 0), (0, 0, 0)
    levels = factor.levels
    if levels is None:
        return _numbers(factor.common), (0, 0), (0, 0, 0)
    ones = tuple(line(side, xp.int64).data.ptr for side in (levels.ones, levels.others))
    return _numbers(factor.common), ones, (levels.square, levels.cross, levels.constant)
