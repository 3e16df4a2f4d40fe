"""Which cells of a sweep can be measured, and what they need: refused before any is, with the reason."""

from functools import cache

import numpy as np

from ntkspec import checks
from ntkspec.activations import activation
from ntkspec.engines import named
from ntkspec.experiments.kernel_drift import NTK, PARAMETERIZATIONS
from ntkspec.experiments.sweep_cells import COVARIANCES, DISTRIBUTIONS, QUANTITIES, Cell, is_drift
from ntkspec.kernels import linear_kernel
from ntkspec.networks import DeepNetwork
from ntkspec.networks.size_laws import INFINITE, INFINITE_LAW
from ntkspec.networks.specification import TWO_LAYER, NetworkSpec
from ntkspec.networks.two_layer import SECOND_LAYERS, even_width

# What is measured of deep networks.
DEEP_QUANTITIES = "data", "gap-both", "training-both", "drift"


def check_cell(cell: Cell, memory: float) -> None:
    """Refuse a cell that cannot run in so many bytes, with the reason: names, sizes, and memory."""
    checks.one_of(cell.quantity, "quantity", tuple(QUANTITIES))
    checks.one_of(cell.distribution, "distribution", tuple(DISTRIBUTIONS))
    checks.one_of(cell.covariance, "covariance", tuple(COVARIANCES))
    checks.one_of(cell.second, "second", SECOND_LAYERS)
    checks.one_of(cell.dtype, "dtype", ("float32", "float64"))
    checks.one_of(cell.engine, "engine", ("cpu", "gpu"))
    activation(cell.activation)
    for name, least in (("d", 2), ("n", 2), ("seed", 0)):
        checks.whole_number(getattr(cell, name), name, least)
    _refuse_parameterization(cell)
    needed = bytes_of(cell)
    if needed > memory:
        raise ValueError(
            f"the cell {cell.key} needs {needed / 1e9:.3g} GB, but {memory / 1e9:.3g} GB are there for it; take fewer "
            f"points, a smaller width, fewer processes or larger workers"
        )


def _refuse_parameterization(cell: Cell) -> None:
    """ValueError where the cell has not the choice that it makes."""
    checks.one_of(cell.parameterization, "parameterization", PARAMETERIZATIONS)
    if cell.parameterization == NTK:
        return
    if not is_drift(cell.quantity):
        raise ValueError(
            f"{cell.quantity} is measured with --parameterization {NTK} only; drift and drift-first take "
            f"{cell.parameterization}"
        )
    if cell.spec.deep:
        raise ValueError(
            f"--parameterization {cell.parameterization} is that of {TWO_LAYER} networks here; of {cell.spec.name} "
            f"take {NTK}"
        )


def bytes_of(cell: Cell) -> float:
    """About what a cell keeps in memory."""
    kernels = 3.0 if is_drift(cell.quantity) else 1.0  # after training the neurons are no pairs: twice as many
    return 2.0 * kernels * np.dtype(cell.dtype).itemsize * _numbers(cell)


def work_of(cell: Cell) -> float:
    """What its time grows with: entries of the kernel times the numbers of a row."""
    return float(cell.n) ** 2 * (cell.width + cell.d)


def _numbers(cell: Cell) -> float:
    """About half the numbers that a cell keeps. Raises ValueError for a network that cannot be, or be measured."""
    if cell.spec.deep:
        return _numbers_of_deep(cell)
    if cell.quantity != "gap-cnn":
        return cell.n * (_finite_width(cell) + 2.0 * cell.d)
    if not 1 <= cell.width <= cell.d:
        raise ValueError(
            f"filters of {cell.width} positions (--width) do not fit into d = {cell.d}; take d^0.9 or less"
        )
    return cell.n * 2.0 * cell.d


def _numbers_of_deep(cell: Cell) -> float:
    spec, name = cell.spec, cell.spec.name
    if cell.quantity not in DEEP_QUANTITIES:
        raise ValueError(
            f"{cell.quantity} is measured of two-layer networks only; of {name} take {', '.join(DEEP_QUANTITIES)}"
        )
    if cell.second != "rademacher":
        raise ValueError(f"second={cell.second!r} is a choice of two-layer networks; all weights of {name} are N(0, 1)")
    if cell.width != INFINITE:
        spec.refuse_swapped()
    net = _narrow(spec.with_width(2), cell.d, cell.activation)
    inner = sum(W.size for W in net.parameters[1 : net.n_weights - 1]) * (_finite_width(cell) / 2) ** 2
    if net.recomputes:  # gradients of the points of a tile; that of a GPU is as large as most n
        points = cell.n if cell.engine == "gpu" else named("cpu").TILE
        return cell.n * 2.0 * cell.d + points * inner
    return cell.n * (spec.hidden_layers * cell.width + 2.0 * cell.d) + inner


def _finite_width(cell: Cell) -> int:
    """The width, 0 where it is infinite. Raises ValueError for one that the network or the quantity cannot have."""
    if cell.width != INFINITE:
        return even_width(cell.width)
    if cell.quantity != "data" and not cell.quantity.startswith("gap"):
        raise ValueError(f"{cell.quantity} is measured at finite widths only; at width {INFINITE_LAW} take gap-LAYER")
    return 0


@cache
def _narrow(spec: NetworkSpec, d: int, act: str) -> DeepNetwork:
    """The network, narrow as the spec is. Raises ValueError where its linear model is not known."""
    net = spec.build_deep((d,), act)
    linear_kernel(net, np.eye(2, d))
    return net
