"""What a reader of files hands on."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Source:
    """Points and labels as they stand in a file, with sentences on how they were found.

    X (n, ...) numbers, y (n,), (n, 1) or (n, K) labels of any kind; X_test and y_test likewise, or None. features : the
    names of the columns of X, or None.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    reading: list[str] = field(default_factory=list)
    features: list[str] | None = None
