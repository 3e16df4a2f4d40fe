"""What every data set is, and how real data become one."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import ArrayLike, DTypeLike
from ntkspec.kernels.moments import estimated_trace_ratio
from ntkspec.objects.notebook import Row, Shown, Table

_OTHER_SCALE = 10.0  # pixels of 0 to 255 beside pixels of 0 to 1 make 255 and more


@dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """Training and test points with labels.

    Arrays of any kind are taken, and kept as plain arrays of float32 or float64. ``print`` shows the sizes and what
    was read and done.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Training points, one a row.
    y : ndarray of shape (n,) or (n, K)
        Their labels: -1 and +1 for two classes, a column for each of K > 2 classes, else numbers.
    X_test : ndarray of shape (n_test, d)
        Test points; n_test may be 0.
    y_test : ndarray of shape (n_test,) or (n_test, K)
        Their labels.
    trace_ratio : float
        Tr[Sigma²]/d of the covariance Sigma of the points: exact for a synthetic distribution, an unbiased estimate
        from the training points for real data (:func:`ntkspec.trace_ratio`). It enters nu of equation (5).
    name : str
        What the data are called in reports.
    meta : dict
        Where the data come from and what was done to them. Real data have "reading" (list of sentences for a report),
        "labels" (what they mean), "centred" and "standardized" (bool), "scale" (the factor on all points, where
        they are not standardized), "as_they_came" (mean, trace and largest feature before), and for images "shape"
        (height, width, channels).

    Raises
    ------
    TypeError
        If an array holds anything but real numbers.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.1 and equation (5).

    Examples
    --------
    A data set of arrays that need no preparation:

    >>> import numpy as np
    >>> import ntkspec as ns
    >>> X, y = np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([1.0, -1.0])
    >>> data = ns.datasets.Dataset(X, y, X_test=X[:0], y_test=y[:0], trace_ratio=1.0, name="two points")
    >>> data.X.shape, data.X_test.shape, data.X.dtype
    ((2, 2), (0, 2), dtype('float64'))
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    trace_ratio: float
    name: str
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("X", "y", "X_test", "y_test"):
            object.__setattr__(self, part, checks.as_floats(getattr(self, part), part))

    def __repr__(self) -> str:
        sizes = f"{len(self.X)} training and {len(self.X_test)} test points, d = {self.X.shape[1]}, {self.X.dtype}"
        return "\n".join([f"Dataset {self.name}: {sizes}", *(f"  {line}" for line in self.meta.get("reading", ()))])

    def _shown(self) -> Table:
        labels = "one number" if self.y.ndim == 1 else f"{self.y.shape[1]} numbers"
        return Table(
            f"Dataset {self.name}",
            [
                Row("training points", f"{len(self.X):,}", f"d = {self.X.shape[1]}, {self.X.dtype}"),
                Row("test points", f"{len(self.X_test):,}"),
                Row("labels", labels, "for each point"),
                Row("Tr[Σ²]/d", f"{self.trace_ratio:.4g}"),
                *(Row("read and prepared", line) for line in self.meta.get("reading", ())),
            ],
        )


def standardized(
    *,
    X: ArrayLike,
    y: np.ndarray,
    X_test: ArrayLike,
    y_test: np.ndarray,
    name: str,
    meta: dict[str, Any],
    dtype: DTypeLike,
    center: bool = True,
    standardize: bool = False,
    scale: bool = True,
    features: Sequence[str] | None = None,
) -> Dataset:
    """Real data as a data set: centred by the training mean and scaled so that the training mean of ‖x‖² is d.

    X (n, d), y (n,) or (n, K) : training points; X_test, y_test : test points, moved and scaled as those of training
    are. center=False leaves the mean where it is; standardize=True divides each feature by its standard deviation over
    the training points, but for constant ones. scale=False, where neither is done, leaves the points as they came. What
    was done is added to meta["reading"], sentences for a report, and meta["as_they_came"] holds the size of mean, trace
    and largest feature before, by its name where ``features`` names them.
    X 2^k gives the same points as X, bit by bit. Raises ValueError where every feature is constant, a number is beyond
    the range of dtype or the squares of labels are, TypeError where dtype is neither float32 nor float64.
    """
    dtype, X = checks.float_dtype(dtype), checks.as_matrix(X, "X").astype(np.float64)
    X_test = np.asarray(X_test, dtype=np.float64).reshape(-1, X.shape[1])
    _require_squares(y, name)
    exponent = math.frexp(float(np.abs(X).max()))[1]
    X, X_test = np.ldexp(X, -exponent), np.ldexp(X_test, -exponent)  # exact, and no square overflows or vanishes
    came, constant = _moments(X, exponent, features), constant_features(X)
    unscaled = None if scale else [np.ldexp(part, exponent) for part in (X, X_test)]
    mean = np.where(constant, X[0], X.mean(axis=0)) if center else np.zeros(X.shape[1])
    X -= mean
    largest = float(np.abs(X).max())
    if largest == 0:
        raise ValueError(
            f"every feature of {name} is constant over its {len(X)} points; there is nothing to learn from"
        )
    spread = _deviations(X, constant) if standardize else np.full(X.shape[1], largest)
    X /= spread
    size = math.sqrt(float(np.einsum("id,id->", X, X)) / X.size)
    X /= size
    X_test = (X_test - mean) / spread / size
    ratio = estimated_trace_ratio(X)[0] if len(X) > 1 else 1.0
    meta = {**meta, "centred": center, "standardized": standardize, "as_they_came": came}
    if unscaled is not None:
        X, X_test = unscaled
        meta["scale"] = 1.0
    elif not standardize:
        meta["scale"] = _times_power(1 / (largest * size), -exponent)
    parts = {"X": X, "y": y, "X_test": X_test, "y_test": y_test}
    arrays = {what: _rounded(array, dtype, f"{what} of {name}") for what, array in parts.items()}
    meta["reading"] = [*meta.get("reading", ()), _done(meta), *_other_scale(X_test)]
    return Dataset(**arrays, trace_ratio=ratio, name=name, meta=meta)


