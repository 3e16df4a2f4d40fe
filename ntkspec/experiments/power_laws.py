"""Scaling laws from sweeps: exponents with intervals, local slopes, and the two-term law of the gap."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import stdtrit

from ntkspec.engines.arrays import ArrayLike

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """y = constant x^exponent, fitted in logarithms over all seeds. of : what x is, d or the width m.

    lower, upper : 95 % interval of the exponent, the wider end of two: Student's t on the slopes of the single seeds,
    and a bootstrap that resamples whole seeds. x, medians : distinct x and the median y there; local : slopes between
    consecutive medians. points : how many (x, y) were fitted.
    """

    exponent: float
    constant: float
    lower: float
    upper: float
    x: np.ndarray
    medians: np.ndarray
    local: np.ndarray
    points: int
    of: str = "d"


def fit_power_law(x: ArrayLike, y: ArrayLike, seeds: ArrayLike, *, of: str = "d", seed: int = 0) -> PowerLaw:
    """Fit y = c x^p to positive y (k,) at x (k,), in clusters of equal ``seeds`` (k,). of : what x is.

    Raises ValueError for fewer than three distinct x or two seeds: no interval can be given then.
    """
    x, y, seeds = (np.asarray(values) for values in (x, y, seeds))
    if not (np.isfinite(y).all() and (y > 0).all()):
        raise ValueError("a power law is fitted to finite numbers > 0; some of these are not")
    distinct, clusters = np.unique(x), np.unique(seeds)
    if len(distinct) < 3 or len(clusters) < 2:
        raise ValueError(
            f"{len(distinct)} values of x and {len(clusters)} seeds came, but an exponent with an interval needs three "
            f"of the one and two of the other"
        )
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    ends = _by_seeds(x, y, seeds, float(slope)), _bootstrap(x, y, seeds, seed)
    medians = at_distinct(np.median, x, y)
    return PowerLaw(
        exponent=float(slope),
        constant=float(np.exp(intercept)),
        lower=min(end[0] for end in ends),
        upper=max(end[1] for end in ends),
        x=distinct,
        medians=medians,
        local=np.diff(np.log(medians)) / np.diff(np.log(distinct)),
        points=len(x),
        of=of,
    )


def at_distinct(summary: Callable[[np.ndarray], float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """summary(y) at each distinct x, ascending."""
    return np.array([summary(y[x == value]) for value in np.unique(x)])


def _slopes(x, y, seeds):
    """The slope of each seed that has at least two x."""
    slopes = []
    for cluster in np.unique(seeds):
        own = seeds == cluster
        if len(np.unique(x[own])) >= 2:
            slopes.append(np.polyfit(np.log(x[own]), np.log(y[own]), 1)[0])
    return np.array(slopes)


def _by_seeds(x, y, seeds, slope: float) -> tuple[float, float]:
    """Student's t on the slopes of the single seeds; they also fluctuate about a law that bends."""
    slopes = _slopes(x, y, seeds)
    if len(slopes) < 2:
        return slope, slope
    half = stdtrit(len(slopes) - 1, (1 + CONFIDENCE) / 2) * slopes.std(ddof=1) / math.sqrt(len(slopes))
    return float(slope - half), float(slope + half)


def _bootstrap(x, y, seeds, seed: int) -> tuple[float, float]:
    """Percentiles of the slope over resampled seeds, from each seed's sums of log x, log y and their products."""
    rng, clusters = np.random.default_rng(seed), np.unique(seeds)
    u, v = np.log(x) - np.log(x).mean(), np.log(y) - np.log(y).mean()
    own = [seeds == cluster for cluster in clusters]
    sums = np.array([[mask.sum(), u[mask].sum(), v[mask].sum(), u[mask] @ u[mask], u[mask] @ v[mask]] for mask in own])
    ends = np.array([[u[mask].min(), u[mask].max()] for mask in own])
    draws = rng.integers(0, len(clusters), (RESAMPLES, len(clusters)))
    count, of_u, of_v, of_uu, of_uv = sums[draws].sum(1).T
    several = ends[draws, 0].min(1) < ends[draws, 1].max(1)
    slopes = ((of_uv - of_u * of_v / count)[several]) / ((of_uu - of_u**2 / count)[several])
    low, high = np.quantile(slopes, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class TwoTerms:
    """max(floor, C (n/d) (1/d + kappa/m)^(1/2)): the diagonal against fluctuation and remainder.

    error : root mean square of the logarithm of measured over fitted.
    Along one law m = d^gamma the two terms under the root are hard to tell apart: see ``identified``.
    """

    floor: float
    constant: float
    kappa: float
    error: float

    @property
    def identified(self) -> bool:
        """Whether both terms under the root mattered to the fit."""
        return 1e-3 < self.kappa < 1e3

    def __call__(self, n: ArrayLike, d: ArrayLike, width: ArrayLike) -> np.ndarray:
        """The fitted gap."""
        n, d, width = (np.asarray(values, dtype=np.float64) for values in (n, d, width))
        return np.maximum(self.floor, self.constant * n / d * np.sqrt(1 / d + self.kappa / width))


def fit_two_terms(y: ArrayLike, *, n: ArrayLike, d: ArrayLike, width: ArrayLike, floor: float) -> TwoTerms:
    """Fit C and kappa >= 0 to y (k,) at n, d and width, each (k,), in logarithms; the floor is known."""
    n, d, width = (np.asarray(values, dtype=np.float64) for values in (n, d, width))
    y = np.asarray(y, dtype=np.float64)

    def fitted(parameters):
        constant, kappa = np.exp(parameters)
        return TwoTerms(floor, constant, kappa, 0.0)(n, d, width)

    def misfit(parameters):
        return np.log(fitted(parameters) / y)

    starts = [np.log([np.median(y * d / n * np.sqrt(d)), kappa]) for kappa in (0.01, 1.0, 10.0)]
    found = min((least_squares(misfit, start) for start in starts), key=lambda one: one.cost)
    constant, kappa = np.exp(found.x)
    return TwoTerms(floor, float(constant), float(kappa), float(np.sqrt(np.mean(found.fun**2))))


def never_rises(x: ArrayLike, y: ArrayLike) -> bool:
    """Whether the median slope between all pairs of (x, y) is not positive (Theil, Sen)."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    i, j = np.triu_indices(len(x), 1)
    apart = x[j] != x[i]
    return bool(np.median((y[j] - y[i])[apart] / (x[j] - x[i])[apart]) <= 0)
