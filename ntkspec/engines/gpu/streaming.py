"""Tiles in the host's memory or in a file: they come to the GPU, or leave it, while the GPU computes.

Copies have a stream of their own, and two rooms on the GPU take turns: while tiles in one of them are computed with,
the others are copied. Memory that the GPU's copies cannot reach (a file's pages) is copied through pinned memory.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cupy as xp
import numpy as np

from ntkspec import progress
from ntkspec.engines.arrays import Array, DTypeLike

# Bytes that are copied at once: far more than what starting a copy costs.
_TOGETHER = 2**28


def spare_tiles(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """A NumPy array in pinned memory, its entries not set; the memory is given back with the array.

    Pinning takes the time of writing the memory once.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = xp.cuda.PinnedMemoryPointer(xp.cuda.PinnedMemory(size), 0)
    return np.ndarray(shape, dtype, buffer=memory)


def link_rate() -> float:
    """Bytes a second from pinned memory to the GPU, measured in about 0.1 s."""
    host = spare_tiles((_TOGETHER // 4,), np.uint8)
    there, events = xp.empty(host.shape, host.dtype), [xp.cuda.Event() for _ in range(3)]
    for event in events:  # the memory is given back behind the last one
        there.data.copy_from_host_async(host.ctypes.data, host.nbytes, xp.cuda.get_current_stream())
        event.record()
    events[-1].synchronize()
    return host.nbytes / max(xp.cuda.get_elapsed_time(*events[1:]), 1e-6) * 1e3


def _pinned(array) -> bool:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array.base, xp.cuda.PinnedMemoryPointer)


class _Room:
    """Room for some tiles on the GPU. ``used`` : the event after which copies may change it, ``copied`` : the one
    after which computing may."""

    def __init__(self, shape: tuple[int, ...], stored: np.ndarray):
        self.tiles = xp.empty(shape, stored.dtype)
        self.staging = None if _pinned(stored) else spare_tiles(shape, stored.dtype)
        self.used, self.copied = (xp.cuda.Event(disable_timing=True) for _ in range(2))
        self.used.record()  # what had this memory before may still compute

    def take(self, stored: np.ndarray, stream: Any) -> None:
        """Begin to copy these tiles to the GPU."""
        if self.staging is not None:
            self.copied.synchronize()
            self.staging[: len(stored)] = stored
            stored = self.staging[: len(stored)]
        stream.wait_event(self.used)
        self.tiles.data.copy_from_host_async(stored.ctypes.data, stored.nbytes, stream)
        self.copied.record(stream)

    def give(self, stored: np.ndarray, stream: Any) -> None:
        """Begin to copy the first tile to ``stored``, or to where :meth:`settle` brings it there from."""
        target = stored if self.staging is None else self.staging[0]
        stream.wait_event(self.used)
        self.tiles.data.copy_to_host_async(target.ctypes.data, target.nbytes, stream)
        self.copied.record(stream)

    def settle(self, stored: np.ndarray) -> None:
        """Wait until the tile is in ``stored``."""
        self.copied.synchronize()
        if self.staging is not None:
            stored[...] = self.staging[0]


def inbound(stored: np.ndarray, first: int, last: int) -> Iterator[tuple[int, Array]]:
    """(number of the first, tiles on the GPU) for stored[first:last], group by group, in order.

    A group may be computed with until the next one is asked for. Cost: the bytes of the tiles at the rate of the link,
    while what is computed with them takes no longer.
    """
    size = max(1, _TOGETHER // stored[0].nbytes)
    groups = [slice(a, min(a + size, last)) for a in range(first, last, size)]
    stream, own = xp.cuda.Stream(non_blocking=True), xp.cuda.get_current_stream()
    rooms = [_Room((min(size, last - first), *stored.shape[1:]), stored) for _ in groups[:2]]
    try:
        for k, group in enumerate(groups):
            if k == 0:
                rooms[0].take(stored[group], stream)
            if k + 1 < len(groups):
                rooms[(k + 1) % 2].take(stored[groups[k + 1]], stream)
            room = rooms[k % 2]
            own.wait_event(room.copied)
            yield group.start, room.tiles[: group.stop - group.start]
            room.used.record(own)
    finally:
        stream.synchronize()


def fill_tiles(
    blocks: Array,
    keep: Callable[[int, Any], None],
    fill: Callable[[int, Array], Any],
    numbers: Iterable[int],
    text: str,
) -> None:
    """keep(k, fill(k, tile)), for the number k of each tile of ``blocks`` that is to be filled.

    blocks : (tiles, T, T) on the GPU, which are filled where they lie, or in the host's memory or a file, where they
    are copied while the next one is computed. ``keep`` is called when the tile is where it belongs.
    """
    watched = progress.bar(numbers, text=text)
    if isinstance(blocks, xp.ndarray):
        for k in watched:
            keep(k, fill(k, blocks[k]))
        return
    stream, rooms = xp.cuda.Stream(non_blocking=True), [_Room((1, *blocks.shape[1:]), blocks) for _ in range(2)]
    waiting: list[tuple] = []

    def settle():
        k, room, square = waiting.pop(0)
        room.settle(blocks[k])
        keep(k, float(square))

    try:
        for place, k in enumerate(watched):
            if len(waiting) == 2:
                settle()
            room = rooms[place % 2]
            square = fill(k, room.tiles[0])
            room.used.record()
            room.give(blocks[k], stream)
            waiting.append((k, room, square))
        while waiting:
            settle()
    finally:
        stream.synchronize()
