"""What an installation has, for bug reports and for finding out why something is slow or missing."""

import os
from collections.abc import Callable, Iterator, Sequence

from ntkspec import datasets
from ntkspec.cluster.machines import FoundWorker, Machine, this_machine
from ntkspec.objects.words import counted
from ntkspec.storage.provenance import LIBRARIES


def findings() -> Iterator[tuple[str, str]]:
    """(what, what was found) pairs of this machine."""
    here = this_machine()
    yield from here.versions.items()
    yield "machine", here.system
    yield "processor", here.processor
    yield "BLAS", here.blas
    yield "worker threads", f"{here.threads} of {here.cores} cores"
    yield "free memory", f"{here.free_memory / 1e9:.1f} GB"
    yield from _products(here)
    rates = here.rates["float64"]
    yield "products of bits", f"{rates.words / 1e9:.0f}e9 words of 64 bits/s"
    yield "bits with numbers", f"{rates.lookups / 1e9:.1f}e9 lines of 64 bytes looked up/s, float64"
    yield "GPU", _gpu(here)
    yield "NTKSPEC_DATA", os.environ.get("NTKSPEC_DATA", "not set")
    yield "mnist", _found(datasets.mnist)
    yield "cifar10", _found(datasets.cifar10, ("cat", "horse"))


def worker_findings(worker: FoundWorker) -> Iterator[tuple[str, str]]:
    """The same of a worker."""
    if worker.machine is None or worker.link is None:
        yield "worker", f"{worker.address}, not measured"
        return
    there, link = worker.machine, worker.link
    yield "worker", f"{worker.address}, on {there.host}"
    yield "versions", ", ".join(f"{name} {there.versions[name]}" for name in ("python", *LIBRARIES[:4]))
    yield "processor", there.processor
    yield "BLAS", there.blas
    yield "threads", f"{there.threads} of {there.cores} cores, {counted(worker.tasks, 'task')} at once"
    limit = f"{worker.memory_limit / 1e9:.1f} GB" if worker.memory_limit else "none"
    yield "free memory", f"{there.free_memory / 1e9:.1f} GB, limit of the worker: {limit}"
    yield from _products(there)
    yield "GPU", _gpu(there)
    rates = f"{link.there / 1e6:.0f} MB/s there, {link.back / 1e6:.0f} MB/s back"
    yield "link", f"{1e3 * link.seconds:.0f} ms for a task there and back, {rates}"


def table(pairs: Sequence[tuple[str, str]]) -> str:
    """A line for each pair."""
    return "\n".join(f"{label:<20}{value}" for label, value in pairs)


def _products(machine: Machine) -> Iterator[tuple[str, str]]:
    for name, rates in machine.rates.items():
        stored = f"{rates.bytes / 1e9:.0f} GB/s stored, {rates.cached / 1e9:.0f} in cache"
        yield f"products, {name}", f"{rates.flops / 1e9:.0f} GFLOP/s in tiles, {stored}"


def _gpu(machine: Machine) -> str:
    return f"{machine.gpu}, {machine.gpu_memory / 1e9:.1f} GB free" if machine.gpu_memory else machine.gpu


def _found(load: Callable, classes=(4, 9)) -> str:
    try:
        data = load(classes, n=10, n_test=10)
    except (OSError, ValueError) as error:
        return f"no: {str(error).split(':')[0]}"
    return f"yes: {data.name.split(' 4 vs')[0].split(' cat vs')[0]}"
