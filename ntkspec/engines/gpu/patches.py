"""Kernels of the GPU engine over circular patches: products at each position, running sums, and angles of patches."""

import cupy as xp
import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.engines.gpu.compiling import blocks_of, kernel, launch, line
from ntkspec.engines.limits import CLOSE


def position_products(X: Array, XT: Array, positions: int) -> Array:
    """<x_p, x'_p> over the channels of each position p, (positions, r, s), of X (r, d) and XT (d, s); 2 d r s flops."""
    left = X.reshape(X.shape[0], positions, -1).swapaxes(0, 1)
    return xp.matmul(left, XT.reshape(positions, -1, XT.shape[1]))


def circular_sums(values: Array, size: int) -> Array:
    """values[a, p] + ... + values[a, p + size - 1], indices modulo P, for values (A, P, B)."""
    values = xp.ascontiguousarray(values)
    out, (count, positions, width) = xp.empty_like(values), values.shape
    threads = count * -(-positions // size) * width
    function = kernel("patches", "circular_sums", "d")
    launch(function, blocks_of(threads), line(out, xp.float64), line(values, xp.float64), size, *values.shape)
    return out


def gaps(c: Array, X: Array, own: Array, XT: Array, other: Array, places: Array, lost: Array | None) -> Array:
    """gap = a b - c² (P, r, s) of patches with squares a = own (P, r), b = other (P, s) and inner products c (P, r, s).

    X (r, d), XT (d, s); places (P, q) are the positions of each patch. Below CLOSE a b, gap and c (in place)
    come from the directions: 6 d q / P flops. lost : None, or the mean over the patch (P, r, s) of
    |x_p| |x'_p| - <x_p, x'_p>, where X and XT hold the sizes |x_p| of vectors instead.
    """
    gap, arrays = xp.empty_like(c), [line(array, xp.float64) for array in (X, own, XT, other)]
    sizes = *c.shape, places.shape[1], X.shape[1] // c.shape[0]
    lost = np.uint64(0) if lost is None else line(lost, xp.float64)
    function = kernel("patches", "patch_gaps", "d")
    arrays = line(gap, xp.float64), line(c, xp.float64), *arrays, line(places, xp.int64), lost
    launch(function, blocks_of(c.size), *arrays, np.float64(CLOSE), *sizes)
    return gap
