"""A symmetric matrix stored as the tiles of its lower triangle, in memory or on disk."""

import math
from typing import Any

import numpy as np

from ntkspec.engines import Engine, engine_of, moved
from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.operators.stored import Stored
from ntkspec.operators.tiles import Rows, Tile, index
from ntkspec.operators.work import Cost, Work

# The loop of a product takes rows and columns of a tile by eights.
_MULTIPLE = 8
# Bytes from which a product is worth the time to wake the other workers.
SHARED_FROM = 2**21


class Triangle(Stored):
    """A symmetric (n, n) matrix stored as the tiles of its lower triangle.

    Parameters
    ----------
    blocks : array, shape (tiles, T, T)
        Tiles (0, 0), (1, 0), (1, 1), (2, 0), ..., padded with zeros. It may be a memory map; where it lies in the
        host's memory or a file and ``engine`` is a GPU's, products copy tiles there.
    n : int
        Rows.
    squares : float
        The sum of the squared entries of the whole matrix, in float64.
    storage_error : float, default 0
        How far in Frobenius norm it is from the kernel that it was formed from.
    semidefinite : bool, default False
        Whether that kernel is positive semidefinite by construction.
    engine : module, optional
        What computes; that of ``blocks`` where it is None.
    proof : optional
        Has ``check(k)``, which raises where tile k is not what was stored, before that tile is first used, and
        ``unread()``, the tiles that were not checked yet.
    rows_per_point : int, default 1
        K where each of K outputs of a network has a row.

    Notes
    -----
    Half the memory of the matrix, and one pass over it for each product of up to a few vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Dense, form
    >>> form(Dense(np.eye(3))).blocks.shape
    (1, 8, 8)
    """

    symmetric = True

    def __init__(
        self,
        blocks: Array,
        n: int,
        squares: float,
        *,
        storage_error: float = 0.0,
        semidefinite: bool = False,
        engine: Engine | None = None,
        proof: Any = None,
        rows_per_point: int = 1,
    ):
        self.blocks, self.frobenius_squared = blocks, squares
        self.storage_error, self.semidefinite = storage_error, semidefinite
        self.proof, self.rows_per_point = proof, rows_per_point
        self.engine = engine_of(blocks) if engine is None else engine
        self.shape, self.dtype = (n, n), blocks.dtype
        self.side = blocks.shape[1]
        streamed = self.engine is not engine_of(blocks)
        product = stored_product(blocks.nbytes, self.engine.last_cache(), streamed=streamed)
        self.cost = Cost(product, own=Work(entries=1.0) + 1 / blocks.size * product)
        self.rounding_depth = float(n)

    @staticmethod
    def layout(n: int, largest: int) -> tuple[int, int, int]:
        """(tiles, T, T) for n rows: as many tiles as T = ``largest`` needs, and no larger than it must be."""
        side = -(-n // -(-n // largest))
        side = -(-side // _MULTIPLE) * _MULTIPLE
        rows = -(-n // side)
        return rows * (rows + 1) // 2, side, side

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        for i, rows, here in self._pieces(tile.rows):
            for j, cols, there in self._pieces(tile.cols):
                block = moved(self._block(max(i, j), min(i, j)), self.engine)
                entries = (block if j <= i else block.T)[rows][:, cols]
                out[here, there] += out.dtype.type(scale) * entries

    def _block(self, i: int, j: int) -> Array:
        """Block (i, j), j <= i, as it was stored."""
        k = index(i, j)
        if self.proof is not None:
            self.proof.check(k)
        return self.blocks[k]

    def _prove(self) -> None:
        """Check the blocks that were not read yet, on all cores of the host."""
        if self.proof is not None and len(unread := self.proof.unread()):
            engine_of(self.blocks).run(self.proof.check, unread, progress="checksums (tiles)")

    def _pieces(self, asked: Rows):
        """For each block that a slice or an array of numbers meets: its number, and the common part counted from its
        start and from the start of what was asked for."""
        side, engine = self.side, self.engine
        if isinstance(asked, slice):
            for block in range(asked.start // side, -(-asked.stop // side)):
                first, last = max(block * side, asked.start), min((block + 1) * side, asked.stop)
                inside = slice(first - block * side, last - block * side)
                yield block, inside, slice(first - asked.start, last - asked.start)
        else:
            numbers = engine.to_host(asked)
            for block in np.unique(numbers // side):
                here = np.flatnonzero(numbers // side == block)
                yield int(block), *(engine.xp.asarray(place) for place in (numbers[here] - block * side, here))

    def _matmat(self, V: Array) -> Array:
        """``K @ V``, reading each block once for all vectors; the workers add to sums of their own."""
        self._prove()
        loops, padded, count = self.engine.symmetric, math.isqrt(2 * len(self.blocks)) * self.side, len(self.blocks)
        right = loops.room(V.shape[1], padded, np.result_type(self.dtype, V.dtype))
        right[:, : len(V)] = V.T

        def add(share):
            out = loops.room(V.shape[1], padded, right.dtype)
            loops.triangle_product(self.blocks, share.start, share.stop, right, out)
            return out

        shares = self.engine.shares(count) if self.blocks.nbytes > SHARED_FROM else [slice(0, count)]
        return sum(self.engine.run(add, shares))[:, : len(V)].T

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        count = -(-self.shape[0] // self.side)
        parts = [moved(self._block(i, i).diagonal(), self.engine) for i in range(count)]
        return self.engine.xp.concatenate(parts)[: self.shape[0]].astype(dtype or self.dtype, copy=False)

    @property
    def T(self) -> "Triangle":
        return self


def stored_product(size: float, cache: float, *, streamed: bool) -> Work:
    """The work of multiplying with a stored matrix of so many bytes; copying hides the rest where it is streamed."""
    return Work(copied=float(size)) if streamed else Work.of_reading(float(size), cache)
