"""What a network is to learn."""

from dataclasses import dataclass

from ntkspec.dynamics.laws import PLAIN, Law
from ntkspec.dynamics.losses import SQUARED, LossFunction
from ntkspec.engines.arrays import Array
from ntkspec.networks.protocol import Network, Points
from ntkspec.training.targets import ALL, Reading


@dataclass(frozen=True)
class Task:
    """Descent from a network's weights by a law on a loss of f - offset and y, f the ``reading`` of its outputs.

    y : of the shape and dtype of f at the points X. rates : of the first and of all other weights. offset : like y, or
    None for zero. batched : whether a step takes some of the points.
    """

    net: Network
    X: Points
    y: Array
    rates: tuple[float, float]
    offset: Array | None = None
    reading: Reading = ALL
    batched: bool = False
    law: Law = PLAIN
    loss: LossFunction = SQUARED

    @property
    def plain(self) -> bool:
        """Full-batch gradient descent on the squared loss, for which there are faster ways."""
        return self.law == PLAIN and self.loss == SQUARED and not self.batched
