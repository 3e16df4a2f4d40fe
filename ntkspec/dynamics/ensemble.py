"""Ensembles of infinitely wide networks that train for some steps: mean and covariance of their outputs."""

from dataclasses import dataclass

import numpy as np

from ntkspec import checks
from ntkspec.dynamics.ensemble_kernels import Kernels, checked_kernels
from ntkspec.dynamics.gaussians import Ensemble, Gaussian
from ntkspec.dynamics.laws import FOLLOWED, LawLike, SpectralLaw, law_of
from ntkspec.dynamics.methods import float64_matrix
from ntkspec.dynamics.sandwich import (
    Learning,
    means,
    spread_of_readout,
    spread_on_test,
    spread_on_train,
    symmetric_parts,
)
from ntkspec.dynamics.telling import warn_if_growing, warn_if_unstable
from ntkspec.engines import as_array, engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.objects.words import counted
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.layout import Layout, labels_of

# Matrices of n² float64 numbers that are held at once: the kernels, the eigenvectors, and what LAPACK works in.
MATRICES = 6


def ensemble(
    ntk: MatrixLike | None,
    nngp: MatrixLike,
    y: ArrayLike,
    *,
    eta: float,
    steps: ArrayLike | None,
    ntk_cross: MatrixLike | None = None,
    nngp_cross: MatrixLike | None = None,
    nngp_test: MatrixLike | None = None,
    law: LawLike = "gd",
    train: bool = False,
    covariance: bool = True,
) -> Ensemble:
    r"""The outputs of infinitely wide networks, from random weights on, after some steps of training.

    .. math:: E[f_t] = A_t y, \qquad Cov[f_t] = K_{**} - A_t K_*^T - K_* A_t^T + A_t K A_t^T, \qquad
              A_t = \Theta_* \Theta^{-1} (I - e_t(\eta \Theta / n))

    and on the training points (I - e_t) y and e_t K e_t, with e_t(x) = (1 - x)^t for gradient descent and exp(-x t) for
    gradient flow. At the start the networks are the Gaussian process with mean 0 and covariance K.

    Parameters
    ----------
    ntk : KernelOperator, array, sparse matrix, LinearOperator or None
        Theta on the n training points, (n, n), symmetric, as :func:`ntkspec.expected_ntk` gives; or (n K, n K) with a
        row for each of K outputs. None trains the last layer alone: Theta is K then.
    nngp : KernelOperator, array, sparse matrix or LinearOperator
        K, the covariance of the networks' outputs at the start, of the same shape, as :func:`ntkspec.expected_nngp`
        gives.
    y : array, shape (n,) or (n, K)
        Labels, finite, on the kernels' device. Of kernels of points each column has a mean of its own, and all have one
        covariance.
    eta : float
        Learning rate of the loss (1/2n) \|f - y\|², a sum over points and outputs.
    steps : int, list of int, or None
        Recorded steps, whole numbers >= 0 in any order; for gradient flow times >= 0, whole or not. ``numpy.inf`` is
        the limit, which None asks for alone.
    ntk_cross : KernelOperator, array, sparse matrix, LinearOperator or None, default None
        Theta_*, test against training points, (n', n). Not where ``ntk`` is None.
    nngp_cross : KernelOperator, array, sparse matrix, LinearOperator or None, default None
        K_*, test against training points, (n', n).
    nngp_test : KernelOperator, array, sparse matrix, LinearOperator or None, default None
        K_** on the test points, (n', n'), symmetric; without ``covariance`` its diagonal is all that is read. None
        leaves the test points without variance.
    law : {"gd", "flow"}, HeavyBall or Nesterov, default "gd"
        Gradient descent, its continuous limit (gradient flow, time in steps), ``ntkspec.HeavyBall(momentum)`` or
        ``ntkspec.Nesterov(momentum)``.
    train : bool, default False
        Whether the training points are looked at beside test points. Without test points they always are.
    covariance : bool, default True
        Whether covariances are kept, n'² numbers for each step; False gives variances alone.

    Returns
    -------
    Ensemble
        ``steps``, and ``train`` and ``test``, each with ``mean`` (steps, n), ``variance`` (steps, n) and ``covariance``
        (steps, n, n), or None. For y (n, K) the mean is (steps, n, K). In the dtype of the kernels together.

    Raises
    ------
    ValueError
        Where a kernel is not symmetric, shapes, ``eta``, ``steps`` or ``law`` do not fit, a kernel of the test points
        is missing, training has no limit that is asked for, or memory is too small.
    TypeError
        Where arrays lie on another device than the kernel.

    Warns
    -----
    UnstableRateWarning
        Where ``eta`` is past the largest stable rate. Nothing is clipped: modes that grow are followed.
    RuntimeWarning
        Where a negative eigenvalue makes outputs grow.

    Notes
    -----
    All steps share one eigendecomposition of Theta, in float64. Eigenvalues within rounding of 0 (of float64, n eps of
    the largest, and of the kernel's dtype) count as 0: nothing is learned in their modes, so that the limit is the
    fit of least norm.

    Cost: 9 n³ flops, 4 n³ more with ``ntk``, and for each step with ``ntk`` 2 n² n' flops for n' points, of variances
    half of them; 48 n² bytes. Results are refused that do not fit into memory. At any n :func:`ntkspec.predict_gd` has
    the mean, and :func:`ntkspec.posterior` the limit for ``ntk=None``.

    References
    ----------
    J. Lee, L. Xiao, S. Schoenholz, Y. Bahri, R. Novak, J. Sohl-Dickstein, J. Pennington, Wide Neural Networks of Any
    Depth Evolve as Linear Models Under Gradient Descent, NeurIPS 2019, eqs. (14) to (16).

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> data = ns.datasets.gaussian(60, 5, n_test=10)
    >>> theta, K = ns.expected_ntk("erf", data.X), ns.expected_nngp("erf", data.X)
    >>> test = {"ntk_cross": ns.expected_ntk("erf", data.X_test, data.X),
    ...         "nngp_cross": ns.expected_nngp("erf", data.X_test, data.X),
    ...         "nngp_test": ns.expected_nngp("erf", data.X_test)}
    >>> found = ns.ensemble(theta, K, data.y, eta=1.0, steps=[0, 100, np.inf], **test)
    >>> found.test.mean.shape, found.test.covariance.shape
    ((3, 10), (3, 10, 10))
    >>> bool((found.test.variance[2] < found.test.variance[0]).all())
    True
    """
    kernels = checked_kernels(ntk, nngp, ntk_cross=ntk_cross, nngp_cross=nngp_cross, nngp_test=nngp_test)
    law, eta = law_of(law), checks.learning_rate(eta, "eta")
    y, layout = labels_of(y, kernels.training)
    steps = _times(steps, law)
    train = train or kernels.cross is None
    _fits(kernels, len(steps), train=train, full=covariance)
    computed, V = kernels.engine.linalg.eigh(float64_matrix(kernels.training))
    values, rate = _without_rounding(kernels.engine.to_host(computed), kernels.training.dtype), eta / layout.points
    learning = _learning(values, V, rate=rate, law=law, steps=steps)
    warn_if_unstable(eta, float(values[-1]), layout.points, law)
    warn_if_growing(law, rate, float(values[0]), steps[np.isfinite(steps)])
    inner = None if kernels.readout else V.T @ float64_matrix(kernels.prior) @ V
    problem = _Problem(kernels, learning, layout.vectors(y).astype(np.float64) @ V, inner, layout, covariance)
    return Ensemble(steps, _on_train(problem) if train else None, _on_test(problem), int((values == 0).sum()))


