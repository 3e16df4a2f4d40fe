"""Moments of the data that enter the linear model."""

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of

# Numbers of a block of rows on the CPU, where matrix products are fastest on a whole share.
ALL_AT_ONCE = 2**62


def trace_ratio(X) -> float:
    r"""Unbiased estimate of :math:`\mathrm{Tr}[\Sigma^2] / d` from samples whose mean is zero.

    The U-statistic :math:`\frac{1}{n(n-1)d} \sum_{i \ne j} \langle x_i, x_j \rangle^2`; the plain
    :math:`\|X^T X / n\|_F^2 / d` is too large by about :math:`(d/n)(1 + \mathrm{Tr}[\Sigma^2]/d^2)`.

    X : (n, d) with n >= 2, centred. Returns a float >= 0, in the unit of the entries of X to the fourth power.
    Accumulates in float64. Cost: 2 n d min(n, d) flops. Raises ValueError for fewer than two rows.
    Source: the definition of nu in equation (5).
    """
    X = checks.as_matrix(X)
    n, d = X.shape
    if n < 2:
        raise ValueError("trace_ratio needs at least two data points; pass trace_ratio=Tr[Sigma^2]/d where it is known")
    engine = engine_of(X)
    xp = engine.xp
    if d <= n:
        parts = engine.run(lambda share: second_moments(engine, X, X, share), engine.shares(n))
    else:
        columns = X.T
        parts = [second_moments(engine, columns, columns, slice(0, d))]
    squares = float(xp.sum(sum(parts) ** 2))
    diagonal = float(xp.sum(engine.row_products(X, X, xp.float64) ** 2))
    return max(0.0, squares - diagonal) / (n * (n - 1) * d)


def second_moments(engine, A, B, share):
    """Aᵀ B of a share of the rows in float64; a card takes them in blocks, and has no float64 copy of all."""
    total = 0.0
    for rows in engine.blocks(share, A.shape[1], ALL_AT_ONCE):
        left = A[rows].astype(np.float64, copy=False)
        total = total + left.T @ (left if B is A else B[rows].astype(np.float64, copy=False))
    return total
