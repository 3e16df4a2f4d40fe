"""The user's own data: tables, and files of arrays, with points and labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec.datasets.arrays import ARRAY_ENDINGS, read_arrays
from ntkspec.datasets.dataset import Dataset
from ntkspec.datasets.prepared import Preparation, prepared
from ntkspec.datasets.reading import Source


def load(
    path: str | Path,
    *,
    n: int | None = None,
    n_test: int | None = None,
    label: str | int | None = None,
    points: str | None = None,
    test_points: str | None = None,
    test_label: str | None = None,
    classes: Sequence | None = None,
    keep_constant: bool = False,
    keep_ids: bool = False,
    channels: str | None = None,
    center: bool = True,
    standardize: bool = False,
    seed: int = 0,
    dtype: Any = np.float64,
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
    Features that are constant over the training points are refused, unless keep_constant is True; pixels are kept.
    center, standardize, dtype (float32 or float64) : as in :func:`ntkspec.datasets.dataset.standardized`.
    meta["reading"] tells what was found and done.
    Raises FileNotFoundError, TypeError for another dtype, or ValueError that says what is wrong and where.
    """
    how = Preparation(n, n_test, classes, keep_constant, channels, center, standardize, seed, dtype)
    arrays = {"points": points, "test_points": test_points, "test_label": test_label}
    path = _path(path)
    dataset = prepared(_read(path, label, keep_ids, arrays), how, name=path.name, place=f"{path}")
    return replace(dataset, meta={"file": str(path), **dataset.meta})


def _path(given: str | Path) -> Path:
    """The path; says what else to call where it is none, or a folder."""
    try:
        path = Path(given).expanduser()
    except TypeError:
        raise TypeError(
            f"load reads a file, but got a {type(given).__name__}; pass arrays to ntkspec.datasets.from_arrays(X, y)"
        ) from None
    if path.is_dir():
        where = "is a folder; name a file, or give the folder of MNIST or CIFAR-10 with --data-dir (data_dir=)"
        raise FileNotFoundError(f"{path} {where}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    return path


def _read(path: Path, label, keep_ids: bool, arrays: dict) -> Source:
    """The file as its ending says; options that do not belong to it are refused."""
    from ntkspec.datasets.tables import TABLE_ENDINGS, read_table

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
