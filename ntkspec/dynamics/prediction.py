"""Training of a kernel model in closed form: three methods behind one name."""

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from ntkspec import checks
from ntkspec.dynamics.features import feature_modes
from ntkspec.dynamics.krylov import EXPECTED, grow
from ntkspec.dynamics.laws import Law, law_of
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.stability import stability_of, stable_rate
from ntkspec.dynamics.trajectory import Stability, Trajectory
from ntkspec.engines import as_array
from ntkspec.engines.arrays import ArrayLike
from ntkspec.operators import Dense, KernelOperator, as_symmetric, planning, wrap
from ntkspec.operators.adapters import MatrixLike

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

    Parameters
    ----------
    kernel : KernelOperator, array, sparse matrix or LinearOperator
        The kernel K on the n training points, (n, n), symmetric. Anything that :func:`ntkspec.operators.wrap` takes.
    y : array, shape (n,)
        Targets, finite, on the kernel's device.
    eta : float
        Learning rate of the loss (1/2n) \|f - y\|². Unequal rates of two layers:
        ``predict_gd(eta1*K1 + eta2*K2, y, eta=1, ...)``.
    steps : int or list of int
        Recorded steps, whole numbers >= 0 in any order, of any size; for gradient flow times >= 0, whole or not.
    kernel_test : KernelOperator, array, sparse matrix, LinearOperator or None, default None
        K_*, (n', n), test points against training points.
    law : {"gd", "flow"} or HeavyBall, default "gd"
        Gradient descent, its continuous limit (gradient flow, time in steps), or ``ntkspec.HeavyBall(momentum)``.
    start : array, shape (n,), or tuple of arrays (n,) and (n',), or None, default None
        Outputs at step 0: u_0, or (u_0, f_0) with those on the test points, which ``kernel_test`` needs. None is zero.

    Returns
    -------
    Trajectory
        ``steps``, ``train`` (steps, n), ``test`` (steps, n') or None, ``method``, ``error`` and ``error_test``
        (steps,), bounds on the truncation error, and ``stability``, which counts the modes that grow.

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
    Krylov basis from y - u_0 for all steps, p products, 4 n p² flops and 8 n p bytes.

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
    """
    kernel, law = as_symmetric(kernel), law_of(law)
    n = kernel.shape[0]
    y = checks.on_engine(checks.as_vector(y, "y", n), kernel.engine, "y").astype(kernel.dtype, copy=False)
    eta, steps = checks.learning_rate(eta, "eta"), law.times(steps)
    test = _checked_test(kernel_test, n)
    start_train, start_test = _starts(start, kernel, test)
    residual = y if start_train is None else y - start_train
    found = _method(kernel, test)(Problem(kernel, test, residual, eta / n, law, steps))
    return _moved(found, start_train, start_test)


def _checked_test(kernel_test, n: int) -> KernelOperator | None:
    """The test kernel as an operator of shape (n', n)."""
    if kernel_test is None:
        return None
    if not (isinstance(kernel_test, KernelOperator | LinearOperator) or issparse(kernel_test)):
        kernel_test = as_array(kernel_test, "kernel_test")
    if len(kernel_test.shape) != 2 or kernel_test.shape[1] != n:
        raise ValueError(f"kernel_test has shape {kernel_test.shape}, but (n', {n}) is needed: test against training")
    return wrap(kernel_test, symmetric=None if isinstance(kernel_test, KernelOperator) else False)


def _starts(start, kernel, kernel_test):
    """Checked outputs at step 0 on the training and on the test points; None where they are zero."""
    if start is None:
        return None, None
    paired = isinstance(start, list) and len(start) == 2 and as_array(start[0], "start").ndim == 1
    pair: tuple[Any, ...] = start if isinstance(start, tuple) or paired else (start, None)
    if len(pair) != 2 or (pair[1] is None) != (kernel_test is None):
        raise ValueError(
            "start needs the outputs at step 0 on the training points and, with kernel_test, those on the test points: "
            "start=(net(X), net(X_test))"
        )
    train = checks.as_vector(pair[0], "start", kernel.shape[0]).astype(kernel.dtype, copy=False)
    checks.on_engine(train, kernel.engine, "start")
    if kernel_test is None:
        return train, None
    test = checks.as_vector(pair[1], "start of the test points", kernel_test.shape[0])
    return train, test.astype(kernel_test.dtype, copy=False)


def _moved(found: Trajectory, start, start_test) -> Trajectory:
    if start is None:
        return found
    test = None if start_test is None else found.test + start_test
    return replace(found, train=found.train + start, test=test)


def _method(kernel, kernel_test):
    if _shared_factors(kernel, kernel_test) is not None:
        return _predict_thin
    return _predict_dense if planning.whole(kernel, DENSE_SIZE, EXPECTED) else _predict_krylov


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
# Past the largest stable rate outputs grow to infinity; that is followed, and was warned of.
_UNSTABLE = np.errstate(over="ignore", invalid="ignore")


@_UNSTABLE
def _predict_thin(problem: Problem) -> Trajectory:
    (F, F_test), y = _shared_factors(problem.kernel, problem.kernel_test), problem.residual
    engine, dtype = problem.kernel.engine, problem.kernel.dtype
    values, V, target = feature_modes(F, y, engine)
    stability = _reported(problem, values, target**2 / values)
    coefficients = (problem.rate * problem.law.gain(problem.rate * values, problem.steps) * target) @ V.T
    coefficients = engine.xp.asarray(coefficients)

    def outputs(features):
        rows = engine.shares(len(features))
        return engine.xp.hstack(
            engine.run(_UNSTABLE(lambda share: (coefficients @ features[share].T).astype(dtype)), rows)
        )

    test = None if F_test is None else outputs(F_test)
    return _exact(problem, outputs(F), test, f"features ({F.shape[1]})", stability)


@_UNSTABLE
def _predict_dense(problem: Problem) -> Trajectory:
    engine, kernel = problem.kernel.engine, problem.kernel
    values, V = engine.linalg.eigh(_float64_matrix(kernel))
    values, target = engine.to_host(values), engine.to_host(V.T @ problem.residual)
    stability = _reported(problem, values, target**2)
    x, law = problem.rate * values, problem.law
    train = (engine.xp.asarray(law.learned(x, problem.steps) * target) @ V.T).astype(kernel.dtype)
    test = None
    if problem.kernel_test is not None:
        dual = engine.xp.asarray(problem.rate * law.gain(x, problem.steps) * target) @ V.T
        test = _test_outputs(problem.kernel_test, dual)
    return _exact(problem, train, test, "dense eigenproblem", stability)


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
    kernel, kernel_test, y, steps = problem.kernel, problem.kernel_test, problem.residual, problem.steps
    xp = kernel.engine.xp
    if not y.any():
        test = None if kernel_test is None else xp.zeros((len(steps), kernel_test.shape[0]), kernel.dtype)
        nothing = stability_of(problem, np.zeros(0), np.zeros(0), complete=False)
        return _exact(problem, xp.zeros((len(steps), len(y)), kernel.dtype), test, "nothing to learn", nothing)
    lanczos, error = grow(problem)
    theta, S = lanczos.ritz()
    size = float(lanczos.start_factor[0, 0])
    stability = _reported(problem, theta, (size * S[0]) ** 2, complete=lanczos.exhausted)
    x, law, weights = problem.rate * theta, problem.law, size * S[0]
    train = (xp.asarray((weights * law.learned(x, steps)) @ S.T) @ lanczos.vectors).astype(kernel.dtype)
    bound, test, error_test = abs(size) * error, None, None
    if kernel_test is not None:
        basis_test = Dense(kernel_test @ lanczos.vectors.T.astype(kernel.dtype), symmetric=False)
        test = _test_outputs(basis_test, xp.asarray((weights * problem.rate * law.gain(x, steps)) @ S.T))
        # Where only products are known the diagonal would take n of them: the largest Ritz value stands for it.
        largest = float(kernel.diagonal(np.float64).max() if kernel.entrywise else theta.max())
        error_test = bound * np.sqrt(2 * problem.rate * steps * law.amplification * largest)
    error, method = bound / math.sqrt(len(y)), f"Krylov ({lanczos.products})"
    return Trajectory(steps, train, test, method, error, error_test=error_test, stability=stability)


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


def _reported(problem: Problem, values, masses, *, complete: bool = True):
    """Which modes grow and what they carry; warned of where that shows."""
    n, stability = len(problem.residual), stability_of(problem, values, masses, complete=complete)
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
