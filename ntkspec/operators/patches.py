"""A kernel whose entries come from the inner products of two inputs' circular patches."""

import math
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np

from ntkspec.engines import Engine
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators.factors import paired_factors
from ntkspec.operators.function import SENSITIVITY, OfPairs, formed_each_time
from ntkspec.operators.rounding import HALF_ULP
from ntkspec.operators.tiles import Tile, slices
from ntkspec.operators.work import Cost, Work

# Columns of a tile that are computed together: whole vectors of a compiled loop.
COLUMNS = 16, 64


# Points, and numbers of them.
Side: TypeAlias = tuple[Array, Array]


class Patches:
    """The patches of ``size`` positions along each axis, from each position on, of inputs shape = (*space, channels).

    ``places`` (positions, q) are the positions of each patch, counted in C order.
    """

    def __init__(self, shape: Sequence[int], size: Sequence[int]):
        self.space, self.channels, self.size = tuple(shape[:-1]), shape[-1], tuple(size)
        self.positions, self.length = math.prod(self.space), math.prod(self.size)
        grids = np.indices(self.space).reshape(len(self.space), -1, 1)
        offsets = np.indices(self.size).reshape(len(self.size), 1, -1)
        self.places = np.ravel_multi_index(tuple(grids + offsets), self.space, mode="wrap")

    def means(self, engine: Engine, values: Array) -> Array:
        """Means over the patch at each position, (positions, ...), of values at each position."""
        sums = values
        for axis, (room, size) in enumerate(zip(self.space, self.size, strict=True)):
            before = math.prod(self.space[:axis])
            sums = engine.patches.circular_sums(sums.reshape(before, room, -1), size)
        sums *= 1 / self.length
        return sums.reshape(values.shape)

    def squares(self, engine: Engine, X: Array) -> Array:
        """‖patch‖² / (q channels), (n, positions), of points (n, d)."""
        pixels = X.reshape(-1, self.channels)
        own = engine.xp.ascontiguousarray(engine.linalg.row_products(pixels, pixels, np.float64).reshape(len(X), -1).T)
        return engine.xp.ascontiguousarray(self.means(engine, own).T) / self.channels

    def moments(self, engine: Engine, rows: Side, cols: Side) -> tuple[Array, Array]:
        """(c, gap) of patches (positions, r, s), c their inner product over q channels and gap = a b - c².

        rows = (X (r, d), squares (positions, r)), cols = (Xᵀ (d, s), squares (positions, s)), float64 and C-contiguous.
        Cost: 2 d + 10 positions flops a pair of points, for any size of patches; where patches are nearly parallel, 6
        for each of their numbers more.
        """
        c = self.means(engine, engine.patches.position_products(rows[0], cols[0], self.positions))
        c *= 1 / self.channels
        return c, engine.patches.gaps(c, *rows, *cols, engine.xp.asarray(self.places), None)


class PatchFunction(Protocol):
    """h(x, x') of a positive semidefinite kernel: what :class:`PatchGram` needs to know."""

    # A bound on the error of h(x, x') over sqrt(h(x, x) h(x', x')), rounding of its arguments aside.
    error: float
    # L, the layers of patches.
    levels: int
    # Passes over a tile that one pair of patches costs, and how many pairs are best computed together.
    passes: float
    pairs: int

    def points(self, squares: Array) -> Array:
        """(L, n, positions) numbers of each point, from its patches' squares (n, positions), the first of them."""

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Array:
        """Entries (r, s) for points (L, positions, r) and (L, positions, s), from moments of patches."""

    def diagonal(self, engine: Engine, points: Array) -> Array:
        """h(x, x), (n,), of points (L, n, positions)."""


class PatchGram(OfPairs):
    """K_ij = h(moments of the patches of x_i and x'_j) for X (n, d) and X' (n', d); X' defaults to X. Keeps references.

    Everything is computed in float64, whatever the dtype of X, and rounded to it in the end.
    Cost: 2 d flops and the function's passes for each position an entry; a product forms every tile.
    """

    def __init__(self, function: PatchFunction, patches: Patches, X: ArrayLike, X2: ArrayLike | None = None):
        self.function, self.patches = function, patches
        self.X, self.X2, self.engine = paired_factors(X, X2, "X")
        self.symmetric = self.semidefinite = self.X2 is self.X
        self.shape, self.dtype = (self.X.shape[0], self.X2.shape[0]), self.X.dtype
        self.left = function.points(patches.squares(self.engine, self.X))
        self.right = self.left if self.symmetric else function.points(patches.squares(self.engine, self.X2))
        entry = Work(flops=2.0 * self.X.shape[1], entries=function.passes * patches.positions)
        self.cost = formed_each_time(self.shape, Cost(Work(), own=entry))
        numbers = patches.length * patches.channels + patches.positions
        self.rounding_depth = self.shape[1] + SENSITIVITY * function.levels * (numbers + 64)

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        X, X2 = (self.X[tile.rows].astype(np.float64), self.X2[tile.cols].astype(np.float64))
        left, right = self.left[:, tile.rows], self.right[:, tile.cols]
        together = max(1, max(self.function.pairs, self.engine.PAIRS) // self.patches.positions)
        width = min(max(together, COLUMNS[0]), max(COLUMNS[1], self.engine.STRIP))
        for cols in slices(tile.shape[1], width):
            column = _side(self.engine, X2[cols].T, right[:, cols])
            for rows in slices(tile.shape[0], max(1, together // width)):
                row = _side(self.engine, X[rows], left[:, rows])
                c, gap = self.patches.moments(self.engine, (row[0], row[1][0]), (column[0], column[1][0]))
                entries = self.function(self.engine, row[1], column[1], c, gap)
                self.engine.terms.add_scaled(out[rows, cols], entries, scale)

    @property
    def relative_storage_error(self) -> float:
        return self.function.error + self.function.levels * SENSITIVITY * HALF_ULP

    def against(self, other: "PatchGram") -> "PatchGram":
        """The kernel of its rows with those of another."""
        return PatchGram(self.function, self.patches, self.X, other.X)

    @property
    def T(self) -> "PatchGram":
        return self if self.symmetric else PatchGram(self.function, self.patches, self.X2, self.X)


def _side(engine: Engine, X: Array, points: Array) -> Side:
    """Points as they are for rows, transposed for columns, and their numbers (L, positions, r), C-contiguous."""
    return engine.xp.ascontiguousarray(X), engine.xp.ascontiguousarray(points.swapaxes(1, 2))
