"""Measure the cells of a grid that are not in the file yet."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ntkspec import progress
from ntkspec.cluster import execution
from ntkspec.cluster.execution import HERE, Place
from ntkspec.experiments.sweep_cells import Cell, measure_cell
from ntkspec.experiments.sweep_forecast import sweep_forecast
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_limits import check_cell
from ntkspec.experiments.sweep_results import Sweep, columns_of_laws
from ntkspec.experiments.sweep_series import Results
from ntkspec.objects.words import counted
from ntkspec.storage.provenance import provenance
from ntkspec.storage.sweeps import open_sweep, read_sweep


def run_sweep(
    grid: Grid | Sequence[Grid],
    path: str | Path,
    *,
    place: Place = HERE,
    command: str = "",
    report: Callable[[str], None] = lambda text: None,
) -> Sweep:
    """{cell: {name: number}} of a grid, or of several on one engine; what the file holds is not measured again.

    path : an HDF5 file, which grows cell by cell and survives a kill at any moment; this process alone writes it.
    place : here, on local processes or on a Dask cluster. Cells that cannot run there are refused before the first one
    starts; where none is missing, no GPU is needed. command : the line that was called, which the file keeps. report :
    is told what is there, and a forecast of the rest.
    """
    path, grids = Path(path), [grid] if isinstance(grid, Grid) else list(grid)
    cells = list(dict.fromkeys(cell for one in grids for cell in one.cells()))
    there, engine = read_sweep(path, Cell) if path.exists() else {}, grids[0].engine
    _check([cell for cell in cells if cell not in there], engine, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_sweep(path, Cell) as file:
        known = Sweep.stored(file.stored, path).grids
        for one in grids:
            if one not in known:  # also where an older version, which had fewer fields, asked for it
                file.note(asdict(one))
        missing = [cell for cell in cells if cell not in file.results]
        report(f"{len(cells) - len(missing)} of {counted(len(cells), 'cell')} are there, {len(missing)} to measure")
        if missing and (line := _forecast(missing, place)):
            report(f"forecast: {line}")
        made_with = provenance(command) | {"engine": engine}
        with progress.bar(total=len(missing), text="cells") as bar:
            for cell, numbers in execution.results(measure_cell, missing, place):
                file.add(cell, numbers, made_with)
                bar.update(1)
        whole = Sweep.stored(file.stored, path)
        file.complete(columns_of_laws(whole))
        return Sweep({cell: file.results[cell] for cell in cells}, grids, whole.made_with)


def measured_again(cells: Sequence[Cell], *, report: Callable[[str], None] = lambda text: None) -> Results:
    """The numbers of cells, measured here once more and kept in no file."""
    _check(list(cells), cells[0].engine, HERE)
    report(f"forecast: {_forecast(list(cells), HERE)}")
    found = {}
    with progress.bar(total=len(cells), text="cells") as bar:
        for cell, numbers in execution.results(measure_cell, cells, HERE):
            found[cell] = numbers
            bar.update(1)
    return found


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
