"""Which learning rates are stable, and which modes are not."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ntkspec.dynamics.laws import LawLike, law_of
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.trajectory import Stability
from ntkspec.operators import as_symmetric
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.base import points_of
from ntkspec.spectra.norms import largest_eigenvalue
from ntkspec.spectra.results import Estimate


def stable_rate(norm: float, n: int, law: LawLike = "gd") -> float:
    """limit n / lambda_max: 2 n / lambda_max for gradient descent, inf for the flow."""
    limit = law_of(law).limit
    return limit * n / norm if norm > 0 and limit < math.inf else math.inf


def largest_stable_rate(
    kernel: MatrixLike,
    *,
    law: LawLike = "gd",
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    r"""The learning rate beyond which training on the loss (1/2n) \|f - y\|² diverges, as an interval.

    The n is that of the points, also where the kernel has a row for each of several outputs. A kernel of points, which
    stands for K ⊗ I, has the same rate for any number of outputs.

    .. math:: \eta < \frac{2 n}{\lambda_{max}} \text{ (gradient descent)}, \qquad
              \eta < \frac{2 (1 + \beta) n}{\lambda_{max}} \text{ (heavy ball with momentum } \beta), \qquad
              \eta < \frac{2 (1 + \beta) n}{(1 + 2 \beta) \lambda_{max}} \text{ (Nesterov)}

    Parameters
    ----------
    kernel : KernelOperator, array, sparse matrix or LinearOperator
        The kernel K on the n training points, (n, n), symmetric; or (n K, n K) with a row for each of K outputs, as
        ``outputs="full"`` of :func:`ntkspec.ntk` gives. Anything that :func:`ntkspec.operators.wrap` takes.
    law : {"gd", "flow"}, HeavyBall or Nesterov, default "gd"
        Gradient descent, its continuous limit (gradient flow, time in steps), ``ntkspec.HeavyBall(momentum)`` or
        ``ntkspec.Nesterov(momentum)``.
    rtol : float, default 1e-3
        Largest width of the interval of the largest eigenvalue, relative to its upper end.
    failure_probability : float, default 1e-6
        The interval may miss the true value with at most this probability, over the random numbers drawn from ``seed``,
        whatever the kernel is.
    seed : int, default 0
        Seed of the random start vectors. The same seed gives the same result, bit by bit, on one machine.

    Returns
    -------
    Estimate
        Below ``lower`` every mode with lambda >= 0 is stable, above ``upper`` one is not; ``value`` is the lower end,
        so that training at it is stable. All are inf for gradient flow, and where no eigenvalue is above zero.
        ``failure_probability`` is the probability that the interval misses the true rate, ``products`` the number of
        products with single vectors, ``converged`` whether the interval is as narrow as asked for, ``plan`` how
        products were computed, ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or ``law`` is unknown.

    Notes
    -----
    The interval is that of the largest eigenvalue and costs what :func:`ntkspec.spectral_norm` does, twice that where
    the largest magnitude is that of a negative eigenvalue.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> eta = ns.largest_stable_rate(np.diag([1.0, 4.0]))
    >>> eta.lower <= 2 * 2 / 4 <= eta.upper
    True
    """
    law, operator = law_of(law), as_symmetric(kernel)
    n = points_of(operator)
    top = largest_eigenvalue(operator, rtol=rtol, failure_probability=failure_probability, seed=seed)
    lower, upper = (stable_rate(end, n, law) for end in (top.upper, top.lower))
    return replace(top, value=lower, lower=lower, upper=upper, converged=lower == upper or top.converged)


def of_all(parts: Sequence[Stability]) -> Stability:
    """The report on several vectors of one kernel, each of which sees some of its modes."""
    return Stability(
        largest_rate=min(part.largest_rate for part in parts),
        unstable=max(part.unstable for part in parts),
        unstable_mass=sum(part.unstable_mass for part in parts),
        negative=max(part.negative for part in parts),
        negative_mass=sum(part.negative_mass for part in parts),
        smallest=min(part.smallest for part in parts),
        complete=all(part.complete for part in parts),
    )


def stability_of(problem: Problem, values: np.ndarray, masses: np.ndarray, *, complete: bool) -> Stability:
    """The report on modes with these eigenvalues and parts of the start residuals' square."""
    total = float((problem.residual.astype(np.float64) ** 2).sum())
    share = np.asarray(masses) / total if total else np.zeros(len(values))
    largest, smallest = (float(end(values, initial=0.0)) for end in (np.max, np.min))
    rounding = len(values) * np.finfo(np.float64).eps
    unstable = problem.rate * values > problem.law.limit * (1 + rounding)
    negative = values < -rounding * max(largest, -smallest)
    return Stability(
        largest_rate=stable_rate(largest, problem.points, problem.law),
        unstable=int(unstable.sum()),
        unstable_mass=float(share[unstable].sum()),
        negative=int(negative.sum()),
        negative_mass=float(share[negative].sum()),
        smallest=smallest,
        complete=complete,
    )
