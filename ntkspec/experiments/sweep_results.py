"""The numbers of a sweep: cells, what was measured in each, and the grids that asked for them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.spectra.showing import few
from ntkspec.storage import blamed_on
from ntkspec.storage.sweeps import read_settings, read_sweep


class Sweep(Shown, Columned, Drawn, dict[Cell, dict[str, float]]):
    """{cell: {name: number}}, and the grids by which it was measured (none in older files)."""

    def __init__(self, results: Mapping[Cell, dict[str, float]], grids: Iterable[Grid] = ()):
        super().__init__(results)
        self.grids = tuple(grids)

    @classmethod
    def read(cls, path: str | Path) -> "Sweep":
        """What a file of ``ntkspec sweep``, ``check``, ``figure 5`` or ``figure budget`` holds.

        Raises FileNotFoundError, or ValueError for a file that is damaged or no sweep.
        """
        results, settings = read_sweep(path, Cell), read_settings(path)
        with blamed_on(path):
            return cls(results, [grid_of_words(words) for words in settings])

    def of(self, quantity: str) -> "Sweep":
        """The cells of one quantity."""
        return Sweep({cell: own for cell, own in self.items() if cell.quantity == quantity}, self.grids)

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
