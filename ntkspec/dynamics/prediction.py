"""Training of a kernel model in closed form: three methods behind one name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ntkspec import checks
from ntkspec.dynamics.arguments import StartLike, checked_starts, checked_test
from ntkspec.dynamics.krylov import EXPECTED
from ntkspec.dynamics.laws import LawLike, law_of
from ntkspec.dynamics.methods import by_eigenpairs, by_features, by_krylov
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.trajectory import Trajectory
from ntkspec.engines.arrays import ArrayLike
from ntkspec.operators import as_symmetric, planning
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.layout import Layout, labels_of

# Up to this size the dense eigenproblem is solved, in about a second.
DENSE_SIZE = 1500


def predict_gd(
    kernel: MatrixLike,
    y: ArrayLike,
    *,
    eta: float,
    steps: ArrayLike,
    kernel_test: MatrixLike | None = None,
    law: LawLike = "gd",
    start: StartLike = None,
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
    law : {"gd", "flow"}, HeavyBall or Nesterov, default "gd"
        Gradient descent, its continuous limit (gradient flow, time in steps), ``ntkspec.HeavyBall(momentum)`` or
        ``ntkspec.Nesterov(momentum)``.
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
    k = d + 2); else the dense eigenproblem, O(n³) flops, up to n = 1500 where the entries are soon
    formed (300 where only products are known); else one Krylov basis from y - u_0 for all steps, p products, 4 n p²
    flops and 8 n p bytes. Where columns of y are trained on their own they share the eigenproblem; each has a Krylov
    basis, whose products are computed together.

    The basis grows until the bound on the truncation error of every step, returned as ``error``, is below 1e-10
    (float32 kernels: 1e-5) of \|y - u_0\|, or warns. For gradient flow and for eta lambda_max <= n the bound is a
    proof, up to rounding, for a semidefinite kernel and a stable rate. For larger rates and with momentum it sums what
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
    test = checked_test(kernel_test, kernel)
    start_train, start_test = checked_starts(start, kernel, test, layout)
    residual = layout.vectors(y if start_train is None else y - start_train)
    problem = Problem(kernel, test, residual, eta / layout.points, law, steps)
    return _moved(_method(problem)(problem), layout, start_train, start_test)


def _moved(found: Trajectory, layout: Layout, start, start_test) -> Trajectory:
    """The trajectory of vectors as one of outputs, from those at the start on."""
    train, test = layout.arrays(found.train), None if found.test is None else layout.arrays(found.test)
    if start is None:
        return replace(found, train=train, test=test)
    return replace(found, train=train + start, test=None if test is None else test + start_test)


def _method(problem: Problem) -> Callable[[Problem], Trajectory]:
    factors = _shared_factors(problem.kernel, problem.kernel_test)
    if factors is not None:
        return partial(by_features, F=factors[0], F_test=factors[1])
    products = EXPECTED * len(problem.residual)
    return by_eigenpairs if planning.whole(problem.kernel, DENSE_SIZE, products) else by_krylov


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
