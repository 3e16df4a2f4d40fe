"""The results of a sweep in one HDF5 file that grows cell by cell and is whole at every moment."""

import contextlib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np

from ntkspec.storage.places import locked
from ntkspec.storage.trees import read, write

_KIND = "sweep"


class SweepFile:
    """Cells and their numbers. ``results`` maps each cell that is there to its numbers by name.

    The file is replaced as a whole after each cell: a kill, a power cut or a full disk costs that cell at most.
    """

    def __init__(self, path: Path, cell_type: type):
        self.path, self.cell_type = path, cell_type
        self.results: dict = read_sweep(path, cell_type) if path.exists() else {}

    def add(self, cell, numbers: dict[str, float]) -> None:
        """Keep the numbers of a cell, on disk."""
        self.results[cell] = numbers
        write(self.path, _columns(self.results, self.cell_type), kind=_KIND)


@contextlib.contextmanager
def open_sweep(path, cell_type: type) -> Iterator[SweepFile]:
    """The file of a sweep for one process at a time.

    Raises ValueError where another process has it, where it is damaged or not a sweep, or where its cells have other
    fields than those of this version; FileNotFoundError where the folder does not exist.
    """
    path = Path(path)
    with locked(path):
        yield SweepFile(path, cell_type)


def read_sweep(path, cell_type: type) -> dict:
    """{cell: {name: number}} from a file that :func:`open_sweep` made.

    A field that the file does not have is at its default: what it chooses did not vary when the file was made.
    """
    tree = read(path, kind=_KIND)
    own, found = fields(cell_type), tree["cells"]
    needed = {field.name for field in own if field.default is MISSING}
    if not needed <= found.keys() <= {field.name for field in own}:
        raise ValueError(
            f"{path} holds cells with the fields {', '.join(found)}, but this version has "
            f"{', '.join(field.name for field in own)}; name another file"
        )
    columns = [_values(column) for column in found.values()]
    cells = [cell_type(**dict(zip(found, values, strict=True))) for values in zip(*columns, strict=True)]
    names = tree["numbers"]
    return {
        cell: {name: float(column[k]) for name, column in names.items() if not np.isnan(column[k])}
        for k, cell in enumerate(cells)
    }


def _columns(results: dict, cell_type: type) -> dict:
    names = sorted({name for numbers in results.values() for name in numbers})
    cells = {field.name: _column([getattr(cell, field.name) for cell in results]) for field in fields(cell_type)}
    numbers = {name: np.array([own.get(name, np.nan) for own in results.values()]) for name in names}
    return {"cells": cells, "numbers": numbers}


def _column(values: list):
    return np.array(values, dtype="S") if isinstance(values[0], str) else np.array(values)


def _values(column) -> list:
    return [value.decode() if isinstance(value, bytes) else value for value in column.tolist()]
