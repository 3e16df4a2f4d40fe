"""The weights of a deep network during training."""

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.networks import DeepNetwork
from ntkspec.training.descent import DIVERGING, Trainer


class DeepDescent(Trainer):
    """Gradient descent on (1/2n) sum (f - offset - y)² with one rate for all weights."""

    def __init__(
        self, net: DeepNetwork, X: Array, y: Array, *, rates: tuple[float, float], offset: Array | None = None
    ):
        super().__init__(net, X, y, rates=rates, offset=offset)
        self._deep = net
        self.start(net.parameters)

    @DIVERGING
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now (:meth:`Trainer.outputs`), and in the same pass the gradients."""
        X, targets, offset = self.chosen(rows)
        net, shares = self._deep.with_parameters(self.state[1]), self.engine.shares(len(X), 3 * self._deep.flops)
        parts = self.engine.run(lambda share: self._pass(net, X[share], targets[share], gradients), shares)
        out = self.engine.xp.concatenate([outputs for outputs, _ in parts])
        if gradients:
            self._gradients = [sum(own) / len(X) for own in zip(*(found for _, found in parts), strict=True)]
        return self.finite_outputs(out, offset)

    @DIVERGING
    def step(self) -> None:
        """All weights less the rate times their gradients."""
        (step, weights), rate = self.state, self.y.dtype.type(self.rates[0])
        self.state = step + 1, [W - rate * own for W, own in zip(weights, self._gradients, strict=True)]

    @staticmethod
    @DIVERGING
    def _pass(net: DeepNetwork, X: Array, targets: Array, gradients: bool) -> tuple[Array, list[Array] | None]:
        """(outputs, gradients) on a share of the points."""
        if not gradients:
            return net.outputs(X), None
        return net.value_and_vjp(X, lambda rows, outputs: outputs - targets[rows])
