"""Training of a kernel model: three methods in closed form, and two that follow it, behind one name."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ntkspec import checks
from ntkspec.dynamics.arguments import StartLike, checked_starts, checked_test
from ntkspec.dynamics.batch_noise import spread
from ntkspec.dynamics.batches import Batches, batch_of
from ntkspec.dynamics.coordinates import Coordinates, Features, Points, Pulled
from ntkspec.dynamics.krylov import EXPECTED
from ntkspec.dynamics.laws import FLOW, Law, LawLike, SpectralLaw, law_of, linear_steps_of, takes_steps
from ntkspec.dynamics.losses import SQUARED, LossFunction, LossLike, name_of
from ntkspec.dynamics.losses import loss as loss_of
from ntkspec.dynamics.methods import by_eigenpairs, by_features, by_krylov
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.rates import RateLike, Schedule, rate_of, strength_of
from ntkspec.dynamics.recursion import Task, by_ode, by_steps
from ntkspec.dynamics.trajectory import Trajectory
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayElsewhere, ArrayLike
from ntkspec.operators import KernelOperator, as_symmetric, planning
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.layout import Layout, labels_for

# Up to this size the dense eigenproblem is solved, in about a second.
DENSE_SIZE = 1500
# Up to so many features, or rows of a kernel without few of them, the spread of batches is followed: up to 1 s a step.
SPREAD_SIZE = 1000


def predict_gd(
    kernel: MatrixLike,
    y: ArrayLike,
    *,
    eta: RateLike,
    steps: ArrayLike,
    kernel_test: MatrixLike | None = None,
    law: LawLike = "gd",
    loss: LossLike = "squared",
    start: StartLike = None,
    ridge: float = 0.0,
    weight_decay: float = 0.0,
    origin: StartLike = None,
    batch: int | None = None,
    seed: int | None = 0,
) -> Trajectory:
    r"""Full-batch training of the kernel model u <- u - (eta/n) K (u - y), in closed form, or of another loss by steps.

    .. math:: u_t = u_0 + (I - e_t(\eta K / n)) (y - u_0), \qquad
              f_t = f_0 + K_* g_t(K) (y - u_0), \qquad g_t(\lambda) = (1 - e_t(\eta\lambda/n)) / \lambda

    Of a loss l that is not the squared one, u <- u - (eta/n) K l'(u, y) is followed step by step.

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
    eta : float, function or array, shape (steps,)
        Learning rate of the loss, (1/2n) \|f - y\|² where it is the squared one: one number, or one for each step, as a
        function of the step from 0 or an array. Unequal rates of two layers:
        ``predict_gd(eta1*K1 + eta2*K2, y, eta=1, ...)``.
    steps : int or list of int
        Recorded steps, whole numbers >= 0 in any order, of any size; for gradient flow times >= 0, whole or not.
    kernel_test : KernelOperator, array, sparse matrix, LinearOperator or None, default None
        K_*, (n', n), test points against training points; (n' K, n K) where the kernel has a row for each output.
    law : {"gd", "flow"}, HeavyBall, Nesterov or a law of your own, default "gd"
        Gradient descent, its continuous limit (gradient flow, time in steps), ``ntkspec.HeavyBall(momentum)``,
        ``ntkspec.Nesterov(momentum)``, or any law that :func:`ntkspec.train_gd` takes and whose moves are linear
        combinations of gradients.
    loss : {"squared", "logistic", "cross-entropy"}, Huber or Loss, default "squared"
        (u - y)²/2; log(1 + exp(-y u)) for labels 1 and -1; the cross-entropy of the softmax of K outputs, for y (n, K)
        of probabilities, such as one-hot labels; ``ntkspec.Huber(delta)``; ``ntkspec.Loss(value, derivative)``, one of
        your own. Each is a mean over points, of losses that are sums over outputs.
    start : array of the shape of y, or tuple of two arrays, or None, default None
        Outputs at step 0: u_0, (n,) or (n, K), or (u_0, f_0) with those on the test points, (n',) or (n', K), which
        ``kernel_test`` needs. None is zero.
    ridge : float, default 0
        Weight decay towards the start: ridge/2 \|w - w_0\|² is added to the loss, w being the weights of the model.
        Training on the squared loss then ends at kernel ridge regression, ``posterior(..., noise=n * ridge)``.
    weight_decay : float, default 0
        Weight decay towards zero: weight_decay/2 \|w\|² is added to the loss.
    origin : array, tuple of two arrays or None, default None
        Outputs of the model where all its weights are zero, in the form of ``start``, which ``weight_decay`` needs
        beside the kernel. None is zero: that of a model which is linear in its weights, f = J w. Of a network's
        expansion it is that of ``ntkspec.linearize(net).with_weights(zeros)``, f_0 - J w_0.
    batch : int or None, default None
        Points of a step, at most n: the batches of :func:`ntkspec.train_gd` with the same ``seed``, one after the
        other. None takes all points in each step.
    seed : int or None, default 0
        A whole number >= 0 that the order of the points in batches is drawn from. None is the mean over batches that
        are drawn anew in each step, uniformly and independently of all others, without a point twice; for the squared
        loss.

    Returns
    -------
    Trajectory
        ``steps``, ``train`` (steps, n), ``test`` (steps, n') or None, ``method``, ``error`` and ``error_test``
        (steps,), bounds on the truncation error, and ``stability``, which counts the modes that grow (None of steps one
        by one). For y (n, K) ``train`` is (steps, n, K) and ``test`` (steps, n', K). Of a mean over batches ``spread``
        and ``spread_test`` (steps,), how far single runs are from it.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, shapes, ``eta``, ``steps``, ``start``, ``law`` or ``loss`` do not fit, or the
        labels are none of the loss.
    TypeError
        Where arrays lie on another device than the kernel, or a law or loss of your own returns what does not fit.

    Warns
    -----
    UnstableRateWarning
        Where ``eta`` is past the largest stable rate; the warning names it. Nothing is clipped: modes that grow are
        followed.
    RuntimeWarning
        Where the bound on the truncation error is not met, or a negative eigenvalue makes outputs grow, or where
        outputs are no longer finite: those from there on are NaN.

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

    Other losses, laws of your own, rates that change, batches and weight decay: one product with the kernel a step,
    4 n k flops with k features. Nothing is truncated, ``error`` is 0. Gradient flow of another loss is solved as an
    ordinary differential equation by a Runge-Kutta method of order 8 with steps as small as the largest eigenvalue asks
    for, some 5 eta lambda_max t / n products; ``error`` is then an estimate, the distance from a solution with a
    hundred times the tolerance. It is followed in this process, for a kernel on a cluster too.

    The mean over batches is training on all points, exactly: with the squared loss the gradient is linear in outputs.
    ``spread`` follows the covariance of the outputs, 4 n k² + 8 k³ flops a step with k features (with momentum 40 k³);
    kernels without few features have k = n. It is None where k is above 1,000, and on a cluster.
    :func:`ntkspec.train_gd` goes through all points before it takes one again, so that a step of an epoch knows of
    those before: the mean of such runs differs from training on all points by terms of order eta², and their spread is
    smaller.

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

    Logistic regression:

    >>> run = ns.predict_gd(K, y, eta=0.5, steps=[1, 100], loss="logistic")
    >>> run.method, bool((run.train[1] * y > 1).all())
    ('recursion in function space (101 products), logistic loss', True)
    """
    kernel, loss = as_symmetric(kernel), loss_of(loss)
    closed = law_of(law) if isinstance(law, SpectralLaw) or not takes_steps(law) else None
    moves = None if closed == FLOW else linear_steps_of(law)
    y, layout = labels_for(y, kernel.shape[0], kernel.rows_per_point)
    y = checks.on_engine(loss.checked(y), kernel.engine, "y").astype(kernel.dtype, copy=False)
    steps = checks.as_steps(steps) if closed is None else closed.times(steps)
    rate = rate_of(eta, "eta", 0 if moves is None else int(steps.max()))
    if moves is None and (batch is not None or isinstance(rate, Schedule)):
        raise ValueError("gradient flow has no steps: it takes one learning rate, and no batches")
    batches = _batches(batch, seed, layout, loss)
    test = checked_test(kernel_test, kernel)
    starts = checked_starts(start, kernel, test, layout)
    origins = checked_starts(origin, kernel, test, layout, name="origin")
    decay = strength_of(weight_decay, "weight_decay")
    ridge = strength_of(ridge, "ridge") + decay
    plain = loss == SQUARED and batches is None and not ridge
    averaged, found = batch is not None and seed is None, None
    if closed is not None and plain and not isinstance(rate, Schedule):
        residual = layout.vectors(y if starts[0] is None else y - starts[0])
        problem = Problem(kernel, test, residual, rate / layout.points, closed, steps)
        found = _moved(_method(problem)(problem), layout, *starts)
        if not averaged:
            return found
    ascending, place = np.unique(steps, return_inverse=True)
    coordinates = _coordinates(kernel, test, layout, products=EXPECTED if moves is None else int(ascending[-1]))
    if decay:
        coordinates = _pulled(coordinates, starts, origins, decay / ridge)
    dtypes = [part.dtype for part in (kernel, test) if part is not None]
    task = Task(coordinates, loss, y, *starts, rate, ascending, dtypes=dtypes, batches=batches, ridge=ridge)
    if found is None:
        found = _in_order(by_ode(task) if moves is None else by_steps(task, moves), place)
    return found if moves is None or not averaged else _with_spread(found, task, moves, batch or 0, place)


def _pulled(
    coordinates: Coordinates,
    starts: Sequence[Array | None],
    origins: Sequence[Array | None],
    part: float,
) -> Coordinates:
    """Those with a center that is this part of the way to the origin."""
    way, way_test = (_way(start, origin, part) for start, origin in zip(starts, origins, strict=True))
    return coordinates if way is None else Pulled(coordinates, way, way_test)


def _way(start: Array | None, origin: Array | None, part: float) -> Array | None:
    """That part of the outputs at the start less those at the origin; None where both are zero."""
    if start is None:
        return None if origin is None else -part * origin
    return part * (start if origin is None else start - origin)


def _batches(batch: int | None, seed: int | None, layout: Layout, loss: LossFunction) -> Batches | None:
    """Those of a seed; None of all points, and of a mean over batches."""
    if batch is None:
        return None
    size = batch_of(batch, layout.points)
    if seed is not None:
        return Batches(layout.points, size, checks.whole_number(seed, "seed", 0))
    if loss != SQUARED:
        raise ValueError(
            f"seed=None is the mean over batches, which is known for the squared loss only, but loss={name_of(loss)!r} "
            f"came; pass a seed, a whole number >= 0, for the batches of one run"
        )
    return None


def _with_spread(found: Trajectory, task: Task, law: Law, batch: int, place: np.ndarray) -> Trajectory:
    """A mean over batches with how far runs are from it, where that is not too long."""
    found = replace(found, method=f"{found.method}, mean over batches of {batch}")
    if task.coordinates.size > SPREAD_SIZE or isinstance(task.y, ArrayElsewhere):
        return found
    far = spread(task, law, batch)
    return replace(found, spread=far.train[place], spread_test=None if far.test is None else far.test[place])


def _coordinates(
    kernel: KernelOperator, kernel_test: KernelOperator | None, layout: Layout, *, products: int
) -> Coordinates:
    """Those of the features where there are fewer of them than rows; of the points else, for so many products."""
    factors = _shared_factors(kernel, kernel_test)
    if factors is not None:
        return Features(factors[0], factors[1], layout)
    columns = 1 if layout.stacked else layout.outputs or 1
    prepared, _ = planning.prepare(kernel, max(1, products * columns), block=columns)
    return Points(prepared, kernel_test, layout)


def _in_order(found: Trajectory, place: np.ndarray) -> Trajectory:
    """The ascending steps in the order that was asked for."""
    there = engine_of(found.train).xp.asarray(place)
    return replace(
        found,
        steps=found.steps[place],
        train=found.train[there],
        test=None if found.test is None else found.test[there],
        error=found.error[place],
        error_test=None if found.error_test is None else found.error_test[place],
    )


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
