"""What the cells of a sweep will take, in seconds and bytes, before the first one is measured."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ntkspec.cluster.execution import Place
from ntkspec.datasets import Dataset
from ntkspec.dynamics import Trajectory
from ntkspec.engines import named
from ntkspec.experiments.forecast import Expected, step_of
from ntkspec.experiments.kernel_drift import PRODUCTS, Start
from ntkspec.experiments.sweep_cells import (
    GAP_PRODUCTS,
    RECORDS,
    TEST_POINTS,
    Cell,
    data_of,
    followed,
    gap_kernels,
    last_step,
    layer_of,
    network_of,
    rate_of,
    start_of,
)
from ntkspec.experiments.sweep_limits import bytes_of, work_of
from ntkspec.kernels import ntk
from ntkspec.networks import TwoLayer
from ntkspec.operators import Gram, KernelOperator, planning
from ntkspec.operators.work import NOMINAL, PassWork, Work
from ntkspec.spectra.norms import EXPECTED_PRODUCTS
from ntkspec.theory.budget import PARTS, gap_parts

# Seconds of a cell beside its arithmetic, products with a kernel for a prediction, and how many settings of one kind
# are looked at: those between them take as much for their size.
EACH, PREDICTION, SETTINGS = 0.1, 100, 6
# Flops of all eigenpairs, in the cube of their number.
ALL_PAIRS = 9.0
# The most vectors of a Lanczos basis in float64, which a cell keeps.
BASIS = 150
# Work that takes longer than so many seconds at nominal rates is worth measuring the machine's own (0.2 s, once).
WORTH_MEASURING = 0.1


@dataclass(frozen=True)
class _Taken:
    """What something takes: work at the rates of this machine, seconds beside it, and bytes at the peak."""

    work: Work = field(default_factory=Work)
    seconds: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "_Taken") -> "_Taken":
        return _Taken(self.work + other.work, self.seconds + other.seconds, max(self.bytes, other.bytes))

    def __rmul__(self, number: float) -> "_Taken":
        return _Taken(number * self.work, number * self.seconds, self.bytes)


def sweep_forecast(cells: Sequence[Cell], place: Place) -> Expected:
    """The forecast for cells, by quantity: planned for settings of every size, and for the others by their size.

    Local processes share the cores, so that the arithmetic takes as long as in one; each keeps cells of its own.
    """
    engine = named(cells[0].engine)
    taken: dict[str, _Taken] = defaultdict(_Taken)
    for cell, share in _shares(cells):
        taken[cell.quantity] += share * _of_cell(cell)
    work = sum((own.work for own in taken.values()), Work())
    worth, dtype = work.nominal_seconds > WORTH_MEASURING, np.dtype(cells[0].dtype).char
    rates = engine.rates(dtype, memory=work.bytes > 0) if worth else NOMINAL
    seconds = {quantity: own.work.seconds(rates) + own.seconds for quantity, own in taken.items()}
    largest, used = max(own.bytes for own in taken.values()), engine.used_memory()
    workers = place.processes if place.processes > 1 else 0
    held = used + largest if not workers else used + workers * (used + largest)
    return Expected(seconds, max(held, engine.most_memory()))


def _shares(cells: Iterable[Cell]) -> list[tuple[Cell, float]]:
    """Settings of each kind and size, and how many times their own work the cells near them have."""
    kinds: dict[tuple[str, ...], dict[Cell, int]] = defaultdict(lambda: defaultdict(int))
    for cell in cells:
        kinds[cell.quantity, cell.network, cell.activation][replace(cell, seed=0)] += 1
    found = []
    for counts in kinds.values():
        settings = sorted(counts, key=work_of)
        size = -(-len(settings) // SETTINGS)
        for first in range(0, len(settings), size):
            near = settings[first : first + size]
            work = sum(counts[cell] * work_of(cell) for cell in near)
            found.append((near[-1], work / work_of(near[-1])))
    return found


def _of_cell(cell: Cell) -> _Taken:
    """What one cell takes, from the operators that it measures; they are made, but not multiplied."""
    data, what = data_of(cell), cell.quantity.split("-")[0]
    own = _PARTS[what](cell, data)
    return _Taken(own.work, own.seconds + EACH, own.bytes + bytes_of(cell) + 8.0 * cell.n * min(cell.n, BASIS))


def _of_products(operator: KernelOperator, products: int, *, squares: bool) -> _Taken:
    """Products with an operator as they are planned, and its Frobenius norm, which is known where it was formed."""
    plan = planning.plan(operator, products)
    work = planning.work(operator, plan)
    if squares and not plan.bytes:
        work = work + 0.5 * operator.shape[0] ** 2 * operator.cost.entry
    return _Taken(work, bytes=float(plan.bytes))


def _of_data(cell: Cell, data: Dataset) -> _Taken:
    return _Taken(0.5 * cell.n**2 * Gram(data.X).cost.entry)


def _of_gap(cell: Cell, data: Dataset) -> _Taken:
    theta, linear = gap_kernels(cell, data)
    of_linear = _of_products(linear, EXPECTED_PRODUCTS, squares=False)
    return _of_products(theta - linear, GAP_PRODUCTS, squares=True) + of_linear


def _of_budget(cell: Cell, data: Dataset) -> _Taken:
    net = network_of(cell)
    assert isinstance(net, TwoLayer)  # others are refused
    parts = gap_parts(net, data.X, layer=layer_of(cell), trace_ratio=data.trace_ratio)
    wanted = [parts[name] for name in ("gap", *PARTS) if name != "diagonal"]
    return sum((_of_products(part, EXPECTED_PRODUCTS, squares=True) for part in wanted), _Taken())


def _of_training(cell: Cell, data: Dataset) -> _Taken:
    """By a trial of a few steps; the second layer alone is predicted, by its features where these are few."""
    net = network_of(cell)
    if layer_of(cell) == "second":
        theta = ntk(net, data.X, layer="second")
        factors = theta.low_rank_factors()
        if factors is None or factors[0].shape[1] >= cell.n:
            return _of_products(theta, PREDICTION, squares=False)
        k = factors[0].shape[1]
        return _Taken(Work(flops=2.0 * cell.n * k**2 + ALL_PAIRS * k**3))
    step = step_of(partial(followed, cell, net, data))
    records = step.of(PassWork(float(RECORDS * TEST_POINTS)), cell.n)
    return _Taken(seconds=last_step(cell) * step.seconds + records)


def _of_drift(cell: Cell, data: Dataset) -> _Taken:
    """Training by a trial of a few steps; two kernels that are formed, and the norms of both and their difference."""
    start = start_of(cell)
    step = step_of(partial(_trained, cell, start, data))
    kernels = 3.0 * _of_products(start.kernel(start.net, data.X), PRODUCTS, squares=True)
    return kernels + _Taken(seconds=last_step(cell) * step.seconds)


def _trained(cell: Cell, start: Start, data: Dataset, *, steps: Sequence[int]) -> Trajectory:
    return start.trained(data, eta=rate_of(cell), steps=steps)


# What cells take, by the first word of their quantity.
_PARTS = {"data": _of_data, "gap": _of_gap, "budget": _of_budget, "training": _of_training, "drift": _of_drift}
