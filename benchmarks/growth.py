"""How the cost of products and of certified norms grows with n, m and d: `python -m benchmarks.growth RECORD.json`.

Of Theta_1 - Theta^lin1 at a paired initialization. Settings are measured one after the other, the smallest first, and
kept in the record after each: the same command goes on after an interruption, and stops by itself after ``--seconds``.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

import ntkspec as ns
from benchmarks.common import made_with, rates
from benchmarks.fresh import forget_peak, memory
from ntkspec import progress
from ntkspec.engines import cpu
from ntkspec.operators import KernelOperator, Work, planning
from ntkspec.storage import atomic_path

# What the command takes at most, and no setting is begun whose forecast is beyond that; sizes that are varied one by
# one, and where the others stay meanwhile.
SECONDS = 480.0
FACTORED_N, DENSE_N = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000), (1000, 2000, 4000, 8000, 16_000)
WIDTHS, DIMENSIONS, FEW = (64, 256, 1024, 4096), (16, 64, 256, 1024), 20_000
D, M = 64, 256
# Products of two float64 vectors that are timed, and the sizes of which a slope is told: the largest ones.
REPEATS, OF_SLOPE = 3, 3


@dataclass(frozen=True)
class Setting:
    """One kernel, and what is varied: "n", "m" or "d"."""

    varied: str
    method: str
    activation: str
    dtype: str
    n: int
    d: int = D
    m: int = M

    @property
    def key(self) -> str:
        """Its name in the record."""
        return f"{self.varied}: {self.method}, {self.activation}, {self.dtype}, n={self.n} d={self.d} m={self.m}"

    @property
    def size(self) -> int:
        """The varied one."""
        return getattr(self, self.varied)

    def gap(self) -> KernelOperator:
        """Theta_1 - Theta^lin1 of Gaussian points."""
        X = np.random.default_rng(0).standard_normal((self.n, self.d), dtype=np.float32).astype(self.dtype)
        net = ns.TwoLayer.symmetric(self.d, self.m, self.activation, dtype=np.dtype(self.dtype))
        linear = ns.linear_kernel(self.activation, X, layer="first", trace_ratio=1.0)
        return ns.ntk(net, X, layer="first") - linear

    def floors(self) -> tuple[Work, Work]:
        """(of the matrix that is stored, of a product): multiplications of the factors, or reads of a triangle for two
        vectors at once."""
        if self.method == "factored":
            return Work(), Work(flops=2.0 * self.n * self.m * self.d)
        entries = self.n * self.n / 2
        read = Work.of_reading(entries * np.dtype(self.dtype).itemsize, cpu.last_cache())
        return entries * Work(flops=2.0 * self.d + self.m) + read, 0.5 * read


def settings() -> Iterator[Setting]:
    """All of them."""
    for activation, dtype in product(("relu", "erf"), ("float32", "float64")):
        for n in FACTORED_N:
            yield Setting("n", "factored", activation, dtype, n)
        for n in DENSE_N:
            yield Setting("n", "dense", activation, dtype, n)
    for activation in ("relu", "erf"):
        for m in WIDTHS:
            yield Setting("m", "factored", activation, "float32", FEW, m=m)
        for d in DIMENSIONS:
            yield Setting("d", "factored", activation, "float32", FEW, d=d)


def measure(setting: Setting) -> dict:
    """Seconds of a product and of a norm, their forecasts and floors, and the most memory beyond the points."""
    forget_peak()
    before, gap = memory("VmRSS"), setting.gap()
    start, said = time.perf_counter(), []
    operator, plan = planning.prepare(gap, 60, method=setting.method)
    build = time.perf_counter() - start
    vectors = np.random.default_rng(1).standard_normal((setting.n, 2))
    with operator.engine.one_blas_thread():
        each = _best(lambda: operator @ vectors) / 2
    watch, progress.Bar.expect = progress.Bar.expect, lambda bar, total: said.append(total)  # type: ignore[method-assign]
    try:
        start = time.perf_counter()
        norm = ns.spectral_norm(operator, method=setting.method)
        solving = time.perf_counter() - start
    finally:
        progress.Bar.expect = watch  # type: ignore[method-assign]
    assert norm.converged
    told = [total for total in said if total][1:2] or [norm.products]  # the first one that the recurrence tells
    stored, multiplied = (floor.seconds(rates("float64")) for floor in setting.floors())
    return asdict(setting) | {
        "product": each,
        "product_forecast": plan.each,
        "product_floor": multiplied,
        "norm": build + solving,
        "norm_forecast": plan.build + told[0] * plan.each,
        "norm_floor": stored + norm.products * multiplied,
        "products": norm.products,
        "products_forecast": told[0],
        "peak_bytes": max(1, memory("VmHWM") - before),
    }


def _best(task) -> float:
    task()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def slopes(cases: list[dict], what: str) -> dict[str, float]:
    """The slope of log cost over log size between the largest sizes of each series, by least squares."""
    series: dict[str, list[tuple[float, float]]] = {}
    for case in cases:
        name = f"{case['varied']}: {case['method']}, {case['activation']}, {case['dtype']}"
        series.setdefault(name, []).append((math.log(case[case["varied"]]), math.log(case[what])))
    return {
        name: float(np.polyfit(*zip(*sorted(points)[-OF_SLOPE:], strict=True), 1)[0])
        for name, points in series.items()
        if len(points) >= OF_SLOPE
    }


def draw(cases: list[dict], path: Path) -> None:
    """Seconds of a certified norm over n, with the forecasts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    over_n = [case for case in cases if case["varied"] == "n" and case["dtype"] == "float32"]
    for k, (method, activation) in enumerate(product(("factored", "dense"), ("relu", "erf"))):
        chosen = [case for case in over_n if (case["method"], case["activation"]) == (method, activation)]
        own = sorted((case["n"], case["norm"], case["norm_forecast"]) for case in chosen)
        if own:
            n, seconds, told = zip(*own, strict=True)
            axis.plot(n, seconds, "o-", color=f"C{k}", markersize=4, label=f"{activation}, {method}")
            axis.plot(n, told, "x", color=f"C{k}", markersize=5)
    axis.plot([], [], "x", color="grey", label="forecast")
    axis.set(xscale="log", yscale="log", xlabel="n", ylabel="seconds of a certified norm")
    axis.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _forecast(setting: Setting, cases: list[dict]) -> float:
    """From the last setting of its series, by the growth of the work; 0 where it is the first."""
    same = ("varied", "method", "activation", "dtype")
    own = [case for case in cases if all(case[name] == getattr(setting, name) for name in same)]
    if not own:
        return 0.0
    last = max(own, key=lambda case: case[setting.varied])
    power = 2 if (setting.varied, setting.method) == ("n", "dense") else 1
    return 1.5 * last["norm"] * (setting.size / last[setting.varied]) ** power


