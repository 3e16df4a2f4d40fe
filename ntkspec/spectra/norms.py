"""Spectral and Frobenius norms, with intervals."""

import math
import time
from dataclasses import replace

import numpy as np

from ntkspec import checks, progress
from ntkspec.operators import Work, as_symmetric, planning, wrap
from ntkspec.operators.planning import Plan
from ntkspec.spectra.certificates import Chance, prove
from ntkspec.spectra.eigenpairs import Wanted, converge
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.results import WEYL, Estimate, Evidence, collect
from ntkspec.spectra.traces import attempts, deflated, stochastic_is_sooner
from ntkspec.storage import checkpointed, target

# What the forecast assumes: 22 to 160 products were seen on differences of kernels.
EXPECTED_PRODUCTS = 60
# Relative rounding of a sum of squares in float64.
SUMMING = 2.0**-44
# Where the basis is full, so many outer eigenpairs are locked at once, after at most so many restarts, and so often.
PAIRS_AT_ONCE, DEFLATION_RESTARTS, MOST_ROUNDS = 16, 8, 4


def spectral_norm(
    operator,
    *,
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed=0,
    method: str | None = None,
    checkpoint=None,
) -> Estimate:
    r"""The spectral norm max |lambda| of a symmetric kernel, as an interval of relative width ``rtol``.

    value : the largest |Ritz value|. lower : the same less rounding, never above the norm. upper : beyond it no
    eigenvalue is left, except with the failure probability over the random start block; the theorem and its proof are
    those of :mod:`ntkspec.spectra.certificates`, with the rounding of products and basis inside. Where the matrix was
    formed in float32, its distance from the kernel (estimated from a sample of rows) widens both ends. ``evidence``
    says what the interval is made of.
    method : "dense" (one triangle of the matrix is stored, n² / 2 entries), "factored" (n numbers a product besides
    the factors), "streamed" (of a card: the triangle lies in the host's memory) or None for the sooner one that fits
    (:func:`ntkspec.plan`); the result's ``plan`` says which, with the forecast. Products are done with blocks of two
    float64 vectors, with four or eight where they are inaccurate.
    Cost: products until the interval closes, and a basis of at most 512 vectors of 8 n bytes. Where that is full, outer
    eigenpairs are computed with restarts and locked, and a new basis proves what is left; where they do not converge
    soon the interval stays open (``converged``).
    checkpoint : a file that keeps the products, 8 n bytes each: the same call goes on after an interruption, bit by bit
    as if there had been none (:func:`ntkspec.storage.checkpointed`).
    Raises ValueError for a kernel that is not symmetric or gives NaN, and for a matrix that does not fit.
    """
    checks.accuracy(rtol, failure_probability, seed)
    checkpoint = None if checkpoint is None else target(checkpoint)
    operator = as_symmetric(operator)
    operator, plan = planning.prepare(operator, EXPECTED_PRODUCTS, method=method)
    bar = progress.bar(total=EXPECTED_PRODUCTS, text=f"spectral norm, {plan.method} (products)")
    with operator.engine.one_blas_thread(), bar, checkpointed(operator, checkpoint) as operator:
        lanczos, chance = Lanczos(operator), Chance(failure_probability, seed)
        outcome = prove(lanczos, aim_of(operator.storage_error, rtol), chance, bar)
        norm = norm_of(collect(lanczos, (outcome.lowest, outcome.highest), failure_probability), rtol, plan)
        if outcome.reason == "full" and not lanczos.complete:
            norm = _deflated(lanczos, norm, chance, (rtol, bar))
    return replace(norm, products=lanczos.products)


def norm_of(evidence: Evidence, rtol: float, plan: Plan | None, residuals=()) -> Estimate:
    """The norm from what is known of the extreme eigenvalues; residuals are those of locked vectors."""
    value = max(abs(evidence.smallest), abs(evidence.largest))
    slack = evidence.rounding + WEYL * float(np.linalg.norm(residuals))
    lower = max(0.0, (value - slack) / (1 + evidence.orthogonality_loss) - evidence.stored)
    upper = max(abs(evidence.lowest), abs(evidence.highest))
    closed = bool(upper - lower <= rtol * upper < math.inf)
    return Estimate(value, lower, upper, evidence.failure_probability, evidence.products, closed, plan, evidence)


