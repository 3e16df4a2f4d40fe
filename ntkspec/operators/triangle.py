"""A symmetric matrix stored as the tiles of its lower triangle, in memory or on disk."""

import math

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of, moved
from ntkspec.operators import base
from ntkspec.operators.base import KernelOperator, Stored, Tile
from ntkspec.operators.work import Work

# The loop of a product takes rows and columns of a tile by eights.
_MULTIPLE = 8
# Rows from which the rounding of a float32 matrix is estimated.
SAMPLED_ROWS = 8
# Bytes from which a product is worth the time to wake the other workers.
SHARED_FROM = 2**21


class Triangle(Stored):
    """A symmetric (n, n) matrix as ``blocks`` (tiles, T, T): (0, 0), (1, 0), (1, 1), (2, 0), ..., padded with zeros.

    Half the memory of the matrix and one pass over it for each product. ``frobenius_squared`` is the sum of squares
    of the whole matrix, in float64, ``storage_error`` how far in Frobenius norm it is from the kernel it was formed
    from, and ``semidefinite`` whether that kernel is by construction. ``blocks`` may be a memory map; where they lie in
    the host's memory or a file and the ``engine`` is a card's, products copy tiles there. ``proof``, where there is
    one, has ``check(k)``, which raises where tile k is not what was stored, before that tile is first used, and
    ``unread()``, the tiles that were not checked yet.
    """

    symmetric = True

    def __init__(
        self, blocks, n: int, squares: float, *, storage_error=0.0, semidefinite=False, engine=None, proof=None
    ):
        self.blocks, self.frobenius_squared = blocks, squares
        self.storage_error, self.semidefinite = storage_error, semidefinite
        self.proof = proof
        self.engine = engine_of(blocks) if engine is None else engine
        self.shape, self.dtype = (n, n), blocks.dtype
        self.side = blocks.shape[1]
        self.product_work = stored_product(blocks.nbytes, streamed=self.engine is not engine_of(blocks))
        self.stored_work = Work(entries=1.0, bytes=float(self.dtype.itemsize))
        self.depth = float(n)

    @staticmethod
    def layout(n: int, largest: int) -> tuple[int, int, int]:
        """(tiles, T, T) for n points: as many tiles as T = ``largest`` needs, and no larger than it must be."""
        side = -(-n // -(-n // largest))
        side = -(-side // _MULTIPLE) * _MULTIPLE
        rows = -(-n // side)
        return rows * (rows + 1) // 2, side, side

    def accumulate(self, out, tile, scale=1.0):
        for i, rows, here in self._pieces(tile.rows):
            for j, cols, there in self._pieces(tile.cols):
                block = moved(self._block(max(i, j), min(i, j)), self.engine)
                entries = (block if j <= i else block.T)[rows][:, cols]
                out[here, there] += out.dtype.type(scale) * entries

    def _block(self, i: int, j: int):
        """Block (i, j), j <= i, as it was stored."""
        k = index(i, j)
        if self.proof is not None:
            self.proof.check(k)
        return self.blocks[k]

    def _prove(self) -> None:
        """Check the blocks that were not read yet, on all cores of the host."""
        if self.proof is not None and len(unread := self.proof.unread()):
            engine_of(self.blocks).run(self.proof.check, unread, progress="checksums (tiles)")

    def _pieces(self, asked):
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

    def _matmat(self, V):
        """``K @ V``, reading each block once for all vectors; the workers add to sums of their own."""
        self._prove()
        xp, padded, count = self.engine.xp, math.isqrt(2 * len(self.blocks)) * self.side, len(self.blocks)
        right = xp.zeros((V.shape[1], padded), np.result_type(self.dtype, V.dtype))
        right[:, : len(V)] = V.T

        def add(share):
            out = xp.zeros_like(right)
            self.engine.triangle_product(self.blocks, share.start, share.stop, right, out)
            return out

        shares = self.engine.shares(count) if self.blocks.nbytes > SHARED_FROM else [slice(0, count)]
        return sum(self.engine.run(add, shares))[:, : len(V)].T

    def diagonal(self, dtype=None):
        count = -(-self.shape[0] // self.side)
        parts = [moved(self._block(i, i).diagonal(), self.engine) for i in range(count)]
        return self.engine.xp.concatenate(parts)[: self.shape[0]].astype(dtype or self.dtype, copy=False)

    @property
    def T(self):
        return self


def stored_product(size: float, *, streamed: bool) -> Work:
    """The work of multiplying with a stored matrix of so many bytes; copying hides the rest where it is streamed."""
    return Work(copied=float(size)) if streamed else Work(bytes=float(size))


def places(n: int, side: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles of the lower triangle, in the order of the blocks."""
    rows = [slice(a, min(a + side, n)) for a in range(0, n, side)]
    return [(one, other) for k, one in enumerate(rows) for other in rows[: k + 1]]


def form(operator: KernelOperator, blocks=None, squares=None, keep=None) -> Triangle:
    """The matrix of a symmetric operator, formed tile by tile into ``blocks`` (zeros of Triangle.layout, new if None).

    Tiles are computed where the operator's engine does and kept where ``blocks`` lie, such as in a file.
    The sum of squares comes out of the same pass. ``squares`` (tiles,), beside ``blocks``, collects it tile by tile:
    where it is not NaN the tile is there already. ``keep(k, square)`` does so in its place, once tile k is where it
    belongs. Cost: n² / 2 times tile_work; no temporary larger than a tile.
    """
    what = f"the triangle of a kernel {operator.shape[0]} x {operator.shape[1]} in {operator.dtype}"
    with checks.memory_for(what, operator.engine, "use method='factored', or save_kernel to keep it on disk"):
        return _formed(operator, blocks, squares, keep)


def _formed(operator: KernelOperator, blocks, squares, keep) -> Triangle:
    engine, n = operator.engine, operator.shape[0]
    if blocks is None:
        blocks = engine.xp.zeros(Triangle.layout(n, engine.TILE), operator.dtype)
    where, home = places(n, blocks.shape[1]), engine_of(blocks)
    if squares is None:
        squares = home.xp.full(len(blocks), np.nan)

    def fill(k, block):
        rows, cols = where[k]
        tile = Tile(rows, cols, operator.dtype)
        if tile.shape == block.shape:
            own = operator.write(block, tile, squares=True)
        else:
            block[...] = 0
            block[: tile.shape[0], : tile.shape[1]] = operator.tile(rows, cols)
            own = engine.sum_of_squares(block)
        return own if rows == cols else 2 * own

    missing = np.flatnonzero(np.isnan(home.to_host(squares)))
    engine.fill_tiles(blocks, keep or squares.__setitem__, fill, missing, "kernel matrix (tiles)")
    operator.frobenius_squared, distance = math.fsum(home.to_host(squares)), formed_distance(operator)
    return Triangle(
        blocks, n, operator.frobenius_squared, storage_error=distance, semidefinite=operator.semidefinite, engine=engine
    )


def formed_distance(operator: KernelOperator, seed=0) -> float:
    """How far in Frobenius norm the matrix of entries in the operator's dtype is from the kernel.

    float64, or where entries cost whole products: a bound. float32: twice an estimate from SAMPLED_ROWS rows that are
    computed in float64 as well, drawn by ``row_weights``, as rounding grows with them. Its own ``storage_error``
    comes on top. Products of few rows may round otherwise than those of a tile, so that an entry that outweighs all
    others can come out right there: the estimate is at least that of one rounding of each entry on the diagonals of the
    terms. Cost: SAMPLED_ROWS n times tile_work, twice.
    """
    if operator.stored:
        return operator.storage_error
    if operator.rounding is None:
        operator.rounding = _forming_rounding(operator, seed)
    return operator.rounding + operator.storage_error


def _forming_rounding(operator: KernelOperator, seed) -> float:
    if operator.dtype == np.float64 or not operator.entrywise:
        rounding = float(np.finfo(operator.dtype).eps) * operator.absolute_norm if operator.dtype == np.float32 else 0.0
        return operator.forming_error() + rounding * operator.shape[0] ** 0.5
    n, engine = operator.shape[0], operator.engine
    sizes = engine.to_host(operator.row_weights()) if operator.shape == (n, n) else np.zeros(n)
    weights = (sizes if sizes.any() else np.ones(n)) + np.finfo(np.float64).tiny
    chances = 0.5 / n + 0.5 * weights / weights.sum()
    drawn = np.random.default_rng(seed).choice(n, SAMPLED_ROWS, p=chances / chances.sum())
    rows = engine.xp.asarray(drawn)

    def squares(cols):
        precise = operator.tile(rows, cols, np.float64)
        return ((operator.tile(rows, cols) - precise) ** 2).sum(axis=1)

    each = engine.to_host(sum(engine.run(squares, base.slices(operator.shape[1], 4 * engine.TILE))))
    once = float(np.finfo(np.float32).eps) / 2 * float(np.linalg.norm(sizes))
    return 2 * max(once, math.sqrt(float((each / chances[drawn]).mean())))


def index(i: int, j: int) -> int:
    """The number of block (i, j), j <= i."""
    return i * (i + 1) // 2 + j
