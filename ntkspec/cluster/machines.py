"""What a machine has and does: of this one, and of those on which the workers of a Dask scheduler run."""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec.cluster.connection import Patience, closed, connected, other_versions
from ntkspec.cluster.workers import given
from ntkspec.engines import cpu, named
from ntkspec.engines.cpu import threads
from ntkspec.engines.rates import Rates
from ntkspec.storage.provenance import provenance

# What is sent to measure a link: its bytes, and how often a short task goes there and back.
SENT, ROUNDS = 4 * 2**20, 5


@dataclass(frozen=True)
class Machine:
    """A machine, as one process on it sees it.

    versions : of Python and of the libraries. cores, threads : that this process may use, and that it computes with.
    free_memory : bytes. gpu : its name, or "no" with the reason. gpu_memory : bytes that are free there, 0 without one.
    rates : on all threads, by dtype.
    """

    host: str
    versions: dict[str, str]
    system: str
    processor: str
    blas: str
    cores: int
    threads: int
    free_memory: int
    gpu: str
    gpu_memory: int
    rates: dict[str, Rates]


@dataclass(frozen=True)
class Link:
    """From here to a worker: seconds of a task there and back, and bytes a second to it and from it."""

    seconds: float
    there: float
    back: float


@dataclass(frozen=True)
class FoundWorker:
    """A worker of a scheduler.

    tasks : that it runs at once. memory_limit : bytes, 0 for none. refused : why it was not measured; empty where it
    was.
    """

    address: str
    tasks: int
    memory_limit: int
    refused: str = ""
    machine: Machine | None = None
    link: Link | None = None


def this_machine() -> Machine:
    """The one that this process runs on; takes about a second to measure its rates."""
    made_with = provenance("")
    gpu, gpu_memory = _gpu()
    return Machine(
        host=platform.node(),
        versions={"python": made_with["python"], **made_with["versions"]},
        system=made_with["machine"],
        processor=threads.processor(),
        blas=threads.blas(),
        cores=made_with["cores"],
        threads=threads.workers(),
        free_memory=cpu.free_memory(),
        gpu=gpu,
        gpu_memory=gpu_memory,
        rates={name: cpu.rates(np.dtype(name).char) for name in ("float32", "float64")},
    )


def _gpu() -> tuple[str, int]:
    """The GPU and its free memory, or why there is none."""
    try:
        engine = named("gpu")
    except ValueError as error:
        return f"no: {error}", 0
    return engine.xp.cuda.runtime.getDeviceProperties(0)["name"].decode(), engine.free_memory()


def workers_of(
    address: str, *, patience: Patience | None = None, report: Callable[[str], None] = lambda text: None
) -> list[FoundWorker]:
    """The workers of a scheduler: all machines are measured at once, and then one link after the other. ``report`` is
    told what comes next.

    Raises ValueError where no scheduler answers, or it has no workers. Those with other versions are not measured.
    """
    client = connected(address, patience or Patience())
    try:
        refused = other_versions(client)
        known = client.scheduler_info(n_workers=-1)["workers"]  # after that: no task waits for one that ended meanwhile
        report(f"measuring {len(known)} workers and the links to them")
        running = {
            name: client.submit(this_machine, workers=[name], pure=False) for name in known if name not in refused
        }
        machines = {name: future.result() for name, future in running.items()}
        return [
            FoundWorker(
                *(name, one["nthreads"], one["memory_limit"] or 0, refused.get(name, ""), machines.get(name)),
                link=_link(client, name) if name in machines else None,
            )
            for name, one in sorted(known.items())
        ]
    finally:
        closed(client)


def _link(client: Any, worker: str) -> Link:
    def seconds(function: Callable, argument: Any) -> float:
        start = time.perf_counter()
        client.submit(function, argument, workers=[worker], pure=False).result()
        return time.perf_counter() - start

    numbers = np.random.default_rng(0).integers(0, 256, SENT, dtype=np.uint8)
    around = min(seconds(given, None) for _ in range(ROUNDS))
    there, back = seconds(len, numbers) - around, seconds(_bytes, SENT) - around
    return Link(around, SENT / max(there, 1e-6), SENT / max(back, 1e-6))


