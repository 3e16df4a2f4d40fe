"""Trees of dictionaries, dataclasses and arrays in HDF5 files that are either whole or not there."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ntkspec.storage.places import atomic_path

FORMAT_VERSION = 1
_COMPRESSED = 4096  # arrays with at least this many entries are compressed


def _h5py():
    import h5py

    return h5py


def write(path, tree, *, kind: str) -> None:
    """Write a tree atomically. Leaves: arrays, numbers, booleans, strings, None; inner nodes: dict, list, dataclass.

    ``kind`` names what the tree is, for :func:`read`. Raises OSError where the folder cannot be written to.
    """
    with atomic_path(path) as temporary, created(temporary, kind) as file:
        _write_node(file, "record", tree)


def read(path, *, kind: str, types: Iterable[type] = ()):
    """The tree that :func:`write` wrote. ``types`` are the dataclasses that may occur in it.

    Raises FileNotFoundError, or ValueError for a file that is damaged, of another kind or of a newer format.
    """
    with opened(path, kind) as file:
        return _read_node(file["record"], {cls.__name__: cls for cls in types})


@contextlib.contextmanager
def opened(path, kind: str):
    """An ntkspec file of that kind, open for reading; what is wrong with it is a FileNotFoundError or ValueError."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    try:
        with _h5py().File(path, "r") as file:
            version, found = file.attrs.get("ntkspec_format"), file.attrs.get("kind")
            if version is None or found != kind:
                raise ValueError(f"{path} is not an ntkspec file of kind {kind!r}")
            if version > FORMAT_VERSION:
                raise ValueError(
                    f"{path} has format {version}, but this ntkspec reads up to {FORMAT_VERSION}; upgrade it"
                )
            yield file
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


@contextlib.contextmanager
def created(path, kind: str):
    """A new ntkspec file of that kind, open for writing."""
    with _h5py().File(path, "w", locking=False) as file:
        file.attrs["ntkspec_format"] = FORMAT_VERSION
        file.attrs["kind"] = kind
        yield file


# ------------------------------------------------------------------------------------------------------------- nodes
def _write_node(parent, name: str, value) -> None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        _write_group(parent, name, type(value).__name__, fields.items())
    elif isinstance(value, dict):
        _write_group(parent, name, "dict", value.items())
    elif isinstance(value, list | tuple):
        _write_group(parent, name, type(value).__name__, ((str(k), item) for k, item in enumerate(value)))
    elif value is None:
        parent.create_group(name, track_order=True).attrs["type"] = "None"
    elif isinstance(value, np.ndarray):
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if value.size >= _COMPRESSED else {}
        options |= {"fletcher32": True} if value.size and value.ndim and value.dtype.kind in "fiu" else {}
        parent.create_dataset(name, data=value, **options).attrs["type"] = "array"
    elif isinstance(value, bool | int | float | str | np.bool_ | np.integer | np.floating):
        value = value.item() if isinstance(value, np.generic) else value
        parent.create_dataset(name, data=value).attrs["type"] = type(value).__name__
    else:
        raise TypeError(f"{name} is a {type(value).__name__}, which cannot be stored")


def _write_group(parent, name: str, kind: str, items) -> None:
    group = parent.create_group(name, track_order=True)
    group.attrs["type"] = kind
    for key, item in items:
        if not isinstance(key, str) or "/" in key:
            raise TypeError(f"{name} has the key {key!r}, but a key is a string without '/'")
        _write_node(group, key, item)


_SCALARS: dict[str, Callable] = {
    "bool": lambda node: bool(node[()]),
    "int": lambda node: int(node[()]),
    "float": lambda node: float(node[()]),
    "str": lambda node: node.asstr()[()],
    "array": lambda node: np.asarray(node[()]),
    "None": lambda node: None,
}


def _read_node(node, types: dict[str, type]):
    kind = node.attrs["type"]
    if kind in _SCALARS:
        return _SCALARS[kind](node)
    items = {key: _read_node(child, types) for key, child in node.items()}
    if kind == "dict":
        return items
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(items.values())
    if kind not in types:
        raise ValueError(f"the file holds a {kind!r}, which this reader does not know; known are {sorted(types)}")
    try:
        return types[kind](**items)
    except TypeError:
        raise ValueError(
            f"the file holds a {kind!r} with fields {sorted(items)}, which this version does not"
        ) from None
