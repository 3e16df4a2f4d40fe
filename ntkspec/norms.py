"""Spectral and Frobenius norms, with intervals."""

import math
from dataclasses import dataclass

import numpy as np

from ntkspec import planning, progress
from ntkspec.certificates import Chance, prove
from ntkspec.evidence import Evidence, collect
from ntkspec.lanczos import Lanczos
from ntkspec.operators import KernelOperator, as_symmetric, wrap
from ntkspec.planning import Plan
from ntkspec.spectra import Wanted, converge
from ntkspec.storage import recorded

# What the forecast assumes: 22 to 160 products were seen on differences of kernels.
EXPECTED_PRODUCTS = 60
# Where the basis is full, so many outer eigenpairs are locked at once, and so often.
PAIRS_AT_ONCE, MOST_ROUNDS = 16, 4


@dataclass(frozen=True)
class Estimate:
    """A number with an interval: lower <= truth <= upper, except with the failure probability.

    products : with the kernel. plan : how they were computed, with the forecast. evidence : what the interval rests on.
    """

    value: float
    lower: float
    upper: float
    failure_probability: float
    products: int
    converged: bool
    plan: Plan | None = None
    evidence: Evidence | None = None

    def __float__(self) -> float:
        return self.value


def spectral_norm(
    operator,
    *,
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed=0,
    method: str | None = None,
    checkpoint=None,
) -> Estimate:
    r"""The spectral norm max |lambda| of a symmetric kernel, as an interval of relative width ``rtol``.

    value : the largest |Ritz value|. lower : the same less rounding, never above the norm. upper : beyond it no
    eigenvalue is left, except with the failure probability over the random start block; the theorem and its proof are
    those of :mod:`ntkspec.certificates`, with the rounding of products and basis inside. Where the matrix was formed in
    float32, its distance from the kernel (estimated from a sample of rows) widens both ends. ``evidence`` says what the
    interval is made of.
    method : "dense" (one triangle of the matrix is stored, n² / 2 entries), "factored" (n numbers a product besides
    the factors) or None for the sooner one that fits (:func:`ntkspec.plan`); the result's ``plan`` says which, with
    the forecast. Products are done with blocks of two float64 vectors, with four or eight where they are inaccurate.
    Cost: products until the interval closes, and a basis of at most 512 vectors of 8 n bytes. Where that is full, outer
    eigenpairs are computed with restarts and locked, and a new basis proves what is left, up to four times; then the
    interval stays open (``converged``).
    checkpoint : a file that keeps the products, 8 n bytes each: the same call goes on after an interruption, bit by bit
    as if there had been none (:func:`ntkspec.storage.recorded`).
    Raises ValueError for a kernel that is not symmetric or gives NaN, and for a matrix that does not fit.
    """
    operator = as_symmetric(operator)
    if not 0 < failure_probability < 1 or not rtol > 0:
        raise ValueError(f"{failure_probability=} and {rtol=}, but 0 < failure_probability < 1 and rtol > 0 are needed")
    n = operator.shape[0]
    operator, plan = planning.prepare(operator, EXPECTED_PRODUCTS, method=method)
    bar = progress.bar(total=EXPECTED_PRODUCTS, text=f"spectral norm, {plan.method} (products)")
    with operator.engine.one_blas_thread(), bar, recorded(operator, checkpoint) as operator:
        lanczos, chance, rounds = Lanczos(operator), Chance(failure_probability, seed), 0
        values, residuals = np.zeros(0), np.zeros(0)
        outcome = prove(lanczos, _aim(operator.distance, rtol), chance, bar)
        while outcome.reason == "full" and lanczos.locked < n and rounds < MOST_ROUNDS:
            outer = Wanted(PAIRS_AT_ONCE, "LM", 0.01 * rtol)
            more, of_more, _ = converge(lanczos, outer, outer.choose, bar)
            values, residuals = np.append(values, more), np.append(residuals, of_more)
            distance = operator.distance + float(np.linalg.norm(residuals))
            outcome = prove(lanczos, _aim(distance, rtol, values), chance, bar)
            rounds += 1
        evidence = collect(lanczos, (outcome.lowest, outcome.highest), failure_probability, (values, residuals))
    value = max(abs(evidence.smallest), abs(evidence.largest))
    slack = evidence.rounding + float(np.linalg.norm(residuals))
    lower = max(0.0, (value - slack) / (1 + evidence.orthogonality_loss) - evidence.stored)
    upper = max(-evidence.lowest, evidence.highest)
    closed = upper - lower <= rtol * upper
    return Estimate(value, lower, upper, failure_probability, lanczos.products, closed, plan, evidence)


def _aim(distance: float, rtol: float, locked=()):
    """From Ritz values, and those of locked vectors, to the ends of an interval of relative width rtol.

    It is narrower by what the distance takes; where that is more than nine tenths of it, as if there were none.
    """

    def aim(theta):
        size = float(max([-theta[0], theta[-1], *np.abs(locked)]))
        room = rtol / (1 - rtol) * size if rtol < 1 else math.inf
        end = size + (room - 2 * distance if 2 * distance < 0.9 * room else room)
        return -end, end

    return aim


def frobenius_norm(operator: KernelOperator, *, rtol: float = 0.0, seed=0) -> Estimate:
    r"""The Frobenius norm :math:`\|K\|_F`, the yardstick that Proposition 3.4 is contrasted with.

    Exact: every tile is formed once (the lower triangle of a symmetric kernel) and its squares are summed in float64;
    where the spectral norm has formed the matrix of this operator before, the sum is there already.
    rtol > 0 allows a stochastic estimate; the exact one is cheap enough here, so it is returned all the same, and
    ``seed`` is not used. Cost: n n' tile_work (half of that where K is symmetric), one tile a worker.
    """
    operator = wrap(operator)
    if operator.squares is None:
        operator.squares = operator.sum_of_squares()
    norm = math.sqrt(operator.squares)
    return Estimate(norm, norm, norm, 0.0, 0, True)
