"""The weights of a two-layer network during training by an engine's own steps, which nothing waits for."""

from ntkspec.networks import TwoLayer
from ntkspec.training.descent import Fitting


class FusedDescent(Fitting):
    """As :class:`Descent`, by the ``fused_steps`` of an engine, which write over the weights of all but two steps."""

    together = 256

    def __init__(self, net: TwoLayer, setting, steps):
        super().__init__(net, *setting)
        self._steps = steps
        self.start([net.W, net.v])
        if self.offset is not None:  # in the arithmetic of the steps, so that recorded outputs start at 0
            self.offset = steps.outputs().copy()
            self.targets = steps.targets[...] = self.y + self.offset

    def resume(self, step: int, weights) -> None:
        """As :meth:`Fitting.resume`."""
        self._steps.load(step, *weights)
        self.state = self.seen = step, self._steps.weights(step)

    def outputs(self, *, gradients: bool):
        """As :meth:`Fitting.outputs`; the gradients are there in any case."""
        return self.settled(self._steps.outputs(), self.offset)

    def step(self) -> None:
        """As :meth:`Fitting.step`."""
        self._steps.update()
        self.state = self._steps.step, self._steps.weights(self._steps.step)

    def advance(self, count: int) -> int:
        """As :meth:`Fitting.advance`; one look at the end, and back to the last finite step where one was not."""
        first, last = self.state[0], self.state[0] + count - 1
        self.seen = self.seen[0], [W.copy() for W in self.seen[1]]
        self._steps.advance(count)
        wrong = self._steps.wrong()
        if wrong is not None:
            self.resume(*self.seen)
            last = max(wrong - 1, self.seen[0])
            self._steps.advance(last - self.seen[0])
        self.seen, self.state = ((step, self._steps.weights(step)) for step in (last, self._steps.step))
        return count if wrong is None else wrong - first
