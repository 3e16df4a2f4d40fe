"""Certified norms of PyTorch modules at 50 times the points whose gradients torch.func's contraction would hold in the
same memory: forecast, time and peak, in a process of its own: `python -m benchmarks.any_network_large NAME`.

Without a name, the forecasts for 20 GB of what this machine would take in minutes or hours.
"""

import json
import sys
import time
from dataclasses import asdict

import ntkspec as ns
from benchmarks.common import rates
from benchmarks.large import Large, peak_bytes
from ntkspec.engines import host
from ntkspec.operators import Work

TIMES = 50
# name: network, bytes.
SETTINGS = {
    "ResNet-18 in 1 GB": ("resnet18", 1e9),
    "MLP in 4 GB": ("mlp", 4e9),
}


def measure(name: str) -> Large:
    """Run one setting in this process, which keeps to that memory beside what it holds at the start."""
    network, most = SETTINGS[name]
    n, (passes, parameters), theta = _kernel(network, most)
    before, used, start = peak_bytes(), host.used_memory(), time.perf_counter()
    # What the package asks before it plans; the start of PyTorch is not counted.
    host.free_memory = lambda *_, **__: max(0, int(most - (host.used_memory() - used)))
    norm = ns.spectral_norm(theta)
    seconds = time.perf_counter() - start
    entries = min(float(parameters), theta.cost.entry.flops / 2)  # by gradients, or by Gram matrices of positions
    floor = Work(flops=3.0 * n * passes + float(n) * n * entries).seconds(rates("float32"))
    return Large(
        *(f"{name}, n={n}", float(norm), norm.upper, None, norm.products, seconds, norm.plan.seconds, floor),
        *(0.0, peak_bytes() - before, most),
    )


def _kernel(network: str, most: float):
    """n, the size of the network, and its kernel of one output."""
    from benchmarks.any_network_ways import NETWORKS, Problem, size_of

    size = size_of(network)
    n = int(TIMES * most / (4 * size[1]))
    module, points = NETWORKS[network](n)
    return n, size, Problem(module, points, 1, 0).theta


def forecasts() -> None:
    """Of 20 GB."""
    for network in ("resnet18", "transformer", "mlp"):
        n, _, theta = _kernel(network, 20e9)
        print(f"{network}, n={n}, {TIMES} times what the contraction holds in 20 GB: {ns.plan(theta)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(asdict(measure(sys.argv[1]))))
    else:
        forecasts()
