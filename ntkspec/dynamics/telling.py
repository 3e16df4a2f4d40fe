"""What is said of modes that grow: in the report of a prediction, and in warnings."""

import warnings

import numpy as np

from ntkspec.dynamics.laws import LawLike, SpectralLaw, law_of
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.stability import of_all, stability_of, stable_rate
from ntkspec.dynamics.trajectory import Stability


class UnstableRateWarning(RuntimeWarning):
    """The learning rate is past the largest stable one."""


def warn_if_unstable(eta: float, norm: float, n: int, law: LawLike = "gd", *, stacklevel: int = 3) -> None:
    """Warn where training with rate eta and a kernel of that norm diverges; the threshold is named, and is stable.

    n : points, of which the norm has the rounding.
    """
    largest = stable_rate(norm, n, law)
    if eta > largest * (1 + (n + 8) * np.finfo(np.float64).eps):
        warnings.warn(
            f"learning rate {eta:.6g} is past the largest stable one, {law_of(law).limit:.4g} n / lambda_max = "
            f"{largest:.6g}: training of the kernel model diverges",
            UnstableRateWarning,
            stacklevel=stacklevel,
        )


def reported(problem: Problem, modes: list[tuple[np.ndarray, np.ndarray]], *, complete: bool = True) -> Stability:
    """Which modes (values, masses) grow and what they carry, each part as seen from other vectors; warned of where that
    shows."""
    n, stability = problem.points, of_all([stability_of(problem, *part, complete=complete) for part in modes])
    values = np.concatenate([values for values, _ in modes])
    if not len(values):
        return stability
    warn_if_unstable(problem.rate * n, float(values.max()), n, problem.law, stacklevel=6)
    smallest = min(0.0, float(values.min()))
    warn_if_growing(problem.law, problem.rate, smallest, problem.steps, stacklevel=6)
    return stability


def warn_if_growing(law: SpectralLaw, rate: float, smallest: float, steps: np.ndarray, *, stacklevel: int = 3) -> None:
    """Warn where the smallest eigenvalue is negative, and grows over the steps by what is seen."""
    growth = float(np.max(steps, initial=0.0) * max(0.0, -law.decay(rate * min(0.0, smallest))))
    if growth > 0.01:
        warnings.warn(
            f"the kernel has the eigenvalue {smallest:.3g} < 0, whose part of y grows by exp({growth:.3g}) over "
            f"the steps; where it comes from rounding, use float64 or fewer steps",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
