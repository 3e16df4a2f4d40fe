"""The figures of sweeps: sizes against d, with fitted slopes. They read in grey, at the width of a column."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ntkspec.experiments.power_laws import PowerLaw, at_distinct, fit_power_law
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.plotting import marks
from ntkspec.plotting.labels import formulas
from ntkspec.plotting.values import logarithmic, numbered, shown
from ntkspec.theory.budget import PARTS

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
    "norms": ("#0072B2", "o", "-", "norms"),
    "overlaps": ("#D55E00", "s", "-", "overlaps"),
    "gram": ("#009E73", "^", "-", r"$\|X X^T\|/n$"),
}


def scaling(
    panels: dict[str, dict], names: Sequence[str], *, plain: Collection[str] = (), ylabel: str = "norm"
) -> Figure:
    """One panel for each title: {title: {cell: numbers}}; medians and ranges of the named numbers over seeds.

    They are multiplied by d/n, except in the panels whose titles are in ``plain``. The legend gives fitted exponents
    with their 95 % intervals where there are enough dimensions and seeds.
    """
    figure = Figure(figsize=(3.3 * len(panels) + 0.4, 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, results) in zip(axes, panels.items(), strict=True):
        panel(axis, results, names, scaled=title not in plain, ylabel=ylabel)
        axis.set_title(formulas(title), fontsize=9)
        below(axis)
    for kind in (True, False):
        _alike([axis for axis, title in zip(axes, panels, strict=True) if (title in plain) is kind])
    return figure


def panel(
    axis: Axes, results: dict[Cell, dict[str, float]], names: Sequence[str], *, scaled: bool, ylabel: str
) -> None:
    """The named numbers of the cells on one pair of axes, times d/n if ``scaled``."""
    for name in names:
        _curve(axis, results, name, scaled)
    axis.set_ylabel(rf"$(d/n)\ \times$ {ylabel}" if scaled else ylabel)
    axis.set_xscale("log")
    logarithmic(axis)
    marks.bare(axis)
    axis.set_xlabel("$d$")
    ticks = sorted({cell.d for cell in results})
    axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", which="both", labelsize=8)


def below(axis: Axes) -> None:
    """The legend under the axes; it says what its numbers are where it has some."""
    fitted = any("[" in label for label in axis.get_legend_handles_labels()[1])
    title = "exponent of $d$ [95 % interval]" if fitted else None
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False}
    axis.legend(fontsize=7, title=title, title_fontsize=7, **place)


def _alike(axes: list[Axes]) -> None:
    """One range and one label for panels that show the same."""
    if axes:
        low, high = zip(*(axis.get_ylim() for axis in axes), strict=True)
        for axis in axes:
            axis.set_ylim(min(low), max(high))
            numbered(axis.yaxis)
        for axis in axes[1:]:
            axis.set_ylabel("")


def _curve(axis, results: dict, name: str, scaled: bool) -> None:
    colour, marker, line, label = STYLES[name]
    d, y = sizes(results, name, scaled=scaled)
    places = np.unique(d)
    least, medians, most = (at_distinct(summary, d, y) for summary in (np.min, np.median, np.max))
    if (law := law_of(results, name, scaled=scaled)) is not None:
        label += f": {law.exponent:+.2f} [{law.lower:+.2f}, {law.upper:+.2f}]"
    axis.fill_between(places, least, most, color=colour, alpha=0.15, linewidth=0)
    filled = {"markerfacecolor": colour if line == "-" else "white"}
    axis.plot(places, medians, line, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label, **filled)


def budget(panels: dict[str, dict]) -> Figure:
    """F, D and R measured (markers) and predicted (thin dashes of the same colour), times d/n."""
    figure = scaling(panels, PARTS, ylabel="spectral norm of the part")
    for axis, results in zip(figure.axes, panels.values(), strict=True):
        axis.plot([], [], "--", color="black", linewidth=0.8, label="predicted")
        below(axis)
        for name in PARTS:
            d, y = sizes(results, f"{name} predicted", scaled=True)
            axis.plot(np.unique(d), at_distinct(np.median, d, y), "--", color=STYLES[name][0], linewidth=0.8)
        axis.autoscale(axis="y")
    _alike(figure.axes)
    return figure


def law_of(results: dict, name: str, *, scaled: bool) -> PowerLaw | None:
    """The power law in d of a number, times d/n; None for fewer than three d or two seeds, or a number not above 0."""
    d, y = sizes(results, name, scaled=scaled)
    seeds = np.array([cell.seed for cell in results])
    if len(np.unique(d)) < 3 or len(np.unique(seeds)) < 2 or not (y > 0).all():
        return None
    return fit_power_law(d, y, seeds)


def sizes(results: dict, name: str, *, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """d and the named number of each cell, times d/n."""
    d = np.array([cell.d for cell in results], dtype=float)
    n = np.array([cell.n for cell in results], dtype=float)
    return d, shown([numbers.get(name, np.nan) for numbers in results.values()]) * (d / n if scaled else 1)
