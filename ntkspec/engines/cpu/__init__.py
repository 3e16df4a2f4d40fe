"""The CPU engine: NumPy arrays, Numba loops, one pool of worker threads. :mod:`ntkspec.engines.contract` says what it
offers.

Every parallel computation of the package runs through :func:`run`: each worker takes row blocks or tiles that fit
into its cache, and BLAS is held to one thread meanwhile, so Numba's, BLAS's and our own threads never compete.
Compiled loops are therefore single-threaded and release the GIL.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as xp

from ntkspec.engines import host
from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.cpu import bits, functions, linalg, lookups, pairs, patches, symmetric, terms, tiles, training
from ntkspec.engines.cpu.threads import blocks, one_blas_thread, run, shares, workers
from ntkspec.engines.host import most_memory, used_memory
from ntkspec.engines.rates import Rates
from ntkspec.engines.terms import HadamardTerm

__all__ = [
    "LEAST_TILE",
    "PAIRS",
    "STRIP",
    "TILE",
    "bits",
    "blocks",
    "fill_tiles",
    "free_memory",
    "functions",
    "last_cache",
    "linalg",
    "lookups",
    "most_memory",
    "name",
    "one_blas_thread",
    "pairs",
    "patches",
    "rates",
    "run",
    "shares",
    "spare_memory",
    "spare_tiles",
    "symmetric",
    "terms",
    "tiles",
    "to_host",
    "training",
    "used_memory",
    "workers",
    "xp",
]

name = "cpu"
# Rows and columns of a tile: a few of them stay in a core's cache. Products of fewer than LEAST_TILE rows are slow.
TILE, LEAST_TILE = 512, 64
# Rows of a tile that are computed together where an entry has many intermediates, which then stay in the cache; and
# pairs of patches at least, for functions of patches: as many as the function itself says.
STRIP, PAIRS = 32, 1
# Bytes of the matrix that is read for the rate of the last cache, at most; and how many caches the one fills that is
# read for that of memory: enough that next to nothing of it is found there again.
CACHED, BEYOND = 64e6, 1.5


# ---------------------------------------------------------------------------------------------- memory and threads
def spare_memory() -> int:
    """Bytes beside the engine's own memory where tiles can lie: none, this is the host."""
    return 0


def free_memory() -> int:
    """Bytes that can be allocated now without swapping, beside what the workers take by themselves."""
    return host.free_memory(threads=workers())


def last_cache() -> int:
    """Bytes of the last caches of this process's cores; 0 where the system does not say."""
    return host.last_cache()


def spare_tiles(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Tiles in that memory, their entries not set."""
    return xp.empty(shape, dtype)


def to_host(array: Array) -> Array:
    """The array itself: it is NumPy's."""
    return array


def fill_tiles(
    blocks: Array,
    keep: Callable[[int, Any], None],
    fill: Callable[[int, Array], Any],
    numbers: Iterable[int],
    text: str,
) -> None:
    """keep(k, fill(k, blocks[k])) for the number k of each tile that is to be filled; ``text`` names the bar."""

    def one(k):
        keep(k, fill(k, blocks[k]))

    run(one, numbers, progress=text)


# ------------------------------------------------------------------------------------------------------------ rates
def rates(dtype: DTypeLike, *, memory: bool = True) -> Rates:
    """The rates of this machine for a dtype, measured once in about 0.1 s.

    Without ``memory``, that of bytes is the cache's: an array that the last cache cannot hold is made for the other.
    """
    found = _measured(xp.dtype(dtype).char)
    return replace(found, bytes=_of_memory()) if memory else found


@cache
def _measured(dtype: str) -> Rates:
    size, rng = 512, xp.random.default_rng(0)
    tile = rng.standard_normal((size, size)).astype(dtype)
    words = rng.integers(0, 2**63, (size, 64), dtype=xp.uint64)
    product = [HadamardTerm(1.0, tile, tile)]

    def add(_):
        for _ in range(4):
            terms.add(tile.copy(), product)

    numbers = xp.ones((2016, 64), dtype)
    found = lookups.products(rng.integers(0, 2**63, (len(numbers), 16), dtype=xp.uint64), 1024, (0.0, 1.0))

    def look_up(_):
        found.scatter(slice(0, len(numbers)), numbers, found.gather(slice(0, len(numbers)), numbers, numbers[:, :1]))

    def rate(task, amount):
        items = [None] * workers()
        return amount * len(items) / min(_seconds(run, task, items) for _ in range(4))

    cached = _of_reading(min(last_cache() / 2, CACHED), dtype)
    return Rates(
        flops=rate(lambda _: [tile @ tile.T for _ in range(4)], 4 * 2.0 * size**3),
        words=rate(lambda _: [bits.count_common(words, words, dtype) for _ in range(4)], 4 * 64.0 * size**2),
        entries=rate(add, 4.0 * size**2),
        bytes=cached,
        cached=cached,
        lookups=rate(look_up, len(numbers) * sum(found.work(numbers.shape[1], dtype))),
    )


@cache
def _of_memory() -> float:
    """Bytes a second of a triangle that the last cache cannot hold, as far as memory goes."""
    return _of_reading(min(max(BEYOND * last_cache(), CACHED), free_memory() / 4), "f")


def _of_reading(size: float, dtype: str) -> float:
    """Bytes a second of products with a triangle of about so many bytes."""
    rows = max(1, int(math.sqrt(2 * size / (TILE * TILE * xp.dtype(dtype).itemsize))))
    blocks, vectors = xp.empty((rows * (rows + 1) // 2, TILE, TILE), dtype), xp.ones((2, rows * TILE))
    parts = shares(len(blocks))
    run(lambda part: blocks[part].fill(1), parts)

    def read(part):
        symmetric.triangle_product(blocks, part.start, part.stop, vectors, xp.zeros_like(vectors))

    return blocks.nbytes / min(_seconds(run, read, parts) for _ in range(8))  # caches take in what is read repeatedly


def _seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start
