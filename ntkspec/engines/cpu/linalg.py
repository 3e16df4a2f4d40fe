"""Dense linear algebra on the CPU, by NumPy and SciPy."""

from typing import Any

import numpy as xp

from ntkspec.engines.arrays import Array, DTypeLike


def eigh(matrix: Array) -> tuple[Array, Array]:
    """(values, vectors as columns) of a symmetric matrix, values ascending. Cost: 9 n³ flops."""
    from scipy.linalg import eigh as solve

    return solve(matrix)


def row_products(A: Array, B: Array, dtype: DTypeLike) -> Array:
    """sum_d A[i, ..., d] B[i, d] computed in a dtype: (n,) for A (n, d), and (n, k) for A (n, k, d)."""
    real: xp.dtype[Any] = xp.dtype(dtype)
    return xp.einsum("ikd,id->ik" if A.ndim == 3 else "id,id->i", A, B, dtype=real)
