r"""One Krylov basis for all steps, and what truncating it costs at each of them.

With K Q = Q T + beta q e_kᵀ, the Krylov residual z_t = e_t(rate T) e_1 |r| misses, in each step s, the amount
rate beta |e_kᵀ z_s| in the direction q. No law amplifies what was missed by more than its ``amplification`` while the
rate is stable, so

.. math:: |u_t - u_t^{Krylov}| \le \text{amplification} \cdot \text{rate} \, \beta \sum_{s < t} |e_k^T z_s| .

Where e_kᵀ z_s has one sign for all s (and the amplification is 1) the sum is |e_kᵀ g_t(T) e_1| in closed form
(``keeps_signs``). The test output on x* depends on what was missed through k_*ᵀ h_j(K) q, and k_* = K^{1/2} w with
|w|² <= k(x*, x*), since the kernel of all points together is semidefinite. h_j(lambda) lambda, for the heavy ball
S_j(0) - S_j(x), is at most amplification min(amplification x j, 2), so that the product is at most
amplification sqrt(2 amplification rate j k(x*, x*)).
"""

import itertools
import math
import warnings

import numpy as np
from scipy.linalg.blas import dtbsv

from ntkspec import progress
from ntkspec.dynamics.laws import SpectralLaw
from ntkspec.dynamics.problem import Problem
from ntkspec.engines.arrays import Array
from ntkspec.operators import Dense, KernelOperator, planning
from ntkspec.spectra.lanczos import Lanczos, extend_together

# A basis grows until its error bound is this small against |r| and |u_t|, until it fills this part of the free
# memory, or until it holds this many vectors.
TOLERANCE = {"d": 1e-10, "f": 1e-5}
MEMORY_SHARE = 0.25
MOST = 3000
# Products that the planner expects.
EXPECTED = 300
# Steps that are summed one by one, so many at a time; the grid beyond them, and the terms looked at in an interval.
SUMMED, CHUNK, RATIO = 5000, 1000, 1.02
_LOOKED_AT = np.arange(8)


class KrylovPrediction:
    """What a Krylov basis says of one vector: Ritz values, what they carry of it, and a bound on |u - u^Krylov|."""

    def __init__(self, problem: Problem, lanczos: Lanczos, error: np.ndarray):
        self.problem, self.lanczos = problem, lanczos
        self.theta, self._S = lanczos.ritz()
        size = float(lanczos.start_factor[0, 0])
        self.weights, self.bound = size * self._S[0], abs(size) * error

    def outputs(self) -> Array:
        """On the training points, (steps, n)."""
        law, x = self.problem.law, self.problem.rate * self.theta
        learned = (self.weights * law.learned(x, self.problem.steps)) @ self._S.T
        return self.lanczos.combined(learned).astype(self.problem.kernel.dtype)

    def outputs_of(self, kernel_test: KernelOperator) -> Array:
        """On test points, (steps, n')."""
        law, rate, xp = self.problem.law, self.problem.rate, self.lanczos.engine.xp
        vectors = self.lanczos.vectors.astype(self.problem.kernel.dtype)
        basis_test = Dense(kernel_test @ vectors, symmetric=False)
        gains = (self.weights * rate * law.gain(rate * self.theta, self.problem.steps)) @ self._S.T
        return outputs_on_test(basis_test, xp.asarray(gains))


def outputs_on_test(kernel_test: KernelOperator, dual: Array) -> Array:
    """K_* alpha for each row alpha of ``dual``; NaN where alpha is past the square root of the largest number."""
    outputs = kernel_test.engine.xp.full((len(dual), kernel_test.shape[0]), np.nan, kernel_test.dtype)
    followed = (abs(dual) < np.finfo(kernel_test.dtype).max ** 0.5).all(axis=1)
    if followed.any():
        outputs[followed] = (kernel_test @ dual[followed].astype(kernel_test.dtype).T).T
    return outputs


