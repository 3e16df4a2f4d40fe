"""A GPU with its clock, and what is measured on it."""

import gc
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import said_by
from benchmarks.gpu.limits import measured

REPEATS = 3
# Rows of points that are drawn at once.
_DRAWN = 2**15


@dataclass
class Way:
    """One way to an answer. bytes : the most that CuPy's pool held beyond the data, from the first preparation on."""

    seconds: float
    bytes: int | None
    answer: Any


@dataclass
class Row:
    """Ours and the peers' ways to one answer. floor : seconds of work that no method can avoid, at the GPU's limits;
    target : the seconds that this project aims at; note : what else is worth knowing of our answer."""

    name: str
    ntkspec: Way
    floor: float
    peers: dict[str, Way] = field(default_factory=dict)
    target: float | None = None
    note: str = ""


class Device:
    """The engine, the GPU's limits, a clock that waits for the GPU, and who could not take part (``left_out``)."""

    def __init__(self, engine, quick: bool):
        self.engine, self.xp, self.quick = engine, engine.xp, quick
        self.repeats = 1 if quick else REPEATS
        self.limits = measured(self.xp, *((64, 2**10) if quick else (8192, 2**30)))
        self.left_out: list[str] = []

    @property
    def facts(self) -> dict:
        """Name, memory, driver and CUDA of the GPU, and CuPy's version."""
        runtime = self.xp.cuda.runtime
        return {
            "GPU": runtime.getDeviceProperties(0)["name"].decode(),
            "memory": runtime.memGetInfo()[1],
            "driver": said_by("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"),
            "cuda of the driver": runtime.driverGetVersion(),
            "cuda runtime": runtime.runtimeGetVersion(),
            "cupy": self.xp.__version__,
        }

    def way(self, function: Callable, *, prepare: Callable | None = None, once: bool = False) -> Way:
        """The best of some runs of the function after one that compiles and allocates; ``once``: that one run is all.

        prepare : what is not timed, but counts as memory; the function is called with what it returns.
        """
        pool = self.xp.get_default_memory_pool()
        gc.collect()
        pool.free_all_blocks()
        before = pool.used_bytes()
        task = partial(function, prepare()) if prepare else function
        seconds, answer = self._timed(task)
        held = pool.total_bytes() - before
        if not once:
            seconds = min(self._timed(task)[0] for _ in range(self.repeats))
        return Way(seconds, held, answer)

    def tried(self, name: str, function: Callable, **how) -> dict[str, Way]:
        """A peer's way under its name; nothing where it does not work here."""
        ways = {}
        with self.leaving_out(name):
            ways[name] = self.way(function, **how)
        return ways

    @contextmanager
    def leaving_out(self, what: str):
        """What fails inside takes no part, with its message as the reason."""
        try:
            yield
        except Exception as error:
            self.leave_out(what, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")

    def leave_out(self, what: str, reason: str) -> None:
        """Say once, and keep, that something takes no part."""
        line = f"left out: {what}, because {reason}"
        if line not in self.left_out:
            self.left_out.append(line)
            print(line, flush=True)

    def _timed(self, task: Callable) -> tuple[float, object]:
        self.xp.cuda.Device().synchronize()
        start = time.perf_counter()
        answer = task()
        self.xp.cuda.Device().synchronize()
        return time.perf_counter() - start, answer

    def normal(self, n: int, d: int, seed: int):
        """Gaussian points (n, d) in float32, drawn on the GPU."""
        draw, points = self.xp.random.default_rng(seed).standard_normal, self.xp.empty((n, d), np.float32)
        for k in range(0, n, _DRAWN):
            points[k : k + _DRAWN] = draw((min(_DRAWN, n - k), d), dtype=np.float32)
        return points

    def on(self, array):
        """A NumPy array on the GPU."""
        return self.xp.asarray(array)

    def agree(self, what: str, one, other, tolerance: float) -> None:
        """Raises AssertionError where two answers differ by more than that part of the largest entry of the second."""
        one, other = (np.asarray(self.engine.to_host(answer), dtype=float) for answer in (one, other))
        apart = float(np.abs(one - other).max() / np.abs(other).max())
        if not apart <= tolerance:
            raise AssertionError(f"{what}: wrong by {apart:.1e}, while {tolerance:.0e} is allowed")
