"""Products with a symmetric matrix on the GPU that read one triangle once for both halves, and for several vectors."""

import cupy as xp
import numpy as np

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.gpu.compiling import blocks_of, grid_of, kernel, launch
from ntkspec.engines.gpu.streaming import inbound

# As in symmetric.cu: rows of a tile that a block of threads takes.
_STRIP = 64
# Rows and columns of the tiles of a matrix that is stored row by row; a smaller one is one tile.
_SIDE = 2048
# Numbers of partial sums that are kept at once (128 MB in float64).
_PARTIAL = 2**24


def room(count: int, n: int, dtype: DTypeLike) -> Array:
    """Zeros (count, n) for vectors or sums."""
    return xp.zeros((count, n), dtype)


def triangle_product(blocks: Array, first: int, last: int, vectors: Array, out: Array) -> None:
    """Add to ``out`` the products of the tiles first, ..., last - 1 of a lower triangle, and of their mirrors.

    blocks : (tiles, T, T) in the order (0, 0), (1, 0), (1, 1), (2, 0), ...; tiles on the diagonal are whole. Those in
    the host's memory or in a file come to the GPU group by group.
    vectors, out : (k, count of block rows * T), float64, or the dtype of the blocks.
    """
    side = blocks.shape[1]
    places = _lower(len(blocks), lambda tile, row, column: tile * side * side)
    groups = [(0, blocks)] if isinstance(blocks, xp.ndarray) else inbound(blocks, first, last)
    for start, tiles in groups:
        here = places[max(first, start) : min(last, start + len(tiles))] - [0, 0, start * side * side]
        _products(tiles, side, here, side, vectors, out)


def product(matrix: Array, first: int, last: int, vectors: Array, out: Array) -> None:
    """Add to ``out`` the products of the rows first, ..., last - 1 of a lower triangle, and of their mirrors.

    matrix : (n, n), each row in one piece, of which the lower triangle and squares of 2048 rows on the diagonal are
    read; the rows are all of them, or end at multiples of 2048. vectors, out : (k, n), float64, or the matrix's dtype.
    """
    n, step = len(matrix), matrix.strides[0] // matrix.itemsize
    side = min(_SIDE, n)
    rows = -(-n // side)
    places = _lower(rows * (rows + 1) // 2, lambda tile, row, column: side * (row * step + column))
    inside = (places[:, 0] * side >= first) & (places[:, 0] * side < last)
    _products(matrix, step, places[inside], side, vectors, out)


def _lower(count: int, start):
    """(row, column, first entry) of the tiles of a lower triangle, in order."""
    rows = (np.sqrt(8 * np.arange(count) + 1).astype(np.int64) - 1) // 2
    columns = np.arange(count) - rows * (rows + 1) // 2
    return np.stack([rows, columns, start(np.arange(count), rows, columns)], axis=1).astype(np.int64)


def _products(matrix: Array, step: int, places: np.ndarray, side: int, vectors: Array, out: Array) -> None:
    """Groups of 4, 2 and 1 vectors, as they fit into registers."""
    v = 0
    while v < len(vectors):
        group = 4 if len(vectors) - v >= 4 else min(2, len(vectors) - v)
        _of_group(matrix, step, places, side, vectors[v : v + group], out[v : v + group])
        v += group


def _of_group(matrix: Array, step: int, places: np.ndarray, side: int, vectors: Array, out: Array) -> None:
    (group, n), strips = vectors.shape, -(-side // _STRIP)
    first_row = matrix[0] if matrix.ndim == 2 else matrix[0, 0]
    kind = {"number": vectors.dtype.char, "VECTORS": group}
    both, collect = (kernel("symmetric", name, matrix.dtype.char, **kind) for name in ("both_sides", "collect"))
    together = max(1, _PARTIAL // (group * side * (strips + 1)))
    for k in range(0, len(places), together):
        here = xp.asarray(places[k : k + together])
        tiles = len(here)
        below, above = (xp.empty(tiles * many * group * side, vectors.dtype) for many in (1, strips))
        where = here.reshape(-1)
        launch(both, tiles * strips, below, above, first_row, step, where, vectors, side, n)
        launch(collect, grid_of(group, n), out, below, above, where, tiles, side, n)


def squares_and_defect(matrix: Array, first: int, last: int) -> tuple[float, float]:
    """(sum of a_ij², sum of (a_ij - a_ji)²) of a whole matrix (n, n), each row in one piece.

    first, last : 0 and n; the GPU does not share out rows.
    """
    if (first, last) != (0, len(matrix)):
        raise ValueError(f"rows {first} to {last} came, but all {len(matrix)} are compared at once")
    count = blocks_of(matrix.size)
    sums = xp.empty((count, 2))
    launch(kernel("symmetric", "squares_and_defect", matrix.dtype.char, number="d", VECTORS=1), count,
           sums.reshape(-1), matrix, len(matrix))  # fmt: skip
    squares, defect = xp.asnumpy(sums.sum(axis=0))
    return float(squares), float(defect)
