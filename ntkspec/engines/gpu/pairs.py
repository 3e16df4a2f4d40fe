"""Kernels of the GPU engine over pairs of inputs, and over Hermite series."""

import cupy as xp

from ntkspec.engines.arrays import Array
from ntkspec.engines.gpu.compiling import blocks_of, grid_of, kernel, launch, line


def moments(gram: Array, X: Array, own: Array, Y: Array, other: Array, close: float) -> tuple[Array, Array]:
    """(c, gap): <x, x'>/d and ‖x‖²‖x'‖²/d² - c², from gram = X Yᵀ, own = ‖x‖²/d and other = ‖x'‖²/d.

    Where gap is below ``close`` times ‖x‖²‖x'‖²/d², both are taken from the directions in float64: 6 d flops. The norms
    are float64 (n,).
    """
    c, gap = xp.empty_like(gram), xp.empty_like(gram)
    X, Y = (points.astype(gram.dtype, copy=False) for points in (X, Y))
    left, right = (X, line(own, xp.float64)), (Y, line(other, xp.float64))
    function, close = kernel("pairs", "pair_moments", gram.dtype.char), gram.dtype.type(close)
    launch(function, grid_of(*gram.shape), c, gap, gram, *left, *right, close, *gram.shape, X.shape[1])
    return c, gap


def hermite_moments(points: Array, weighted: Array, terms: int) -> Array:
    """sum_q weighted[p, q] he_k(points[q]) for k < terms, he_k = He_k / sqrt(k!); weighted (p, Q)."""
    values = xp.empty((terms, points.size))
    function = kernel("pairs", "hermite_polynomials", "d")
    launch(function, blocks_of(points.size), values, line(points, xp.float64), terms, points.size)
    return weighted @ values.T


def power_series(rho: Array, left: Array, right_t: Array, terms: int) -> Array:
    """sum_k rho^k left[i, k] right_t[k, j] over k < terms, by Horner's rule, for rho (r, s)."""
    out = xp.empty_like(rho)
    function = kernel("pairs", "power_series", rho.dtype.char)
    left, right_t = (part.astype(rho.dtype, copy=False) for part in (left, right_t))
    launch(function, grid_of(*rho.shape), out, rho, left, right_t, *rho.shape, terms)
    return out
