"""How the CUDA sources of the GPU engine are compiled, by NVRTC on first use, and launched on CuPy arrays."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from ntkspec.engines.arrays import Array, DTypeLike

FOLDER = Path(__file__).parent.parent / "cuda"
# Nothing is contracted in silence: the sources write fma() where they mean it. CuPy adds -ftz=true, and NVRTC takes no
# option twice: on the GPU float32 numbers below the smallest normal one, 1.2e-38, are zero.
OPTIONS = ("-std=c++17", "--fmad=false")
# As in common.cuh.
THREADS = 256
# Blocks of threads for each multiprocessor where loops share out the work: as many as can wait for memory at once.
_BLOCKS = 16
_TYPES: dict[str | int, str] = {"f": "float", "d": "double"}


def source(name: str) -> str:
    """The text of a CUDA source with what it includes, as compilers and their caches need it.

    CuPy writes it to a file in the encoding of the locale: letters beyond ASCII, which are in comments, are left out.
    """
    return _whole(f"{name}.cu").encode("ascii", "ignore").decode("ascii")


def _whole(file: str) -> str:
    text = (FOLDER / file).read_text(encoding="utf-8")
    return re.sub(r'#include "(\w+\.cuh)"', lambda found: _whole(found[1]), text)


@cache
def _module(name: str, definitions: tuple[str, ...]):
    return cupy.RawModule(code=source(name), options=(*OPTIONS, *(f"-D{text}" for text in definitions)))


@cache
def kernel(name: str, function: str, real: str, **others: str | int) -> Any:
    """A kernel of the file ``name``.cu for entries of a dtype character, with further definitions (``others``)."""
    values = {"real": _TYPES[real]} | {key: _TYPES.get(value, value) for key, value in others.items()}
    return _module(name, tuple(f"{key}={value}" for key, value in values.items())).get_function(function)


@cache
def multiprocessors() -> int:
    """How many the GPU has."""
    return cupy.cuda.Device().attributes["MultiProcessorCount"]


def blocks_of(count: int) -> int:
    """How many blocks of threads share out ``count`` numbers."""
    return max(1, min(-(-count // THREADS), _BLOCKS * multiprocessors()))


def grid_of(rows: int, cols: int) -> tuple[int, int]:
    """Blocks of threads along the columns and rows of a matrix whose entries they share out."""
    across = blocks_of(cols)
    return across, max(1, min(rows, _BLOCKS * multiprocessors() // across))


def line(array: Array, dtype: DTypeLike) -> Any:
    """A C-contiguous array of a dtype as one line of numbers. Raises TypeError: a kernel would read anything else."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"{array.dtype} with strides {array.strides} came, not C-contiguous {np.dtype(dtype)}")
    return array.reshape(-1)


def launch(function: Any, grid: int | tuple[int, int], *arguments: Any) -> None:
    """Start a kernel on the current stream: matrices come with their steps, numbers in the type that it asks for."""
    flat: list = []
    for argument in arguments:
        if isinstance(argument, cupy.ndarray) and argument.ndim == 2:
            flat += [argument, *(np.int64(step // argument.itemsize) for step in argument.strides)]
        else:
            flat.append(np.int64(argument) if isinstance(argument, int) else argument)
    function(grid if isinstance(grid, tuple) else (grid,), (THREADS,), tuple(flat))
