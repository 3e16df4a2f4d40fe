"""What every figure marks in the same way: where something ends, and what counts as small."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from ntkspec.plotting.values import numbered

_GREY = "#777777"
# What names the lines that are marks, and not results.
MARK = "mark"


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


def legend(axis: Axes, **options: object) -> None:
    """That of the axes, over whatever lies below it."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(**{"fontsize": 8, "framealpha": 0.85, "edgecolor": "none"} | options)
