"""Loops of the CPU engine over pairs of inputs, and over Hermite series."""

import math

import numpy as xp

from ntkspec.engines.arrays import Array
from ntkspec.engines.cpu.compiling import compiled, compiled_with


@compiled
def _moments(gram, left, own, right, other, close, c, gap):
    per_dim, close = gram.dtype.type(1 / left.shape[1]), gram.dtype.type(close)
    for i in range(gram.shape[0]):
        for j in range(gram.shape[1]):
            size = math.sqrt(gram.dtype.type(own[i] * other[j]))
            c[i, j] = gram[i, j] * per_dim
            gap[i, j] = (size - abs(c[i, j])) * (size + abs(c[i, j]))
        for j in range(gram.shape[1]):
            product = own[i] * other[j]
            if gap[i, j] < close * product:
                sign = -1.0 if c[i, j] < 0 else 1.0
                near = _half_distance(left[i], right[j], math.sqrt(own[i]), sign * math.sqrt(other[j]))
                c[i, j] = sign * math.sqrt(product) * (1 - near)
                gap[i, j] = product * near * (2 - near)


@compiled_with(fastmath={"reassoc"})
def _half_distance(x, y, size, other):
    """‖x/size - y/other‖² / (2 d), which is 1 - |rho| for the roots of ‖x‖²/d and ‖y‖²/d.

    Without "contract": a fused difference would round one side only, and equal directions would not cancel.
    """
    per_x, per_y, total = 1 / size, 1 / other, 0.0
    for k in range(y.size):
        step = xp.float64(x[k]) * per_x - xp.float64(y[k]) * per_y
        total += step * step
    return total / (2 * y.size)


def moments(gram: Array, X: Array, own: Array, Y: Array, other: Array, close: float) -> tuple[Array, Array]:
    """(c, gap): <x, x'>/d and ‖x‖²‖x'‖²/d² - c², from gram = X Yᵀ, own = ‖x‖²/d and other = ‖x'‖²/d.

    Where gap is below ``close`` times ‖x‖²‖x'‖²/d², both are taken from the directions in float64: 6 d flops. The norms
    are float64 (n,).
    """
    c, gap = xp.empty_like(gram), xp.empty_like(gram)
    _moments(gram, X, own, Y, other, close, c, gap)
    return c, gap


@compiled_with(fastmath={"contract", "reassoc"})
def hermite_moments(points: Array, weighted: Array, terms: int) -> Array:
    """sum_q weighted[p, q] he_k(points[q]) for k < terms, he_k = He_k / sqrt(k!); weighted (p, Q)."""
    sums = xp.zeros((weighted.shape[0], terms))
    before, now = xp.zeros_like(points), xp.ones_like(points)
    for k in range(terms):
        for p in range(weighted.shape[0]):
            total = 0.0
            for q in range(points.size):
                total += weighted[p, q] * now[q]
            sums[p, k] = total
        up, down = 1 / math.sqrt(k + 1), math.sqrt(k / (k + 1))
        for q in range(points.size):
            following = points[q] * now[q] * up - before[q] * down
            before[q], now[q] = now[q], following
    return sums


@compiled
def power_series(rho: Array, left: Array, right_t: Array, terms: int) -> Array:
    """sum_k rho^k left[i, k] right_t[k, j] over k < terms, by Horner's rule, for rho (r, s)."""
    out = xp.zeros_like(rho)
    for i in range(rho.shape[0]):
        for k in range(terms - 1, -1, -1):
            factor = left[i, k]
            for j in range(rho.shape[1]):
                out[i, j] = out[i, j] * rho[i, j] + factor * right_t[k, j]
    return out
