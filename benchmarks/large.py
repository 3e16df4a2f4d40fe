"""Sizes that peers cannot reach, each in a process of its own: forecast, time, floor and peak memory."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import ntkspec as ns
from benchmarks.common import rates
from ntkspec.engines import cpu
from ntkspec.operators import Triangle, Work

# name: activation, n, d, m, method; MNIST brings its own n and d.
SETTINGS = {
    "MNIST, dense": ("relu", 60_000, 784, 4096, "dense"),
    "n = 200,000, factored, relu": ("relu", 200_000, 256, 1024, "factored"),
    "n = 200,000, factored, erf": ("erf", 200_000, 256, 1024, "factored"),
    "n = 1,000,000, factored, relu": ("relu", 1_000_000, 64, 256, "factored"),
    "n = 1,000,000, factored, erf": ("erf", 1_000_000, 64, 256, "factored"),
}


@dataclass
class Large:
    """One run: ||Theta_1 - Theta^lin1|| and, where the matrix is formed, its Frobenius norm.

    seconds : all of it, data excluded. forecast : of the plan, for 48 products. floor : Gram matrices of one triangle,
    a write of it, and one read for each product (dense); 2 n m d flops a product (factored). first_touch : seconds that
    the machine took before to hand out that much memory for the first time (a virtual one can be slow at this).
    """

    name: str
    spectral: float
    upper: float
    frobenius: float | None
    products: int
    seconds: float
    forecast: float
    floor: float
    first_touch: float
    peak_bytes: int
    allowed_bytes: float


def measure(name: str) -> Large:
    """Run one setting in this process."""
    act, n, d, m, method = SETTINGS[name]
    X, trace_ratio = _data(name, n, d)
    net, floor_rates = ns.TwoLayer.symmetric(d, m, act, dtype=np.float32), rates("float32")
    size = 4.0 * float(np.prod(Triangle.layout(n, cpu.TILE))) if method == "dense" else 0.0
    first_touch = _first_touch(int(size))
    start = time.perf_counter()
    gap = ns.ntk(net, X, layer="first") - ns.linear_kernel(act, X, layer="first", trace_ratio=trace_ratio)
    norm = ns.spectral_norm(gap, method=method)
    frobenius = float(ns.frobenius_norm(gap)) if method == "dense" else None
    seconds, peak = time.perf_counter() - start, peak_bytes()
    if method == "dense":
        work, allowed = n * n / 2 * Work(flops=2.0 * d, words=m / 128), 18.0 * 2**30
        work += (norm.products + 1) * Work.of_reading(size, cpu.last_cache())
    else:
        work, allowed = norm.products * Work(flops=2.0 * n * m * d), 1.5 * (n * (m + d) + n) * 4 + 200e6
    return Large(
        *(name, float(norm), norm.upper, frobenius, norm.products),
        *(seconds, norm.plan.seconds, work.seconds(floor_rates), first_touch, peak, allowed),
    )


def _data(name, n, d):
    if name.startswith("MNIST"):
        data = ns.datasets.mnist(dtype=np.float32, n_test=0)
        return data.X, data.trace_ratio
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32), 1.0


def peak_bytes() -> int:
    """Most bytes that this process has held in memory; getrusage would count the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _first_touch(size: int) -> float:
    """Seconds to write one byte of each page of that much memory, on one core; the memory goes back to the system."""
    start = time.perf_counter()
    np.empty(size, np.uint8)[::4096] = 1
    return time.perf_counter() - start


def all_settings():
    """Each setting in a fresh process; MNIST only where its images are."""
    for name in SETTINGS:
        if not name.startswith("MNIST") or os.environ.get("NTKSPEC_DATA"):
            yield apart("benchmarks.large", name)


def apart(module: str, name: str) -> Large:
    """One setting, in a process of its own."""
    run = subprocess.run([sys.executable, "-m", module, name], check=True, stdout=subprocess.PIPE)
    return Large(**json.loads(run.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(measure(sys.argv[1]))))
