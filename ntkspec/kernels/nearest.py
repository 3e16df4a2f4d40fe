"""The kernel of a linear model that is nearest to a given kernel: for networks of which no theory says one."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import brentq

from ntkspec import checks, progress
from ntkspec.engines import as_array, engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels.linear import norm_features
from ntkspec.networks import points as of_points
from ntkspec.networks.protocol import Points
from ntkspec.objects.lazy import cached_property
from ntkspec.objects.notebook import Row, Shown, Table
from ntkspec.objects.words import counted
from ntkspec.operators import Diagonal, Gram, KernelOperator, as_symmetric, planning
from ntkspec.operators.adapters import MatrixLike, require_here
from ntkspec.operators.base import points_of
from ntkspec.operators.tiles import slices
from ntkspec.spectra.norms import EXPECTED_PRODUCTS, frobenius_norm, spectral_norm
from ntkspec.spectra.results import Estimate
from ntkspec.spectra.traces import trace

# Vectors that are multiplied together, and those that one reading of a stored kernel serves in the forecast.
TOGETHER, BLOCK = 64, 8
# Width of the intervals of Frobenius norms where random probes are sooner than all entries.
GAP_RTOL = 0.05
# Where only products are known: probes of the trace, and how often the nearest kernel so far is taken off them.
TRACE_PROBES, TRACE_ROUNDS = 16, 4
# A feature of the norms that differs from the others by less than so many eps of the points is rounding.
ROUNDING = 64
# Eigenvalues of the features' coefficients below this, relative to the kernel, are rounding.
NOTHING = 1e-14


@dataclass(frozen=True)
class LinearCoefficients:
    r"""The linear kernel data X Xᵀ/d + sum_k p_k(s - 1) p_k(s' - 1) + identity I, with s = ‖x‖/sqrt d.

    Attributes
    ----------
    data : float
        Of X Xᵀ/d; 0 where no X was given.
    norms : (k, 3) array
        The coefficients of the polynomials p_k in s - 1, from the constant one on, k <= 3.
    identity : float
        Of the identity, which points outside the training set do not see.
    square : float or None
        ``constant`` d / trace_ratio, where ``trace_ratio`` was given: vartheta1² of Theta^lin1, whose constant stands
        for the mean of (<x, x'>/d)² times this.

    Notes
    -----
    ``data`` and ``norms`` are those of :func:`ntkspec.linear_expansion`, to be compared.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.kernels import LinearCoefficients
    >>> LinearCoefficients(1.0, np.array([[3.0, 0.0, 0.0]]), 0.5).constant
    9.0
    """

    data: float
    norms: np.ndarray
    identity: float
    square: float | None = None

    @property
    def constant(self) -> float:
        """Of 1 1ᵀ for inputs of norm sqrt d: the sum of the squares p_k(0)²."""
        return float(np.square(self.norms[:, 0]).sum())


@dataclass(frozen=True, eq=False, repr=False)
class LinearFit(Shown):
    r"""The linear kernel that is nearest to a kernel Theta in Frobenius norm.

    Attributes
    ----------
    theta : KernelOperator
        The kernel; its stored matrix where that was sooner.
    X : (n, d) array or None
        The points.
    coefficients : LinearCoefficients
        Of X Xᵀ/d, the norm features and the identity.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((20, 5))
    >>> fit = ns.nearest_linear_kernel(3 * X @ X.T / 5 + 2 * np.eye(20), X)
    >>> round(fit.coefficients.data, 9), round(fit.coefficients.identity, 9), fit.relative_gap < 1e-12
    (3.0, 2.0, True)
    """

    theta: KernelOperator
    X: Array | None
    coefficients: LinearCoefficients

    @cached_property
    def operator(self) -> KernelOperator:
        """The nearest kernel, (n, n), in the dtype of Theta: positive semidefinite."""
        size, (n, _), xp = self.coefficients.identity, self.theta.shape, self.theta.engine.xp
        return self.linear + Diagonal(xp.full(n, size, self.theta.dtype)) if size else self.linear

    @cached_property
    def linear(self) -> KernelOperator:
        """``operator`` without the identity, of rank at most d + 3: the kernel of the linear model itself."""
        return self._between([self.theta.shape[0]] if self.X is None else [self.X])

    def between(self, X: Points, X2: Points | None = None) -> KernelOperator:
        """The linear kernel of other points: X Xᵀ/d and the norm features, without the identity.

        Parameters
        ----------
        X : (n', d) array, or (n', ...) that is flattened
            Test points. Where the fit has no X, points of any form: only their number counts.
        X2 : (n'', d) array, optional
            The points of the columns; None means X itself.

        Returns
        -------
        KernelOperator
            (n', n'), or (n', n''): ``fit.between(X_test, X)`` is the kernel of test with training points.

        Raises
        ------
        TypeError
            For points of whole numbers.
        ValueError
            For points of another number of features.
        """
        sides = [X] if X2 is None else [X, X2]
        if self.X is None:
            return self._between([of_points.count(side) for side in sides])
        return self._between([_features(side, self.theta, self.X.shape[1]) for side in sides])

    def _between(self, sides: list[Any]) -> KernelOperator:
        """sides : points (n, d), or where there is no X their numbers."""
        own, xp, dtype = self.coefficients, self.theta.engine.xp, self.theta.dtype
        if self.X is None:
            return Gram(*(xp.full((n, 1), own.constant**0.5, dtype) for n in sides))
        inputs = (own.data / self.X.shape[1]) * Gram(*sides)
        if not len(own.norms):
            return inputs
        return inputs + Gram(*(norm_features(own.norms, side).astype(dtype) for side in sides))

    @cached_property
    def relative_gap(self) -> Estimate:
        r"""\|Theta - L\|_F / \|Theta\|_F, which is what no linear kernel explains, with its interval.

        Computed at the first look. Exact up to rounding, or where random probes are sooner from norms in intervals of
        relative width 0.05.
        """
        return _ratio(*(frobenius_norm(one, rtol=GAP_RTOL) for one in (self.theta - self.operator, self.theta)))

    @cached_property
    def relative_gap_spectral(self) -> Estimate:
        r"""\|Theta - L\| / \|Theta\| in spectral norm, with its interval, at the first look.

        L is nearest in Frobenius norm: another linear kernel may be nearer in this one.
        """
        return _ratio(*(spectral_norm(one) for one in (self.theta - self.operator, self.theta)))

    def __repr__(self) -> str:
        own, count = self.coefficients, len(self.coefficients.norms)
        return (
            f"LinearFit of {self.theta.shape[0]} points: {own.data:.5g} X Xᵀ/d + {own.constant:.5g} 1 1ᵀ "
            f"({counted(count, 'norm feature')}) + {own.identity:.5g} I"
        )

    def _shown(self) -> Table:
        own, norms = self.coefficients, len(self.coefficients.norms)
        known = self.__dict__.get("relative_gap")  # computed at the first look, which is not this one
        return Table(
            f"Nearest linear kernel of {self.theta.shape[0]:,} points",
            [
                Row("X Xᵀ/d", f"{own.data:.5g}"),
                Row("1 1ᵀ", f"{own.constant:.5g}", f"with {counted(norms, 'norm feature')}" if norms else ""),
                Row("I", f"{own.identity:.5g}"),
                Row("not linear", "see relative_gap" if known is None else str(known), "‖Θ − L‖ over ‖Θ‖, Frobenius"),
            ],
        )


def _ratio(part: Estimate, whole: Estimate) -> Estimate:
    """Of two norms; of a kernel that is zero nothing is left."""
    return part / whole if float(whole) else part


def nearest_linear_kernel(theta: MatrixLike, X: ArrayLike | None, *, trace_ratio: float | None = None) -> LinearFit:
    r"""The kernel of a linear model that is nearest to a kernel in Frobenius norm, and its certified distance.

    .. math:: \min_{a \ge 0,\, S \succeq 0,\, \lambda \ge 0} \left\| \Theta - L \right\|_F, \qquad
              L = a \frac{X X^T}{d} + F S F^T + \lambda I, \qquad
              F = \left[1,\; s - 1,\; (s - 1)^2\right], \quad s = \frac{\|x\|}{\sqrt d}

    Parameters
    ----------
    theta : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric, with a row for each point. Anything that :func:`ntkspec.operators.wrap` takes.
    X : (n, d) array, or (n, ...) that is flattened, or None
        Points, float32 or float64, on the device of ``theta``: the network's inputs, or any features of them. None
        leaves 1 1ᵀ and the identity: for tokens, graphs and other points that are no vectors.
    trace_ratio : float, optional
        Tr[Sigma²]/d of the points' distribution, for ``coefficients.square`` alone: the kernel does not depend on it.

    Returns
    -------
    LinearFit
        ``operator``, the nearest kernel; ``coefficients``; ``relative_gap`` and ``relative_gap_spectral``, the
        certified distances relative to the norm of ``theta``, computed at the first look; ``between(X_test, X)``, the
        linear kernel of other points.

    Raises
    ------
    TypeError
        For points of whole numbers, which may be tokens.
    ValueError
        Where the kernel is not symmetric or has several rows a point, X has another number of points, NaN, or numbers
        whose squares float64 does not hold.

    Notes
    -----
    The linear kernels of the paper, and of fully-connected networks of any depth (:func:`ntkspec.linear_kernel`), are
    in this set, so that ``theta`` is never farther from L than from Theta^lin. The set is a closed convex cone of
    kernels that are positive semidefinite on all points: L is unique and
    :math:`\|\Theta - M\|_F^2 \ge \|\Theta - L\|_F^2 + \|L - M\|_F^2` for every other one M, so that with Theta^lin
    for M the gap of the theory splits into its constants and what is not linear at all. The coefficients are unique
    where X Xᵀ, the features and the identity are independent.

    For given a and lambda the best S is a projection (the positive part of a 3 x 3 matrix), and what is left is convex
    in (a, lambda): its two optimality conditions are solved by bracketed roots, to rounding. Cost: d + 3 products in
    blocks of 64, or the matrix where :func:`ntkspec.plan` finds that sooner, the diagonal, and 2 n d min(n, d) flops.
    Where only products are known, 16 random probes of what is left take the place of the diagonal: they are exact where
    that is a multiple of the identity, and otherwise leave ``identity`` uncertain by 0.09 of the gap over sqrt n. The
    gaps are certified for the kernel that was found, whatever its coefficients.

    A kernel of K outputs with outputs="full" is refused: among K ⊗ I, the nearest one is that of outputs="mean".

    References
    ----------
    W. Hu, L. Xiao, B. Adlam, J. Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural
    Networks, NeurIPS 2020, eqs. (5), (9) and (11): the linear kernels that theory says.

    Examples
    --------
    >>> import ntkspec as ns
    >>> X = ns.datasets.gaussian(60, 10).X
    >>> theta = ns.ntk(ns.TwoLayer.symmetric(10, 20, "relu"), X)
    >>> fit = ns.nearest_linear_kernel(theta, X)
    >>> linear = ns.linear_kernel("relu", X)
    >>> float(fit.relative_gap) <= float(ns.frobenius_norm(theta - linear) / ns.frobenius_norm(theta))
    True
    """
    theta = require_here(as_symmetric(theta), "the nearest linear kernel is looked for on one machine")
    if theta.rows_per_point > 1:
        raise ValueError(
            f"the kernel has {theta.shape[0]} rows for {points_of(theta)} points (outputs='full'); take that of "
            f"outputs='mean': its nearest linear kernel L gives L ⊗ I, which is nearest to this one among K ⊗ I"
        )
    if trace_ratio is not None and not 0 < trace_ratio < math.inf:
        raise ValueError(f"trace_ratio={checks.shown(trace_ratio)}, but Tr[Sigma^2]/d is a finite number > 0")
    X = None if X is None else _features(X, theta)
    if X is not None and len(X) != theta.shape[0]:
        raise ValueError(f"X holds {len(X)} points, but the kernel has shape {theta.shape}; pass the same points")
    d = 0 if X is None else X.shape[1]
    theta, _ = planning.prepare(theta, d + 3 + EXPECTED_PRODUCTS, block=BLOCK)
    basis = _Basis.of(theta, X)
    found = _nearest(basis, _with_identity(theta, X, basis, _overlaps(theta, X, basis)))
    square = None if trace_ratio is None or not d else found.constant * d / trace_ratio
    return LinearFit(theta, X, LinearCoefficients(found.data, found.norms, found.identity, square))


def _features(X: ArrayLike, theta: KernelOperator, columns: int | None = None) -> Array:
    """Points as a matrix in the dtype of the kernel, those of several axes flattened."""
    given = as_array(X, "X")
    if given.dtype.kind in "iub":
        raise TypeError(
            f"X holds whole numbers ({given.dtype}), of which a kernel may not be linear: pass X.astype(float) where "
            f"they are intensities or counts, X=None or an embedding of them where they are tokens or classes"
        )
    flat = given.reshape(len(given), -1) if given.ndim > 2 else given
    X = checks.as_matrix(flat, "X", columns=columns, fits="the points of the fit")
    return checks.on_engine(X, theta.engine, "X").astype(theta.dtype, copy=False)


# -------------------------------------------------------------------------------------------------- the span, and Theta
@dataclass(frozen=True)
class _Basis:
    """X Xᵀ / scale and I / sqrt n of Frobenius norm one, and orthonormal norm features Q = [1, s - 1, (s - 1)²] W.

    inner : Qᵀ X Xᵀ Q / scale, (k, k). cosine : <X Xᵀ, I> / (scale sqrt n). d : columns of X, 0 where there is none.
    """

    Q: np.ndarray
    W: np.ndarray
    scale: float
    inner: np.ndarray
    cosine: float
    n: int
    d: int

    @classmethod
    def of(cls, theta: KernelOperator, X: Array | None) -> "_Basis":
        n, engine = theta.shape[0], theta.engine
        if X is None:
            return cls(np.full((n, 1), n**-0.5), np.array([[n**-0.5], [0.0], [0.0]]), 1.0, np.zeros((1, 1)), 0.0, n, 0)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = engine.to_host(engine.linalg.row_products(X, X, np.float64))
            size = math.sqrt(_gram_squares(X))
            Q, W = _norm_basis(squares, X)
            inner = engine.to_host(_times_transposed(X, engine.xp.asarray(Q)))
        scale = size or 1.0
        if not (size < math.inf and np.isfinite(Q).all()):
            raise ValueError(
                f"X holds numbers up to {float(abs(X).max()):.3g}, whose powers float64 does not hold; scale them"
            )
        return cls(Q, W, scale, inner.T @ inner / scale, float(squares.sum()) / scale / n**0.5, n, X.shape[1])


def _norm_basis(squares: np.ndarray, X: Array) -> tuple[np.ndarray, np.ndarray]:
    """(Q, W), Q = F W (n, k) orthonormal for the first k <= 3 features F = [1, s - 1, (s - 1)²] that differ by more
    than rounding."""
    excess = np.sqrt(squares / X.shape[1]) - 1
    largest = float(abs(excess).max())
    Q, R = np.linalg.qr(np.stack([np.ones_like(excess), excess, excess**2], axis=1))
    rounding = ROUNDING * float(np.finfo(X.dtype).eps) * len(X) ** 0.5 * (1 + largest)
    distinct = abs(np.diag(R)) > np.array([0.0, rounding, rounding * largest])[: len(R)]
    k = len(distinct) if distinct.all() else int(distinct.argmin())
    W = np.zeros((3, k))
    W[:k] = solve_triangular(R[:k, :k], np.eye(k))
    return Q[:, :k], W


def _gram_squares(X: Array) -> float:
    """|X Xᵀ|_F² in float64, through the smaller of X Xᵀ and Xᵀ X."""
    xp, (n, d) = engine_of(X).xp, X.shape
    if n <= d:
        rows = X.astype(np.float64)
        return float(xp.square(rows @ rows.T).sum())
    return float(xp.square(_times_transposed(X, X)).sum())


def _times_transposed(X: Array, Q: Array) -> Array:
    """Xᵀ Q in float64, block of rows by block of rows."""
    total = engine_of(X).xp.zeros((X.shape[1], Q.shape[1]))
    for rows in slices(len(X), 1024):
        total += X[rows].astype(np.float64).T @ Q[rows].astype(np.float64)
    return total


@dataclass(frozen=True)
class _Overlaps:
    """<Theta, .> of the basis: with X Xᵀ / scale, Qᵀ Theta Q, and with I / sqrt n (-inf: no identity is looked for)."""

    data: float
    norms: np.ndarray
    identity: float = -math.inf


def _overlaps(theta: KernelOperator, X: Array | None, basis: _Basis) -> _Overlaps:
    engine, found = theta.engine, 0.0
    Q = engine.xp.asarray(basis.Q)
    with engine.one_blas_thread(), progress.bar(total=basis.d + Q.shape[1], text="nearest linear kernel") as bar:
        norms = engine.to_host(Q.T @ (theta @ Q))
        bar.update(Q.shape[1])
        for V in [] if X is None else [engine.xp.ascontiguousarray(X[:, cols]) for cols in slices(basis.d, TOGETHER)]:
            found += float(engine.linalg.row_products(V, theta @ V, np.float64).sum())
            bar.update(V.shape[1])
    return _Overlaps(found / basis.scale, (norms + norms.T) / 2)


def _with_identity(theta: KernelOperator, X: Array | None, basis: _Basis, found: _Overlaps) -> _Overlaps:
    """Theta's trace: from the diagonal, or where that takes n products from random signs, which see what is left by
    the nearest kernel so far; its own trace is known."""
    if theta.entrywise:
        return replace(found, identity=float(trace(theta)) / basis.n**0.5)
    xp = theta.engine.xp
    signs = xp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (basis.n, TRACE_PROBES)).astype(theta.dtype))
    product = theta @ signs
    for _ in range(TRACE_ROUNDS):
        nearest = LinearFit(theta, X, _nearest(basis, found)).operator
        left = float((signs * (product - nearest @ signs)).sum()) / TRACE_PROBES
        found = replace(found, identity=(float(trace(nearest)) + left) / basis.n**0.5)
    return found


# ------------------------------------------------------------------------------------------------- the convex problem
def _nearest(basis: _Basis, theta: _Overlaps) -> LinearCoefficients:
    """The projection of Theta on the cone a X Xᵀ/scale + Q S Qᵀ + b I/sqrt n with a, b >= 0 and S semidefinite.

    Its optimality conditions: S is the positive part of Qᵀ (Theta - a X Xᵀ/scale - b I/sqrt n) Q, and the overlaps of
    Theta - L with X Xᵀ and with I are zero, or negative where a = 0 or b = 0.
    """
    unit = np.eye(len(theta.norms)) / basis.n**0.5
    # No part of L is larger than L, and |L|² = <Theta, L>.
    most = abs(theta.data) + float(np.linalg.norm(theta.norms)) + max(0.0, theta.identity)

    def features(a: float, b: float) -> np.ndarray:
        return _positive_part(theta.norms - a * basis.inner - b * unit)

    def of_identity(a: float) -> float:
        def slope(b: float) -> float:
            return b + float(np.trace(features(a, b))) / basis.n**0.5 + a * basis.cosine - theta.identity

        return _nonnegative_root(slope, most)

    def slope_of_data(a: float) -> float:
        b = of_identity(a)
        return a + float((features(a, b) * basis.inner).sum()) + b * basis.cosine - theta.data

    a = _nonnegative_root(slope_of_data, most) if basis.d else 0.0
    b = of_identity(a)
    values, vectors = np.linalg.eigh(features(a, b))
    seen = values > NOTHING * most
    norms = (basis.W @ (vectors[:, seen] * np.sqrt(values[seen]))).T[::-1]
    return LinearCoefficients(a * basis.d / basis.scale, norms, b / basis.n**0.5)


def _positive_part(A: np.ndarray) -> np.ndarray:
    """The nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(A)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def _nonnegative_root(slope: Callable[[float], float], most: float) -> float:
    """Where the derivative of a convex function is zero, or 0 where it is positive everywhere; at most ``most``."""
    if not most > 0 or slope(0.0) >= 0:
        return 0.0
    return float(brentq(slope, 0.0, 2 * most, xtol=1e-16 * most, rtol=4 * np.finfo(float).eps))
