"""What every data set is, and how real data become one."""

import math
from dataclasses import dataclass, field

import numpy as np

from ntkspec import checks
from ntkspec.moments import trace_ratio


@dataclass(frozen=True)
class Dataset:
    """Training and test points with labels.

    X (n, d), y (n,), X_test (n', d), y_test (n',) in one dtype; n' may be 0. trace_ratio is Tr[Sigma²]/d, known for a
    synthetic distribution and estimated for real data. meta says where the data come from and what was done to them.
    Arrays of any kind are taken, and kept as plain arrays of float32 or float64.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    trace_ratio: float
    name: str
    meta: dict = field(default_factory=dict)

    def __post_init__(self):
        for part in ("X", "y", "X_test", "y_test"):
            object.__setattr__(self, part, checks.as_floats(getattr(self, part), part))


def standardized(
    train, test, *, name: str, meta: dict, dtype, center: bool = True, standardize: bool = False
) -> Dataset:
    """Real data as a data set: centred by the training mean and scaled so that the training mean of ‖x‖² is d.

    train, test : (X, y) pairs; the test points are moved and scaled as the training points are. center=False leaves the
    mean where it is; standardize=True divides each feature by its standard deviation over the training points, but for
    constant ones. What was done is added to meta["reading"], sentences for a report, and
    meta["as_they_came"] holds the size of mean, trace and largest feature before.
    Raises ValueError where every feature is constant, TypeError where dtype is neither float32 nor float64.
    """
    (X, y), (X_test, y_test) = train, test
    dtype, X = checks.float_dtype(dtype), checks.as_matrix(X, "X").astype(np.float64)
    X_test = np.asarray(X_test, dtype=np.float64).reshape(-1, X.shape[1])
    came = _moments(X)
    mean = X.mean(axis=0) if center else np.zeros(X.shape[1])
    X -= mean
    largest = float(np.abs(X).max())
    if largest == 0:
        raise ValueError(
            f"every feature of {name} is constant over its {len(X)} points; there is nothing to learn from"
        )
    X /= largest  # squares of what remains neither overflow nor vanish together
    spread = X.std(axis=0) if standardize else np.ones(X.shape[1])
    spread[spread == 0] = 1.0
    X /= spread
    size = math.sqrt(float(np.einsum("id,id->", X, X)) / X.size)
    X /= size
    X_test = (X_test - mean) / largest / spread / size
    ratio = trace_ratio(X) if len(X) > 1 else 1.0
    scale = 1 / (largest * size)
    done = ["centred by the training mean" if center else "not centred"]
    done += ["each feature divided by its standard deviation"] if standardize else []
    done += [f"scaled by {scale:.4g}, so that the training mean of |x|^2 is d"]
    reading = [*meta.get("reading", ()), "; ".join(done)]
    meta = {**meta, "centred": center, "standardized": standardize, "scale": scale, "as_they_came": came}
    meta["reading"] = reading
    X, y, X_test, y_test = (np.asarray(array).astype(dtype, copy=False) for array in (X, y, X_test, y_test))
    return Dataset(X, y, X_test, y_test, ratio, name, meta)


def _moments(X) -> dict[str, float]:
    """Of points as they came: ‖mean x‖ / sqrt d, Tr[Sigma]/d, and the feature with the largest share of Tr[Sigma]."""
    largest = float(np.abs(X).max()) or 1.0
    mean, variances = (X / largest).mean(axis=0), (X / largest).var(axis=0)
    total, feature = float(variances.sum()), int(variances.argmax())
    return {
        "mean_size": math.sqrt(float(mean @ mean) / len(mean)) * largest,
        "trace_over_d": total / len(mean) * largest * largest,
        "largest_share": float(variances[feature]) / total if total else 0.0,
        "largest_feature": feature,
    }


def signs(classes, wanted) -> tuple[np.ndarray, np.ndarray]:
    """(rows, y) of the wanted classes: two become +1 and -1 in that order, all of them numbers spread on [-1, 1]."""
    classes = np.asarray(classes).astype(int)
    if wanted is None:
        return np.arange(len(classes)), 2.0 * classes / 9 - 1.0
    rows = np.flatnonzero(np.isin(classes, wanted))
    return rows, np.where(classes[rows] == wanted[0], 1.0, -1.0)


def two_classes(classes, names: dict[str, int]) -> tuple[int, int] | None:
    """Two different class numbers from numbers or names; None stays None."""
    if classes is None:
        return None
    numbers = []
    for one in classes:
        key = str(one).lower()
        if key not in names:
            raise ValueError(f"class {one!r} is unknown; use two of {', '.join(names)}, separated by a space")
        numbers.append(names[key])
    if len(numbers) != 2 or numbers[0] == numbers[1]:
        raise ValueError(f"classes={list(classes)!r}, but two different classes are needed, such as {list(names)[:2]}")
    return numbers[0], numbers[1]


def subset(X, y, count: int | None, what: str, seed):
    """``count`` random rows in random order; all of them in file order where count is None."""
    if count is None:
        return X, y
    if checks.whole_number(count, what, 0) > len(X):
        raise ValueError(f"{what}={count}, but only {len(X)} points are there")
    rows = np.random.default_rng(seed).permutation(len(X))[:count]
    return X[rows], y[rows]


def pooled(images, size: int):
    """Average over size x size patches of images (n, height, width, channels), then one row for each image."""
    n, height, width, channels = images.shape
    checks.whole_number(size, "pool", 1)
    if height % size or width % size:
        raise ValueError(f"pool={size} does not divide the {height} x {width} images")
    patches = images.reshape(n, height // size, size, width // size, size, channels)
    return patches.mean(axis=(2, 4)).reshape(n, -1)
