"""The results of a sweep in one HDF5 file that grows cell by cell and is whole at every moment."""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from ntkspec.storage.hdf5 import blamed_on
from ntkspec.storage.places import locked
from ntkspec.storage.provenance import count
from ntkspec.storage.trees import Keeper, read

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Cell = TypeVar("Cell", bound="DataclassInstance")  # hashable: a frozen dataclass of words and numbers
Numbers: TypeAlias = dict[str, float]
_KIND = "sweep"
_DTYPES = {str: "S", int: "iu", float: "f"}


@dataclass
class Stored(Generic[Cell]):
    """What the file of a sweep holds.

    results : cells, and their numbers by name. settings : the grids that asked for cells, dictionaries of words and
    numbers. made : the commands that measured cells, with versions and machine, and how many cells each. laws : columns
    of one length, the exponents of a sweep that is complete.
    """

    results: dict[Cell, Numbers]
    settings: list[dict[str, Any]] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)
    laws: dict[str, list] = field(default_factory=dict)

    def tree(self, cell_type: type[Cell]) -> dict[str, Any]:
        """As files keep it."""
        laws = {"laws": {name: _column(values) for name, values in self.laws.items()}} if self.laws else {}
        made = {"provenance": self.made} if self.made else {}
        return columns_of(self.results, cell_type) | {"settings": json.dumps(self.settings)} | laws | made


class SweepFile(Generic[Cell]):
    """The file of a sweep, and what it holds.

    The file is replaced as a whole after each cell: a kill or a power cut costs that cell at most. Where the disk is
    full, the results stay in memory, with a warning, until there is room again.
    """

    def __init__(self, path: Path, cell_type: type[Cell]):
        self._file, self._cell_type = Keeper(path, _KIND), cell_type
        self.stored: Stored[Cell] = read_stored(path, cell_type) if path.exists() else Stored({})

    @property
    def results(self) -> dict[Cell, Numbers]:
        """Each cell that is there, and its numbers."""
        return self.stored.results

    def note(self, setting: dict[str, Any]) -> None:
        """Keep a grid, on disk from the first cell on."""
        setting = json.loads(json.dumps(setting))
        if setting not in self.stored.settings:
            self.stored.settings.append(setting)
            if self.results:
                self._write()

    def add(self, cell: Cell, numbers: Numbers, made_with: dict[str, Any] | None = None) -> None:
        """Keep the numbers of a cell, on disk. made_with : the command that measured it, versions and machine."""
        self.results[cell] = numbers
        self.stored.laws = {}
        if made_with is not None:
            count(self.stored.made, made_with)
        self._write()

    def complete(self, laws: dict[str, list]) -> None:
        """Keep the exponents of all that is there, on disk."""
        if laws != self.stored.laws:
            self.stored.laws = laws
            self._write()

    def _write(self) -> None:
        self._file.write(self.stored.tree(self._cell_type))


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
    return read_stored(path, cell_type).results


def read_stored(path: str | Path, cell_type: type[Cell]) -> Stored[Cell]:
    """All that the file holds; no grids, laws and commands in older ones."""
    return stored_of(path, read(path, kind=_KIND), cell_type)


def stored_of(path: str | Path, tree: dict[str, Any], cell_type: type[Cell]) -> Stored[Cell]:
    """The same from a tree with the entries of :meth:`Stored.tree`, which the file holds."""
    with blamed_on(path):
        cells, names = _cells(path, tree["cells"], cell_type), tree["numbers"]
        numbers = {name: _values(column, len(cells), float) for name, column in names.items()}
        settings, made = json.loads(tree.get("settings", "[]")), tree.get("provenance", [])
        for name, found in (("settings", settings), ("provenance", made)):
            if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
                raise ValueError(f"the {name} are no list of dictionaries")
        laws = {name: _listed(column) for name, column in tree.get("laws", {}).items()}
    results = {
        cell: {name: column[k] for name, column in numbers.items() if not math.isnan(column[k])}
        for k, cell in enumerate(cells)
    }
    return Stored(results, settings, made, laws)


def _cells(path: str | Path, found: dict[str, np.ndarray], cell_type: type[Cell]) -> list[Cell]:
    own = {one.name: one for one in fields(cell_type)}
    needed = {name for name, one in own.items() if one.default is MISSING}
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
    cells = {one.name: _column([getattr(cell, one.name) for cell in results]) for one in fields(cell_type)}
    numbers = {name: np.array([own.get(name, np.nan) for own in results.values()]) for name in names}
    return {"cells": cells, "numbers": numbers}


def _column(values: list) -> np.ndarray:
    return np.array([value.encode() for value in values]) if isinstance(values[0], str) else np.array(values)


def _values(column: np.ndarray, n: int, kind: Any) -> list:
    """The n entries of a column as Python's own numbers or words."""
    if np.shape(column) != (n,) or column.dtype.kind not in _DTYPES.get(kind, "fiuS"):
        raise ValueError(f"a column is no array of {n} entries of {kind}")
    return _listed(column)


def _listed(column: np.ndarray) -> list:
    return [value.decode() if isinstance(value, bytes) else value for value in column.tolist()]
