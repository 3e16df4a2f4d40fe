"""Dense linear algebra on the GPU: eigenproblems by cuSOLVER, and one pass over rows as they lie."""

import cupy as xp
import numpy as np

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.gpu.compiling import blocks_of, kernel, launch

# cuSOLVER has counted the entries of its workspace in 32 bits; above this, some versions fail or return nonsense.
_LARGEST_EIGENPROBLEM = 32_000


def eigh(matrix: Array) -> tuple[Array, Array]:
    """(values, vectors as columns) of a symmetric matrix, values ascending. Cost: 9 n³ flops.

    Raises ValueError for matrices that cuSOLVER is not safe for.
    """
    if len(matrix) > _LARGEST_EIGENPROBLEM:
        raise ValueError(
            f"a dense eigenproblem of n = {len(matrix):,} came, but cuSOLVER is safe up to n = "
            f"{_LARGEST_EIGENPROBLEM:,}: it counts its workspace in 32 bits; use ntkspec.eigsh or a density instead"
        )
    return xp.linalg.eigh(matrix)


def row_products(A: Array, B: Array, dtype: DTypeLike) -> Array:
    """sum_d A[i, ..., d] B[i, d] computed in a dtype: (n,) for A (n, d), and (n, k) for A (n, k, d).

    CuPy's einsum would copy both to the dtype, whole, and take a matrix product of its own for each row.
    """
    left, dtype = A.reshape(-1, A.shape[-1]), np.dtype(dtype)
    products = xp.empty(A.shape[:-1], dtype)
    function = kernel("rows", "row_products", A.dtype.char, OTHER=B.dtype.char, number=dtype.char)
    sizes = products.size // len(B), products.size, B.shape[1]
    launch(function, blocks_of(32 * products.size), products.reshape(-1), left, B, *sizes)
    return products


def weighted_rows(V: Array, X: Array) -> Array:
    """V[i, k] X[i, d] in the dtype of V, (n, k d)."""
    return (V[:, :, None] * X[:, None, :].astype(V.dtype, copy=False)).reshape(len(V), -1)
