"""A benchmark case: our way, the peers' ways, the machine's limit, and the check that all give the same answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Case:
    """``ours`` and each of ``peers`` return arrays or numbers that agree to ``tolerance`` of the largest entry.

    ``floor_flops`` : flops that no method can avoid; the floor is their time at the gemm rate measured in the same run.
    """

    name: str
    ours: Callable
    peers: dict[str, Callable]
    tolerance: float
    floor_flops: float
    dtype: str


@dataclass
class Result:
    """Seconds of each way, and the floor."""

    name: str
    ours: float
    peers: dict[str, float]
    floor: float


def run(case: Case, repeats: int) -> Result:
    """Best of the repeats for each way, interleaved; raises AssertionError where an answer is wrong."""
    ways = {"ntkspec": case.ours, **case.peers}
    answers = {name: way() for name, way in ways.items()}
    for name in case.peers:
        _check(case, name, answers["ntkspec"], answers[name])
    seconds = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    best = {name: min(times) for name, times in seconds.items()}
    ours = best.pop("ntkspec")
    return Result(case.name, ours, best, case.floor_flops / gemm_rate(case.dtype))


def _check(case: Case, name: str, ours, theirs) -> None:
    for one, other in zip(ours, theirs, strict=True):
        scale = np.abs(other).max()
        error = np.abs(np.asarray(one) - np.asarray(other)).max() / (scale if scale else 1)
        if not error <= case.tolerance:
            raise AssertionError(f"{case.name}: ntkspec and {name} differ by {error:.2e} > {case.tolerance:.0e}")


_RATES: dict[str, float] = {}


def gemm_rate(dtype: str, size: int = 2048) -> float:
    """flops per second of a square matrix product on all cores, best of three."""
    if dtype not in _RATES:
        A = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            A @ A[::-1]
            times.append(time.perf_counter() - start)
        _RATES[dtype] = 2 * size**3 / min(times[1:])
    return _RATES[dtype]
