r"""Spectral densities by stochastic Lanczos quadrature, with error bars that hold.

For a Gaussian probe g, Lanczos from g gives the Jacobi matrix of the measure :math:`\sum_i \langle g, z_i \rangle^2
\delta_{\lambda_i}`. Two errors are kept apart. Truncation: of the share of that measure below x, the k-step rule with a
node at x gives a lower and an upper bound (Chebyshev, Markov, Stieltjes), which no spectrum can leave. Chance: the
share of r pooled probes follows the Beta(r m / 2, r (n - m) / 2) law where m of n eigenvalues lie there, whatever they
are; its quantiles make an interval of the bounds.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import betainc

from ntkspec import checks, progress
from ntkspec.operators import KernelOperator, as_symmetric, planning
from ntkspec.operators.planning import Plan
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import MEMORY_SHARE, spectrum_bounds
from ntkspec.spectra.eigenpairs import dense_spectrum
from ntkspec.spectra.gauss_rules import jacobi_matrices, rule, share_below
from ntkspec.spectra.lanczos import Lanczos, random_start
from ntkspec.spectra.results import Evidence, collect
from ntkspec.spectra.showing import few
from ntkspec.storage import checkpointed, target

# Up to this size all eigenvalues are computed.
DENSE_SIZE = 1500
# Steps after which the bounds on the spectrum are taken: more of them narrow these, and cost time that grows as a cube.
BOUND_STEPS = 40
# Shares below this are rounding.
ROUNDING = 1e-10
# The truncation error of a smoothed density at its default width, relative to the peak of the smoothing kernel.
TRUNCATION = 0.01


@dataclass(frozen=True, repr=False)
class Histogram:
    """Shares of the eigenvalues in bins (edges[i], edges[i + 1]], with lower <= truth <= upper.

    edges : (bins + 1,). mass, lower, upper : (bins,), fractions of n; mass is the estimate that is nearest in the
    interval, as what is seen at all is at least one eigenvalue. Each bin fails with ``failure_probability``.
    """

    edges: np.ndarray
    mass: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    failure_probability: float

    def __repr__(self) -> str:
        return (
            f"Histogram of {len(self.mass)} bins, edges {few(self.edges)}\nshares {few(self.mass)}, each within "
            f"lower and upper except with probability {self.failure_probability:.0e}"
        )


@dataclass(frozen=True, repr=False)
class Smoothed:
    """The density smoothed by a Gaussian of standard deviation ``width`` at points ``x``, for one unit of mass.

    error : half a 95 % interval for each point, for any number of probes: the density of r probes, in units of the peak
    of the Gaussian, strays from the truth at most as a share of the eigenvalues of that size does, which follows the
    Beta law of the module; with a bound on the truncation. 0 where all eigenvalues were computed.
    """

    x: np.ndarray
    density: np.ndarray
    error: np.ndarray
    width: float

    def __repr__(self) -> str:
        return (
            f"Smoothed density at {len(self.x)} points {few(self.x)}, width {self.width:.4g}\n"
            f"{few(self.density)}, errors up to {max(self.error, default=0.0):.2g}"
        )


@dataclass(frozen=True, repr=False)
class Density:
    r"""The distribution of the n eigenvalues of a symmetric kernel.

    alpha, beta : (probes, steps), Jacobi matrices of the probes; beta[:, i] couples step i with the next one, also the
    last step with what was not computed. lengths : (probes,), how many steps each has (fewer where its space was
    exhausted). sizes : (probes,), \|g\|². values : all eigenvalues, where they were computed, else None.
    lowest, highest : no eigenvalue lies outside, each except with the failure probability of the call.
    """

    n: int
    alpha: np.ndarray
    beta: np.ndarray
    lengths: np.ndarray
    sizes: np.ndarray
    values: np.ndarray | None
    lowest: float
    highest: float
    products: int
    plan: Plan
    evidence: Evidence

    def __repr__(self) -> str:
        how = "all computed" if self.values is not None else f"from {self.probes} probes, {self.alpha.shape[1]} steps"
        return (
            f"Density of {self.n} eigenvalues, {how} ({self.products} products)\n"
            f"none outside [{self.lowest:.5g}, {self.highest:.5g}]; see histogram(), cumulative(x), smoothed()"
        )

    @property
    def probes(self) -> int:
        """The number of probes."""
        return len(self.sizes)

    @property
    def nodes(self):
        """Where the probes' rules have weight, ascending; all eigenvalues where they were computed."""
        if self.values is not None:
            return self.values
        return np.sort(np.concatenate([rule(alpha, beta[:-1])[0] for alpha, beta in self._matrices()]))

    def mean(self, function) -> float:
        """(1/n) tr f(K): the mean of a function over the eigenvalues."""
        if self.values is not None:
            return float(np.mean(function(self.values)))
        rules = (rule(a, b[:-1]) for a, b in self._matrices())
        return _pooled([weights @ function(nodes) for nodes, weights in rules], self.sizes)

    def cumulative(self, x, *, failure_probability: float = 0.05):
        """(share, lower, upper) of the eigenvalues up to each x; each fails with the failure probability."""
        checks.probability(failure_probability, "failure_probability")
        x = np.atleast_1d(checks.as_floats(x, "x")).astype(np.float64, copy=False)
        if np.isnan(x).any():
            raise ValueError("x holds NaN; a share of the eigenvalues up to it does not exist")
        low, high = self._shares(x)
        return self._with_chance(self._middle(x), low, high, failure_probability)

    def histogram(self, edges=40, *, failure_probability: float = 0.05) -> Histogram:
        """Shares of the eigenvalues between edges; a number makes as many equal bins from lowest to highest."""
        checks.probability(failure_probability, "failure_probability")
        if np.ndim(edges) == 0:
            low, high = self.lowest, self.highest
            room = 1e-12 * (abs(low) + abs(high)) + 1e-300 if high - low <= 1e-12 * (abs(low) + abs(high)) else 0.0
            edges = np.linspace(low - 1e3 * room, high + 1e3 * room, checks.whole_number(edges, "edges", 1) + 1)
        edges = checks.as_floats(edges, "edges").astype(np.float64, copy=False)
        if len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"edges={edges}, but at least two numbers that grow are needed")
        low, high = self._shares(edges)
        least, most = np.maximum(0, low[1:] - high[:-1]), np.maximum(0, high[1:] - low[:-1])
        middle = np.diff(self._middle(edges).clip(low, high)).clip(least, most)
        mass, lower, upper = self._with_chance(middle, least, most, failure_probability)
        return Histogram(edges, mass, lower, upper, failure_probability)

    def smoothed(self, x=200, *, width: float | None = None) -> Smoothed:
        """The density smoothed by a Gaussian.

        x : points, or how many from lowest to highest. width : standard deviation; None takes the smallest one whose
        truncation error is at most 1 % of the kernel's peak (about twice the range over the number of steps).
        """
        if np.ndim(x) == 0:
            x = np.linspace(self.lowest, self.highest, checks.whole_number(x, "x", 2))
        x = checks.as_floats(x, "x").astype(np.float64, copy=False)
        width = self._finest_width() if width is None else float(width)
        if not 0 < width < math.inf:
            raise ValueError(f"{width=}, but a standard deviation is a finite number > 0")
        peak = 1 / (width * math.sqrt(2 * math.pi))
        share = np.array([self.mean(lambda z, at=at: np.exp(-(((z - at) / width) ** 2) / 2)) for at in x])
        if self.values is not None:
            return Smoothed(x, peak * share, np.zeros(len(x)), width)
        slack, law = self._truncation(width), (self.n, self.probes, 0.05 / 2, 0.0)
        lower = np.array([_smallest_share(one, *law) for one in share - slack])
        # A share that is rounding may be that of an eigenvalue which the probes hardly see.
        most = np.maximum(share + slack, 2 * ROUNDING)
        upper = 1 - np.array([_smallest_share(one, *law) for one in 1 - most])
        return Smoothed(x, peak * share, peak * np.maximum(share - lower, upper - share), width)

    # ----------------------------------------------------------------------------------------------------- one probe
    def _matrices(self):
        """The diagonal of each probe's Jacobi matrix, and what couples its steps."""
        return [(a[:k], b[:k]) for a, b, k in zip(self.alpha, self.beta, self.lengths, strict=True)]

    def _shares(self, x):
        """Bounds on the pooled share of the probes' measures up to each x, which rounding may move."""
        rounding = self.evidence.rounding + self.evidence.stored
        if self.values is not None:
            return tuple(np.searchsorted(self.values, x + e, side="right") / self.n for e in (-rounding, rounding))
        low, high = (
            _pooled(
                [[share_below(a, b, at + sign * rounding)[side] for at in x] for a, b in self._matrices()], self.sizes
            )
            for side, sign in enumerate((-1, 1))
        )
        return np.where(x >= self.highest, 1.0, low), np.where(x < self.lowest, 0.0, high)

    def _middle(self, x):
        """The estimated share up to each x: half of a node's weight lies below it, and between nodes it grows."""
        if self.values is not None:
            return self._shares(x)[0]
        shares = []
        for alpha, beta in self._matrices():
            nodes, weights = rule(alpha, beta[:-1])
            at = np.concatenate([[min(self.lowest, nodes[0])], nodes, [max(self.highest, nodes[-1])]])
            shares.append(np.interp(x, at, np.concatenate([[0.0], np.cumsum(weights) - weights / 2, [1.0]])))
        return _pooled(shares, self.sizes)

    def _with_chance(self, share, low, high, failure_probability: float):
        if self.values is not None:
            return share, low, high
        law = self.n, self.probes, failure_probability / 2
        lower = np.array([_smallest_share(value, *law) for value in low])
        upper = np.maximum(lower, 1 - np.array([_smallest_share(1 - value, *law) for value in high]))
        return share.clip(lower, upper), lower, upper

    def _truncation(self, width: float) -> float:
        """A bound on the error of the rules for a Gaussian of that width and height one.

        A rule of k nodes is exact up to degree 2 k - 1, and a function that is at most M on the ellipse with foci at
        the ends and semiaxes (rho + 1/rho, rho - 1/rho) / 2 has an error of at most 4 M / (rho^(2 k - 1) (rho - 1)).
        """
        half, k = (self.highest - self.lowest) / 2, int(self.lengths.min())
        if half == 0 or (self.beta[np.arange(self.probes), self.lengths - 1] == 0).all():
            return 0.0

        def logarithm(log_excess):
            rho = 1 + math.exp(log_excess)
            height = half * (rho - 1 / rho) / 2 / width
            return math.log(4) + height**2 / 2 - (2 * k - 1) * math.log(rho) - log_excess

        found = minimize_scalar(logarithm, bounds=(-12, 3), method="bounded")
        return min(1.0, math.exp(min(0.0, found.fun)))

    def _finest_width(self) -> float:
        size = self.highest - self.lowest or abs(self.highest) or 1.0
        if self.values is not None:
            return size / 50
        if self._truncation(1e-6 * size) <= TRUNCATION:
            return size / 50
        return brentq(lambda w: math.log(self._truncation(w) / TRUNCATION), 1e-6 * size, 10 * size, rtol=1e-3)


