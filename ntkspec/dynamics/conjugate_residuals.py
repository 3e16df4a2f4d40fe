"""(K + noise I) X = B by conjugate residuals: each column for itself, the products of all together.

Conjugate gradients in the norm that a certificate needs: the residual falls in every step, also where K is singular and
B not in its range.
"""

from dataclasses import dataclass

import numpy as np

from ntkspec import progress
from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator
from ntkspec.operators.rounding import HALF_ULP

# Columns whose products are computed together; times that the residual is computed anew and what is left of it solved;
# iterations of one time.
COLUMNS, ROUNDS, ITERATIONS = 256, 4, 5000


@dataclass(frozen=True)
class Solutions:
    """X, and the residuals B - (K + noise I) X as they are and not as the recursion has them.

    sizes : bounds on the norms of the residuals, (columns,), with the rounding of the product that computes them.
    converged : whether each is at most rtol of its column of B.
    """

    X: Array
    residuals: Array
    sizes: np.ndarray
    products: int
    converged: bool


def solve(kernel: KernelOperator, B: Array, *, noise: float, rtol: float) -> Solutions:
    """Float64 columns B; the kernel is symmetric, and semidefinite up to ``noise``."""
    xp, to_host = kernel.engine.xp, kernel.engine.to_host
    X, products = xp.zeros_like(B), 0
    R, targets = B.copy(), rtol * to_host(xp.linalg.norm(B, axis=0))
    sizes = to_host(xp.linalg.norm(R, axis=0))
    with kernel.engine.one_blas_thread(), progress.bar(text="conjugate residuals (products)") as bar:
        for _ in range(ROUNDS):
            live = np.flatnonzero(sizes > targets)
            for first in range(0, len(live), COLUMNS):
                some = live[first : first + COLUMNS]
                moves, count = _moves(kernel, R[:, some], noise, targets[some], bar)
                X[:, some] += moves
                R[:, some] = B[:, some] - _times(kernel, X[:, some], noise)
                products += count + len(some)
            before, sizes = sizes, to_host(xp.linalg.norm(R, axis=0))
            if not len(live) or (sizes[live] > before[live] / 2).all():
                break
    error = kernel.rounding.matvec_error_bound + kernel.storage_error + 2 * HALF_ULP * noise
    rounded = error * to_host(xp.linalg.norm(X, axis=0)) + HALF_ULP * sizes
    return Solutions(X, R, sizes + rounded, products, bool((sizes <= targets).all()))


def _times(kernel: KernelOperator, V: Array, noise: float) -> Array:
    return kernel @ V + noise * V


def _moves(kernel, R, noise: float, targets: np.ndarray, bar) -> tuple[Array, int]:
    """What brings residuals R to their targets by the recursion, and the number of products.

    A column ends where its residual has no positive curvature: it lies in the null space, or K is not semidefinite.
    """
    xp = kernel.engine.xp
    moves, limits, live = xp.zeros_like(R), xp.asarray(targets**2), xp.arange(R.shape[1])
    R, P = R.copy(), R.copy()
    of_R, products = _times(kernel, R, noise), R.shape[1]
    of_P, curvature = of_R.copy(), (R * of_R).sum(axis=0)
    for _ in range(min(ITERATIONS, 2 * len(R) + 10)):
        rising = curvature > 0
        step = xp.where(rising, curvature, 0.0) / xp.where(rising, (of_P * of_P).sum(axis=0), 1.0)
        moves[:, live] += step * P
        R -= step * of_P
        on = xp.flatnonzero(rising & ((R * R).sum(axis=0) > limits))
        if not len(on):
            break
        R, P, of_P, live, limits, before = R[:, on], P[:, on], of_P[:, on], live[on], limits[on], curvature[on]
        of_R = _times(kernel, R, noise)
        products += len(on)
        bar.update(len(on))
        curvature = (R * of_R).sum(axis=0)
        turn = xp.where(curvature > 0, curvature, 0.0) / before
        P, of_P = R + turn * P, of_R + turn * of_P
    return moves, products
