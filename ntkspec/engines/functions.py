"""Activations of the CPU engine whose value and derivative share one vectorized pass."""

import math

import numpy as xp
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ntkspec.engines.compiling import compiled, inlined


@compiled
def _piecewise_linear_loop(z, value, derivative, slope):
    one = z.dtype.type(1)
    for i in range(z.size):
        derivative[i] = one if z[i] >= 0 else slope
        value[i] = derivative[i] * z[i]


def piecewise_linear_and_derivative(z, slope: float):
    """z and 1 for z >= 0, slope z and slope below."""
    value, derivative = xp.empty(z.shape, z.dtype), xp.empty(z.shape, z.dtype)
    flat = xp.ascontiguousarray(z).reshape(-1)
    _piecewise_linear_loop(flat, value.reshape(-1), derivative.reshape(-1), z.dtype.type(slope))
    return value, derivative


# erf(z) = z P(z²) for |z| <= 1, and sign(z) (1 - exp(-z²) Q(t)), t = (|z| - 3)/(|z| + 3), beyond. P and Q interpolate
# at the Chebyshev points of [0, 1] and of t([1, 6]) (float32: t([1, 4])), computed with 50 digits; Q is erfcx.
# Largest relative errors of the polynomials themselves: P 8e-18 and 1.3e-9, Q 1.1e-16 and 3.7e-9.
_SMALL64 = (1.1283791670955125665, -0.37612638903183540438, 0.11283791670945006266, -0.02686617064323777036,
            0.0052239776071164227321, -0.00085483259753896920806, 0.00012055294904839707917,
            -1.4924736907419660338e-5, 1.644742470331736241e-6, -1.6208483801871705902e-7,
            1.3720064546777685604e-8, -7.7958988270021422416e-10)  # fmt: skip
_TAIL64 = (0.17900115118138995023, -0.32623356004303717477, 0.24560380171233194479, -0.15011593650078743912,
           0.071665837197748743386, -0.024392499318273193125, 0.0042691363475082563605,
           0.00070774644439015373147, -0.00059706235170932842794, 4.5254726354833541373e-5,
           6.4061820735305467428e-5, -1.2848894512523528795e-5, -8.0080213194126843348e-6,
           2.0236031796417566352e-6, 1.2801900862962661938e-6)  # fmt: skip
_SMALL32 = (1.128379165848350946, -0.37612626666720331023, 0.11283594715160217732, -0.026854212010626412443,
            0.0051890874234339739861, -0.00080168642871658695293, 7.8758750626854883411e-5)  # fmt: skip
_TAIL32 = (0.17900115118131857194, -0.32623354491338166229, 0.24560382210495475585, -0.15011811326231994311,
           0.07165749817456663644, -0.024337653526757345547, 0.0046650945273359074653,
           0.0015493261768614456713)  # fmt: skip
_EXP64 = tuple(1 / math.factorial(k) for k in range(13))
_EXP32 = _EXP64[:8]
# log 2 in two parts, and the largest argument whose exp(-z) is a normal number
_RANGE64 = (6.93147180369123816490e-01, 1.90821492927058770002e-10, 700.0)
_RANGE32 = (0.693359375, -2.12194440e-4, 86.0)


def _typed(dtype, *tables):
    return tuple(tuple(dtype(entry) for entry in table) for table in tables)


_ERF_TABLES = {
    "d": _typed(xp.float64, _SMALL64, _TAIL64, _EXP64, _RANGE64),
    "f": _typed(xp.float32, _SMALL32, _TAIL32, _EXP32, _RANGE32),
}


@intrinsic
def _power_of_two(typingctx, exponent):
    """2**exponent for a whole-number float, by writing the exponent bits: vectorizes, unlike ldexp."""
    bits, mantissa, bias = (64, 52, 1023) if exponent == types.float64 else (32, 23, 127)

    def build(context, builder, signature, arguments):
        integer = ir.IntType(bits)
        biased = builder.add(builder.fptosi(arguments[0], integer), integer(bias))
        return builder.bitcast(builder.shl(biased, integer(mantissa)), arguments[0].type)

    return exponent(exponent), build


@inlined
def _horner(coefficients, x):
    value = coefficients[len(coefficients) - 1]
    for k in range(len(coefficients) - 2, -1, -1):
        value = value * x + coefficients[k]
    return value


@compiled
def _erf_loop(z, value, slope, tables):
    small, tail, exponential, (log2_high, log2_low, largest) = tables
    one, three, six = z.dtype.type(1), z.dtype.type(3), z.dtype.type(6)
    per_log2, per_slope = z.dtype.type(1.4426950408889634), z.dtype.type(1.1283791670955126)
    for i in range(z.size):
        size, square = abs(z[i]), z[i] * z[i]
        power = -min(square, largest)
        k = xp.rint(power * per_log2)
        gauss = _horner(exponential, (power - k * log2_high) - k * log2_low) * _power_of_two(k)  # type: ignore[call-arg]
        if square > largest:
            gauss = one - one
        far = min(size, six)
        beyond = math.copysign(one - gauss * _horner(tail, (far - three) / (far + three)), z[i])
        value[i] = beyond if size > one else z[i] * _horner(small, square)
        slope[i] = per_slope * gauss


def erf_and_derivative(z):
    """``erf(z)`` and ``2/sqrt(pi) exp(-z²)`` for float32 or float64, within 4 ulp and (1 + z²) ulp."""
    value, slope = xp.empty(z.shape, z.dtype), xp.empty(z.shape, z.dtype)
    _erf_loop(xp.ascontiguousarray(z).reshape(-1), value.reshape(-1), slope.reshape(-1), _ERF_TABLES[z.dtype.char])
    return value, slope
