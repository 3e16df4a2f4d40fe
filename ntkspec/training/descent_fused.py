"""The weights of a two-layer network during training by an engine's own steps, which nothing waits for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.training.task import Task
from ntkspec.training.trainer import Trainer


class FusedDescent(Trainer):
    """Equation (4) on all points by the ``fused_steps`` of an engine, which keep the weights of two steps only."""

    together = 256

    def __init__(self, task: Task, steps: Any):
        self._steps = steps
        super().__init__(task)
        if self.offset is not None:  # in the arithmetic of the steps, so that recorded outputs start at 0
            self.offset = steps.outputs().copy()
            self.targets = steps.targets[...] = self.y + self.offset

    def resume(self, step: int, weights: Sequence[Array]) -> None:
        """Go on from these weights, which are copied into the memory of the steps."""
        self._steps.load(step, *weights)
        self.state = self.seen = step, self._steps.weights(step)

    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now, on all points; the gradients are there in any case."""
        return self.finite_outputs(self._steps.outputs(), self.offset)

    def step(self) -> None:
        """One step further."""
        self._steps.update()
        self.state = self._steps.step, self._steps.weights(self._steps.step)

    def advance(self, count: int) -> int:
        """``count`` steps; one look at the end, and back to the last finite step where one was not."""
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
