"""Measure the cells of a grid that are not in the file yet."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ntkspec import progress
from ntkspec.cluster import execution
from ntkspec.cluster.execution import HERE, Place
from ntkspec.experiments.sweep_cells import Cell, bytes_of, check_cell, measure_cell, work_of
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_results import Sweep, columns_of_laws
from ntkspec.objects.words import counted
from ntkspec.storage.provenance import provenance
from ntkspec.storage.sweeps import open_sweep, read_sweep

# Seconds of cells by which the others are forecast, and those from which on a forecast is told.
TRIAL, LONG = 2.0, 10.0


def run_sweep(
    grid: Grid,
    path: str | Path,
    *,
    place: Place = HERE,
    command: str = "",
    report: Callable[[str], None] = lambda text: None,
) -> Sweep:
    """{cell: {name: number}} of the whole grid; what the file holds is not measured again.

    path : an HDF5 file, which grows cell by cell and survives a kill at any moment; this process alone writes it.
    place : here, on local processes or on a Dask cluster. Cells that cannot run there are refused before the first one
    starts; where none is missing, no GPU is needed. command : the line that was called, which the file keeps.
    """
    path, cells = Path(path), grid.cells()
    there = read_sweep(path, Cell) if path.exists() else {}
    _check([cell for cell in cells if cell not in there], grid.engine, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_sweep(path, Cell) as file:
        file.note(asdict(grid))
        missing = [cell for cell in cells if cell not in file.results]
        report(f"{len(cells) - len(missing)} of {counted(len(cells), 'cell')} are there, {len(missing)} to measure")
        forecast, made_with = _Forecast(missing, report), provenance(command) | {"engine": grid.engine}
        with progress.bar(total=len(missing), text="cells") as bar:
            for cell, numbers in execution.results(measure_cell, missing, place):
                file.add(cell, numbers, made_with)
                bar.update(1)
                forecast.done(cell)
        whole = Sweep.stored(file.stored, path)
        file.complete(columns_of_laws(whole))
        return Sweep({cell: file.results[cell] for cell in cells}, [grid], whole.made_with)


def _check(cells: list[Cell], engine: str, place: Place) -> None:
    """Refuse cells that cannot run at the place."""
    memory = execution.least_memory(place, engine) if cells else 0.0
    for cell in cells:
        check_cell(cell, memory)


class _Forecast:
    """Says once, by the first cells, which are the small ones, how long the others take and what the largest keeps.

    Their time grows with their work or slower, so that the forecast is too long rather than too short.
    """

    def __init__(self, cells: list[Cell], report: Callable[[str], None]):
        self.cells, self.report = cells, report
        self.left, self.begun = sum(map(work_of, cells)), time.perf_counter()
        self.all, self.told = self.left, False

    def done(self, cell: Cell) -> None:
        """Count a cell that was measured."""
        self.left -= work_of(cell)
        seconds = time.perf_counter() - self.begun
        if self.told or seconds < TRIAL:
            return
        self.told = True
        rest = seconds * self.left / (self.all - self.left)
        if rest >= LONG:
            largest = max(map(bytes_of, self.cells)) / 1e9
            self.report(f"forecast: at most about {rest:.0f} s more, and {largest:.2g} GB for the largest cell")
