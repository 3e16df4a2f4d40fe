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
from ntkspec.engines.arrays import DTypeLike

# What to do with what is not read: tensors of PyTorch, pickles, spreadsheets, pictures.
_SAVE = "save arrays with numpy.savez('my.npz', X=X, y=y), spreadsheets as .csv"


def load(
    path: str | Path,
    *,
    n: int | None = None,
    n_test: int | None = None,
    label: str | int | None = None,
    points: str | None = None,
    test_points: str | None = None,
    test_label: str | None = None,
    classes: Sequence[Any] | None = None,
    keep_constant: bool = False,
    keep_ids: bool = False,
    channels: str | None = None,
    center: bool = True,
    standardize: bool = False,
    scale: bool = True,
    seed: int = 0,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    """Points and labels from a file, centred and scaled so that the training mean of ‖x‖² is d.

    Tables hold one point a row: .csv, .tsv, .txt, .dat, .data, also packed, and .parquet. Files of arrays are .npz,
    .npy, .h5, .hdf5 and .mat; images in them become (height, width, channels), which is ``meta["shape"]``. Labels may
    be numbers, words, booleans or one-hot rows.

    Parameters
    ----------
    path : str or Path
        The file; its ending says what it is.
    n : int, optional
        Number of training points, drawn at random with ``seed``. Default: all that are left after the test points.
    n_test : int, optional
        Number of test points. Those of the file are drawn from at random (default: all); where there are none, this
        many random points are held out (default: a tenth).
    label : str or int, optional
        For a table the column of the labels, by name or number (negative from the end). For arrays the name of the
        array of labels, a file of them, or the number of a column of the points. Default: found by the usual names and
        rules, which ``meta["reading"]`` reports; where more than one fits, the file is refused.
    points, test_points, test_label : str, optional
        Names of arrays ("X", "train/X"), or files of one array. Default: found by the usual names (X and y, x_train
        and y_train, images and labels, data and target, ...).
    classes : two labels or more, or "all", optional
        The labels that become +1 and -1, in that order; K > 2 of them become K columns in that order, +1 for a class's
        own points and -1/(K - 1) for others. Points of other classes are left out. Default: two classes
        that are alone there become -1 and +1, the larger number or the later word +1 (of + and -, the +); other numbers
        stay as they are, with a warning where they may be class numbers.
    keep_constant : bool, default False
        Keep features that are constant over the training points, as zero columns. Default: refuse them; constant pixels
        of images are always kept.
    keep_ids : bool, default False
        Keep the columns of a table that number its rows or are called an id. Default: set them aside.
    channels : {"first", "last"}, optional
        Which axis of images the channels are. Default: found from the sizes, and refused where they fit both.
    center : bool, default True
        Subtract the mean over the training points.
    standardize : bool, default False
        Divide each feature by its standard deviation over the training points; constant features stay zero.
    scale : bool, default True
        False, with ``center=False``, leaves the points as they stand in the file, for networks that were trained on
        them.
    seed : int, default 0
        Seed of the random subsets.
    dtype : {float64, float32}, default float64
        The dtype of points and labels.

    Returns
    -------
    Dataset
        ``meta["reading"]`` lists, in sentences, what was found and done; ``meta["file"]`` is the path.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    TypeError
        If ``path`` is no path, or ``dtype`` neither float32 nor float64.
    ValueError
        If the file is damaged, a value is missing or not finite, the labels or points cannot be decided, or too many
        points are asked for; the message says where and which option decides it.

    Notes
    -----
    No pickle is executed, and HDF5 and .mat files are read by a process of their own. Memory: about 3 times the points
    in float64; for tables up to 12 times the text.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "my.npz")
    ...     np.savez(path, X=rng.normal(5.0, 2.0, (30, 4)), y=np.array(["cat", "dog"] * 15))
    ...     data = ns.datasets.load(path, n_test=6)
    >>> data.X.shape, data.X_test.shape, data.meta["labels"]
    ((24, 4), (6, 4), '+1 = dog, -1 = cat')
    >>> bool(np.allclose(data.X.mean(axis=0), 0.0)), round(float(np.square(data.X).sum(axis=1).mean()), 12)
    (True, 4.0)
    """
    how = Preparation(
        n=n,
        n_test=n_test,
        classes=classes,
        keep_constant=keep_constant,
        channels=channels,
        center=center,
        standardize=standardize,
        scale=scale,
        seed=seed,
        dtype=dtype,
    )
    arrays = {"points": points, "test_points": test_points, "test_label": test_label}
    path = _path(path)
    dataset = prepared(_read(path, label, keep_ids, arrays), how, name=path.name, origin=f"{path}")
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
        raise FileNotFoundError(
            f"{path} is a folder; name a file, or give the folder of MNIST or CIFAR-10 with --data-dir (data_dir=); "
            f"{_SAVE}"
        )
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
        raise ValueError(
            f"{path} has the ending {path.suffix!r}, but one of {known} is needed (tables also as .gz); {_SAVE}"
        )
    if keep_ids:
        raise ValueError(f"keep_ids is for tables, but {path} holds arrays")
    return read_arrays(path, label=label, **arrays)
