r"""What a block Krylov space from a random start proves about the eigenvalues that it has not found.

Let :math:`K Q = Q T + Q' C + F` with the start block in coordinates E (Lanczos), and K z = lambda z with |z| = 1. The
overlaps :math:`y = Q^T z` satisfy :math:`(\lambda - T) y = C^T Q'^T z + F^T z`, so that those of the start block are

.. math:: E^T y = E^T (\lambda - T)^{-1} (C^T Q'^T z + F^T z), \qquad
          \|E^T y\| \le \sqrt{1 + 1/w^2}\, \|E^T (\lambda - T)^{-1} [C^T,\; w f I]\|

for every w > 0 and f >= |F|. The space of the start block is uniform, so :math:`\|E^T y\|^2` follows the
Beta(b/2, (n-b)/2) law whatever K is: it is below its delta-quantile t² with probability delta only. An eigenvalue
lambda is therefore excluded where the right-hand side is smaller than t, except with probability delta.

With b = 1 and f = 0 the norm is :math:`\prod \beta_j / \prod |\lambda - \theta_i|`: the bound of van Dorsselaer,
Hochstenbach and van der Vorst (SIAM J. Matrix Anal. Appl. 22, 2001). For b > 1 the norm need not fall with lambda. It
equals a level t exactly at the real eigenvalues of

.. math:: H = \begin{pmatrix} T & (C^T C + w^2 f^2 I)/t \\ E E^T/t & T \end{pmatrix}

(the argument of Boyd, Balakrishnan and Kabamba for H-infinity norms, Math. Control Signals Systems 2, 1989): beyond the
outermost of them, no eigenvalue of K is left.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import betaincinv

from ntkspec.progress import Bar
from ntkspec.randomness import stream
from ntkspec.spectra.lanczos import Lanczos

# From the Ritz values, ascending, to the interval outside which no eigenvalue is to be left; None stops the run.
TargetInterval: TypeAlias = Callable[[np.ndarray], tuple[float, float] | None]

# Vectors in a start block, the smallest first. More of them are taken where the products are so inaccurate that their
# rounding could hide an eigenvector: k independent overlaps are small together with the k-th power of the probability.
BLOCKS = (2, 4, 8)
# A basis that has not excluded what it should with this many vectors, or with those that fit into this part of the
# free memory, says so instead of going on.
LARGEST_BASIS, MEMORY_SHARE = 512, 0.25
# w above: rounding counts four times, the exact part 1.03 times.
WEIGHT = 4.0
_LOSS = math.sqrt(1 + 1 / WEIGHT**2)
# Crossings are those of a level that is smaller by this: a bound that only just reaches the level crosses it twice at
# a distance that rounding cannot hide.
_MARGIN = 1 - 1e-6
# Steps that most runs need, and those after which their recurrence tells how many.
TYPICAL_STEPS, TELLING_STEPS = 40, 12


def overlap_quantile(n: int, block: int, failure_probability: float) -> float:
    """t with P(|Q_1ᵀ z| < t) = failure_probability for a uniform orthonormal block (n, block) and a unit vector z."""
    if block >= n:
        return 1.0
    return math.sqrt(betaincinv(block / 2, (n - block) / 2, failure_probability))


def overlap_bounds(lanczos: Lanczos, value: float) -> tuple[float, float]:
    """(exact, rounding): with z of this eigenvalue, outside T's spectrum, |Q_1ᵀ z| is at most their hypotenuse."""
    try:
        X = np.linalg.solve(value * np.eye(lanczos.size) - lanczos.T, lanczos.start)
    except np.linalg.LinAlgError:
        return math.inf, math.inf
    if not np.isfinite(X).all():
        return math.inf, math.inf
    exact = float(np.linalg.norm(lanczos.off_diagonal @ X, 2)) if lanczos.residual_width else 0.0
    return _LOSS * exact, _LOSS * WEIGHT * lanczos.error * float(np.linalg.norm(X, 2))


def rounding_share(lanczos: Lanczos, value: float) -> float:
    """The part of the squared bound on the overlap that is due to F, from 0 to 1; 0 at an end that was not bounded."""
    if not math.isfinite(value):
        return 0.0
    exact, rounding = overlap_bounds(lanczos, value)
    return rounding**2 / (exact**2 + rounding**2) if 0 < rounding < math.inf else 0.0


def spectrum_bounds(lanczos: Lanczos, failure_probability: float) -> tuple[float, float]:
    """Every eigenvalue of K (of P K P, with locked vectors) lies between these, except with the failure probability.

    Each of the two statements fails with at most that probability. Holds where the basis was not restarted and its
    start block was Gaussian. Cost: the eigenvalues of a (2 k, 2 k) matrix.
    """
    theta, rounding = np.linalg.eigvalsh(lanczos.T), lanczos.error
    if lanczos.complete or (lanczos.exhausted and rounding == 0):
        return float(theta[0]) - rounding, float(theta[-1]) + rounding
    level = _level(lanczos, failure_probability)
    crossings, far = _crossings(lanczos, _MARGIN * level / _LOSS)
    real = np.append(crossings.real[abs(crossings.imag) <= 1e-8 * abs(theta).max()], theta[[0, -1]])
    step = rounding + 4 * np.finfo(np.float64).eps * far
    return _first_below(lanczos, float(real.min()), -step, level), _first_below(lanczos, float(real.max()), step, level)


def _crossings(lanczos: Lanczos, level: float):
    """The eigenvalues of H, and its norm; computed in units of the largest entry of T and C."""
    unit = max(abs(lanczos.T).max(), abs(lanczos.off_diagonal).max(initial=0.0), lanczos.error)
    T, C, E = lanczos.T / unit, lanczos.off_diagonal / unit, lanczos.start
    far = C.T @ C + (WEIGHT * lanczos.error / unit) ** 2 * np.eye(lanczos.size)
    balance = math.sqrt(np.linalg.norm(far, 2))
    H = np.block([[T, far / (balance * level)], [E @ E.T * (balance / level), T]])
    return unit * np.linalg.eigvals(H), unit * float(np.linalg.norm(H))


def _first_below(lanczos: Lanczos, end: float, step: float, level: float) -> float:
    """The first of end + step, end + 2 step, end + 4 step, ... where the bound on the overlap is below the level.

    Next to a converged Ritz value two crossings lie so close that they are computed as complex: this finds them.
    """
    while not math.hypot(*overlap_bounds(lanczos, end + step)) < level:
        step *= 2
        if not math.isfinite(step):
            return step
    return end + step


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
        theta = np.linalg.eigvalsh(lanczos.T)
        ends = target_interval(theta)
        if ends is None:
            return Outcome("stopped")
        bounds = [overlap_bounds(lanczos, end) for end in ends if math.isfinite(end)]
        slack = min((_log_ratio(level, math.hypot(*both)) for both in bounds), default=0.0)
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
