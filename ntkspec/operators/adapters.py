"""Matrices that are not kernels: arrays, SciPy's LinearOperators and functions as operators, and the way back."""

import copy
import math
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from ntkspec import checks
from ntkspec.engines import as_array, engine_of
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.objects.pickling import Foreign
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.dense import Dense
from ntkspec.operators.layout import whole_points
from ntkspec.operators.rounding import ASSUMED_EPS, Rounding
from ntkspec.operators.work import Cost, Work

# What multiplies vectors, and :func:`wrap` takes: SciPy's sparse matrices too.
MatrixLike: TypeAlias = KernelOperator | LinearOperator | ArrayLike

# Squares of products beyond this or below its inverse would overflow, or vanish in silence.
LARGEST = 1e150


def wrap(
    matrix: Any,
    n: int | None = None,
    *,
    dtype: DTypeLike | None = None,
    symmetric: bool | None = None,
    error: float | None = None,
    rows_per_point: int = 1,
    batched: bool = False,
) -> KernelOperator:
    r"""Anything that multiplies as an operator, so that norms, eigenpairs and densities serve it.

    Parameters
    ----------
    matrix : array, sparse matrix, scipy.sparse.linalg.LinearOperator, function or KernelOperator
        An operator is returned as it is, or with ``rows_per_point`` as a copy; an array becomes a :class:`Dense`; a
        function takes vectors (n,) to vectors (n,), or with ``batched`` blocks of them.
    n : int, optional
        The size of a function; not needed for anything else.
    dtype : float32 or float64, optional
        Of the products; that of the matrix, of a function float64.
    symmetric : bool, optional
        None takes what is square for symmetric; Lanczos then compares <q, K p> with <K q, p> in each product, and
        refuses what is not.
    error : float, optional
        A bound on \|computed K q - K q\| / \|K\| for \|q\| = 1; 8 eps of the dtype where it is None.
    rows_per_point : int, default 1
        K where the matrix is the kernel of all K outputs of a network, point-major: row i K + k is output k of point i.
    batched : bool, default False
        Whether a function takes blocks (n, k) of vectors as columns to blocks (n, k), for 1 <= k <= 512: then many
        vectors are multiplied in one call.

    Returns
    -------
    KernelOperator

    Notes
    -----
    Of a function, and of a LinearOperator, only products are known: the methods that need few of them are taken, and
    what needs one for each column warns, with a forecast, where that takes more than 10 s.

    Raises
    ------
    TypeError
        For what cannot multiply.
    ValueError
        For sizes and errors that do not fit, and for another ``rows_per_point`` than an operator has.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> halves = ns.operators.wrap(lambda v: v / 2, 5)
    >>> halves @ np.ones(5)
    array([0.5, 0.5, 0.5, 0.5, 0.5])
    """
    if isinstance(matrix, KernelOperator):
        matrix.check_contract()
        return matrix if rows_per_point == 1 else _with_rows(matrix, rows_per_point)
    if error is not None and not 0 <= error < 1:
        raise ValueError(
            f"error={checks.shown(error)}, but the relative error of a product is a number from 0 to 1, such as 1e-7"
        )
    if callable(matrix) and not isinstance(matrix, LinearOperator):
        matrix = _linear(matrix, n, dtype, batched)
    operator = _of_matrix(matrix, dtype, symmetric, error, rows_per_point)
    if n not in (None, operator.shape[0]):
        raise ValueError(f"{n=}, but the matrix has shape {operator.shape}; n is for functions")
    return operator


def _of_matrix(matrix, dtype, symmetric: bool | None, error: float | None, rows_per_point: int) -> KernelOperator:
    if issparse(matrix):
        matrix = aslinearoperator(matrix)
    if isinstance(matrix, LinearOperator):
        return Products(matrix, dtype=dtype, symmetric=symmetric, error=error, rows_per_point=rows_per_point)
    if not any(hasattr(matrix, door) for door in ("__array__", "__dlpack__")) and not isinstance(matrix, list | tuple):
        raise TypeError(
            f"a {type(matrix).__name__} cannot be multiplied; pass an operator, an array, a SciPy LinearOperator or a "
            f"function with n"
        )
    return Dense(matrix, symmetric=symmetric, rows_per_point=rows_per_point)