def _order(setting: Setting) -> float:
    return float(setting.n) * (setting.n if setting.method == "dense" else setting.m * setting.d)


def _line(key: str, found: dict) -> str:
    part = found["product_floor"] / found["product"]
    return (
        f"{key:<58} product {found['product']:.3g} s ({part:.0%} of the floor, forecast "
        f"{found['product_forecast']:.3g} s),"
        f" norm {found['norm']:.3g} s (forecast {found['norm_forecast']:.3g} s), {found['products']} products, "
        f"{found['peak_bytes'] / 1e6:.0f} MB"
    )


def main() -> None:
    """`python -m benchmarks.growth RECORD.json [--seconds S] [--figure FILE.png]`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("record", type=Path, help="JSON file that is begun, or continued")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for this call")
    parser.add_argument("--figure", type=Path, help="draw what is recorded to this PNG file")
    options = parser.parse_args()
    end = time.perf_counter() + options.seconds
    content = json.loads(options.record.read_text(encoding="utf-8")) if options.record.exists() else {"growth": []}
    cases, left_out = content["growth"], []
    measure(Setting("n", "dense", "relu", "float32", 700))  # what is compiled or measured once
    for setting in sorted(settings(), key=_order):
        if any(Setting(**{name: case[name] for name in asdict(setting)}) == setting for case in cases):
            continue
        if time.perf_counter() + _forecast(setting, cases) > end:
            left_out.append(setting.key)
            continue
        cases.append(measure(setting))
        content["made_with"] = made_with("python -m benchmarks.growth")
        content["slopes"] = {what: slopes(cases, what) for what in ("product", "norm", "peak_bytes")}
        with atomic_path(options.record) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(_line(setting.key, cases[-1]), flush=True)
    for what, found in content.get("slopes", {}).items():
        print(what, {name: round(slope, 2) for name, slope in found.items()})
    if options.figure:
        draw(cases, options.figure)
    if left_out:
        print(f"{len(left_out)} settings are left for the next call: {'; '.join(left_out[:3])}, ...")


if __name__ == "__main__":
    main()
