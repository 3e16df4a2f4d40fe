"""One cell of a sweep: a frozen setting, and the numbers that are measured there."""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields

import numpy as np

from ntkspec import checks, datasets
from ntkspec.activations import Activation
from ntkspec.datasets import Dataset
from ntkspec.dynamics import Trajectory, predict_gd
from ntkspec.engines import named
from ntkspec.engines.arrays import ArrayLike
from ntkspec.experiments.agreement import mean_squared_difference
from ntkspec.experiments.devices import on_host, placed
from ntkspec.experiments.kernel_drift import NTK, Start, drift_of
from ntkspec.kernels import cnn_linear_kernel, expected_cnn_ntk, expected_ntk, linear_expansion, linear_kernel, ntk
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.networks.size_laws import INFINITE, INFINITE_LAW
from ntkspec.networks.specification import TWO_LAYER, NetworkSpec
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import Diagonal, KernelOperator, planning
from ntkspec.spectra.norms import frobenius_norm, spectral_norm
from ntkspec.theory import bounds
from ntkspec.theory.assumptions import summarize
from ntkspec.theory.budget import PARTS, gap_budget
from ntkspec.training import train_gd

DISTRIBUTIONS = {"gaussian": "gaussian", "cube": "rademacher", "sphere": "sphere", "uniform": "subgaussian"}
# Variances of the d directions: all 1, or evenly spaced from 0.2 to 1.8.
COVARIANCES = {"identity": lambda d: None, "graded": lambda d: np.linspace(0.2, 1.8, d) if d > 1 else None}
# The relative width of the spectral norms' intervals.
RTOL = 1e-3
# Products with Theta - Theta^lin that its norms take, with and without the diagonal.
GAP_PRODUCTS = 150
# Training: test points, the part of the theorems' largest rate, c in T = c d log d / eta, records, and most steps.
TEST_POINTS, PART_OF_RATE, HORIZON, RECORDS, MOST_STEPS = 2000, 0.05, 2.0, 40, 2000
# A number of steps after which a linear model has converged.
FOREVER = 10**9


