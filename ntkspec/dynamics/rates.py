"""Learning rates, one number or one for each step, and the strength of weight decay."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import ArrayLike

# What functions take: a number, a function of the step from 0, or an array with a rate for each step.
RateLike: TypeAlias = float | Callable[[int], float] | ArrayLike


@dataclass(frozen=True, eq=False)
class Schedule:
    """A rate for each step, of a function or a float64 array ``given``; ``name`` is that of the argument."""

    name: str
    given: Callable[[int], float] | np.ndarray

    def __call__(self, step: int) -> float:
        """The rate of a step, checked."""
        value = self.given(step) if callable(self.given) else float(self.given[step])
        return checks.learning_rate(value, f"{self.name} at step {step}")


Rate: TypeAlias = float | Schedule


def rate_of(given: Any, name: str, steps: int) -> Rate:
    """A rate, or one for each of so many steps; ValueError, with what is allowed, for others."""
    if callable(given):
        found = Schedule(name, given)
        found(0)
        return found
    if not isinstance(given, list | tuple | np.ndarray):
        return checks.learning_rate(given, name)
    rates = np.asarray(given)
    if rates.ndim != 1 or rates.dtype.kind not in "iuf" or not np.isfinite(rates).all() or (rates < 0).any():
        raise ValueError(
            f"{name}={checks.shown(given)}, but a learning rate >= 0 is needed, or an array of one for each step"
        )
    if len(rates) < steps:
        raise ValueError(f"{name} has {len(rates)} learning rates, but there are {steps} steps; give one for each")
    return Schedule(name, rates.astype(np.float64))


def at(rate: Rate, step: int) -> float:
    """The rate of a step."""
    return rate(step) if isinstance(rate, Schedule) else rate


def strength_of(given: Any, name: str) -> float:
    """A checked strength of weight decay."""
    return checks.not_negative(given, name, "a finite number >= 0 is needed")
