"""What is said of modes that grow: in the report of a prediction, and in warnings."""

import warnings
from collections.abc import Sequence

import numpy as np

from ntkspec.dynamics.laws import LawLike, SpectralLaw, law_of
from ntkspec.dynamics.losses import SQUARED, LossLike, name_of
from ntkspec.dynamics.losses import loss as loss_of
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.stability import of_all, stability_of, stable_rate
from ntkspec.dynamics.trajectory import Stability


class UnstableRateWarning(RuntimeWarning):
    """The learning rate is past the largest stable one."""


def warn_if_unstable(
    eta: float, norm: float, n: int, law: LawLike = "gd", *, loss: LossLike = "squared", stacklevel: int = 3
) -> None:
    """Warn where training with rate eta and a kernel of that norm diverges; the threshold is named, and is stable.

    n : points, of which the norm has the rounding. Of other losses than the squared one the threshold is that of their
    largest curvature: beyond it training may diverge; nothing is said where that is unknown.
    """
    curvature, squared = loss_of(loss).curvature, loss_of(loss) == SQUARED
    if not curvature:
        return
    largest = stable_rate(norm, n, law) / curvature
    if eta > largest * (1 + (n + 8) * np.finfo(np.float64).eps):
        end = "training of the kernel model diverges"
        if not squared:
            end = f"where the {name_of(loss_of(loss))} loss is curved most, training of the kernel model oscillates"
        warnings.warn(
            f"learning rate {eta:.6g} is past the largest stable one, {law_of(law).limit / curvature:.4g} n / "
            f"lambda_max = {largest:.6g}: {end}",
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


def warn_if_rising(losses: Sequence[float], steps: np.ndarray) -> None:
    """Warn where full-batch gradient descent raised the mean loss between two recorded steps, by more than rounding."""
    losses = np.asarray(losses)
    rising = np.flatnonzero(np.diff(losses) > 1e-6 * np.maximum.accumulate(abs(losses))[:-1])
    if len(rising):
        k = rising[0]
        warnings.warn(
            f"the training loss rises from {losses[k]:.4g} at step {steps[k]} to {losses[k + 1]:.4g} at step "
            f"{steps[k + 1]}: the learning rate is too large for gradient descent; take a smaller one",
            UnstableRateWarning,
            stacklevel=4,
        )
