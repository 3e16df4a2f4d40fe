"""A kernel in a file as an operator, which pickles as the file's name."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec.operators import Triangle


class OnDisk(Triangle):
    """A triangle whose blocks lie in the file ``path``. Pickles and copies load the file again."""

    def __init__(self, path: str | os.PathLike, *args: Any, **known: Any):
        super().__init__(*args, **known)
        self.path = Path(path).absolute()

    @property
    def mark(self) -> bytes:
        """What tells it from other kernels: a digest of its points, its sum of squares, and its first and last tile."""
        found = hashlib.blake2b(repr((self.shape, self.dtype.str, self.frobenius_squared)).encode(), digest_size=16)
        for tile in (self.blocks[0], self.blocks[-1]):
            found.update(np.ascontiguousarray(tile).data)
        return found.digest()

    def __reduce__(self):
        return _loaded, (self.path, self.engine.name, self.mark)


def _loaded(path: Path, engine: str, mark: bytes) -> OnDisk:
    """The kernel of a file, if it is still the one that was pickled."""
    from ntkspec.storage.kernels import load_kernel  # which is built on this module

    found = load_kernel(path, engine=engine)
    if found.mark != mark:
        raise ValueError(f"{path} holds another kernel now than the one that was pickled; save that one again")
    return found
