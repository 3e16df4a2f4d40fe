"""One cell of a sweep: a frozen setting, and the numbers that are measured there."""

import math
from dataclasses import astuple, dataclass, fields

import numpy as np

from ntkspec import bounds, checks, datasets, planning
from ntkspec.activations import activation
from ntkspec.assumptions import summarize
from ntkspec.budget import PARTS, gap_budget
from ntkspec.dynamics import predict_gd
from ntkspec.experiments.agreement import mean_squared_difference
from ntkspec.kernels import cnn_linear_kernel, expected_cnn_ntk, linear_kernel, ntk
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks import TwoLayer
from ntkspec.networks.two_layer import SECOND_LAYERS, even_width
from ntkspec.norms import frobenius_norm, spectral_norm
from ntkspec.operators import Diagonal
from ntkspec.training import train_gd

LAYERWISE = tuple(f"{what}-{layer}" for what in ("gap", "budget", "training") for layer in checks.LAYERS)
QUANTITIES = ("data", "gap-cnn", *LAYERWISE)
DISTRIBUTIONS = {"gaussian": "gaussian", "cube": "rademacher", "sphere": "sphere", "uniform": "subgaussian"}
# Variances of the d directions: all 1, or evenly spaced from 0.2 to 1.8.
COVARIANCES = {"identity": lambda d: None, "graded": lambda d: np.linspace(0.2, 1.8, d) if d > 1 else None}
# The relative width of the spectral norms' intervals.
RTOL = 1e-3
# Training: test points, the part of the theorems' largest rate, c in T = c d log d / eta, records, and most steps.
TEST_POINTS, PART_OF_RATE, HORIZON, RECORDS, MOST_STEPS = 2000, 0.05, 2.0, 40, 2000
# A number of steps after which a linear model has converged.
FOREVER = 10**9


@dataclass(frozen=True, order=True)
class Cell:
    """Everything that the numbers of a cell depend on.

    quantity : "data" (Claim 3.1), "gap-LAYER" (norms of Theta - Theta^lin, with and without the diagonal), "gap-cnn"
    (those of Proposition 4.1: the convolutional kernel of infinitely many channels, filters of ``width`` positions,
    less its linear kernel), "budget-LAYER" (those of F, D and R) or "training-LAYER" (network against linear model up
    to the horizon, with the labels of an erf teacher). The network is that of equation (3); data and network have the
    seed.
    """

    quantity: str
    d: int
    n: int
    width: int
    activation: str = "erf"
    distribution: str = "gaussian"
    covariance: str = "identity"
    second: str = "rademacher"
    dtype: str = "float64"
    seed: int = 0

    @property
    def key(self) -> str:
        """A name that no other cell has."""
        return " ".join(f"{field.name}={value}" for field, value in zip(fields(self), astuple(self), strict=True))


def check_cell(cell: Cell, memory: float) -> None:
    """Refuse a cell that cannot run in so many bytes, with the reason: names, sizes, and memory."""
    checks.one_of(cell.quantity, "quantity", QUANTITIES)
    checks.one_of(cell.distribution, "distribution", tuple(DISTRIBUTIONS))
    checks.one_of(cell.covariance, "covariance", tuple(COVARIANCES))
    checks.one_of(cell.second, "second", SECOND_LAYERS)
    checks.one_of(cell.dtype, "dtype", ("float32", "float64"))
    activation(cell.activation)
    if cell.quantity != "gap-cnn":
        even_width(cell.width)
    elif not 1 <= cell.width <= cell.d:
        raise ValueError(
            f"filters of {cell.width} positions (--width) do not fit into d = {cell.d}; take d^0.9 or less"
        )
    for name, least in (("d", 2), ("n", 2), ("seed", 0)):
        checks.whole_number(getattr(cell, name), name, least)
    width = 0 if cell.quantity == "gap-cnn" else cell.width
    needed = 2.0 * np.dtype(cell.dtype).itemsize * cell.n * (width + 2 * cell.d)
    if needed > memory:
        raise ValueError(
            f"the cell {cell.key} needs {needed / 1e9:.3g} GB, but {memory / 1e9:.3g} GB are there for it; take fewer "
            f"points, a smaller width, fewer processes or larger workers"
        )


def measure(cell: Cell) -> dict[str, float]:
    """The numbers of a cell, by name. The same cell gives the same numbers."""
    draw, dtype = getattr(datasets, DISTRIBUTIONS[cell.distribution]), np.dtype(cell.dtype).type
    how = {"covariance": COVARIANCES[cell.covariance](cell.d), "seed": cell.seed, "dtype": dtype}
    data = draw(cell.n, cell.d, n_test=TEST_POINTS if cell.quantity.startswith("training") else 0, **how)
    if cell.quantity == "data":
        return _data(data.X)
    if cell.quantity == "gap-cnn":
        kernels = expected_cnn_ntk(cell.activation, data.X, filter_size=cell.width)
        return _norms(kernels, cnn_linear_kernel(cell.activation, data.X, filter_size=cell.width))
    what, layer = cell.quantity.split("-")
    net = TwoLayer.symmetric(cell.d, cell.width, cell.activation, seed=cell.seed, second=cell.second, dtype=dtype)
    return {"gap": _gap, "budget": _budget, "training": _training}[what](net, data, layer)


