"""Several networks of one output each as one network of several outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks.outputs import OutputChoice, choice_of
from ntkspec.networks.protocol import Layer, Network, Points, Weights
from ntkspec.operators import KernelOperator
from ntkspec.operators.interleaved import Interleaved


class IndependentOutputs:
    r"""K networks of one output each, which share no weights: output k is that of network k.

    What :func:`ntkspec.train_gd` makes of a network with one output and labels (n, K): K copies, each trained on a
    column of its own, one class against the rest. A kernel of points predicts exactly this.

    Parameters
    ----------
    networks : sequence of networks
        Of one output and one dtype, on the same points. They are kept, not copied.

    Raises
    ------
    ValueError
        Where there is none, or one has several outputs.

    Notes
    -----
    ``weights`` are those of all networks, one after the other. Gradients of different outputs have no parameter in
    common: "trace" is the sum of K kernels, and "full" has them beside each other. Cost: a gradient takes one pass
    forward more than those of the networks.
    """

    def __init__(self, networks: Sequence[Network]):
        self.networks = list(networks)
        counts = [net.n_outputs for net in self.networks]
        if not counts or any(count not in (None, 1) for count in counts):
            raise ValueError(f"networks of {counts} outputs came, but some of one output each are needed")

    @property
    def dtype(self) -> np.dtype:
        """dtype of the parameters, float32 or float64."""
        return self.networks[0].dtype

    @property
    def n_outputs(self) -> int:
        """K, the number of networks."""
        return len(self.networks)

    @property
    def weights(self) -> Weights:
        """Those of all networks, one after the other."""
        return [W for net in self.networks for W in net.weights]

    @property
    def flops(self) -> float:
        """Of one pass forward of all networks, for a point."""
        return sum(net.flops for net in self.networks)

    def as_points(self, points: Any, name: str = "X") -> Points:
        """As the networks take them."""
        return self.networks[0].as_points(points, name)

    def __call__(self, points: Any) -> Array:
        """The outputs, (n, K)."""
        return _stacked([net(points) for net in self.networks])

    def value_and_vjp(self, points: Points, cotangent: Callable[[slice, Array], Array]) -> tuple[Array, Weights]:
        """(outputs, gradient of the sum of cotangent times outputs): one cotangent, of all points and outputs."""
        outputs = self(points)
        given, gradient = cotangent(slice(0, len(outputs)), outputs), []
        for net, own in zip(self.networks, given.T, strict=True):
            gradient += _vjp(net, points, own)
        return outputs, gradient

    def jvp(self, points: Points, tangents: Weights) -> Array:
        """How the outputs move when the weights move, (n, K)."""
        parts = zip(self.networks, self.split(tangents), strict=True)
        return _stacked([net.jvp(points, own) for net, own in parts])

    def with_weights(self, weights: Weights) -> "IndependentOutputs":
        """The same networks with other weights, which are kept."""
        parts = zip(self.networks, self.split(weights), strict=True)
        return IndependentOutputs([net.with_weights(own) for net, own in parts])

    def split(self, weights: Weights) -> list[Weights]:
        """Those of each network."""
        rest, found = iter(weights), []
        for net in self.networks:
            found.append([next(rest) for _ in net.weights])
        return found

    def kernel(self, points: Points, points2: Points | None, *, layer: Layer, outputs: OutputChoice) -> KernelOperator:
        """Those of the networks, weighted and added up, or beside each other for all outputs."""
        alone = choice_of("mean", 1)
        # Copies that have not been trained yet are one network.
        different = {id(net): net for net in self.networks}
        kernels = {key: net.kernel(points, points2, layer=layer, outputs=alone) for key, net in different.items()}
        each = [kernels[id(net)] for net in self.networks]
        if outputs.stacked and len(each) > 1:
            return Interleaved(each)
        shares = np.ones(len(each)) if outputs.weights is None else (outputs.weights**2).sum(axis=0)
        terms = [float(outputs.scale * share) * kernel for share, kernel in zip(shares, each, strict=True) if share]
        return sum(terms[1:], start=terms[0])

    def __repr__(self) -> str:
        return f"IndependentOutputs({self.n_outputs} of {self.networks[0]!r})"


def _stacked(outputs: list[Array]) -> Array:
    """Outputs (n,) or (n, 1) of each network as (n, K)."""
    return engine_of(outputs[0]).xp.stack([own.reshape(len(own)) for own in outputs], axis=1)


def _vjp(net: Network, points: Points, cotangent: Array) -> Weights:
    """The gradient of the sum of cotangent (n,) times the network's output."""
    return net.value_and_vjp(points, lambda rows, outputs: cotangent[rows].reshape(outputs.shape))[1]