@dataclass(frozen=True, order=True)
class Cell:
    """Everything that the numbers of a cell depend on.

    quantity : "data" (Claim 3.1), "gap-LAYER" (norms of Theta - Theta^lin, with and without the diagonal), "gap-cnn"
    (those of Proposition 4.1: the convolutional kernel of infinitely many channels, filters of ``width`` positions,
    less its linear kernel), "budget-LAYER" (those of F, D and R), "training-LAYER" (network against linear model up
    to the horizon, with the labels of an erf teacher), "drift" or "drift-first" (how far the kernel moves up to there,
    where all layers train, or the first one). network : "two-layer", that of equation (3), or an antisymmetric
    deep one with ``width`` neurons or channels m in each hidden layer, "fc:3xm" or "cnn:3xm:k5", the latter for a
    sequence of d positions and one channel. width : 0 is the limit of infinite width, Theta being the expected kernel.
    Data and network have the seed. engine : "cpu" or "gpu"; both draw the same numbers, and round differently.
    parameterization : "ntk", or "mup" of a drift: the maximal update parameterization of two layers.
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
    network: str = TWO_LAYER
    engine: str = "cpu"
    parameterization: str = NTK

    @cached_property
    def spec(self) -> NetworkSpec:
        """The network with its width."""
        return NetworkSpec.parse(self.network).with_width(INFINITE_LAW if self.width == INFINITE else self.width)

    @property
    def key(self) -> str:
        """A name that no other cell has."""
        return " ".join(f"{field.name}={value}" for field, value in zip(fields(self), astuple(self), strict=True))


def centred(act: str | Activation, layer: str, spec: NetworkSpec) -> bool:
    """Whether the kernel of infinite width vanishes at orthogonal inputs, as E[phi(g)] = 0 says of two layers."""
    layer = "all" if layer == "both" else layer
    return not linear_expansion(act, layer=layer, hidden_layers=spec.hidden_layers).norms[:, 0].any()


def network_of(cell: Cell) -> TwoLayer | DeepNetwork:
    """The network of a cell at initialization, on its engine; for infinite width the narrowest one of its kind."""
    spec = cell.spec.with_width(2) if cell.width == INFINITE else cell.spec
    dtype = np.dtype(cell.dtype).type
    return spec.build((cell.d,), cell.activation, second=cell.second, seed=cell.seed, dtype=dtype).to(cell.engine)


def measure_cell(cell: Cell) -> dict[str, float]:
    """The numbers of a cell, by name, from data that are drawn here and moved to its engine once.

    The same cell gives the same numbers.
    """
    return QUANTITIES[cell.quantity](cell, data_of(cell))


def data_of(cell: Cell) -> Dataset:
    """The data of a cell, on its engine."""
    draw, dtype = getattr(datasets, DISTRIBUTIONS[cell.distribution]), np.dtype(cell.dtype).type
    how = {"covariance": COVARIANCES[cell.covariance](cell.d), "seed": cell.seed, "dtype": dtype}
    tests = TEST_POINTS if cell.quantity.startswith("training") else 0
    return placed(draw(cell.n, cell.d, n_test=tests, **how), named(cell.engine))


def _data(cell: Cell, data: Dataset) -> dict[str, float]:
    """The ratios that Claim 3.1 says are bounded."""
    found = summarize(data.X)
    return {
        "norms": max(abs(found.norm_max - 1), abs(found.norm_min - 1)) / found.concentration,
        "overlaps": found.largest_overlap / found.concentration,
        "gram": found.gram_norm,
    }


def _gap(cell: Cell, data: Dataset) -> dict[str, float]:
    theta, linear = gap_kernels(cell, data)
    return _norms(theta, linear)


def gap_kernels(cell: Cell, data: Dataset) -> tuple[KernelOperator, KernelOperator]:
    """Theta and Theta^lin of a cell of gap-LAYER or gap-cnn."""
    if cell.quantity == "gap-cnn":
        theta = expected_cnn_ntk(cell.activation, data.X, filter_size=cell.width)
        return theta, cnn_linear_kernel(cell.activation, data.X, filter_size=cell.width)
    net, layer = network_of(cell), layer_of(cell)
    theta = _expected(net, data.X, layer) if cell.width == INFINITE else ntk(net, data.X, layer=layer)
    return theta, linear_model(net, data, layer)[0]


def is_drift(quantity: str) -> bool:
    """Whether it is how far the kernel moves."""
    return quantity.startswith("drift")


def layer_of(cell: Cell) -> str:
    """The layers that the quantity names, as kernels know them; a drift that names none is that of all."""
    layer = cell.quantity.partition("-")[2]
    return "all" if layer in ("", "both") else layer


def _expected(net, X, layer: str):
    """The kernel of infinite width of networks of that kind."""
    form = net.architecture
    if form.convolutional:
        how = {"filter_size": form.filter_size, "shape": form.shape, "hidden_layers": form.hidden_layers}
        return expected_cnn_ntk(form.activation, X, **how)
    return expected_ntk(form.activation, X, layer=layer, hidden_layers=form.hidden_layers)


def linear_model(net: TwoLayer | DeepNetwork, data: Dataset, layer: str) -> list[KernelOperator]:
    """The kernels of the linear model: of training points, and of test against training points if there are any."""
    sides = [(data.X, None), (data.X_test, data.X)] if len(data.X_test) else [(data.X, None)]
    return [linear_kernel(net, *points, layer=layer, trace_ratio=data.trace_ratio) for points in sides]


def _norms(theta, linear) -> dict[str, float]:
    """Of Theta^lin, and of Theta - Theta^lin with and without its diagonal."""
    gap, _ = planning.prepare(theta - linear, GAP_PRODUCTS)
    hollow = gap - Diagonal(gap.diagonal())
    size = spectral_norm(linear, rtol=RTOL)
    found = {"linear": size.value}
    for name, operator in (("gap", gap), ("hollow", hollow)):
        norm = spectral_norm(operator, rtol=RTOL)
        found |= {name: norm.value, f"{name} lower": norm.lower, f"{name} upper": norm.upper}
    squares = float((gap.diagonal(np.float64) ** 2).sum())
    whole = float(frobenius_norm(gap))
    return found | {"frobenius": whole, "hollow frobenius": math.sqrt(max(0.0, whole**2 - squares))}


def _budget(cell: Cell, data: Dataset) -> dict[str, float]:
    net = cell.spec.build_two_layer(cell.d, cell.activation, second=cell.second, seed=cell.seed, dtype=data.X.dtype)
    budget = gap_budget(net.to(cell.engine), data.X, layer=layer_of(cell), trace_ratio=data.trace_ratio, rtol=RTOL)
    found: dict[str, float] = {}
    for name in ("gap", *PARTS):
        part = getattr(budget, name)
        found |= {name: float(part.spectral), f"{name} predicted": part.predicted_spectral}
        found |= {f"{name} frobenius": float(part.frobenius), f"{name} frobenius predicted": part.predicted_frobenius}
    return found


def _training(cell: Cell, data: Dataset) -> dict[str, float]:
    """The largest discrepancies of network and linear model up to T = c d log d / eta, and the distance to its limit.

    The second layer alone is a linear model of fixed features: its network follows its kernel exactly.
    """
    net, eta, last = network_of(cell), rate_of(cell), last_step(cell)
    steps = np.unique(np.geomspace(1, last, RECORDS).round().astype(np.int64))
    linear = linear_model(net, data, layer_of(cell))
    fitted = predict_gd(linear[0], data.y, eta=eta, steps=[*steps, FOREVER], kernel_test=linear[1])
    network = followed(cell, net, data, steps)
    network, fitted = on_host([network, fitted])
    tests = np.square(network.test - fitted.test[:-1])
    clipped = np.minimum(tests, 1.0).mean(axis=1, dtype=np.float64)
    worst = int(clipped.argmax())
    at_end = np.square(network.test[-1] - fitted.test[-1])
    return {
        "train": float(mean_squared_difference(network.train, fitted.train[:-1]).max()),
        "test": float(clipped[worst]),
        "test error": 2 * float(np.minimum(tests[worst], 1.0).std() / math.sqrt(tests.shape[1])),
        "optimum train": float(mean_squared_difference(network.train[-1:], fitted.train[-1:])[0]),
        "optimum test": float(np.minimum(at_end, 1.0).mean(dtype=np.float64)),
        "steps": float(last),
        "c": constant_of(cell),
    }


def rate_of(cell: Cell) -> float:
    """The learning rate of a cell that trains."""
    layer = layer_of(cell)
    of_centred = centred(cell.activation, layer, cell.spec)
    return PART_OF_RATE * bounds.largest_rate(cell.n, cell.d, layer=layer, centred=of_centred)


def last_step(cell: Cell) -> int:
    """The step at which its training ends."""
    most = FOREVER if layer_of(cell) == "second" else MOST_STEPS
    return int(min(most, max(1, round(bounds.horizon(cell.d, rate_of(cell), HORIZON)))))


def constant_of(cell: Cell) -> float:
    """c of the horizon T = c d log d / eta at which its training ends."""
    return last_step(cell) * rate_of(cell) / (cell.d * math.log(cell.d))


def followed(cell: Cell, net: TwoLayer | DeepNetwork, data: Dataset, steps: ArrayLike) -> Trajectory:
    """Its network at these steps: trained, or the second layer alone predicted by its kernel."""
    layer, eta = cell.quantity.split("-")[1], rate_of(cell)
    if layer == "second":
        kernels = ntk(net, data.X, layer=layer), ntk(net, data.X_test, data.X, layer=layer)
        return predict_gd(kernels[0], data.y, eta=eta, steps=steps, kernel_test=kernels[1])
    eta1, eta2 = (weight * eta for weight in LAYER_WEIGHTS[layer])
    return train_gd(net, data.X, data.y, eta1=eta1, eta2=eta2, steps=steps, X_test=data.X_test)


def start_of(cell: Cell) -> Start:
    """Where the training of a cell of a drift starts."""
    layer = layer_of(cell).replace("all", "both")
    return Start.of(network_of(cell), layer=layer, parameterization=cell.parameterization)


def _drift(cell: Cell, data: Dataset) -> dict[str, float]:
    eta, last = rate_of(cell), last_step(cell)
    found = drift_of(start_of(cell), data, eta=eta, last=last)
    return found | {"steps": float(last), "c": constant_of(cell)}


# What can be measured, by name.
QUANTITIES: dict[str, Callable[[Cell, Dataset], dict[str, float]]] = {
    "data": _data,
    **{f"gap-{layer}": _gap for layer in (*checks.LAYERS, "cnn")},
    **{f"budget-{layer}": _budget for layer in checks.LAYERS},
    **{f"training-{layer}": _training for layer in checks.LAYERS},
    "drift": _drift,
    "drift-first": _drift,
}
