"""Numbers that an axis can show."""

import numpy as np
from matplotlib.axes import Axes

from ntkspec.engines.arrays import ArrayLike

# Beyond this, the room around the numbers is beyond float64.
LARGEST = 1e100


def shown(values: ArrayLike) -> np.ndarray:
    """The values; NaN, which leaves a gap, where they are not finite or beyond LARGEST in size: a diverging model."""
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(abs(values) <= LARGEST, values, np.nan)


def logarithmic(axis: Axes) -> None:
    """A logarithmic y axis, where anything on it is positive: gaps and zeros have no place on one."""
    if np.isfinite(axis.yaxis.get_minpos()):
        axis.set_yscale("log")
