"""Data sets from arrays in memory: NumPy's, tables of pandas, tensors, lists."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ntkspec.datasets.dataset import Dataset
from ntkspec.datasets.prepared import Preparation, prepared
from ntkspec.datasets.reading import Source
from ntkspec.engines import as_array
from ntkspec.engines.arrays import DTypeLike


def from_arrays(
    X: Any,
    y: Any,
    *,
    X_test: Any = None,
    y_test: Any = None,
    n: int | None = None,
    n_test: int | None = None,
    classes: Sequence[Any] | None = None,
    keep_constant: bool = False,
    channels: str | None = None,
    center: bool = True,
    standardize: bool = False,
    seed: int = 0,
    dtype: DTypeLike = np.float64,
    name: str = "arrays",
) -> Dataset:
    """A data set from arrays in memory, centred and scaled so that the training mean of ‖x‖² is d.

    Any container of numbers is taken: NumPy arrays, tables of pandas, tensors, lists.

    Parameters
    ----------
    X : array_like of shape (n, d), or images
        Points: numbers, one point a row. Images are (n, height, width), (n, height, width, channels) or
        (n, channels, height, width). Columns of a table keep their names for messages.
    y : array_like of shape (n,) or (n, K)
        Labels: numbers, words, booleans, or one-hot rows of K classes.
    X_test, y_test : array_like, optional
        Test points with labels, of the same form; both or neither.
    n : int, optional
        Number of training points, drawn at random with ``seed``. Default: all that are left after the test points.
    n_test : int, optional
        Number of test points. Those of the arrays are drawn from at random (default: all); where there are none, this
        many random points are held out (default: a tenth).
    classes : two labels or more, or "all", optional
        The labels that become +1 and -1, in that order; K > 2 of them become K columns in that order, +1 for a class's
        own points and -1/(K - 1) for others. Points of other classes are left out. Default: two classes
        that are alone there become -1 and +1, the larger number or the later word +1 (of + and -, the +); other numbers
        stay as they are, with a warning where they may be class numbers.
    keep_constant : bool, default False
        Keep features that are constant over the training points, as zero columns. Default: refuse them; constant pixels
        of images are always kept.
    channels : {"first", "last"}, optional
        Which axis of images the channels are. Default: found from the sizes, and refused where they fit both.
    center : bool, default True
        Subtract the mean over the training points.
    standardize : bool, default False
        Divide each feature by its standard deviation over the training points; constant features stay zero.
    seed : int, default 0
        Seed of the random subsets.
    dtype : {float64, float32}, default float64
        The dtype of points and labels.
    name : str, default "arrays"
        What the data are called in reports and messages.

    Returns
    -------
    Dataset
        ``meta["reading"]`` lists, in sentences, what was found and done.

    Raises
    ------
    TypeError
        If an array cannot be read as plain numbers, or ``dtype`` is neither float32 nor float64.
    ValueError
        If shapes do not fit, a value is missing or not finite, features are constant, or the labels are of three or
        more classes that are no numbers and ``classes`` chooses none.

    Notes
    -----
    Memory: about 3 times the points in float64. The arrays that are passed stay as they are.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> X = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0], [6.0, 7.0]])
    >>> data = ns.datasets.from_arrays(X, ["no", "yes", "no", "yes"], n_test=0)
    >>> data.y.tolist(), data.meta["labels"]
    ([-1.0, 1.0, -1.0, 1.0], '+1 = yes, -1 = no')
    >>> round(float(np.square(data.X).sum(axis=1).mean()), 12)
    2.0
    """
    if (X_test is None) != (y_test is None):
        raise ValueError("test points need both X_test and y_test")
    how = Preparation(
        n=n,
        n_test=n_test,
        classes=classes,
        keep_constant=keep_constant,
        channels=channels,
        center=center,
        standardize=standardize,
        seed=seed,
        dtype=dtype,
    )
    columns = list(map(str, X.columns)) if hasattr(X, "columns") else None
    source = Source(as_array(X, "X"), np.asarray(y), features=columns)
    if X_test is not None:
        source = replace(source, X_test=as_array(X_test, "X_test"), y_test=np.asarray(y_test))
    return prepared(source, how, name=name, origin=name)
