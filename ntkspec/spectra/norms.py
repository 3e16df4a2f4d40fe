"""Spectral and Frobenius norms, with intervals."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ntkspec import checks, progress
from ntkspec.engines.arrays import Array
from ntkspec.operators import Work, as_symmetric, planning, wrap
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.planning import Plan
from ntkspec.spectra.certificates import FailureBudget, TargetInterval, prove
from ntkspec.spectra.eigenpairs import Wanted, converge, lock
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.results import Diagnostics, Estimate, collect
from ntkspec.spectra.traces import attempts, stochastic_is_sooner, without_leading_pairs
from ntkspec.storage import checkpointed, target

# What the forecast assumes: 22 to 160 products were seen on differences of kernels.
EXPECTED_PRODUCTS = 60
# Relative rounding of a sum of squares in float64.
SUMMING = 2.0**-44
# Where the basis is full, so many outer eigenpairs are locked at once, after at most so many restarts, and so often.
PAIRS_AT_ONCE, DEFLATION_RESTARTS, MOST_ROUNDS = 16, 8, 4


def spectral_norm(
    operator: MatrixLike,
    *,
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed: int = 0,
    method: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Estimate:
    r"""The spectral norm max abs(lambda) of a symmetric kernel, as an interval of relative width ``rtol``.

    Block Lanczos from a random start finds the extreme eigenvalues, and a theorem on the start's overlaps excludes
    larger ones. Rounding is inside the interval.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric. Anything that :func:`ntkspec.operators.wrap` takes.
    rtol : float, default 1e-3
        Largest width of the interval, relative to its upper end.
    failure_probability : float, default 1e-6
        The interval may miss the true value with at most this probability, over the random numbers drawn from ``seed``,
        whatever the kernel is.
    seed : int, default 0
        Seed of the random start vectors. The same seed gives the same result, bit by bit, on one machine.
    method : {"dense", "factored", "streamed"} or None, default None
        How products are computed: with one stored triangle of the matrix ("dense", n² / 2 entries), from the factors
        ("factored", n numbers a product), or with a triangle in the host's memory that a GPU reads ("streamed"). None
        takes the fastest one that fits, by the forecast of :func:`ntkspec.plan`.
    checkpoint : path or None, default None
        A file that keeps the products, 8 n bytes each. The same call continues after an interruption and gives the
        result that it would have given without one, bit by bit. :func:`ntkspec.cluster.kernel` says what it holds of a
        kernel on a cluster.

    Returns
    -------
    Estimate
        ``value`` is the largest magnitude of a Ritz value. ``lower`` and ``upper`` are the ends of the interval,
        ``failure_probability`` the probability that it misses the true value, ``products`` the number of products
        with single vectors, ``converged`` whether the interval is as narrow as asked for, ``plan`` how products
        were computed, ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, a product holds NaN or infinity, or the matrix does not fit into the memory.

    Notes
    -----
    ``lower`` is a Ritz value less rounding, which no norm is below. Beyond ``upper`` lies no eigenvalue, except with
    the failure probability; the theorem and its proof are in ``ntkspec.spectra.certificates``. Where the matrix was
    formed in float32, its distance from the kernel, estimated from a sample of rows, widens both ends.

    Products are done with blocks of two float64 vectors, with four or eight where they are inaccurate. Cost: 16 to 160
    products for most kernels, 4 n k b flops of orthogonalization for k vectors in blocks of b, and a basis of at most
    512 vectors of 8 n bytes. Where that is full, outer eigenpairs are computed with restarts and locked, and a new
    basis proves what is left; where they do not converge soon the interval stays open (``converged`` is False).

    References
    ----------
    J. L. M. van Dorsselaer, M. E. Hochstenbach, H. A. van der Vorst, Computing probabilistic bounds for extreme
    eigenvalues of symmetric matrices with the Lanczos method, SIAM J. Matrix Anal. Appl. 22, 2001: the bound for single
    vectors.

    W. Hu, L. Xiao, B. Adlam, J. Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural
    Networks, NeurIPS 2020, Proposition 3.4: the norm of the NTK less its linear kernel.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> norm = ns.spectral_norm(np.diag([3.0, -5.0, 1.0]))
    >>> norm.lower <= 5 <= norm.upper, norm.converged
    (True, True)
    """
    checks.accuracy(rtol, failure_probability, seed)
    checkpoint = None if checkpoint is None else target(checkpoint)
    operator = as_symmetric(operator)
    operator, plan = planning.prepare(operator, EXPECTED_PRODUCTS, method=method)
    bar = progress.bar(total=EXPECTED_PRODUCTS, text=f"spectral norm, {plan.method} (products)")
    with operator.engine.one_blas_thread(), bar, checkpointed(operator, checkpoint) as operator:
        lanczos, budget = Lanczos(operator), FailureBudget(failure_probability, seed)
        outcome = prove(lanczos, target_interval(operator.storage_error, rtol), budget, bar)
        norm = norm_of(collect(lanczos, (outcome.lowest, outcome.highest), failure_probability), rtol, plan)
        if outcome.reason in ("full", "hidden") and not lanczos.complete:
            norm = _deflated(lanczos, norm, budget, rtol=rtol, bar=bar)
    return replace(norm, products=lanczos.products)


def norm_of(evidence: Diagnostics, rtol: float, plan: Plan | None, off_diagonal_norm: float = 0.0) -> Estimate:
    """The norm from what is known of the extreme eigenvalues; off_diagonal_norm : of locked vectors with the rest."""
    value = max(abs(evidence.smallest), abs(evidence.largest))
    slack = evidence.rounding + off_diagonal_norm
    lower = max(0.0, (value - slack) / (1 + evidence.orthogonality_loss) - evidence.stored)
    upper = max(abs(evidence.lowest), abs(evidence.highest))
    closed = bool(upper - lower <= rtol * upper < math.inf)
    return Estimate(value, lower, upper, evidence.failure_probability, evidence.products, closed, plan, evidence)


def largest_eigenvalue(
    operator: MatrixLike, *, rtol: float = 1e-3, failure_probability: float = 1e-6, seed: int = 0
) -> Estimate:
    """The largest eigenvalue, with its sign, of a symmetric kernel, as an interval of relative width ``rtol``.

    The norm's proof says it where the largest magnitude is that of the upper end. Where the lower end is the larger
    one, a second run excludes what lies above the largest Ritz value, however small that is beside the norm; it stays
    open (``converged``) where 512 vectors do not suffice. Arguments, cost and errors are those of
    :func:`spectral_norm`.
    """
    checks.accuracy(rtol, failure_probability, seed)
    # Each of the two runs may fail.
    half, operator = failure_probability / 2, as_symmetric(operator)
    norm = spectral_norm(operator, rtol=rtol, failure_probability=half, seed=seed)
    seen = norm.evidence
    if seen is None or (seen.highest >= -seen.lowest and seen.largest >= -seen.smallest):
        return replace(norm, failure_probability=failure_probability)
    operator, plan = planning.prepare(operator, EXPECTED_PRODUCTS)
    bar = progress.bar(total=EXPECTED_PRODUCTS, text=f"largest eigenvalue, {plan.method} (products)")
    with operator.engine.one_blas_thread(), bar:
        lanczos = Lanczos(operator)
        outcome = prove(lanczos, _target_above(lanczos, rtol), FailureBudget(half, seed), bar)
        seen = collect(lanczos, (outcome.lowest, outcome.highest), half)
    slack = seen.rounding + seen.orthogonality_loss * abs(seen.largest) + seen.stored
    lower, products = seen.largest - slack, norm.products + lanczos.products
    closed = seen.highest - lower <= rtol * abs(seen.highest)
    return Estimate(seen.largest, lower, seen.highest, failure_probability, products, closed, plan, seen)


def _target_above(lanczos: Lanczos, rtol: float) -> TargetInterval:
    """As :func:`target_interval`, for the upper end alone; at least as wide as rounding, which also hides a zero."""

    def interval(theta):
        room = max(rtol / (1 - rtol) * abs(theta[-1]), 4 * lanczos.error, 1e-12 * abs(theta[0]))
        distance = 2 * lanczos.operator.storage_error
        return -math.inf, float(theta[-1]) + (room - distance if distance < 0.9 * room else room)

    return interval


def _deflated(lanczos: Lanczos, norm: Estimate, budget: FailureBudget, *, rtol: float, bar: progress.Bar) -> Estimate:
    """A narrower interval where the basis was full or rounding hid the rest: outer pairs are locked, and a new basis
    proves what is left.

    It is given up where those pairs do not converge soon: their neighbours are too close for any basis that fits.
    """
    outer = Wanted(PAIRS_AT_ONCE, "LM", 0.01 * rtol)
    for _ in range(MOST_ROUNDS):
        converged = converge(lanczos, outer, outer.choose, bar, most_restarts=DEFLATION_RESTARTS)
        lock(lanczos, outer.choose)
        if not converged or lanczos.locked == lanczos.n:
            break
        pairs = lanczos.pairs
        interval = target_interval(lanczos.operator.storage_error + pairs.off_diagonal_norm, rtol, pairs.values)
        outcome = prove(lanczos, interval, budget, bar)
        evidence = collect(lanczos, (outcome.lowest, outcome.highest), budget.probability)
        norm = min(
            norm, norm_of(evidence, rtol, norm.plan, pairs.off_diagonal_norm), key=lambda one: one.upper - one.lower
        )
        if outcome.reason != "full":
            break
    return norm


def target_interval(distance: float, rtol: float, locked: Sequence[float] | Array = ()) -> TargetInterval:
    """From Ritz values, and those of locked vectors, to the ends of an interval of relative width rtol.

    It is narrower by what the distance takes; where that is more than nine tenths of it, as if there were none.
    """

    def interval(theta):
        size = float(max([-theta[0], theta[-1], *np.abs(locked)]))
        room = rtol / (1 - rtol) * size
        end = size + (room - 2 * distance if 2 * distance < 0.9 * room else room)
        return -end, end

    return interval


def frobenius_norm(
    operator: MatrixLike,
    *,
    rtol: float = 0.0,
    failure_probability: float = 1e-6,
    seed: int = 0,
    method: str | None = None,
) -> Estimate:
    r"""The Frobenius norm :math:`\|K\|_F` of a kernel, exact or from random probes.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n'), symmetric or not. Anything that :func:`ntkspec.operators.wrap` takes.
    rtol : float, default 0.0
        0 asks for the exact norm. A positive number allows an interval of that width, relative to its upper end, from
        the leading eigenpairs of a symmetric kernel and random probes of the rest, where that is forecast to be faster.
    failure_probability : float, default 1e-6
        An interval from probes may miss the true value with at most this probability, over the random numbers drawn
        from ``seed``, whatever the kernel is. The exact norm never fails.
    seed : int, default 0
        Seed of the random probes. The same seed gives the same result.
    method : {"exact", "stochastic"} or None, default None
        None takes the faster one by a forecast. "stochastic" needs rtol > 0 and a symmetric kernel.

    Returns
    -------
    Estimate
        ``value`` is the norm. ``lower`` and ``upper`` are the ends of the interval, ``failure_probability`` the
        probability that it misses the true value (0.0 for the exact norm), ``products`` the number of products with
        single vectors (0 where entries were formed), ``converged`` whether the interval is as narrow as asked for,
        ``plan`` what was done.

    Raises
    ------
    ValueError
        Where ``method`` is unknown, or "stochastic" comes without rtol > 0.

    Notes
    -----
    Exact: each tile is formed once (the lower triangle of a symmetric kernel) and its squares are summed in float64.
    Where :func:`ntkspec.spectral_norm` formed the matrix of this operator before, the sum is known. The interval is the
    rounding of the entries, for a float32 kernel an estimate from a sample of rows. Cost: the entries of n n' tiles,
    half of them where K is symmetric, one tile of memory for each worker; n products where only products are known.
    Stochastic: 40 to 170 products (``ntkspec.spectra.traces``); the exact way is taken after all where
    probes turn out to be slower, and ``products`` then counts both.

    References
    ----------
    W. Hu, L. Xiao, B. Adlam, J. Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural
    Networks, NeurIPS 2020, Proposition 3.4 bounds the spectral norm; this is the larger norm to compare it with.

    R. A. Meyer, C. Musco, C. Musco, D. P. Woodruff, Hutch++: Optimal Stochastic Trace Estimation, SOSA 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> norm = ns.frobenius_norm(np.array([[0.0, 3.0], [4.0, 0.0]]))
    >>> round(norm.value, 10), norm.failure_probability
    (5.0, 0.0)
    """
    checks.accuracy(rtol, failure_probability, seed, exact=True)
    operator = wrap(operator)
    if method is not None:
        checks.one_of(method, "method", ("exact", "stochastic"))
    if method == "stochastic" and not rtol > 0:
        raise ValueError(
            f"rtol={checks.shown(rtol)}, but a stochastic norm needs the relative width of its interval, such as 0.05"
        )
    products = 0
    if operator.frobenius_squared is None and rtol > 0 and operator.symmetric and method != "exact":
        sooner, limit = stochastic_is_sooner(operator, _work_of_squares(operator))
        if sooner or method == "stochastic":
            limit = math.inf if method == "stochastic" else limit
            estimate, worth = _stochastic_frobenius(operator, rtol, failure_probability, seed, limit=limit)
            if worth:
                return estimate
            products = estimate.products
    if operator.frobenius_squared is None and not operator.entrywise:
        products += operator.shape[1]
    norm = math.sqrt(operator.sum_of_squares())
    slack = operator.formed_error + SUMMING * norm
    return Estimate(norm, max(0.0, norm - slack), norm + slack, 0.0, products, True, planning.columns(operator))


def _work_of_squares(operator) -> Work:
    entries = operator.shape[0] * operator.shape[1] / (2 if operator.symmetric and operator.entrywise else 1)
    return entries * operator.cost.entry if operator.entrywise else operator.shape[1] * operator.cost.product


def _stochastic_frobenius(
    operator, rtol: float, failure_probability: float, seed, *, limit: float
) -> tuple[Estimate, bool]:
    """From leading pairs and probes; and False where the rest takes longer than the limit of
    :func:`stochastic_is_sooner`."""
    start, worth = time.perf_counter(), True
    with operator.engine.one_blas_thread(), progress.bar(text="Frobenius norm (probes)") as bar:
        rest = without_leading_pairs(operator, failure_probability, seed)
        theta, residuals = rest.pairs.values, rest.pairs.residuals
        for part in attempts(rest, failure_probability, bar):
            low, high = rest.squares_interval(part)
            known, slack = (
                float(np.square(theta).sum()),
                operator.storage_error + SUMMING * operator.rounding.norm_of_absolute,
            )
            value = math.sqrt(known + rest.squares / rest.count)
            lower, upper = math.sqrt(known + low), math.sqrt(known + float(np.square(residuals).sum()) + high)
            lower, upper = max(0.0, lower - slack), upper + slack
            closed = upper - lower <= rtol * upper
            if closed:
                break
            # Twice the probes narrow the interval by the root of two, for twice the time; it closes after so many.
            needed = max(2.0, ((upper - lower) / (rtol * upper)) ** 2) * rest.count
            seconds, further = time.perf_counter() - start, rest.pairs.products + needed
            worth = (2 * seconds if operator.entrywise else further) <= limit
            if not worth:
                break
    products = rest.pairs.products + rest.count
    plan = Plan("stochastic", 0, 0.0, 0.0, products, f"{len(theta)} leading pairs and {rest.count} probes")
    estimate = Estimate(value, lower, upper, failure_probability, products, closed, plan, rest.pairs.evidence)
    return estimate, worth
