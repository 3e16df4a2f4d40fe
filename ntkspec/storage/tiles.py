"""How the tiles of a kernel lie in an HDF5 file: what it says of them, where each array begins, and room for them."""

import contextlib
import errno
import math
import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ntkspec.operators import KernelOperator, Triangle
from ntkspec.storage.hdf5 import begun, unwritten
from ntkspec.storage.places import atomic_path
from ntkspec.storage.pouring import set_aside
from ntkspec.storage.proofs import DIGEST, Proof
from ntkspec.storage.sealed import seal

KIND = "kernel"
# What a disk says that has no room left, or none for this user.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Bytes that all but the arrays takes at most.
_HEAD = 4096
_ZEROS = bytes(2**20)


@dataclass(frozen=True)
class Spot:
    """Where an array lies in a file: its first byte, its dtype and its shape."""

    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def range(self) -> tuple[int, int]:
        """(first byte, count of bytes)."""
        return self.offset, math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Head:
    """What a kernel file says beside its tiles: rows, what is known of the kernel, and where the arrays lie.

    ``spots`` : blocks (tiles, T, T), squares (tiles,) float64 and, but for files of older versions, digests (tiles, 16)
    uint8, by name.
    """

    n: int
    storage_error: float
    semidefinite: bool
    spots: dict[str, Spot]
    rows_per_point: int = 1

    def ranges(self, *names: str) -> list[tuple[int, int]]:
        """The ranges of these arrays, ascending."""
        return sorted(self.spots[name].range for name in names)

    def mapped(self, path: Path, mode: Literal["r", "r+"]) -> dict[str, np.ndarray]:
        """The arrays on the file, by name."""
        return {
            name: np.asarray(np.memmap(path, spot.dtype, mode, spot.offset, spot.shape))
            for name, spot in self.spots.items()
        }

    def proof(self, path: Path, mode: Literal["r", "r+"]) -> Proof:
        """The arrays on the file, with what proves them."""
        return Proof(**self.mapped(path, mode), name=path)


def head_of(file: Any) -> Head:
    """That of an open kernel file. Raises ValueError where it declares what the file does not hold."""
    attributes = file.attrs
    n, distance = int(attributes["n"]), float(attributes.get("distance", 0.0))
    each = int(attributes.get("rows_per_point", 1))
    if not (n > 0 and 0 <= distance < math.inf and each > 0 and n % each == 0):
        raise ValueError(f"it declares {n} rows, {each} for each point, and a distance of {distance} from their kernel")
    names = [name for name in ("blocks", "squares", "digests") if name != "digests" or name in file]
    spots = {name: _spot(file[name]) for name in names}
    head = Head(n, distance, bool(attributes.get("semidefinite", False)), spots, each)
    _require_layout(head)
    _require_room(head, file.id.get_filesize())
    return head


def _spot(data) -> Spot:
    offset = data.id.get_offset()
    if offset is None or data.external:
        raise ValueError(f"{data.name} is not one piece of the file")
    return Spot(offset, data.dtype, data.shape)


def _require_layout(head: Head) -> None:
    """The arrays must be those of the tiles of n points."""
    blocks = head.spots["blocks"]
    if len(blocks.shape) != 3 or blocks.shape[1] == 0 or blocks.dtype not in (np.float32, np.float64):
        raise ValueError(f"its tiles are declared as {blocks.shape} in {blocks.dtype}")
    rows = -(-head.n // blocks.shape[1])
    tiles = rows * (rows + 1) // 2
    found = [(spot.shape, spot.dtype) for spot in head.spots.values()]
    wanted = [((tiles, blocks.shape[1], blocks.shape[1]), blocks.dtype), ((tiles,), np.float64)]
    if found != [*wanted, ((tiles, DIGEST), np.uint8)][: len(found)]:
        raise ValueError(f"its arrays are declared as {found}, which are not those of {head.n} points")


def _require_room(head: Head, size: int) -> None:
    """The arrays must lie in the file, apart from one another."""
    stop = 0
    for offset, length in [*head.ranges(*head.spots), (size, 0)]:
        if offset < stop:
            raise ValueError(f"an array begins at byte {offset}, before another one or the file ends, at byte {stop}")
        stop = offset + length


# -------------------------------------------------------------------------------------------------------------- making
def make(path: Path, operator: KernelOperator) -> None:
    """The file of an operator without any tile, with all the room that they will take.

    Raises ValueError, and leaves nothing behind, where the disk has no room for them.
    """
    layout = Triangle.layout(operator.shape[0], operator.engine.TILE)
    with room_for(operator, path.parent), atomic_path(path) as temporary:
        head = _drawn_up(temporary, operator, layout)
        if not set_aside(temporary, *head.spots["blocks"].range):
            _write_zeros(temporary, *head.spots["blocks"].range)
        seal(temporary, head.ranges(*head.spots))


def _drawn_up(path: Path, operator: KernelOperator, layout: tuple[int, int, int]) -> Head:
    with begun(path, KIND) as file:
        file.attrs["n"] = operator.shape[0]
        file.attrs["distance"], file.attrs["semidefinite"] = operator.formed_error, operator.semidefinite
        if operator.rows_per_point > 1:
            file.attrs["rows_per_point"] = operator.rows_per_point
        file.create_dataset("squares", data=np.full(layout[0], np.nan))  # NaN marks a tile that is not there yet
        file.create_dataset("digests", data=np.zeros((layout[0], DIGEST), np.uint8))
        unwritten(file, "blocks", layout, operator.dtype)
        file.flush()
        return head_of(file)


@contextlib.contextmanager
def room_for(operator: KernelOperator, folder: Path, taken: int = 0) -> Iterator[None]:
    """Where the folder has no room for the triangle of an operator, within or before: ValueError with both sizes.

    taken : bytes that it has taken already.
    """
    tiles, side, _ = Triangle.layout(operator.shape[0], operator.engine.TILE)
    needed = _HEAD + tiles * (side**2 * operator.dtype.itemsize + np.float64().nbytes + DIGEST)
    free, (limit, _) = shutil.disk_usage(folder).free, resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if needed - taken > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if limit != resource.RLIM_INFINITY and needed > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ValueError(
            f"the kernel of n = {operator.shape[0]:,} in {operator.dtype} needs {needed / 1e9:.3g} GB as one triangle, "
            f"but {free / 1e9:.3g} GB are free in {folder} ({error.strerror}); choose another disk, or use "
            f"method='factored'"
        ) from None


def _write_zeros(path: Path, offset: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        for start in range(0, length, len(_ZEROS)):
            file.write(_ZEROS[: length - start])
