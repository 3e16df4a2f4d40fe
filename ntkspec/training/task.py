"""What a network is to learn."""

from dataclasses import dataclass
from typing import TypeAlias

from ntkspec.dynamics.laws import PLAIN, Law
from ntkspec.dynamics.losses import SQUARED, LossFunction
from ntkspec.dynamics.rates import Rate, Schedule
from ntkspec.engines.arrays import Array
from ntkspec.networks.protocol import Network, Points
from ntkspec.training.targets import ALL, Reading

Rates: TypeAlias = tuple[Rate, Rate]


@dataclass(frozen=True)
class Task:
    """Descent from a network's weights by a law on a loss of f - offset and y, f the ``reading`` of its outputs.

    y : of the shape and dtype of f at the points X. rates : of the first and of all other weights. offset : like y, or
    None for zero. batched : whether a step takes some of the points. ridge, weight_decay : added to the loss is
    ridge/2 |w - w_0|² + weight_decay/2 |w|².
    """

    net: Network
    X: Points
    y: Array
    rates: Rates
    offset: Array | None = None
    reading: Reading = ALL
    batched: bool = False
    law: Law = PLAIN
    loss: LossFunction = SQUARED
    ridge: float = 0.0
    weight_decay: float = 0.0

    @property
    def decays(self) -> bool:
        """Whether something is added to the loss."""
        return bool(self.ridge or self.weight_decay)

    @property
    def plain(self) -> bool:
        """Full-batch gradient descent on the squared loss with constant rates, for which there are faster ways."""
        constant = not any(isinstance(rate, Schedule) for rate in self.rates)
        return constant and not self.decays and self.law == PLAIN and self.loss == SQUARED and not self.batched
