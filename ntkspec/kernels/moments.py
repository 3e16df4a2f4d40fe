"""Moments of the data that enter the linear model."""

import math
import warnings
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ntkspec import checks
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array, ArrayLike

# Numbers of a block of rows on the CPU, where matrix products are fastest on a whole share.
ALL_AT_ONCE = 2**62
# Sets of centred samples that are taken for others.
CHANCE = 1e-4


class NotCentredWarning(UserWarning):
    """The points have a mean that chance does not explain, but trace_ratio and the linear model assume mean 0."""


def trace_ratio(X: ArrayLike) -> float:
    r"""Unbiased estimate of Tr[Sigma²]/d from samples whose mean is zero.

    .. math:: \frac{1}{n(n-1)d} \sum_{i \ne j} \langle x_i, x_j \rangle^2

    Parameters
    ----------
    X : (n, d) array
        Points, n >= 2, float32 or float64.

    Returns
    -------
    float
        At least 0, in the unit of the entries of X to the fourth power; accumulated in float64.

    Raises
    ------
    ValueError
        For fewer than two rows, and where the result overflows or underflows.

    Warns
    -----
    NotCentredWarning
        Where the sample mean is larger than chance explains. The estimate is then the one for an unknown mean; the
        linear model assumes centred points.

    Notes
    -----
    The plain \|Xᵀ X / n\|_F² / d is too large by about (d/n)(1 + Tr[Sigma²]/d²). Cost: 2 n d min(n, d) flops.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (5), the definition of nu. For an unknown mean: Himeno, Yamada, J. Multivariate Anal. 130, 2014.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> ns.trace_ratio(np.array([[1.0, 1.0], [-1.0, -1.0]])) == (1 * 1 + 1 * 1) ** 2 / 2
    True
    """
    estimate, reason = estimated_trace_ratio(X)
    if reason:
        warnings.warn(reason, NotCentredWarning, stacklevel=2)
    return estimate


def estimated_trace_ratio(X: ArrayLike) -> tuple[float, str]:
    """The estimate of :func:`trace_ratio`, and in words why X is not centred, or nothing."""
    X = checks.as_matrix(X)
    if len(X) < 2:
        raise ValueError("trace_ratio needs at least two data points; pass trace_ratio=Tr[Sigma^2]/d where it is known")
    X, exponent = _in_range(X)
    mean = X.mean(axis=0, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        size, spread = size_and_spread(X, mean)
        n, least = len(X), 1 / math.sqrt(X.shape[1])
        centred = mean_is_zero(size, spread, n, least) or mean_is_zero(size, spread, n, _dominance(X - mean))
        scaled = float(_of_zero_mean(X) if centred else _of_unknown_mean(X - mean))
        estimate = float(np.ldexp(scaled, 4 * exponent))
    if not math.isfinite(estimate) or (scaled > 0 and estimate < np.finfo(np.float64).tiny):
        largest, what = math.ldexp(float(abs(X).max()), exponent), "underflows" if estimate < 1 else "overflows"
        raise ValueError(f"Tr[Sigma^2]/d {what}: entries reach {largest:.3g}; scale X, so that they are O(1)")
    size, spread = math.ldexp(size, exponent), math.ldexp(spread, exponent)
    return estimate, "" if centred else (
        f"X is not centred: its mean has size {size:.4g} beside a standard deviation of {spread:.4g} (sizes over sqrt "
        f"d); Tr[Sigma^2]/d is estimated about the mean, but the linear model assumes mean 0: pass X - X.mean(axis=0)"
    )


def _in_range(X: Array) -> tuple[Array, int]:
    """(X 2^-k, k), which is exact, with k = 0 unless fourth powers of the entries would overflow or vanish."""
    exponent = math.frexp(float(abs(X).max()))[1]
    if abs(exponent) < 200:
        return X, 0
    return engine_of(X).xp.ldexp(X, -exponent), exponent


def size_and_spread(X: Array, mean: Array) -> tuple[float, float]:
    """‖mean‖ / sqrt d, and sqrt(Tr[Sigma] / d) about that mean, of points X."""
    engine, (n, d) = engine_of(X), X.shape
    square = float(engine.linalg.row_products(X, X, np.float64).sum()) / (n * d)
    size = float(engine.xp.linalg.norm(mean)) / math.sqrt(d)
    return size, math.sqrt(max(0.0, square - size * size))


def mean_is_zero(size: float, spread: float, n: int, dominance: float) -> bool:
    """Whether n samples of mean 0 have a sample mean of that size, beside that standard deviation (both over sqrt d).

    dominance : sqrt(Tr[Sigma²]) / Tr[Sigma], 1 where all variance is in one direction. There the mean is not zero
    beyond Student's quantile of one set in 10,000, and 1 % of the standard deviation; n |mean|² has that many times
    less room around Tr[Sigma] where many directions share the variance (Chen and Qin, Ann. Stat. 38, 2010). Fewer than
    four points do not tell.
    """
    if n < 4:
        return True
    room = 1 + dominance * (float(stdtrit(n - 1, 1 - CHANCE / 2)) ** 2 - 1)
    return size <= spread * (math.sqrt(room / (n - 1)) + 0.01)


def _dominance(centred) -> float:
    """sqrt(Tr[S²]) / Tr[S] of the samples' covariance S, which is rather too large than too small."""
    total = float(engine_of(centred).linalg.row_products(centred, centred, np.float64).sum())
    return math.sqrt(_squared_gram(centred)) / total if total > 0 else 1.0


def _of_zero_mean(X) -> float:
    (n, d), engine = X.shape, engine_of(X)
    quartic = float(engine.xp.sum(engine.linalg.row_products(X, X, np.float64) ** 2))
    return np.maximum(0.0, _squared_gram(X) - quartic) / (n * (n - 1) * d)


def _of_unknown_mean(X) -> float:
    """The U-statistic over four different points, from points centred by their sample mean."""
    (n, d), engine = X.shape, engine_of(X)
    sizes = engine.linalg.row_products(X, X, np.float64)
    square, quartic = float(sizes.sum()), float((sizes**2).sum())
    pairs = (n - 1) * (n - 2) * _squared_gram(X) + square * square - n * (n - 1) * quartic
    return np.maximum(0.0, pairs) / ((n - 1) * n * (n - 2) * (n - 3) * d)


def _squared_gram(X) -> float:
    """‖X Xᵀ‖_F² through the smaller of X Xᵀ and Xᵀ X."""
    (n, d), engine = X.shape, engine_of(X)
    if d <= n:
        parts = engine.run(lambda share: second_moments(engine, X, X, share), engine.shares(n))
    else:
        parts = [second_moments(engine, X.T, X.T, slice(0, d))]
    return float(engine.xp.sum(sum(parts) ** 2))


def second_moments(engine: Engine, A: Array, B: Array, share: slice) -> Any:
    """Aᵀ B of a share of the rows in float64; a GPU takes them in blocks, and has no float64 copy of all."""
    total: Any = 0.0
    for rows in engine.blocks(share, A.shape[1], ALL_AT_ONCE):
        left = A[rows].astype(np.float64, copy=False)
        total = total + left.T @ (left if B is A else B[rows].astype(np.float64, copy=False))
    return total
