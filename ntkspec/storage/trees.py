"""Trees of dictionaries, dataclasses and arrays in HDF5 files that are either whole or not there."""

import dataclasses
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ntkspec.engines.arrays import ArrayElsewhere
from ntkspec.progress import written
from ntkspec.storage.hdf5 import begun, opened, require_words, unwritten, word_of
from ntkspec.storage.places import atomic_path
from ntkspec.storage.pouring import pour
from ntkspec.storage.sealed import seal

if TYPE_CHECKING:
    import h5py

_KINDS = "biufcS"  # dtypes of arrays that are written and read
_COMPRESSED = 4096  # arrays with at least this many entries are compressed
_DEEPEST = 100  # groups within groups
_DEFLATED = 1032  # bytes that one compressed byte stands for at most


def write(path: str | Path, tree: object, *, kind: str) -> None:
    """Write a tree atomically. Leaves: arrays, numbers, booleans, strings, None; inner nodes: dict, list, dataclass.

    ``kind`` names what the tree is, for :func:`read`. Arrays whose rows lie on workers come one part after the other.
    Raises OSError where the folder cannot be written to.
    """
    with atomic_path(path) as temporary:
        with begun(temporary, kind) as file:
            elsewhere: Elsewhere = []
            _write_node(file, "record", tree, elsewhere)
            file.flush()
            places = [(data.id.get_offset(), data.name.rpartition("/")[2]) for data, _ in elsewhere]
        for (offset, name), (_, array) in zip(places, elsewhere, strict=True):
            pour(array, temporary, offset, name)
        seal(temporary)


class Keeper:
    """Writes a tree that grows to one file, each time as a whole; where the disk refuses, the work goes on.

    One RuntimeWarning names the file and the reason, until a later write has kept all.
    """

    def __init__(self, path: str | Path, kind: str):
        self.path, self.kind, self._warned = Path(path).absolute(), kind, False  # wherever the work goes

    def write(self, tree: object) -> None:
        """Write the tree as it is now; a warning in place of an OSError."""
        try:
            write(self.path, tree, kind=self.kind)
            self._warned = False
        except OSError as error:
            written.note_behind(self.path.resolve())
            if not self._warned:
                self._warned = True
                said = f"{self.path} could not be written ({error.strerror or error}): the work goes on and is not kept"
                warnings.warn(said, RuntimeWarning, stacklevel=3)


def read(path: str | Path, *, kind: str, types: Iterable[type] = ()) -> Any:
    """The tree that :func:`write` wrote. ``types`` are the dataclasses that may occur in it.

    Raises FileNotFoundError, or ValueError for a file that is damaged, of another kind or of a newer format.
    """
    with opened(path, kind) as file:
        return _Reader(path, {stored_name(cls): cls for cls in types}).tree(file["record"])


# ------------------------------------------------------------------------------------------------------------- nodes
# Data sets without numbers yet, and the arrays that belong there.
Elsewhere: TypeAlias = "list[tuple[h5py.Dataset, ArrayElsewhere]]"


def _write_node(parent, name: str, value, elsewhere: Elsewhere) -> None:
    if isinstance(value, ArrayElsewhere) and not math.prod(value.shape):
        value = np.empty(value.shape, value.dtype)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        _write_group(parent, name, stored_name(type(value)), fields.items(), elsewhere)
    elif isinstance(value, dict):
        _write_group(parent, name, "dict", value.items(), elsewhere)
    elif isinstance(value, list | tuple):
        items = ((str(k), item) for k, item in enumerate(value))
        _write_group(parent, name, type(value).__name__, items, elsewhere)
    elif value is None:
        parent.create_group(name, track_order=True).attrs["type"] = "None"
    elif isinstance(value, ArrayElsewhere):
        data = unwritten(parent, name, value.shape, value.dtype)
        data.attrs["type"] = "array"
        elsewhere.append((data, value))
    elif isinstance(value, np.ndarray) and value.dtype.kind in _KINDS and not np.ma.isMaskedArray(value):
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if value.size >= _COMPRESSED else {}
        options |= {"fletcher32": True} if value.size and value.ndim and value.dtype.kind in "fiu" else {}
        parent.create_dataset(name, data=value, **options).attrs["type"] = "array"
    elif type(value := value.item() if isinstance(value, np.generic) else value) in (bool, int, float, str):
        parent.create_dataset(name, data=value).attrs["type"] = type(value).__name__
    else:
        what = f"{type(value).__name__} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} is of type {what}, which cannot be stored")


