"""Classes as numbers: signs for two of them, a column for each of more."""

from collections.abc import Sequence

import numpy as np

from ntkspec.engines.arrays import Array

# What a user passes as ``classes`` for every class that is there.
ALL = "all"


def class_columns(numbers: np.ndarray, count: int) -> np.ndarray:
    """(n, count) of classes numbered from 0: +1 in a point's own column, -1/(count - 1) in the others.

    Each row sums to 0, and so does each column where the classes are equally frequent: the loss has no constant part
    for a model to learn. Two classes would be +1 and -1.
    """
    y = np.full((len(numbers), count), -1.0 / (count - 1))
    y[np.arange(len(numbers)), numbers] = 1.0
    return y


def meaning_of_columns(names: Sequence[object]) -> str:
    """What the columns of several classes mean, for a report."""
    return f"a column for each of {', '.join(map(str, names))}: +1 for its own points, -1/{len(names) - 1} for others"


def classes_of(y: Array) -> Array | None:
    """The number of each point's class where labels (n, K) are columns of classes; None where they are not.

    Others than the own class have -1/(K - 1), as :func:`class_columns` gives, 0 (one-hot labels), or -1.
    """
    if y.ndim != 2 or y.shape[1] < 2:
        return None
    own = y == 1
    columns = any(bool((own ^ (abs(y - low) < 1e-6)).all()) for low in (-1 / (y.shape[1] - 1), 0.0, -1.0))
    return own.argmax(axis=1) if columns and bool((own.sum(axis=1) == 1).all()) else None


def with_others(y: Array, low: float) -> Array:
    """Columns of classes with ``low`` for other classes than the own one."""
    found = (y == 1).astype(y.dtype)
    return found + low * (1 - found)


def asks_for_all(classes: object) -> bool:
    """Whether ``classes`` is "all", alone or as the one item of a list."""
    given = classes if isinstance(classes, str) else None
    if isinstance(classes, list | tuple) and len(classes) == 1:
        given = classes[0]
    return isinstance(given, str) and given.strip().lower() == ALL
