"""How far a matrix of entries in float32 is from its kernel: an estimate from a sample of rows."""

import math
from typing import TYPE_CHECKING

import numpy as np

from ntkspec.operators.tiles import slices

if TYPE_CHECKING:
    from ntkspec.operators.base import KernelOperator

# Rows from which the rounding of a float32 matrix is estimated; where columns are dear, pieces of them, and columns in
# a piece.
SAMPLED_ROWS, SAMPLED_PIECES, PIECE = 8, 4, 4


def forming_error(operator: "KernelOperator") -> float:
    """How far in Frobenius norm the matrix of entries in the operator's dtype is from what it computes.

    float64, or where entries cost whole products: a bound. float32: twice an estimate from SAMPLED_ROWS rows that are
    computed in float64 as well, drawn by ``row_weights``, as rounding grows with them. Products of few rows may round
    otherwise than those of a tile, so that an entry that outweighs all others can come out right there: the estimate is
    at least that of one rounding of each entry on the diagonals of the terms. Cost: SAMPLED_ROWS n entries, twice;
    where columns are dear, those of SAMPLED_PIECES pieces of PIECE columns at random places.
    """
    if operator.dtype == np.float64 or not operator.entrywise:
        bounds, eps = operator.rounding, float(np.finfo(operator.dtype).eps)
        rounded = eps * bounds.norm_of_absolute if operator.dtype == np.float32 else 0.0
        return bounds.forming_error_bound + rounded * operator.shape[0] ** 0.5
    n, engine = operator.shape[0], operator.engine
    sizes = engine.to_host(operator.row_weights()) if operator.shape == (n, n) else np.zeros(n)
    weights = (sizes if sizes.any() else np.ones(n)) + np.finfo(np.float64).tiny
    chances = 0.5 / n + 0.5 * weights / weights.sum()
    rng = np.random.default_rng(0)
    drawn = rng.choice(n, SAMPLED_ROWS, p=chances / chances.sum())
    rows = engine.xp.asarray(drawn)

    def squares(cols):
        precise = operator.tile(rows, cols, np.float64)
        return ((operator.tile(rows, cols) - precise) ** 2).sum(axis=1)

    columns, part = slices(operator.shape[1], 4 * engine.TILE), 1.0
    if operator.columns_are_dear and operator.shape[1] > SAMPLED_PIECES * PIECE:
        pieces = slices(operator.shape[1], PIECE)
        columns = [pieces[k] for k in sorted(rng.choice(len(pieces), SAMPLED_PIECES, replace=False))]
        part = sum(cols.stop - cols.start for cols in columns) / operator.shape[1]
    each = engine.to_host(sum(operator.over_tiles(squares, columns))) / part
    once = float(np.finfo(np.float32).eps) / 2 * float(np.linalg.norm(sizes))
    return 2 * max(once, math.sqrt(float((each / chances[drawn]).mean())))
