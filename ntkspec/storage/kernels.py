"""A kernel matrix on disk: the tiles of its lower triangle in an HDF5 file, read through a memory map."""

import math
import os
import shutil
from pathlib import Path
from typing import Literal

import numpy as np

from ntkspec.engines import named
from ntkspec.operators import KernelOperator, Triangle, as_symmetric, form
from ntkspec.operators.triangle import formed_distance
from ntkspec.storage.on_disk import OnDisk
from ntkspec.storage.places import atomic_path
from ntkspec.storage.trees import created, opened

_KIND = "kernel"


def save_kernel(operator: KernelOperator, path) -> Triangle:
    """Form the matrix of a symmetric kernel in a file, and return it as an operator that reads the file, on the device
    of the kernel.

    The file is HDF5: ``blocks`` (tiles, T, T), the tiles (0, 0), (1, 0), (1, 1), (2, 0), ... of the lower triangle
    padded with zeros, ``squares``, the weighted sum of squares of each, and how far the rounded entries are from the
    kernel. While it grows it is called PATH.partial; after an interruption the same call goes on where it stopped.
    Cost: n² / 2 entries on disk and n² / 2 times tile_work; memory of a few tiles. Raises ValueError where the disk is
    too small, or where PATH.partial belongs to another kernel.
    """
    operator = as_symmetric(operator)
    path, n = Path(path), operator.shape[0]
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
    partial = path.with_name(f"{path.name}.partial")
    if not partial.exists():
        _require_disk(operator, path.parent)
        _create(partial, operator)
    blocks, squares = _maps(partial, "r+", n)
    _check_same(operator, blocks, squares, partial)
    form(operator, blocks, squares)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    return load_kernel(path, engine=operator.engine.name)


def load_kernel(path, *, engine: str = "cpu") -> OnDisk:
    """The kernel that :func:`save_kernel` wrote; its tiles stay on disk until a product reads them.

    engine : "cpu" or "gpu", which multiplies with CuPy's arrays and copies tiles to the card meanwhile.
    Pickles and copies of it hold the path and load the file again.
    Raises FileNotFoundError, or ValueError for a file that is damaged or of another kind, or where there is no card.
    """
    device = named(engine)
    with opened(path, _KIND) as file:
        n = int(file.attrs["n"])
        # Files from before these were kept stand for themselves.
        distance = float(file.attrs.get("distance", 0.0))
        semidefinite = bool(file.attrs.get("semidefinite", False))
    blocks, squares = _maps(path, "r", n)
    if np.isnan(squares).any():
        raise ValueError(
            f"{path} is not finished: {int(np.isnan(squares).sum())} tiles are missing; save_kernel goes on"
        )
    return OnDisk(path, blocks, n, math.fsum(squares), distance=distance, semidefinite=semidefinite, engine=device)


def _create(partial: Path, operator) -> None:
    layout = Triangle.layout(operator.shape[0], operator.engine.TILE)
    with atomic_path(partial) as temporary, created(temporary, _KIND) as file:
        file.attrs["n"] = operator.shape[0]
        file.attrs["distance"], file.attrs["semidefinite"] = formed_distance(operator), operator.semidefinite
        file.create_dataset("blocks", layout, operator.dtype)[-1, -1, -1] = 0  # sets the whole room aside
        file.create_dataset("squares", data=np.full(layout[0], np.nan))  # NaN marks a tile that is not there yet


def _maps(path, mode: Literal["r", "r+"], n: int):
    """The two data sets as arrays on the file."""
    with opened(path, _KIND) as file:
        if file.attrs["n"] != n:
            raise ValueError(
                f"{path} holds a kernel of {file.attrs['n']} points, not of {n}; remove it or choose another"
            )
        places = [(file[name].id.get_offset(), file[name].dtype, file[name].shape) for name in ("blocks", "squares")]
    return [np.asarray(np.memmap(path, dtype, mode, offset, shape)) for offset, dtype, shape in places]


def _check_same(operator, blocks, squares, partial) -> None:
    """The first tile of a file that is there already must be that of the operator."""
    rows = slice(0, min(operator.shape[0], blocks.shape[1]))
    tile = operator.engine.to_host(operator.tile(rows, rows))
    close = abs(blocks[0][rows, rows] - tile).max() <= 1e-4 * abs(tile).max()
    if blocks.dtype != operator.dtype or not (close or np.isnan(squares[0])):
        raise ValueError(f"{partial} was begun for another kernel; remove it, or choose another name")


def _require_disk(operator, folder) -> None:
    tiles, side, _ = Triangle.layout(operator.shape[0], operator.engine.TILE)
    needed, free = tiles * side**2 * operator.dtype.itemsize, shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"the kernel of n = {operator.shape[0]:,} in {operator.dtype} needs {needed / 1e9:.3g} GB as one triangle, "
            f"but {free / 1e9:.3g} GB are free in {folder}; choose another disk, or use method='factored'"
        )
