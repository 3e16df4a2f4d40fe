"""The user's own data: .npz, .h5 and .csv files with points and labels."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import checks, storage
from ntkspec.datasets.dataset import Dataset, standardized, subset
from ntkspec.datasets.npz import read_npz

LABEL_COLUMNS = ("y", "label", "target", "class")


def load(path, *, n=None, n_test=None, keep_constant=False, seed=0, dtype=np.float64) -> Dataset:
    """Points and labels from a file, centred and scaled so that the training mean of ‖x‖² is d.

    .npz, .h5, .hdf5 : arrays X (n, ...) and y (n,), and X_test, y_test where there are test points; points of more
    than one dimension are flattened, and meta["shape"] is the (height, width, channels) of images for convolutions, one
    channel where X is (n, height, width). .csv : one row a point, numbers separated by commas, with or without a
    header; the labels are the column named y, label, target or class, else the last one.
    Labels: numbers; or two classes (strings, booleans or two whole numbers), of which the larger (later in the
    alphabet) becomes +1 and the other -1.
    Without test points, ``n_test`` random ones are held out (default: a tenth). n : a random subset for training.
    Features that are constant over the training points are refused, unless keep_constant is True.
    Raises FileNotFoundError, or ValueError that says what is wrong with the file and in which row.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    readers = {".npz": read_npz, ".h5": _read_hdf5, ".hdf5": _read_hdf5, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} has the ending {path.suffix!r}, but one of {', '.join(readers)} is needed")
    arrays = _require_arrays(readers[path.suffix.lower()](path), path)
    shape = np.shape(arrays["X"])[1:]
    X, y, classes = _points(arrays["X"], arrays["y"], path)
    if "X_test" in arrays:
        X_test, y_test, _ = _points(arrays["X_test"], arrays["y_test"], path, train=(X.shape[1], classes))
        X_test, y_test = subset(X_test, y_test, n_test, "n_test", [seed, 2])
    else:
        X, y, X_test, y_test = _hold_out(X, y, n_test, seed)
    X, y = subset(X, y, n, "n", [seed, 1])
    if len(y) == 0:
        raise ValueError(f"{path} leaves no training points after {len(y_test)} test points; ask for a smaller n_test")
    if (y == y[0]).all() and len(y) > 1:
        raise ValueError(f"{path} holds one label only ({y[0]:g}); two classes or different numbers are needed")
    if not keep_constant:
        _refuse_constant(X, path)
    meta: dict[str, Any] = {
        "file": str(path),
        "labels": f"+1 = {classes[1]}, -1 = {classes[0]}" if classes else "numbers",
    }
    if len(shape) in (2, 3):  # images without an axis of channels have one
        meta["shape"] = shape if len(shape) == 3 else (*shape, 1)
    return standardized((X, y), (X_test, y_test), name=path.name, meta=meta, dtype=dtype)


def _hold_out(X, y, n_test, seed):
    count = len(X) // 10 if n_test is None else checks.whole_number(n_test, "n_test", 0)
    if count >= len(X):
        raise ValueError(f"n_test={count}, but {len(X)} points are there and one at least must be left for training")
    order = np.random.default_rng([seed, 2]).permutation(len(X))
    train, test = np.sort(order[count:]), np.sort(order[:count])
    return X[train], y[train], X[test], y[test]


def _points(X, y, path: Path, train=None):
    """(X as a matrix, y as numbers, the two classes that became -1 and +1 or None).

    ``train`` is (columns, classes) of the training points where these are test points.
    """
    suffix, (columns, classes) = ("_test", train) if train else ("", (None, None))
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim == 0 or X.size == 0:
        raise ValueError(f"{path} holds no data: X{suffix} has shape {X.shape}")
    try:
        X = checks.as_matrix(X.reshape(len(X), -1) if X.ndim != 2 else X, f"X{suffix} of {path}", columns=columns)
    except TypeError as error:
        raise ValueError(str(error)) from None
    y = _labels(y, len(X), f"{path}", suffix)
    classes = _classes(y, path) if train is None else classes
    if not classes:
        return X, checks.as_vector(y, f"y{suffix} of {path}", len(X)), None
    unknown = ~np.isin(y, classes)
    if unknown.any():
        label = y[unknown][0].item()
        raise ValueError(f"test label {label!r} of {path} is neither of the classes {classes[0]}, {classes[1]}")
    return X, np.where(y == classes[1], 1.0, -1.0), classes


