"""The networks that experiments take, each with its kernel, its linear model and the rates of its training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ntkspec import checks
from ntkspec.activations import Activation, activation
from ntkspec.datasets import Dataset
from ntkspec.engines import engine_of
from ntkspec.kernels import linear_expansion, linear_kernel, ntk, weighted_linear_kernel
from ntkspec.kernels.expansion import expand
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks import Convolutional, DeepNetwork, TwoLayer
from ntkspec.networks.specification import TWO_LAYER, named_network, refuse_swapped
from ntkspec.networks.two_layer import SECOND_LAYERS, even_width
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import KernelOperator, planning


@dataclass(frozen=True)
class NetworkTask:
    """The network of an experiment, and how its kernel is multiplied.

    network : "two-layer" for equation (3), or the name of a deep one (:func:`named_network`), whose weights are all
    trained. width, layer, second : of two layers; None is 256 neurons and "rademacher". method : "dense", "factored",
    "streamed" or None, how the kernels are multiplied (:func:`ntkspec.plan`).
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

    @property
    def deep(self) -> bool:
        """Whether the network is another than that of equation (3)."""
        return self.network != TWO_LAYER

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


def settled(task: Task) -> Task:
    """The task with what it leaves open; refuses a network that cannot be, before anything is computed."""
    task.act.constants  # noqa: B018
    checks.whole_number(task.seed, "seed", 0)
    if task.method is not None:
        checks.one_of(task.method, "method", planning.METHODS)
    if task.deep:
        return _settled_deep(task)
    checks.one_of(task.layer, "layer", checks.LAYERS)
    second = "rademacher" if task.second is None else checks.one_of(task.second, "second", SECOND_LAYERS)
    return replace(task, width=even_width(256 if task.width is None else task.width), second=second)


def _settled_deep(task: Task) -> Task:
    refuse_swapped(task.network)
    given = {"width": task.width, "layer": None if task.layer == "both" else task.layer, "second": task.second}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}={value!r} does not go with network={task.network!r}, whose name says its widths and which "
                f"trains all layers; leave it out, or take network={TWO_LAYER!r}"
            )
    return task


def named(task: Task) -> Task:
    """The task as files keep it: an activation of one's own by its name."""
    return task if isinstance(task.activation, str) else replace(task, activation=task.activation.name)


class TwoLayerModel:
    """The network of equation (3), its layers weighted as the task says."""

    def __init__(self, task: NetworkTask, dataset: Dataset):
        self.task, self.dataset = task, dataset
        self.weights, self.width = task.layer_weights, even_width(task.width)

    @cached_property
    def net(self) -> TwoLayer:
        """The network at the start, drawn when it is first asked for."""
        task, X = self.task, self.dataset.X
        return TwoLayer.symmetric(
            X.shape[1], self.width, task.act, seed=task.seed, second=task.second or "rademacher", dtype=X.dtype.type
        ).to(engine_of(X).name)

    def ntk(self, X, X2=None) -> KernelOperator:
        """The sum of weight times Theta over the layers, without those of weight 0."""
        layers = [(weight, layer) for weight, layer in zip(self.weights, ("first", "second"), strict=True) if weight]
        first, *rest = (weight * ntk(self.net, X, X2, layer=layer) for weight, layer in layers)
        return first + rest[0] if rest else first

    def linear_kernel(self, X, X2=None) -> KernelOperator:
        """That of the linear model of these weights."""
        ratio = self.dataset.trace_ratio
        return weighted_linear_kernel(self.task.act, X, X2, weights=self.weights, trace_ratio=ratio)

    @property
    def data_coefficient(self) -> float:
        """That of X Xᵀ/d in the linear kernel."""
        return expand(self.task.act, self.weights).data

    def rates(self, eta: float) -> dict[str, Any]:
        """The arguments of :func:`ntkspec.train_gd` for a rate ``eta`` of the kernel."""
        return {"eta1": eta * self.weights[0], "eta2": eta * self.weights[1]}

    @property
    def step_flops(self) -> float:
        """Of a step of training, for each point."""
        return 4.0 * self.dataset.X.shape[1] * self.width

    @property
    def entries(self) -> float:
        """Numbers that its kernels hold: phi and phi' on half the neurons, once more for the kernel of test points."""
        return sum(LAYER_WEIGHTS[self.task.layer]) * self.width / 2 * _points(self.dataset)

    def stored(self, trained: TwoLayer) -> dict:
        """The weights at the start and after training, as files keep them."""
        return {"W_initial": self.net.W, "v_initial": self.net.v, "W": trained.W, "v": trained.v}


class DeepModel:
    """A paired network of more layers; the members are those of :class:`TwoLayerModel`."""

    def __init__(self, task: NetworkTask, dataset: Dataset):
        self.task, self.dataset = task, dataset

    @cached_property
    def net(self) -> DeepNetwork:
        task, X = self.task, self.dataset.X
        shape = self.dataset.meta.get("shape", X.shape[1:])
        net = named_network(task.network, shape, task.act, seed=task.seed, dtype=X.dtype.type)
        return net.to(engine_of(X).name)

    def ntk(self, X, X2=None) -> KernelOperator:
        return ntk(self.net, X, X2)

    def linear_kernel(self, X, X2=None) -> KernelOperator:
        return linear_kernel(self.net, X, X2, trace_ratio=self.dataset.trace_ratio)

    @property
    def data_coefficient(self) -> float:
        return linear_expansion(self.task.act, hidden_layers=self.net.n_weights - 1).data

    def rates(self, eta: float) -> dict[str, Any]:
        return {"eta": eta}

    @property
    def step_flops(self) -> float:
        return 3.0 * self.net.flops

    @property
    def entries(self) -> float:
        """Of the activations of all points, or where none are kept, of three times the points of each worker's tile."""
        points = _points(self.dataset)
        if isinstance(self.net, Convolutional):
            engine = engine_of(self.dataset.X)
            points = min(points, 3 * engine.TILE * len(engine.shares(len(self.dataset.X))))
        return float(self.net.activations_per_point * points) + 6 * sum(math.prod(W.shape) for W in self.net.parameters)

    def stored(self, trained: DeepNetwork) -> dict:
        return {"initial": self.net.parameters, "trained": trained.parameters}


Model = TwoLayerModel | DeepModel


def model_of(task: NetworkTask, dataset: Dataset) -> Model:
    """What a settled task names, for the inputs and in the dtype of a data set."""
    return DeepModel(task, dataset) if task.deep else TwoLayerModel(task, dataset)


def _points(dataset: Dataset) -> int:
    """The training points, and where there are test points, both once more."""
    n, tests = len(dataset.X), len(dataset.X_test)
    return n + (n + tests if tests else 0)
