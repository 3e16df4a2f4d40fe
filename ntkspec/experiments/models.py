"""The networks that experiments take, each with its kernel, its linear model and the rates of its training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from ntkspec import checks
from ntkspec.activations import Activation, activation
from ntkspec.datasets import Dataset
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.kernels import linear_expansion, linear_kernel, ntk, weighted_linear_kernel
from ntkspec.kernels.expansion import expand
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks import Convolutional, DeepNetwork, TwoLayer
from ntkspec.networks.specification import TWO_LAYER, NetworkSpec
from ntkspec.networks.two_layer import SECOND_LAYERS, even_width
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import KernelOperator, planning


@dataclass(frozen=True)
class NetworkTask:
    """The network of an experiment, and how its kernel is multiplied.

    network : "two-layer" for equation (3), or the name of a deep one, all of whose weights are trained
    (:class:`ntkspec.networks.specification.NetworkSpec`). width, layer, second : of two layers; None is 256 neurons and
    "rademacher". method : "dense", "factored", "streamed" or None, how kernels are multiplied (:func:`ntkspec.plan`).
    """

    activation: str | Activation = "erf"
    negative_slope: float | None = None
    network: str = TWO_LAYER
    width: int | None = None
    layer: str = "both"
    second: str | None = None
    seed: int = 0
    method: str | None = None

    @cached_property
    def act(self) -> Activation:
        """The activation that the task names."""
        slope = {} if self.negative_slope is None else {"negative_slope": self.negative_slope}
        return activation(self.activation, **slope)

    @cached_property
    def spec(self) -> NetworkSpec:
        """The network that the task names, of two layers with their width."""
        spec = NetworkSpec.parse(self.network)
        return spec if spec.deep or self.width is None else spec.with_width(self.width)

    @property
    def deep(self) -> bool:
        """Whether the network is another than that of equation (3)."""
        return self.spec.deep

    @property
    def layer_weights(self) -> Sequence[float]:
        """The part of each layer in the kernel, of two layers."""
        return LAYER_WEIGHTS[self.layer]

    @property
    def trained(self) -> str:
        """The layers that are trained, as words."""
        return "all layers" if self.deep else f"layer: {self.layer}"

    @property
    def label(self) -> str:
        """The network, for the title of a figure."""
        return f"{self.network}, paired, {self.activation}" if self.deep else f"{self.activation}, width {self.width}"

    def __str__(self) -> str:
        of_two = f"two layers, {self.label}, equation (3), v {self.second}"
        return f"{self.label if self.deep else of_two}, seed {self.seed}"


Task = TypeVar("Task", bound=NetworkTask)


def completed_task(task: Task) -> Task:
    """The task with what it leaves open; refuses a network that cannot be, before anything is computed."""
    task.act.constants  # noqa: B018
    checks.whole_number(task.seed, "seed", 0)
    if task.method is not None:
        checks.one_of(task.method, "method", planning.METHODS)
    if task.deep:
        return _completed_deep(task)
    checks.one_of(task.layer, "layer", checks.LAYERS)
    second = "rademacher" if task.second is None else checks.one_of(task.second, "second", SECOND_LAYERS)
    return replace(task, width=even_width(256 if task.width is None else task.width), second=second)


def _completed_deep(task: Task) -> Task:
    task.spec.refuse_swapped()
    given = {"width": task.width, "layer": None if task.layer == "both" else task.layer, "second": task.second}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}={value!r} does not go with network={task.network!r}, whose name says its widths and which "
                f"trains all layers; leave it out, or take network={TWO_LAYER!r}"
            )
    return task


def storable_task(task: Task) -> Task:
    """The task as files keep it: an activation of one's own by its name."""
    return task if isinstance(task.activation, str) else replace(task, activation=task.activation.name)


