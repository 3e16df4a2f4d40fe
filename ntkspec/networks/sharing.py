"""One side for all kernels of a network at the same points: what it keeps of their gradients is made once."""

import hashlib
from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from ntkspec.networks.points import parts
from ntkspec.networks.protocol import Points


class SharedSides:
    """The sides of kernels that are alive, by what they are of and by the numbers of their points, ``side.at``."""

    def __init__(self, array_of: Callable[[Any], np.ndarray] = np.asarray):
        self._array_of = array_of
        self._alive: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()

    def content(self, points: Points) -> bytes:
        """What tells points from others; they are read once."""
        names = list(points) if isinstance(points, dict) else type(points).__name__
        arrays = [np.ascontiguousarray(self._array_of(part)) for part in parts(points)]
        told = hashlib.blake2b(repr((names, [(array.shape, array.dtype.str) for array in arrays])).encode())
        for array in arrays:
            told.update(array.reshape(-1).view(np.uint8).data)
        return told.digest()

    def find(self, what: Hashable, content: bytes) -> Any:
        """The side of ``what`` at points of this content, or None; points that were written to since are others."""
        side = self._alive.get((what, content))
        return side if side is not None and self.content(side.at) == content else None

    def keep(self, what: Hashable, content: bytes, side: Any) -> Any:
        """The side, which others find as long as somebody holds it."""
        self._alive[what, content] = side
        return side

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedSides, (self._array_of,)
