"""Networks of one output each that are trained side by side, each by its own steps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.training.targets import ALL, FIRST
from ntkspec.training.task import Task
from ntkspec.training.trainer import Trainer


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

    def resume(self, step: int, weights: Sequence[Array]) -> None:
        """Go on from these weights, which are kept, at a step whose outputs were finite."""
        independent: Any = self.net
        for column, own in zip(self._columns, independent.split(list(weights)), strict=True):
            column.resume(step, own)
        self.state = self.seen = self._now(step)

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
        self.state = self._now(self.state[0] + 1)

    def advance(self, count: int) -> int:
        """``count`` steps further, of each network in one go; where one diverges, again from before, step by step."""
        if self.together == 1:
            return super().advance(count)
        first, before = self.state[0], (self.seen[0], [W.copy() for W in self.seen[1]])
        if min([column.advance(count) for column in self._columns]) == count:
            self.state = self._now(first + count)
            self.seen = first + count - 1, [W for column in self._columns for W in column.seen[1]]
            return count
        self.resume(*before)
        return super().advance(first + count - before[0]) - (first - before[0])

    def _now(self, step: int) -> tuple[int, list[Array]]:
        return step, [W for column in self._columns for W in column.state[1]]
