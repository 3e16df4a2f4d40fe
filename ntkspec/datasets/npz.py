"""Arrays from .npz and .npy files that may be damaged."""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ntkspec.datasets.pickles import read_objects

_DAMAGE = (OSError, ValueError, EOFError, TypeError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)
_HEADER = 100_000  # characters: a structured array of thousands of fields


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file; no pickles. Raises ValueError where it is damaged or something else."""
    with _readable(path), path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


def npz_names(path: Path) -> list[str]:
    """The names of the arrays. Raises ValueError where the file is damaged or something else."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def npz_array(path: Path, name: str) -> np.ndarray:
    """One array of the file, and nothing else of it; arrays of objects where they are words."""
    with _readable(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        array = _read(file)
        if file.read(1):  # reading to the end compares the checksum
            raise ValueError(f"more bytes follow the array {name}")
        return array


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file; an array of objects where they are words."""
    with _readable(path), path.open("rb") as file:
        return _read(file)


def _read(file) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file, max_header_size=_HEADER)
    if dtype != np.dtype(object):
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False, max_header_size=_HEADER)
    found, entries = read_objects(file.read(), math.prod(shape))
    if found != shape:
        raise ValueError(f"an array of shape {shape} has {len(entries)} entries")
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array.reshape(shape)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a readable {path.suffix} file: {reason}") from None
