"""Measure the cells of a grid that are not in the file yet."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ntkspec import progress
from ntkspec.cluster import execution
from ntkspec.cluster.execution import HERE, Place
from ntkspec.experiments.sweep_cells import Cell, check_cell, measure_cell
from ntkspec.experiments.sweep_forecast import sweep_forecast
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.objects.words import counted
from ntkspec.storage.sweeps import open_sweep, read_sweep


def run_sweep(
    grid: Grid, path: str | Path, *, place: Place = HERE, report: Callable[[str], None] = lambda text: None
) -> Sweep:
    """{cell: {name: number}} of the whole grid; what the file holds is not measured again.

    path : an HDF5 file, which grows cell by cell and survives a kill at any moment; this process alone writes it.
    place : here, on local processes or on a Dask cluster. Cells that cannot run there are refused before the first one
    starts; where none is missing, no GPU is needed.
    """
    path, cells = Path(path), grid.cells()
    there = read_sweep(path, Cell) if path.exists() else {}
    _check([cell for cell in cells if cell not in there], grid.engine, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_sweep(path, Cell) as file:
        file.note(asdict(grid))
        missing = [cell for cell in cells if cell not in file.results]
        report(f"{len(cells) - len(missing)} of {counted(len(cells), 'cell')} are there, {len(missing)} to measure")
        if missing and (line := _forecast(missing, place)):
            report(f"forecast: {line}")
        with progress.bar(total=len(missing), text="cells") as bar:
            for cell, numbers in execution.results(measure_cell, missing, place):
                file.add(cell, numbers)
                bar.update(1)
        return Sweep({cell: file.results[cell] for cell in cells}, [grid])


def _check(cells: list[Cell], engine: str, place: Place) -> None:
    """Refuse cells that cannot run at the place."""
    memory = execution.least_memory(place, engine) if cells else 0.0
    for cell in cells:
        check_cell(cell, memory)


def _forecast(cells: list[Cell], place: Place) -> str:
    """What the cells take; of a cluster nothing is known here but one machine like this one, where they fit."""
    if place.scheduler is None:
        return str(sweep_forecast(cells, place))
    try:
        memory = execution.least_memory(HERE, cells[0].engine)
        for cell in cells:
            check_cell(cell, memory)
    except ValueError:
        return ""
    return f"{sweep_forecast(cells, HERE)} on one machine like this one"
