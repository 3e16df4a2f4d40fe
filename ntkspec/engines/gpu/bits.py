"""Matrices of bits on the GPU, and their Gram matrix as an integer product on the tensor cores.

They stay packed, 64 to a word: n = 10⁶ and m = 4096 take 0.5 GB so, 4 GB as bytes and 8 GB in float16. Only the rows of
a tile are unpacked, to bytes: reading and writing those costs a fraction of the product, and int8 with int32 sums is
exact for every m, where sums of float16 products would have to stay below 2²⁴.
"""

import cupy as xp
import numpy as np
from cupy.cuda import cublas, device, runtime

from ntkspec.engines.gpu.compiling import blocks_of, grid_of, kernel, launch

# Integer products take rows at multiples of 16 bytes.
_MULTIPLE = 16
# cuBLAS's names for int32 sums of int8 products.
_COMPUTE_32I = 72


def empty_bits(n: int, columns: int):
    """Room for the words of an (n, columns) matrix of bits."""
    return xp.zeros((n, -(-columns // 64)), xp.uint64)


def pack_bits(words, matrix, high: float) -> None:
    """Set bit j of row i of ``words`` where ``matrix[i, j] == high``; the last word of a row is padded with zeros."""
    function, high = kernel("bits", "pack_bits", matrix.dtype.char), matrix.dtype.type(high)
    launch(function, grid_of(*words.shape), words, matrix, high, *words.shape, matrix.shape[1])


def unpack_bits(words, columns: int, values: tuple[float, float], dtype):
    """The first ``columns`` bits of each row as numbers (low, high) of the dtype."""
    out = xp.empty((words.shape[0], columns), dtype)
    low, high = (out.dtype.type(value) for value in values)
    launch(kernel("bits", "unpack_bits", out.dtype.char), grid_of(*out.shape), out, words, low, high, *out.shape)
    return out


def count_ones(words):
    """The number of ones of each row, int64."""
    ones = xp.empty(words.shape[0], xp.int64)
    launch(kernel("bits", "count_ones", "d"), blocks_of(words.shape[0]), ones, words, *words.shape)
    return ones


def count_common(A, B, dtype):
    """How many ones each row of A (n, k) shares with each row of B (n', k), both words of bits: (n, n'), exact.

    Cost: 128 n n' k integer operations on the tensor cores, and 64 k bytes a row.
    """
    left, right = _bytes(A), _bytes(B)
    counts = xp.empty((A.shape[0], B.shape[0]), xp.int32)
    factors, columns = np.array([1, 0], np.int32), left.shape[1]
    one, zero = (factors.ctypes.data + k * factors.itemsize for k in range(2))
    # cuBLAS counts along columns: its matrix is the transpose of ours, (right leftᵀ) in its order.
    cublas.gemmEx(
        device.get_cublas_handle(),
        *(cublas.CUBLAS_OP_T, cublas.CUBLAS_OP_N, B.shape[0], A.shape[0], columns, one),
        *(right.data.ptr, runtime.CUDA_R_8I, columns, left.data.ptr, runtime.CUDA_R_8I, columns, zero),
        *(counts.data.ptr, runtime.CUDA_R_32I, B.shape[0], _COMPUTE_32I, cublas.CUBLAS_GEMM_DEFAULT),
    )
    return counts.astype(dtype)


def _bytes(words):
    """0 and 1 as int8, padded with zeros to a multiple of 16 columns."""
    out = xp.empty((words.shape[0], -(-64 * words.shape[1] // _MULTIPLE) * _MULTIPLE), xp.int8)
    launch(kernel("bits", "unpack_bytes", "d"), grid_of(*out.shape), out, words, *out.shape, words.shape[1])
    return out