def _labels(y, n: int, path: str, suffix: str):
    """Labels as a vector of numbers or words."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (n,):
        what = "test points" if suffix else "points"
        raise ValueError(f"{path} has {n} {what} but labels of shape {y.shape}; one label a point is needed")
    if y.dtype.kind in "SUO":
        return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in y])
    if y.dtype.kind not in "iubf":
        raise ValueError(f"labels of {path} have dtype {y.dtype}; numbers or two classes are needed")
    return y


def _classes(y, path: Path):
    """The two classes of strings, booleans or whole numbers; () where the labels are numbers."""
    values = np.unique(y)
    if y.dtype.kind == "U" and len(values) != 2:
        shown = ", ".join(map(repr, values[:3].tolist())) + (", ..." if len(values) > 3 else "")
        raise ValueError(
            f"labels of {path} are {len(values)} different words ({shown}); numbers or two classes are needed"
        )
    whole = y.dtype.kind in "Uiub" or bool((np.isfinite(values) & (values == np.floor(values))).all())
    return tuple(values.tolist()) if len(values) == 2 and whole else ()


def _refuse_constant(X, path: Path) -> None:
    constant = np.flatnonzero((X[0] == X).all(axis=0))
    if len(constant) and len(X) > 1:
        listed = ", ".join(map(str, constant[:5])) + (", ..." if len(constant) > 5 else "")
        raise ValueError(
            f"{len(constant)} of {X.shape[1]} features of {path} are constant over the training points (column "
            f"{listed}); remove them, or keep them as zero columns with --keep-constant (keep_constant=True)"
        )


# ---------------------------------------------------------------------------------------------------------- formats
def _require_arrays(arrays: dict, path: Path) -> dict:
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise ValueError(f"{path} holds {sorted(arrays) or 'no arrays'}, but arrays named X and y are needed")
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise ValueError(f"{path} holds only one of X_test and y_test; test points need both")
    return arrays


def _read_hdf5(path: Path) -> dict:
    return storage.read_arrays(path, ("X", "y", "X_test", "y_test"))


def _read_csv(path: Path) -> dict:
    header, body = _csv_rows(path)
    names = [name.strip().lower() for name in header]
    column = next((names.index(name) for name in LABEL_COLUMNS if name in names), len(names) - 1)
    for line, row in body:
        if len(row) != len(header) or len(row) < 2:
            raise ValueError(f"{path}, line {line}: {len(row)} values, but {max(2, len(header))} are needed")
    for line, row in body:
        for value in (*row[:column], *row[column + 1 :]):
            if not _is_number(value):
                raise ValueError(f"{path}, line {line}: {value!r} is not a number")
    X = np.array([row[:column] + row[column + 1 :] for _, row in body], dtype=np.float64)
    labels = [row[column].strip() for _, row in body]
    return {"X": X, "y": np.array(labels, dtype=float) if all(map(_is_number, labels)) else np.array(labels)}


def _csv_rows(path: Path):
    """(header, (line number, row) pairs); without a header, its first row stands for the number of columns."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            rows = [(reader.line_num, row) for row in reader if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a readable .csv file: {error}") from None
    first = rows[0][1] if rows else []
    words = len(first) > 1 and not any(map(_is_number, first))
    named = words or any(cell.strip().lower() in LABEL_COLUMNS for cell in first)
    body = rows[1:] if named else rows
    if not body:
        raise ValueError(f"{path} holds no data")
    return first, body


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