def _pooled(numbers, sizes):
    return np.average(np.asarray(numbers), axis=0, weights=sizes)


def _smallest_share(share: float, n: int, probes: int, probability: float, least: float | None = None) -> float:
    """The smallest true share F of n eigenvalues under which one as large as this is seen with that probability.

    The law is Beta(probes n F / 2, probes n (1 - F) / 2); what is seen at all is at least one eigenvalue, or ``least``.
    """
    least = 1 / n if least is None else max(least, 1e-9 * share)
    if share <= ROUNDING or share >= 1:
        return float(share >= 1)
    size = probes * n / 2

    def excess(F):
        return betainc(size * (1 - F), size * F, 1 - share) - probability

    return brentq(excess, least, share) if least < share and excess(least) < 0 < excess(share) else least


# ------------------------------------------------------------------------------------------------------------- probing
def spectral_density(
    operator,
    *,
    probes: int = 8,
    steps: int = 100,
    failure_probability: float = 1e-6,
    seed=0,
    method: str | None = None,
    checkpoint=None,
) -> Density:
    """The spectral density of a symmetric kernel from random probes, as histogram, cumulated or smoothed.

    probes : Gaussian vectors; the error by chance falls with the root of n times their number. steps : products with
    each; they resolve the ends of the spectrum first. The spectrum's ends are bounded except with the failure
    probability. Up to n = 1500 all eigenvalues are computed (where only products are known, up to n = probes times
    steps, so that no more are made). method, checkpoint : as for :func:`ntkspec.spectral_norm`.
    Cost: probes times steps products in blocks of four (two where not stored), and a basis of 8 n steps bytes for each
    vector of a block. Raises ValueError where that does not fit.
    """
    checks.accuracy(0.0, failure_probability, seed, exact=True)
    checkpoint = None if checkpoint is None else target(checkpoint)
    operator = as_symmetric(operator)
    probes, steps = checks.whole_number(probes, "probes", 1), checks.whole_number(steps, "steps", 1)
    n = operator.shape[0]
    checks.duration(probes * steps, n, f"{probes} probes of {steps} steps", "take fewer")
    checks.memory(16.0 * probes * steps, operator.engine, f"what {probes} probes of {steps} steps find", "take fewer")
    operator, plan = planning.prepare(operator, probes * steps, method=method, block=4)
    if planning.whole(operator, DENSE_SIZE, probes * steps):
        return _dense(operator, plan)
    block = _fitting_block(operator, min(probes, 4 if operator.stored else 2), steps)
    lanczos, measures, rounding = Lanczos(operator), [], 0.0
    bar = progress.bar(total=probes * steps, text=f"spectral density, {plan.method} (products)")
    with operator.engine.one_blas_thread(), bar, checkpointed(operator, checkpoint) as lanczos.operator:
        for first in range(0, probes, block):
            lanczos.begin(random_start(operator, stream(seed, "density", first), min(block, probes - first)))
            _extend(lanczos, min(steps, BOUND_STEPS), bar)
            if first == 0:
                bounds = spectrum_bounds(lanczos, failure_probability)
                evidence = collect(lanczos, bounds, failure_probability)
            _extend(lanczos, steps - BOUND_STEPS, bar)
            rounding = max(rounding, lanczos.error)
            measures += jacobi_matrices(lanczos, steps)
    evidence = replace(evidence, rounding=rounding)
    alpha, beta, lengths, sizes = (np.array(part) for part in zip(*measures, strict=True))
    ends = evidence.lowest, evidence.highest
    return Density(n, alpha, beta, lengths, sizes, None, *ends, lanczos.products, plan, evidence)


def _extend(lanczos: Lanczos, steps: int, bar) -> None:
    for done in range(0, steps, 4):
        before = lanczos.products
        lanczos.extend(min(4, steps - done))
        bar.update(lanczos.products - before)


def _fitting_block(operator: KernelOperator, block: int, steps: int) -> int:
    """Vectors at once whose basis fits into the memory; refused where not even one does."""
    fitting = int(MEMORY_SHARE * operator.engine.free_memory() / (8 * operator.shape[0] * (steps + 1)))
    if fitting < 1:
        checks.memory(8.0 * operator.shape[0] * steps / MEMORY_SHARE, operator.engine, f"{steps} steps", "take fewer")
    return min(block, fitting)


def _dense(operator, plan) -> Density:
    """All eigenvalues."""
    n = operator.shape[0]
    spectrum = dense_spectrum(operator, n, "SA")
    none, rounding = np.zeros((0, 0)), spectrum.evidence.rounding + spectrum.evidence.stored
    ends = float(spectrum.values[0]) - rounding, float(spectrum.values[-1]) + rounding
    sizes = np.zeros(0, np.int64), np.zeros(0)
    return Density(n, none, none, *sizes, spectrum.values, *ends, spectrum.products, plan, spectrum.evidence)
