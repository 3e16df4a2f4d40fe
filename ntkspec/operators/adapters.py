"""Matrices that are not kernels: arrays, SciPy's LinearOperators and functions as operators, and the way back."""

import math
import time
from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.operators import base
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.dense import Dense
from ntkspec.operators.work import Work

# The relative error of a product that is not ours, in eps of its dtype, where nothing else is said.
PRODUCT_EPS = 8
# Entries of the unit vectors that are multiplied together where a matrix is asked for that only has products.
_ENTRIES_AT_ONCE = 2**24


def wrap(
    matrix, n: int | None = None, *, dtype=None, symmetric: bool | None = None, error: float | None = None
) -> KernelOperator:
    """Anything that multiplies as an operator, so that norms, eigenpairs and densities serve it.

    matrix : an array (see :class:`Dense`), a SciPy sparse matrix or LinearOperator, or a function from vectors (n,) to
    vectors (n,), which needs ``n``. dtype : of its products, float32 or float64 (a function: float64).
    symmetric : None takes what is square for symmetric; Lanczos then compares <q, K p> with <K q, p> in each product,
    and refuses what is not. error : bound on |computed K q - K q| / |K| for |q| = 1 (None: 8 eps of the dtype).
    An operator is returned as it is. Raises TypeError / ValueError for what cannot multiply.
    """
    if isinstance(matrix, KernelOperator):
        return matrix
    if callable(matrix) and not isinstance(matrix, LinearOperator):
        size = checks.whole_number(n, "n", 1)
        function = matrix  # SciPy passes single columns (n, 1)
        matrix = LinearOperator((size, size), lambda v: function(v.reshape(-1)), dtype=np.dtype(dtype or np.float64))
    if issparse(matrix):
        matrix = aslinearoperator(matrix)
    if isinstance(matrix, LinearOperator):
        return Products(matrix, dtype=dtype, symmetric=symmetric, error=error)
    if not hasattr(matrix, "__array__") and not isinstance(matrix, list | tuple):
        raise TypeError(
            f"a {type(matrix).__name__} cannot be multiplied; pass an operator, an array, a SciPy LinearOperator or a "
            f"function with n"
        )
    return Dense(matrix, symmetric=symmetric)


def as_symmetric(matrix) -> KernelOperator:
    """What has a real spectrum, as an operator. Raises ValueError for what is not symmetric."""
    operator = wrap(matrix)
    if operator.shape[0] != operator.shape[1] or not operator.symmetric:
        raise ValueError(
            f"a symmetric kernel is needed, but this one (shape {operator.shape}) is not symmetric{_why(operator)}"
        )
    return operator


def _why(operator) -> str:
    defect = getattr(operator, "defect", math.inf)
    if math.isfinite(defect):
        return f": |A - A.T| = {defect:.3g} in Frobenius norm; pass (A + A.T) / 2 where its symmetric part is meant"
    return " by construction"


def to_scipy(operator: KernelOperator) -> LinearOperator:
    """An operator for SciPy: products with vectors and blocks from both sides, in the dtype of operator and vectors."""
    return LinearOperator(
        operator.shape,
        matvec=lambda v: operator @ v,
        matmat=lambda V: operator @ V,
        rmatvec=lambda v: operator.T @ v,
        rmatmat=lambda V: operator.T @ V,
        dtype=operator.dtype,
    )


class Products(KernelOperator):
    """A matrix that is known through the products of a SciPy LinearOperator only.

    Single entries cost whole products: a tile of T columns takes T of them, the diagonal and the Frobenius norm n.
    """

    grams = ()
    depth = 0.0
    entrywise = False

    def __init__(self, linear: LinearOperator, *, dtype=None, symmetric: bool | None = None, error=None):
        self.linear, self.shape = linear, linear.shape
        self.dtype = np.dtype(dtype or linear.dtype or np.float64)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"products have dtype {self.dtype}, but float32 or float64 is needed; pass dtype=")
        self.engine = engine_of()
        self._largest, square = 0.0, self.shape[0] == self.shape[1]
        if symmetric and not square:
            raise ValueError(f"an operator of shape {self.shape} cannot be symmetric")
        self.symmetric = square if symmetric is None else symmetric
        self.error = PRODUCT_EPS * float(np.finfo(self.dtype).eps) if error is None else float(error)

    @cached_property
    def product_work(self) -> Work:  # type: ignore[override]
        """As many bytes as are read in the time of one product, which is measured."""
        start = time.perf_counter()
        self.factored_product(np.ones((self.shape[1], 1), self.dtype))
        return Work.lasting(time.perf_counter() - start)

    @property
    def stored_work(self) -> Work:  # type: ignore[override]
        """Of one entry: a tile takes a product for each of its columns."""
        return (1 / base.TILE) * self.product_work

    def factored_product(self, V):
        product = np.asarray(self.linear.matmat(V))
        sizes, given = np.linalg.norm(product, axis=0), np.linalg.norm(V, axis=0)
        ratios = sizes[given > 0] / given[given > 0]
        self._largest = float(np.fmax(ratios, self._largest).max(initial=self._largest))
        return product

    def _product(self, V):
        return self.factored_product(V)

    @property
    def absolute_norm(self):
        """The largest |K q| / |q| so far: what its error is relative to."""
        if not self._largest:
            self.factored_product(np.random.default_rng(0).standard_normal((self.shape[1], 1)))
        return self._largest

    def product_error(self):
        return self.error * self.absolute_norm

    def accumulate(self, out, tile, scale=1.0):
        out += out.dtype.type(scale) * self._columns(tile.cols, tile.dtype)[tile.rows]

    def _columns(self, cols: slice, dtype):
        units = np.zeros((self.shape[1], cols.stop - cols.start), dtype)
        units[cols.start : cols.stop] = np.eye(units.shape[1])
        return self.factored_product(units)

    def _by_columns(self, task: Callable, text: str) -> list:
        """The task on (slice of columns, columns of the matrix), for all columns; n products."""
        pieces = base.slices(self.shape[1], max(1, _ENTRIES_AT_ONCE // self.shape[1]))
        return [task(cols, self._columns(cols, self.dtype)) for cols in base.watched(pieces, text)]

    def sum_of_squares(self):
        return math.fsum(self._by_columns(lambda _, A: float(np.square(A, dtype=np.float64).sum()), "Frobenius norm"))

    def diagonal(self, dtype=None):
        parts = self._by_columns(lambda cols, A: A[cols].diagonal(), "diagonal")
        return np.concatenate(parts).astype(dtype or self.dtype, copy=False)

    def to_dense(self):
        return np.hstack(self._by_columns(lambda _, A: A, "kernel matrix"))

    @property
    def T(self):
        return self if self.symmetric else Products(self.linear.T, dtype=self.dtype, symmetric=False, error=self.error)
