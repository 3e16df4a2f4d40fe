"""What a network's outputs are trained to be: the labels, and which function of the outputs they are of."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.networks import IndependentOutputs
from ntkspec.networks.outputs import OutputsLike, choice_of
from ntkspec.networks.protocol import Network


@dataclass(frozen=True)
class Reading:
    """The trained function of outputs (n,) or (n, K): all of them, or (n,), their sum with ``weights`` (K,)."""

    weights: np.ndarray | None = None

    def of(self, outputs: Array) -> Array:
        """The function's values."""
        if self.weights is None:
            return outputs
        return outputs.reshape(len(outputs), -1) @ self._like(outputs)

    def back(self, cotangent: Array, outputs: Array) -> Array:
        """The cotangent of the outputs, from that of the values."""
        if self.weights is None:
            return cotangent
        return (cotangent[:, None] * self._like(outputs)).reshape(outputs.shape)

    def _like(self, outputs: Array) -> Array:
        return engine_of(outputs).xp.asarray(self.weights, outputs.dtype)


ALL = Reading()
FIRST = Reading(np.ones(1))


@dataclass(frozen=True)
class Targets:
    """A network, the function of its outputs that is trained, and y of the shape of its values."""

    net: Network
    reading: Reading
    y: Array


def targets_of(net: Network, y: ArrayLike, n: int, outputs: OutputsLike = "full") -> Targets:
    """Checked labels; for a network of one output and y (n, L), L copies of the network, each for a column of its own.

    Raises ValueError, with what is allowed, where y or ``outputs`` do not fit the network.
    """
    if not (isinstance(outputs, str) and outputs == "full"):
        return Targets(net, Reading(_weights(net, outputs)), checks.as_vector(y, "y", n))
    labels, K = checks.as_floats(y, "y"), net.n_outputs
    if labels.ndim != 2 or len(labels) != n:
        if K is not None and K > 1:
            raise ValueError(
                f"y has shape {labels.shape}, but ({n}, {K}) is needed, a number for each point and output, such as "
                f"numpy.eye({K})[classes]; outputs=, a number or weights, trains one function of them on y ({n},)"
            )
        return Targets(net, ALL if K is None else FIRST, checks.as_vector(labels, "y", n))
    labels = checks.as_matrix(labels, "y", columns=K if K != 1 else None, fits="the outputs of the network")
    return Targets(net if labels.shape[1] == K else IndependentOutputs([net] * labels.shape[1]), ALL, labels)


def _weights(net: Network, outputs: Any) -> np.ndarray:
    """(K,), of the function that a number or weights name."""
    if isinstance(outputs, str):
        raise ValueError(
            f"outputs={checks.shown(outputs)}, but training takes 'full' (all outputs), the number of one, or weights "
            f"(K,); 'mean', 'trace' and 'sum' are kernels that stand for several outputs"
        )
    weights = choice_of(outputs, net.n_outputs).weights
    return np.ones(1) if weights is None else weights[0]
