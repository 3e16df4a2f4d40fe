"""The CPU engine: NumPy arrays, Numba loops, one pool of worker threads. :mod:`ntkspec.engines.contract` says what it
offers.

Every parallel computation of the package runs through :func:`run`: each worker takes row blocks or tiles that fit
into its cache, and BLAS is held to one thread meanwhile, so Numba's, BLAS's and our own threads never compete.
Compiled loops are therefore single-threaded and release the GIL.
"""

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as xp
from threadpoolctl import ThreadpoolController

from ntkspec import progress as progress_bars
from ntkspec.engines import host
from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.cpu import bits, functions, linalg, lookups, pairs, patches, symmetric, terms, tiles, training
from ntkspec.engines.host import allowed_cores, most_memory, used_memory
from ntkspec.engines.rates import Rates
from ntkspec.engines.terms import HadamardTerm

__all__ = [
    "PAIRS",
    "STRIP",
    "TILE",
    "bits",
    "blocks",
    "fill_tiles",
    "free_memory",
    "functions",
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
# Rows and columns of a tile: a few of them stay in a core's cache.
TILE = 512
# Rows of a tile that are computed together where an entry has many intermediates, which then stay in the cache; and
# pairs of patches at least, for functions of patches: as many as the function itself says.
STRIP, PAIRS = 32, 1
# Flops from which a share of rows is worth waking a worker, which takes some 30 microseconds.
WORTH_A_WORKER = 2e6


# ---------------------------------------------------------------------------------------------- memory and threads
def spare_memory() -> int:
    """Bytes beside the engine's own memory where tiles can lie: none, this is the host."""
    return 0


def free_memory() -> int:
    """Bytes that can be allocated now without swapping, beside what the workers take by themselves."""
    return host.free_memory(threads=workers())


def spare_tiles(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Tiles in that memory, their entries not set."""
    return xp.empty(shape, dtype)


def to_host(array: Array) -> Array:
    """The array itself: it is NumPy's."""
    return array


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@cache
def workers() -> int:
    """Number of worker threads: what BLAS was allowed at start, so OMP_NUM_THREADS and its like are honoured, and no
    more than the cores whose time a container gives."""
    threads = [library["num_threads"] for library in _blas().info()]
    wanted = max(threads, default=len(os.sched_getaffinity(0)))
    return max(1, math.ceil(min(wanted, allowed_cores())))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers(), thread_name_prefix="ntkspec")


_single = threading.RLock()
_users: list[Any] = []


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS on one thread until the last of the concurrent users leaves; its setting is one for the whole process.

    A loop of many short runs holds it throughout: otherwise BLAS's threads spin between them, on the workers' cores.
    """
    workers()  # counts BLAS's threads before they are limited
    user = object()
    with _single:
        if not _users:
            _users.append(_blas().limit(limits=1))
        _users.append(user)
    try:
        yield
    finally:
        with _single:
            if user in _users:  # not so in a child process that was forked meanwhile
                _users.remove(user)
                if len(_users) == 1:
                    _users.pop().restore_original_limits()


def _start_alone() -> None:
    """In a forked child, where no other thread lives on: no pool, no users, and BLAS with all its threads."""
    _pool.cache_clear()
    if _users:
        _users[0].restore_original_limits()
    _users.clear()
    _single.release()


# Held over a fork, so that the child finds neither the lock taken nor the users half counted.
os.register_at_fork(before=_single.acquire, after_in_parent=_single.release, after_in_child=_start_alone)


def run(task: Callable[[Any], Any], items: Iterable[Any], *, progress: str = "") -> list[Any]:
    """``[task(item) for item in items]`` on the worker threads, results in the order of the items.

    ``progress`` names a bar that appears when the work takes longer than a second. A task never calls ``run``.
    After an exception or Ctrl-C, what has not started is dropped, what runs ends, and then it is raised here.
    """
    items = list(items)
    with one_blas_thread():
        if len(items) == 1:
            return [task(items[0])]
        futures: list[Future] = []
        try:
            _submit(task, items, futures)
            watched = progress_bars.bar(futures, text=progress) if progress else futures
            return [future.result() for future in watched]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)


def _submit(task: Callable, items: list, futures: list[Future]) -> None:
    """Add a future of each task to a list."""
    try:
        futures.extend(_pool().submit(task, item) for item in items)
    except RuntimeError as error:  # of the operating system, to which threads and memory are one
        if "start new thread" not in str(error):
            raise
        raise MemoryError(f"no room for {workers()} threads; set OMP_NUM_THREADS to fewer") from error


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


def shares(n: int, flops: float = math.inf) -> list[slice]:
    """At most :func:`workers` contiguous slices that cover ``range(n)``: one share of rows for each worker.

    flops : of one row; fewer shares where they would take less than the time to wake a worker, one for tiny work, which
    :func:`run` does in the thread that calls it.
    """
    count = int(max(1, min(workers(), n, n * flops / WORTH_A_WORKER)))
    return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]


def blocks(share: slice, width: int, numbers: int = 2**17, least: int = 256) -> list[slice]:
    """Row blocks of a share whose intermediates, ``width`` numbers a row, are about ``numbers`` numbers.

    The default, 1 MiB in float64, stays in a core's cache; matrix products stream, and are faster on larger blocks.
    ``least`` rows at least: a block adds to an accumulated matrix, which costs as much as the products of few rows.
    """
    step = max(least, numbers // max(1, width))
    return [slice(a, min(a + step, share.stop)) for a in range(share.start, share.stop, step)]


# ------------------------------------------------------------------------------------------------------------ rates
def rates(dtype: DTypeLike) -> Rates:
    """The rates of this machine for a dtype, measured once in about 0.1 s."""
    return _measured(xp.dtype(dtype).char)


@cache
def _measured(dtype: str) -> Rates:
    size, rng = 512, xp.random.default_rng(0)
    tile = rng.standard_normal((size, size)).astype(dtype)
    words = rng.integers(0, 2**63, (size, 64), dtype=xp.uint64)
    product = [HadamardTerm(1.0, tile, tile)]
    blocks = xp.ones((36, 512, 512), dtype)  # 8 rows of tiles, 75 MB in float64: more than most caches hold
    vectors = xp.ones((2, 8 * 512))

    def add(_):
        for _ in range(4):
            terms.add(tile.copy(), product)

    def read(_):
        symmetric.triangle_product(blocks, 0, 36, vectors, xp.zeros_like(vectors))

    numbers = xp.ones((2016, 64), dtype)
    found = lookups.products(rng.integers(0, 2**63, (len(numbers), 16), dtype=xp.uint64), 1024, (0.0, 1.0))

    def look_up(_):
        found.scatter(slice(0, len(numbers)), numbers, found.gather(slice(0, len(numbers)), numbers, numbers[:, :1]))

    def rate(task, amount):
        items = [None] * workers()
        return amount * len(items) / min(_seconds(run, task, items) for _ in range(4))

    return Rates(
        flops=rate(lambda _: [tile @ tile.T for _ in range(4)], 4 * 2.0 * size**3),
        words=rate(lambda _: [bits.count_common(words, words, dtype) for _ in range(4)], 4 * 64.0 * size**2),
        entries=rate(add, 4.0 * size**2),
        bytes=rate(read, float(blocks.nbytes)),
        lookups=rate(look_up, len(numbers) * sum(found.work(numbers.shape[1], dtype))),
    )


def _seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start
