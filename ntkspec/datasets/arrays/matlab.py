"""Arrays from MATLAB's .mat files that may be damaged: numbers, words, cells of words, sparse matrices."""

import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import checks, engines

MOST_PACKED = 1032  # bytes that zlib makes of one
_SIZES = {"double": 8, "single": 4, "char": 4, "logical": 1, "cell": 8}
_SIZES |= {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}
# Of the format, version 5: types of elements, and classes of arrays.
_MATRIX, _PACKED = 14, 15
_CELL, _CHAR, _NUMBERS = 1, 4, range(6, 16)
_TYPES = {*range(1, 8), 9, 12, 13, _MATRIX, 16, 17, 18}


def mat_names(path: Path) -> list[str]:
    """The names of the arrays. Raises ValueError where the file is damaged or something else."""
    names = [name for name, *_ in _listed(path)]
    if not all(name.isprintable() and len(name) < 100 for name in names):
        raise ValueError(f"{path} is not a readable .mat file: it has names that MATLAB cannot give")
    return names


def mat_array(path: Path, name: str) -> np.ndarray:
    """The array of that name; sparse matrices with their zeros, cells of words as an array of objects.

    Raises ValueError for other kinds (structs, objects, cells in cells), for a damaged file, and where the free memory
    does not suffice; all before anything is read that the file's size does not explain.
    """
    from scipy.io import loadmat

    shape, kind = next((tuple(map(int, shape)), kind) for own, shape, kind in _listed(path) if own == name)
    if kind != "sparse":
        _require_plausible(shape, kind, f"{name} of {path}", os.path.getsize(path))
    _of_matlab(path, lambda: _require_known(path, name))
    array = _of_matlab(path, lambda: loadmat(path, variable_names=[name])[name])
    return np.asarray(_full(array, path, name) if hasattr(array, "toarray") else array)


def _require_plausible(shape: tuple[int, ...], kind: str, what: str, size: int) -> None:
    """Refuse more numbers than the bytes of the file can make, or than the free memory holds."""
    if kind not in _SIZES:
        raise ValueError(f"{what} is a MATLAB {kind}, but numbers, words or cells of words are needed; save a matrix")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count > MOST_PACKED * size:
        raise ValueError(f"{what} declares {count:.3g} entries {shape}, but its file has {size} bytes: it is damaged")
    checks.memory(count * _SIZES[kind], engines.engine_of(), what, "save a part of it")


def _full(array: Any, path: Path, name: str) -> np.ndarray:
    """A sparse matrix with its zeros, once its indices are seen to lie in it."""
    what = f"{name} of {path} as a full matrix"
    checks.memory(array.dtype.itemsize * float(math.prod(array.shape)), engines.engine_of(), what, "take a part")
    _of_matlab(path, lambda: array.check_format(full_check=True))
    return array.toarray()


def _listed(path: Path) -> list[tuple]:
    from scipy.io import whosmat

    return _of_matlab(path, lambda: whosmat(path))


def _of_matlab(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except NotImplementedError:
        raise ValueError(f"{path} is a MATLAB 7.3 file; save it with save('{path.name}', ..., '-v7')") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is not a readable .mat file: {reason}") from None


# --------------------------------------------------------------------------------------------------------------- cells
def _require_known(path: Path, name: str) -> None:
    """Refuse what SciPy follows until it crashes: types of elements that are none, and cells in cells."""
    content = np.memmap(path, np.uint8, "r").data
    if 0 in content[:4]:  # version 4 has neither
        return
    order = ">" if bytes(content[126:128]) == b"MI" else "<"
    for kind, data in _elements(content[128:], order):
        matrix = _unpacked(data, order) if kind == _PACKED else data if kind == _MATRIX else None
        parts = [] if matrix is None else list(_elements(matrix, order))
        if len(parts) < 3 or bytes(parts[2][1]).decode("latin1") != name:
            continue
        _require_types(parts)
        if _kind(parts, order) == _CELL:
            _require_plain([data for _, data in parts[3:]], _count(parts, order), order)


def _require_types(parts: list[tuple[int, memoryview]]) -> None:
    unknown = {kind for kind, _ in parts} - _TYPES
    if unknown:
        raise ValueError(f"elements of the types {sorted(unknown)[:4]}, which are none; it is damaged")


def _require_plain(cells: list[memoryview], count: int, order: str) -> None:
    if len(cells) != count:
        raise ValueError(f"a cell declares {count} entries, but has {len(cells)}")
    for cell in cells:
        parts = list(_elements(cell, order)) if len(cell) else []
        _require_types(parts)
        if parts and (_kind(parts, order) not in (_CHAR, *_NUMBERS) or _count(parts, order) > len(cell)):
            raise ValueError("a cell holds more than words and numbers, or is damaged; save the labels as a matrix")


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, bytes) of one element after the other; short ones have their size in the upper half of the type."""
    place = 0
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:
            yield kind & 0xFFFF, content[place + 4 : place + 4 + min(4, kind >> 16)]
            place += 8
        else:
            yield kind, content[place + 8 : place + 8 + size]
            place += 8 + size + (0 if kind == _PACKED else -size % 8)


def _unpacked(content: memoryview, order: str) -> memoryview:
    """The matrix of a packed element, as long as it says itself."""
    unpack = zlib.decompressobj()
    _, size = struct.unpack(f"{order}II", unpack.decompress(content, 8))
    if size > MOST_PACKED * len(content):
        raise ValueError(f"an element declares {size} bytes, but stores {len(content)}")
    checks.memory(2.0 * size, engines.engine_of(), "a cell", "save a part of it")
    return memoryview(unpack.decompress(unpack.unconsumed_tail, max(1, size)))


def _kind(parts: list[tuple[int, memoryview]], order: str) -> int:
    return struct.unpack_from(f"{order}I", parts[0][1])[0] & 0xFF


def _count(parts: list[tuple[int, memoryview]], order: str) -> int:
    sizes = parts[1][1]
    return math.prod(struct.unpack(f"{order}{len(sizes) // 4}i", sizes))
