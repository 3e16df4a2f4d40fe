"""The weights of a deep network during training."""

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.networks import DeepNetwork

_DIVERGING = np.errstate(over="ignore", invalid="ignore")


class DeepDescent:
    """Gradient descent on (1/2n) sum (f - offset - y)² with one rate for all weights; as :class:`Descent` otherwise."""

    def __init__(self, net: DeepNetwork, data, rates, offset):
        X, y = data
        self.engine, self.activation, self._net = engine_of(X), net.activation, net
        self.X, self.y, self.rates, self.offset = X, y, rates, offset
        self.targets = y if offset is None else y + offset
        self.state = self.seen = 0, [W.astype(X.dtype) for W in net.parameters]
        self._gradients: list = []

    def network(self) -> DeepNetwork:
        """The network whose outputs were finite last."""
        return self._net.with_parameters([W.copy() for W in self.seen[1]])

    def outputs(self, *, gradients: bool, rows=None):
        """As :meth:`Descent.outputs`."""
        X, targets = (self.X, self.targets) if rows is None else (self.X[rows], self.targets[rows])
        net, shares = self._net.with_parameters(self.state[1]), self.engine.shares(len(X))
        parts = self.engine.run(lambda share: self._pass(net, (X[share], targets[share]), gradients), shares)
        out = self.engine.xp.concatenate([outputs for outputs, _ in parts])
        if gradients:
            self._gradients = [sum(own) / len(X) for own in zip(*(found for _, found in parts), strict=True)]
        if not bool(self.engine.xp.isfinite(out).all()):
            self.state = self.seen
            return None
        self.seen = self.state
        return out if self.offset is None else out - (self.offset if rows is None else self.offset[rows])

    @_DIVERGING
    def step(self) -> None:
        """All weights one step further, with the gradients of the last `outputs`."""
        (step, weights), rate = self.state, self.y.dtype.type(self.rates[0])
        self.state = step + 1, [W - rate * own for W, own in zip(weights, self._gradients, strict=True)]

    @staticmethod
    @_DIVERGING
    def _pass(net: DeepNetwork, data, gradients: bool):
        """(outputs, gradients) on a share of the points."""
        X, targets = data
        if not gradients:
            return net(X), None
        return net.value_and_vjp(X, lambda rows, outputs: outputs - targets[rows])
