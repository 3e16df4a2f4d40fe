"""Arrays from files that other programs made, read by a process that may crash in place of this one."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import checks, engines
from ntkspec.guarded import hdf5, matlab
from ntkspec.guarded.parts import Refused

READER = ("-P", "-W", "ignore", "-m", "ntkspec.guarded")
_HDF5, _SCIPY = "the HDF5 library", "SciPy"


@dataclass(frozen=True)
class Arrays:
    """The arrays of a file. names : "X", "train/X", ... ; read : the one of a name, from the file each time."""

    names: list[str]
    read: Callable[[str], np.ndarray]


@contextlib.contextmanager
def open_arrays(path: str | Path) -> Iterator[Arrays]:
    """The arrays of a .mat file or, of any other name, an HDF5 file; words as str, in tables of HDF5 as UTF-8.

    Links are followed within the file. What lies in other files (external links and storage, sources of virtual data
    sets), was never written, or is neither numbers nor words is named, and refused by ``read``; so is an array that
    does not fit into the free memory. Raises ValueError for a damaged file, or one that another process writes.
    The file is read in a process of its own, which takes a quarter of a second to start and is ended at the end; where
    Python cannot start one (in another program), it is read here.
    """
    kind, wrong, library = (
        ("matlab", "is not a readable .mat file", _SCIPY)
        if Path(path).suffix.lower() == ".mat"
        else ("hdf5", "is not a readable HDF5 file", _HDF5)
    )
    file = _File(str(path), wrong, library)
    with _handed_over(kind, file) if _can_start() else _here(kind, file) as arrays:
        yield arrays


def visit(path: str | Path) -> None:
    """Let a process of its own read all of an HDF5 file once. Raises ValueError where it does not survive that."""
    if _can_start():
        with _handed_over("visit", _File(str(path), "is damaged", _HDF5)):
            pass


def _can_start() -> bool:
    return bool(sys.executable) and not hasattr(sys, "frozen")


@dataclass(frozen=True)
class _File:
    """A file for errors: what it is where it is damaged, and what reads it."""

    path: str
    wrong: str
    library: str

    def damaged(self, reason: str) -> ValueError:
        return ValueError(f"{self.path} {self.wrong}: {reason}")

    def require(self, memory: float, name: str) -> None:
        """The memory for an array must be free."""
        checks.memory(memory, engines.engine_of(), f"{name} of {self.path}", "save a part of it")


def _bytes(shape: Sequence[int], dtype: np.dtype, largest: int) -> float:
    """Of the array, and of its largest part once more."""
    return dtype.itemsize * float(math.prod(shape)) + largest


def _as_text(array: np.ndarray) -> np.ndarray:
    return np.char.decode(array, "utf-8", "backslashreplace")


# -------------------------------------------------------------------------------------------------- in another process
@contextlib.contextmanager
def _handed_over(kind: str, file: _File) -> Iterator[Arrays]:
    places = os.pathsep.join(place or os.curdir for place in sys.path)
    child = subprocess.Popen(
        [sys.executable, *READER, kind, file.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        names = _answer(child, file)["names"]
        yield Arrays(names, lambda name: _received(child, name, file))
    finally:
        child.kill()
        child.communicate()


def _received(child, name: str, file: _File) -> np.ndarray:
    with contextlib.suppress(BrokenPipeError):  # its end is told below
        child.stdin.write(json.dumps(name).encode() + b"\n")
        child.stdin.flush()
    file.require(_answer(child, file, f"{name} of ")["memory"], name)
    said = _answer(child, file, f"{name} of ")
    dtype = np.lib.format.descr_to_dtype(_with_tuples(said["dtype"]))
    file.require(_bytes(said["shape"], dtype, said["largest"]), name)
    array = np.empty(said["shape"], dtype)
    rest = array.reshape(-1).view(np.uint8).data
    while rest:
        count = _answer(child, file, f"{name} of ")["bytes"]
        if child.stdout.readinto(rest[:count]) < count:
            raise _death(child, file)
        rest = rest[count:]
    return _as_text(array) if said["text"] else array


def _with_tuples(descr: Any) -> Any:
    """The fields of a table as NumPy writes them, which JSON keeps as lists."""
    if isinstance(descr, str):
        return descr
    return [tuple(tuple(part) if isinstance(part, list) else part for part in field) for field in descr]


def _answer(child, file: _File, what: str = "") -> dict:
    line = child.stdout.readline()
    if not line.endswith(b"\n"):
        raise _death(child, file)
    said = json.loads(line)
    if "refused" in said:
        raise ValueError(f"{what}{file.path} {said['refused']}")
    if "damaged" in said:
        raise file.damaged(said["damaged"])
    return said


def _death(child, file: _File) -> ValueError:
    """Why the process ended before it had answered."""
    code = child.wait()
    if code == -signal.SIGXCPU:
        return file.damaged(f"{file.library} computes without end on it")
    if code < 0:
        return file.damaged(f"{file.library} crashed on it (signal {-code})")
    return file.damaged(f"an error cut off what reads it (exit code {code})")


# ---------------------------------------------------------------------------------------------------- in this process
@contextlib.contextmanager
def _here(kind: str, file: _File) -> Iterator[Arrays]:
    reader: Any = {"hdf5": hdf5, "matlab": matlab}[kind]
    with contextlib.ExitStack() as stack:
        with _told(file):
            source = stack.enter_context(reader.opened(file.path))
            names = reader.names(source)
        yield Arrays(names, lambda name: _read_here(reader, source, name, file))


def _read_here(reader, source, name: str, file: _File) -> np.ndarray:
    with _told(file, f"{name} of "):
        whole = reader.content(source, name, lambda memory, unpacked: file.require(memory, name))
    file.require(_bytes(whole.shape, whole.dtype, whole.largest), name)
    array, done = np.empty(whole.shape, whole.dtype), 0
    with _told(file, f"{name} of "):
        for block in whole.blocks:
            array.reshape(-1)[done : done + block.size] = block.reshape(-1)
            done += block.size
    return _as_text(array) if whole.text else array


@contextlib.contextmanager
def _told(file: _File, what: str = "") -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Refused as error:
        raise ValueError(f"{what}{file.path} {error}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        if str(error).startswith(f"{what}{file.path}"):
            raise
        raise file.damaged(" ".join(f"{error}".split()) or type(error).__name__) from None
