"""Activations of the CPU engine: each writes phi(z) and phi'(z) into given arrays, in one vectorized pass.

z, value and slope have one shape and one dtype, float32 or float64, are C-contiguous and do not overlap. Results are
within 2 ulp (float32) or 4 ulp (float64) of the exact ones for every z, where an ulp of phi' is that of max(1, |phi'|)
for the functions whose phi' crosses zero: gelu, silu, sin and cos. Below the smallest normal number, the error is less
than that number. NaN stays NaN, and infinity gives the limit (sin and cos: NaN).
"""

import functools
import math
from typing import cast

import numpy as xp
from llvmlite import ir
from numba.core import types

from ntkspec.engines.arrays import Array
from ntkspec.engines.cpu.compiling import Loop, compiled_with, in_llvm, inlined, wide_vectors

# The polynomials interpolate at the Chebyshev points of their intervals, computed with 50 digits. The number behind
# each is its largest error relative to the result; an ulp is at least 1.1e-16 and 6e-8 of it.
# (exp(r) - 1 - r)/r² for |r| <= log(2)/2: 1.7e-17 and 1e-8.
_EXP64 = (0.50000000000000010221, 0.16666666666666667453, 0.041666666666624127873, 0.0083333333333300618325,
          0.0013888888917213716901, 0.00019841269863053616878, 2.4801521295954375131e-5, 2.7557268459997064772e-6,
          2.7620088445409748161e-7, 2.5100385495510319078e-8)  # fmt: skip
_EXP32 = (0.5, 0.1666657699, 0.041666554617, 0.0083631790527, 0.0013926183588)
# 1/log(2), and log(2) in two parts
_LOG64 = (1.4426950408889634, 0.6931471805599453, 2.3190468138462996e-17)
_LOG32 = (1.4426950408889634, 0.6931472, -1.9046542e-09)
# (erf(x)/x - 2/sqrt(pi))/x² in x², 0 <= x <= 1: 3.4e-17 and 5.6e-9.
_SMALL64 = (-0.37612638903183749412, 0.11283791670954387178, -0.026866170644835376997, 0.0052239776208133418889,
            -0.00085483266514911418325, 0.00012055315509827724673, -1.4925137231361603529e-5,
            1.6452392414414234915e-6, -1.6246587957259628749e-7, 1.3884625209147687787e-8,
            -8.1018695496609517916e-10)  # fmt: skip
_SMALL32 = (-0.37612638376, 0.11283753662, -0.026861699955, 0.0052045787788, -0.000816198654, 8.3797555818e-5)
# (1 - erf(x))/erf'(x) in (x - 3)/(x + 3), 1 <= x <= 6, and in (x - 2)/(x + 2), 1 <= x <= 4: 4e-18 and 3e-9.
_TAIL64 = (0.15863563986398753847, -0.28911696489644856168, 0.21766070207102876342, -0.13303678486655430548,
           0.06351219455975876787, -0.021617289674941747792, 0.0037834235795908591392, 0.00062722395541200731605,
           -0.00052913273225895139089, 4.010595699965002827e-5, 5.6773310429155506041e-5,
           -1.1387036279300540872e-5, -7.0969241128632418698e-6, 1.7933716242303391404e-6,
           1.1345389241734409485e-6)  # fmt: skip
_TAIL32 = (0.22633852499, -0.37858372631, 0.21416400495, -0.069983839148, 0.0033077283486, 0.0060362157772,
           -0.00074263639665)  # fmt: skip
# 2/sqrt(pi) in two parts, the centre of the tail, and a size whose exp(-x²) has the power of two whose bits are all 0
_CONSTANTS64 = (1.1283791670955126, 1.533545961316588e-17, 3.0, 26.63)
_CONSTANTS32 = (1.1283792, -5.8635383e-08, 2.0, 9.38)
# exp(-1400) is 0 times any number; min(x, 1400) is NaN for a NaN x, unlike min(1400, x).
_FAR = 1400.0
# (atanh(s)/s - 1) 2/s² in s², 0 <= s <= 1/3: 5e-18.
_ATANH = (0.66666666666666658561, 0.40000000000014582673, 0.28571428567108757162, 0.22222222717427862989,
          0.18181789436132858169, 0.15385570064958623103, 0.1331414420965493615, 0.12001072809590712535,
          0.088007384861446738822, 0.16164045611943532221)  # fmt: skip
