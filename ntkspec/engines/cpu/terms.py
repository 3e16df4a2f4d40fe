"""Tiles of sums of kernels on the CPU: one term after the other, while the tile is in the cache."""

from collections.abc import Iterable

import numpy as xp

from ntkspec.engines.arrays import Array
from ntkspec.engines.cpu import tiles
from ntkspec.engines.cpu.compiling import compiled
from ntkspec.engines.terms import LowRankTerm, Term


def add(out: Array, terms: Iterable[Term]) -> None:
    """Add terms (:mod:`ntkspec.engines.terms`) to ``out``, one after the other while its tile is in the cache."""
    for term in terms:
        if isinstance(term, LowRankTerm):
            _add_low_rank(out, term.F, xp.ascontiguousarray(term.G.T), term.scale)
        elif term.Q is None:
            add_scaled(out, term.P, term.scale)
        else:
            _add_hadamard(out, term.P, term.Q, term.scale)


def write(out: Array, terms: Iterable[Term], squares: bool) -> float | None:
    """Make ``out`` the sum of the terms; returns the sum of its squared entries where ``squares`` asks for it."""
    out[...] = 0
    add(out, terms)
    return tiles.sum_of_squares(out) if squares else None


@compiled
def add_scaled(out: Array, P: Array, scale: float) -> None:
    """``out += scale * P`` entry by entry."""
    factor = out.dtype.type(scale)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += factor * P[i, j]


@compiled
def _add_low_rank(out, F, GT, scale):
    """``out += scale * F @ GT`` for a few columns of F: passes over one row at a time, as gemm is slow at this."""
    factor, row = out.dtype.type(scale), xp.empty(out.shape[1], out.dtype)
    for i in range(out.shape[0]):
        row[:] = 0
        for k in range(F.shape[1]):
            for j in range(out.shape[1]):
                row[j] += F[i, k] * GT[k, j]
        for j in range(out.shape[1]):
            out[i, j] += factor * row[j]


@compiled
def _add_hadamard(out, P, Q, scale):
    """``out += scale * P * Q`` entry by entry, in one pass."""
    factor = out.dtype.type(scale)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += factor * P[i, j] * Q[i, j]
