"""A symmetric matrix formed tile by tile, into memory or a file."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ntkspec import checks, progress
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.tiles import Tile, places
from ntkspec.operators.triangle import Triangle


def form(
    operator: KernelOperator,
    blocks: Array | None = None,
    squares: Array | None = None,
    keep: Callable[[int, float], None] | None = None,
) -> Triangle:
    """The matrix of a symmetric operator, formed tile by tile.

    Parameters
    ----------
    operator : KernelOperator, shape (n, n)
        A symmetric one. Tiles are computed where its engine does.
    blocks : array, shape of ``Triangle.layout(n, T)``, optional
        Zeros that become the tiles, in memory or on a file; new ones where it is None.
    squares : array, shape (tiles,), optional
        Takes the weighted sum of squares of each tile; where it is not NaN the tile is there already.
    keep : function of (k, square), optional
        What takes tile k's sum of squares in place of ``squares``, once the tile is where it belongs.

    Returns
    -------
    Triangle
        With ``storage_error``, how far its entries are from the kernel.

    Raises
    ------
    MemoryError
        Where the triangle does not fit, with what is free.

    Notes
    -----
    Cost: n² / 2 times ``cost.entry``; no temporary larger than a tile. The sum of squares comes out of the same pass,
    and the operator keeps it.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Gram, form
    >>> X = np.eye(3)
    >>> bool((form(Gram(X)).to_dense() == X).all())
    True
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
            own = engine.tiles.sum_of_squares(block)
        return own if rows == cols else 2 * own

    missing = np.flatnonzero(np.isnan(home.to_host(squares)))
    put = partial(engine.fill_tiles, blocks, keep or squares.__setitem__)
    text = "kernel matrix (tiles)"
    if operator.entrywise and operator.takes_all_threads:
        operator.over_tiles(lambda k: put(fill, [k], ""), missing, text=text)
    elif operator.entrywise:
        put(fill, missing, text)
    else:
        _fill_by_columns(operator, where, missing, put)
    return Triangle(
        blocks,
        n,
        operator.keep_frobenius_squared(checks.finite_sum(home.to_host(squares))),
        storage_error=operator.formed_error,
        semidefinite=operator.semidefinite,
        engine=engine,
        rows_per_point=operator.rows_per_point,
    )


def _fill_by_columns(operator: KernelOperator, where: list, missing: np.ndarray, put: Callable) -> None:
    """Where only products are known: one for each column serves all the tiles below it."""
    text, n = "kernel matrix (products)", operator.shape[0]
    operator.warn_of_columns(text)
    with progress.bar(total=n, text=text) as bar:
        for cols in [cols for rows, cols in where if rows == cols]:
            numbers = [k for k in missing if where[k][1] == cols]
            if numbers:
                columns = operator.tile(slice(0, n), cols)
                put(partial(_fill_from, operator.engine, columns, where), numbers, text)
            bar.update(cols.stop - cols.start)


def _fill_from(engine: Engine, columns: Array, where: list, k: int, block: Array) -> Any:
    """Tile k from its columns; returns the weighted sum of its squares."""
    rows, cols = where[k]
    block[...] = 0
    block[: rows.stop - rows.start, : columns.shape[1]] = columns[rows]
    own = engine.tiles.sum_of_squares(block)
    return own if rows == cols else 2 * own