# x P(g < -x) exp(x²/2) in (x - 4)/(x + 4), 1 <= x <= 39, g standard normal: 9.4e-18.
_NORMAL = (0.37764256520787574673, 0.073694244221929664433, -0.11037962061483893636, 0.1003077713912830101,
           -0.063062641534341712503, 0.02642819296190927638, -0.005509940667789750802, -0.00092443695081883876391,
           0.0008820813984031532685, -4.8875359927167783944e-5, -0.00011650173280673307606,
           1.6618578624041401463e-5, 1.7931498354235365677e-5, -2.6035748139685066064e-6, -3.2779708631773945834e-6,
           2.0201639453086422682e-7, 6.5336559305730326651e-7, 4.5222159483214211396e-8, -1.2813158131838706713e-7,
           -1.9007139965963552743e-8, 2.009017169419545618e-8)  # fmt: skip


def _typed(dtype, *tables):
    return tuple(tuple(dtype(entry) for entry in table) for table in tables)


_ERF_TABLES = {
    "d": _typed(xp.float64, _SMALL64, _TAIL64, _CONSTANTS64, _EXP64, _LOG64),
    "f": _typed(xp.float32, _SMALL32, _TAIL32, _CONSTANTS32, _EXP32, _LOG32),
}


# ----------------------------------------------------------------------------------------------------- building blocks
def _halves(a: float) -> tuple[float, float]:
    """a as a sum of two numbers of 26 bits (Veltkamp): products of such are exact."""
    high = 134217729.0 * a
    high -= high - a
    return high, a - high


def _fma_of_numbers(a, b, c):
    """a b + c, rounded once but for a last bit: with the errors of the product (Dekker) and of the sum (Knuth)."""
    if isinstance(a, xp.float32):
        return xp.float32(float(a) * float(b) + float(c))
    a, b, c = float(a), float(b), float(c)
    product = a * b
    total = product + c
    if not math.isfinite(134217729.0 * max(abs(a), abs(b), abs(total))):
        return xp.float64(total)
    (ah, al), (bh, bl) = _halves(a), _halves(b)
    of_product = al * bl - (((product - ah * bh) - al * bh) - ah * bl)
    part = total - product
    of_sum = (product - (total - part)) + (c - part)
    return xp.float64(total + (of_product + of_sum))


def _power_of_a_number(exponent):
    """2**exponent, and 0 for the exponent below those of normal numbers."""
    if math.isnan(exponent):
        return exponent
    least = xp.finfo(exponent.dtype).minexp
    return exponent.dtype.type(math.ldexp(1.0, int(exponent)) if exponent >= least else 0.0)


def _polynomial_of_a_number(coefficients, x):
    """Horner's rule."""
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = _fma_of_numbers(value, x, coefficient)
    return value


@in_llvm(_fma_of_numbers)
def _fma(typingctx, a, b, c):
    """a b + c, rounded once; what is not written with it is rounded after every operation."""
    return a(a, b, c), lambda context, builder, signature, arguments: builder.fma(*arguments)


@in_llvm(_power_of_a_number)
def _power_of_two(typingctx, exponent):
    """2**exponent for a whole-number float, through its bits: vectorizes, unlike ldexp and conversions to integers.

    Exponents of normal numbers, and the one below them, which gives 0.
    """
    bits, mantissa, bias = (64, 52, 1023) if exponent == types.float64 else (32, 23, 127)

    def build(context, builder, signature, arguments):
        integer, kind = ir.IntType(bits), arguments[0].type
        # The sum with 1.5 2^mantissa ends in the bits of the exponent.
        shifted = builder.bitcast(builder.fadd(arguments[0], kind(1.5 * 2**mantissa)), integer)
        return builder.bitcast(builder.shl(builder.add(shifted, integer(bias)), integer(mantissa)), kind)

    return exponent(exponent), build


