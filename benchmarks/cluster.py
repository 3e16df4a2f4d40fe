"""Kernels on workers: seconds of an iteration beside the model, and MNIST: `python -m benchmarks.cluster RECORD.json`.

Workers of one thread on this machine: where there are more of them than cores, they share these. Each is a process, on
a host of its own where links are limited (:mod:`benchmarks.hosts`).
"""

import argparse
import itertools
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import ntkspec as ns
from benchmarks.common import made_with
from benchmarks.hosts import cluster
from ntkspec.cluster.workers import Workers
from ntkspec.engines.rates import Rates
from ntkspec.operators import KernelOperator
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.storage import atomic_path

# Iterations that are timed, after some that are not; vectors of a block.
TIMED, BEFORE, BLOCK = 6, 2, 2


@dataclass(frozen=True)
class Setting:
    """A gap Theta_1 - Theta^lin1 of erf on Gaussian points in float32, on so many workers."""

    workers: int
    link: str | None
    n: int
    m: int
    d: int

    def kernel(self, address: str) -> KernelOperator:
        """One part for each worker; m neurons, a paired network of twice the width."""

        def part(rows):
            import numpy as np

            import ntkspec as ns

            X = np.random.default_rng(rows[0]).standard_normal((rows[1] - rows[0], self.d), dtype=np.float32)
            net = ns.TwoLayer.symmetric(self.d, 2 * self.m, "erf", dtype=np.float32)
            linear = ns.linear_kernel("erf", X, layer="first", trace_ratio=1.0)
            return ns.ntk(net, X, layer="first") - linear

        return ns.cluster.kernel(part, _rows(self.n, self.workers), scheduler=address)


def _rows(n: int, parts: int) -> list[tuple[int, int]]:
    ends = np.linspace(0, n, parts + 1).astype(int).tolist()
    return list(itertools.pairwise(ends))


SIZES = ((4000, 64, 32), (20_000, 1024, 256), (200_000, 256, 64))
SETTINGS = [
    *(Setting(workers, None, *sizes) for workers in (1, 2, 4, 8) for sizes in SIZES),
    *(Setting(workers, link, *SIZES[1]) for workers, link in ((4, "1gbit"), (4, "200mbit"), (8, "200mbit"))),
]


