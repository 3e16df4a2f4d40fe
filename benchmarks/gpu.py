"""The GPU engine on a card: is it right, and how long does it take beside the card's limits and its peers?

`python -m benchmarks.gpu [--quick]` prints a table and writes benchmarks/results/DATE-CARD.json; --quick only checks
small sizes, measures no limits and writes nothing. Times are those of the second and later runs, with the card idle
before and after.
"""

import argparse
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

import ntkspec as ns
from benchmarks import torch_peer
from benchmarks.common import made_with
from ntkspec import engines
from ntkspec.operators import Work

RESULTS = Path(__file__).with_name("results")
# The norms that the CPU found for 60,000 MNIST images, ReLU, m = 4096 (docs/large.md).
MNIST_SPECTRAL, MNIST_FROBENIUS = (282.665, 282.820), 627.893
ETA, STEPS, REPEATS = 0.3, 100, 3


@dataclass
class Row:
    """Seconds of one thing; floor : of work that no method can avoid, at the card's measured rates."""

    name: str
    seconds: float
    floor: float | None = None


class Card:
    """The engine, and a clock that waits for it."""

    def __init__(self, engine, quick: bool):
        self.engine, self.xp = engine, engine.xp
        self.rates = {} if quick else {dtype: engine.rates(dtype) for dtype in "fd"}

    def floor(self, work: Work, dtype: str = "f") -> float | None:
        """Seconds of work that no method can avoid, where the card's rates were measured."""
        return work.seconds(self.rates[dtype]) if self.rates else None

    @property
    def facts(self) -> dict:
        """Name, memory, driver and CUDA of the card, and CuPy's version."""
        runtime = self.xp.cuda.runtime
        return {
            "card": runtime.getDeviceProperties(0)["name"].decode(),
            "memory": runtime.memGetInfo()[1],
            "driver": runtime.driverGetVersion(),
            "runtime": runtime.runtimeGetVersion(),
            "cupy": self.xp.__version__,
        }

    def seconds(self, function: Callable) -> float:
        """The best of some runs after one that compiles and allocates."""
        function()
        return min(self._once(function) for _ in range(REPEATS))

    def _once(self, function: Callable) -> float:
        self.xp.cuda.Device().synchronize()
        start = time.perf_counter()
        function()
        self.xp.cuda.Device().synchronize()
        return time.perf_counter() - start


def agree(what: str, one, other, tolerance: float) -> None:
    """Raises AssertionError where two answers, on the host, are further apart than their largest entry times that."""
    apart = float(np.abs(np.asarray(one) - np.asarray(other)).max() / np.abs(other).max())
    if not apart <= tolerance:
        raise AssertionError(f"{what}: wrong by {apart:.1e}, while {tolerance:.0e} is allowed")


# -------------------------------------------------------------------------------------------------------------- cases
def formed_gap(card: Card, quick: bool):
    """Theta_1 - Theta^lin1 of MNIST (Gaussian data where it is not there), one triangle, and both norms of it."""
    m, images = (64, False) if quick else (4096, bool(os.environ.get("NTKSPEC_DATA")))
    if images:
        data = ns.datasets.mnist(dtype=np.float32, n_test=0)
    else:
        data = ns.datasets.gaussian(700 if quick else 60_000, 784, dtype=np.float32)
    X, net = card.xp.asarray(data.X), ns.TwoLayer.symmetric(784, m, "relu", dtype=np.float32).to("gpu")
    (n, d), found = X.shape, {}

    def norms():
        linear = ns.linear_kernel("relu", X, layer="first", trace_ratio=data.trace_ratio)
        gap = ns.ntk(net, X, layer="first") - linear
        found["spectral"], found["frobenius"] = ns.spectral_norm(gap, method="dense"), float(ns.frobenius_norm(gap))

    seconds = card.seconds(norms)
    spectral, frobenius = found["spectral"], found["frobenius"]
    if images:
        assert max(spectral.lower, MNIST_SPECTRAL[0]) <= min(spectral.upper, MNIST_SPECTRAL[1]), spectral
        agree("Frobenius norm of MNIST", frobenius, MNIST_FROBENIUS, 1e-5)
    elif quick:
        here = ns.ntk(net.to("cpu"), data.X, layer="first")
        here = here - ns.linear_kernel("relu", data.X, layer="first", trace_ratio=data.trace_ratio)
        expected = float(ns.spectral_norm(here)), float(ns.frobenius_norm(here))
        agree("norms", (spectral.value, frobenius), expected, 1e-5)
    work = n * n / 2 * Work(flops=2.0 * d, words=m / 128) + (spectral.products + 1) * Work(bytes=2.0 * n * n)
    yield Row(f"gap formed, both norms, n={n} d={d} m={m}", seconds, card.floor(work))
    yield from _plain_cupy(card, net, X[: min(n, 20_000)], data.trace_ratio)


