"""Dense linear algebra on the CPU, by NumPy and SciPy."""

from typing import Any

import numpy as xp

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.cpu.compiling import compiled, compiled_with
from ntkspec.engines.cpu.threads import one_blas_thread

# Up to so many rows BLAS gains nothing by threads; beside other programs they wait for each other, 40 times as long.
ONE_THREAD = 512


def eigh(matrix: Array) -> tuple[Array, Array]:
    """(values, vectors as columns) of a symmetric matrix, values ascending. Cost: 9 n³ flops."""
    from scipy.linalg import eigh as solve

    if len(matrix) > ONE_THREAD:
        return solve(matrix)
    with one_blas_thread():
        return solve(matrix)


def row_products(A: Array, B: Array, dtype: DTypeLike) -> Array:
    """sum_d A[i, ..., d] B[i, d] computed in a dtype: (n,) for A (n, d), and (n, k) for A (n, k, d)."""
    real: xp.dtype[Any] = xp.dtype(dtype)
    if A.ndim == 3 and A.dtype == real:  # einsum would copy B to the dtype, piece by piece
        products = xp.empty(A.shape[:2], real)
        _inner_products(A, B, products)
        return products
    return xp.einsum("ikd,id->ik" if A.ndim == 3 else "id,id->i", A, B, dtype=real)


def weighted_rows(V: Array, X: Array) -> Array:
    """V[i, k] X[i, d] in the dtype of V, (n, k d)."""
    weighted = xp.empty((V.shape[0], V.shape[1] * X.shape[1]), V.dtype)
    _weigh(V, X, weighted.reshape(*V.shape, X.shape[1]))
    return weighted


@compiled_with(fastmath={"contract", "reassoc"})
def _inner_products(A, B, out):
    for i in range(A.shape[0]):
        for k in range(A.shape[1]):
            total = out.dtype.type(0)
            for j in range(A.shape[2]):
                total += A[i, k, j] * out.dtype.type(B[i, j])
            out[i, k] = total


@compiled
def _weigh(V, X, out):
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            for j in range(out.shape[2]):
                out[i, k, j] = V[i, k] * out.dtype.type(X[i, j])
