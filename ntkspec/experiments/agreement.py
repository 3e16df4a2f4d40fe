"""How far two trajectories are apart, and from which step to which they agree."""

from dataclasses import dataclass

import numpy as np

from ntkspec.engines.arrays import ArrayLike

# Outputs that cancel are sums of many terms, larger than what they add up to.
VANISHING = 256


@dataclass(frozen=True)
class Agreement:
    """The recorded steps over which a relative difference stays below a threshold.

    since : the first step >= 1 at which it is below, None where it never is. until : the last step of that unbroken
    run. from_start, to_end : whether the run holds the first and the last recorded step. The recording decides how
    finely a step is known: the truth lies between ``until`` and the next recorded step.
    """

    threshold: float
    since: int | None
    until: int | None
    from_start: bool
    to_end: bool


def agreement(steps: ArrayLike, relative: ArrayLike, threshold: float) -> Agreement:
    """The first unbroken run of ``relative < threshold`` over steps >= 1; step 0 says nothing, all outputs are zero."""
    steps, relative = np.asarray(steps), np.asarray(relative)
    later = steps >= 1
    steps, below = steps[later], relative[later] < threshold
    if not below.any():
        return Agreement(threshold, None, None, False, False)
    first = int(np.argmax(below))
    length = int(np.argmin(below[first:])) if not below[first:].all() else len(below) - first
    last = first + length - 1
    return Agreement(threshold, int(steps[first]), int(steps[last]), first == 0, last == len(steps) - 1)


def loss(outputs: ArrayLike, y: ArrayLike) -> np.ndarray:
    """(1/2n) sum (f - y)² at each step, in float64; outputs (steps, n) or (steps, n, K)."""
    return mean_squared_difference(outputs, y) / 2


# Trajectories past the largest stable rate grow to infinity; their differences follow them there.
_UNSTABLE = np.errstate(over="ignore", invalid="ignore", divide="ignore")


@_UNSTABLE
def mean_squared_difference(outputs: ArrayLike, others: ArrayLike) -> np.ndarray:
    """(1/n) sum (f - f')² at each step, over points and outputs, in float64; outputs (steps, n) or (steps, n, K)."""
    squares = (np.square(row) for row in np.subtract(outputs, others, dtype=np.float64))
    return np.array([np.mean(row.reshape(len(row), -1).sum(axis=1)) for row in squares])


@_UNSTABLE
def relative_difference(outputs: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """(1/n) sum (f - f')² over (1/n) sum f'² at each step: the relative MSE of Figure 3c.

    0 where both vanish, as at step 0, where the outputs of a symmetric network cancel to rounding: VANISHING ulp of the
    largest outputs (root mean square) of either trajectory. inf where only f' does.
    """
    outputs, reference = np.asarray(outputs), np.asarray(reference)
    difference, zero = mean_squared_difference(outputs, reference), np.zeros_like(reference)
    sizes = mean_squared_difference(outputs, zero), mean_squared_difference(reference, zero)
    largest = max(float(size[np.isfinite(size)].max(initial=0.0)) for size in sizes)
    ulp = np.finfo(np.result_type(outputs.dtype, reference.dtype, np.float32)).eps
    none = (difference == 0) | ((sizes[1] == 0) & (difference <= (VANISHING * ulp) ** 2 * largest))
    return np.where(none, 0.0, difference / sizes[1])


def why_not_finite(steps: ArrayLike, outputs: ArrayLike, reference: ArrayLike, relative: ArrayLike) -> str:
    """In words why relative differences are not finite, and from which recorded step; nothing where all are finite."""
    if np.isfinite(relative).all():
        return ""
    grown = ~(_finite(outputs) & _finite(reference))
    reasons = {"outputs overflow": grown, "the reference is zero": ~np.isfinite(relative) & ~grown}
    listed = [f"{why} (first at step {np.asarray(steps)[at][0]})" for why, at in reasons.items() if at.any()]
    return f"not finite: {'; '.join(listed)}"


def _finite(outputs: ArrayLike) -> np.ndarray:
    """At which steps all outputs are."""
    return np.array([np.isfinite(row).all() for row in np.asarray(outputs)])
