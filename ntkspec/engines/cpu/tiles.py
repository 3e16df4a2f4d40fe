"""Loops of the CPU engine over the entries of a tile."""

import math

import numpy as xp

from ntkspec.engines.arrays import Array
from ntkspec.engines.cpu.compiling import compiled, compiled_with


@compiled
def copy_transposed(out: Array, tile: Array) -> None:
    """``out[:] = tile.T`` in small squares, so that neither side is read across cache lines in vain."""
    for a in range(0, tile.shape[0], 16):
        for b in range(0, tile.shape[1], 16):
            for j in range(b, min(b + 16, tile.shape[1])):
                for i in range(a, min(a + 16, tile.shape[0])):
                    out[j, i] = tile[i, j]


@compiled
def largest_entry(tile: Array, skip: int) -> float:
    """Largest ``|tile[i, j]|`` with ``i != j + skip``; NaN where any entry is NaN."""
    largest = 0.0
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            size = xp.float64(abs(tile[i, j]))
            if i != j + skip and not size <= largest:
                largest = size
                if math.isnan(size):
                    return size
    return largest


@compiled_with(fastmath={"contract", "reassoc"})
def sum_of_squares(tile: Array) -> float:
    """Sum of the squared entries, accumulated in float64."""
    total = 0.0
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            entry = xp.float64(tile[i, j])  # float() would keep float32 here
            total += entry * entry
    return total
