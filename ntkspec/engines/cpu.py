"""The CPU engine: NumPy arrays, Numba loops, one pool of worker threads.

Every parallel computation of the package runs through :func:`run`: each worker takes row blocks or tiles that fit
into its cache, and BLAS is held to one thread meanwhile, so Numba's, BLAS's and our own threads never compete.
Compiled loops are therefore single-threaded and release the GIL.
"""

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, partial
from typing import Any

import numba
import numpy as xp
import psutil
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from threadpoolctl import ThreadpoolController

from ntkspec import progress as progress_bars

name = "cpu"

# `contract` lets a * b + c round once; NaN and infinity keep their meaning.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def _compiled(loop=None, **options):
    """A compiled loop; cached on disk unless no folder for the cache can be written to."""
    if loop is None:
        return partial(_compiled, **options)
    try:
        return numba.njit(cache=True, **(_OPTIONS | options))(loop)
    except RuntimeError:
        return numba.njit(**(_OPTIONS | options))(loop)


_inlined = numba.njit(inline="always")


# ---------------------------------------------------------------------------------------------- memory and threads
def free_memory() -> int:
    """Bytes that can be allocated now without swapping."""
    return int(psutil.virtual_memory().available)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@cache
def workers() -> int:
    """Number of worker threads: what BLAS was allowed at start, so OMP_NUM_THREADS and its like are honoured."""
    allowed = [library["num_threads"] for library in _blas().info()]
    return max(allowed, default=len(os.sched_getaffinity(0)))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers(), thread_name_prefix="ntkspec")


os.register_at_fork(after_in_child=_pool.cache_clear)
_single = threading.Lock()
_users: list[Any] = []


@contextlib.contextmanager
def _one_blas_thread():
    """BLAS on one thread until the last of the concurrent users leaves; its setting is one for the whole process."""
    with _single:
        if not _users:
            _users.append(_blas().limit(limits=1))
        _users.append(None)
    try:
        yield
    finally:
        with _single:
            _users.pop()
            if len(_users) == 1:
                _users.pop().restore_original_limits()


def run(task: Callable, items: Iterable, *, progress: str = "") -> list:
    """``[task(item) for item in items]`` on the worker threads, results in the order of the items.

    ``progress`` names a bar that appears when the work takes longer than a second. A task never calls ``run``.
    After an exception or Ctrl-C, what has not started is dropped, what runs ends, and then it is raised here.
    """
    items = list(items)
    with _one_blas_thread():
        if len(items) == 1:
            return [task(items[0])]
        futures = [_pool().submit(task, item) for item in items]
        try:
            watched = progress_bars.bar(futures, text=progress) if progress else futures
            return [future.result() for future in watched]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)


def shares(n: int) -> list[slice]:
    """At most :func:`workers` contiguous slices that cover ``range(n)``: one share of rows for each worker."""
    count = max(1, min(workers(), n))
    return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]


