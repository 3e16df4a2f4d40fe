"""The figures of sweeps: which cells stand in which panel."""

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkspec.experiments.power_laws import PowerLaw
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.networks.size_laws import WHOLE, points_of
from ntkspec.plotting import scaling
from ntkspec.plotting.labels import GAP_NORM
from ntkspec.theory.budget import PARTS

Panels = dict[str, dict[Cell, dict[str, float]]]


def panels_of(results: dict[Cell, dict[str, float]], settings: Grid, *, sizes: bool = False) -> Panels:
    """{title: {cell: numbers}}: a panel for each activation, distribution, covariance, network and law of its sizes.

    sizes : the title names the laws also where there is only one of each.
    """
    panels: Panels = {}
    several = sizes or len(settings.n) > 1 or len(settings.networks()) > 1
    for n, network in itertools.product(settings.n, settings.networks()):
        law = [f"n = {n}, {network.label}"] if several else [network.label] if network.deep else []
        for cell, numbers in results.items():
            sizes_here = points_of(n, cell.d), network.of_any_width.name, network.width_at(cell.d)
            if (cell.n, cell.network, cell.width) == sizes_here:
                panels.setdefault(", ".join([cell.activation, *_unusual(cell), *law]), {})[cell] = numbers
    return panels


def _unusual(cell: Cell) -> list[str]:
    usual = (("distribution", "gaussian"), ("covariance", "identity"))
    return [getattr(cell, name) for name, value in usual if getattr(cell, name) != value]


def figures(sweep: Sweep) -> dict[str, Figure]:
    """A figure for each quantity that the grids of a sweep asked for.

    Where several grids asked, as for Figure 5, their panels stand side by side, and those of a fixed n show the norms
    themselves; budgets of several grids are one figure. Raises ValueError for a file of an older version, which does
    not say what was asked for.
    """
    if not sweep.grids:
        raise ValueError("the file does not say which grids its cells belong to; the command that made it adds that")
    names = list(dict.fromkeys(name for grid in sweep.grids for name in grid.quantity))
    if len(sweep.grids) > 1 and all(name.startswith("budget") for name in names):
        budgets = {f"{title}, {name.removeprefix('budget-')} layer": own for name in names
                   for title, own in panels(sweep, name).items()}  # fmt: skip
        return {"budget": figure_of("budget", budgets)}
    return {name: figure_of(name, panels(sweep, name), plain=_plain(sweep, name)) for name in names}


def laws(sweep: Sweep) -> dict[str, dict[str, dict[str, PowerLaw]]]:
    """{quantity: {panel: {name: law}}}: the powers of d in the legends of the figures, with their 95 % intervals.

    Names without enough dimensions and seeds, or with numbers that are not positive, have none.
    """
    found: dict[str, dict[str, dict[str, PowerLaw]]] = {}
    for quantity in dict.fromkeys(name for grid in sweep.grids for name in grid.quantity):
        how, plain = drawing_of(quantity), _plain(sweep, quantity)
        for title, own in panels(sweep, quantity).items():
            fits = {name: scaling.law_of(own, name, scaled=how.scaled and title not in plain) for name in how.names}
            found.setdefault(quantity, {})[title] = {name: law for name, law in fits.items() if law is not None}
    return found


def panels(sweep: Sweep, quantity: str) -> Panels:
    """The panels of one quantity, in the order of the grids that asked for it."""
    grids = [grid for grid in sweep.grids if quantity in grid.quantity]
    return {title: own for grid in grids for title, own in _asked(sweep, quantity, grid, len(grids) > 1).items()}


def _asked(sweep: Sweep, quantity: str, grid: Grid, sizes: bool) -> Panels:
    cells = {cell: sweep[cell] for cell in grid.cells() if cell.quantity == quantity and cell in sweep}
    return panels_of(cells, grid, sizes=sizes)


def _plain(sweep: Sweep, quantity: str) -> set[str]:
    """The panels of a fixed n beside those along a law."""
    grids = [grid for grid in sweep.grids if quantity in grid.quantity]
    fixed = [grid for grid in grids if len(grids) > 1 and all(WHOLE.fullmatch(n) for n in grid.n)]
    return {title for grid in fixed for title in _asked(sweep, quantity, grid, True)}


@dataclass(frozen=True)
class Drawing:
    """What is drawn of a quantity: names of its numbers, what they are, and whether they are multiplied by d/n."""

    names: tuple[str, ...]
    ylabel: str
    scaled: bool = False


def drawing_of(quantity: str) -> Drawing:
    """What is drawn of the cells of a quantity."""
    if quantity.startswith("budget"):
        return Drawing(PARTS, "spectral norm of the part", scaled=True)
    if quantity.startswith("training"):
        return Drawing(("train", "test"), "largest discrepancy up to $T$")
    if quantity == "data":
        return Drawing(("norms", "overlaps", "gram"), "ratio of Claim 3.1")
    return Drawing(("gap", "frobenius", "hollow", "hollow frobenius"), GAP_NORM, scaled=True)


def figure_of(quantity: str, panels: Panels, *, plain: Collection[str] = ()) -> Figure:
    """The figure of a quantity. plain : panels whose norms are not multiplied by d/n."""
    if quantity.startswith("budget"):
        return scaling.budget(panels)
    how = drawing_of(quantity)
    return scaling.scaling(panels, how.names, plain=plain if how.scaled else panels, ylabel=how.ylabel)


def pictures(sweep: Sweep) -> dict[str, Callable[[Axes], None]]:
    """Each panel of each quantity, "gap-first: erf"."""
    names = dict.fromkeys(name for grid in sweep.grids for name in grid.quantity)
    return {
        f"{name}: {title}": partial(_panel, results=own, quantity=name, scaled=title not in _plain(sweep, name))
        for name in names
        for title, own in panels(sweep, name).items()
    }


def _panel(axis: Axes, results: dict[Cell, dict[str, float]], quantity: str, scaled: bool) -> None:
    how = drawing_of(quantity)
    scaling.panel(axis, results, how.names, scaled=how.scaled and scaled, ylabel=how.ylabel)