def _with_rows(operator: KernelOperator, rows_per_point: int) -> KernelOperator:
    """The operator with so many rows for each point, where it does not say another number."""
    if operator.rows_per_point == rows_per_point:
        return operator
    if operator.rows_per_point != 1:
        raise ValueError(f"{rows_per_point=}, but this kernel has {operator.rows_per_point} rows for each point")
    told = copy.copy(operator)
    told.rows_per_point = whole_points(operator.shape, rows_per_point)
    if isinstance(vars(told).get("points"), int):  # what a look at it has kept
        del told.points
    return told


def _linear(function: Callable, n, dtype, batched: bool) -> LinearOperator:
    """A function of vectors (n,), or of blocks (n, k), for SciPy, which passes single columns (n, 1); it may write into
    them, or into what it returned before."""
    if n is None:
        raise ValueError("a function came without its size; pass ntkspec.operators.wrap(function, n)")
    size, product = checks.whole_number(n, "n", 1), _Product(function, batched)
    matmat = product if batched else None
    return LinearOperator((size, size), product, matmat=matmat, dtype=np.dtype(dtype or np.float64))


class _Product:
    """The function of a vector, or of a block, checked."""

    def __init__(self, function: Callable, batched: bool):
        self.function, self.batched = function, batched

    def __call__(self, V: np.ndarray) -> np.ndarray:
        given = V.reshape(len(V), -1) if self.batched else V.reshape(-1)
        result = np.array(as_array(self.function(given.copy()), "what the function returned"))
        fits = result.shape == given.shape if self.batched else result.size == given.size
        if not fits or result.dtype.kind not in "fiub":
            raise ValueError(
                f"the function returned shape {result.shape} and dtype {result.dtype} for "
                f"{'a block' if self.batched else 'a vector'} {given.shape}, but real numbers of the same shape are "
                f"needed"
            )
        return result.reshape(V.shape)


def require_here(operator: KernelOperator, needs: str) -> KernelOperator:
    """The operator; ValueError, which begins with what ``needs`` it here, where its points lie on workers."""
    if operator.spread:
        raise ValueError(
            f"{needs}, but the points of this kernel lie on workers; take a kernel of fewer points on one machine"
        )
    return operator


def as_symmetric(matrix: Any) -> KernelOperator:
    """What has a real spectrum, as an operator.

    Parameters
    ----------
    matrix : whatever :func:`wrap` takes
        Where only products are known, three of them are compared.

    Returns
    -------
    KernelOperator
        Square and symmetric.

    Raises
    ------
    ValueError
        For what is not symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import as_symmetric
    >>> as_symmetric(np.eye(3)).symmetric
    True
    """
    operator = wrap(matrix)
    if isinstance(operator, Products) and operator.symmetric:
        operator.look()
    if operator.shape[0] != operator.shape[1]:
        raise ValueError(f"a symmetric kernel is needed, but this one has shape {operator.shape}, which is not square")
    if not operator.symmetric:
        raise ValueError(
            f"a symmetric kernel is needed, but this one (shape {operator.shape}) is not symmetric{_why(operator)}"
        )
    return operator


def _why(operator) -> str:
    defect = getattr(operator, "defect", math.inf)
    if math.isfinite(defect):
        return f": |A - A.T| = {defect:.3g} in Frobenius norm; pass (A + A.T) / 2 where its symmetric part is meant"
    return " by construction"


