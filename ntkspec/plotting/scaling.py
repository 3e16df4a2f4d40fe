"""The figures of sweeps: sizes against d or the width, with fitted slopes. They read in grey, in a column."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ntkspec.experiments.power_laws import at_distinct
from ntkspec.experiments.sweep_panels import Panel, Panels
from ntkspec.plotting import marks
from ntkspec.plotting.labels import formulas
from ntkspec.plotting.sheets import sheet
from ntkspec.plotting.values import logarithmic, numbered, shown
from ntkspec.theory.budget import PARTS

PART_NORM = "spectral norm of the part"
# Colour, marker and line tell curves apart, each on its own.
STYLES = {
    "gap": ("#0072B2", "o", "-", "spectral"),
    "frobenius": ("#D55E00", "s", "-", "Frobenius"),
    "hollow": ("#0072B2", "o", ":", "spectral, no diagonal"),
    "hollow frobenius": ("#D55E00", "s", ":", "Frobenius, no diagonal"),
    "fluctuation": ("#0072B2", "o", "-", "fluctuation $F$"),
    "diagonal": ("#D55E00", "s", "-", "diagonal $D$"),
    "remainder": ("#009E73", "^", "-", "remainder $R$"),
    "train": ("#0072B2", "o", "-", "training points"),
    "test": ("#D55E00", "s", "-", "test points, clipped at 1"),
    "drift": ("#0072B2", "o", "-", "kernel, spectral norm"),
    "distance": ("#009E73", "^", "-", "kernel, 1 - cosine"),
    "movement": ("#D55E00", "s", "-", "weights"),
    "norms": ("#0072B2", "o", "-", "norms"),
    "overlaps": ("#D55E00", "s", "-", "overlaps"),
    "gram": ("#009E73", "^", "-", r"$\|X X^T\|/n$"),
}


def scaling(panels: Panels, *, ylabel: str = "norm") -> Figure:
    """One pair of axes for each panel: medians and ranges of its numbers over seeds.

    The legend gives fitted exponents with their 95 % intervals where there are enough sizes and seeds.
    """
    figure = sheet(3.3 * len(panels) + 0.4, 4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, own) in zip(axes, panels.items(), strict=True):
        panel(axis, own, ylabel=ylabel)
        axis.set_title(formulas(title), fontsize=9)
        below(axis)
    for kind in (True, False):
        _alike([axis for axis, own in zip(axes, panels.values(), strict=True) if own.scaled is kind])
    return figure


def panel(axis: Axes, drawn: Panel, *, ylabel: str) -> None:
    """The numbers of a panel on one pair of axes."""
    for name in drawn.names:
        _curve(axis, drawn, name)
    axis.set_ylabel(rf"$(d/n)\ \times$ {ylabel}" if drawn.scaled else ylabel)
    axis.set_xscale("log")
    logarithmic(axis)
    marks.bare(axis)
    axis.set_xlabel(f"${drawn.symbol}$")
    ticks = sorted({getattr(cell, drawn.size) for cell in drawn.results})
    axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", which="both", labelsize=8)


def below(axis: Axes) -> None:
    """The legend under the axes; it says what its numbers are where it has some."""
    fitted = any("[" in label for label in axis.get_legend_handles_labels()[1])
    title = f"exponent of {axis.get_xlabel()} [95 % interval]" if fitted else None
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False}
    axis.legend(fontsize=7, title=title, title_fontsize=7, **place)


def _alike(axes: list[Axes]) -> None:
    """One range and one label for panels that show the same."""
    if axes:
        low, high = zip(*(axis.get_ylim() for axis in axes), strict=True)
        for axis in axes:
            axis.set_yscale(axis.get_yscale())  # ticks anew: those of its own range may be others
            axis.set_ylim(min(low), max(high))
            numbered(axis.yaxis)
        for axis in axes[1:]:
            axis.set_ylabel("")


def _curve(axis: Axes, drawn: Panel, name: str) -> None:
    colour, marker, line, label = STYLES[name]
    places, (least, medians, most) = _over_seeds(drawn, name, np.min, np.median, np.max)
    if (law := drawn.laws.get(name)) is not None:
        label += f": {law.exponent:+.2f} [{law.lower:+.2f}, {law.upper:+.2f}]"
    axis.fill_between(places, least, most, color=colour, alpha=0.15, linewidth=0)
    (curve,) = axis.plot(places, medians, line, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
    curve.set_markerfacecolor(colour if line == "-" else "white")


def _over_seeds(drawn: Panel, name: str, *summaries: Callable) -> tuple[np.ndarray, list[np.ndarray]]:
    """Each size, and the summaries of what an axis can show of a number there."""
    x, y = drawn.sizes(name)
    return np.unique(x), [at_distinct(summary, x, shown(y)) for summary in summaries]


def budget(panels: Panels) -> Figure:
    """F, D and R measured (markers) and predicted (thin dashes of the same colour), times d/n."""
    figure = scaling(panels, ylabel=PART_NORM)
    for axis, drawn in zip(figure.axes, panels.values(), strict=True):
        axis.plot([], [], "--", color="black", linewidth=0.8, label="predicted")
        below(axis)
        for name in PARTS:
            places, (medians,) = _over_seeds(drawn, f"{name} predicted", np.median)
            axis.plot(places, medians, "--", color=STYLES[name][0], linewidth=0.8)
        axis.autoscale(axis="y")
    _alike(figure.axes)
    return figure
