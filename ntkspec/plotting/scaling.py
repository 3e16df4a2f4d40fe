"""The figures of sweeps: sizes against d, with fitted slopes. They read in grey, at the width of a column."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from ntkspec.experiments.power_laws import PowerLaw, at_distinct, fit_power_law
from ntkspec.plotting.values import logarithmic, shown
from ntkspec.theory.budget import PARTS

# Colour, marker and line tell curves apart, each on its own.
STYLES = {
    "gap": ("#0072B2", "o", "-", "spectral"),
    "frobenius": ("#D55E00", "s", "-", "Frobenius"),
    "hollow": ("#0072B2", "o", ":", "spectral, no diagonal"),
    "hollow frobenius": ("#D55E00", "s", ":", "Frobenius, no diagonal"),
    "fluctuation": ("#0072B2", "o", "-", "fluctuation F"),
    "diagonal": ("#D55E00", "s", "-", "diagonal D"),
    "remainder": ("#009E73", "^", "-", "remainder R"),
    "train": ("#0072B2", "o", "-", "training points"),
    "test": ("#D55E00", "s", "-", "test points, clipped at 1"),
    "norms": ("#0072B2", "o", "-", "norms"),
    "overlaps": ("#D55E00", "s", "-", "overlaps"),
    "gram": ("#009E73", "^", "-", "‖X Xᵀ‖/n"),
}


@dataclass(frozen=True)
class Series:
    """The numbers of a quantity that are drawn, what they are called, and whether times d/n."""

    names: tuple[str, ...]
    ylabel: str
    scaled: bool = True


def series_of(quantity: str) -> Series:
    """Those of a quantity of sweeps."""
    if quantity.startswith("budget"):
        return Series(PARTS, "spectral norm")
    if quantity.startswith("training"):
        return Series(("train", "test"), "largest discrepancy up to T", scaled=False)
    if quantity == "data":
        return Series(("norms", "overlaps", "gram"), "ratio of Claim 3.1", scaled=False)
    return Series(("gap", "frobenius", "hollow", "hollow frobenius"), "norm of Θ − Θ^lin")


def figure_of(quantity: str, panels: dict[str, dict], plain: Collection[str] = ()) -> Figure:
    """The figure of a quantity: {title: {cell: numbers}}; the panels whose titles are in ``plain`` are not scaled."""
    if quantity.startswith("budget"):
        return budget(panels)
    series = series_of(quantity)
    return scaling(panels, series.names, plain=plain if series.scaled else panels, ylabel=series.ylabel)


def law_of(results: dict, name: str, scaled: bool) -> PowerLaw | None:
    """The power law in d of a number, times d/n; None for fewer than three d or two seeds, or a number not above 0."""
    d, y = sizes(results, name, scaled)
    seeds = np.array([cell.seed for cell in results])
    if len(np.unique(d)) < 3 or len(np.unique(seeds)) < 2 or not (y > 0).all():
        return None
    return fit_power_law(d, y, seeds)


def sizes(results: dict, name: str, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """d and the named number of each cell, times d/n."""
    d = np.array([cell.d for cell in results], dtype=float)
    n = np.array([cell.n for cell in results], dtype=float)
    return d, shown([numbers.get(name, np.nan) for numbers in results.values()]) * (d / n if scaled else 1)


def scaling(
    panels: dict[str, dict], names: Sequence[str], *, plain: Collection[str] = (), ylabel: str = "norm"
) -> Figure:
    """One panel for each title: {title: {cell: numbers}}; medians and ranges of the named numbers over seeds.

    They are multiplied by d/n, except in the panels whose titles are in ``plain``. The legend gives fitted exponents
    with their 95 % intervals where there are enough dimensions and seeds.
    """
    figure = Figure(figsize=(3.3 * len(panels) + 0.4, 4.2), layout="constrained")
    alike = len({title in plain for title in panels}) == 1
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=alike)[0]
    for axis, (title, results) in zip(axes, panels.items(), strict=True):
        for name in names:
            _curve(axis, results, name, title not in plain)
        if axis is axes[0] or not alike:
            axis.set_ylabel(ylabel if title in plain else f"(d/n) × {ylabel}")
        axis.set_title(title, fontsize=9)
        axis.set_xscale("log")
        logarithmic(axis)
        axis.set_xlabel("d")
        ticks = sorted({cell.d for cell in results})
        axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
        axis.xaxis.set_minor_locator(NullLocator())
        (low, high), numbers = axis.get_ylim(), FuncFormatter(lambda value, position: f"{value:g}")
        axis.yaxis.set_major_formatter(numbers)
        axis.yaxis.set_minor_formatter(numbers if high < 10 * low else NullFormatter())
        axis.tick_params(axis="y", which="both", labelsize=8)
        axis.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def _curve(axis, results: dict, name: str, scaled: bool) -> None:
    colour, marker, line, label = STYLES[name]
    d, y = sizes(results, name, scaled)
    places = np.unique(d)
    least, medians, most = (at_distinct(summary, d, y) for summary in (np.min, np.median, np.max))
    if (law := law_of(results, name, scaled)) is not None:
        label += f": {law.exponent:+.2f} [{law.lower:+.2f}, {law.upper:+.2f}]"
    axis.fill_between(places, least, most, color=colour, alpha=0.15, linewidth=0)
    filled = {"markerfacecolor": colour if line == "-" else "white"}
    axis.plot(places, medians, line, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label, **filled)


def budget(panels: dict[str, dict]) -> Figure:
    """F, D and R measured (markers) and predicted (thin dashes of the same colour), times d/n."""
    figure = scaling(panels, PARTS, ylabel="spectral norm")
    for axis, results in zip(figure.axes, panels.values(), strict=True):
        d = np.array([cell.d for cell in results], dtype=float)
        per = d / np.array([cell.n for cell in results], dtype=float)
        for name in PARTS:
            y = per * shown([numbers[f"{name} predicted"] for numbers in results.values()])
            axis.plot(np.unique(d), at_distinct(np.median, d, y), "--", color=STYLES[name][0], linewidth=0.8)
    return figure