def constant_features(X: np.ndarray) -> np.ndarray:
    """Which features (d,) are the same at all points (n, d)."""
    return (X[0] == X).all(axis=0)


def _deviations(X: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """The standard deviation of each feature, 1 of constant ones; squares of small features do not vanish."""
    units = np.where(constant, 1.0, np.abs(X).max(axis=0))
    return np.where(constant, 1.0, units * (X / units).std(axis=0))


def _rounded(array: ArrayLike, dtype: np.dtype, what: str) -> np.ndarray:
    """Numbers in that dtype; ValueError where they are beyond its range, or all below it."""
    array, limits = np.asarray(array), np.finfo(dtype)
    with np.errstate(over="ignore", under="ignore"):
        rounded = array.astype(dtype, copy=False)
    if not np.isfinite(rounded).all():
        raise ValueError(f"{what} hold numbers beyond the range of {dtype} ({limits.max:.2g}); rescale them")
    largest = np.abs(array).max(initial=0)
    if 0 < largest < limits.tiny:
        raise ValueError(
            f"{what} reach {largest:.2g}, which is below the range of {dtype} ({limits.tiny:.2g}); rescale them"
        )
    return rounded


def _require_squares(y: np.ndarray, name: str) -> None:
    """Refuse labels whose squares, which losses are made of, overflow or vanish."""
    largest, limits = float(np.abs(np.asarray(y, dtype=np.float64)).max(initial=0.0)), np.finfo(np.float64)
    least, most = math.sqrt(limits.tiny), math.sqrt(limits.max / max(1, len(y)))
    if largest and not least < largest < most:
        raise ValueError(
            f"labels of {name} reach {largest:.2g}, but their squares need {least:.2g} to {most:.2g}; rescale them"
        )


def _done(meta: dict) -> str:
    """What was done to the points, in a sentence."""
    centred = "centred by the training mean" if meta["centred"] else "not centred"
    if meta.get("scale") == 1.0 and not meta["centred"]:
        return "points as they came: neither centred nor scaled"
    if meta["standardized"]:
        return f"{centred}; each feature divided by its standard deviation"
    return f"{centred}; scaled by {meta['scale']:.4g}, so that the training mean of |x|^2 is d"


def _other_scale(X_test: np.ndarray) -> list[str]:
    """A sentence, and a warning, where test points are so large beside those of training that units differ."""
    largest = float(np.abs(X_test).max(initial=0.0))
    times = largest * math.sqrt(float(np.square(X_test / largest).mean())) if largest else 0.0
    if times < _OTHER_SCALE:
        return []
    said = f"test points are {times:.3g} times as large as the training points (root mean square): other units?"
    warnings.warn(said, stacklevel=5)  # the line that called load, from_arrays, mnist or cifar10
    return [said]


def _times_power(value: float, exponent: int) -> float:
    """value 2^exponent, inf where that overflows."""
    with np.errstate(over="ignore"):
        return float(np.ldexp(value, exponent))


def _moments(X: np.ndarray, exponent: int, features: Sequence[str] | None) -> dict[str, float | str]:
    """Of the points X 2^exponent: ‖mean x‖ / sqrt d, Tr[Sigma]/d, and the feature with most of Tr[Sigma]."""
    mean, variances = X.mean(axis=0), X.var(axis=0)
    total, feature = float(variances.sum()), int(variances.argmax())
    return {
        "mean_size": _times_power(math.sqrt(float(mean @ mean) / len(mean)), exponent),
        "trace_over_d": _times_power(total / len(mean), 2 * exponent),
        "largest_share": float(variances[feature]) / total if total else 0.0,
        "largest_feature": features[feature] if features else f"feature {feature}",
    }


def subset(
    X: np.ndarray, y: np.ndarray, count: int | None, what: str, seed: int | Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """``count`` random rows in random order; all of them in file order where count is None."""
    if count is None:
        return X, y
    if checks.whole_number(count, what, 0) > len(X):
        raise ValueError(f"{what}={count}, but only {len(X)} points are there")
    rows = np.random.default_rng(seed).permutation(len(X))[:count]
    return X[rows], y[rows]
