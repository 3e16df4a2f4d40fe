"""Training of a kernel model in closed form: three methods behind one name."""

import math
import warnings
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from ntkspec import checks
from ntkspec.dynamics.features import feature_modes
from ntkspec.dynamics.krylov import EXPECTED, grow
from ntkspec.dynamics.laws import Law, law_of
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.stability import of_all, stability_of, stable_rate
from ntkspec.dynamics.trajectory import Stability, Trajectory
from ntkspec.engines import as_array
from ntkspec.engines.arrays import ArrayLike
from ntkspec.operators import Dense, KernelOperator, as_symmetric, planning, wrap
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.layout import Layout, labels_of
from ntkspec.spectra.lanczos import Lanczos

# Up to this size the dense eigenproblem is solved, in about a second.
DENSE_SIZE = 1500


def predict_gd(
    kernel: MatrixLike,
    y: ArrayLike,
    *,
    eta: float,
    steps: ArrayLike,
    kernel_test: MatrixLike | None = None,
    law: str | Law = "gd",
    start: ArrayLike | tuple[ArrayLike, ArrayLike | None] | None = None,
) -> Trajectory:
    r"""Full-batch training of the kernel model u <- u - (eta/n) K (u - y), in closed form.

    .. math:: u_t = u_0 + (I - e_t(\eta K / n)) (y - u_0), \qquad
              f_t = f_0 + K_* g_t(K) (y - u_0), \qquad g_t(\lambda) = (1 - e_t(\eta\lambda/n)) / \lambda

    Of several outputs a kernel of points, (n, n), trains each column of y (n, K) on its own: it stands for K ⊗ I. A
    kernel with a row for each output, (n K, n K), trains all of them together. n is the number of points in both.

    Parameters
    ----------
    kernel : KernelOperator, array, sparse matrix or LinearOperator
        The kernel K on the n training points, (n, n), symmetric; or (n K, n K) with row i K + k for output k of point
        i, as ``outputs="full"`` of :func:`ntkspec.ntk` gives. Anything that :func:`ntkspec.operators.wrap` takes, which
        is told by ``rows_per_point`` that an array is of the second kind.
    y : array, shape (n,) or (n, K)
        Targets, finite, on the kernel's device. A kernel (n K, n K) needs (n, K).
    eta : float
        Learning rate of the loss (1/2n) \|f - y\|², a sum over points and outputs. Unequal rates of two layers:
        ``predict_gd(eta1*K1 + eta2*K2, y, eta=1, ...)``.
    steps : int or list of int
        Recorded steps, whole numbers >= 0 in any order, of any size; for gradient flow times >= 0, whole or not.
    kernel_test : KernelOperator, array, sparse matrix, LinearOperator or None, default None
        K_*, (n', n), test points against training points; (n' K, n K) where the kernel has a row for each output.
    law : {"gd", "flow"} or HeavyBall, default "gd"
        Gradient descent, its continuous limit (gradient flow, time in steps), or ``ntkspec.HeavyBall(momentum)``.
    start : array of the shape of y, or tuple of two arrays, or None, default None
        Outputs at step 0: u_0, (n,) or (n, K), or (u_0, f_0) with those on the test points, (n',) or (n', K), which
        ``kernel_test`` needs. None is zero.

    Returns
    -------
    Trajectory
        ``steps``, ``train`` (steps, n), ``test`` (steps, n') or None, ``method``, ``error`` and ``error_test``
        (steps,), bounds on the truncation error, and ``stability``, which counts the modes that grow. For y (n, K)
        ``train`` is (steps, n, K) and ``test`` (steps, n', K).

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or shapes, ``eta``, ``steps``, ``start`` or ``law`` do not fit.
    TypeError
        Where arrays lie on another device than the kernel.

    Warns
    -----
    UnstableRateWarning
        Where ``eta`` is past the largest stable rate; the warning names it. Nothing is clipped: modes that grow are
        followed.
    RuntimeWarning
        Where the bound on the truncation error is not met, or a negative eigenvalue makes outputs grow.

    Notes
    -----
    Method and cost: the k x k problem of the features, O(n k²) flops, where K = F Fᵀ has low rank (the linear models:
    k = d + 2); else the dense eigenproblem, O(n³) flops, up to n = 1500 (300 where only products are known); else one
    Krylov basis from y - u_0 for all steps, p products, 4 n p² flops and 8 n p bytes. Where columns of y are trained on
    their own they share the eigenproblem; each has a Krylov basis, whose products are computed together.

    The basis grows until the bound on the truncation error of every step, returned as ``error``, is below 1e-10
    (float32 kernels: 1e-5) of \|y - u_0\|, or warns. For gradient flow and for eta lambda_max <= n the bound is a
    proof, up to rounding, for a semidefinite kernel and a stable rate. For larger rates and the heavy ball it sums what
    is missed up to step 5,000, and beyond by quadrature. Past the stable range it takes the largest Ritz value for the
    largest eigenvalue. ``error_test`` takes the largest diagonal entry of K for the largest k(x*, x*) of a test point
    (where only products are known, the largest Ritz value, which bounds the entries that y - u_0 touches).

    Rounding of the kernel, about eta t / n times that of its entries, is in neither bound: take float64 for late steps.
    A Krylov basis sees the modes that y - u_0 touches; :func:`ntkspec.largest_stable_rate` is the threshold of all.

    References
    ----------
    W. Hu, L. Xiao, B. Adlam, J. Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural
    Networks, NeurIPS 2020, eqs. (6) and (10): gradient descent of the linear models.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> K, y = np.diag([2.0, 1.0]), np.array([1.0, -1.0])
    >>> run = ns.predict_gd(K, y, eta=0.5, steps=[1, 2])
    >>> u = np.zeros(2)
    >>> for _ in range(2):
    ...     u = u - 0.5 / 2 * K @ (u - y)
    >>> bool(np.allclose(run.train[-1], u))
    True

    Two outputs, each trained on its own:

    >>> both = ns.predict_gd(K, np.stack([y, -y], axis=1), eta=0.5, steps=[1, 2])
    >>> both.train.shape, bool(np.allclose(both.train[..., 1], -run.train))
    ((2, 2, 2), True)
    """
    kernel, law = as_symmetric(kernel), law_of(law)
    y, layout = labels_of(y, kernel)
    y = y.astype(kernel.dtype, copy=False)
    eta, steps = checks.learning_rate(eta, "eta"), law.times(steps)
    test = _checked_test(kernel_test, kernel)
    start_train, start_test = _starts(start, kernel, test, layout)
    residual = layout.vectors(y if start_train is None else y - start_train)
    problem = Problem(kernel, test, residual, eta / layout.points, law, steps)
    return _moved(_method(problem)(problem), layout, start_train, start_test)


