"""Tiles of a stored matrix that prove themselves: a digest of each, checked when it is first read."""

import hashlib
import math
from pathlib import Path

import numpy as np

from ntkspec import checks

DIGEST = 16  # bytes


class Proof:
    """What the tiles of a stored triangle must be: for each a digest of its sum of squares and of its bytes.

    blocks : (tiles, T, T), squares : (tiles,) float64, NaN for a tile that is not there yet, digests : (tiles, 16)
    uint8; arrays on the file of that ``name``. Safe with several threads. Cost: each tile is hashed once, at 0.4 to 1
    GB/s for each worker; afterwards a check is a look at a flag.
    """

    def __init__(self, blocks: np.ndarray, squares: np.ndarray, digests: np.ndarray, name: Path):
        self.blocks, self.squares, self.digests, self.name = blocks, squares, digests, name
        self._unread = np.ones(len(blocks), bool)

    def unread(self) -> np.ndarray:
        """The numbers of the tiles that nobody has checked yet."""
        return np.flatnonzero(self._unread)

    def check(self, k: int) -> None:
        """Raise ValueError where tile k is not what was written."""
        if self._unread[k]:
            if not self.holds(k):
                row = (math.isqrt(8 * int(k) + 1) - 1) // 2
                raise ValueError(
                    f"{self.name} is damaged: tile ({row}, {int(k) - row * (row + 1) // 2}) does not match its "
                    f"checksum; remove it and save the kernel again"
                )
            self._unread[k] = False

    def holds(self, k: int) -> bool:
        """Whether tile k and its sum of squares are what was written."""
        return bytes(self.digests[k]) == self._digest(k, self.squares[k])

    def keep(self, k: int, square: float) -> None:
        """Tile k is where it belongs: write its digest, and then its sum of squares, which says that it is there.

        Raises ValueError for a tile with NaN or infinity, or with entries whose squares float64 does not hold.
        """
        square = checks.finite_sum([float(square)])
        self.digests[k] = np.frombuffer(self._digest(k, square), np.uint8)
        self.squares[k] = square

    def _digest(self, k: int, square) -> bytes:
        digest = hashlib.blake2b(np.float64(square).tobytes(), digest_size=DIGEST)
        digest.update(self.blocks[k].data)
        return digest.digest()