def grow(problem: Problem) -> list[KrylovPrediction]:
    """A basis from each residual. Products of all bases are computed together."""
    count = len(problem.residual)
    kernel, _ = planning.prepare(problem.kernel, count * EXPECTED, block=count)
    bases = [Lanczos(kernel) for _ in problem.residual]
    for lanczos, residual in zip(bases, problem.residual, strict=True):
        lanczos.begin(residual)
    most = min(kernel.shape[0], MOST, max(50, bases[0].basis.fitting(MEMORY_SHARE) // count))
    errors: list[np.ndarray | None] = [None] * count
    with kernel.engine.one_blas_thread(), progress.bar(text="prediction (products)") as bar:
        while growing := [lanczos for lanczos, error in zip(bases, errors, strict=True) if error is None]:
            before = [lanczos.products for lanczos in growing]
            extend_together(growing, min(10 + max(before) // 10, most - max(before)))
            bar.update(sum(lanczos.products for lanczos in growing) - sum(before))
            errors = [
                _settled(problem, lanczos, most) if error is None else error
                for lanczos, error in zip(bases, errors, strict=True)
            ]
    found = [(lanczos, error) for lanczos, error in zip(bases, errors, strict=True) if error is not None]
    left = [error[_open(problem, lanczos, error)] for lanczos, error in found if not lanczos.exhausted]
    if any(part.size for part in left):
        largest = max(float(part.max(initial=0.0)) for part in left)
        warnings.warn(
            f"the prediction's error is bounded by {largest:.1e} |y| with a basis of {most} vectors, instead "
            f"of {TOLERANCE[kernel.dtype.char]:.0e}; ask for fewer steps or a smaller learning rate",
            RuntimeWarning,
            stacklevel=5,
        )
    return [KrylovPrediction(problem, lanczos, error) for lanczos, error in found]


def _settled(problem: Problem, lanczos: Lanczos, most: int) -> np.ndarray | None:
    """The bound for each step relative to |r|, once it is small enough or the basis cannot grow; None before."""
    last = lanczos.exhausted or lanczos.products >= most
    # The closed form of the sum is quick, and no more than the bound.
    if not last and _open(problem, lanczos, _closed(lanczos, problem)).any():
        return None
    error = truncation(lanczos, problem)
    return error if last or not _open(problem, lanczos, error).any() else None


def _open(problem: Problem, lanczos: Lanczos, error) -> np.ndarray:
    """Which steps are not accurate yet."""
    theta, S = lanczos.ritz()
    size = np.linalg.norm(problem.law.learned(problem.rate * theta, problem.steps) * S[0], axis=1)
    # Past the largest stable rate the outputs grow; where they overflow there is nothing to be accurate about.
    return np.isfinite(size) & ~(error <= TOLERANCE[problem.kernel.dtype.char] * np.maximum(1, size))


def _defects(lanczos: Lanczos, problem: Problem):
    """x = rate theta of the Ritz values, and rate beta times the products of S's last and first rows."""
    theta, S = lanczos.ritz()
    return problem.rate * theta, problem.rate * (lanczos.off_diagonal @ S).sum(axis=0) * S[0]


def _closed(lanczos: Lanczos, problem: Problem) -> np.ndarray:
    """rate beta |e_kᵀ g_t(T) e_1|, |sum of what is missed|."""
    x, defects = _defects(lanczos, problem)
    return abs(problem.law.gain(x, problem.steps) @ defects)


def truncation(lanczos: Lanczos, problem: Problem) -> np.ndarray:
    """The bound of this module's head for each step, relative to |r|."""
    if problem.law.keeps_signs(problem.rate * float(np.diag(lanczos.T).max())):
        return _closed(lanczos, problem)
    (x, defects), law, steps = _defects(lanczos, problem), problem.law, problem.steps
    with np.errstate(over="ignore", invalid="ignore"):
        growth, last = math.exp(max(0.0, -float(law.decay(x).min()))), int(min(steps.max(), SUMMED))
        missed = np.concatenate(
            [
                [0.0],
                *(abs(law.residual(x, np.arange(a, min(a + CHUNK, last))) @ defects) for a in range(0, last, CHUNK)),
            ]
        )
        sums = _growing_sums(missed, growth)
        nodes = _grid_from(last, steps)
        later = _sums_beyond(law, x, defects, nodes, total=float(sums[-1]), growth=growth)
    total = np.where(steps <= last, sums[np.minimum(steps, last)], later[np.searchsorted(nodes, steps)])
    return law.amplification * np.where(np.isnan(total), np.inf, total)


def _growing_sums(terms: np.ndarray, growth: float) -> np.ndarray:
    """s_t = growth s_{t-1} + terms_t, the solution with a bidiagonal matrix."""
    return dtbsv(1, np.stack([np.ones_like(terms), np.full_like(terms, -growth)]), terms, lower=1, diag=1)


def _sums_beyond(law: SpectralLaw, x, defects, nodes, *, total: float, growth: float) -> np.ndarray:
    """The sums at the nodes, from the total at the first one on; each step lets them grow by the factor ``growth``.

    The largest of a few consecutive terms stands for all of an interval of a geometric grid, over which what is still
    alive changes little.
    """
    sums = [total]
    for a, b in itertools.pairwise(nodes):
        term = abs(law.residual(x, a + _LOOKED_AT) @ defects).max()
        sums.append((sums[-1] + (b - a) * term) * growth ** int(b - a))
    return np.array(sums)


def _grid_from(last: int, steps) -> np.ndarray:
    """Whole numbers from ``last`` on: the steps beyond it, and a geometric grid between them."""
    end = int(max(last, steps.max(), 1))
    count = 1 + int(np.log(end / max(last, 1)) / np.log(RATIO))
    grid = np.geomspace(max(last, 1), end, count + 1).astype(np.int64)
    return np.unique(np.concatenate([[last], grid[grid >= last], steps[steps > last]]))
