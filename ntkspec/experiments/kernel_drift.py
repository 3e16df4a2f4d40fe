"""How far the NTK and the weights move in training, in the parameterization of the NTK and in that of muP."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec.datasets import Dataset
from ntkspec.dynamics import Trajectory
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import ArrayLike
from ntkspec.kernels import ntk
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.operators import KernelOperator, planning
from ntkspec.spectra import kernel_distance, spectral_norm
from ntkspec.training import train_gd

# That of equation (1), and the maximal update parameterization, in which features move as far at any width.
NTK, MUP = "ntk", "mup"
PARAMETERIZATIONS = NTK, MUP
# The relative width of the spectral norms' intervals, and the products that they and Frobenius norms take of a kernel.
RTOL, PRODUCTS = 1e-3, 150


@dataclass(frozen=True)
class Start:
    """A network where its training starts.

    speeds : of two layers, eta1/eta and eta2/eta, by which the kernel that moves the outputs weighs Theta_1 and
    Theta_2; None for a deep network, all of whose layers have the rate eta.
    """

    net: TwoLayer | DeepNetwork
    speeds: tuple[float, float] | None

    @classmethod
    def of(cls, net: TwoLayer | DeepNetwork, *, layer: str, parameterization: str) -> "Start":
        """A network of equation (3) in one of the parameterizations. layer : "first" or "both", those that train.

        muP divides v by sqrt m and multiplies eta1 by m: m Theta_1 + Theta_2 is the kernel that it was, so that the
        outputs start to move as fast, but rows of W move as far at any width.
        """
        if not isinstance(net, TwoLayer):
            return cls(net, None)
        first, second = LAYER_WEIGHTS[layer]
        if parameterization == NTK:
            return cls(net, (first, second))
        scaled = net.with_parameters([net.W, net.v / math.sqrt(net.width)])
        return cls(scaled, (net.width * first, second))

    def trained(self, data: Dataset, *, eta: float, steps: ArrayLike) -> Trajectory:
        """Its training on the data."""
        if self.speeds is None:
            return train_gd(self.net, data.X, data.y, eta=eta, steps=steps)
        eta1, eta2 = (speed * eta for speed in self.speeds)
        return train_gd(self.net, data.X, data.y, eta1=eta1, eta2=eta2, steps=steps)

    def kernel(self, net: Any, X: ArrayLike) -> KernelOperator:
        """The kernel that moves the outputs at the rate eta, at the weights of ``net``."""
        if self.speeds is None:
            return ntk(net, X)
        layers = zip(("first", "second"), self.speeds, strict=True)
        one, *other = [speed * ntk(net, X, layer=layer) for layer, speed in layers if speed]
        return sum(other, one)


def drift_of(start: Start, data: Dataset, *, eta: float, last: int) -> dict[str, float]:
    """How far kernel and weights are from their start after the last step, relative to what they were, and the loss."""
    run = start.trained(data, eta=eta, steps=[last])
    before, after = (planning.prepare(start.kernel(net, data.X), PRODUCTS)[0] for net in (start.net, run.network))
    size, moved = spectral_norm(before, rtol=RTOL), spectral_norm(after - before, rtol=RTOL)
    return {
        "drift": moved.value / size.value,
        "drift lower": moved.lower / size.upper,
        "drift upper": moved.upper / size.lower,
        "distance": float(kernel_distance(before, after)),
        "movement": _movement(start.net, run.network),
        "loss": 0.5 * float(np.square(run.train[-1] - data.y).mean(dtype=np.float64)),
    }


def _movement(before: Any, after: Any) -> float:
    """The Euclidean distance of all weights from their start, relative to their size there."""
    moved = sum(_square(one - other) for one, other in zip(after.weights, before.weights, strict=True))
    return math.sqrt(moved / sum(map(_square, before.weights)))


def _square(weights: Any) -> float:
    return float(engine_of(weights).xp.square(weights).sum(dtype=np.float64))
