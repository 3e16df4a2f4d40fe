"""Whether tiles that were formed before are those of a kernel."""

import math

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.tiles import index, places, slices

# How often as far as two ways of computing an entry in float32 differ, the tile may be from either.
SLACK = 8
# Points that are computed again together.
_TOGETHER = 32


def agree(operator: KernelOperator, blocks: Array, there: Array, seed: int = 0) -> bool:
    """Whether tiles (tiles, T, T) of a lower triangle in the host's memory are those of a symmetric kernel.

    there : (tiles,) whether each is to be compared. Where the entries of the kernel are stored, all must be the same.
    Otherwise one point of each row of tiles is drawn and computed again with all points, so that each tile is compared
    in a row or a column that meets every point of the other side: one point that differs shows. They must agree up to
    rounding: in float64, or where only products are known, up to a bound on it; in float32, up to SLACK times what
    computing these points in float64 shows.
    Cost: n² / T times ``cost.entry``, in float32 twice that again; where only products are known n / T of them.
    """
    if operator.stored:
        return _same(operator, blocks, there)
    n, side = operator.shape[0], blocks.shape[1]
    rng = np.random.default_rng(seed)
    drawn = np.array([rng.integers(rows.start, rows.stop) for rows in slices(n, side)])
    for group in slices(len(drawn), _TOGETHER):
        again, allowed = _again(operator, drawn[group])
        for row, tolerance, point in zip(again, allowed, drawn[group], strict=True):
            before = _row(blocks, there, point)[:n]
            known = ~np.isnan(before)
            if not (abs(before - row)[known] <= tolerance).all():
                return False
    return True


def _same(operator: KernelOperator, blocks, there) -> bool:
    """Whether all entries are equal."""
    where, engine = places(operator.shape[0], blocks.shape[1]), operator.engine

    def equal(k):
        tile = engine.to_host(operator.tile(*where[k]))
        return np.array_equal(tile, blocks[k][: tile.shape[0], : tile.shape[1]])

    return all(engine.run(equal, np.flatnonzero(there)))


def _row(blocks, there, point: int) -> np.ndarray:
    """The entries of a point with all points, NaN where their tiles are not there."""
    side, rows = blocks.shape[1], math.isqrt(2 * len(blocks))
    row, (i, inside) = np.full((rows, side), np.nan), divmod(int(point), side)
    for j in range(rows):
        k = index(max(i, j), min(i, j))
        if there[k]:
            row[j] = blocks[k][inside] if j <= i else blocks[k][:, inside]
    return row.reshape(-1)


def _again(operator: KernelOperator, points) -> tuple[np.ndarray, np.ndarray]:
    """The entries of some points with all points, and how far entries of each that were formed before may be away."""
    again = _rows(operator, points, operator.dtype)
    if operator.dtype == np.float64 or not operator.entrywise:
        return again, np.full(len(points), 2 * operator.formed_error)
    sizes = operator.engine.to_host(operator.row_weights())
    once = np.finfo(operator.dtype).eps * np.sqrt(sizes[points] * sizes.max())
    shown = abs(again - _rows(operator, points, np.float64)).max(axis=1)
    return again, SLACK * np.maximum(once, shown)


def _rows(operator: KernelOperator, points, dtype) -> np.ndarray:
    """K[points] in the host's memory."""
    engine, n = operator.engine, operator.shape[1]
    where = engine.xp.asarray(points)
    if not operator.entrywise:
        units = engine.xp.zeros((n, len(points)), dtype)
        units[where, engine.xp.arange(len(points))] = 1
        return engine.to_host(operator @ units).T
    parts = operator.over_tiles(lambda cols: operator.tile(where, cols, dtype), slices(n, 4 * engine.TILE))
    return engine.to_host(engine.xp.hstack(parts))
