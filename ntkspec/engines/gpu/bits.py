"""Matrices of bits on the GPU, and their Gram matrix as an integer product on the tensor cores.

They stay packed, 64 to a word: n = 10⁶ and m = 4096 take 0.5 GB so, 4 GB as bytes and 8 GB in float16. Only the rows of
a tile are unpacked, to bytes: reading and writing those costs a fraction of the product, and int8 with int32 sums is
exact for every m, where sums of float16 products would have to stay below 2²⁴.
"""

from dataclasses import dataclass
from typing import Any

import cupy as xp
import numpy as np
from cupy.cuda import cublas, device

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.gpu.compiling import blocks_of, grid_of, kernel, launch
from ntkspec.engines.terms import Levels

# Integer products take rows that start at multiples of 16 bytes, and multiples of 4 rows.
_COLUMNS, _ROWS = 16, 4
# CUDA's numbers of the types int8 and int32, of which CuPy names one only.
_INT8, _INT32 = 3, 10


def empty(n: int, columns: int) -> Array:
    """Room for the words of an (n, columns) matrix of bits."""
    return xp.zeros((n, -(-columns // 64)), xp.uint64)


def pack(words: Array, matrix: Array, high: float) -> None:
    """Set bit j of row i of ``words`` where ``matrix[i, j] == high``; the last word of a row is padded with zeros."""
    function, high = kernel("bits", "pack_bits", matrix.dtype.char), matrix.dtype.type(high)
    launch(function, grid_of(*words.shape), words, matrix, high, *words.shape, matrix.shape[1])


def unpack(words: Array, columns: int, values: tuple[float, float], dtype: DTypeLike) -> Array:
    """The first ``columns`` bits of each row as numbers (low, high) of the dtype."""
    out = xp.empty((words.shape[0], columns), dtype)
    low, high = (out.dtype.type(value) for value in values)
    launch(kernel("bits", "unpack_bits", out.dtype.char), grid_of(*out.shape), out, words, low, high, *out.shape)
    return out


def count_ones(words: Array) -> Array:
    """The number of ones of each row, int64."""
    ones = xp.empty(words.shape[0], xp.int64)
    launch(kernel("bits", "count_ones", "d"), blocks_of(words.shape[0]), ones, words, *words.shape)
    return ones


def count_common(A: Array, B: Array, dtype: DTypeLike) -> Array:
    """How many ones each row of A (n, k) shares with each row of B (n', k), both words of bits: (n, n'), exact.

    Cost: 128 n n' k integer operations on the tensor cores, and 64 k bytes a row.
    """
    left, right = _bytes(A), _bytes(B)
    rows, others, columns = len(left), len(right), left.shape[1]
    counts, factors = xp.empty((rows, others), xp.int32), np.array([1, 0], np.int32)
    one, zero = (factors.ctypes.data + k * factors.itemsize for k in range(2))
    # cuBLAS counts along columns: its matrix is the transpose of ours, (right leftᵀ) in its order.
    cublas.gemmEx(
        device.get_cublas_handle(),
        *(cublas.CUBLAS_OP_T, cublas.CUBLAS_OP_N, others, rows, columns, one),
        *(right.data.ptr, _INT8, columns, left.data.ptr, _INT8, columns, zero),
        *(counts.data.ptr, _INT32, others, cublas.CUBLAS_COMPUTE_32I, cublas.CUBLAS_GEMM_DEFAULT),
    )
    return counts[: len(A), : len(B)].astype(dtype, copy=False)


@dataclass(frozen=True, eq=False)
class Counts:
    """A Gram matrix of bits as what the tensor cores found: ``common`` (rows, cols) int32, and what it stands for."""

    common: Any
    levels: Levels | None


def gram(A: Array, B: Array, levels: Levels | None, dtype: DTypeLike) -> Counts:
    """The Gram matrix (n, n') of rows of bits A (n, k) and B (n', k), words, that stand for two values.

    The pass that adds it to a tile makes numbers of the tile's dtype out of the counts, rounded once.
    """
    return Counts(count_common(A, B, xp.int32), levels)


def _bytes(words):
    """0 and 1 as int8, with rows and columns of zeros up to the multiples that the tensor cores take."""
    rows, columns = -(-len(words) // _ROWS) * _ROWS, -(-64 * words.shape[1] // _COLUMNS) * _COLUMNS
    out = xp.empty((rows, columns), xp.int8)
    launch(kernel("bits", "unpack_bytes", "d"), grid_of(*out.shape), out, words, *out.shape, *words.shape)
    return out
