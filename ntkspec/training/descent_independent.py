"""Networks of one output each that are trained side by side, each by its own steps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.training.targets import ALL, FIRST
from ntkspec.training.task import Task
from ntkspec.training.trainer import State, Trainer


class IndependentDescent(Trainer):
    """Network k on column k of y; the state holds the weights of all, one after the other.

    trainer_of : what gives the trainer of one network.
    """

    def __init__(self, task: Task, trainer_of: Callable[[Task], Trainer]):
        independent: Any = task.net
        self._columns = [
            trainer_of(
                replace(
                    task,
                    net=net,
                    y=task.y[:, k].copy(),
                    offset=None if task.offset is None else task.offset[:, k].copy(),
                    reading=ALL if net.n_outputs is None else FIRST,
                )
            )
            for k, net in enumerate(independent.networks)
        ]
        super().__init__(task)
        self.on_workers = any(column.on_workers for column in self._columns)
        self.together = min(column.together for column in self._columns)

    def resume(self, state: State) -> None:
        """Go on from a state whose outputs were finite, and which is kept."""
        independent: Any = self.net
        slots, memory = self.task.law.slots, state.memory
        for column, own in zip(self._columns, independent.split(state.weights), strict=True):
            column.resume(State(state.step, own, memory[: slots * len(own)]))
            memory = memory[slots * len(own) :]
        self.state = self.seen = self._now(state.step)

    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now (:meth:`Trainer.outputs`), and in the same pass the gradients."""
        found = [column.outputs(gradients=gradients, rows=rows) for column in self._columns]
        outputs = [own for own in found if own is not None]
        if len(outputs) < len(found):
            self.state = self.seen
            return None
        self.seen = self.state
        return self.engine.xp.stack(outputs, axis=1)

    def step(self) -> None:
        """All networks one step further."""
        for column in self._columns:
            column.step()
        self.state = self._now(self.state.step + 1)

    def advance(self, count: int) -> int:
        """``count`` steps further, of each network in one go; where one diverges, again from before, step by step."""
        if self.together == 1:
            return super().advance(count)
        first, before = self.state.step, self.seen.copy()
        if min([column.advance(count) for column in self._columns]) == count:
            self.state = self._now(first + count)
            self.seen = _together(first + count - 1, [column.seen for column in self._columns])
            return count
        self.resume(before)
        return super().advance(first + count - before.step) - (first - before.step)

    def _now(self, step: int) -> State:
        return _together(step, [column.state for column in self._columns])


def _together(step: int, states: Sequence[State]) -> State:
    """One state of all networks."""
    weights = [W for state in states for W in state.weights]
    return State(step, weights, [array for state in states for array in state.memory])
