"""The network of an experiment, as it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation, activation, plain_name
from ntkspec.experiments.own_networks import INPUTS, own_network
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks.outputs import KINDS, OutputsLike
from ntkspec.networks.protocol import is_network
from ntkspec.networks.specification import TWO_LAYER, NetworkSpec
from ntkspec.networks.two_layer import SECOND_LAYERS, even_width
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import planning


@dataclass(frozen=True)
class NetworkTask:
    """The network of an experiment, and how its kernel is multiplied.

    network : "two-layer" for equation (3), or the name of a deep one, all of whose weights are trained
    (:class:`ntkspec.networks.specification.NetworkSpec`); or a network of the user's own, with the protocol of
    :class:`ntkspec.networks.protocol.Network` (:func:`ntkspec.from_torch`, :func:`ntkspec.from_jax`). width, layer,
    second : of two layers; None is 256 neurons and "rademacher". method : "dense", "factored", "streamed" or None, how
    kernels are multiplied (:func:`ntkspec.plan`).

    Of a network of the user's own alone: layer : "all", or a glob on its parameters. outputs : which of its outputs
    (:func:`ntkspec.ntk`); None is what the experiment takes by itself. inputs : "flat" points (n, d), or images as
    "nchw" or "nhwc". own : whether it is one; set by :func:`completed_task`.
    """

    activation: str | Activation = "erf"
    negative_slope: float | None = None
    network: Any = TWO_LAYER
    width: int | None = None
    layer: str = "both"
    second: str | None = None
    seed: int = 0
    method: str | None = None
    # Without them, tasks of built-in networks read as they did before there were others.
    outputs: OutputsLike | None = field(default=None, repr=False)
    inputs: str = field(default="flat", repr=False)
    own: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.activation, str):
            object.__setattr__(self, "activation", plain_name(self.activation))

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
        return self.own or self.spec.deep

    @property
    def layer_weights(self) -> Sequence[float]:
        """The part of each layer in the kernel, of two layers."""
        return LAYER_WEIGHTS[self.layer]

    @property
    def trained(self) -> str:
        """The layers that are trained, as words."""
        if self.own:
            return "all parameters" if self.layer == "all" else f"parameters: {self.layer}"
        return "all layers" if self.deep else f"layer: {self.layer}"

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.network if isinstance(self.network, str) else own_network(self.network).name

    @property
    def label(self) -> str:
        """The network, for the title of a figure."""
        if self.own:
            return self.name
        return f"{self.network}, paired, {self.activation}" if self.deep else f"{self.activation}, width {self.width}"

    def __str__(self) -> str:
        of_two = f"two layers, {self.label}, equation (3), v {self.second}"
        return f"{self.label if self.deep else of_two}, seed {self.seed}"


Task = TypeVar("Task", bound=NetworkTask)


def completed_task(task: Task) -> Task:
    """The task with what it leaves open; refuses a network that cannot be, before anything is computed."""
    checks.whole_number(task.seed, "seed", 0)
    if task.method is not None:
        checks.one_of(task.method, "method", planning.METHODS)
    if task.own or not isinstance(task.network, str):
        return _completed_own(task)
    for name, value, default in (("outputs", task.outputs, None), ("inputs", task.inputs, "flat")):
        if value != default:
            raise ValueError(
                f"{name}={value!r} is for a network of your own, but network={task.network!r} came; leave it out, or "
                f"pass a network (--network FILE.py:FUNCTION)"
            )
    task.act.constants  # noqa: B018
    if task.deep:
        return _completed_deep(task)
    checks.one_of(task.layer, "layer", checks.LAYERS)
    second = "rademacher" if task.second is None else checks.one_of(task.second, "second", SECOND_LAYERS)
    return replace(task, width=even_width(256 if task.width is None else task.width), second=second)


def _completed_own(task: Task) -> Task:
    if not isinstance(task.network, str) and not is_network(own_network(task.network).net):
        raise TypeError(
            f"network is a {type(task.network).__name__}, but a name, such as fc:4x512, or a network is needed; a "
            f"PyTorch module becomes one by ntkspec.from_torch(module), a JAX function by "
            f"ntkspec.from_jax(function, params)"
        )
    checks.one_of(task.inputs, "inputs", INPUTS)
    if isinstance(task.outputs, str):
        checks.one_of(task.outputs, "outputs", KINDS)
    defaults = {"activation": "erf", "negative_slope": None, "width": None, "second": None}
    for name, value in defaults.items():
        if getattr(task, name) != value:
            raise ValueError(
                f"{name}={getattr(task, name)!r} is for built-in networks, but {task.name} came; leave it out"
            )
    return replace(task, own=True, layer="all" if task.layer == "both" else task.layer)


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
    """The task as files keep it: an activation and a network of one's own by their names, outputs as plain numbers."""
    act = task.activation if isinstance(task.activation, str) else task.activation.name
    return replace(task, activation=act, network=task.name, outputs=_plain(task.outputs))


def _plain(outputs: Any) -> Any:
    """Words and numbers as they are, weights as a list."""
    if outputs is None or isinstance(outputs, str):
        return outputs
    return int(outputs) if np.ndim(outputs) == 0 else [float(weight) for weight in outputs]
