"""Which learning rates are stable, and which modes are not."""

import math
from dataclasses import replace

import numpy as np

from ntkspec.dynamics.laws import Law, law_of
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.trajectory import Stability
from ntkspec.operators import KernelOperator, as_symmetric
from ntkspec.spectra.norms import largest_eigenvalue
from ntkspec.spectra.results import Estimate


def stable_rate(norm: float, n: int, law: str | Law = "gd") -> float:
    """2 n / lambda_max for gradient descent, 2 (1 + momentum) n / lambda_max for the heavy ball, inf for the flow."""
    limit = law_of(law).limit
    return limit * n / norm if norm > 0 and limit < math.inf else math.inf


def largest_stable_rate(
    kernel: KernelOperator, *, law: str | Law = "gd", rtol: float = 1e-3, failure_probability: float = 1e-6, seed=0
) -> Estimate:
    r"""The learning rate from which training on (1/2n) |f - y|² diverges, as an interval.

    .. math:: \eta < \frac{2 n}{\lambda_{max}} \text{ (gradient descent)}, \qquad
              \eta < \frac{2 (1 + \beta) n}{\lambda_{max}} \text{ (heavy ball with momentum } \beta)

    kernel : (n, n), symmetric. Below ``lower`` every mode with lambda >= 0 is stable, except with the failure
    probability; above ``upper`` one is not; ``value`` is the lower end, so that training at it is stable. The interval
    is that of the largest eigenvalue, of relative width ``rtol`` where it is ``converged``, and costs what
    :func:`ntkspec.spectral_norm` does (twice that where the largest magnitude is that of a negative eigenvalue). No
    eigenvalue above zero: inf.
    """
    law, kernel = law_of(law), as_symmetric(kernel)
    n = kernel.shape[0]
    top = largest_eigenvalue(kernel, rtol=rtol, failure_probability=failure_probability, seed=seed)
    lower, upper = (stable_rate(end, n, law) for end in (top.upper, top.lower))
    return replace(top, value=lower, lower=lower, upper=upper, converged=lower == upper or top.converged)


def stability_of(problem: Problem, values, masses, *, complete: bool) -> Stability:
    """The report on modes with these eigenvalues and parts of the start residual's square."""
    total = float((problem.residual.astype(np.float64) ** 2).sum())
    share = np.asarray(masses) / total if total else np.zeros(len(values))
    largest, smallest = (float(end(values, initial=0.0)) for end in (np.max, np.min))
    rounding = len(values) * np.finfo(np.float64).eps * max(largest, -smallest)
    unstable, negative = problem.rate * values > problem.law.limit, values < -rounding
    return Stability(
        largest_rate=stable_rate(largest, len(problem.residual), problem.law),
        unstable=int(unstable.sum()),
        unstable_mass=float(share[unstable].sum()),
        negative=int(negative.sum()),
        negative_mass=float(share[negative].sum()),
        smallest=smallest,
        complete=complete,
    )
