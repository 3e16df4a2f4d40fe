"""The user's own data: .npz, .h5 and .csv files with points and labels."""

import csv
import zipfile
from pathlib import Path

import numpy as np

from ntkspec import checks, storage
from ntkspec.datasets.dataset import Dataset, standardized, subset

LABEL_COLUMNS = ("y", "label", "target", "class")


def load(path, *, n=None, n_test=None, keep_constant=False, seed=0, dtype=np.float64) -> Dataset:
    """Points and labels from a file, centred and scaled so that the training mean of ‖x‖² is d.

    .npz, .h5, .hdf5 : arrays X (n, ...) and y (n,), and X_test, y_test where there are test points; points of more
    than one dimension are flattened. .csv : one row a point, numbers separated by commas, with or without a header; the
    labels are the column named y, label, target or class, else the last one.
    Labels: numbers; or two classes (strings, booleans or two whole numbers), of which the larger (later in the
    alphabet) becomes +1 and the other -1.
    Without test points, ``n_test`` random ones are held out (default: a tenth). n : a random subset for training.
    Features that are constant over the training points are refused, unless keep_constant is True.
    Raises FileNotFoundError, or ValueError that says what is wrong with the file and in which row.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    readers = {".npz": _read_npz, ".h5": _read_hdf5, ".hdf5": _read_hdf5, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} has the ending {path.suffix!r}, but one of {', '.join(readers)} is needed")
    arrays = readers[path.suffix.lower()](path)
    X, y, classes = _points(arrays["X"], arrays["y"], path)
    if "X_test" in arrays and "y_test" in arrays:
        X_test, y_test, _ = _points(arrays["X_test"], arrays["y_test"], path, classes=classes, columns=X.shape[1])
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
    meta = {"file": str(path), "labels": f"+1 = {classes[1]}, -1 = {classes[0]}" if classes else "numbers"}
    return standardized((X, y), (X_test, y_test), name=path.name, meta=meta, dtype=dtype)


def _hold_out(X, y, n_test, seed):
    count = len(X) // 10 if n_test is None else checks.whole_number(n_test, "n_test", 0)
    if count >= len(X):
        raise ValueError(f"n_test={count}, but {len(X)} points are there and one at least must be left for training")
    order = np.random.default_rng([seed, 2]).permutation(len(X))
    train, test = np.sort(order[count:]), np.sort(order[:count])
    return X[train], y[train], X[test], y[test]


def _points(X, y, path: Path, *, classes=None, columns: int | None = None):
    """(X as a matrix, y as numbers, the two classes that became -1 and +1 or None)."""
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim == 0 or X.size == 0:
        raise ValueError(f"{path} holds no data: X has shape {X.shape}")
    X = checks.as_matrix(X.reshape(len(X), -1) if X.ndim != 2 else X, f"X of {path}", columns=columns)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (len(X),):
        raise ValueError(f"{path} has {len(X)} points but labels of shape {y.shape}; one label a point is needed")
    if y.dtype.kind in "SUO":
        y = np.array([one.decode() if isinstance(one, bytes) else str(one) for one in y])
    elif y.dtype.kind not in "iubf":
        raise ValueError(f"labels of {path} have dtype {y.dtype}; numbers or two classes are needed")
    classes = _classes(y, path) if classes is None else classes
    if not classes:
        return X, checks.as_vector(y, f"y of {path}", len(X)), None
    unknown = ~np.isin(y, classes)
    if unknown.any():
        raise ValueError(f"test label {y[unknown][0]!r} of {path} is neither of the classes {classes[0]}, {classes[1]}")
    return X, np.where(y == classes[1], 1.0, -1.0), classes


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
def _require_X_and_y(arrays: dict, path: Path) -> dict:
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise ValueError(f"{path} holds {sorted(arrays) or 'no arrays'}, but arrays named X and y are needed")
    return arrays


def _read_npz(path: Path) -> dict:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file: {error}") from None
    return _require_X_and_y(arrays, path)


def _read_hdf5(path: Path) -> dict:
    return _require_X_and_y(storage.read_arrays(path, ("X", "y", "X_test", "y_test")), path)


def _read_csv(path: Path) -> dict:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = [row for row in csv.reader(file) if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a readable .csv file: {error}") from None
    header = rows[0] if rows and not any(map(_is_number, rows[0])) and len(rows[0]) > 1 else None
    body = rows[1:] if header else rows
    if not body:
        raise ValueError(f"{path} holds no data")
    names = [name.strip().lower() for name in header or []]
    column = next((names.index(name) for name in LABEL_COLUMNS if name in names), len(body[0]) - 1)
    first = 2 if header else 1
    for number, row in enumerate(body, first):
        if len(row) != len(body[0]) or len(row) < 2:
            raise ValueError(f"{path}, line {number}: {len(row)} values, but {max(2, len(body[0]))} are needed")
    try:
        X = np.array([row[:column] + row[column + 1 :] for row in body], dtype=np.float64)
    except ValueError:
        number, value = next(
            (number, value)
            for number, row in enumerate(body, first)
            for value in row[:column] + row[column + 1 :]
            if not _is_number(value)
        )
        raise ValueError(f"{path}, line {number}: {value!r} is not a number") from None
    labels = [row[column].strip() for row in body]
    return {"X": X, "y": np.array(labels, dtype=float) if all(map(_is_number, labels)) else np.array(labels)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
