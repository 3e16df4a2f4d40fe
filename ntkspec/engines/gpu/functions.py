"""Activations of the GPU engine: phi(z) and phi'(z) in one pass, with the arithmetic and the errors of the CPU's.

z, value and slope have one shape and one dtype, float32 or float64, are C-contiguous and do not overlap.
"""

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.engines.gpu.compiling import blocks_of, kernel, launch


def _fill(name: str, z, value, slope, parameter=0.0) -> None:
    function, flat = kernel("functions", f"fill_{name}", z.dtype.char), (part.reshape(-1) for part in (z, value, slope))
    launch(function, blocks_of(z.size), *flat, z.size, np.float64(parameter))


def piecewise_linear(z: Array, value: Array, slope: Array, below: float) -> None:
    """z and 1 for z >= 0, ``below`` z and ``below`` otherwise."""
    _fill("piecewise_linear", z, value, slope, below)


def erf(z: Array, value: Array, slope: Array) -> None:
    """erf(z) and 2/sqrt(pi) exp(-z²), in the arithmetic of z."""
    _fill("erf", z, value, slope)


def tanh(z: Array, value: Array, slope: Array) -> None:
    """tanh(z) and 1/cosh(z)²."""
    _fill("tanh", z, value, slope)


def sigmoid(z: Array, value: Array, slope: Array) -> None:
    """1/(1 + exp(-z)) and its derivative."""
    _fill("sigmoid", z, value, slope)


def softplus(z: Array, value: Array, slope: Array) -> None:
    """log(1 + exp(z)) and 1/(1 + exp(-z))."""
    _fill("softplus", z, value, slope)


def silu(z: Array, value: Array, slope: Array) -> None:
    """z/(1 + exp(-z)) and its derivative."""
    _fill("silu", z, value, slope)


def gelu(z: Array, value: Array, slope: Array) -> None:
    """z P(g < z) for a standard normal g, and its derivative."""
    _fill("gelu", z, value, slope)


def elu(z: Array, value: Array, slope: Array, alpha: float) -> None:
    """z and 1 for z >= 0, alpha (exp(z) - 1) and alpha exp(z) below."""
    _fill("elu", z, value, slope, alpha)


def sin(z: Array, value: Array, slope: Array) -> None:
    """sin(z) and cos(z)."""
    _fill("sin", z, value, slope)


def cos(z: Array, value: Array, slope: Array) -> None:
    """cos(z) and -sin(z)."""
    _fill("cos", z, value, slope)
