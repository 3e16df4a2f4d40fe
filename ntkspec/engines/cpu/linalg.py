"""Dense linear algebra on the CPU, by NumPy and SciPy."""

from typing import Any

import numpy as xp

from ntkspec.engines.arrays import Array, DTypeLike
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
    return xp.einsum("ikd,id->ik" if A.ndim == 3 else "id,id->i", A, B, dtype=real)