class Model(Protocol):
    """A network on a data set, with its kernel, its linear model, and what training costs."""

    task: NetworkTask
    dataset: Dataset

    @property
    def net(self) -> TwoLayer | DeepNetwork:
        """The network at the start, drawn when it is first asked for."""

    def ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """Its NTK at the start."""

    def linear_kernel(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of its linear model."""

    @property
    def data_coefficient(self) -> float:
        """That of X Xᵀ/d in the linear kernel."""

    def rates(self, eta: float) -> dict[str, Any]:
        """The arguments of :func:`ntkspec.train_gd` for a rate ``eta`` of the kernel."""

    @property
    def step_flops(self) -> float:
        """Of a step of training, for each point."""

    @property
    def entries(self) -> float:
        """Numbers that its kernels hold, once more for the kernel of test points."""

    def stored(self, trained: Any) -> dict[str, Any]:
        """The weights at the start and after training, as files keep them."""


class TwoLayerModel:
    """The network of equation (3), its layers weighted as the task says (:class:`Model`)."""

    def __init__(self, task: NetworkTask, dataset: Dataset):
        self.task, self.dataset = task, dataset
        self.weights, self.width = task.layer_weights, even_width(task.width)

    @cached_property
    def net(self) -> TwoLayer:
        """The network at the start, drawn when it is first asked for."""
        task, X = self.task, self.dataset.X
        how: dict[str, Any] = {"second": task.second or "rademacher", "seed": task.seed, "dtype": X.dtype.type}
        return task.spec.build_two_layer(X.shape[1], task.act, **how).to(engine_of(X).name)

    def ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """The sum of weight times Theta over the layers, without those of weight 0."""
        layers = [(weight, layer) for weight, layer in zip(self.weights, ("first", "second"), strict=True) if weight]
        first, *rest = (weight * ntk(self.net, X, X2, layer=layer) for weight, layer in layers)
        return first + rest[0] if rest else first

    def linear_kernel(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of the linear model of these weights."""
        ratio = self.dataset.trace_ratio
        return weighted_linear_kernel(self.task.act, X, X2, weights=self.weights, trace_ratio=ratio)

    @property
    def data_coefficient(self) -> float:
        """zeta² of each layer, times its weight."""
        return expand(self.task.act, self.weights).data

    def rates(self, eta: float) -> dict[str, Any]:
        """One for each layer."""
        return {"eta1": eta * self.weights[0], "eta2": eta * self.weights[1]}

    @property
    def step_flops(self) -> float:
        """4 m d."""
        return 4.0 * self.dataset.X.shape[1] * self.width

    @property
    def entries(self) -> float:
        """phi and phi' on half the neurons."""
        return sum(LAYER_WEIGHTS[self.task.layer]) * self.width / 2 * _points(self.dataset)

    def stored(self, trained: TwoLayer) -> dict[str, Array]:
        """W and v."""
        return {"W_initial": self.net.W, "v_initial": self.net.v, "W": trained.W, "v": trained.v}


class DeepModel:
    """An antisymmetric network of more layers (:class:`Model`)."""

    def __init__(self, task: NetworkTask, dataset: Dataset):
        self.task, self.dataset = task, dataset

    @cached_property
    def net(self) -> DeepNetwork:
        """The network at the start, drawn when it is first asked for."""
        task, X = self.task, self.dataset.X
        shape = self.dataset.meta.get("shape", X.shape[1:])
        net = task.spec.build_deep(shape, task.act, seed=task.seed, dtype=X.dtype.type)
        return net.to(engine_of(X).name)

    def ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of all layers."""
        return ntk(self.net, X, X2)

    def linear_kernel(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of the linear model of all layers."""
        return linear_kernel(self.net, X, X2, trace_ratio=self.dataset.trace_ratio)

    @property
    def data_coefficient(self) -> float:
        """That of :func:`ntkspec.linear_expansion`."""
        return linear_expansion(self.task.act, hidden_layers=self.net.n_weights - 1).data

    def rates(self, eta: float) -> dict[str, Any]:
        """One for all layers."""
        return {"eta": eta}

    @property
    def step_flops(self) -> float:
        """Three passes forward."""
        return 3.0 * self.net.flops

    @property
    def entries(self) -> float:
        """Of the activations of all points, or where none are kept, of three times the points of each worker's tile."""
        points = _points(self.dataset)
        if isinstance(self.net, Convolutional):
            engine = engine_of(self.dataset.X)
            points = min(points, 3 * engine.TILE * len(engine.shares(len(self.dataset.X))))
        return float(self.net.activations_per_point * points) + 6 * sum(math.prod(W.shape) for W in self.net.parameters)

    def stored(self, trained: DeepNetwork) -> dict[str, list[Array]]:
        """All weight matrices."""
        return {"initial": self.net.parameters, "trained": trained.parameters}


def model_of(task: NetworkTask, dataset: Dataset) -> Model:
    """What a completed task names, for the inputs and in the dtype of a data set."""
    return DeepModel(task, dataset) if task.deep else TwoLayerModel(task, dataset)


def _points(dataset: Dataset) -> int:
    """The training points, and where there are test points, both once more."""
    n, tests = len(dataset.X), len(dataset.X_test)
    return n + (n + tests if tests else 0)
