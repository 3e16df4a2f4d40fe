r"""Traces and sums of squares: exact, or from random probes with intervals that hold for every spectrum.

The leading eigenpairs are taken out exactly, as in Hutch++ (Meyer, Musco, Musco, Woodruff, SOSA 2021), unless none of
them leads, and Gaussian probes g measure what is left, P K P with the projector P. For a positive semidefinite M with
tr M = S and eigenvalues up to A, the mean X of gᵀ M g over r probes satisfies (Chernoff; equal eigenvalues A are the
extreme case)

.. math:: P(X \le c S) \;\text{or}\; P(X \ge c S) \;\le\; \exp\big(\tfrac{r S}{2 A} (1 - c + \log c)\big)

for c < 1 and c > 1: the tails of a chi-square law with r S / A degrees of freedom.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from ntkspec import checks, progress
from ntkspec.operators import KernelOperator, Work, as_symmetric, planning
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.planning import Plan
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import FailureBudget, spectrum_bounds
from ntkspec.spectra.eigenpairs import eigsh
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.results import Estimate, Spectrum, collect

# Eigenpairs that are taken out before probes measure the rest, at most a tenth of all.
PAIRS = 16
# Probes of the first attempt; each further one takes as many again as there are. Probes that are multiplied together.
FIRST_PROBES, MOST_PROBES, TOGETHER = 16, 2**20, 8
# A spectrum of which no pair leads: |K|_F² over |K|², as so many steps of blocks of two show it; and further ones after
# which its eigenvalues are bounded.
FLAT, LOOKED_AT, BOUND_STEPS = 50, 4, 8
# Products that a search for the leading pairs takes, for the forecast.
PAIR_PRODUCTS = 150


def quadratic_interval(mean: float, probes: int, largest: float, failure_probability: float) -> tuple[float, float]:
    """(low, high) around the trace S of a positive semidefinite matrix, from the mean of gᵀ M g over Gaussian probes.

    largest : a bound on the eigenvalues. Fails on either side with half the probability, whatever the spectrum.
    """
    if mean == 0 or largest == 0:
        return mean, mean
    limit, largest = math.log(failure_probability / 2), largest / mean

    def excess(S):
        """Of the logarithm of the tail over the limit, with S in units of the mean."""
        return probes * S / (2 * min(largest, S)) * (1 - 1 / S - math.log(S)) - limit

    low, high = 1.0, 1.0
    while excess(high) > 0:
        high *= 2
    while excess(low) > 0 and low > 1e-300:
        low /= 2
    return (
        mean * brentq(excess, low, 1.0) if excess(low) <= 0 else 0.0,
        mean * brentq(excess, 1.0, high),
    )


@dataclass
class ProbedRest:
    """A symmetric operator without its leading eigenpairs, and probes of it.

    trace and squares are sums over ``count`` probes of gᵀ P K P g and |K P g|², trace_error and squares_error bounds on
    what the rounding of the products makes of them.
    """

    lanczos: Lanczos
    pairs: Spectrum
    rng: np.random.Generator
    count: int = 0
    trace: float = 0.0
    squares: float = 0.0
    trace_error: float = 0.0
    squares_error: float = 0.0

    @property
    def operator(self) -> KernelOperator:
        """The operator, with its leading eigenpairs."""
        return self.lanczos.operator

    def probe(self, count: int, bar: progress.Bar) -> None:
        """Multiply with that many further probes."""
        engine = self.operator.engine
        for first in range(0, count, TOGETHER):
            G = self.lanczos.basis.drawn(self.rng, min(TOGETHER, count - first)).T
            product = self.operator @ self.lanczos.project(G)
            self.squares += float(engine.xp.square(product).sum())
            self.trace += float((G * product).sum())
            given, sizes = (engine.to_host(engine.xp.linalg.norm(part, axis=0)) for part in (G, product))
            errors = given * self.operator.rounding.matvec_error_bound
            self.trace_error += float(given @ errors)
            self.squares_error += float((2 * sizes + errors) @ errors)
            self.count += G.shape[1]
            bar.update(G.shape[1])

    @property
    def size(self) -> float:
        """A bound on |K P|."""
        return max(abs(self.pairs.others[0]), abs(self.pairs.others[1])) + self.lanczos.pairs.residual_norm

    def squares_interval(self, failure_probability: float) -> tuple[float, float]:
        """(low, high) around |K P|_F²."""
        law = self.count, self.size**2, failure_probability
        ends = max(0.0, self.squares - self.squares_error), self.squares + self.squares_error
        return quadratic_interval(ends[0] / self.count, *law)[0], quadratic_interval(ends[1] / self.count, *law)[1]


def without_leading_pairs(operator: KernelOperator, failure_probability: float, seed: int) -> ProbedRest:
    """The operator without at most PAIRS leading eigenpairs, which are found and proved to be the leading ones; as it
    is where these would carry little and lie too close to be found soon."""
    rng, look = np.random.default_rng(stream(seed, "probes")), Lanczos(operator)
    look.begin_random(stream(seed, "flat"), 2)
    look.extend(LOOKED_AT)
    if _flat(look):
        look.extend(BOUND_STEPS)
        return ProbedRest(Lanczos(operator), _no_pairs(look, failure_probability / 2), rng)
    k = max(1, min(PAIRS, operator.shape[0] // 10))
    pairs = eigsh(operator, k, rtol=1e-3, failure_probability=failure_probability / 2, seed=seed, method="factored")
    lanczos = Lanczos(operator)
    lanczos.lock_pairs(pairs.values, pairs.vectors, pairs.residuals)
    return ProbedRest(lanczos, replace(pairs, products=pairs.products + look.products), rng)


def _flat(lanczos: Lanczos) -> bool:
    """Whether |K|_F² is about FLAT times |K|² or more: the mean of n |K q|² over the start vectors, and the Ritz
    values, say so."""
    starts = lanczos.start.shape[1]
    squares = lanczos.operator.shape[0] * float(np.square(lanczos.T[:, :starts]).sum()) / starts
    return not lanczos.exhausted and squares > FLAT * float(np.square(np.linalg.eigvalsh(lanczos.T)).max())


def _no_pairs(lanczos: Lanczos, failure_probability: float) -> Spectrum:
    """No eigenpairs, and bounds on all of them."""
    evidence = collect(lanczos, spectrum_bounds(lanczos, failure_probability), failure_probability)
    operator, none = lanczos.operator, np.zeros(0)
    vectors = operator.engine.xp.zeros((operator.shape[0], 0))
    others, counts = (evidence.lowest, evidence.highest), np.zeros(0, np.int64)
    rest = others, failure_probability, lanczos.products, True, "Lanczos", evidence, operator.rows_per_point
    return Spectrum(none, vectors, none, counts, *rest)


def stochastic_is_sooner(operator: KernelOperator, exact: Work) -> tuple[bool, float]:
    """Whether finding the pairs and a first attempt take less than half of the exact way; and what that takes: seconds,
    or n / 2 products where only these are known."""
    if not operator.entrywise:
        n = operator.shape[1]
        return n > 2 * (PAIR_PRODUCTS + FIRST_PROBES), n / 2
    few = (PAIR_PRODUCTS + FIRST_PROBES) * operator.product_in_float64
    seconds = planning.clock(operator, exact, few)
    return seconds(few) < seconds(exact) / 2, seconds(exact)


def attempts(rest: ProbedRest, failure_probability: float, bar: progress.Bar) -> Iterator[float]:
    """Probe in growing attempts; yields the part of the failure probability that each may use."""
    budget = FailureBudget(failure_probability / 2, 0)
    rest.probe(FIRST_PROBES, bar)
    while True:
        yield budget.attempt()[0]
        if rest.count >= MOST_PROBES:
            return
        rest.probe(rest.count, bar)


def trace(operator: MatrixLike, *, rtol: float = 0.0, failure_probability: float = 1e-6, seed: int = 0) -> Estimate:
    r"""The trace of a symmetric kernel, with an interval.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric. Anything that :func:`ntkspec.operators.wrap` takes.
    rtol : float, default 0.0
        0 asks for the sum of the diagonal. Where only products are known, a positive number allows random probes: half
        of the interval is at most rtol (sum \|theta_i\| + \|mean\|), see the notes. It has no effect where entries can
        be computed.
    failure_probability : float, default 1e-6
        An interval from probes may miss the true value with at most this probability, over the random numbers drawn
        from ``seed``, whatever the kernel is. The sum of the diagonal never fails.
    seed : int, default 0
        Seed of the random probes. The same seed gives the same result.

    Returns
    -------
    Estimate
        ``value`` is the trace. ``lower`` and ``upper`` are the ends of the interval, ``failure_probability`` the
        probability that it misses the true value (0.0 without probes), ``products`` the number of products with single
        vectors, ``converged`` whether the interval is as narrow as asked for, ``plan`` what was done.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric.

    Notes
    -----
    The diagonal is computed and summed in float64, and the interval is its rounding. Cost: n diagonal entries, n (m +
    d) flops for an NTK of width m in d dimensions; n products where only products are known.

    With probes, the leading eigenpairs theta_i are taken out: :math:`\mathrm{tr} K = \sum \theta_i + \mathrm{tr} P K
    P`. With :math:`\|P K P\|_F \le f` and :math:`\|P K P\| \le a`, the mean of gᵀ P K P g over r Gaussian probes is
    within
    :math:`2 f (x / r)^{1/2} + 2 a x / r` of the last term, except with probability 2 exp(-x). Probes double until the
    interval is narrow enough, or n products are reached. Cost: some 150 products for the pairs (24 where the spectrum
    is so flat that none is taken out), and one for each probe.

    References
    ----------
    B. Laurent, P. Massart, Adaptive estimation of a quadratic functional by model selection, Ann. Stat. 28, 2000: the
    tail of the mean.

    R. A. Meyer, C. Musco, C. Musco, D. P. Woodruff, Hutch++: Optimal Stochastic Trace Estimation, SOSA 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> total = ns.trace(np.array([[1.0, 5.0], [5.0, 2.0]]))
    >>> total.value, total.lower <= 3 <= total.upper
    (3.0, True)
    """
    checks.accuracy(rtol, failure_probability, seed, exact=True)
    operator = as_symmetric(operator)
    n = operator.shape[0]
    if operator.entrywise or not rtol > 0 or n <= PAIR_PRODUCTS:
        total = checks.finite_sum(operator.engine.to_host(operator.diagonal(np.float64)))
        slack = (operator.rounding.forming_error_bound + operator.storage_error) * n**0.5
        products = 0 if operator.entrywise else n
        return Estimate(total, total - slack, total + slack, 0.0, products, True, planning.columns(operator))
    with operator.engine.one_blas_thread(), progress.bar(text="trace (products)") as bar:
        rest = without_leading_pairs(operator, failure_probability, seed)
        known = float(rest.pairs.values.sum())
        for part in attempts(rest, failure_probability, bar):
            mean, x = rest.trace / rest.count, math.log(8 / part)
            _, squares = rest.squares_interval(part / 4)
            slack = 2 * (squares * x / rest.count) ** 0.5 + 2 * rest.size * x / rest.count
            # Of the pairs' sum: rounding, and what their residuals couple to (Weyl, one by one).
            slack += rest.trace_error / rest.count + operator.storage_error * n**0.5 + float(rest.pairs.residuals.sum())
            value, products = known + mean, rest.pairs.products + rest.count
            closed = slack <= rtol * (abs(rest.pairs.values).sum() + abs(mean))
            if closed or products >= n:
                break
    plan = Plan("stochastic", 0, 0.0, 0.0, products, f"fewer than the {n} products of the diagonal")
    return Estimate(
        *(value, value - slack, value + slack, failure_probability, products, bool(closed), plan, rest.pairs.evidence)
    )
