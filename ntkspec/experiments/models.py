"""The networks that experiments take, each with its kernel, its linear model and the rates of its training."""

import math
from typing import Any, Protocol

from ntkspec.datasets import Dataset
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.experiments.linear_models import LinearModel
from ntkspec.experiments.network_tasks import NetworkTask
from ntkspec.experiments.own_networks import NetworkRecord, OwnModel, with_labels
from ntkspec.experiments.side_by_side import Start, TrainedInputs
from ntkspec.kernels import linear_expansion, linear_kernel, ntk, weighted_linear_kernel
from ntkspec.kernels.expansion import expand
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.networks.protocol import Network
from ntkspec.networks.two_layer import even_width
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import KernelOperator


class KernelModel(Protocol):
    """A network on a data set, with its kernel and its linear model."""

    def ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """Its NTK at the start, with a row for each point."""

    @property
    def predicts_all(self) -> bool:
        """Whether :meth:`full_ntk` predicts the training, and not :meth:`ntk`."""

    def full_ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of all outputs, a row for each point and output."""

    @property
    def theory(self) -> LinearModel | None:
        """Its linear model, where theory says it."""

    def nearest(self, theta: KernelOperator) -> LinearModel:
        """The linear model whose kernel is nearest to its NTK."""

    @property
    def record(self) -> NetworkRecord | None:
        """What a record keeps of a network of the user's own; None of built-in ones, which the task says."""


class Model(KernelModel, Protocol):
    """The same with what training takes and costs.

    dataset : with labels of the shape of what is trained.
    """

    task: NetworkTask
    dataset: Dataset

    @property
    def net(self) -> Network:
        """The network at the start, drawn when it is first asked for."""

    @property
    def inputs(self) -> TrainedInputs:
        """The points of the data set, as the network takes them."""

    @property
    def start(self) -> Start | None:
        """Its outputs at the start; None where they are zero."""

    def rates(self, eta: float) -> dict[str, float]:
        """The learning rates for a rate ``eta`` of the kernel, by the names of :func:`ntkspec.train_gd`."""

    def training(self, eta: float) -> dict[str, Any]:
        """The same, with the other arguments that the training needs."""

    @property
    def step_flops(self) -> float:
        """Of a step of training, for each point."""

    @property
    def entries(self) -> float:
        """Numbers that its kernels hold, once more for the kernel of test points."""

    def stored(self, trained: Any) -> dict[str, Any]:
        """The weights at the start and after training, as files keep them."""


class BuiltInModel:
    """What built-in networks have in common: one output, zero at the start, and a linear model of theory."""

    start: Start | None = None
    predicts_all = False
    record: NetworkRecord | None = None

    def __init__(self, task: NetworkTask, dataset: Dataset):
        self.task, self.dataset = task, dataset

    @property
    def inputs(self) -> TrainedInputs:
        """The points of the data set."""
        return TrainedInputs(self.dataset.X, self.dataset.X_test if len(self.dataset.X_test) else None)

    def full_ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of the one output; columns of labels are trained each on its own."""
        return self.ntk(X, X2)

    def ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """Its NTK at the start."""
        raise NotImplementedError

    def nearest(self, theta: KernelOperator) -> LinearModel:
        """That of theory."""
        return self.theory

    @cached_property
    def theory(self) -> LinearModel:
        """By :func:`ntkspec.linear_kernel`."""
        X, X_test = self.dataset.X, self.dataset.X_test
        kernel = self.linear_kernel(X)
        test = self.linear_kernel(X_test, X) if len(X_test) else None
        return LinearModel(kernel, test, kernel, self.data_coefficient)

    def linear_kernel(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of its linear model."""
        raise NotImplementedError

    @property
    def data_coefficient(self) -> float:
        """That of X Xᵀ/d in the linear kernel."""
        raise NotImplementedError

    def rates(self, eta: float) -> dict[str, float]:
        """One for all layers."""
        return {"eta": eta}

    def training(self, eta: float) -> dict[str, Any]:
        """The rates alone."""
        return self.rates(eta)

    def copies(self, trained: Any) -> list[Any]:
        """The trained network, or that of each column of labels."""
        return [trained] if self.dataset.y.ndim == 1 else trained.networks


class TwoLayerModel(BuiltInModel):
    """The network of equation (3), its layers weighted as the task says (:class:`Model`)."""

    def __init__(self, task: NetworkTask, dataset: Dataset):
        super().__init__(task, dataset)
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

    def rates(self, eta: float) -> dict[str, float]:
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

    def stored(self, trained: Any) -> dict[str, Any]:
        """W and v; after training on several columns of labels a list of each."""
        W, v = ([getattr(own, name) for own in self.copies(trained)] for name in ("W", "v"))
        several = len(W) > 1
        return {"W_initial": self.net.W, "v_initial": self.net.v} | (
            {"W": W, "v": v} if several else {"W": W[0], "v": v[0]}
        )


class DeepModel(BuiltInModel):
    """An antisymmetric network of more layers (:class:`Model`)."""

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

    @property
    def step_flops(self) -> float:
        """Three passes forward."""
        return 3.0 * self.net.flops

    @property
    def entries(self) -> float:
        """Of the activations of all points, or where none are kept, of three times the points of each worker's tile."""
        points = _points(self.dataset)
        if self.net.architecture.convolutional:
            engine = engine_of(self.dataset.X)
            points = min(points, 3 * engine.TILE * len(engine.shares(len(self.dataset.X))))
        return float(self.net.activations_per_point * points) + 6 * sum(math.prod(W.shape) for W in self.net.parameters)

    def stored(self, trained: Any) -> dict[str, list[Array]]:
        """All weight matrices; after training on several columns of labels those of each network in turn."""
        return {"initial": self.net.parameters, "trained": [W for own in self.copies(trained) for W in own.parameters]}


def model_of(task: NetworkTask, dataset: Dataset) -> Model:
    """What a completed task names, for the inputs and in the dtype of a data set."""
    if task.own:
        return OwnModel(task, dataset)
    return DeepModel(task, dataset) if task.deep else TwoLayerModel(task, dataset)


def labelled(task: NetworkTask, dataset: Dataset) -> Dataset:
    """The data set with labels of the shape of what is trained; ValueError where they do not fit."""
    return with_labels(dataset, task) if task.own else dataset


def _points(dataset: Dataset) -> int:
    """The training points, and where there are test points, both once more."""
    n, tests = len(dataset.X), len(dataset.X_test)
    return n + (n + tests if tests else 0)
