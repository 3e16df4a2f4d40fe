"""Numbers that an axis can show."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from ntkspec.engines.arrays import ArrayLike

# Beyond this, the room around the numbers is beyond float64.
LARGEST = 1e100
# Up to this ratio of its ends a logarithmic axis has numbers between the powers of ten.
_FEW_POWERS = 500


def shown(values: ArrayLike) -> np.ndarray:
    """The values; NaN, which leaves a gap, where they are not finite or beyond LARGEST in size: a diverging model."""
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(abs(values) <= LARGEST, values, np.nan)


def logarithmic(axis: Axes) -> None:
    """A logarithmic y axis, where anything on it is positive: gaps and zeros have no place on one."""
    if np.isfinite(axis.yaxis.get_minpos()):
        axis.set_yscale("log")


def numbered(axis: Axis) -> None:
    """Numbers on a logarithmic axis as people write them, where it spans few powers of ten and has no ticks set."""
    low, high = axis.get_view_interval()
    chosen = isinstance(axis.get_major_locator(), FixedLocator)
    if chosen or axis.get_scale() != "log" or high > _FEW_POWERS * low:
        return
    axis.set_major_locator(LogLocator(subs=range(1, 10) if high < 5 * low else (1, 2, 5), numticks=30))
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
