"""The numbers of a sweep: cells, what was measured in each, and the grids that asked for them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ntkspec.experiments.power_laws import PowerLaw
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_panels import Panels, panels_of
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.spectra.showing import few
from ntkspec.storage import blamed_on
from ntkspec.storage.sweeps import Stored, read_stored


class Sweep(Shown, Columned, Drawn, dict[Cell, dict[str, float]]):
    """{cell: {name: number}}, and the grids by which it was measured (none in older files).

    made_with : the commands that measured it, where its file says so, with versions, machine and number of cells.
    """

    def __init__(
        self,
        results: Mapping[Cell, dict[str, float]],
        grids: Iterable[Grid] = (),
        made_with: Iterable[dict[str, Any]] = (),
    ):
        super().__init__(results)
        self.grids, self.made_with = tuple(grids), tuple(made_with)

    @classmethod
    def read(cls, path: str | Path) -> "Sweep":
        """What a file of ``ntkspec sweep``, ``check``, ``figure 5`` or ``figure budget`` holds.

        Raises FileNotFoundError, or ValueError for a file that is damaged or no sweep.
        """
        return cls.stored(read_stored(path, Cell), path)

    @classmethod
    def stored(cls, found: Stored[Cell], path: str | Path) -> "Sweep":
        """The same from what the file at ``path`` holds."""
        with blamed_on(path):
            return cls(found.results, [grid_of_words(words) for words in found.settings], found.made)

    def of(self, quantity: str) -> "Sweep":
        """The cells of one quantity."""
        own = {cell: numbers for cell, numbers in self.items() if cell.quantity == quantity}
        return Sweep(own, self.grids, self.made_with)

    @property
    def panels(self) -> dict[str, Panels]:
        """{quantity: {title: panel}}, the series over d or the width that figures, pages and tables show."""
        return panels_of(self, self.grids)

    @property
    def laws(self) -> dict[str, dict[str, dict[str, PowerLaw]]]:
        """{quantity: {title of the panel: {name: law}}}: the powers of d or the width in the legends of figures.

        With their 95 % intervals. Names without three sizes and two seeds, or with numbers that are not positive, have
        none.
        """
        return {
            quantity: {title: panel.laws for title, panel in panels.items()} for quantity, panels in self.panels.items()
        }

    def __repr__(self) -> str:
        return str(self._shown())

    def _shown(self) -> Table:
        d, n, seeds = (sorted({getattr(cell, name) for cell in self}) for name in ("d", "n", "seed"))
        names = sorted({name for numbers in self.values() for name in numbers})
        return Table(
            f"Sweep of {len(self):,} cells",
            [
                Row("quantities", ", ".join(sorted({cell.quantity for cell in self}))),
                Row("activations", ", ".join(sorted({cell.activation for cell in self}))),
                Row("d", few(d), "dimensions"),
                Row("n", few(n), "training points"),
                Row("seeds", str(len(seeds)), "of data and network"),
                Row("numbers", ", ".join(names), "in each cell; to_dataframe() has all"),
            ],
        )

    def _columns(self) -> dict[str, list[Any]]:
        names = sorted({name for numbers in self.values() for name in numbers})
        cells = [asdict(cell) for cell in self]
        fields = {name: [cell[name] for cell in cells] for name in (cells[0] if cells else ())}
        return fields | {name: [numbers.get(name) for numbers in self.values()] for name in names}


def grid_of_words(words: dict[str, Any]) -> Grid:
    """A grid of what a file says of it."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in words.items()}
    return Grid(**fields)


def columns_of_laws(sweep: Sweep) -> dict[str, list[Any]]:
    """The exponents of a sweep as columns, a row for each; nothing where none could be fitted."""
    rows = [
        {"quantity": quantity, "panel": title, "number": name, "scaled": panel.scaled}
        | {what: getattr(law, what) for what in ("exponent", "lower", "upper", "constant", "of")}
        for quantity, panels in sweep.panels.items()
        for title, panel in panels.items()
        for name, law in panel.laws.items()
    ]
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
