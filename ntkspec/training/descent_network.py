"""The weights of any network during training, and of one whose points are shared out among the workers."""

from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.networks.protocol import Points, Weights
from ntkspec.training.trainer import DIVERGING, Trainer


class NetworkDescent(Trainer):
    """Gradient descent through the network's own passes, with one rate for the first weights, one for all others."""

    on_workers = False

    @DIVERGING
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now (:meth:`Trainer.outputs`), and in the same pass the gradients."""
        X, targets, offset = self.chosen(rows)
        if not all(bool(self.engine.xp.isfinite(W).all()) for W in self.state[1]):
            self.state = self.seen
            return None
        outputs, total = self.passed(self.state[1], X, targets, gradients)
        self._gradients = [own / len(targets) for own in total]
        return self.finite_outputs(self.task.reading.of(outputs), offset)

    @DIVERGING
    def step(self) -> None:
        """All weights less the rate times their gradients."""
        step, weights = self.state
        first, *others = (self.y.dtype.type(rate) for rate in self.rates)
        rates = [first, *others * (len(weights) - 1)]
        self.state = step + 1, [W - rate * own for W, rate, own in zip(weights, rates, self._gradients, strict=True)]

    def passed(self, weights: Weights, X: Points, targets: Array, gradients: bool) -> tuple[Array, Weights]:
        """(outputs, n times the gradients of the loss, or none) at weights and points."""
        net, reading = self.net.with_weights(weights), self.task.reading
        if not gradients:
            return net(X), []
        return net.value_and_vjp(X, lambda rows, f: reading.back(reading.of(f) - targets[rows], f))


class DeepDescent(NetworkDescent):
    """The same of a built-in deep network, whose points are shared out among the workers."""

    on_workers = True

    def passed(self, weights: Weights, X: Points, targets: Array, gradients: bool) -> tuple[Array, Weights]:
        """(outputs, n times the gradients of the loss, or none) at weights and points."""
        net: Any = self.net.with_weights(weights)
        whole = super().passed

        @DIVERGING  # a worker has settings of its own
        def of_share(share: slice) -> tuple[Array, Weights]:
            if not gradients:
                return net.outputs(X[share]), []
            return whole(weights, X[share], targets[share], True)

        parts = self.engine.run(of_share, self.engine.shares(len(X), 3 * net.flops))
        total = [sum(own) for own in zip(*(found for _, found in parts), strict=True)]
        return self.engine.xp.concatenate([outputs for outputs, _ in parts]), total
