"""The arrays of MATLAB's .mat files: numbers, words, cells of words or of numbers, sparse matrices."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec.guarded.parts import MOST_PACKED, Allow, Content, Refused, in_parts

# Bytes of memory for an entry; in a cell it is an array of its own.
_SIZES = {"double": 8, "single": 4, "char": 4, "logical": 1, "cell": 1000, "sparse": 8}
_SIZES |= {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}


@contextlib.contextmanager
def opened(path: str) -> Iterator[Path]:
    """The file: SciPy opens it each time."""
    yield Path(path)


def names(path: Path) -> list[str]:
    """The names of the arrays. Raises Refused for a file of version 7.3; whatever SciPy raises where damaged."""
    found = [name for name, *_ in _listed(path)]
    if not all(name.isprintable() and len(name) < 100 for name in found):
        raise ValueError("it has names that MATLAB cannot give")
    return found


def content(path: Path, name: str, allow: Allow) -> Content:
    """The array of that name; sparse matrices with their zeros, cells as an array of words or of numbers.

    Raises Refused for other kinds (structs, objects, cells in cells), and where the file's size does not explain what
    is declared; whatever SciPy raises where damaged.
    """
    from scipy.io import loadmat

    shape, kind = next((tuple(map(int, shape)), kind) for own, shape, kind in _listed(path) if own == name)
    size, count = os.path.getsize(path), math.prod(shape)
    if kind not in _SIZES:
        raise Refused(f"is a MATLAB {kind}, but numbers, words or cells of words are needed; save a matrix")
    if min(shape, default=0) < 0 or (kind != "sparse" and count > MOST_PACKED * size):
        raise Refused(f"declares {count:.3g} entries {shape}, but its file has {size} bytes: it is damaged")
    memory = 3.0 * count * _SIZES[kind] + size
    allow(memory, memory)
    array = _plain(loadmat(path, variable_names=[name])[name])
    blocks, largest = in_parts(array)
    return Content(array.shape, array.dtype, blocks, largest, text=array.dtype.kind == "S")


def _listed(path: Path) -> list[tuple]:
    from scipy.io import whosmat

    try:
        return whosmat(path)
    except NotImplementedError:
        raise Refused(f"is a MATLAB 7.3 file; save it with save('{path.name}', ..., '-v7')") from None


def _plain(array: Any) -> np.ndarray:
    if hasattr(array, "toarray"):
        array = array.tocsc()
        array.check_format(full_check=True)
        return array.toarray()
    return _of_cells(array) if array.dtype == object else array


def _of_cells(cells: np.ndarray) -> np.ndarray:
    """The words in them, in UTF-8, or the numbers."""
    entries = [_of_cell(one) for one in cells.ravel()]
    words = [one for one in entries if isinstance(one, str)]
    if words and len(words) < len(entries):
        raise Refused("is a cell of words and numbers; words alone or numbers alone are needed")
    plain = np.array([word.encode("utf-8", "backslashreplace") for word in words], "S") if words else np.array(entries)
    return plain.reshape(cells.shape)


def _of_cell(one: Any) -> Any:
    """The word or the number in it; an empty word is an array without entries."""
    one = np.asarray(one)
    if one.dtype.kind not in "biufU" or one.size > 1 or (one.size == 0 and one.dtype.kind != "U"):
        raise Refused("is a cell of more than words and numbers; save the labels as a matrix")
    return one.item() if one.size else ""