def stored_name(cls: type) -> str:
    """The name of a dataclass in files: ``stored_as`` where it was renamed since, so that they stay readable."""
    return getattr(cls, "stored_as", cls.__name__)


def _write_group(parent, name: str, kind: str, items, elsewhere: Elsewhere) -> None:
    group = parent.create_group(name, track_order=True)
    group.attrs["type"] = kind
    _require_shallow(group)
    for key, item in items:
        if not isinstance(key, str) or key in ("", ".") or {"/", "\0"} & set(key):
            raise TypeError(f"{name} has the key {key!r}, but a key is a word other than '.', without '/' and NUL")
        _write_node(group, key, item, elsewhere)


def _require_shallow(group) -> None:
    """Refuse a tree that no interpreter's stack might hold."""
    if group.name.count("/") > _DEEPEST:
        raise ValueError(f"{group.name[:40]}... lies more than {_DEEPEST} groups deep")


_LEAVES: dict[str, Callable] = {
    "bool": lambda node: bool(node[()]),
    "int": lambda node: int(node[()]),
    "float": lambda node: float(node[()]),
    "str": lambda node: node.asstr()[()],
    "array": lambda node: np.asarray(node[()]),
}


class _Reader:
    """Turns the groups and data sets of a file into the tree again.

    Only what :func:`write` makes is followed: each group and data set once, no links, no data set that is larger than
    the file can hold. All else is refused before it costs time or memory.
    """

    def __init__(self, path: str | Path, types: dict[str, type]):
        self.path, self.types, self.size = path, types, os.path.getsize(path)
        self._seen: set[int] = set()

    def tree(self, node: "h5py.Group | h5py.Dataset") -> Any:
        """What the node holds, with all below it."""
        kind = word_of(node, "type")
        if kind in _LEAVES:
            if kind == "str":
                require_words(node.id)
            elif node.dtype.kind not in _KINDS:
                raise ValueError(f"{node.name} holds {node.dtype}, which is no {kind}")
            self._require_room(node)
            return _LEAVES[kind](node)
        if kind == "None":
            return None
        items = {key: self.tree(child) for key, child in self._children(node)}
        if kind == "dict":
            return items
        if kind in ("list", "tuple"):
            return (list if kind == "list" else tuple)(items.values())
        return self._record(kind, items)

    def _record(self, kind: str, items: dict):
        if kind not in self.types:
            known = sorted(self.types)
            raise ValueError(f"{self.path} holds a {kind!r}, which this reader does not know; known are {known}")
        try:
            return self.types[kind](**items)
        except TypeError:
            raise ValueError(
                f"{self.path} holds a {kind!r} with fields {sorted(items)}, which this version does not"
            ) from None

    def _children(self, group) -> Iterator[tuple]:
        import h5py

        _require_shallow(group)
        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(f"{group.name}/{key} is a link")
            child = group[key]
            address = h5py.h5o.get_info(child.id).addr
            if address in self._seen:
                raise ValueError(f"{group.name}/{key} stands at a second place too")
            self._seen.add(address)
            yield key, child

    def _require_room(self, data) -> None:
        """A data set, as declared, must be one that its bytes in the file can unfold to."""
        made = data.id.get_create_plist()
        filters = [made.get_filter(k)[0] for k in range(made.get_nfilters())]
        stored, size = data.id.get_storage_size(), data.size * data.dtype.itemsize
        if data.is_virtual or data.external or len(filters) != len({*filters} & _FILTERS):
            raise ValueError(f"{data.name} is stored in a way that ntkspec does not write")
        if data.chunks and any(chunk > side for chunk, side in zip(data.chunks, data.shape, strict=True)):
            raise ValueError(f"{data.name} has the shape {data.shape} in larger pieces, {data.chunks}")
        if stored > self.size or size > stored * (_DEFLATED if filters else 1):
            raise ValueError(f"{data.name} has the shape {data.shape}, but {stored} bytes in a file of {self.size}")


_FILTERS = {1, 2, 3}  # HDF5's numbers of deflate, shuffle and fletcher32
