r"""What a block Krylov space from a random start proves about the eigenvalues that it has not found.

The overlaps of the start with an eigenvector are bounded by a function of its eigenvalue
(:mod:`ntkspec.spectra.overlaps`). The space of the start block is uniform, so that :math:`\|E^T y\|^2` follows the
Beta(b/2, (n-b)/2) law whatever K is: it is below its delta-quantile t² with probability delta only. An eigenvalue is
therefore excluded where the bound is smaller than t, except with probability delta: beyond the end from which on it
stays there, no eigenvalue of K is left.

**Beside eigenvalues that were found.** Let Ritz vectors Q s_j with distinct values theta_j and residuals rho_j be
found, at most k. Let t bound what the other Ritz vectors add to the overlap of the start with any eigenvector whose
eigenvalue lies beyond an end, which is above the other Ritz values. Then beyond the end lie no more eigenvalues than
found values, except with probability delta. For otherwise two neighbouring eigenvalues beyond it are nearest to the
same theta_j, or one is nearest to a theta_j that lies at a distance e_j on this side of the end. The overlaps with a
found vector are :math:`|s_i^T Q^T z_l| \le \rho_i / |\lambda_l - \theta_i|`. In the first case a unit vector z in the
span of the two eigenvectors has s_jᵀ Qᵀ z = 0, and

.. math:: \|Q_1^T z\| \le \sqrt 2 \Big(t + 2 \sum_{i \ne j} \frac{\|E^T s_i\| \rho_i}{|\theta_i - \theta_j|}\Big).

In the second, the overlap of one eigenvector is at most the bracket plus :math:`\|E^T s_j\| \rho_j / e_j`. But the
smallest overlap of a uniform block with the span of two given vectors has a known law, and the first k + 1 eigenvectors
have k pairs of neighbours. Found values that their residuals do not tell apart count as one theta_j with c vectors:
then c + 1 eigenvectors are nearest to it, and sets of c + 1 neighbours take the place of pairs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from ntkspec.progress import Bar
from ntkspec.randomness import stream
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.overlaps import GROWTH, WEIGHT, Relation, overlap_quantile

# From the Ritz values, ascending, to the interval outside which no eigenvalue is to be left; None stops the run.
TargetInterval: TypeAlias = Callable[[np.ndarray], tuple[float, float] | None]

# Vectors in a start block, the smallest first. More of them are taken where the products are so inaccurate that their
# rounding could hide an eigenvector: k independent overlaps are small together with the k-th power of the probability.
BLOCKS = (2, 4, 8)
# A basis that has not excluded what it should with this many vectors, or with those that fit into this part of the
# free memory, says so instead of going on.
LARGEST_BASIS, MEMORY_SHARE = 512, 0.25
# A run that has found what it seeks goes on to this multiple of its products to prove that nothing was missed.
FURTHER = 1.3
# Ends just below found values that such a proof tries.
_ENDS = 4
# Steps that most runs need, and those after which their recurrence tells how many.
TYPICAL_STEPS, TELLING_STEPS = 40, 12


def overlap_bounds(lanczos: Lanczos, value: float) -> tuple[float, float]:
    """(exact, rounding): with z of this eigenvalue, outside T's spectrum, |Q_1ᵀ z| is at most their hypotenuse."""
    return Relation.of(lanczos).overlap_bounds(value)


def rounding_share(relation: Relation, value: float) -> float:
    """The part of the squared bound on the overlap that is due to F, from 0 to 1; 0 at an end that was not bounded."""
    if not math.isfinite(value):
        return 0.0
    exact, rounding = relation.overlap_bounds(value)
    return rounding**2 / (exact**2 + rounding**2) if 0 < rounding < math.inf else 0.0


def spectrum_bounds(lanczos: Lanczos, failure_probability: float) -> tuple[float, float]:
    """Every eigenvalue of K (of P K P, with locked vectors) lies between these, except with the failure probability.

    Each of the two statements fails with at most that probability. Holds where the basis was not restarted and its
    start block was Gaussian.
    """
    relation = Relation.of(lanczos)
    if lanczos.complete or (lanczos.exhausted and lanczos.error == 0):
        return float(relation.theta[0]) - lanczos.error, float(relation.theta[-1]) + lanczos.error
    level = _level(lanczos, failure_probability)
    return -relation.mirrored().end(level), relation.end(level)


def _level(lanczos: Lanczos, failure_probability: float) -> float:
    n = lanczos.n - lanczos.locked
    return overlap_quantile(n, lanczos.start.shape[1], failure_probability)