def blocks(share: slice, width: int) -> list[slice]:
    """Row blocks of a share whose intermediates, ``width`` numbers a row, stay in a core's cache (about 1 MiB).

    At least 256 rows: each block adds to an accumulated matrix, which costs as much as the products of few rows.
    """
    step = max(256, 2**17 // max(1, width))
    return [slice(a, min(a + step, share.stop)) for a in range(share.start, share.stop, step)]


# ------------------------------------------------------------------------------------------------------------ tiles
def add_product(out, A, B, scale: float) -> None:
    """``out += scale * A @ B.T``; through one temporary, so that ``out`` may have any layout."""
    _add_scaled(out, A @ B.T, scale)


@_compiled
def _add_scaled(out, P, scale):
    factor = out.dtype.type(scale)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += factor * P[i, j]


@_compiled
def add_hadamard(out, P, Q, scale):
    """``out += scale * P * Q`` entry by entry, in one pass."""
    factor = out.dtype.type(scale)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += factor * P[i, j] * Q[i, j]


@_compiled(fastmath={"contract", "reassoc"})
def sum_of_squares(tile):
    """Sum of the squared entries, accumulated in float64."""
    total = 0.0
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            entry = xp.float64(tile[i, j])  # float() would keep float32 here
            total += entry * entry
    return total


@_compiled
def largest_entry(tile, skip):
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


# ------------------------------------------------------------------------------------------------------------- bits
# The loop below takes four rows and four words at a time: words of a row are padded to a multiple, rows of a tile too.
_UNROLLED = 4


@intrinsic
def _popcount(typingctx, word):
    """Number of ones in a word; LLVM picks the vector instruction (vpopcntdq) or its replacement for the machine."""

    def build(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return word(word), build


@_inlined
def _ones(w0, w1, w2, w3):
    return _popcount(w0) + _popcount(w1) + _popcount(w2) + _popcount(w3)  # type: ignore[call-arg]


@_compiled
def _count_common_loop(out, A, BT, counts):
    """out[i, j] = number of ones that row i of A and column j of BT share; each word of BT serves four rows."""
    for i in range(0, A.shape[0], 4):
        counts[:] = 0
        for k in range(0, A.shape[1], 4):
            a00, a01, a02, a03 = A[i, k], A[i, k + 1], A[i, k + 2], A[i, k + 3]
            a10, a11, a12, a13 = A[i + 1, k], A[i + 1, k + 1], A[i + 1, k + 2], A[i + 1, k + 3]
            a20, a21, a22, a23 = A[i + 2, k], A[i + 2, k + 1], A[i + 2, k + 2], A[i + 2, k + 3]
            a30, a31, a32, a33 = A[i + 3, k], A[i + 3, k + 1], A[i + 3, k + 2], A[i + 3, k + 3]
            for j in range(BT.shape[1]):
                b0, b1, b2, b3 = BT[k, j], BT[k + 1, j], BT[k + 2, j], BT[k + 3, j]
                counts[0, j] += _ones(a00 & b0, a01 & b1, a02 & b2, a03 & b3)
                counts[1, j] += _ones(a10 & b0, a11 & b1, a12 & b2, a13 & b3)
                counts[2, j] += _ones(a20 & b0, a21 & b1, a22 & b2, a23 & b3)
                counts[3, j] += _ones(a30 & b0, a31 & b1, a32 & b2, a33 & b3)
        for r in range(4):
            for j in range(BT.shape[1]):
                out[i + r, j] = counts[r, j]


def count_common(A, B, dtype):
    """How many ones each row of A (n, k) shares with each row of B (n', k), both words of bits: (n, n'), exact."""
    rows = xp.zeros((-(-A.shape[0] // _UNROLLED) * _UNROLLED, A.shape[1]), xp.uint64)
    rows[: A.shape[0]] = A
    out = xp.empty((rows.shape[0], B.shape[0]), dtype)
    counts = xp.empty((_UNROLLED, B.shape[0]), xp.uint64)
    _count_common_loop(out, rows, xp.ascontiguousarray(B.T), counts)
    return out[: A.shape[0]]


def empty_bits(n: int, columns: int):
    """Room for the words of an (n, columns) matrix of bits."""
    return xp.zeros((n, -(-columns // (64 * _UNROLLED)) * _UNROLLED), xp.uint64)


def pack_bits(mask):
    """A boolean (n, m) matrix as rows of 64-bit words, padded with zeros."""
    words, octets = empty_bits(*mask.shape), xp.packbits(mask, axis=1, bitorder="little")
    words.view(xp.uint8)[:, : octets.shape[1]] = octets
    return words


def unpack_bits(words, columns: int):
    """The first ``columns`` bits of each row as 0 and 1 (uint8)."""
    return xp.unpackbits(words.view(xp.uint8), axis=1, bitorder="little", count=columns)


# ------------------------------------------------------------------------------------------------------ activations
@_compiled
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


@_inlined
def _horner(coefficients, x):
    value = coefficients[len(coefficients) - 1]
    for k in range(len(coefficients) - 2, -1, -1):
        value = value * x + coefficients[k]
    return value


@_compiled
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
