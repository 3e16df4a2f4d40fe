"""Kernels of the GPU engine over the entries of a tile."""

import cupy as xp

from ntkspec.engines.arrays import Array
from ntkspec.engines.gpu.compiling import THREADS, grid_of, kernel, launch


def copy_transposed(out: Array, tile: Array) -> None:
    """``out[:] = tile.T``."""
    out[...] = tile.T


def largest_entry(tile: Array, skip: int) -> float:
    """Largest ``|tile[i, j]|`` with ``i != j + skip``; NaN where any entry is NaN."""
    across, down = grid_of(*tile.shape)
    largest = xp.empty(across * down * THREADS)
    launch(kernel("tiles", "largest_entry", tile.dtype.char), (across, down), largest, tile, int(skip), *tile.shape)
    return float(largest.max())


def sum_of_squares(tile: Array) -> Array:
    """Sum of the squared entries, accumulated in float64: an array of no dimension on the device."""
    across, down = grid_of(*tile.shape)
    sums = xp.empty(across * down)
    launch(kernel("tiles", "sum_of_squares", tile.dtype.char), (across, down), sums, tile, *tile.shape)
    return sums.sum()