def _times(steps: ArrayLike | None, law: SpectralLaw) -> np.ndarray:
    """Checked steps in float64; inf is the limit."""
    if steps is None:
        return np.array([np.inf])
    given = np.atleast_1d(as_array(steps, "steps"))
    if given.dtype.kind != "f" or given.ndim != 1 or not (given == np.inf).any():
        return law.times(steps).astype(np.float64)
    ended = given == np.inf
    times = np.full(len(given), np.inf)
    if not ended.all():
        times[~ended] = law.times(given[~ended])
    return times


def _fits(kernels: Kernels, steps: int, *, train: bool, full: bool) -> None:
    """Refuse, with numbers, what does not fit into memory."""
    n, points = kernels.training.shape[0], 0 if kernels.cross is None else kernels.cross.shape[0]
    sizes = [n] * train + [points]
    results = sum(steps * size * (2 + (size if full else 0)) for size in sizes)
    needed = 8.0 * (MATRICES * n * n + 5 * n * points) + (8 + kernels.dtype.itemsize) * results
    checks.memory(
        needed,
        kernels.engine,
        f"an ensemble of {n:,} training and {points:,} test points at {counted(steps, 'step')}",
        "take fewer points or steps, or covariance=False; ntkspec.predict_gd gives the mean at any n",
    )


