r"""Traces and sums of squares: exact, or from random probes with intervals that hold for every spectrum.

The leading eigenpairs are taken out exactly, as in Hutch++ (Meyer, Musco, Musco, Woodruff, SOSA 2021), and Gaussian
probes g measure what is left, P K P with the projector P. For a positive semidefinite M with tr M = S and eigenvalues
up to A, the mean X of gᵀ M g over r probes satisfies (Chernoff; equal eigenvalues A are the extreme case)

.. math:: P(X \le c S) \;\text{or}\; P(X \ge c S) \;\le\; \exp\big(\tfrac{r S}{2 A} (1 - c + \log c)\big)

for c < 1 and c > 1: the tails of a chi-square law with r S / A degrees of freedom.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from ntkspec import checks, progress
from ntkspec.operators import KernelOperator, Work, as_symmetric, planning
from ntkspec.operators.planning import Plan
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import Chance
from ntkspec.spectra.eigenpairs import Spectrum, eigsh
from ntkspec.spectra.results import Estimate

# Eigenpairs that are taken out before probes measure the rest, at most a tenth of all.
PAIRS = 16
# Probes of the first attempt; each further one takes as many again as there are. Probes that are multiplied together.
FIRST_PROBES, MOST_PROBES, TOGETHER = 16, 2**20, 8
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
class Deflated:
    """A symmetric operator without its leading eigenpairs, and probes of it.

    trace and squares are sums over ``count`` probes of gᵀ P K P g and |K P g|², trace_error and squares_error bounds on
    what the rounding of the products makes of them.
    """

    operator: KernelOperator
    pairs: Spectrum
    rng: np.random.Generator
    count: int = 0
    trace: float = 0.0
    squares: float = 0.0
    trace_error: float = 0.0
    squares_error: float = 0.0

    def probe(self, count: int, bar) -> None:
        """Multiply with that many further probes."""
        V, n, engine = self.pairs.vectors, self.operator.shape[0], self.operator.engine
        for first in range(0, count, TOGETHER):
            G = engine.xp.asarray(self.rng.standard_normal((min(TOGETHER, count - first), n))).T
            G -= V @ (V.T @ G)
            G -= V @ (V.T @ G)
            product = self.operator @ G
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
        return max(abs(self.pairs.others[0]), abs(self.pairs.others[1])) + float(np.linalg.norm(self.pairs.residuals))

    def squares_interval(self, failure_probability: float) -> tuple[float, float]:
        """(low, high) around |K P|_F²."""
        law = self.count, self.size**2, failure_probability
        ends = max(0.0, self.squares - self.squares_error), self.squares + self.squares_error
        return quadratic_interval(ends[0] / self.count, *law)[0], quadratic_interval(ends[1] / self.count, *law)[1]


def deflated(operator: KernelOperator, failure_probability: float, seed) -> Deflated:
    """The operator without at most PAIRS leading eigenpairs, which are found and proved to be the leading ones."""
    k = max(1, min(PAIRS, operator.shape[0] // 10))
    pairs = eigsh(
        operator, k, rtol=1e-3, failure_probability=failure_probability / 2, seed=seed, method="factored"
    )  # fmt: skip
    return Deflated(operator, pairs, np.random.default_rng(stream(seed, "probes")))


def stochastic_is_sooner(operator: KernelOperator, exact: Work) -> tuple[bool, float]:
    """Whether finding the pairs and a first attempt take less than half of the exact way; and what that takes: seconds,
    or n / 2 products where only these are known."""
    if not operator.entrywise:
        n = operator.shape[1]
        return n > 2 * (PAIR_PRODUCTS + FIRST_PROBES), n / 2
    product = operator.cost.product
    few = (PAIR_PRODUCTS + FIRST_PROBES) * Work(flops=2 * product.flops, bytes=product.bytes)
    seconds = planning.clock(operator, exact, few)
    return seconds(few) < seconds(exact) / 2, seconds(exact)


def attempts(rest: Deflated, failure_probability: float, bar):
    """Probe in growing attempts; yields the part of the failure probability that each may use."""
    chance = Chance(failure_probability / 2, 0)
    rest.probe(FIRST_PROBES, bar)
    while True:
        yield chance.attempt()[0]
        if rest.count >= MOST_PROBES:
            return
        rest.probe(rest.count, bar)


def trace(operator, *, rtol: float = 0.0, failure_probability: float = 1e-6, seed=0) -> Estimate:
    r"""The trace of a square kernel, with an interval.

    rtol = 0 : the sum of the diagonal, computed and summed in float64; the interval is its rounding. So it is for every
    operator whose entries can be computed, whatever rtol. Where only products are known
    (:func:`ntkspec.operators.wrap`) this takes n of them, and rtol > 0 allows probes:
    :math:`\mathrm{tr} K = \sum \theta_i + \mathrm{tr} P K P`, and with |P K P|_F <= f and |P K P| <= a the mean of
    gᵀ P K P g over r probes is within :math:`2 f (x / r)^{1/2} + 2 a x / r` of the last term, except with probability
    2 exp(-x) (Laurent, Massart, Ann. Stat. 28, 2000). Probes double until half of the interval is no wider than rtol
    times sum |theta_i| + |mean| (``converged``), or n products are reached.
    Cost: n (m + d) flops, or n products, or the pairs and the probes. Raises ValueError where K is not symmetric.
    """
    checks.accuracy(rtol, failure_probability, seed, exact=True)
    operator = as_symmetric(operator)
    n = operator.shape[0]
    if operator.entrywise or not rtol > 0 or n <= PAIR_PRODUCTS:
        total = math.fsum(operator.engine.to_host(operator.diagonal(np.float64)))
        slack = (operator.rounding.forming_error_bound + operator.storage_error) * n**0.5
        products = 0 if operator.entrywise else n
        return Estimate(total, total - slack, total + slack, 0.0, products, True, planning.columns(operator))
    with operator.engine.one_blas_thread(), progress.bar(text="trace (products)") as bar:
        rest = deflated(operator, failure_probability, seed)
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
