"""The CPU engine: NumPy arrays, Numba loops, one pool of worker threads.

Every parallel computation of the package runs through :func:`run`: each worker takes row blocks or tiles that fit
into its cache, and BLAS is held to one thread meanwhile, so Numba's, BLAS's and our own threads never compete.
Compiled loops are therefore single-threaded and release the GIL.
"""

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as xp
from threadpoolctl import ThreadpoolController

from ntkspec import progress as progress_bars
from ntkspec.engines import host
from ntkspec.engines.arrays import Array
from ntkspec.engines.cpu.bits import count_common, count_ones, empty_bits, gram_of_bits, pack_bits, unpack_bits
from ntkspec.engines.cpu.compiling import compiled
from ntkspec.engines.cpu.functions import cos, elu, erf, gelu, piecewise_linear, sigmoid, silu, sin, softplus, tanh
from ntkspec.engines.cpu.pairs import hermite_moments, pair_moments, power_series
from ntkspec.engines.cpu.patches import circular_sums, position_products, window_gaps
from ntkspec.engines.cpu.symmetric import squares_and_defect, symmetric_product, triangle_product
from ntkspec.engines.host import allowed_cores, most_memory, used_memory
from ntkspec.engines.rates import Rates
from ntkspec.engines.terms import LowRankTerm

__all__ = [
    "PAIRS",
    "STRIP",
    "TILE",
    "Rates",
    "add_parts",
    "add_scaled",
    "blocks",
    "circular_sums",
    "copy_transposed",
    "cos",
    "count_common",
    "count_ones",
    "eigh",
    "elu",
    "empty_bits",
    "erf",
    "fill_tiles",
    "free_memory",
    "fused_steps",
    "gelu",
    "gram_of_bits",
    "hermite_moments",
    "largest_entry",
    "most_memory",
    "name",
    "one_blas_thread",
    "pack_bits",
    "pair_moments",
    "piecewise_linear",
    "position_products",
    "power_series",
    "rates",
    "row_products",
    "run",
    "shares",
    "sigmoid",
    "silu",
    "sin",
    "softplus",
    "spare_memory",
    "spare_tiles",
    "squares_and_defect",
    "sum_of_squares",
    "symmetric_product",
    "tanh",
    "to_host",
    "triangle_product",
    "unpack_bits",
    "used_memory",
    "window_gaps",
    "workers",
    "write_parts",
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


# Tiles in that memory.
spare_tiles = xp.empty


def to_host(array):
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
def one_blas_thread():
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


def run(task: Callable, items: Iterable, *, progress: str = "") -> list:
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


def fill_tiles(blocks, keep: Callable, fill: Callable, numbers, text: str) -> None:
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


# ------------------------------------------------------------------------------------------------------------ tiles
def add_parts(out, terms: Iterable):
    """Add terms (:mod:`ntkspec.engines.terms`) to ``out``, one after the other while its tile is in the cache."""
    for term in terms:
        if isinstance(term, LowRankTerm):
            _add_low_rank(out, term.F, xp.ascontiguousarray(term.G.T), term.scale)
        elif term.Q is None:
            add_scaled(out, term.P, term.scale)
        else:
            _add_hadamard(out, term.P, term.Q, term.scale)


def write_parts(out, terms: Iterable, squares: bool):
    """Make ``out`` the sum of the terms; returns the sum of its squared entries where ``squares`` asks for it."""
    out[...] = 0
    add_parts(out, terms)
    return sum_of_squares(out) if squares else None


@compiled
def add_scaled(out, P, scale):
    """``out += scale * P`` entry by entry."""
    factor = out.dtype.type(scale)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += factor * P[i, j]


@compiled
def _add_low_rank(out, F, GT, scale):
    """``out += scale * F @ GT`` for a few columns of F: passes over one row at a time, as gemm is slow at this."""
    factor, row = out.dtype.type(scale), xp.empty(out.shape[1], out.dtype)
    for i in range(out.shape[0]):
        row[:] = 0
        for k in range(F.shape[1]):
            for j in range(out.shape[1]):
                row[j] += F[i, k] * GT[k, j]
        for j in range(out.shape[1]):
            out[i, j] += factor * row[j]


@compiled
def _add_hadamard(out, P, Q, scale):
    """``out += scale * P * Q`` entry by entry, in one pass."""
    factor = out.dtype.type(scale)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += factor * P[i, j] * Q[i, j]


@compiled(fastmath={"contract", "reassoc"})
def sum_of_squares(tile):
    """Sum of the squared entries, accumulated in float64."""
    total = 0.0
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            entry = xp.float64(tile[i, j])  # float() would keep float32 here
            total += entry * entry
    return total


@compiled
def largest_entry(tile, skip):
    """Largest ``|tile[i, j]|`` with ``i != j + skip``; NaN where any entry is NaN."""
    largest = 0.0
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            size = xp.float64(abs(tile[i, j]))
            if i != j + skip and not size <= largest:
                largest = size
                if math.isnan(size):
                    return size
    return largest


@compiled
def copy_transposed(out, tile):
    """``out[:] = tile.T`` in small squares, so that neither side is read across cache lines in vain."""
    for a in range(0, tile.shape[0], 16):
        for b in range(0, tile.shape[1], 16):
            for j in range(b, min(b + 16, tile.shape[1])):
                for i in range(a, min(a + 16, tile.shape[0])):
                    out[j, i] = tile[i, j]


def row_products(A, B, dtype):
    """sum_d A[i, ..., d] B[i, d] computed in a dtype: (n,) for A (n, d), and (n, k) for A (n, k, d)."""
    return xp.einsum("ikd,id->ik" if A.ndim == 3 else "id,id->i", A, B, dtype=dtype)


def eigh(matrix):
    """(values, vectors as columns) of a symmetric matrix, values ascending. Cost: 9 n³ flops."""
    from scipy.linalg import eigh as solve

    return solve(matrix)


# --------------------------------------------------------------------------------------------------------- training
def fused_steps(
    phi: tuple[str, tuple[float, ...]] | None, X: Array, targets: Array, *, rates: tuple[float, float], width: int
) -> None:
    """None: no passes of its own; blocks of rows that stay in a core's cache are the fastest here."""


# ------------------------------------------------------------------------------------------------------------ rates
@cache
def rates(dtype) -> Rates:
    """The rates of this machine for a dtype, measured once in about 0.1 s."""
    size, rng = 512, xp.random.default_rng(0)
    tile = rng.standard_normal((size, size)).astype(dtype)
    words = rng.integers(0, 2**63, (size, 64), dtype=xp.uint64)
    blocks = xp.ones((36, 512, 512), dtype)  # 8 rows of tiles, 75 MB in float64: more than most caches hold
    vectors = xp.ones((2, 8 * 512))

    def rate(task, amount):
        items = [None] * workers()
        return amount * len(items) / min(_seconds(run, task, items) for _ in range(4))

    return Rates(
        flops=rate(lambda _: [tile @ tile.T for _ in range(4)], 4 * 2.0 * size**3),
        words=rate(lambda _: [count_common(words, words, dtype) for _ in range(4)], 4 * 64.0 * size**2),
        entries=rate(lambda _: [_add_hadamard(tile.copy(), tile, tile, 1.0) for _ in range(4)], 4.0 * size**2),
        bytes=rate(lambda _: triangle_product(blocks, 0, 36, vectors, xp.zeros_like(vectors)), float(blocks.nbytes)),
    )


def _seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start
