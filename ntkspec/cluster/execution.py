"""Run tasks here, on processes of this machine, or on a Dask cluster."""

import asyncio
import contextlib
import os
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any

from ntkspec import checks
from ntkspec.engines import named

# How often a pool whose worker died is replaced before the sweep gives up.
MOST_DEATHS = 5
# How many local processes there may be for each core.
MOST_PER_CORE = 8
# How long a scheduler may take to answer.
CONNECT_SECONDS = 10.0
_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://[\w.:\[\]-]+:([0-9]{1,5})", re.ASCII)
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
        yield from _on_cluster(measure, tasks, place.scheduler)
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
    with client_of(place.scheduler) as client:
        if engine == "cpu":
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            return min(worker["memory_limit"] or _free_memory(engine) for worker in workers)
        free = client.run(_free_memory, engine, on_error="return")
        for worker, found in free.items():
            if isinstance(found, Exception):
                raise ValueError(f"worker {worker}: {found}")
        return min(free.values())


def _free_memory(engine: str) -> int:
    return named(engine).free_memory()


@contextlib.contextmanager
def client_of(address: str) -> Iterator[Any]:
    """:func:`connected`, and closed at the end."""
    with connected(address) as client, client.as_current():
        yield client


def connected(address: str) -> Any:
    """A client of the Dask scheduler at an address.

    Raises ValueError for what is no address, where none answers within CONNECT_SECONDS, where it has no workers, or
    where Dask is not installed.
    """
    checked_address(address)
    try:
        from distributed import Client
        from distributed.utils import LoopRunner
    except ImportError:
        raise ValueError(
            f"the scheduler {address} needs Dask's distributed; python -m pip install 'ntkspec[distributed]'"
        ) from None
    try:
        LoopRunner().run_sync(_greeted, address)
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except TimeoutError:
        raise ValueError(f"no Dask scheduler answers at {address} within {CONNECT_SECONDS:g} s") from None
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from None
    if not client.scheduler_info(n_workers=-1)["workers"]:
        client.close()
        raise ValueError(f"no worker is connected to the scheduler {address}; start some: dask worker {address}")
    return client


def checked_address(address: str) -> str:
    """An address of a scheduler; ValueError for what is none."""
    match = _ADDRESS.fullmatch(address)
    if not match or not 1 <= int(match[2]) < 2**16:
        raise ValueError(f"scheduler={checks.shown(address)}, but an address such as tcp://10.0.0.1:8786 is needed")
    return address


async def _greeted(address: str) -> None:
    """Dask's own greeting, which a Client waits for without end where a port accepts and says nothing."""
    from distributed.comm import connect
    from distributed.security import Security

    greeting = connect(address, timeout=CONNECT_SECONDS, **Security().get_connection_args("client"))
    try:
        comm = await asyncio.wait_for(greeting, CONNECT_SECONDS)
    except (OSError, TypeError):  # no connection, or no certificate for an encrypted one
        raise
    except Exception:  # whatever Dask makes of another program's words
        raise ValueError("what answers is another program") from None
    await comm.close()


def all_done(client: Any, futures: Sequence, seconds: float) -> bool:
    """Whether all of a client's futures are done within so many seconds."""
    from distributed import wait

    try:
        with client.as_current():
            wait(futures, timeout=seconds)
    except TimeoutError:
        return False
    return True


def _on_cluster(measure: Callable, tasks: Sequence, address: str):
    """On Dask's workers; only this process writes results. The scheduler gives the tasks of a dead worker to others."""
    from distributed import KilledWorker, as_completed

    with client_of(address) as client:
        futures = {client.submit(measure, task, pure=False): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except KilledWorker as error:
            raise ValueError(
                f"a task killed several workers, is their memory too small? What was finished is kept: {error}"
            ) from None
        except (CancelledError, OSError) as error:
            raise ValueError(
                f"the scheduler {address} was lost; what was finished is kept, and the same call goes on: {error}"
            ) from None


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