def _checked_test(kernel_test, kernel: KernelOperator) -> KernelOperator | None:
    """The test kernel as an operator of shape (n', n), or (n' K, n K) of a kernel with a row for each output."""
    if kernel_test is None:
        return None
    if not (isinstance(kernel_test, KernelOperator | LinearOperator) or issparse(kernel_test)):
        kernel_test = as_array(kernel_test, "kernel_test")
    rows, each = kernel.shape[0], kernel.rows_per_point
    shape, count = kernel_test.shape, getattr(kernel_test, "rows_per_point", 1)
    if len(shape) != 2 or shape[1] != rows or shape[0] % each or count not in (1, each):
        needed = f"(n', {rows})" if each == 1 else f"({each} n', {rows}), {each} rows for each point,"
        found = "" if count == 1 else f" with {count} rows for each point"
        raise ValueError(f"kernel_test has shape {shape}{found}, but {needed} is needed: test against training")
    return wrap(kernel_test, symmetric=None if isinstance(kernel_test, KernelOperator) else False)


def _starts(start, kernel, kernel_test, layout: Layout):
    """Checked outputs at step 0 on the training and on the test points; None where they are zero."""
    if start is None:
        return None, None
    dimensions = len(layout.shape(1))
    paired = isinstance(start, list) and len(start) == 2 and as_array(start[0], "start").ndim == dimensions
    pair: tuple[Any, ...] = start if isinstance(start, tuple) or paired else (start, None)
    if len(pair) != 2 or (pair[1] is None) != (kernel_test is None):
        raise ValueError(
            "start needs the outputs at step 0 on the training points and, with kernel_test, those on the test points: "
            "start=(net(X), net(X_test))"
        )
    train = layout.checked(pair[0], "start", layout.points).astype(kernel.dtype, copy=False)
    checks.on_engine(train, kernel.engine, "start")
    if kernel_test is None:
        return train, None
    test = layout.checked(pair[1], "start of the test points", kernel_test.shape[0] // layout.rows_per_point)
    return train, test.astype(kernel_test.dtype, copy=False)


def _moved(found: Trajectory, layout: Layout, start, start_test) -> Trajectory:
    """The trajectory of vectors as one of outputs, from those at the start on."""
    train, test = layout.arrays(found.train), None if found.test is None else layout.arrays(found.test)
    if start is None:
        return replace(found, train=train, test=test)
    return replace(found, train=train + start, test=None if test is None else test + start_test)


def _method(problem: Problem):
    if _shared_factors(problem.kernel, problem.kernel_test) is not None:
        return _predict_thin
    products = EXPECTED * len(problem.residual)
    return _predict_dense if planning.whole(problem.kernel, DENSE_SIZE, products) else _predict_krylov


def _shared_factors(kernel, kernel_test):
    """(F, F*) where K = F Fᵀ is thin and the test kernel is F* Fᵀ with the same F, else None."""
    factors = kernel.low_rank_factors()
    if factors is None or factors[0].shape[1] >= kernel.shape[0]:
        return None
    if kernel_test is None:
        return factors[0], None
    test_factors = kernel_test.low_rank_factors()
    if test_factors is None or not kernel.engine.xp.array_equal(test_factors[1], factors[1]):
        return None
    return factors[0], test_factors[0]


# -------------------------------------------------------------------------------------------------- the three methods
# Each takes residuals as rows (b, n) and gives outputs (b, steps, n).
# Past the largest stable rate outputs grow to infinity; that is followed, and was warned of.
_UNSTABLE = np.errstate(over="ignore", invalid="ignore")


@_UNSTABLE
def _predict_thin(problem: Problem) -> Trajectory:
    F, F_test = _shared_factors(problem.kernel, problem.kernel_test)
    engine, dtype = problem.kernel.engine, problem.kernel.dtype
    values, V, targets = feature_modes(F, problem.residual, engine)
    stability = _reported(problem, [(values, (targets**2 / values).sum(axis=0))])
    gains = problem.rate * problem.law.gain(problem.rate * values, problem.steps)
    coefficients = engine.xp.asarray(np.vstack([gains * target for target in targets]) @ V.T)

    def outputs(features):
        rows = engine.shares(len(features))
        found = engine.run(_UNSTABLE(lambda share: (coefficients @ features[share].T).astype(dtype)), rows)
        return _by_vector(problem, engine.xp.hstack(found))

    test = None if F_test is None else outputs(F_test)
    return _exact(problem, outputs(F), test, f"features ({F.shape[1]})", stability)


@_UNSTABLE
def _predict_dense(problem: Problem) -> Trajectory:
    engine, kernel = problem.kernel.engine, problem.kernel
    values, V = engine.linalg.eigh(_float64_matrix(kernel))
    values, targets = engine.to_host(values), [engine.to_host(V.T @ residual) for residual in problem.residual]
    stability = _reported(problem, [(values, sum(target**2 for target in targets))])
    x, law = problem.rate * values, problem.law

    def in_space(parts):
        return engine.xp.asarray(np.vstack([parts * target for target in targets])) @ V.T

    train, test = in_space(law.learned(x, problem.steps)).astype(kernel.dtype), None
    if problem.kernel_test is not None:
        dual = in_space(problem.rate * law.gain(x, problem.steps))
        test = _by_vector(problem, _test_outputs(problem.kernel_test, dual))
    return _exact(problem, _by_vector(problem, train), test, "dense eigenproblem", stability)


def _by_vector(problem: Problem, outputs):
    """Outputs of all steps of one vector after the other, (b steps, n), as (b, steps, n)."""
    return outputs.reshape(len(problem.residual), len(problem.steps), -1)


def _exact(problem: Problem, train, test, method: str, stability: Stability) -> Trajectory:
    """A trajectory that no truncation separates from the truth."""
    nothing = np.zeros(len(problem.steps))
    error_test = None if test is None else nothing
    return Trajectory(problem.steps, train, test, method, nothing, error_test=error_test, stability=stability)


def _test_outputs(kernel_test, dual):
    """K_* alpha for each row alpha of ``dual``; NaN where alpha is past the square root of the largest number."""
    outputs = kernel_test.engine.xp.full((len(dual), kernel_test.shape[0]), np.nan, kernel_test.dtype)
    followed = (abs(dual) < np.finfo(kernel_test.dtype).max ** 0.5).all(axis=1)
    if followed.any():
        outputs[followed] = (kernel_test @ dual[followed].astype(kernel_test.dtype).T).T
    return outputs


def _float64_matrix(kernel):
    """The matrix in float64, from the features where there are some: then its null space is one to 1e-16."""
    factors = kernel.low_rank_factors()
    if factors is None:
        return kernel.to_dense(np.float64)
    F = factors[0].astype(np.float64, copy=False)
    return F @ F.T


@_UNSTABLE
def _predict_krylov(problem: Problem) -> Trajectory:
    kernel, kernel_test, steps, xp = problem.kernel, problem.kernel_test, problem.steps, problem.kernel.engine.xp
    live = [k for k, residual in enumerate(problem.residual) if residual.any()]
    train = xp.zeros((len(problem.residual), len(steps), kernel.shape[0]), kernel.dtype)
    dtype = kernel.dtype if kernel_test is None else np.result_type(kernel.dtype, kernel_test.dtype)
    test = None if kernel_test is None else xp.zeros((*train.shape[:2], kernel_test.shape[0]), dtype)
    if not live:
        nothing = stability_of(problem, np.zeros(0), np.zeros(0), complete=False)
        return _exact(problem, train, test, "nothing to learn", nothing)
    bases = [_Basis(problem, *found) for found in grow(replace(problem, residual=problem.residual[live]))]
    modes = [(basis.theta, basis.weights**2) for basis in bases]
    stability = _reported(problem, modes, complete=all(basis.lanczos.exhausted for basis in bases))
    for k, basis in zip(live, bases, strict=True):
        train[k] = basis.outputs()
    error = reduce(np.hypot, [basis.bound for basis in bases]) / math.sqrt(problem.points)
    method, error_test = f"Krylov ({sum(basis.lanczos.products for basis in bases)})", None
    if test is not None:
        for k, basis in zip(live, bases, strict=True):
            test[k] = basis.outputs_of(kernel_test)
        # Where only products are known the diagonal would take n of them: the largest Ritz value stands for it.
        largest = float(
            kernel.diagonal(np.float64).max() if kernel.entrywise else max(basis.theta.max() for basis in bases)
        )
        growth = np.sqrt(2 * problem.rate * steps * problem.law.amplification * largest)
        error_test = np.max([basis.bound for basis in bases], axis=0) * growth
    return Trajectory(steps, train, test, method, error, error_test=error_test, stability=stability)


class _Basis:
    """What a Krylov basis says of one vector: Ritz values, what they carry of it, and a bound on |u - u^Krylov|."""

    def __init__(self, problem: Problem, lanczos: Lanczos, error: np.ndarray):
        self.problem, self.lanczos = problem, lanczos
        self.theta, self._S = lanczos.ritz()
        size = float(lanczos.start_factor[0, 0])
        self.weights, self.bound = size * self._S[0], abs(size) * error

    def outputs(self):
        """On the training points, (steps, n)."""
        law, x, xp = self.problem.law, self.problem.rate * self.theta, self.lanczos.engine.xp
        learned = xp.asarray((self.weights * law.learned(x, self.problem.steps)) @ self._S.T)
        return (learned @ self.lanczos.vectors).astype(self.problem.kernel.dtype)

    def outputs_of(self, kernel_test: KernelOperator):
        """On test points, (steps, n')."""
        law, rate, xp = self.problem.law, self.problem.rate, self.lanczos.engine.xp
        vectors = self.lanczos.vectors.T.astype(self.problem.kernel.dtype)
        basis_test = Dense(kernel_test @ vectors, symmetric=False)
        gains = (self.weights * rate * law.gain(rate * self.theta, self.problem.steps)) @ self._S.T
        return _test_outputs(basis_test, xp.asarray(gains))


# --------------------------------------------------------------------------------------------------------- what is told
class UnstableRateWarning(RuntimeWarning):
    """The learning rate is past the largest stable one."""


def warn_if_unstable(eta: float, norm: float, n: int, law: str | Law = "gd", *, stacklevel: int = 3) -> None:
    """Warn where training with rate eta and a kernel of that norm diverges; the threshold is named."""
    largest = stable_rate(norm, n, law)
    if eta > largest:
        warnings.warn(
            f"learning rate {eta:.6g} is past the largest stable one, {law_of(law).limit:.4g} n / lambda_max = "
            f"{largest:.6g}: training of the kernel model diverges",
            UnstableRateWarning,
            stacklevel=stacklevel,
        )


def _reported(problem: Problem, modes: list, *, complete: bool = True):
    """Which modes (values, masses) grow and what they carry, each part as seen from other vectors; warned of where that
    shows."""
    n, stability = problem.points, of_all([stability_of(problem, *part, complete=complete) for part in modes])
    values = np.concatenate([values for values, _ in modes])
    if not len(values):
        return stability
    warn_if_unstable(problem.rate * n, float(values.max()), n, problem.law, stacklevel=6)
    smallest = min(0.0, float(values.min()))
    growth = float(np.max(problem.steps) * max(0.0, -problem.law.decay(problem.rate * smallest)))
    if growth > 0.01:
        warnings.warn(
            f"the kernel has the eigenvalue {smallest:.3g} < 0, whose part of y grows by exp({growth:.3g}) over "
            f"the steps; where it comes from rounding, use float64 or fewer steps",
            RuntimeWarning,
            stacklevel=5,
        )
    return stability
