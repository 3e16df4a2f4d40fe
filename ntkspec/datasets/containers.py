"""Data sets from arrays in memory: NumPy's, tables of pandas, tensors, lists."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ntkspec.datasets.dataset import Dataset
from ntkspec.datasets.prepared import Preparation, prepared
from ntkspec.datasets.reading import Source
from ntkspec.engines import as_array


def from_arrays(
    X: Any,
    y: Any,
    *,
    X_test: Any = None,
    y_test: Any = None,
    n: int | None = None,
    n_test: int | None = None,
    classes: Sequence | None = None,
    keep_constant: bool = False,
    channels: str | None = None,
    center: bool = True,
    standardize: bool = False,
    seed: int = 0,
    dtype: Any = np.float64,
    name: str = "arrays",
) -> Dataset:
    """Arrays in memory as a data set, treated as those of a file are: see :func:`load` for what each argument does.

    X (n, d) or images (n, height, width), (n, height, width, channels), (n, channels, height, width) : numbers in any
    container; the columns of a table keep their names. y (n,) : numbers, words, booleans, or one-hot (n, K). X_test,
    y_test : test points; None holds ``n_test`` random points out (default: a tenth).
    Raises TypeError / ValueError that say what is wrong.
    """
    if (X_test is None) != (y_test is None):
        raise ValueError("test points need both X_test and y_test")
    how = Preparation(n, n_test, classes, keep_constant, channels, center, standardize, seed, dtype)
    columns = list(map(str, X.columns)) if hasattr(X, "columns") else None
    source = Source(as_array(X, "X"), np.asarray(y), features=columns)
    if X_test is not None:
        source = replace(source, X_test=as_array(X_test, "X_test"), y_test=np.asarray(y_test))
    return prepared(source, how, name=name, place=name)
