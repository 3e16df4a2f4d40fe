"""Arrays from .npz and .npy files that may be damaged; no pickle is executed."""

import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import checks, engines
from ntkspec.datasets.pickles import read_objects

_HEADER = 100_000  # characters: a structured array of thousands of fields
# How many bytes one byte can become, by the kinds of compression of a zip archive; others are not known.
_MOST_PACKED = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
_READERS = {(1, 0): np.lib.format.read_array_header_1_0} | dict.fromkeys(
    [(2, 0), (3, 0)], np.lib.format.read_array_header_2_0
)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file. Raises ValueError where it is damaged or something else."""
    return {name: npz_array(path, name) for name in npz_names(path)}


def npz_names(path: Path) -> list[str]:
    """The names of the arrays. Raises ValueError where the file is damaged or something else."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def npz_array(path: Path, name: str) -> np.ndarray:
    """One array of the file, and nothing else of it; arrays of objects where they are words."""
    with contextlib.ExitStack() as stack:
        with _readable(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            member = archive.getinfo(f"{name}.npy")
            _require_plausible(member, path)
            file = stack.enter_context(archive.open(member))
        return _read(file, member.file_size, path, f"{name} of {path}")


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file; an array of objects where they are words."""
    with path.open("rb") as file:
        return _read(file, os.path.getsize(path), path, f"the array of {path}")


def _require_plausible(member: zipfile.ZipInfo, path: Path) -> None:
    """Refuse more bytes than those that the archive keeps of an array can make."""
    stored = min(member.compress_size, os.path.getsize(path))
    if member.file_size > stored * _MOST_PACKED.get(member.compress_type, math.inf):
        raise ValueError(f"{member.filename} declares {member.file_size} bytes, but {stored} bytes are stored")


# ----------------------------------------------------------------------------------------------------------- one array
@dataclass(frozen=True)
class _Header:
    """What an array says of itself, before its bytes."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


def _read(file: Any, size: int, path: Path, what: str) -> np.ndarray:
    """The array of a file of ``size`` bytes, to its end: there the checksum of an archive is compared."""
    with _readable(path):
        header, left = _header(file, size)
    objects = header.dtype == np.dtype(object)
    checks.memory(2 * left if objects else header.nbytes, engines.engine_of(), what, "save a part of it")
    with _readable(path):
        array = _objects(file, header) if objects else _plain(file, header)
        if file.read(1):
            raise ValueError("more bytes follow the array")
        return array


def _header(file: Any, size: int) -> tuple[_Header, int]:
    """The header, and how many bytes are left for the array, which are those that it needs."""
    version = np.lib.format.read_magic(file)
    header, left = _Header(*_READERS[version](file, max_header_size=_HEADER)), size - file.tell()
    if version == (3, 0) and header.dtype.names:  # it is the second version, in UTF-8
        header.dtype.names = tuple(name.encode("latin1").decode() for name in header.dtype.names)
    if min(header.shape, default=0) < 0 or (header.dtype.itemsize == 0 and header.size):
        raise ValueError(f"a shape {header.shape} of entries of {header.dtype.itemsize} bytes")
    if header.dtype != np.dtype(object) and header.nbytes > left:
        raise ValueError(f"an array {header.shape} needs {header.nbytes} bytes, but {left} bytes are there")
    return header, left


def _plain(file: Any, header: _Header) -> np.ndarray:
    if header.dtype.hasobject:
        raise ValueError("a table with objects in it; save numbers and words, .astype(str)")
    array = np.empty(header.size, header.dtype)
    left = array.view(np.uint8).data
    while left:
        count = file.readinto(left[: 2**24])
        if not count:
            raise ValueError("the file ends too early")
        left = left[count:]
    return array.reshape(header.shape, order="F" if header.fortran else "C")


def _objects(file: Any, header: _Header) -> np.ndarray:
    found, entries = read_objects(file.read(), header.size)
    if found != header.shape:
        raise ValueError(f"an array of shape {header.shape} has {len(entries)} entries")
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array.reshape(header.shape)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever the libraries raise on a damaged file is told as the file's error."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is not a readable {path.suffix} file: {reason}") from None
