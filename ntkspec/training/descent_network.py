"""The weights of any network during training, and of one whose points are shared out among the workers."""

from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.networks import IndependentOutputs
from ntkspec.networks.protocol import Weights
from ntkspec.training.trainer import DIVERGING, Chosen, Trainer


class NetworkDescent(Trainer):
    """Gradient descent through the network's own passes, with one rate for the first weights, one for all others."""

    on_workers = False

    @DIVERGING
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now (:meth:`Trainer.outputs`), and in the same pass the gradients."""
        chosen = self.chosen(rows)
        if not all(bool(self.engine.xp.isfinite(W).all()) for W in self.state.weights):
            self.state = self.seen
            return None
        outputs, total = self.passed(self.state.weights, chosen, gradients)
        self._gradients = [own / len(chosen.y) for own in total]
        return self.finite_outputs(self.task.reading.of(outputs), chosen.offset)

    @DIVERGING
    def step(self) -> None:
        """Each array of weights by its rate times its gradient, as the law has it."""
        real = self.y.dtype.type
        rates = _rate_of_each(self.net, self.rates_now)
        self.move([real(rate) * own for rate, own in zip(rates, self._gradients, strict=True)], rates)

    def passed(self, weights: Weights, chosen: Chosen, gradients: bool) -> tuple[Array, Weights]:
        """(outputs, n times the gradients of the loss, or none) at weights and points."""
        net, reading = self.net.with_weights(weights), self.task.reading
        if not gradients:
            return net(chosen.X), []
        return net.value_and_vjp(chosen.X, lambda rows, f: reading.back(chosen.slope(reading.of(f), rows), f))


def _rate_of_each(net: Any, rates: tuple[float, float]) -> list[float]:
    """Of the arrays of weights: the first rate for the first of a network, the second for all others."""
    if isinstance(net, IndependentOutputs):
        return [rate for one in net.networks for rate in _rate_of_each(one, rates)]
    return [rates[0], *[rates[1]] * (len(net.weights) - 1)]


class DeepDescent(NetworkDescent):
    """The same of a built-in deep network, whose points are shared out among the workers."""

    on_workers = True

    def passed(self, weights: Weights, chosen: Chosen, gradients: bool) -> tuple[Array, Weights]:
        """(outputs, n times the gradients of the loss, or none) at weights and points."""
        net: Any = self.net.with_weights(weights)
        whole = super().passed

        @DIVERGING  # a worker has settings of its own
        def of_share(share: slice) -> tuple[Array, Weights]:
            if not gradients:
                return net.outputs(chosen.X[share]), []
            return whole(weights, chosen.rows(share), True)

        parts = self.engine.run(of_share, self.engine.shares(len(chosen.y), 3 * net.flops))
        total = [sum(own) for own in zip(*(found for _, found in parts), strict=True)]
        return self.engine.xp.concatenate([outputs for outputs, _ in parts]), total