@dataclass
class FailureBudget:
    """A failure probability that is shared out among attempts, and the seed from which each draws its own start.

    Attempt i gets the part 6 / (pi (i + 1))² of it: however many there are, all of them fail with no more.
    """

    probability: float
    seed: int
    attempts: int = 0

    def attempt(self) -> tuple[float, int]:
        """The probability and the number of the next attempt."""
        self.attempts += 1
        return self.probability * 6 / (math.pi * self.attempts) ** 2, self.attempts


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and between what all eigenvalues lie.

    reason : "excluded", "full" (the basis is as large as it may be), "stopped" (there is no target any more; no
    bounds) or "hidden" (rounding hides eigenvalues even from the largest block).
    """

    reason: str
    lowest: float = -math.inf
    highest: float = math.inf


def prove(lanczos: Lanczos, target_interval: TargetInterval, budget: FailureBudget, bar: Bar) -> Outcome:
    """From a fresh random block, exclude all eigenvalues outside the target; larger blocks where rounding hides.

    target_interval : from the Ritz values, ascending, to (low, high), either may be infinite, or to None to stop.
    """
    for block in BLOCKS:
        probability, number = budget.attempt()
        lanczos.begin_random(stream(budget.seed, "proof", number), block)
        outcome = _exclude(lanczos, target_interval, probability, bar)
        if outcome.reason != "hidden":
            return outcome
    return Outcome("hidden", *spectrum_bounds(lanczos, probability))


def _exclude(lanczos: Lanczos, target_interval: TargetInterval, failure_probability: float, bar: Bar) -> Outcome:
    """Extend a run from a random block until it excludes what it should, or cannot."""
    level, slacks, steps = _level(lanczos, failure_probability), {}, 4
    most = fitting_basis(lanczos, LARGEST_BASIS)
    whole = most >= lanczos.n - lanczos.locked  # the whole space fits, whose basis bounds all to rounding
    while True:
        before = lanczos.products
        lanczos.extend(min(steps, -(-(most - lanczos.size) // max(1, lanczos.residual_width))))
        bar.update(lanczos.products - before)
        relation = Relation.of(lanczos)
        theta, ends = relation.theta, target_interval(relation.theta)
        if ends is None:
            return Outcome("stopped")
        bounds = [relation.overlap_bounds(end) for end in ends if math.isfinite(end)]
        slack = min((_log_ratio(level, GROWTH * math.hypot(*both)) for both in bounds), default=0.0)
        slacks[lanczos.products] = slack
        if slack >= 0 or lanczos.exhausted or lanczos.size >= most:
            lowest, highest = spectrum_bounds(lanczos, failure_probability)
            if lowest >= ends[0] and highest <= ends[1]:
                return Outcome("excluded", lowest, highest)
            if lanczos.complete or lanczos.size >= most:
                return Outcome("full", lowest, highest)
            if lanczos.exhausted:
                return Outcome("hidden")
        elif _hidden(lanczos, (ends[0] - theta[0], ends[1] - theta[-1]), level) or (
            not whole and _drowned(bounds, level)
        ):
            return Outcome("hidden")
        expected = expected_products(lanczos, ends, slack) or forecast(slacks) or 0
        bar.expect(expected)
        left = max(0, expected - lanczos.products) // (2 * max(1, lanczos.residual_width))
        steps = max(1, min(left, 8)) if expected else 2


@dataclass(frozen=True)
class Sought:
    """What a run looks for: which Ritz values it has found, and beyond what no other is to be left.

    choose : from the Ritz values, ascending, to the indices of the found ones. ends : from these to (low, high), which
    may be infinite; ``room`` times the largest size may be missing beyond them.
    """

    choose: Callable[[np.ndarray], np.ndarray]
    ends: Callable[[np.ndarray], tuple[float, float]]
    room: float


def prove_found(lanczos: Lanczos, sought: Sought, failure_probability: float, bar: Bar) -> Outcome | None:
    """Go on with a run from a random block, which was not restarted, until it proves that none of what is sought is
    missed; None where it cannot soon, as where more values coincide than the block has vectors."""
    block, n = lanczos.start.shape[1], lanczos.n - lanczos.locked
    most, last = fitting_basis(lanczos, LARGEST_BASIS), round(FURTHER * lanczos.products)
    while True:
        relation = Relation.of(lanczos)
        found = sought.choose(relation.theta)
        room = sought.room * float(abs(relation.theta).max())
        levels = _levels(n, block, len(found), failure_probability)
        low, high = sought.ends(relation.theta[found])
        sides = [
            Beside.of(relation, found, high, room, levels),
            Beside.of(relation.mirrored(), lanczos.size - 1 - found, -low, room, levels),
        ]
        slack = min(side.slack for side in sides)
        highest, least = (side.proved() if slack >= 0 else None for side in sides)
        if highest is not None and least is not None:
            lowest = -least
            if math.isinf(highest - lowest):
                whole = spectrum_bounds(lanczos, failure_probability)
                lowest, highest = max(lowest, whole[0]), min(highest, whole[1])
            return Outcome("excluded", lowest, highest)
        hopeless = lanczos.exhausted or min(side.allowed for side in sides) == -math.inf
        ends = -sides[1].end, sides[0].end
        expected = expected_products(lanczos, ends, slack) if -math.inf < slack < 0 else 0
        if hopeless or expected > last or lanczos.products >= last or lanczos.size >= most:
            return None
        before = lanczos.products
        left = max(4 * block, expected - before)
        lanczos.extend(max(1, min(left, most - lanczos.size) // (2 * block)))
        bar.update(lanczos.products - before)


def _levels(n: int, block: int, found: int, failure_probability: float) -> np.ndarray:
    """What the overlap with none of the spans of 2, 3, ... neighbours among the first eigenvectors is below, except
    with the failure probability in all; 0 for more neighbours than the block has vectors."""
    parts = [failure_probability * 2.0 ** (1 - m) / found for m in range(2, block + 1)]
    return np.array([overlap_quantile(n, block, part, m) for m, part in enumerate(parts, start=2)] + [0.0] * found)


class Clusters:
    """Found Ritz values, in clusters that their residuals do not tell apart.

    weights : what each adds to the overlap of the start with an eigenvector whose eigenvalue is at distance 1. apart :
    for each cluster, what the values of all others add where an eigenvalue is nearest to this one.
    """

    def __init__(self, relation: Relation, found: np.ndarray):
        found = np.sort(found)
        self.values, radii = relation.theta[found], relation.residuals()[found]
        self.weights = radii * np.linalg.norm(relation.start[found], axis=1)
        steps = np.diff(self.values) > 2 * (radii[1:] + radii[:-1])
        self.first = np.flatnonzero(np.r_[True, steps])
        self.counts = np.diff(np.r_[self.first, len(found)])
        self.low, self.high = self.values[self.first], self.values[self.first + self.counts - 1]
        self.radii = np.sqrt(np.add.reduceat(radii**2, self.first))
        distances = np.minimum.reduceat(abs(self.values[:, None] - self.values), self.first, axis=0)
        distances[np.repeat(np.arange(len(self.first)), self.counts), np.arange(len(found))] = math.inf
        self.apart = 2 * (self.weights / distances).sum(axis=1)

    def allowed(self, end: float, levels: np.ndarray) -> float:
        """What others may add to an overlap where a further eigenvalue lies beyond the end, whichever cluster it is
        nearest to; -inf where the block is too small for it."""
        above, below = self.low - self.radii > end, self.high + self.radii < end
        if not levels[self.counts - 1].all():
            return -math.inf
        own = np.zeros(len(self.first))
        if below.any() and math.isfinite(end):
            distances = np.where(np.repeat(below, self.counts), end - self.values, math.inf)
            own = np.add.reduceat(self.weights / distances, self.first)
        level = np.where(above, levels[self.counts - 1] / np.sqrt(self.counts + 1), levels[0] - own)
        return float((np.where(above | below, level, 0.0) - self.apart).min())


@dataclass(frozen=True)
class Beside:
    """The proof that beyond an upper end, above all other Ritz values, lie no eigenvalues but the found ones.

    levels : as of :func:`_levels`. allowed : what the other Ritz vectors may add to an overlap with the start for the
    proof to hold. slack : the logarithm of the ratio of that to what they add at the end.
    """

    rest: Relation
    found: Clusters
    levels: np.ndarray
    end: float

    @classmethod
    def of(cls, relation: Relation, chosen: np.ndarray, last: float, room: float, levels: np.ndarray) -> "Beside":
        """The proof that is nearest to holding, of ends between the last found value and ``room`` beyond it."""
        rest, found = relation.without(chosen), Clusters(relation, chosen)
        if math.isinf(last) or not len(rest.theta):
            return cls(rest, found, levels, math.inf)
        near = (last <= found.low) & (found.low <= last + room)
        ends = [last + room, *(found.low - 2 * found.radii)[near][:_ENDS]]
        sides = [cls(rest, found, levels, float(end)) for end in ends if end > rest.theta[-1]]
        return max(sides, key=lambda side: (side.slack, side.allowed))

    @cached_property
    def allowed(self) -> float:
        return math.inf if math.isinf(self.end) else self.found.allowed(self.end, self.levels)

    @cached_property
    def slack(self) -> float:
        if math.isinf(self.end):
            return math.inf
        overlap = GROWTH * math.hypot(*self.rest.overlap_bounds(self.end))
        return _log_ratio(self.allowed, overlap) if self.allowed > 0 else -math.inf

    def proved(self) -> float | None:
        """The first end that is found from which on it holds, at most this one; None where it does not hold here."""
        if math.isinf(self.end):
            return self.end
        level = min(self.allowed, self.found.allowed(-math.inf, self.levels))  # as where all found values lie beyond it
        if level > 0:
            end = self.rest.end(level)
            if end <= self.end:
                return end if self.found.allowed(end, self.levels) >= level else self.end
        return self.end if self.rest.stays_below(self.allowed, self.end) else None


def fitting_basis(lanczos: Lanczos, wanted: int) -> int:
    """How many vectors of a basis fit, and room for them: at most ``wanted``, at least four blocks."""
    n, block = lanczos.n, max(1, lanczos.residual_width)
    most = min(n - lanczos.locked, max(4 * block, min(wanted, lanczos.basis.fitting(MEMORY_SHARE))))
    lanczos.reserve(lanczos.locked + most + block)
    return most


def _hidden(lanczos: Lanczos, gaps, level: float) -> bool:
    """Whether rounding alone will keep a run of TYPICAL_STEPS from excluding eigenvalues at these distances.

    A converged Ritz vector has an overlap of about (b/n)^(1/2) with the start, and the error grows with the root of the
    number of products.
    """
    block, size = lanczos.start.shape[1], lanczos.n
    error = lanczos.error * max(1.0, TYPICAL_STEPS / lanczos.steps) ** 0.5
    overlap = 2 * (block / size) ** 0.5
    return block < BLOCKS[-1] and any(WEIGHT * error * overlap > level * abs(gap) for gap in gaps)


def _drowned(bounds: list[tuple[float, float]], level: float) -> bool:
    """Whether rounding alone is past the level at an end where next to nothing else is left: more steps add to it."""
    return any(rounding > level and exact < 0.1 * rounding for exact, rounding in bounds)


def _log_ratio(level: float, bound: float) -> float:
    return math.log(level / bound) if 0 < bound < math.inf else math.copysign(math.inf, -bound or 1.0)


def expected_products(lanczos: Lanczos, ends: tuple[float, float], slack: float) -> int:
    r"""The number of products at which the slack reaches 0, from the recurrence; 0 before its coefficients tell.

    Where the bulk of the spectrum fills an interval, diagonal blocks tend to its middle alpha, and the others to a
    quarter beta of its length; with each block the overlap then falls by exp(arccosh(|end - alpha| / (2 beta))), as for
    Chebyshev polynomials. Both are means over the later half of the blocks.
    """
    width, size = lanczos.residual_width, lanczos.size
    if lanczos.steps < TELLING_STEPS or size != lanczos.steps * width:
        return 0
    T, first = lanczos._T[: size + width, :size], size // (2 * width) * width
    couplings = [T[k + width : k + 2 * width, k : k + width] for k in range(first, size, width)]
    alpha = float(np.mean(T.diagonal()[first:]))
    beta = math.exp(float(np.mean([np.linalg.slogdet(C)[1] for C in couplings])) / width)
    nearest = min(abs(end - alpha) for end in ends)
    if not 0 < 2 * beta < nearest < math.inf:
        return 0
    return lanczos.products + width * math.ceil(max(0.0, -slack) / math.acosh(nearest / (2 * beta)))


def forecast(slacks: dict[int, float]) -> int | None:
    """The number of products at which the slack reaches 0: it grows by about as much with each of them."""
    (now, slack), past = list(slacks.items())[-1], max((k for k in slacks if 2 * k <= max(slacks)), default=0)
    growth = slack - slacks.get(past, slack)
    return max(now, math.ceil(now - slack * (now - past) / growth)) if past >= 8 and 0 < growth < math.inf else None
