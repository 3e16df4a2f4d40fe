r"""One Krylov basis for all steps, and what truncating it costs at each of them.

With K Q = Q T + beta q e_kᵀ, the Krylov residual z_t = e_t(rate T) e_1 |r| misses, in each step s, the amount
rate beta |e_kᵀ z_s| in the direction q. No law amplifies what was missed by more than its ``amplification`` while the
rate is stable, so

.. math:: |u_t - u_t^{Krylov}| \le \text{amplification} \cdot \text{rate} \, \beta \sum_{s < t} |e_k^T z_s| .

Where e_kᵀ z_s has one sign for all s the sum is |e_kᵀ g_t(T) e_1| in closed form (``Law.keeps_signs``). The test
output on x* depends on what was missed through k_*ᵀ g_j(K) q, and k_* = K^{1/2} w with |w|² <= k(x*, x*), since the
kernel of all points together is semidefinite; learned(x, j) <= amplification min(x j, 2) makes that at most
amplification sqrt(2 rate j k(x*, x*)).
"""

import itertools
import warnings

import numpy as np
from scipy.signal import lfilter

from ntkspec import planning, progress
from ntkspec.dynamics.problem import Problem
from ntkspec.lanczos import Lanczos

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


def grow(problem: Problem) -> tuple[Lanczos, np.ndarray]:
    """A basis from the start residual r, and for each step a bound on the error of the outputs relative to |r|."""
    kernel, _ = planning.prepare(problem.kernel, EXPECTED, block=1)
    lanczos = Lanczos(kernel)
    lanczos.begin(problem.residual)
    most = min(kernel.shape[0], MOST, max(50, lanczos.fitting(MEMORY_SHARE)))
    with kernel.engine.one_blas_thread(), progress.bar(text="prediction (products)") as bar:
        while True:
            before = lanczos.products
            lanczos.extend(min(10 + before // 10, most - before))
            bar.update(lanczos.products - before)
            open_ = _open(lanczos, problem)
            if not open_.any() or lanczos.exhausted:
                return lanczos, truncation(lanczos, problem)
            if lanczos.products >= most:
                error = truncation(lanczos, problem)
                warnings.warn(
                    f"the prediction reaches an error of {error[open_].max():.1e} |y| with a basis of {most} vectors, "
                    f"instead of {TOLERANCE[kernel.dtype.char]:.0e}; ask for fewer steps or a smaller learning rate",
                    RuntimeWarning,
                    stacklevel=5,
                )
                return lanczos, error


def _open(lanczos: Lanczos, problem: Problem) -> np.ndarray:
    """Which steps are not accurate yet, judged by the closed form of the sum."""
    x, defects, start = _defects(lanczos, problem)
    error = abs(problem.law.gain(x, problem.steps) @ defects)
    size = np.linalg.norm(problem.law.learned(x, problem.steps) * start, axis=1)
    # Past the largest stable rate the outputs grow; where they overflow there is nothing to be accurate about.
    return np.isfinite(size) & ~(error <= TOLERANCE[problem.kernel.dtype.char] * np.maximum(1, size))


def _defects(lanczos: Lanczos, problem: Problem):
    """x = rate theta of the Ritz values, rate beta times the products of S's last and first rows, and its first row."""
    theta, S = lanczos.ritz()
    return problem.rate * theta, problem.rate * (lanczos.coupling @ S).sum(axis=0) * S[0], S[0]


def truncation(lanczos: Lanczos, problem: Problem) -> np.ndarray:
    """The bound of this module's head for each step, relative to |r|."""
    x, defects, _ = _defects(lanczos, problem)
    law, steps = problem.law, problem.steps
    if law.keeps_signs(problem.rate * float(np.diag(lanczos.T).max())):
        return law.amplification * abs(law.gain(x, steps) @ defects)
    return law.amplification * _summed(law, (x, defects), steps)


def _summed(law, modes, steps) -> np.ndarray:
    """Sums over s < t of |defects · e_s(x)|, each amplified by how the fastest growing mode grows until t.

    The first steps one by one; beyond, the largest of a few consecutive terms stands for all of an interval of a
    geometric grid, over which what is still alive changes little.
    """
    (x, defects), whole = modes, np.asarray(np.ceil(steps), np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        growth, last = np.exp(max(0.0, -float(law.decay(x).min()))), int(min(whole.max(), SUMMED))
        parts = [law.residual(x, np.arange(a, min(a + CHUNK, last))) @ defects for a in range(0, last, CHUNK)]
        sums = lfilter([1.0], [1.0, -growth], np.concatenate([[0.0], *map(abs, parts)]))
        nodes, later = _grid_from(last, whole), [float(sums[-1])]
        for a, b in itertools.pairwise(nodes):
            term = abs(law.residual(x, a + _LOOKED_AT) @ defects).max()
            later.append((later[-1] + (b - a) * term) * growth ** (b - a))
    total = np.where(whole <= last, sums[np.minimum(whole, last)], np.array(later)[np.searchsorted(nodes, whole)])
    return np.where(np.isnan(total), np.inf, total)


def _grid_from(last: int, steps) -> np.ndarray:
    """Whole numbers from ``last`` on: the steps beyond it, and a geometric grid between them."""
    end = int(max(last, steps.max(), 1))
    count = 1 + int(np.log(end / max(last, 1)) / np.log(RATIO))
    grid = np.geomspace(max(last, 1), end, count + 1).astype(np.int64)
    return np.unique(np.concatenate([[last], grid, steps[steps > last]]))