def measure(setting: Setting, address: str) -> dict:
    """Seconds and bytes of an iteration, and what the model says with the rates measured there."""
    links, kernel = ns.cluster.Links.measured(address), setting.kernel(address)
    rates = _rates_of_one(kernel, setting)
    lanczos = Lanczos(kernel)
    lanczos.begin_random(0, BLOCK)
    lanczos.extend(BEFORE)
    workers = kernel.parts.workers  # type: ignore[attr-defined]
    before, start = _sent(workers), time.perf_counter()
    lanczos.extend(TIMED)
    seconds, sent = (time.perf_counter() - start) / TIMED, _sent(workers)
    told = ns.cluster.iteration(
        **{name: getattr(setting, name) for name in ("n", "m", "d", "workers")},
        **{"rates": rates, "links": links, "block": BLOCK, "known": BLOCK * (BEFORE + TIMED // 2)},
    )
    moved = {name: (sent[name] - before[name]) / TIMED for name in workers.names}
    return asdict(setting) | {
        "seconds": seconds,
        "model": asdict(told) | {"seconds": told.seconds},
        "links": asdict(links),
        "bytes_sent": list(moved.values()),
    }


def _rates_of_one(kernel: Any, setting: Setting) -> Rates:
    """Of a worker that has a core for itself, and what is left of them where cores are fewer; flops are those of the
    products of its part, which are less than of matrix products alone."""
    workers, rates = kernel.parts.workers, kernel.parts.rates("d")
    (seconds,) = workers.answers([workers.submit(_multiplying, kernel.operators[0], home=kernel.parts.homes[0])])
    flops = 4.0 * kernel.parts.sizes[0] * setting.m * setting.d * BLOCK / seconds
    share = min(1.0, len(os.sched_getaffinity(0)) / setting.workers)
    return replace(rates, flops=share * flops, bytes=share * rates.bytes)


def _multiplying(operator: KernelOperator) -> float:
    """On a worker: seconds of a product with a block."""
    V, times = np.ones((operator.shape[1], BLOCK)), []
    for _ in range(4):
        start = time.perf_counter()
        operator @ V
        times.append(time.perf_counter() - start)
    return min(times)


def _sent(workers: Workers) -> dict[str, int]:
    """Bytes that each worker has sent to others and to here."""
    return workers.connection.client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)


# ---------------------------------------------------------------------------------------------------------------- MNIST
N, WIDTH, DEEP_N, DEEP_WIDTHS = 4000, 2048, 1000, (512, 512, 512)
ON_WORKERS = (2, 4)


@dataclass(frozen=True)
class Job:
    """What is asked of a kernel of ``n`` images, and how far the answer may be from that of one machine, relative to
    its largest number: rounding, or where random vectors are drawn what they leave open."""

    build: Callable[[np.ndarray], KernelOperator]
    n: int
    ask: Callable[[KernelOperator], Any]
    tolerance: float


def _two_layers(X: np.ndarray) -> KernelOperator:
    """The NTK of the first layer of a ReLU network."""
    net = ns.TwoLayer.symmetric(X.shape[1], WIDTH, "relu", seed=0, dtype=np.float32)
    return ns.ntk(net, X, layer="first")


def _deep(X: np.ndarray) -> KernelOperator:
    """The NTK of three hidden layers, through its layers' factors."""
    return ns.ntk(ns.FullyConnected.random(X.shape[1], DEEP_WIDTHS, "erf", seed=0, dtype=np.float32), X)


def _jobs(y: np.ndarray) -> dict[str, Job]:
    def outputs(K: KernelOperator) -> np.ndarray:
        run = ns.predict_gd(K, y[:N], eta=1.0, steps=[1, 10, 100])
        return run.train[:, ::20]

    return {
        "10 eigenpairs": Job(_two_layers, N, lambda K: ns.eigsh(K, 10, method="factored").values, 1e-6),
        "density": Job(_two_layers, N, lambda K: ns.spectral_density(K, steps=40, method="factored").highest, 1e-3),
        "prediction": Job(_two_layers, N, outputs, 1e-5),
        "norm, three layers": Job(_deep, DEEP_N, lambda K: float(ns.spectral_norm(K, method="factored")), 1e-3),
    }


def mnist(count: int, address: str) -> dict[str, dict]:
    """Seconds, bytes and memory of each worker, and seconds of one process with a thread for each core."""
    images, found, workers = ns.datasets.mnist(("4", "9"), n=N, dtype="float32"), {}, Workers.of(address)
    for name, job in _jobs(images.y).items():
        start = time.perf_counter()
        expected = np.asarray(job.ask(job.build(images.X[: job.n])))
        alone = time.perf_counter() - start
        before, start = _sent(workers), time.perf_counter()
        parts = [images.X[slice(*rows)] for rows in _rows(job.n, count)]
        answer = np.asarray(job.ask(ns.cluster.kernel(job.build, parts, scheduler=address)))
        seconds, sent = time.perf_counter() - start, _sent(workers)
        far = float(np.abs(answer - expected).max() / np.abs(expected).max())
        assert far <= job.tolerance, f"{name}: workers and one machine differ by {far:.2e}"
        moved = [sent[worker] - before[worker] for worker in sent]
        found[name] = {
            "seconds": seconds,
            "one_process": alone,
            "far": far,
            "bytes_sent": moved,
            "peak": _peaks(workers),
        }
    return found


def _peaks(workers: Workers) -> list[int]:
    """The most memory of each worker so far, in bytes."""
    peak = workers.connection.client.run(lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return list(peak.values())


# ----------------------------------------------------------------------------------------------------------------- main
def main() -> None:
    """`python -m benchmarks.cluster [RECORD.json] [--only ...]`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("record", type=Path, nargs="?", help="JSON file that is begun, or continued")
    parser.add_argument("--only", nargs="+", choices=("iterations", "mnist"), default=["iterations", "mnist"])
    options = parser.parse_args()
    known = options.record is not None and options.record.exists()
    content = json.loads(options.record.read_text(encoding="utf-8")) if known else {}
    for setting in SETTINGS if "iterations" in options.only else ():
        done = content.setdefault("iterations", [])
        if any(all(case[name] == value for name, value in asdict(setting).items()) for case in done):
            continue
        with cluster(setting.workers, link=setting.link) as address:
            done.append(measure(setting, address))
        print(_line(done[-1]), flush=True)
        _keep(content, options.record)
    for workers in ON_WORKERS if "mnist" in options.only else ():
        jobs = content.setdefault("mnist", {})
        if str(workers) not in jobs:
            with cluster(workers) as address:
                jobs[str(workers)] = mnist(workers, address)
            print("\n".join(_mnist_lines(workers, jobs[str(workers)])), flush=True)
            _keep(content, options.record)


def _keep(content: dict, path: Path | None) -> None:
    if path is not None:
        content["made_with"] = made_with("python -m benchmarks.cluster")
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _line(found: dict) -> str:
    model, links = found["model"], found["links"]
    return (
        f"{found['workers']} workers, links of {found['link'] or 'this machine'}: n={found['n']} m={found['m']} "
        f"d={found['d']}: {found['seconds']:.3f} s, model {model['seconds']:.3f} (computing {model['computing']:.3f}, "
        f"tasks {model['tasks']:.3f}, moving {model['moving']:.3f}); {1e3 * links['task']:.2f} ms a task, "
        f"{1e3 * links['answer']:.1f} an answer, {links['bytes'] / 1e6:.0f} MB/s; up to "
        f"{max(found['bytes_sent']) / 1e6:.2f} MB sent by a worker"
    )


def _mnist_lines(workers: int, jobs: dict) -> Iterator[str]:
    for name, one in jobs.items():
        yield (
            f"MNIST, {workers} workers, {name}: {one['seconds']:.1f} s (one process {one['one_process']:.1f}), "
            f"{max(one['bytes_sent']) / 1e6:.1f} MB sent and {max(one['peak']) / 1e9:.2f} GB at most by a worker, "
            f"{one['far']:.0e} apart"
        )


if __name__ == "__main__":
    main()
