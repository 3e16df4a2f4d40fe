"""What an analysis will take, in seconds and bytes, before its long parts begin."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ntkspec.operators import KernelOperator, Triangle, planning
from ntkspec.operators.planning import Plan

# Products with Theta, its difference from Theta^lin and for the prediction that settings of all sizes took.
NORMS, GAP, PREDICTION = 400, 60, 100
# Seconds of the outputs of all points from which on a step is timed once.
LONG = 0.1


@dataclass(frozen=True)
class Forecast:
    """Expected seconds of the long stages, by name, and bytes at the peak. plan : of the products with Theta."""

    seconds: dict[str, float]
    bytes: float
    plan: Plan

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items() if seconds >= 1)
        detail = f" ({parts})" if parts else ""
        return f"about {self.total:.0f} s{detail} and {self.bytes / 1e9:.2g} GB; {self.plan.method} kernels"

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def forecast(
    theta: KernelOperator,
    linear: KernelOperator | None,
    train: Callable[..., object],
    *,
    steps: int,
    held: float,
    method: str | None = None,
    full: KernelOperator | None = None,
) -> Forecast:
    """The forecast for Theta and Theta^lin (None: its products take no time), a function ``train(steps=...)``, and
    ``held`` bytes beside the triangles of Theta and its difference from Theta^lin: what the process took before, and
    what it keeps. full : the kernel of all outputs, where it is the one that predicts the training.

    Products at the rates of this machine (:func:`ntkspec.plan`) by ``method``, the Frobenius norm at the cost of its
    tiles, training from a trial of a few steps. Measuring those rates can be the peak: what was taken so far counts.
    """
    gap = theta if linear is None else theta - linear
    chosen = planning.plan(theta, NORMS + GAP + PREDICTION, method=method)
    of_gap = planning.plan(gap, GAP, method=method)
    tiles, side, _ = Triangle.layout(theta.shape[0], theta.engine.TILE)
    entries = tiles * side**2 * gap.cost.entry
    seconds = {
        "kernel": chosen.build,
        "norms": NORMS * chosen.each + of_gap.seconds + planning.clock(gap, entries)(entries),
        "NTK prediction": PREDICTION * chosen.each,
        "training": steps * _seconds_of_a_step(train),
    }
    stored = held + chosen.bytes + of_gap.bytes
    if full is not None:
        of_all = planning.plan(full, NORMS + PREDICTION, method=method)
        stored += of_all.bytes
        seconds |= {
            "kernel of all outputs": of_all.build + NORMS * of_all.each,
            "NTK prediction": PREDICTION * of_all.each,
        }
    return Forecast(seconds, max(stored, theta.engine.most_memory()), chosen)


def _seconds_of_a_step(train: Callable[..., object]) -> float:
    """The middle one of three trials of six steps, less trials of one; one before compiles what has to be compiled.

    Of a step that takes long, one trial says it: less one of the outputs alone.
    """
    train(steps=[1])
    outputs = _timed(partial(train, steps=[0]))
    if outputs > LONG:
        return max(0.0, _timed(partial(train, steps=[1])) - outputs)
    times = {count: sorted(_timed(partial(train, steps=[count])) for _ in range(3))[1] for count in (1, 7)}
    return max(0.0, times[7] - times[1]) / 6


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
