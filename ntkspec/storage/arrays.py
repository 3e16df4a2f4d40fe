"""Arrays from HDF5 files that other programs made."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def array_names(path) -> list[str]:
    """Where the arrays of any HDF5 file lie: "X", "train/X", ...; links count as what they point to.

    A link to nothing is named too, and refused by :func:`read_array`. Raises ValueError for a damaged file.
    """
    with _opened(path) as file:
        return list(_below(file, "", ()))


def _below(group, place: str, above: tuple) -> Iterator[str]:
    above = (*above, group.id)
    for key in group:
        child = group.get(key)  # None where a link points to nothing
        if child is None or hasattr(child, "shape"):
            yield place + key
        elif hasattr(child, "keys") and child.id not in above:
            yield from _below(child, f"{place}{key}/", above)


def read_array(path, name: str) -> np.ndarray:
    """One array of any HDF5 file; words as str. Raises ValueError where it is empty, or a link to nothing."""
    with _opened(path) as file:
        try:
            found = file[name]
        except KeyError as error:
            raise ValueError(f"{name} of {path} is a link to nothing, or is not there ({error.args[0]})") from None
        if not hasattr(found, "shape"):
            raise ValueError(f"{name} of {path} is a group, not an array; name an array in it")
        if found.shape is None:
            raise ValueError(f"{name} of {path} is an empty data set")
        _require_sources(found, name, Path(path))
        return _plain_array(found)


def _require_sources(array, name: str, path: Path) -> None:
    """HDF5 fills the parts of a virtual data set whose file is absent with zeros."""
    for source in array.virtual_sources() if array.is_virtual else ():
        if source.file_name != "." and not (path.parent / source.file_name).is_file():
            raise ValueError(f"{name} of {path} lies in {source.file_name}, which is absent; put it beside")


def _plain_array(array) -> np.ndarray:
    import h5py

    words = h5py.check_string_dtype(array.dtype)
    return np.asarray(array.asstr()[()] if words else array[()])


@contextlib.contextmanager
def _opened(path) -> Iterator:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {error}") from None
