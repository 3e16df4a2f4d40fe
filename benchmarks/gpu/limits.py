"""What a GPU does in a second, measured with NVIDIA's libraries alone: nothing of ntkspec's takes part."""

from dataclasses import dataclass
from functools import partial

import numpy as np

# CUDA's numbers of the types int8 and int32, of which CuPy names one only.
_INT8, _INT32 = 3, 10
_REPEATS = 5


@dataclass(frozen=True)
class Limits:
    """Per second: operations (two for each product and sum) of large matrix products in float32, in float64, and of
    int8 with int32 sums on the tensor cores; bytes of memory, read or written, in a copy on the GPU; and bytes from
    pinned memory of the host."""

    float32: float
    float64: float
    int8: float
    memory: float
    host: float


def measured(xp, size: int, numbers: int) -> Limits:
    """From products of matrices of ``size`` rows and columns, and copies of so many float32 numbers.

    The matrices are Gaussian, those of int8 zeros and ones: a GPU slows down for what draws more power.
    """
    normal = xp.random.default_rng(0).standard_normal
    products = {}
    for dtype in (np.float32, np.float64):
        A, B = (normal((size, size), dtype=dtype) for _ in range(2))
        products[np.dtype(dtype).name] = 2.0 * size**3 / _fastest(xp, partial(xp.matmul, A, B))
    bits = (normal((size, size), dtype=np.float32) > 0).astype(xp.int8)
    counts = xp.empty((size, size), xp.int32)
    int8 = 2.0 * size**3 / _fastest(xp, partial(_int8_product, xp, bits, counts))
    return Limits(**products, int8=int8, memory=_copying(xp, numbers), host=_from_host(xp, numbers))


def _int8_product(xp, bits, counts) -> None:
    """counts = bits bitsᵀ, of square matrices."""
    factors, size, cublas = np.array([1, 0], np.int32), len(bits), xp.cuda.cublas
    one, zero = (factors.ctypes.data + k * factors.itemsize for k in range(2))
    cublas.gemmEx(
        xp.cuda.device.get_cublas_handle(),
        *(cublas.CUBLAS_OP_T, cublas.CUBLAS_OP_N, size, size, size, one),
        *(bits.data.ptr, _INT8, size, bits.data.ptr, _INT8, size, zero),
        *(counts.data.ptr, _INT32, size, cublas.CUBLAS_COMPUTE_32I, cublas.CUBLAS_GEMM_DEFAULT),
    )


def _copying(xp, numbers: int) -> float:
    source = xp.ones(numbers, np.float32)
    return 2.0 * source.nbytes / _fastest(xp, partial(xp.copyto, xp.empty_like(source), source))


def _from_host(xp, numbers: int) -> float:
    there = xp.empty(numbers, np.float32)
    pinned = xp.cuda.PinnedMemoryPointer(xp.cuda.PinnedMemory(there.nbytes), 0)
    host = np.ndarray(numbers, np.float32, buffer=pinned)
    host[...] = 1
    arguments = host.ctypes.data, host.nbytes, xp.cuda.get_current_stream()
    return host.nbytes / _fastest(xp, partial(there.data.copy_from_host_async, *arguments))


def _fastest(xp, task) -> float:
    """Seconds on the GPU; the first run, which compiles and allocates, is one of several."""
    times = []
    for _ in range(_REPEATS):
        start, end = xp.cuda.Event(), xp.cuda.Event()
        start.record()
        task()
        end.record()
        end.synchronize()
        times.append(max(xp.cuda.get_elapsed_time(start, end), 1e-6) / 1e3)
    return min(times)
