"""The cells of a sweep in panels, series over d or the width that figures, pages and tables have alike."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec.experiments.power_laws import PowerLaw, fit_power_law
from ntkspec.experiments.sweep_cells import is_drift
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_series import SYMBOLS, Results, kind_of, series, size_of
from ntkspec.networks.size_laws import INFINITE_LAW, WHOLE, points_of
from ntkspec.networks.specification import NetworkSpec
from ntkspec.objects.lazy import cached_property
from ntkspec.theory.budget import PARTS


@dataclass(frozen=True)
class Panel:
    """Cells of one quantity along one law of their sizes in d, or at one d along their widths.

    names : of the numbers that are shown. scaled : whether they are multiplied by d/n.
    """

    results: Results
    names: tuple[str, ...]
    scaled: bool = False

    @property
    def size(self) -> str:
        """Along which size of the cells the series goes, "d" or "width"."""
        return size_of(self.results)

    @property
    def symbol(self) -> str:
        """What that size is called, d or m."""
        return SYMBOLS[self.size]

    def sizes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The size and the named number of each cell, times d/n if ``scaled``; NaN where there is none."""
        x, d, n = (np.array([getattr(cell, size) for cell in self.results], float) for size in (self.size, "d", "n"))
        y = np.array([numbers.get(name, np.nan) for numbers in self.results.values()], dtype=float)
        return x, y * (d / n) if self.scaled else y

    @cached_property
    def laws(self) -> dict[str, PowerLaw]:
        """The power laws of the numbers that have three sizes, two seeds and values above 0."""
        seeds = np.array([cell.seed for cell in self.results])
        found = {}
        for name in self.names:
            x, y = self.sizes(name)
            if len(np.unique(x)) >= 3 and len(np.unique(seeds)) >= 2 and (np.isfinite(y) & (y > 0)).all():
                found[name] = fit_power_law(x, y, seeds, of=self.symbol)
        return found


Panels = dict[str, Panel]


def panels_of(results: Results, grids: Sequence[Grid]) -> dict[str, Panels]:
    """{quantity: {title: panel}}, in the order of the grids that asked for them.

    Cells that no grid asked for, such as all of a file that does not know its grids, stand in the series that their
    sizes tell.
    """
    names = [name for grid in grids for name in grid.quantity if any(cell.quantity == name for cell in results)]
    quantities = dict.fromkeys([*names, *(cell.quantity for cell in results)])
    return {name: _of_quantity(results, name, [grid for grid in grids if name in grid.quantity]) for name in quantities}


def _of_quantity(results: Results, quantity: str, grids: Sequence[Grid]) -> Panels:
    shown, scaled = measured_of(quantity)
    own = {cell: numbers for cell, numbers in results.items() if cell.quantity == quantity}
    titled: dict[str, Results] = {}
    plain = set()
    for grid in grids:
        fixed = len(grids) > 1 and all(WHOLE.fullmatch(n) for n in grid.n)
        for title, cells in _of_grid(own, grid, sizes=len(grids) > 1).items():
            titled.setdefault(title, {}).update(cells)
            plain |= {title} if fixed else set()
    asked = {cell for cells in titled.values() for cell in cells}
    for title, cells in series({cell: numbers for cell, numbers in own.items() if cell not in asked}).items():
        titled.setdefault(title, {}).update(cells)
    return {title: Panel(cells, shown, scaled and title not in plain) for title, cells in titled.items()}


def measured_of(quantity: str) -> tuple[tuple[str, ...], bool]:
    """The names of a quantity's numbers that are shown, and whether they are multiplied by d/n along a law of n."""
    if quantity.startswith("budget"):
        return PARTS, True
    if quantity.startswith("training"):
        return ("train", "test"), False
    if is_drift(quantity):
        return ("drift", "distance", "movement"), False
    if quantity == "data":
        return ("norms", "overlaps", "gram"), False
    return ("gap", "frobenius", "hollow", "hollow frobenius"), True


def _of_grid(results: Results, grid: Grid, *, sizes: bool) -> dict[str, Results]:
    """A panel for each activation, distribution, covariance, parameterization, network and law of its sizes.

    sizes : the title names the laws also where there is only one of each.
    """
    asked, lines = set(grid.cells()), _lines(grid)
    found: dict[str, Results] = {}
    several = sizes or len(grid.n) > 1 or len(lines) > 1
    for n, networks, parameterization in itertools.product(grid.n, lines, grid.parameterization):
        law = [_label(networks)] if several or networks[0].deep else []
        law = [f"n = {n}", *law] if several else law
        for cell, numbers in results.items():
            here = [(one.of_any_width.name, one.width_at(cell.d)) for one in networks]
            own = cell.n == points_of(n, cell.d) and cell.parameterization == parameterization
            if cell in asked and own and (cell.network, cell.width) in here:
                found.setdefault(", ".join([*kind_of(cell), *filter(None, law)]), {})[cell] = numbers
    return found


def _lines(grid: Grid) -> list[list[NetworkSpec]]:
    """The networks of each series: one law of the width, and at one d all finite widths of a kind."""
    found: dict[str, list[NetworkSpec]] = {}
    for network in grid.networks():
        along = len(grid.d) == 1 and network.width != INFINITE_LAW
        found.setdefault(network.of_any_width.name if along else network.label, []).append(network)
    return list(found.values())


def _label(networks: Sequence[NetworkSpec]) -> str:
    """What titles say of them beside n; nothing of two layers along their widths."""
    if len(networks) == 1:
        return networks[0].label
    return networks[0].of_any_width.name if networks[0].deep else ""
