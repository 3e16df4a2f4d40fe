"""The results of a sweep in one HDF5 file that grows cell by cell and is whole at every moment."""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from ntkspec.storage.hdf5 import blamed_on
from ntkspec.storage.places import locked
from ntkspec.storage.trees import Keeper, read

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Cell = TypeVar("Cell", bound="DataclassInstance")  # hashable: a frozen dataclass of words and numbers
Numbers: TypeAlias = dict[str, float]
_KIND = "sweep"
_DTYPES = {str: "S", int: "iu", float: "f"}


class SweepFile(Generic[Cell]):
    """Cells and their numbers. ``results`` maps each cell that is there to its numbers by name.

    ``settings`` are the grids that asked for cells, dictionaries of words and numbers.

    The file is replaced as a whole after each cell: a kill or a power cut costs that cell at most. Where the disk is
    full, the results stay in memory, with a warning, until there is room again.
    """

    def __init__(self, path: Path, cell_type: type[Cell]):
        self._file, self._cell_type = Keeper(path, _KIND), cell_type
        self.results: dict[Cell, Numbers] = read_sweep(path, cell_type) if path.exists() else {}
        self.settings: list[dict[str, Any]] = read_settings(path) if path.exists() else []

    def add(self, cell: Cell, numbers: Numbers) -> None:
        """Keep the numbers of a cell, on disk."""
        self.results[cell] = numbers
        self._write()

    def note(self, setting: dict[str, Any]) -> None:
        """Keep a grid, on disk from the first cell on."""
        setting = json.loads(json.dumps(setting))
        if setting not in self.settings:
            self.settings.append(setting)
            if self.results:
                self._write()

    def _write(self) -> None:
        self._file.write(columns_of(self.results, self._cell_type) | {"settings": json.dumps(self.settings)})


@contextlib.contextmanager
def open_sweep(path: str | Path, cell_type: type[Cell]) -> Iterator[SweepFile[Cell]]:
    """The file of a sweep for one process at a time.

    Raises ValueError where another process has it, where it is damaged or not a sweep, or where its cells have other
    fields than those of this version; FileNotFoundError where the folder does not exist.
    """
    path = Path(path)
    with locked(path):
        yield SweepFile(path, cell_type)


def read_sweep(path: str | Path, cell_type: type[Cell]) -> dict[Cell, Numbers]:
    """{cell: {name: number}} from a file that :func:`open_sweep` made.

    A field that the file does not have is at its default: what it chooses did not vary when the file was made.
    """
    return results_of(path, read(path, kind=_KIND), cell_type)


def results_of(path: str | Path, tree: dict[str, Any], cell_type: type[Cell]) -> dict[Cell, Numbers]:
    """The same from what :func:`columns_of` made, which the file holds."""
    with blamed_on(path):
        cells, names = _cells(path, tree["cells"], cell_type), tree["numbers"]
        numbers = {name: _values(column, len(cells), float) for name, column in names.items()}
    return {
        cell: {name: column[k] for name, column in numbers.items() if not math.isnan(column[k])}
        for k, cell in enumerate(cells)
    }


def read_settings(path: str | Path) -> list[dict[str, Any]]:
    """The grids that asked for cells of a file; none in older ones."""
    tree = read(path, kind=_KIND)
    with blamed_on(path):
        found = json.loads(tree.get("settings", "[]"))
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError("the settings are no list of dictionaries")
        return found


def _cells(path: str | Path, found: dict[str, np.ndarray], cell_type: type[Cell]) -> list[Cell]:
    own = {field.name: field for field in fields(cell_type)}
    needed = {name for name, field in own.items() if field.default is MISSING}
    if not needed <= found.keys() <= own.keys():
        raise ValueError(
            f"{path} holds cells with the fields {', '.join(found)}, but this version has {', '.join(own)}; "
            f"name another file"
        )
    n = len(next(iter(found.values())))
    columns = [_values(column, n, own[name].type) for name, column in found.items()]
    return [cell_type(**dict(zip(found, values, strict=True))) for values in zip(*columns, strict=True)]


def columns_of(results: dict[Cell, Numbers], cell_type: type[Cell]) -> dict[str, dict[str, np.ndarray]]:
    """Cells and their numbers as columns, which a file keeps."""
    names = sorted({name for numbers in results.values() for name in numbers})
    cells = {field.name: _column([getattr(cell, field.name) for cell in results]) for field in fields(cell_type)}
    numbers = {name: np.array([own.get(name, np.nan) for own in results.values()]) for name in names}
    return {"cells": cells, "numbers": numbers}


def _column(values: list) -> np.ndarray:
    return np.array(values, dtype="S") if isinstance(values[0], str) else np.array(values)


def _values(column: np.ndarray, n: int, kind: Any) -> list:
    """The n entries of a column as Python's own numbers or words."""
    if np.shape(column) != (n,) or column.dtype.kind not in _DTYPES.get(kind, "fiuS"):
        raise ValueError(f"a column is no array of {n} entries of {kind}")
    return [value.decode() if isinstance(value, bytes) else value for value in column.tolist()]