def _learning(values: np.ndarray, V: Array, *, rate: float, law: SpectralLaw, steps: np.ndarray) -> Learning:
    """What is left of each mode, what is learned and its gain, at each step and in the limit; ``values`` of 0 stay."""
    x, ended, moving = rate * values, np.isposinf(steps), rate * values != 0
    if ended.any() and not (law.decay(x[moving]) > 0).all():
        worst = values[moving][np.argmin(law.decay(x[moving]))]
        raise ValueError(
            f"the mode with eigenvalue {worst:.6g} does not shrink at this learning rate, so that training has no "
            f"limit; take a smaller eta (ntkspec.largest_stable_rate), a semidefinite kernel, or finite steps"
        )
    limits = (
        np.where(moving, 0.0, 1.0),
        np.where(moving, 1.0, 0.0),
        np.where(moving, 1 / np.where(moving, values, 1), 0),
    )
    left, learned, gain = (np.tile(limit, (len(steps), 1)) for limit in limits)
    finite, times = np.ix_(~ended, moving), steps[~ended]
    left[finite], learned[finite] = law.residual(x[moving], times), law.learned(x[moving], times)
    gain[finite] = rate * law.gain(x[moving], times)
    asarray = engine_of(V).xp.asarray
    return Learning(asarray(values), V, asarray(left), asarray(learned), asarray(gain))


def _without_rounding(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Eigenvalues, 0 where float64's eigenproblem, or entries of that dtype, do not tell them from 0."""
    solving = len(values) * np.finfo(np.float64).eps * abs(values).max()
    return np.where(abs(values) > solving + np.finfo(dtype).eps / 2 * np.linalg.norm(values), values, 0.0)


@dataclass(frozen=True)
class _Problem:
    """labels : in the eigenvectors, (vectors, n). inner : Vᵀ K V, None where K is Theta."""

    kernels: Kernels
    learning: Learning
    labels: Array
    inner: Array | None
    layout: Layout
    full: bool

    def gaussian(self, mean: Array, spread: Array | None) -> Gaussian:
        """In the kernels' dtype, with arrays of the labels' form."""
        dtype = self.kernels.dtype
        mean = self.layout.arrays(mean).astype(dtype, copy=False)
        if spread is None:
            return Gaussian(mean, None, None)
        if not self.full:
            return Gaussian(mean, spread.astype(dtype, copy=False), None)
        symmetric_parts(spread)
        covariance = spread.astype(dtype, copy=False)
        return Gaussian(mean, covariance.diagonal(axis1=1, axis2=2).copy(), covariance)


@FOLLOWED
def _on_train(problem: _Problem) -> Gaussian:
    learning = problem.learning
    mean = means(learning.V, learning.learned, problem.labels)
    return problem.gaussian(mean, spread_on_train(learning, problem.inner, full=problem.full))


@FOLLOWED
def _on_test(problem: _Problem) -> Gaussian | None:
    kernels, learning, full = problem.kernels, problem.learning, problem.full
    if kernels.cross is None:
        return None
    rows = kernels.cross.to_dense(np.float64) @ learning.V
    mean, spread = means(rows, learning.gain, problem.labels), None
    if kernels.test is not None and kernels.prior_cross is not None:
        test = (kernels.test.to_dense(np.float64) if full else kernels.test.diagonal()).astype(np.float64, copy=False)
        if problem.inner is None:
            spread = spread_of_readout(learning, rows, test, full=full)
        else:
            prior_rows = kernels.prior_cross.to_dense(np.float64) @ learning.V
            spread = spread_on_test(learning, problem.inner, test, rows=rows, prior_rows=prior_rows, full=full)
    return problem.gaussian(mean, spread)
