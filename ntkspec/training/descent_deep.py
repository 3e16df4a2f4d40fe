"""The weights of a deep network during training."""

from ntkspec.networks import DeepNetwork
from ntkspec.training.descent import DIVERGING, Fitting


class DeepDescent(Fitting):
    """Gradient descent on (1/2n) sum (f - offset - y)² with one rate for all weights; as :class:`Descent` otherwise."""

    def __init__(self, net: DeepNetwork, data, rates, offset):
        super().__init__(net, data, rates, offset)
        self.start(net.parameters)

    @DIVERGING
    def outputs(self, *, gradients: bool, rows=None):
        """As :meth:`Descent.outputs`."""
        X, targets, offset = self.chosen(rows)
        net, shares = self._net.with_parameters(self.state[1]), self.engine.shares(len(X), 3 * self._net.flops)
        parts = self.engine.run(lambda share: self._pass(net, (X[share], targets[share]), gradients), shares)
        out = self.engine.xp.concatenate([outputs for outputs, _ in parts])
        if gradients:
            self._gradients = [sum(own) / len(X) for own in zip(*(found for _, found in parts), strict=True)]
        return self.settled(out, offset)

    @DIVERGING
    def step(self) -> None:
        """As :meth:`Fitting.step`."""
        (step, weights), rate = self.state, self.y.dtype.type(self.rates[0])
        self.state = step + 1, [W - rate * own for W, own in zip(weights, self._gradients, strict=True)]

    @staticmethod
    @DIVERGING
    def _pass(net: DeepNetwork, data, gradients: bool):
        """(outputs, gradients) on a share of the points."""
        X, targets = data
        if not gradients:
            return net.outputs(X), None
        return net.value_and_vjp(X, lambda rows, outputs: outputs - targets[rows])
