"""From points and labels as they stand somewhere to a data set: axes, classes, test points, subsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.datasets.dataset import Dataset, constant_features, standardized, subset
from ntkspec.datasets.image_axes import Layout, layout
from ntkspec.datasets.labels import Labels, as_labels, coding, require_alike
from ntkspec.datasets.numbers import as_numbers
from ntkspec.datasets.reading import Source


@dataclass(frozen=True)
class Preparation:
    """What is taken of points and labels, and what is done to them; :func:`ntkspec.datasets.load` says what each is."""

    n: int | None = None
    n_test: int | None = None
    classes: Sequence | None = None
    keep_constant: bool = False
    channels: str | None = None
    center: bool = True
    standardize: bool = False
    scale: bool = True
    seed: int = 0
    dtype: Any = np.float64

    def __post_init__(self):
        checks.float_dtype(self.dtype)
        if not self.scale and (self.center or self.standardize):
            raise ValueError("scale=False leaves points as they came, so that it needs center=False and no standardize")


def prepared(source: Source, how: Preparation, *, name: str, origin: str) -> Dataset:
    """The data set ``name`` from points and labels; meta["reading"] tells every step.

    origin : the file or name that errors say the points are from.
    """
    reading = list(source.reading)
    _require_points_first(source.X, source.y, "X", origin)
    axes = layout(np.shape(source.X), how.channels, f"X of {origin}", reading)
    X = _matrix(source.X, axes, "X", origin)
    labels = as_labels(source.y, len(X), origin)
    code = coding(labels, how.classes, reading)
    rows, y = code.applied(labels, reading)
    X = X[rows]
    if source.X_test is None:
        (X, y), (X_test, y_test) = _hold_out(X, y, how.n_test, how.seed, reading)
    else:
        X_test, test_labels = _test_points(source.X_test, source.y_test, axes, labels, origin)
        rows, y_test = code.applied(test_labels, reading, "test ")
        X_test, y_test = _drawn(X_test[rows], y_test, how.n_test, "n_test", [how.seed, 2], reading)
    _require_left(how.n, len(X), 0 if source.X_test is not None else len(X_test))
    X, y = _drawn(X, y, how.n, "n", [how.seed, 1], reading)
    _require_variety(y, len(y_test), origin)
    features = source.features or [f"column {k}" for k in range(X.shape[1])]
    _constant(X, how.keep_constant, axes, features, origin, reading)
    reading += code.counted(y, y_test)
    meta: dict[str, Any] = {"labels": code.meaning, "reading": reading} | ({"shape": axes.shape} if axes.shape else {})
    return standardized(
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        name=name,
        meta=meta,
        dtype=how.dtype,
        center=how.center,
        standardize=how.standardize,
        scale=how.scale,
        features=source.features,
    )


def _require_points_first(X, y, what: str, origin: str) -> None:
    """Refuse points along the last axis, as MATLAB and channels x height x width x points have them."""
    sizes, count = np.shape(X), np.shape(y)[:1]
    if len(sizes) > 1 and sizes[:1] != count == sizes[-1:]:
        raise ValueError(
            f"{what} of {origin} has shape {sizes}, but {count[0]} labels, so that its points lie along the last axis; "
            f"save it with the points first: {what}.T, or numpy.moveaxis({what}, -1, 0) for images"
        )


def _matrix(array, axes: Layout, what: str, origin: str) -> np.ndarray:
    """Points as a finite (n, d) array of float64."""
    if np.ndim(array) == 0 or np.size(array) == 0:
        raise ValueError(f"{origin} holds no data: {what} has shape {np.shape(array)}")
    name = f"{what} of {origin}"
    return checks.as_matrix(axes.flat(as_numbers(array, name)), name)


def _test_points(X, y, axes: Layout, train: Labels, origin: str) -> tuple[np.ndarray, Labels]:
    """Test points and their labels, laid out as those of training are."""
    if np.size(X) and np.shape(X)[1:] != axes.axes:
        own, needed = (" x ".join(map(str, sizes)) or "1" for sizes in (np.shape(X)[1:], axes.axes))
        raise ValueError(f"X_test of {origin} has {own} columns, but {needed} are needed to fit the training points")
    X = _matrix(X, axes, "X_test", origin)
    labels = as_labels(y, len(X), origin, "test points")
    require_alike(train, labels)
    return X, labels


def _hold_out(X, y, n_test, seed, reading: list[str]):
    """((X, y) for training, (X, y) for testing)."""
    count = len(X) // 10 if n_test is None else checks.whole_number(n_test, "n_test", 0)
    if count >= len(X):
        raise ValueError(f"n_test={count}, but {len(X)} points are there and one at least must be left for training")
    order = np.random.default_rng([seed, 2]).permutation(len(X))
    train, test = np.sort(order[count:]), np.sort(order[:count])
    reading.append(f"held out: {count} random points of {len(X)} for testing" if count else "no test points")
    return (X[train], y[train]), (X[test], y[test])


def _drawn(X, y, count, what: str, seed, reading: list[str]) -> tuple[np.ndarray, np.ndarray]:
    if count is not None:
        reading.append(f"{what}: {count} random points of {len(X)}")
    return subset(X, y, count, what, seed)


def _require_left(n: int | None, left: int, held_out: int) -> None:
    if n is not None and held_out and n > left:
        most = f"n can be {left}, or up to {left + held_out} with a smaller n_test"
        raise ValueError(f"n={n}, but {left} points are left after {held_out} were held out; {most}")


def _require_variety(y, n_test: int, origin: str) -> None:
    """Refuse no points, and one label only."""
    if len(y) == 0:
        raise ValueError(f"{origin} leaves no training points after {n_test} test points; ask for a smaller n_test")
    if (y == y[0]).all() and len(y) > 1:
        only = f"{y[0]:g}" if y.ndim == 1 else f"class {y[0].argmax()}"
        raise ValueError(f"{origin} holds one label only ({only}); two classes or different numbers are needed")


def _constant(X, keep: bool, axes: Layout, features: Sequence[str], origin: str, reading: list[str]) -> None:
    """Refuse features that never change, unless they are kept; those of images are."""
    constant = np.flatnonzero(constant_features(X))
    if len(constant) == 0 or len(X) == 1:
        return
    if not keep and not axes.shape:
        listed = ", ".join(features[k] for k in constant[:5]) + (", ..." if len(constant) > 5 else "")
        raise ValueError(
            f"{len(constant)} of {X.shape[1]} features of {origin} are constant over the training points ({listed}); "
            f"remove them, or keep them as zero columns with --keep-constant (keep_constant=True)"
        )
    what = "pixels" if axes.shape else "features"
    reading.append(f"kept: {len(constant)} of {X.shape[1]} {what}, which are constant over the training points")
