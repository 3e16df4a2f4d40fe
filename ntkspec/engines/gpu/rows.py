"""Inner products of rows on the GPU: one pass over them as they lie, whatever their dtypes."""

import cupy as xp
import numpy as np

from ntkspec.engines.gpu.compiling import blocks_of, kernel, launch


def row_products(A, B, dtype):
    """sum_d A[i, ..., d] B[i, d] computed in a dtype: (n,) for A (n, d), and (n, k) for A (n, k, d).

    CuPy's einsum would copy both to the dtype, whole, and take a matrix product of its own for each row.
    """
    left, dtype = A.reshape(-1, A.shape[-1]), np.dtype(dtype)
    products = xp.empty(A.shape[:-1], dtype)
    function = kernel("rows", "row_products", A.dtype.char, OTHER=B.dtype.char, number=dtype.char)
    sizes = products.size // len(B), products.size, B.shape[1]
    launch(function, blocks_of(32 * products.size), products.reshape(-1), left, B, *sizes)
    return products
