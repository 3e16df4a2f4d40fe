"""What the data look like against Assumption 3.1 and Claim 3.1."""

import math
from dataclasses import dataclass

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels.moments import estimated_trace_ratio, mean_is_zero
from ntkspec.operators import Gram
from ntkspec.operators.tiles import tiles
from ntkspec.spectra.norms import spectral_norm


@dataclass(frozen=True)
class DataSummary:
    r"""What n points in R^d look like against Assumption 3.1 and Claim 3.1.

    Attributes
    ----------
    n, d : int
        Number of points, and of their entries.
    mean_size : float
        \|mean x\| / sqrt d. Assumption 3.1 has mean 0; of n samples it is about 1/sqrt n then.
    trace_over_d : float
        Tr[Sigma]/d of the covariance Sigma about the sample mean. Assumption 3.1: 1.
    covariance_norm : float
        \|Sigma\| about the sample mean. Assumption 3.1: O(1).
    trace_ratio : float
        Tr[Sigma²]/d, unbiased (:func:`ntkspec.trace_ratio`); NaN for one point.
    norm_spread, norm_min, norm_max : float
        Standard deviation, minimum and maximum of \|x\|²/d. Claim 3.1: 1 ± O(concentration).
    largest_overlap : float
        Maximum over i != j of |<x_i, x_j>|/d. Claim 3.1: O(concentration).
    gram_norm : float
        \|X Xᵀ\|/n. Claim 3.1: Theta(1) for n >> d.
    concentration : float
        sqrt(log n / d), the yardstick of Claim 3.1.
    largest_share : float
        Part of Tr[Sigma] that one feature carries. NaN in older result files.
    largest_feature : int
        The number of that feature, from 0.
    duplicates : int or None
        Points that equal an earlier one, entry by entry. None in older result files.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.1 and Claim 3.1.

    Examples
    --------
    >>> import ntkspec as ns
    >>> from ntkspec.theory import summarize
    >>> found = summarize(ns.datasets.gaussian(200, 20).X)
    >>> found.n, found.d, found.mean_is_zero, found.duplicates
    (200, 20, True, 0)
    """

    n: int
    d: int
    mean_size: float
    trace_over_d: float
    covariance_norm: float
    trace_ratio: float
    norm_spread: float
    norm_min: float
    norm_max: float
    largest_overlap: float
    gram_norm: float
    concentration: float
    largest_share: float = math.nan
    largest_feature: int = 0
    duplicates: int | None = None

    @property
    def leading_share(self) -> float:
        """The part of Tr[Sigma] in the leading direction, ‖Sigma‖ / Tr[Sigma], in [0, 1]."""
        trace = self.trace_over_d * self.d
        return self.covariance_norm / trace if trace > 0 else 0.0

    @property
    def mean_is_zero(self) -> bool:
        """Whether chance explains the size of the mean, at a significance of 1e-4."""
        if self.n < 4 or not self.trace_over_d > 0:
            return mean_is_zero(self.mean_size, 0.0, self.n, 1.0)
        # Of the samples' own covariance, whose Tr[S²] is that much larger.
        dominance = math.sqrt(self.trace_ratio / self.d / self.trace_over_d**2 + 1 / (self.n - 1))
        return mean_is_zero(self.mean_size, math.sqrt(self.trace_over_d), self.n, min(1.0, dominance))


def summarize(X: ArrayLike) -> DataSummary:
    """The quantities of Assumption 3.1 and Claim 3.1, measured on points.

    Parameters
    ----------
    X : (n, d) array
        Points, float32 or float64.

    Returns
    -------
    DataSummary
        Means, norms, overlaps and the spectrum of the covariance, each over the size that the paper gives it.

    Raises
    ------
    TypeError, ValueError
        Where X is not a matrix of finite numbers.

    Notes
    -----
    Cost: n² d flops, in tiles; no n x n array is kept. Spectral norms are right to 1e-6 of their value.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.1 and Claim 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.theory import summarize
    >>> found = summarize(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]))
    >>> found.norm_min, found.norm_max, found.largest_overlap
    (1.0, 1.0, 1.0)
    """
    X = checks.as_matrix(X)
    (n, d), engine = X.shape, engine_of(X)
    xp = engine.xp
    mean = X.mean(axis=0, dtype=np.float64)
    sizes = engine.linalg.row_products(X, X, np.float64) / d
    centred = X - mean.astype(X.dtype)
    variances = engine.linalg.row_products(centred.T, centred.T, np.float64)
    feature, total = int(variances.argmax()), float(variances.sum())
    return DataSummary(
        n=n,
        d=d,
        mean_size=float(xp.linalg.norm(mean)) / math.sqrt(d),
        trace_over_d=float(sizes.mean() - mean @ mean / d),
        covariance_norm=_squared_norm(centred) / n,
        trace_ratio=estimated_trace_ratio(X)[0] if n > 1 else math.nan,
        norm_spread=float(sizes.std()),
        norm_min=float(sizes.min()),
        norm_max=float(sizes.max()),
        largest_overlap=_largest_overlap(X) / d,
        gram_norm=_squared_norm(X) / n,
        concentration=math.sqrt(math.log(n) / d),
        largest_share=float(variances[feature]) / total if total else 0.0,
        largest_feature=feature,
        duplicates=n - _different_rows(engine.to_host(X)),
    )


def _different_rows(X: Array) -> int:
    """The rows that differ, as bytes after -0.0 became 0.0."""
    rows = np.ascontiguousarray(X + 0.0).view(np.dtype((np.void, X.dtype.itemsize * X.shape[1])))
    return len(np.unique(rows))


def _squared_norm(X: Array) -> float:
    """‖X‖² = ‖X Xᵀ‖, through the smaller of X Xᵀ and Xᵀ X."""
    thin = X if X.shape[0] <= X.shape[1] else X.T
    return float(spectral_norm(Gram(thin), rtol=1e-6))


def _largest_overlap(X: Array) -> float:
    gram = Gram(X)

    def largest(tile):
        return gram.engine.tiles.largest_entry(gram.tile(*tile), tile[1].start - tile[0].start)

    return max(gram.engine.run(largest, list(tiles(gram)), progress="largest overlap (tiles)"))