def largest_eigenvalue(operator, *, rtol: float = 1e-3, failure_probability: float = 1e-6, seed=0) -> Estimate:
    """The largest eigenvalue, with its sign, of a symmetric kernel, as an interval of relative width ``rtol``.

    The norm's proof says it where the largest magnitude is that of the upper end. Where the lower end is the larger
    one, a second run excludes what lies above the largest Ritz value, however small that is beside the norm; it stays
    open (``converged``) where 512 vectors do not suffice. Arguments, cost and errors as for :func:`spectral_norm`.
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
        outcome = prove(lanczos, _aim_above(lanczos, rtol), Chance(half, seed), bar)
        seen = collect(lanczos, (outcome.lowest, outcome.highest), half)
    slack = seen.rounding + seen.orthogonality_loss * abs(seen.largest) + seen.stored
    lower, products = seen.largest - slack, norm.products + lanczos.products
    closed = seen.highest - lower <= rtol * abs(seen.highest)
    return Estimate(seen.largest, lower, seen.highest, failure_probability, products, closed, plan, seen)


def _aim_above(lanczos: Lanczos, rtol: float):
    """As :func:`aim_of`, for the upper end alone; at least as wide as rounding, which also hides a zero."""

    def aim(theta):
        room = max(rtol / (1 - rtol) * abs(theta[-1]), 4 * lanczos.error, 1e-12 * abs(theta[0]))
        distance = 2 * lanczos.operator.storage_error
        return -math.inf, float(theta[-1]) + (room - distance if distance < 0.9 * room else room)

    return aim


def _deflated(lanczos: Lanczos, norm: Estimate, chance: Chance, how: tuple) -> Estimate:
    """A narrower interval where the basis was full: outer pairs are locked, and a new basis proves what is left.

    It is given up where those pairs do not converge soon: their neighbours are too close for any basis that fits.
    """
    (rtol, bar), values, residuals = how, np.zeros(0), np.zeros(0)
    outer = Wanted(PAIRS_AT_ONCE, "LM", 0.01 * rtol)
    for _ in range(MOST_ROUNDS):
        more, of_more, settled = converge(lanczos, outer, outer.choose, bar, most_restarts=DEFLATION_RESTARTS)
        if not settled or lanczos.locked == lanczos.basis.shape[1]:
            break
        values, residuals = np.append(values, more), np.append(residuals, of_more + np.linalg.norm(residuals))
        distance = lanczos.operator.storage_error + WEYL * float(np.linalg.norm(residuals))
        outcome = prove(lanczos, aim_of(distance, rtol, values), chance, bar)
        bounds = outcome.lowest, outcome.highest
        evidence = collect(lanczos, bounds, chance.probability, (values, residuals))
        norm = min(norm, norm_of(evidence, rtol, norm.plan, residuals), key=lambda one: one.upper - one.lower)
        if outcome.reason != "full":
            break
    return norm


def aim_of(distance: float, rtol: float, locked=()):
    """From Ritz values, and those of locked vectors, to the ends of an interval of relative width rtol.

    It is narrower by what the distance takes; where that is more than nine tenths of it, as if there were none.
    """

    def aim(theta):
        size = float(max([-theta[0], theta[-1], *np.abs(locked)]))
        room = rtol / (1 - rtol) * size
        end = size + (room - 2 * distance if 2 * distance < 0.9 * room else room)
        return -end, end

    return aim


def frobenius_norm(
    operator, *, rtol: float = 0.0, failure_probability: float = 1e-6, seed=0, method: str | None = None
) -> Estimate:
    r"""The Frobenius norm :math:`\|K\|_F`, the yardstick that Proposition 3.4 is contrasted with.

    Exact: every tile is formed once (the lower triangle of a symmetric kernel) and its squares are summed in float64;
    where the spectral norm has formed the matrix of this operator before, the sum is there already. The interval is the
    rounding of the entries (of a float32 kernel an estimate, as in the spectral norm). Cost: n n' tile_work (half of
    that where K is symmetric), one tile a worker; n products where only products are known, with a progress bar.
    rtol > 0 : for a symmetric kernel, an interval of that relative width from its leading eigenpairs and random probes
    (:mod:`ntkspec.spectra.traces`), where that is forecast to be sooner; it fails with the failure probability. Where
    more probes than the exact way is worth are needed, that is taken after all (where only products are known, when
    pairs and probes are forecast to take more than n / 2; ``products`` counts them all).
    method : "exact", "stochastic" or None.
    The result's ``plan`` says what was done.
    """
    checks.accuracy(rtol, failure_probability, seed, exact=True)
    operator = wrap(operator)
    if method is not None:
        checks.one_of(method, "method", ("exact", "stochastic"))
    if method == "stochastic" and not rtol > 0:
        raise ValueError(f"{rtol=}, but a stochastic norm needs the relative width of its interval, such as 0.05")
    products = 0
    if operator.frobenius_squared is None and rtol > 0 and operator.symmetric and method != "exact":
        sooner, limit = stochastic_is_sooner(operator, _work_of_squares(operator))
        if sooner or method == "stochastic":
            limit = math.inf if method == "stochastic" else limit
            estimate, worth = _stochastic_frobenius(operator, rtol, (failure_probability, seed), limit)
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


def _stochastic_frobenius(operator, rtol: float, chance, limit: float) -> tuple[Estimate, bool]:
    """From leading pairs and probes; and False where the rest takes longer than the limit of
    :func:`stochastic_is_sooner`."""
    failure_probability, seed = chance
    start, worth = time.perf_counter(), True
    with operator.engine.one_blas_thread(), progress.bar(text="Frobenius norm (probes)") as bar:
        rest = deflated(operator, failure_probability, seed)
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