def with_entries(operator: KernelOperator) -> KernelOperator:
    """The operator itself, or where only products are known its matrix in float64.

    Parameters
    ----------
    operator : KernelOperator

    Returns
    -------
    KernelOperator
        One whose entries can be computed.

    Notes
    -----
    Cost: nothing, or n products and n n' numbers; their rounding is the matrix's ``storage_error``.

    Examples
    --------
    >>> from ntkspec.operators import with_entries, wrap
    >>> with_entries(wrap(lambda v: 2 * v, 2)).to_dense()
    array([[2., 0.],
           [0., 2.]])
    """
    if operator.entrywise:
        return operator
    matrix = operator.to_dense(np.float64)
    formed = operator.rounding.forming_error_bound + operator.storage_error
    matrix = (matrix + matrix.T) / 2 if operator.symmetric else matrix
    return Dense(matrix, storage_error=formed, rows_per_point=operator.rows_per_point)


def to_scipy(operator: Any) -> LinearOperator:
    """An operator for SciPy: products with vectors and blocks from both sides.

    Parameters
    ----------
    operator : whatever :func:`wrap` takes

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Its products have the dtype of operator and vectors together.

    Raises
    ------
    TypeError
        For what cannot multiply.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import cg
    >>> from ntkspec.operators import Gram, identity, to_scipy
    >>> solution, failed = cg(to_scipy(Gram(np.ones((3, 1))) + identity(3)), np.ones(3))
    >>> bool(np.allclose(solution, 0.25))
    True
    """
    return _ForSciPy(wrap(operator))


class _ForSciPy(LinearOperator):
    def __init__(self, operator: KernelOperator):
        super().__init__(operator.dtype, operator.shape)
        self.operator = operator

    def _matmat(self, V):
        return self.operator @ V

    def _rmatmat(self, V):
        return self.operator.T @ V

    _matvec, _rmatvec = _matmat, _rmatmat