@in_llvm(_polynomial_of_a_number)
def _polynomial(typingctx, coefficients, x):
    """coefficients[0] + coefficients[1] x + ..., by Horner's rule."""

    def build(context, builder, signature, arguments):
        *lower, value = (builder.extract_value(arguments[0], k) for k in range(len(signature.args[0])))
        for coefficient in reversed(lower):
            value = builder.fma(value, arguments[1], coefficient)
        return value

    return x(coefficients, x), build


@inlined
def _exp(x, rest, coefficients, log):
    """Whole k and e with exp(x + rest) = 2^k (1 + e), |e| < 0.42; ``rest`` is what rounding took from x."""
    k = xp.rint(x * log[0])
    r = _fma(-k, log[1], x) + _fma(-k, log[2], rest)
    return k, _fma(r * r, _polynomial(coefficients, r), r)


@inlined
def _scaled(x, k):
    """2^k x, also where 2^k itself is not a normal number."""
    half = xp.rint(k * xp.float32(0.5))
    return x * _power_of_two(half) * _power_of_two(k - half)


def _elementwise(loop: Loop) -> Loop:
    """A loop over flat arrays, as a function of arrays of any shape; it never fuses a product and a sum by itself."""
    flat = compiled_with(fastmath=False)(loop)

    @functools.wraps(loop)
    def function(z, value, slope, *parameters):
        flat(z.reshape(-1), value.reshape(-1), slope.reshape(-1), *parameters)

    return cast(Loop, function)


# --------------------------------------------------------------------------------------------------------- activations
@_elementwise
def piecewise_linear(z: Array, value: Array, slope: Array, below: float) -> None:
    """z and 1 for z >= 0, ``below`` z and ``below`` otherwise."""
    one, other = z.dtype.type(1), z.dtype.type(below)
    lowest = z.dtype.type(-xp.inf if below else -1.0)  # 0 times -inf is 0 here
    for i in range(z.size):
        x, slope[i] = z[i], one if z[i] >= 0 else other
        value[i] = slope[i] * (lowest if x < lowest else x)


@_elementwise
def _erf(z, value, slope, small, tail, constants, coefficients, log):
    wide_vectors()
    scale, scale_rest, centre, largest = constants[0], constants[1], constants[2], constants[3]
    one = z.dtype.type(1)
    for i in range(z.size):
        size = min(abs(z[i]), largest)
        square = size * size
        k, e = _exp(-square, -_fma(size, size, -square), coefficients, log)
        slope[i] = (_fma(scale, e, scale_rest) + scale) * _power_of_two(k)
        beyond = _fma(-slope[i], _polynomial(tail, (size - centre) / (size + centre)), one)
        near = _fma(square, _polynomial(small, square), scale_rest)
        value[i] = math.copysign(beyond if size > one else _fma(size, scale, size * near), z[i])


def erf(z: Array, value: Array, slope: Array) -> None:
    """erf(z) and 2/sqrt(pi) exp(-z²), in the arithmetic of z."""
    _erf(z, value, slope, *_ERF_TABLES[z.dtype.char])


@_elementwise
def tanh(z: Array, value: Array, slope: Array) -> None:
    """tanh(z) and 1/cosh(z)²."""
    wide_vectors()
    for i in range(z.size):
        x = xp.float64(z[i])
        k, e = _exp(-min(2.0 * abs(x), _FAR), 0.0, _EXP64, _LOG64)
        less = _fma(_scaled(1.0, k), e, _scaled(1.0, k) - 1.0)
        decay = _scaled(1.0 + e, k)
        value[i] = math.copysign(less / (2.0 + less), x)
        slope[i] = 4.0 * decay / _fma(decay, 2.0 + decay, 1.0)


