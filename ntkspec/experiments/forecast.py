"""What a run will take, in seconds and bytes, before its long parts begin; that of an analysis."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from ntkspec.engines import named
from ntkspec.operators import JacobianGram, KernelOperator, Triangle, planning
from ntkspec.operators.base import points_of
from ntkspec.operators.planning import Plan
from ntkspec.operators.work import PassWork

# Products with Theta, its difference from Theta^lin and for the prediction that settings of all sizes took.
NORMS, GAP, PREDICTION = 400, 60, 100
# Seconds of the outputs of all points from which on a step is timed once.
LONG = 0.1
# Bytes of memory that is written for the first time, in a second.
NEW_MEMORY = 1e9


@dataclass(frozen=True)
class Expected:
    """Expected seconds of the long stages, by name, and bytes at the peak."""

    seconds: dict[str, float]
    bytes: float

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items() if seconds >= 1)
        detail = f" ({parts})" if parts else ""
        return f"about {max(1.0, self.total):.0f} s{detail} and {max(self.bytes, 1e7) / 1e9:.2g} GB"

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Forecast(Expected):
    """The same where kernels are multiplied. plan : of the products with Theta."""

    plan: Plan

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.plan.method} kernels"


@dataclass(frozen=True)
class Length:
    """Steps, how many of them are recorded, the models whose outputs are kept, and the points of a step (None: all)."""

    steps: int
    records: int
    models: int = 2
    batch: int | None = None

    def points(self, n: int) -> int:
        """Those of a step."""
        return min(n, self.batch or n)

    def passed(self, n: int, tests: int) -> int:
        """Points whose outputs a record needs beside those of the step."""
        return tests if self.batch is None else n + tests


@dataclass(frozen=True)
class Step:
    """Seconds of a step of training, and of compiling one of its two passes."""

    seconds: float
    compiling: float = 0.0

    def of(self, passes: PassWork, points: int) -> float:
        """The seconds of passes, where a step takes three of so many points."""
        passing = passes.forward * self.seconds / (3 * points)
        return passing + passes.written / NEW_MEMORY + passes.programs * self.compiling


def forecast(
    theta: KernelOperator,
    linear: KernelOperator | None,
    train: Callable[..., object],
    *,
    length: Length,
    held: float,
    method: str | None = None,
    full: KernelOperator | None = None,
    tests: int = 0,
    products: int = 0,
) -> Forecast:
    """The forecast for Theta and Theta^lin (None: its products take no time), a function ``train(steps=...)``, and
    ``held`` bytes beside the triangles of Theta and its difference from Theta^lin: what the process took before, and
    what it keeps. full : the kernel of all outputs, where it is the one that predicts the training. tests : test
    points. products : those of a prediction step by step; 0 where it has a closed form.

    Products at the rates of this machine (:func:`ntkspec.plan`) by ``method``, the Frobenius norm at the cost of its
    tiles, training from a trial of a few steps, which also tells the time of a framework's passes for entries and their
    rounding, and of compiling them. Measuring those rates can be the peak: what was taken so far counts.
    """
    gap = theta if linear is None else theta - linear
    ahead, together = products or PREDICTION, 0 if full is not None else products
    chosen, step = planned(theta, NORMS + GAP + PREDICTION + together, method), step_of(train)
    if theta.spread:
        return _of_spread(gap, chosen, ahead, length.steps * step.seconds, held)
    of_gap = planning.plan(gap, GAP, method=method)
    tiles, side, _ = Triangle.layout(theta.shape[0], theta.engine.TILE)
    entries = tiles * side**2 * gap.cost.entry
    n = points_of(theta)
    each = length.points(n)
    predicting, plan = (theta, chosen) if full is None else (full, planned(full, NORMS + ahead, method))
    own, between = passes_of(theta, n, checks=True), _between(predicting, n, tests)
    seconds = {
        "kernel": chosen.build + step.of(own, each),
        "norms": NORMS * chosen.each + of_gap.seconds + planning.clock(gap, entries)(entries),
        "NTK prediction": ahead * plan.each + between.seconds + step.of(between.passes, each),
        "training": length.steps * step.seconds
        + step.of(PassWork(float(length.records * length.passed(n, tests))), each),
    }
    if products and linear is not None:
        work = products * linear.cost.product
        seconds["linear prediction"] = planning.clock(linear, work)(work)
    stored, passes = held + chosen.bytes + of_gap.bytes, own + between.passes
    if full is not None:
        of_all = passes_of(full, 0 if _shared(theta, full) else n, checks=True)
        stored, passes = stored + plan.bytes, passes + of_all
        seconds["kernel of all outputs"] = plan.build + step.of(of_all, each)
        seconds["norms"] += NORMS * plan.each
    return Forecast(seconds, max(stored + passes.kept + passes.passing, theta.engine.most_memory()), chosen)


def _of_spread(gap: KernelOperator, plan: Plan, ahead: int, training: float, held: float) -> Forecast:
    """Where workers multiply the kernels, and this machine trains."""
    entries = 0.5 * gap.shape[0] ** 2 * gap.cost.entry
    seconds = {
        "norms": (NORMS + GAP) * plan.each + planning.clock(gap, entries)(entries),
        "NTK prediction": ahead * plan.each,
        "training": training,
    }
    return Forecast(seconds, max(held, named("cpu").most_memory()), plan)


def _shared(one: KernelOperator, other: KernelOperator) -> bool:
    """Whether two kernels have the same gradients."""
    return isinstance(one, JacobianGram) and isinstance(other, JacobianGram) and one.left is other.left


def planned(kernel: KernelOperator, products: int, method: str | None) -> Plan:
    """The plan; products through a framework's passes are timed, once what they keep is there."""
    chosen = planning.plan(kernel, products, method=method)
    if chosen.method != "factored" or not passes_of(kernel, 1, checks=False).forward:
        return chosen
    product = partial(kernel.__matmul__, kernel.engine.xp.ones(kernel.shape[1], kernel.dtype))
    return replace(chosen, each=min(_timed(product) for _ in range(2)))


