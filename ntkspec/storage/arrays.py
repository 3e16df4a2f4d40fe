"""Arrays from HDF5 files that other programs made, read by a process that may crash in place of this one."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec import checks, engines
from ntkspec.storage import foreign


@dataclass(frozen=True)
class Arrays:
    """The arrays of a file. names : "X", "train/X", ... ; read : the one of a name, from the file each time."""

    names: list[str]
    read: Callable[[str], np.ndarray]


@contextlib.contextmanager
def open_arrays(path) -> Iterator[Arrays]:
    """The arrays of any HDF5 file; words as str, in tables as bytes in UTF-8.

    Links are followed within the file. What lies in other files (external links and storage, sources of virtual data
    sets), was never written, or is neither numbers nor words is named, and refused by ``read``; so is an array that
    does not fit into the free memory. Raises ValueError for a damaged file, or one that another process writes.
    The file is read in a process of its own, which takes a quarter of a second to start and is ended at the end; where
    Python cannot start one (in another program), it is read here.
    """
    with _handed_over(str(path)) if sys.executable and not hasattr(sys, "frozen") else _here(str(path)) as arrays:
        yield arrays


def _require_room(shape, dtype: np.dtype, largest: int, what: str) -> None:
    """For the array, and for its largest part once more."""
    needed = dtype.itemsize * float(math.prod(shape)) + largest
    checks.memory(needed, engines.engine_of(), what, "save a part of it")


def _as_text(array: np.ndarray) -> np.ndarray:
    return np.char.decode(array, "utf-8", "backslashreplace")


# -------------------------------------------------------------------------------------------------- in another process
@contextlib.contextmanager
def _handed_over(path: str) -> Iterator[Arrays]:
    places = os.pathsep.join(place or os.curdir for place in sys.path)
    child = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", foreign.__file__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        names = _answer(child, path)["names"]
        yield Arrays(names, lambda name: _received(child, name, path))
    finally:
        child.kill()
        child.communicate()


def _received(child, name: str, path: str) -> np.ndarray:
    with contextlib.suppress(BrokenPipeError):  # its end is told below
        child.stdin.write(json.dumps(name).encode() + b"\n")
        child.stdin.flush()
    said = _answer(child, path, f"{name} of ")
    dtype = np.lib.format.descr_to_dtype(_with_tuples(said["dtype"]))
    _require_room(said["shape"], dtype, said["largest"], f"{name} of {path}")
    array = np.empty(said["shape"], dtype)
    rest = array.reshape(-1).view(np.uint8).data
    while rest:
        count = _answer(child, path, f"{name} of ")["bytes"]
        if child.stdout.readinto(rest[:count]) < count:
            raise _death(child, path)
        rest = rest[count:]
    return _as_text(array) if said["text"] else array


def _with_tuples(descr: Any) -> Any:
    """The fields of a table as NumPy writes them, which JSON keeps as lists."""
    if isinstance(descr, str):
        return descr
    return [tuple(tuple(part) if isinstance(part, list) else part for part in field) for field in descr]


def _answer(child, path: str, what: str = "") -> dict:
    line = child.stdout.readline()
    if not line.endswith(b"\n"):
        raise _death(child, path)
    said = json.loads(line)
    if "refused" in said:
        raise ValueError(f"{what}{path} {said['refused']}")
    if "damaged" in said:
        raise _damaged(path, said["damaged"])
    return said


def _damaged(path: str, reason: str) -> ValueError:
    return ValueError(f"{path} is not a readable HDF5 file: {reason}")


def _death(child, path: str) -> ValueError:
    """Why the process ended before it had answered."""
    code = child.wait()
    if code == -signal.SIGXCPU:
        return _damaged(path, "the HDF5 library computes without end on it; it is damaged")
    if code < 0:
        return _damaged(path, f"the HDF5 library crashed on it (signal {-code}); it is damaged")
    return _damaged(path, f"an error cut it off (exit code {code}); it is damaged")


# ---------------------------------------------------------------------------------------------------- in this process
@contextlib.contextmanager
def _here(path: str) -> Iterator[Arrays]:
    with contextlib.ExitStack() as stack:
        with _told(path):
            file = stack.enter_context(foreign.opened(path))
            names = foreign.names(file)
        yield Arrays(names, lambda name: _read_here(file, name, path))


def _read_here(file, name: str, path: str) -> np.ndarray:
    with _told(path, f"{name} of "):
        whole = foreign.content(file, name)
    _require_room(whole.shape, whole.dtype, whole.largest, f"{name} of {path}")
    array, done = np.empty(whole.shape, whole.dtype), 0
    with _told(path, f"{name} of "):
        for block in whole.blocks:
            array.reshape(-1)[done : done + block.size] = block.reshape(-1)
            done += block.size
    return _as_text(array) if whole.text else array


@contextlib.contextmanager
def _told(path: str, what: str = "") -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except foreign.Refused as error:
        raise ValueError(f"{what}{path} {error}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise _damaged(path, " ".join(f"{error}".split())) from None
