"""What kernels, training and experiments ask of a network: built-in ones and users' own answer the same."""

from collections.abc import Callable
from typing import Any, Protocol, Self, TypeAlias

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.networks.outputs import OutputChoice
from ntkspec.operators import KernelOperator

# n points: an array whose first axis counts them, or a tuple, list or dict of arrays with one first axis.
Points: TypeAlias = Any
# Which parameters are trained: "all", a number or word of a built-in network, a glob on names, or a list of globs.
Layer: TypeAlias = str | int | list[str]
# Weights in a network's own order.
Weights: TypeAlias = list[Array]


class Network(Protocol):
    """f(parameters, points) -> outputs (n,) or (n, K).

    dtype : float32 or float64, of its parameters. n_outputs : K, or None where outputs have shape (n,).
    """

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def n_outputs(self) -> int | None: ...

    @property
    def weights(self) -> Weights:
        """The trained parameters as arrays, in the order of ``vjp``; shared with the network, not to be written to."""

    @property
    def flops(self) -> float:
        """Of one pass forward, for a point; 2 for each weight and position where it is used."""

    def as_points(self, points: Any, name: str = "X") -> Points:
        """Checked points, in the form and dtype that the other methods take."""

    def __call__(self, points: Any, /) -> Array:
        """The outputs, (n,) or (n, K)."""

    def value_and_vjp(self, points: Points, cotangent: Callable[[slice, Array], Array], /) -> tuple[Array, Weights]:
        """(outputs, gradient of the sum of cotangent times outputs), for a function of (rows, outputs there)."""

    def jvp(self, points: Points, tangents: Weights, /) -> Array:
        """How the outputs move when the weights move by ``tangents``: J v, of their shape."""

    def with_weights(self, weights: Weights) -> Self:
        """The same network with other weights, which are kept; this one stays as it is."""

    def kernel(self, points: Points, points2: Points | None, *, layer: Layer, outputs: OutputChoice) -> KernelOperator:
        """Its NTK at its present weights, between checked points."""


def is_network(given: Any) -> bool:
    """Whether an object has the methods of a network."""
    return all(hasattr(type(given), name) for name in ("as_points", "value_and_vjp", "with_weights", "kernel"))


def as_network(given: Any, what: str) -> Network:
    """The network itself; TypeError where it is none, with what is asked of it."""
    if not is_network(given):
        raise TypeError(
            f"{what} of a {type(given).__name__} is not available; pass TwoLayer, FullyConnected or Convolutional, or "
            f"a network of your own through ntkspec.from_torch(module) or ntkspec.from_jax(function, params)"
        )
    return given


def names_of(net: Network) -> list[str]:
    """Names of the weights: those of ``parameters``, {name: array}, where a network has them, else numbers from 0."""
    named = getattr(net, "parameters", None)
    return list(named) if isinstance(named, dict) else [str(k) for k in range(len(net.weights))]