class Products(KernelOperator):
    r"""A matrix that is known through the products of a SciPy LinearOperator only.

    Parameters
    ----------
    linear : scipy.sparse.linalg.LinearOperator
        What multiplies.
    dtype : float32 or float64, optional
        Of its products; that of ``linear`` where it is None.
    symmetric : bool, optional
        None takes what is square for symmetric.
    error : float, optional
        A bound on \|computed K q - K q\| / \|K\| for \|q\| = 1; 8 eps of the dtype where it is None.
    rows_per_point : int, default 1
        K where each of K outputs of a network has a row, point-major.

    Raises
    ------
    TypeError
        For another dtype.
    ValueError
        For a rectangle that is said to be symmetric, and in products for NaN, infinity and what overflows.

    Notes
    -----
    Single entries cost whole products: a tile of T columns takes T of them, the diagonal and the Frobenius norm n.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> from ntkspec.operators import Products
    >>> Products(aslinearoperator(np.eye(3))).entrywise
    False
    """

    def __init__(
        self,
        linear: LinearOperator,
        *,
        dtype: DTypeLike | None = None,
        symmetric: bool | None = None,
        error: float | None = None,
        rows_per_point: int = 1,
    ):
        self._given, self.shape = Foreign(linear, "the operator that was wrapped"), linear.shape
        self.dtype = np.dtype(dtype or linear.dtype or np.float64)
        if self.dtype.kind in "iub":
            self.dtype = np.dtype(np.float64)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"products have dtype {self.dtype}, but float32 or float64 is needed; pass dtype=")
        self.engine = engine_of()
        self.rows_per_point = whole_points(self.shape, rows_per_point)
        self._largest, self._looked, self.products, self._quickest = 0.0, False, 0, math.inf
        square = self.shape[0] == self.shape[1]
        if symmetric and not square:
            raise ValueError(f"an operator of shape {self.shape} cannot be symmetric")
        self.symmetric = square if symmetric is None else symmetric
        self.error = ASSUMED_EPS * float(np.finfo(self.dtype).eps) if error is None else float(error)

    @property
    def linear(self) -> LinearOperator:
        """What multiplies."""
        return self._given.value

    @property
    def cost(self) -> Cost:
        """As many bytes as are read in the time of the quickest product so far; a tile takes one for each column."""
        if self._quickest == math.inf:
            self._matmat(np.ones((self.shape[1], 1), self.dtype))
        product = Work.lasting(self._quickest)
        return Cost(product, own=(1 / self.engine.TILE) * product)

    def _matmat(self, V: Array) -> Array:
        start = time.perf_counter()
        product = as_array(self.linear.matmat(V), "a product with the kernel")
        self._quickest = min(self._quickest, (time.perf_counter() - start) / max(1, V.shape[1]))
        self._refuse(product)
        self.products += V.shape[1]
        sizes, given = (np.linalg.norm(part.astype(np.float64, copy=False), axis=0) for part in (product, V))
        ratios = sizes[given > 0] / given[given > 0]
        self._largest = float(np.fmax(ratios, self._largest).max(initial=self._largest))
        return product

    def _refuse(self, product) -> None:
        """Refuse NaN, infinity, and numbers whose squares float64 does not hold."""
        bad = ~np.isfinite(product).all(axis=0)
        if bad.any():
            number = self.products + int(bad.argmax()) + 1
            raise ValueError(f"product {number} with the kernel holds NaN or infinity; look at its entries")
        largest = float(abs(product).max(initial=0.0))
        if largest > LARGEST or 0 < largest < 1 / LARGEST:
            raise ValueError(
                f"product {self.products + 1} with the kernel has entries up to {largest:.3g}, whose squares float64 "
                f"does not hold; scale it"
            )

    def look(self) -> None:
        """Refuse what is not symmetric or not linear, as far as three products with random vectors show it."""
        if self._looked:
            return
        p, q = np.random.default_rng(0).standard_normal((2, self.shape[0])).astype(self.dtype)
        (Kp, Kq), (mixed,) = (self._matmat(V.T).T.astype(np.float64) for V in (np.stack([p, q]), (p - 2 * q)[None]))
        size = float(np.linalg.norm(Kp) + np.linalg.norm(Kq)) * float(np.linalg.norm(p) + np.linalg.norm(q))
        defects = {
            "linear: K (p - 2 q) and K p - 2 K q": np.linalg.norm(mixed - Kp + 2 * Kq) * np.linalg.norm(p),
            "symmetric: <q, K p> and <K q, p>": abs(q @ Kp - p @ Kq),
        }
        for what, defect in defects.items():
            if defect > max(1e-8, 16 * self.error) * size:
                raise ValueError(
                    f"the operator is not {what} differ by {defect:.3g}, while {self.error * size:.3g} is rounding; "
                    f"where it computes in float32, pass dtype=np.float32 to ntkspec.operators.wrap"
                )
        self._looked = True

    @property
    def rounding(self) -> Rounding:
        """The error is relative to the largest ‖K q‖ / ‖q‖ so far."""
        if not self._largest:
            self._matmat(np.random.default_rng(0).standard_normal((self.shape[1], 1)))
        return Rounding.relative(self.error, self._largest, self.shape[1])

    def to_dense(self, dtype: DTypeLike | None = None) -> Array:
        """All columns. Raises ValueError where it is taken for symmetric, and they are not."""
        matrix = super().to_dense(dtype)
        if self.symmetric:
            defect = float(np.linalg.norm(matrix - matrix.T))
            allowed = max(1e-8 * float(np.linalg.norm(matrix)), 4 * self.rounding.forming_error_bound)
            if defect > allowed:
                raise ValueError(
                    f"the operator is not symmetric: |A - A.T| = {defect:.3g} in Frobenius norm, while rounding "
                    f"explains {allowed:.3g}; pass (K + K.T) / 2 where that is meant"
                )
        return matrix

    @property
    def T(self) -> "Products":
        if self.symmetric:
            return self
        known: dict[str, Any] = {"error": self.error, "rows_per_point": self.rows_per_point}
        return Products(self.linear.T, dtype=self.dtype, symmetric=False, **known)
