"""Threads of the CPU engine: one pool of workers, and BLAS held to one thread while they work."""

import contextlib
import math
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

from ntkspec import progress as progress_bars
from ntkspec.engines.host import allowed_cores

# Flops from which a share of rows is worth waking a worker, which takes some 30 microseconds.
WORTH_A_WORKER = 2e6


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


def blas() -> str:
    """The libraries of BLAS, with their versions and the processors that their loops are for."""
    import scipy.linalg  # noqa: F401  # whose BLAS is then there to be seen

    libraries = ThreadpoolController().select(user_api="blas").info()
    found = {f"{one['internal_api']} {one['version']}, {one.get('architecture', '')}" for one in libraries}
    return "; ".join(sorted(one.rstrip(", ") for one in found)) or "unknown"


def processor() -> str:
    """The model of the processor, as the system calls it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


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