def _bytes(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8)


# ------------------------------------------------------------------------------------------------------------- misfits
@dataclass(frozen=True)
class Misfit:
    """What does not fit together. fatal : no kernel is computed with these workers."""

    text: str
    fatal: bool = False


def misfits(workers: Sequence[FoundWorker]) -> list[Misfit]:
    """What does not fit together, the worst first."""
    refused = [Misfit(one.refused, fatal=True) for one in workers if one.refused]
    measured = {one.address: (one, one.machine) for one in workers if one.machine is not None}
    return [
        *refused,
        *_other_bits({name: machine for name, (_, machine) in measured.items()}),
        *_too_many_threads(measured),
        *_little_memory(measured),
        *_without_gpu({name: machine for name, (_, machine) in measured.items()}),
    ]


def _other_bits(machines: dict[str, Machine]) -> Iterator[Misfit]:
    """What makes other roundings where one worker takes over from another."""
    kinds: dict[str, Callable[[Machine], str]] = {
        **{name: _version_of(name) for name in ("python", "numpy", "scipy", "numba", "torch", "jax")},
        "BLAS": lambda machine: machine.blas,
        "processor": lambda machine: machine.processor,
        "GPU": lambda machine: machine.gpu if machine.gpu_memory else "",
    }
    for what, kind in kinds.items():
        having: dict[str, list[str]] = {}
        for name, machine in machines.items():
            if kind(machine):
                having.setdefault(kind(machine), []).append(name)
        if len(having) > 1:
            said = "; ".join(f"{value} on {_named(names)}" for value, names in having.items())
            yield Misfit(f"{what}: {said}: a part that moves to another worker need not have the same bits")


def _version_of(name: str) -> Callable[[Machine], str]:
    return lambda machine: machine.versions[name]


def _on_hosts(measured: dict[str, tuple[FoundWorker, Machine]]) -> dict[str, list[tuple[FoundWorker, Machine]]]:
    hosts: dict[str, list[tuple[FoundWorker, Machine]]] = {}
    for worker, machine in measured.values():
        hosts.setdefault(machine.host, []).append((worker, machine))
    return hosts


def _too_many_threads(measured: dict[str, tuple[FoundWorker, Machine]]) -> Iterator[Misfit]:
    for host, ones in _on_hosts(measured).items():
        tasks = sum(worker.tasks for worker, _ in ones)
        threads, cores = sum(worker.tasks * machine.threads for worker, machine in ones), ones[0][1].cores
        if threads > cores:
            yield Misfit(
                f"machine {host}: {len(ones)} workers run {tasks} tasks at once on {threads} threads, and there are "
                f"{cores} cores; start them with --nthreads 1 and OMP_NUM_THREADS={max(1, cores // len(ones))}"
            )


def _little_memory(measured: dict[str, tuple[FoundWorker, Machine]]) -> Iterator[Misfit]:
    memory = {}
    for ones in _on_hosts(measured).values():
        for worker, machine in ones:
            memory[worker.address] = min(worker.memory_limit or np.inf, machine.free_memory / len(ones))
    largest = max(memory.values(), default=0.0)
    for name, own in memory.items():
        if own < largest / 2:
            yield Misfit(
                f"worker {name} has {own / 1e9:.1f} GB, and another one {largest / 1e9:.1f} GB; parts of one size fill "
                f"the smaller one first"
            )


def _without_gpu(machines: dict[str, Machine]) -> Iterator[Misfit]:
    without = [name for name, machine in machines.items() if not machine.gpu_memory]
    if without and len(without) < len(machines):
        yield Misfit(f"no GPU on {_named(without)}, while others have one; --engine gpu needs one on each")


def _named(names: Sequence[str]) -> str:
    """The first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
