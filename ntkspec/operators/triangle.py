"""A symmetric matrix stored as the tiles of its lower triangle, in memory or on disk."""

import math

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.operators import base
from ntkspec.operators.base import KernelOperator, Tile
from ntkspec.operators.work import Work

# The loop of a product takes eight rows of a tile at a time.
_MULTIPLE = 8
# Bytes from which a product is worth the time to wake the other workers.
SHARED_FROM = 2**21


class Triangle(KernelOperator):
    """A symmetric (n, n) matrix as ``blocks`` (tiles, T, T): (0, 0), (1, 0), (1, 1), (2, 0), ..., padded with zeros.

    Half the memory of the matrix and one pass over it for each product. ``squares`` is the sum of the squared entries
    of the whole matrix, in float64. ``blocks`` may be a memory map.
    """

    grams = ()
    symmetric = True

    def __init__(self, blocks, n: int, squares: float):
        self.blocks, self.squares = blocks, squares
        self.engine = engine_of(blocks)
        self.shape, self.dtype = (n, n), blocks.dtype
        self.side = blocks.shape[1]
        self.product_work = Work(bytes=float(blocks.nbytes))
        self.stored_work = Work(entries=1.0, bytes=float(self.dtype.itemsize))

    @staticmethod
    def layout(n: int) -> tuple[int, int, int]:
        """(tiles, T, T) for n points: as many tiles as T = TILE needs, and no larger than it must be."""
        side = -(-n // -(-n // base.TILE))
        side = -(-side // _MULTIPLE) * _MULTIPLE
        rows = -(-n // side)
        return rows * (rows + 1) // 2, side, side

    def accumulate(self, out, tile, scale=1.0):
        side = self.side
        for i in range(tile.rows.start // side, -(-tile.rows.stop // side)):
            for j in range(tile.cols.start // side, -(-tile.cols.stop // side)):
                block = self.blocks[_index(i, j)] if j <= i else self.blocks[_index(j, i)].T
                rows, here = _overlap(i * side, side, tile.rows)
                cols, there = _overlap(j * side, side, tile.cols)
                out[here, there] += self.dtype.type(scale) * block[rows, cols]

    def factored_product(self, V):
        """``K @ V``, reading each block once; the workers add to sums of their own."""
        xp, padded = self.engine.xp, math.isqrt(2 * len(self.blocks)) * self.side
        right = xp.zeros((V.shape[1], padded), self.dtype)
        right[:, : len(V)] = V.T
        multiply = self._add_product if len(right) == 1 else self._add_products

        def add(share):
            out = xp.zeros_like(right)
            multiply(share, right, out)
            return out

        count = len(self.blocks)
        shares = self.engine.shares(count) if self.blocks.nbytes > SHARED_FROM else [slice(0, count)]
        return sum(self.engine.run(add, shares))[:, : len(V)].T

    def _product(self, V):
        return self.factored_product(V)

    def _add_product(self, share, right, out):
        self.engine.triangle_product(self.blocks, share.start, share.stop, right[0], out[0])

    def _add_products(self, share, right, out):
        for place, block in zip(places(self.shape[0], self.side)[share], self.blocks[share], strict=True):
            rows, cols = (slice(part.start, part.start + self.side) for part in place)
            out[:, rows] += right[:, cols] @ block.T
            if rows != cols:
                out[:, cols] += right[:, rows] @ block

    def diagonal(self):
        count = -(-self.shape[0] // self.side)
        parts = [self.blocks[_index(i, i)].diagonal() for i in range(count)]
        return self.engine.xp.concatenate(parts)[: self.shape[0]]

    @property
    def T(self):
        return self


def places(n: int, side: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles of the lower triangle, in the order of the blocks."""
    rows = [slice(a, min(a + side, n)) for a in range(0, n, side)]
    return [(one, other) for k, one in enumerate(rows) for other in rows[: k + 1]]


def form(operator: KernelOperator, blocks=None, squares=None) -> Triangle:
    """The matrix of a symmetric operator, formed tile by tile into ``blocks`` (zeros of Triangle.layout, new if None).

    The sum of squares comes out of the same pass. ``squares`` (tiles,) collects it tile by tile: where it is not NaN
    the tile is there already. Cost: n² / 2 times tile_work; no temporary larger than a tile.
    """
    engine, n = operator.engine, operator.shape[0]
    if blocks is None:
        blocks = engine.xp.zeros(Triangle.layout(n), operator.dtype)
    if squares is None:
        squares = np.full(len(blocks), np.nan)
    where = places(n, blocks.shape[1])

    def fill(k):
        block, (rows, cols) = blocks[k], where[k]
        tile = Tile(rows, cols)
        if tile.shape == block.shape:
            block[...] = 0
            operator.accumulate(block, tile)
        else:
            block[: tile.shape[0], : tile.shape[1]] = operator.tile(rows, cols)
        squares[k] = engine.sum_of_squares(block) * (1 if rows == cols else 2)

    engine.run(fill, np.flatnonzero(np.isnan(squares)), progress="kernel matrix (tiles)")
    operator.squares = math.fsum(squares)
    return Triangle(blocks, n, operator.squares)


def _index(i: int, j: int) -> int:
    """The number of block (i, j), j <= i."""
    return i * (i + 1) // 2 + j


def _overlap(start: int, side: int, asked: slice) -> tuple[slice, slice]:
    """The common part of a block and a slice, counted from the start of each."""
    first, last = max(start, asked.start), min(start + side, asked.stop)
    return slice(first - start, last - start), slice(first - asked.start, last - asked.start)