@_elementwise
def sigmoid(z: Array, value: Array, slope: Array) -> None:
    """1/(1 + exp(-z)) and its derivative."""
    wide_vectors()
    for i in range(z.size):
        x = xp.float64(z[i])
        k, e = _exp(-min(abs(x), _FAR), 0.0, _EXP64, _LOG64)
        decay = _scaled(1.0 + e, k)
        larger = 1.0 / (1.0 + decay)
        value[i] = larger if x >= 0 else decay * larger
        slope[i] = decay / _fma(decay, 2.0 + decay, 1.0)


@_elementwise
def softplus(z: Array, value: Array, slope: Array) -> None:
    """log(1 + exp(z)) and 1/(1 + exp(-z))."""
    wide_vectors()
    for i in range(z.size):
        x = xp.float64(z[i])
        k, e = _exp(-min(abs(x), _FAR), 0.0, _EXP64, _LOG64)
        decay = _scaled(1.0 + e, k)
        s, larger = decay / (2.0 + decay), 1.0 / (1.0 + decay)
        value[i] = max(x, 0.0) + _fma(s * s * s, _polynomial(_ATANH, s * s), 2.0 * s)
        slope[i] = larger if x >= 0 else decay * larger


@_elementwise
def silu(z: Array, value: Array, slope: Array) -> None:
    """z/(1 + exp(-z)) and its derivative."""
    wide_vectors()
    for i in range(z.size):
        x = xp.float64(z[i])
        size = min(abs(x), _FAR)
        k, e = _exp(-size, 0.0, _EXP64, _LOG64)
        decay = _scaled(1.0 + e, k)
        larger = 1.0 / (1.0 + decay)
        value[i] = x * larger if x >= 0 else _scaled(-size * (1.0 + e), k) * larger
        bump = size * decay * larger * larger
        slope[i] = larger + bump if x >= 0 else decay * larger - bump


@_elementwise
def gelu(z: Array, value: Array, slope: Array) -> None:
    """z P(g < z) for a standard normal g, and its derivative."""
    wide_vectors()
    for i in range(z.size):
        x = xp.float64(z[i])
        size = min(abs(x), 39.0)  # exp(-39²/2) is 0
        square = 0.5 * size * size
        k, e = _exp(-square, -_fma(0.5 * size, size, -square), _EXP64, _LOG64)
        rest = _fma(0.35355339059327373 * square, _polynomial(_SMALL64, square), -2.49232720227773e-17)
        near = _fma(-size, rest, _fma(-size, 0.3989422804014327, 0.5))
        far = _polynomial(_NORMAL, (size - 4.0) / (size + 4.0))
        far = _scaled(_fma(far, e, far), k)
        loss = size * near if size < 1.0 else far
        below = near if size < 1.0 else far / size
        bump = _scaled(0.3989422804014327 * size * (1.0 + e), k)
        value[i] = x - loss if x >= 0 else -loss
        slope[i] = 1.0 - below + bump if x >= 0 else below - bump


@_elementwise
def elu(z: Array, value: Array, slope: Array, alpha: float) -> None:
    """z and 1 for z >= 0, alpha (exp(z) - 1) and alpha exp(z) below."""
    wide_vectors()
    for i in range(z.size):
        x = xp.float64(z[i])
        k, e = _exp(-min(abs(x), _FAR), 0.0, _EXP64, _LOG64)
        less = _fma(_scaled(1.0, k), e, _scaled(1.0, k) - 1.0)
        value[i] = x if x >= 0 else alpha * less
        slope[i] = 1.0 if x >= 0 else _scaled(alpha * (1.0 + e), k)


def sin(z: Array, value: Array, slope: Array) -> None:
    """sin(z) and cos(z)."""
    xp.sin(z, out=value)
    xp.cos(z, out=slope)


def cos(z: Array, value: Array, slope: Array) -> None:
    """cos(z) and -sin(z)."""
    xp.cos(z, out=value)
    xp.negative(xp.sin(z, out=slope), out=slope)
