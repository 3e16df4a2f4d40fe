"""What every figure marks in the same way: where something ends, and what counts as small."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ntkspec.plotting.labels import spoken
from ntkspec.plotting.values import numbered

_GREY = "#777777"
# What names the lines that are marks, and not results.
MARK = "mark"
# A legend in sizes of its font: what stands beside the words, a letter, what stands above and below, and a line.
_BESIDE, _LETTER, _ABOVE, _LINE = 4.6, 0.49, 1.8, 1.6
# How many heights are looked at for it, how far apart points of lines, and by how much a layout widens the axes.
_HEIGHTS, _APART, _WIDENED = 13, 0.02, 1.15


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


def legend(axis: Axes, *, fontsize: float = 8) -> None:
    """That of the axes, where the least lies below it."""
    labels = axis.get_legend_handles_labels()[1]
    if labels:
        width, height = _size(axis, labels, fontsize)
        side, top = _emptiest(axis, width, height)
        place: dict[str, Any] = {"loc": f"upper {side}", "bbox_to_anchor": (0.0 if side == "left" else 1.0, top)}
        axis.legend(fontsize=fontsize, framealpha=0.85, edgecolor="none", **place)


def _size(axis: Axes, labels: list[str], fontsize: float) -> tuple[float, float]:
    """About the part of the width and the height of the axes that a legend takes, in Matplotlib's usual spacing."""
    em = fontsize * axis.figure.dpi / 72
    width = (_BESIDE + _LETTER * max(len(spoken(label)) for label in labels)) * em
    height = (_ABOVE + _LINE * len(labels)) * em
    return min(1.0, width / (_WIDENED * axis.bbox.width)), min(1.0, height / (_WIDENED * axis.bbox.height))


def _emptiest(axis: Axes, width: float, height: float) -> tuple[str, float]:
    """The side and the upper end of the place below which the lines are shortest.

    Matplotlib's own search takes seconds on long lines.
    """
    axis.get_xlim(), axis.get_ylim()  # which the data may not have set yet
    artists: list[Any] = [*axis.lines, *axis.patches]
    paths = [(artist.get_transform(), artist.get_path()) for artist in artists]
    paths += [(artist.get_transform(), path) for artist in axis.collections for path in artist.get_paths()]
    places = [_places((transform - axis.transAxes).transform(path.vertices)) for transform, path in paths]
    x, y = np.concatenate([np.empty((0, 2)), *places]).T

    def below(place: tuple[str, float]) -> int:
        beside = x > 1 - width if place[0] == "right" else x < width
        return int((beside & (x >= 0) & (x <= 1) & (y <= place[1]) & (y >= place[1] - height)).sum())

    tops = sorted(np.linspace(height, 1.0, _HEIGHTS), key=lambda top: -abs(top - (1 + height) / 2))
    return min([(side, float(top)) for top in tops for side in ("right", "left")], key=below)


def _places(corners: np.ndarray) -> np.ndarray:
    """Points of a line at equal distances, from its corners, both as parts of the axes."""
    corners = np.clip(corners[np.isfinite(corners).all(axis=1)], -1, 2)
    if len(corners) < 2:
        return corners
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(corners, axis=0).T)))
    at = np.linspace(0, along[-1], 2 + int(along[-1] / _APART))
    return np.stack([np.interp(at, along, column) for column in corners.T], axis=1)
