"""The weights of a two-layer network during training by an engine's own steps, which nothing waits for."""

from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.training.task import Task
from ntkspec.training.trainer import State, Trainer


class FusedDescent(Trainer):
    """Equation (4) on all points by the ``fused_steps`` of an engine, which keep the weights of two steps only."""

    together = 256

    def __init__(self, task: Task, steps: Any):
        self._steps = steps
        super().__init__(task)
        if self.offset is not None:  # in the arithmetic of the steps, so that recorded outputs start at 0
            self.offset = steps.outputs().copy()
            self.targets = steps.targets[...] = self.y + self.offset

    def resume(self, state: State) -> None:
        """Go on from a state, whose weights are copied into the memory of the steps."""
        self._steps.load(state.step, *state.weights)
        self.state = self.seen = self._at(state.step)

    def _at(self, step: int) -> State:
        return State(step, self._steps.weights(step))

    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now, on all points; the gradients are there in any case."""
        return self.finite_outputs(self._steps.outputs(), self.offset)

    def step(self) -> None:
        """One step further."""
        self._steps.update()
        self.state = self._at(self._steps.step)

    def advance(self, count: int) -> int:
        """``count`` steps; one look at the end, and back to the last finite step where one was not."""
        first, last = self.state.step, self.state.step + count - 1
        self.seen = self.seen.copy()
        self._steps.advance(count)
        wrong = self._steps.wrong()
        if wrong is not None:
            self.resume(self.seen)
            last = max(wrong - 1, self.seen.step)
            self._steps.advance(last - self.seen.step)
        self.seen, self.state = self._at(last), self._at(self._steps.step)
        return count if wrong is None else wrong - first
