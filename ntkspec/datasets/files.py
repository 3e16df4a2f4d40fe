"""The user's own data: tables, and files of arrays, with points and labels."""

from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.datasets.arrays import ARRAY_ENDINGS, read_arrays
from ntkspec.datasets.dataset import Dataset, standardized, subset
from ntkspec.datasets.image_axes import Layout, layout
from ntkspec.datasets.labels import Labels, as_labels, coding, require_alike
from ntkspec.datasets.numbers import as_numbers
from ntkspec.datasets.reading import Source


def load(
    path,
    *,
    n=None,
    n_test=None,
    label=None,
    points=None,
    test_points=None,
    test_label=None,
    classes=None,
    keep_constant=False,
    keep_ids=False,
    channels=None,
    center=True,
    standardize=False,
    seed=0,
    dtype=np.float64,
) -> Dataset:
    """Points and labels from a file, centred and scaled so that the training mean of ‖x‖² is d.

    Tables (.csv and others, :mod:`ntkspec.datasets.tables`) : one row a point; label names the column of the labels or
    is its number, None finds it; indexes and ids are set aside unless keep_ids is True.
    Arrays (.npz, .npy, .h5, .hdf5, .mat) : points (n, ...) and labels, and test points, by their usual names, or named
    with points, label, test_points and test_label (:func:`ntkspec.datasets.arrays.read_arrays`). Images become
    (height, width, channels), which is meta["shape"]; channels="first" or "last" says where that axis is in the file.
    Labels: numbers, words, booleans, one-hot. Two classes alone become -1 and +1 (the larger one, or the later in the
    alphabet), or two are chosen with ``classes`` (+1, -1); whole numbers that may be classes give a warning.
    Without test points, ``n_test`` random ones are held out (default: a tenth). n : a random subset for training.
    Features that are constant over the training points are refused, unless keep_constant is True.
    center, standardize, dtype (float32 or float64) : as in :func:`ntkspec.datasets.dataset.standardized`.
    meta["reading"] tells what was found and done.
    Raises FileNotFoundError, TypeError for another dtype, or ValueError that says what is wrong and where.
    """
    dtype, path = checks.float_dtype(dtype), Path(path).expanduser()
    source = _read(path, label, keep_ids, {"points": points, "test_points": test_points, "test_label": test_label})
    reading = list(source.reading)
    _require_points_first(source.X, source.y, "X", path)
    axes = layout(np.shape(source.X), channels, f"X of {path}", reading)
    X = _matrix(source.X, axes, "X", path)
    column = as_labels(source.y, len(X), f"{path}")
    code = coding(column, classes, reading)
    rows, y = code.applied(column, reading)
    X = X[rows]
    if source.X_test is None:
        (X, y), (X_test, y_test) = _hold_out(X, y, n_test, seed, reading)
    else:
        X_test, labels = _test_points(source.X_test, source.y_test, axes, column, path)
        rows, y_test = code.applied(labels, reading, "test ")
        X_test, y_test = _drawn(X_test[rows], y_test, n_test, "n_test", [seed, 2], reading)
    X, y = _drawn(X, y, n, "n", [seed, 1], reading)
    _require_variety(X, y, len(y_test), keep_constant, path)
    meta: dict[str, Any] = {"file": str(path), "labels": code.meaning, "reading": reading}
    meta |= {"shape": axes.shape} if axes.shape else {}
    pairs = (X, y), (X_test, y_test)
    return standardized(*pairs, name=path.name, meta=meta, dtype=dtype, center=center, standardize=standardize)


def _read(path: Path, label, keep_ids: bool, arrays: dict) -> Source:
    """The file as its ending says; options that do not belong to it are refused."""
    from ntkspec.datasets.tables import TABLE_ENDINGS, read_table

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    ending = path.name.lower()
    if ending.endswith(TABLE_ENDINGS):
        given = [name for name, value in arrays.items() if value is not None]
        if given:
            raise ValueError(f"{given[0]}={arrays[given[0]]!r} names an array, but {path} is a table")
        return read_table(path, label=label, keep_ids=keep_ids)
    if not ending.endswith(ARRAY_ENDINGS):
        plain = [one for one in TABLE_ENDINGS if one.count(".") == 1]
        known = ", ".join((*ARRAY_ENDINGS, *plain))
        raise ValueError(f"{path} has the ending {path.suffix!r}, but one of {known} is needed (tables also as .gz)")
    if keep_ids:
        raise ValueError(f"keep_ids is for tables, but {path} holds arrays")
    return read_arrays(path, label=label, **arrays)


def _require_points_first(X, y, what: str, path: Path) -> None:
    """Refuse points along the last axis, as MATLAB and channels x height x width x points have them."""
    sizes, count = np.shape(X), np.shape(y)[:1]
    if len(sizes) > 1 and sizes[:1] != count == sizes[-1:]:
        raise ValueError(
            f"{what} of {path} has shape {sizes}, but {count[0]} labels, so that its points lie along the last axis; "
            f"save it with the points first: {what}.T, or numpy.moveaxis({what}, -1, 0) for images"
        )


def _matrix(array, axes: Layout, what: str, path: Path) -> np.ndarray:
    """Points as a finite (n, d) array of float64."""
    if np.ndim(array) == 0 or np.size(array) == 0:
        raise ValueError(f"{path} holds no data: {what} has shape {np.shape(array)}")
    name = f"{what} of {path}"
    return checks.as_matrix(axes.flat(as_numbers(array, name)), name)


def _test_points(X, y, axes: Layout, column: Labels, path: Path) -> tuple[np.ndarray, Labels]:
    """Test points and their labels, laid out as those of training are."""
    if np.size(X) and np.shape(X)[1:] != axes.axes:
        own, needed = (" x ".join(map(str, sizes)) or "1" for sizes in (np.shape(X)[1:], axes.axes))
        raise ValueError(f"X_test of {path} has {own} columns, but {needed} are needed to fit the training points")
    X = _matrix(X, axes, "X_test", path)
    labels = as_labels(y, len(X), f"{path}", "test points")
    require_alike(column, labels)
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


def _require_variety(X, y, n_test: int, keep_constant: bool, path: Path) -> None:
    """Refuse no points, one label only, and constant features unless they are kept."""
    if len(y) == 0:
        raise ValueError(f"{path} leaves no training points after {n_test} test points; ask for a smaller n_test")
    if (y == y[0]).all() and len(y) > 1:
        raise ValueError(f"{path} holds one label only ({y[0]:g}); two classes or different numbers are needed")
    constant = np.flatnonzero((X[0] == X).all(axis=0))
    if len(constant) and len(X) > 1 and not keep_constant:
        listed = ", ".join(map(str, constant[:5])) + (", ..." if len(constant) > 5 else "")
        raise ValueError(
            f"{len(constant)} of {X.shape[1]} features of {path} are constant over the training points (column "
            f"{listed}); remove them, or keep them as zero columns with --keep-constant (keep_constant=True)"
        )
