"""Loops of the CPU engine over pairs of inputs, and over Hermite series."""

import math

import numpy as xp

from ntkspec.engines.compiling import compiled


@compiled
def _moments(gram, left, right, close, c, gap):
    dim = left.shape[1]
    per_dim = gram.dtype.type(1 / dim)
    squares = xp.empty(right.shape[0], gram.dtype)
    for j in range(right.shape[0]):
        total = 0.0
        for k in range(dim):
            total += xp.float64(right[j, k]) * xp.float64(right[j, k])
        squares[j] = total / dim
    for i in range(gram.shape[0]):
        own = 0.0
        for k in range(dim):
            own += xp.float64(left[i, k]) * xp.float64(left[i, k])
        a = gram.dtype.type(own / dim)
        for j in range(gram.shape[1]):
            size = math.sqrt(a * squares[j])
            c[i, j] = gram[i, j] * per_dim
            gap[i, j] = (size - abs(c[i, j])) * (size + abs(c[i, j]))
        for j in range(gram.shape[1]):
            product = a * squares[j]
            if gap[i, j] < close * product:
                _recompute(left[i], own, right[j], product, i, j, c, gap)


@compiled(fastmath={"contract", "reassoc"})
def _recompute(x, own, y, product, i, j, c, gap):
    """c and gap of a pair that is nearly parallel, from half the squared distance of the two directions."""
    other = 0.0
    for k in range(y.size):
        other += xp.float64(y[k]) * xp.float64(y[k])
    sign = -1.0 if c[i, j] < 0 else 1.0
    per_x, per_y = 1 / math.sqrt(own), sign / math.sqrt(other)
    distance = 0.0
    for k in range(y.size):
        step = xp.float64(x[k]) * per_x - xp.float64(y[k]) * per_y
        distance += step * step
    distance /= 2
    c[i, j] = sign * math.sqrt(product) * (1 - distance)
    gap[i, j] = product * distance * (2 - distance)


def pair_moments(gram, left, right, close: float):
    """(c, gap): <x, x'>/d and ‖x‖²‖x'‖²/d² - c² for rows x of ``left`` and x' of ``right``, from gram = left rightᵀ.

    Where gap is below ``close`` times ‖x‖²‖x'‖²/d², both are taken from the directions in float64: 6 d flops.
    """
    c, gap = xp.empty_like(gram), xp.empty_like(gram)
    _moments(gram, left, right, close, c, gap)
    return c, gap


@compiled
def hermite_moments(points, weighted, terms):
    """sum_q weighted[p, q] he_k(points[q]) for k < terms, he_k = He_k / sqrt(k!); weighted (p, Q), result (p, terms)."""
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
def power_series(rho, left, right_t, terms):
    """sum_k rho^k left[i, k] right_t[k, j] over k < terms, by Horner's rule, for rho (r, s)."""
    out = xp.zeros_like(rho)
    for i in range(rho.shape[0]):
        for k in range(terms - 1, -1, -1):
            factor = left[i, k]
            for j in range(rho.shape[1]):
                out[i, j] = out[i, j] * rho[i, j] + factor * right_t[k, j]
    return out
