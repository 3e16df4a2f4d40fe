"""What every figure marks in the same way: where something ends, and what counts as small."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ntkspec.plotting.values import numbered

_GREY = "#777777"
# What names the lines that are marks, and not results.
MARK = "mark"
# The part of the axes that a legend covers: its width, and the height of an entry.
_WIDTH, _ENTRY = 0.58, 0.075
# Lines of few vertices are looked at between them, too.
_FEW, _BETWEEN = 100, 10


def bare(axis: Axes) -> None:
    """Axes without a frame above and to the right, with numbers that can be read."""
    axis.spines[["top", "right"]].set_visible(False)
    numbered(axis.xaxis)
    numbered(axis.yaxis)


def step(axis: Axes, at: float, text: str, line: str = ":") -> None:
    """A vertical line at a step, named in the legend."""
    axis.axvline(at, color=_GREY, linewidth=1.0, linestyle=line, label=text, zorder=0.5, gid=MARK)


def finished(axis: Axes, at: float, last: float) -> None:
    """Where the linear model has learned 99 % of what it can, if that is within the steps."""
    if at <= last:
        step(axis, at, f"99 % of the linear part, step {at:.0f}")


def thresholds(axis: Axes, levels: Sequence[float]) -> None:
    """Horizontal lines at parts of one, each with its percentage at the right end."""
    for level in levels:
        axis.axhline(level, color=_GREY, linewidth=0.7, zorder=0.5, gid=MARK)
        axis.annotate(
            f"{100 * level:g} %", (1, level), xycoords=("axes fraction", "data"), xytext=(2, 0),
            textcoords="offset points", va="center", fontsize=7, color=_GREY, annotation_clip=True,
        )  # fmt: skip


def legend(axis: Axes, **options: Any) -> None:
    """That of the axes, where the least lies below it."""
    entries = len(axis.get_legend_handles_labels()[0])
    if entries:
        axis.legend(**{"fontsize": 8, "framealpha": 0.85, "edgecolor": "none"} | _emptiest(axis, entries) | options)


def _emptiest(axis: Axes, entries: int) -> dict[str, Any]:
    """The place with the fewest vertices of lines and bars. Matplotlib's own search takes seconds on long lines."""
    axis.get_xlim(), axis.get_ylim()  # which the data may not have set yet
    x, y = np.concatenate([np.empty((0, 2)), *map(partial(_places, axis), [*axis.lines, *axis.patches])]).T
    height = min(1.0, 0.04 + _ENTRY * entries)

    def below(place: tuple[str, float]) -> int:
        beside = x > 1 - _WIDTH if place[0] == "right" else x < _WIDTH
        return int((beside & (x >= 0) & (x <= 1) & (y <= place[1]) & (y >= place[1] - height)).sum())

    places = [
        (side, float(top)) for top in (1.0, *np.linspace(1 - height / 4, height, 8)) for side in ("right", "left")
    ]
    side, top = min(places, key=below)
    return {"loc": f"upper {side}", "bbox_to_anchor": (0.0 if side == "left" else 1.0, top)}


def _places(axis: Axes, artist: Any) -> np.ndarray:
    """(k, 2), where a line or bar is, as parts of the axes."""
    with np.errstate(all="ignore"):
        path = artist.get_path()
        dense = path.interpolated(_BETWEEN) if len(path.vertices) < _FEW else path
        places = (artist.get_transform() - axis.transAxes).transform(dense.vertices)
    return places[np.isfinite(places).all(axis=1)]
