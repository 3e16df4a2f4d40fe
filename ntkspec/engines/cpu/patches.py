"""Loops of the CPU engine over circular patches: products at each position, running sums, and angles of patches."""

import math

import numpy as xp

from ntkspec.engines.arrays import Array
from ntkspec.engines.cpu.compiling import compiled, compiled_with
from ntkspec.engines.limits import CLOSE


@compiled
def position_products(X: Array, XT: Array, positions: int) -> Array:
    """<x_p, x'_p> over the channels of each position p, (positions, r, s), of X (r, d) and XT (d, s); 2 d r s flops."""
    channels = X.shape[1] // positions
    out = xp.zeros((positions, X.shape[0], XT.shape[1]))
    for p in range(positions):
        for i in range(X.shape[0]):
            for k in range(p * channels, (p + 1) * channels):
                factor = X[i, k]
                for j in range(XT.shape[1]):
                    out[p, i, j] += factor * XT[k, j]
    return out


@compiled
def circular_sums(values: Array, size: int) -> Array:
    """values[a, p] + ... + values[a, p + size - 1], indices modulo P, for values (A, P, B): 3 passes for any size.

    Blocks of ``size`` positions: a patch is the end of one block and the start of the next. Nothing is subtracted, so
    that rounding does not drift, and no number outside a patch has a part in its sum.
    """
    (count, positions, width), out = values.shape, xp.empty_like(values)
    total = xp.empty(width, values.dtype)
    for a in range(count):
        for start in range(0, positions, size):
            total[:] = 0
            for k in range(start + size - 1, start - 1, -1):
                _add(total, values[a, k % positions])
                if k < positions:
                    out[a, k] = total
            total[:] = 0
            for k in range(start + 1, min(start + size, positions)):
                _add(total, values[a, (k + size - 1) % positions])
                _add(out[a, k], total)
    return out


@compiled
def _add(total, values):
    for j in range(total.size):
        total[j] += values[j]


@compiled
def gaps(c: Array, X: Array, own: Array, XT: Array, other: Array, places: Array, lost: Array | None) -> Array:
    """gap = a b - c² (P, r, s) of patches with squares a = own (P, r), b = other (P, s) and inner products c (P, r, s).

    X (r, d), XT (d, s); places (P, q) are the positions of each patch. Below CLOSE a b, gap and c (in place)
    come from the directions: 6 d q / P flops. lost : None, or the mean over the patch (P, r, s) of
    |x_p| |x'_p| - <x_p, x'_p>, where X and XT hold the sizes |x_p| of vectors instead.
    """
    gap, channels = xp.empty_like(c), X.shape[1] // c.shape[0]
    for p in range(c.shape[0]):
        for i in range(c.shape[1]):
            for j in range(c.shape[2]):
                size = math.sqrt(own[p, i] * other[p, j])
                gap[p, i, j] = (size - abs(c[p, i, j])) * (size + abs(c[p, i, j]))
            for j in range(c.shape[2]):
                product, sign = own[p, i] * other[p, j], math.copysign(1.0, c[p, i, j])
                if gap[p, i, j] < CLOSE * product and (lost is None or sign > 0):
                    size, signed = math.sqrt(own[p, i]), sign * math.sqrt(other[p, j])
                    near = _half_distance(X[i], XT[:, j], size, signed, places[p], channels)
                    if lost is not None:
                        near += lost[p, i, j] / math.sqrt(product)
                    c[p, i, j] = sign * math.sqrt(product) * (1 - near)
                    gap[p, i, j] = product * near * (2 - near)
    return gap


@compiled_with(fastmath={"reassoc"})
def _half_distance(x, y, size, other, places, channels):
    """‖x/size - y/other‖² / (2 q channels) over a patch, 1 - |rho|; without "contract", so that equal ones cancel."""
    per_x, per_y, total = 1 / size, 1 / other, 0.0
    for place in places:
        for k in range(place * channels, (place + 1) * channels):
            step = x[k] * per_x - y[k] * per_y
            total += step * step
    return total / (2 * places.size * channels)