def _data(X) -> dict[str, float]:
    """The ratios that Claim 3.1 says are bounded."""
    found = summarize(X)
    return {
        "norms": max(abs(found.norm_max - 1), abs(found.norm_min - 1)) / found.concentration,
        "overlaps": found.largest_overlap / found.concentration,
        "gram": found.gram_norm,
    }


def _gap(net, data, layer: str) -> dict[str, float]:
    linear = linear_kernel(net.activation, data.X, layer=layer, trace_ratio=data.trace_ratio)
    return _norms(ntk(net, data.X, layer=layer), linear)


def _norms(theta, linear) -> dict[str, float]:
    """Of Theta^lin, and of Theta - Theta^lin with and without its diagonal."""
    gap, _ = planning.prepare(theta - linear, 150)
    hollow = gap - Diagonal(gap.diagonal())
    size = spectral_norm(linear, rtol=RTOL)
    found = {"linear": size.value}
    for name, operator in (("gap", gap), ("hollow", hollow)):
        norm = spectral_norm(operator, rtol=RTOL)
        found |= {name: norm.value, f"{name} lower": norm.lower, f"{name} upper": norm.upper}
    squares = float(np.square(gap.diagonal(np.float64)).sum())
    whole = float(frobenius_norm(gap))
    return found | {"frobenius": whole, "hollow frobenius": math.sqrt(max(0.0, whole**2 - squares))}


def _budget(net, data, layer: str) -> dict[str, float]:
    budget = gap_budget(net, data.X, layer=layer, trace_ratio=data.trace_ratio, rtol=RTOL)
    found: dict[str, float] = {}
    for name in ("gap", *PARTS):
        part = getattr(budget, name)
        found |= {name: float(part.spectral), f"{name} predicted": part.predicted_spectral}
        found |= {f"{name} frobenius": float(part.frobenius), f"{name} frobenius predicted": part.predicted_frobenius}
    return found


def _training(net, data, layer: str) -> dict[str, float]:
    """The largest discrepancies of network and linear model up to T = c d log d / eta, and the distance to its limit.

    The second layer alone is a linear model of fixed features: its network follows its kernel exactly.
    """
    (n, d), act, (weight1, weight2) = data.X.shape, net.activation, LAYER_WEIGHTS[layer]
    eta = PART_OF_RATE * bounds.largest_rate(n, d, layer=layer, centred=act.constants.vartheta0 == 0)
    most = FOREVER if layer == "second" else MOST_STEPS
    last = int(min(most, max(1, round(bounds.horizon(d, eta, HORIZON)))))
    steps = np.unique(np.geomspace(1, last, RECORDS).round().astype(np.int64))
    model = {"layer": layer, "trace_ratio": data.trace_ratio}
    linear = linear_kernel(act, data.X, **model), linear_kernel(act, data.X_test, data.X, **model)
    fitted = predict_gd(linear[0], data.y, eta=eta, steps=[*steps, FOREVER], kernel_test=linear[1])
    if layer == "second":
        kernels = ntk(net, data.X, layer=layer), ntk(net, data.X_test, data.X, layer=layer)
        network = predict_gd(kernels[0], data.y, eta=eta, steps=steps, kernel_test=kernels[1])
    else:
        network = train_gd(net, data.X, data.y, eta1=weight1 * eta, eta2=weight2 * eta, steps=steps, X_test=data.X_test)
    tests = np.square(np.asarray(network.test) - np.asarray(fitted.test)[:-1])
    clipped = np.minimum(tests, 1.0).mean(axis=1, dtype=np.float64)
    worst = int(clipped.argmax())
    at_end = np.square(np.asarray(network.test)[-1] - np.asarray(fitted.test)[-1])
    return {
        "train": float(mean_squared_difference(network.train, fitted.train[:-1]).max()),
        "test": float(clipped[worst]),
        "test error": 2 * float(np.minimum(tests[worst], 1.0).std() / math.sqrt(tests.shape[1])),
        "optimum train": float(mean_squared_difference(network.train[-1:], fitted.train[-1:])[0]),
        "optimum test": float(np.minimum(at_end, 1.0).mean(dtype=np.float64)),
        "steps": float(last),
        "c": last * eta / (d * math.log(d)),
    }