def _plain_cupy(card: Card, net, X, trace_ratio):
    """The same on fewer points, and as an expert writes it with CuPy alone: whole matrices, and its eigsh."""
    xp, (n, d), m, constants = card.xp, X.shape, net.width, net.activation.constants
    found = {}

    def ours():
        gap = ns.ntk(net, X, layer="first") - ns.linear_kernel("relu", X, layer="first", trace_ratio=trace_ratio)
        found["ours"] = float(ns.spectral_norm(gap, method="dense")), float(ns.frobenius_norm(gap))

    yield Row(f"gap formed, both norms, n={n}", card.seconds(ours))
    try:
        from cupyx.scipy.sparse.linalg import eigsh
    except ImportError:
        print("left out: plain CuPy, cupyx is not installed")
        return

    def peer():
        D = (X @ net.W.T >= 0).astype(xp.float32)
        K = D @ D.T
        K *= 1 / m
        K -= constants.zeta**2
        K *= X @ X.T
        K -= constants.nu(trace_ratio) ** 2
        K *= 1 / d
        largest = eigsh(K, k=1, which="LM", return_eigenvectors=False, tol=1e-4)
        found["peer"] = float(abs(largest[0])), float(xp.linalg.norm(K))

    seconds = card.seconds(peer)
    agree("plain CuPy", found["ours"], found["peer"], 1e-3)
    yield Row(f"the same, plain CuPy and cupyx eigsh (no interval), n={n}", seconds)


def factored_product(card: Card, quick: bool):
    """Theta_1 u through the factors, in float32 and with float64 vectors, against the measured rate of products."""
    n, d, m = (2000, 16, 32) if quick else (1_000_000, 64, 256)
    X = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    u = np.random.default_rng(1).standard_normal(n)
    for act in ("relu", "erf"):
        net = ns.TwoLayer.random(d, m, act, dtype=np.float32)
        theta = ns.ntk(net.to("gpu"), card.xp.asarray(X), layer="first")
        for dtype in ("f", "d"):
            vector = card.xp.asarray(u.astype(dtype))[:, None]
            seconds = card.seconds(partial(theta.factored_product, vector))
            rows = np.arange(0, n, n // 50)
            exact = ns.ntk(net, X[rows].astype(float), X.astype(float), layer="first") @ u
            found = card.engine.to_host(theta.factored_product(vector))[rows, 0]
            agree(f"product, {act}", found, exact, 1e-3 if act == "relu" else 1e-4)
            floor = card.floor(Work(flops=4.0 * n * m * d), dtype)
            yield Row(f"factored product, {act}, n={n} d={d} m={m}, vectors {np.dtype(dtype)}", seconds, floor)


def training_step(card: Card, quick: bool):
    """A step of full-batch descent on both layers, beside PyTorch on the same card, eager and compiled."""
    (n, d, m), steps = ((1000, 10, 32), 5) if quick else ((20_000, 50, 256), STEPS)
    data = ns.datasets.gaussian(n, d, dtype=np.float32)
    X, y = (card.xp.asarray(array) for array in (data.X, data.y))
    for act in ("erf", "relu"):
        net = ns.TwoLayer.symmetric(d, m, act, dtype=np.float32)
        here, there = ({"eta1": ETA, "eta2": ETA, "steps": [steps]} for _ in range(2))
        train = partial(ns.train_gd, net.to("gpu"), X, y, **there)
        seconds = card.seconds(train) / steps
        moved = ns.train_gd(net, data.X, data.y, **here).network.W - net.W
        agree(f"training, {act}", card.engine.to_host(train().network.W) - net.W, moved, 2e-3)
        floor = card.floor(Work(flops=4.0 * n * d * m))
        yield Row(f"training step, {act}, n={n} d={d} m={m}", seconds, floor)
        yield from _torch(card, act, (data.X, data.y, net.W, net.v), (moved, steps))


def _torch(card: Card, act: str, arrays, expected):
    """PyTorch's steps, where it is installed and sees the card; the gradient by autograd."""
    if not importlib.util.find_spec("torch"):
        return
    import torch

    if not torch.cuda.is_available():
        print("left out: PyTorch, which sees no card")
        return
    moved, steps = expected
    X, y, W0, v0 = (torch.from_numpy(array).cuda() for array in arrays)
    for compiled in (False, True):
        step = torch_peer.training_step(act, ETA, False, compiled)

        def train(step=step):
            W, v = W0, v0
            for _ in range(steps):
                W, v = step(W, v, X, y)
            torch.cuda.synchronize()
            return W

        seconds = card.seconds(train) / steps
        agree(f"PyTorch, {act}", train().cpu().numpy() - arrays[2], moved, 2e-3)
        yield Row(f"the same, {'torch.compile' if compiled else 'PyTorch eager'}", seconds)


CASES = (formed_gap, factored_product, training_step)


def main() -> None:
    """Run all cases; one line and exit code 2 where there is no card."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: are the answers right?")
    quick = parser.parse_args().quick
    try:
        card = Card(engines.named("gpu"), quick)
    except ValueError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        sys.exit(2)
    rows = []
    for case in CASES:
        for row in case(card, quick):
            rows.append(row)
            floor = "" if row.floor is None else f"{row.floor / row.seconds:>8.0%} of the limit"
            print(f"{row.name:<72}{row.seconds:>11.5f}s{floor}", flush=True)
    if not quick:
        _record(card, rows)


def _record(card: Card, rows: list[Row]) -> None:
    facts, day = card.facts, datetime.now(UTC).date().isoformat()
    rates = {
        dtype: {name: rate for name, rate in asdict(rates).items() if math.isfinite(rate)}
        for dtype, rates in card.rates.items()
    }
    content = {
        "made_with": made_with("python -m benchmarks.gpu") | facts,
        "rates, per second": rates,
        "rows": [asdict(row) for row in rows],
    }
    path = RESULTS / f"{day}-{facts['card'].replace(' ', '-')}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
