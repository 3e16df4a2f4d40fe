"""The cells of a sweep in panels, series over d that figures, pages and tables of exponents have alike."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec.experiments.power_laws import PowerLaw, fit_power_law
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_series import Results, kind_of, series
from ntkspec.networks.size_laws import WHOLE, points_of
from ntkspec.objects.lazy import cached_property
from ntkspec.theory.budget import PARTS


@dataclass(frozen=True)
class Panel:
    """Cells of one quantity along one law of their sizes.

    names : of the numbers that are shown. scaled : whether they are multiplied by d/n.
    """

    results: Results
    names: tuple[str, ...]
    scaled: bool = False

    def sizes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """d and the named number of each cell, times d/n if ``scaled``; NaN where there is none."""
        d, n = (np.array([getattr(cell, size) for cell in self.results], dtype=float) for size in ("d", "n"))
        y = np.array([numbers.get(name, np.nan) for numbers in self.results.values()], dtype=float)
        return d, y * (d / n) if self.scaled else y

    @cached_property
    def laws(self) -> dict[str, PowerLaw]:
        """The power laws in d of the numbers that have three d, two seeds and values above 0."""
        seeds = np.array([cell.seed for cell in self.results])
        found = {}
        for name in self.names:
            d, y = self.sizes(name)
            if len(np.unique(d)) >= 3 and len(np.unique(seeds)) >= 2 and (np.isfinite(y) & (y > 0)).all():
                found[name] = fit_power_law(d, y, seeds)
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
    if quantity == "data":
        return ("norms", "overlaps", "gram"), False
    return ("gap", "frobenius", "hollow", "hollow frobenius"), True


def _of_grid(results: Results, grid: Grid, *, sizes: bool) -> dict[str, Results]:
    """A panel for each activation, distribution, covariance, network and law of its sizes.

    sizes : the title names the laws also where there is only one of each.
    """
    asked = set(grid.cells())
    found: dict[str, Results] = {}
    several = sizes or len(grid.n) > 1 or len(grid.networks()) > 1
    for n, network in itertools.product(grid.n, grid.networks()):
        law = [f"n = {n}, {network.label}"] if several else [network.label] if network.deep else []
        for cell, numbers in results.items():
            here = points_of(n, cell.d), network.of_any_width.name, network.width_at(cell.d)
            if cell in asked and (cell.n, cell.network, cell.width) == here:
                found.setdefault(", ".join([*kind_of(cell), *law]), {})[cell] = numbers
    return found
