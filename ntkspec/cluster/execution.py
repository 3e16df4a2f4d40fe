"""Run tasks here, on processes of this machine, or on a Dask cluster."""

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any

from ntkspec import checks
from ntkspec.cluster.connection import Connection, Patience, client_of, told_by_each
from ntkspec.engines import named

# How often a pool whose worker died is replaced before the sweep gives up.
MOST_DEATHS = 5
# How many local processes there may be for each core.
MOST_PER_CORE = 8
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Place:
    """Where tasks run: here (one process), on local processes, or on the cluster of a Dask scheduler.

    Parameters
    ----------
    processes : int, default 1
        Local processes, at most eight a core.
    scheduler : str, optional
        Address of a Dask scheduler, such as "tcp://10.0.0.1:8786", in place of processes.
    patience : Patience, optional
        How long scheduler and workers are waited for (default: ``Patience()``).

    Raises
    ------
    ValueError
        For more processes than that, or both at once.

    Examples
    --------
    >>> from ntkspec.cluster import HERE, Place
    >>> Place(processes=1) == HERE
    True
    """

    processes: int = 1
    scheduler: str | None = None
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self):
        checks.whole_number(self.processes, "processes", 1, MOST_PER_CORE * len(os.sched_getaffinity(0)))
        if self.scheduler is not None and self.processes != 1:
            raise ValueError("tasks run on local processes or on a cluster; pass one of processes and scheduler")


HERE = Place()


def results(measure: Callable, tasks: Sequence, place: Place = HERE) -> Iterator[tuple[Any, Any]]:
    """(task, measure(task)) for each task, in order here, elsewhere as they are done.

    Each local process gets an equal part of the cores. A worker that dies costs what it was doing: that is done again,
    at most MOST_DEATHS times. An exception of a task is raised here, and ends the workers, as does whatever ends this
    process: Ctrl-C, or a kill.
    """
    if place.scheduler is not None:
        yield from _on_cluster(measure, tasks, place)
    elif place.processes == 1:
        yield from ((task, measure(task)) for task in tasks)
    else:
        yield from _on_processes(measure, tasks, place.processes)


def least_memory(place: Place, engine: str = "cpu") -> float:
    """Bytes that one task may take of what is free on an engine: all here, an equal part on processes, and on a cluster
    the smallest worker's limit or the fullest GPU's.

    Raises ValueError where there is no such engine, on a cluster with the name of the worker that has none.
    """
    if place.scheduler is None:
        return _free_memory(engine) / place.processes
    with client_of(place.scheduler, place.patience) as client:
        if engine == "cpu":
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            return min(worker["memory_limit"] or _free_memory(engine) for worker in workers)
        free = told_by_each(client, _free_memory, engine)
        for worker, found in free.items():
            if isinstance(found, Exception):
                raise ValueError(f"worker {worker}: {found}")
        return min(free.values())


def _free_memory(engine: str) -> int:
    return named(engine).free_memory()


def _on_cluster(measure: Callable, tasks: Sequence, place: Place):
    """On Dask's workers; only this process writes results. The scheduler gives the tasks of a dead worker to others,
    and one that was lost and is back is given those that are left."""
    assert place.scheduler is not None
    cluster, left = Connection(place.scheduler, place.patience), list(tasks)
    try:
        while left:
            try:
                for task, found in _of_cluster(cluster, measure, left):
                    left.remove(task)
                    cluster.losses = 0
                    yield task, found
            except Exception as error:
                cluster.recover(error, "what was finished is kept, and the same call goes on")
    finally:
        cluster.close()


def _of_cluster(cluster: Connection, measure: Callable, tasks: Sequence):
    retries = cluster.patience.retries
    futures = {cluster.client.submit(measure, task, pure=False, retries=retries): task for task in tasks}
    for future in cluster.completed(futures):
        yield futures[future], cluster.gathered([future])[0]


def _on_processes(measure: Callable, tasks: Sequence, processes: int):
    left, deaths = list(tasks), 0
    while left:
        try:
            for task, found in _on_pool(measure, left, processes):
                left.remove(task)
                yield task, found
        except BrokenProcessPool:
            deaths += 1
            if deaths > MOST_DEATHS:
                raise ValueError(
                    f"{deaths} worker processes died, the last one with {len(left)} tasks left; is the memory too "
                    f"small? Use fewer processes; what was finished is kept"
                ) from None


def _on_pool(measure: Callable, tasks: Sequence, processes: int):
    """On a pool whose workers end at once when this generator does before its end: none finishes what nobody wants."""
    others = set(active_children())
    with _threads_each(max(1, len(os.sched_getaffinity(0)) // processes)):
        with _deaf_to_the_terminal():
            spawn = get_context("spawn")
            pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin_worker, initargs=(_raised(),))
        try:
            with _deaf_to_the_terminal():
                futures = {pool.submit(measure, task): task for task in tasks}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            for worker in set(active_children()) - others:
                worker.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _threads_each(count: int):
    """Processes that are started in here compute with so many threads."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@contextlib.contextmanager
def _deaf_to_the_terminal():
    """Processes that are started in here never hear of Ctrl-C and of a hang-up, which go to all: their parent decides.

    They inherit the mask. What is sent to this process meanwhile arrives at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _raised() -> bool:
    """Whether warnings are errors, as under ``python -W error``."""
    return any(action == "error" for action, *_ in warnings.filters)


def _begin_worker(raise_warnings: bool) -> None:
    """In a worker: end when its parent does, also where that is killed and nobody is left to say so.

    A worker inherits the flags of Python; where the parent has turned ``-W error`` off, so does the worker.
    """
    if _raised() and not raise_warnings:
        warnings.simplefilter("default")
    if (parent := parent_process()) is not None:
        threading.Thread(target=_end_after, args=[parent.sentinel], daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