@dataclass(frozen=True)
class _Rectangle:
    """The kernel of test points through a framework: its passes, and the seconds of its products beside them."""

    passes: PassWork
    seconds: float = 0.0


def _between(kernel: KernelOperator, n: int, tests: int) -> _Rectangle:
    """Nothing where products with factors of our own take its place. The gradients of the training points are there."""
    passes = _of_rows(kernel, tests)
    if not (tests and passes.forward):
        return _Rectangle(PassWork())
    entries = kernel.shape[0] * (kernel.shape[0] / n) * tests * kernel.cost.entry
    products = PREDICTION * (n + tests) / (2 * n) * kernel.cost.product
    return _Rectangle(passes, min(planning.clock(kernel, work)(work) for work in (entries, products)))


def _of_rows(kernel: KernelOperator, points: int) -> PassWork:
    """Of points whose gradients are used once, those of the rows of a tile together."""
    passes = passes_of(kernel, points, checks=False)
    return replace(passes, kept=passes_of(kernel, min(points, kernel.engine.TILE), checks=False).kept)


def passes_of(kernel: KernelOperator, points: int, *, checks: bool) -> PassWork:
    """What a framework does for the entries of a kernel; nothing for networks of this package."""
    return kernel.passes(points, checks=checks) if isinstance(kernel, JacobianGram) else PassWork()


def step_of(train: Callable[..., object]) -> Step:
    """The middle one of three trials of six steps, less trials of one; one before compiles what has to be compiled.

    Of a step that takes long, one trial says it: less one of the outputs alone.
    """
    first = _timed(partial(train, steps=[1]))
    outputs = _timed(partial(train, steps=[0]))
    if outputs > LONG:
        again = _timed(partial(train, steps=[1]))
        outputs = min(outputs, again / 2)  # a busy machine may be slow just then
        return Step(again - outputs, max(0.0, first - again) / 2)
    times = {count: sorted(_timed(partial(train, steps=[count])) for _ in range(3))[1] for count in (1, 7)}
    return Step(max(0.0, times[7] - times[1]) / 6, max(0.0, first - times[1]) / 2)


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
