"""Spectral and Frobenius norms, with intervals."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from ntkspec import planning, progress
from ntkspec.operators import KernelOperator
from ntkspec.operators.base import tiles
from ntkspec.planning import Plan
from ntkspec.spectra import Lanczos, random_start, require_symmetric

# A norm that has not closed its interval after this many products says so instead of going on.
MOST_PRODUCTS = 1000
# What the forecast assumes: 16 to 124 products were seen on differences of kernels.
EXPECTED_PRODUCTS = 48


@dataclass(frozen=True)
class Estimate:
    """A number with an interval: lower <= truth <= upper, except with the failure probability.

    products : with the kernel. plan : how they were computed, with the forecast.
    """

    value: float
    lower: float
    upper: float
    failure_probability: float
    products: int
    converged: bool
    plan: Plan | None = None

    def __float__(self) -> float:
        return self.value


def spectral_norm(
    operator: KernelOperator,
    *,
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed=0,
    method: str | None = None,
) -> Estimate:
    r"""The spectral norm max |lambda| of a symmetric kernel, as an interval of relative width ``rtol``.

    lower : the largest |Ritz value|, never above the norm. upper : any eigenvalue lambda beyond the Ritz values
    theta_i satisfies :math:`\prod |\lambda - \theta_i| \le \prod \beta_j / |\langle q_1, z \rangle|` (van Dorsselaer,
    Hochstenbach, van der Vorst, SIAM J. Matrix Anal. Appl. 22, 2001), and the overlap of the random start with z,
    :math:`\langle q_1, z \rangle^2 \sim \mathrm{Beta}(1/2, (n-1)/2)`, is below its quantile with the failure
    probability only. Both hold in exact arithmetic; the rounding of the products is not in the interval.
    value : lower, the best single guess. Cost: one product a Lanczos step, at most 1000 (``converged`` says so).
    method : "dense" (one triangle of the matrix is stored, n² / 2 entries), "factored" (n numbers a product besides
    the factors) or None for the sooner one that fits (:func:`ntkspec.plan`); the result's ``plan`` says which, with
    the forecast. Raises ValueError for a kernel that is not symmetric or gives NaN, and for a matrix that does not fit.
    """
    require_symmetric(operator)
    if not 0 < failure_probability < 1 or not rtol > 0:
        raise ValueError(f"{failure_probability=} and {rtol=}, but 0 < failure_probability < 1 and rtol > 0 are needed")
    n = operator.shape[0]
    operator, plan = planning.prepare(operator, EXPECTED_PRODUCTS, method=method)
    log_overlap = 0.5 * math.log(betaincinv(0.5, (n - 1) / 2, failure_probability)) if n > 1 else 0.0
    bar = progress.bar(total=EXPECTED_PRODUCTS, text=f"spectral norm, {plan.method} (products)")
    slacks: dict[int, float] = {}
    with operator.engine.one_blas_thread(), bar:
        lanczos = Lanczos(operator, random_start(operator, seed))
        while True:
            before = lanczos.products
            lanczos.extend(4)
            theta, _ = lanczos.ritz()
            lower = float(abs(theta).max())
            log_bound = -math.inf if lanczos.exhausted else float(np.log(lanczos.beta).sum()) - log_overlap
            size = lower / (1 - rtol) if rtol < 1 else math.inf
            slacks[lanczos.products] = _slack(theta, size, log_bound)
            bar.total = _forecast(slacks) or bar.total
            bar.update(lanczos.products - before)
            closed = slacks[lanczos.products] >= 0
            if closed or lanczos.products >= MOST_PRODUCTS:
                upper = lower if lanczos.exhausted else _outermost_of_both(theta, log_bound)
                return Estimate(lower, lower, upper, failure_probability, lanczos.products, closed, plan)


def _slack(theta, size: float, log_bound: float) -> float:
    """How far the bound is from allowing an eigenvalue at +- size; from 0 on, the interval ends below size."""
    if log_bound == -math.inf or size == math.inf:
        return math.inf
    with np.errstate(divide="ignore"):
        return float(min(np.log(size - theta).sum(), np.log(size + theta).sum())) - log_bound


def _forecast(slacks: dict[int, float]) -> int | None:
    """The number of products at which the slack reaches 0: it grows by about as much with each of them."""
    (now, slack), past = list(slacks.items())[-1], max((k for k in slacks if 2 * k <= max(slacks)), default=0)
    growth = slack - slacks.get(past, slack)
    return max(now, math.ceil(now - slack * (now - past) / growth)) if past >= 8 and 0 < growth < math.inf else None


def _outermost_of_both(theta, log_bound: float) -> float:
    return max(_outermost(theta, log_bound), _outermost(-theta, log_bound))


def _outermost(theta, log_bound: float) -> float:
    """The largest lambda >= max theta with sum log(lambda - theta_i) <= log_bound, from above, by bisection."""
    top = float(theta.max())
    below = top - theta
    low, high = 0.0, math.exp(log_bound / len(theta))  # at top + high every factor is at least `high`
    for _ in range(60):
        middle = (low + high) / 2
        if np.log(below + middle).sum() > log_bound:
            high = middle
        else:
            low = middle
    return top + high


def frobenius_norm(operator: KernelOperator, *, rtol: float = 0.0, seed=0) -> Estimate:
    r"""The Frobenius norm :math:`\|K\|_F`, the yardstick that Proposition 3.4 is contrasted with.

    Exact: every tile is formed once (the lower triangle of a symmetric kernel) and its squares are summed in float64;
    where the spectral norm has formed the matrix of this operator before, the sum is there already.
    rtol > 0 allows a stochastic estimate; the exact one is cheap enough here, so it is returned all the same, and
    ``seed`` is not used. Cost: n n' tile_work (half of that where K is symmetric), one tile a worker.
    """
    if operator.squares is None:
        operator.squares = _sum_of_squares(operator)
    norm = math.sqrt(operator.squares)
    return Estimate(norm, norm, norm, 0.0, 0, True)


def _sum_of_squares(operator: KernelOperator) -> float:
    def squares(place):
        rows, cols = place
        weight = 2.0 if operator.symmetric and rows != cols else 1.0
        return weight * operator.engine.sum_of_squares(operator.tile(rows, cols))

    return math.fsum(operator.engine.run(squares, list(tiles(operator)), progress="Frobenius norm (tiles)"))
