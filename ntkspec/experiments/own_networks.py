"""A network of the user's own in an experiment: its points, its labels, its kernels, and the nearest linear one."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkspec.datasets import Dataset
from ntkspec.datasets.classes import class_columns
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.experiments.linear_models import LinearModel
from ntkspec.experiments.side_by_side import Start, TrainedInputs
from ntkspec.kernels import nearest_linear_kernel
from ntkspec.networks.outputs import OutputChoice, choice_of
from ntkspec.networks.protocol import Network, Points, names_of
from ntkspec.objects.lazy import cached_property
from ntkspec.objects.words import counted
from ntkspec.operators import KernelOperator

if TYPE_CHECKING:
    from ntkspec.experiments.network_tasks import NetworkTask

# How a network takes the points of a data set: rows of d numbers, or images with their channels first or last.
INPUTS = ("flat", "nchw", "nhwc")
# How PyTorch, JAX and Flax say that an embedding was given numbers that are not whole.
WHOLE_NUMBERS = ("Long, Int", "integer")


@dataclass(frozen=True)
class OwnNetwork:
    """A network with the protocol of :class:`ntkspec.networks.protocol.Network`, and where it comes from.

    name : for reports. path, digest : of the file that made it, and of what that file says; empty where there is none.
    """

    net: Network
    name: str
    path: str = ""
    digest: str = ""


@dataclass(frozen=True)
class NetworkRecord:
    """What a record keeps of a network of the user's own; the network itself is not needed to read it.

    parameters : shapes of the trained ones, by name. size : how many numbers they hold. asked, compared : definitions
    of the kernel that was asked for with ``outputs``, and of the one with a row for each point that is compared with
    the linear one.
    """

    name: str
    path: str
    digest: str
    parameters: dict[str, list[int]]
    size: int
    inputs: str
    asked: str
    compared: str


def own_network(given: "OwnNetwork | Network") -> OwnNetwork:
    """A network with its name: that of the class of its module or function, where it comes without one."""
    return given if isinstance(given, OwnNetwork) else OwnNetwork(given, type(getattr(given, "module", given)).__name__)


def in_form(X: Array, inputs: str, shape: tuple[int, ...] | None) -> Array:
    """Points (n, d) as a network takes them; shape : (height, width, channels) of images."""
    if inputs == "flat":
        return X
    if shape is None or len(shape) != 3:
        raise ValueError(f"inputs={inputs!r}, but the data are no images; take inputs='flat' (--inputs flat)")
    images = X.reshape(len(X), *(int(size) for size in shape))
    if inputs == "nhwc":
        return images
    return engine_of(X).xp.ascontiguousarray(images.transpose(0, 3, 1, 2))


def points_of(net: Network, X: Array, inputs: str, meta: dict[str, Any], name: str = "X") -> Points:
    """Points (n, d) in the form of ``inputs``, checked by the network; meta : that of their data set."""
    shape = meta.get("shape")
    points = in_form(X, inputs, shape)
    try:
        return net.as_points(points, name)
    except (TypeError, ValueError, RuntimeError) as error:
        advice = _advice(str(error), X.shape[1], inputs, shape)
        if not advice:
            raise
        raise type(error)(f"{error}; {advice}") from None


def _advice(error: str, d: int, inputs: str, shape: tuple[int, ...] | None) -> str:
    """What to do where a network does not take points of a data set; empty where nothing is known."""
    if any(word in error for word in WHOLE_NUMBERS):
        return (
            "the points of a data set are vectors: save tokens as one-hot rows, and give from_torch or from_jax a "
            "function that takes argmax(-1) of them (docs/any_network.md, Tokens)"
        )
    if inputs != "flat" or shape is None:
        return ""
    last = ", ".join(map(str, shape))
    first = ", ".join(map(str, (shape[-1], *shape[:-1])))
    return (
        f"the data are images, which inputs='nchw' (--inputs nchw) gives as (n, {first}) "
        f"and 'nhwc' as (n, {last}) instead of (n, {d})"
    )


def compared_with(own: NetworkRecord | None) -> str:
    """What the NTK is compared with, in words: of built-in networks theory says it."""
    return "the linear kernel" if own is None else "the nearest linear kernel"


class OwnModel:
    """A network of the user's own on a data set, with the linear kernel that is nearest to its own.

    It is a :class:`ntkspec.experiments.models.Model`.
    """

    theory: LinearModel | None = None

    def __init__(self, task: "NetworkTask", dataset: Dataset):
        self.task, self.own = task, own_network(task.network)
        self.net: Network = self.own.net
        self.dataset = dataset
        self.inputs = TrainedInputs(
            self.points(dataset.X), self.points(dataset.X_test, "X_test") if len(dataset.X_test) else None
        )
        self.choice = _choice(task, self.net)  # some networks know how many they have after their first points

    # ---------------------------------------------------------------------------------------------------------- points
    def points(self, X: Array, name: str = "X") -> Points:
        """Points of the data set as the network takes them."""
        return points_of(self.net, X, self.task.inputs, self.dataset.meta, name)

    # --------------------------------------------------------------------------------------------------------- kernels
    @property
    def several(self) -> bool:
        """Whether all outputs of several are trained, and not one function of them."""
        return self.choice.weights is None and (self.net.n_outputs or 1) > 1

    @property
    def predicts_all(self) -> bool:
        """Whether the kernel of all outputs is asked for, a row for each point and output."""
        return self.choice.stacked and self.several

    @cached_property
    def compared(self) -> OutputChoice:
        """Which kernel has a row for each point: of all outputs their mean."""
        return choice_of("mean", self.net.n_outputs) if self.choice.stacked else self.choice

    def _kernel(self, outputs: OutputChoice, points: Points, points2: Points | None = None) -> KernelOperator:
        return self.net.kernel(points, points2, layer=self.task.layer, outputs=outputs)

    def ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """Its NTK at the start, with a row for each point."""
        return self._kernel(self.compared, self.points(X), None if X2 is None else self.points(X2, "X2"))

    def full_ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """That of all outputs, a row for each point and output."""
        return self._kernel(self.choice, self.points(X), None if X2 is None else self.points(X2, "X2"))

    def nearest(self, theta: KernelOperator) -> LinearModel:
        """The linear model whose kernel, with a multiple of the identity, is nearest to Theta."""
        fit = nearest_linear_kernel(theta, self.dataset.X)
        tests = self.dataset.X_test
        return LinearModel(
            kernel=fit.linear,
            kernel_test=fit.between(tests, self.dataset.X) if len(tests) else None,
            compared=fit.operator,
            data_coefficient=fit.coefficients.data,
            identity=fit.coefficients.identity,
            fit=fit,
        )

    # -------------------------------------------------------------------------------------------------------- training
    @cached_property
    def start(self) -> Start:
        """The trained outputs at step 0, in the shape of the labels."""
        inputs = self.inputs
        test = None if inputs.test is None else self._trained_outputs(inputs.test, self.dataset.y_test)
        return Start(self._trained_outputs(inputs.train, self.dataset.y), test)

    def _trained_outputs(self, points: Points, y: Array) -> Array:
        outputs = self.net(points)
        xp = engine_of(outputs).xp
        flat = outputs.reshape(len(outputs), -1)
        if self.several:
            return flat
        if self.choice.weights is not None:
            flat = flat @ xp.asarray(self._trained_weights, flat.dtype)[:, None]
        return flat[:, 0] if y.ndim == 1 else xp.repeat(flat, y.shape[1], axis=1)

    @property
    def _trained_weights(self) -> np.ndarray:
        """(K,), of the function whose kernel was asked for: "sum" is that of the sum of outputs over sqrt K."""
        assert self.choice.weights is not None
        return self.choice.weights[0] * math.sqrt(self.choice.scale)

    def rates(self, eta: float) -> dict[str, Any]:
        """One for all parameters."""
        return {"eta": eta}

    def training(self, eta: float) -> dict[str, Any]:
        """With the trained function, where it is not all outputs."""
        return {"eta": eta} | ({} if self.choice.weights is None else {"outputs": self._trained_weights})

    @property
    def step_flops(self) -> float:
        """Three passes forward."""
        return 3.0 * self.net.flops

    @property
    def entries(self) -> float:
        """Six copies of the parameters; what kernels keep, their plan knows."""
        return 6.0 * sum(math.prod(W.shape) for W in self.net.weights)

    def stored(self, trained: Any) -> dict[str, Any]:
        """All trained parameters, in the order of their names."""
        return {"initial": list(self.net.weights), "trained": list(trained.weights)}

    # ---------------------------------------------------------------------------------------------------------- record
    @property
    def record(self) -> NetworkRecord:
        """What is kept of the network."""
        pairs = zip(names_of(self.net), self.net.weights, strict=True)
        shapes = {name: [int(size) for size in W.shape] for name, W in pairs}
        return NetworkRecord(
            name=self.own.name,
            path=self.own.path,
            digest=self.own.digest,
            parameters=shapes,
            size=sum(math.prod(shape) for shape in shapes.values()),
            inputs=self.task.inputs,
            compared=self.compared.definition,
            asked=self.choice.definition,
        )


def _choice(task: "NetworkTask", net: Network) -> OutputChoice:
    """The outputs that a task names, the mean where it leaves them open."""
    return choice_of("mean" if task.outputs is None else task.outputs, net.n_outputs)


# --------------------------------------------------------------------------------------------------------------- labels
def with_labels(dataset: Dataset, task: "NetworkTask") -> Dataset:
    """The data set with labels of the shape of what is trained: (n,) for one function, (n, K) for K outputs.

    Two outputs take the labels +1 and -1 as one column for each class, +1 first. Raises ValueError where they do not
    fit.
    """
    net, outputs, y = own_network(task.network).net, task.outputs, dataset.y
    points_of(net, dataset.X, task.inputs, dataset.meta)  # some networks know their outputs after the first points
    K = net.n_outputs or 1
    one = _choice(task, net).weights is not None
    columns = 1 if y.ndim == 1 else y.shape[1]
    if K == 1 and not one:  # one output, or for each column of labels a copy of the network
        return dataset
    if one and columns == 1:
        return dataset
    if one:
        raise ValueError(
            f"the labels have {counted(columns, 'column')}, but outputs={outputs!r} trains one function of them; "
            f"take outputs='full' (--outputs full), or two classes"
        )
    if columns == K:
        return dataset
    if K == 2 and columns == 1 and set(np.unique(engine_of(y).to_host(y)).tolist()) <= {-1.0, 1.0}:
        return replace(
            dataset,
            y=_two_columns(dataset.y),
            y_test=_two_columns(dataset.y_test),
            meta=dataset.meta | {"reading": [*dataset.meta.get("reading", ()), "labels: two columns, +1 first"]},
        )
    labels = "one number a point" if columns == 1 else f"{columns} columns"
    raise ValueError(
        f"the network has {counted(K, 'output')}, but the labels are {labels}; take {K} classes (--classes with {K} "
        f"names), a network of {counted(columns, 'output')}, or one function of the outputs (--outputs 0)"
    )


def _two_columns(y: Array) -> Array:
    engine = engine_of(y)
    numbers = (engine.to_host(y) < 0).astype(int)
    return engine.xp.asarray(class_columns(numbers, 2).astype(y.dtype))
