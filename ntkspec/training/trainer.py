"""The weights of a network during training: where they are, and one step further."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks import points
from ntkspec.networks.protocol import Network, Points
from ntkspec.training.task import Task

# (steps that were taken, weights).
State: TypeAlias = tuple[int, list[Array]]
# A diverging run is reported once, by its outputs.
DIVERGING = np.errstate(over="ignore", invalid="ignore")


class Trainer(ABC):
    """Data, targets y + offset, and the state (step, weights) of a network in training; ``seen`` was finite last.

    together : steps that are taken in one go, where none of them is recorded. on_workers : whether steps run on the
    engine's workers.
    """

    together = 1
    on_workers = True

    def __init__(self, task: Task):
        self.task, self.net, self.X, self.y = task, task.net, task.X, task.y
        self.engine, self.rates, self.offset = engine_of(task.y), task.rates, task.offset
        self.targets = self.y if self.offset is None else self.y + self.offset
        self._gradients: list[Array] = []
        self.start(self.net.weights)

    def start(self, weights: Sequence[Array]) -> None:
        """Begin with copies of these weights, in the dtype of the outputs."""
        self.resume(0, [W.astype(self.y.dtype) for W in weights])

    def resume(self, step: int, weights: Sequence[Array]) -> None:
        """Go on from these weights, which are kept, at a step whose outputs were finite."""
        self.state: State = (step, list(weights))
        self.seen = self.state

    def network(self) -> Network:
        """The network whose outputs were finite last, with copies of its weights."""
        return self.net.with_weights([W.copy() for W in self.seen[1]])

    @abstractmethod
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs on the training points now, like y; None where one is not finite, and the state goes back to before.

        gradients : whether those are computed in the same pass, for :meth:`step`. rows : numbers of the points of a
        batch; None is all of them.
        """

    @abstractmethod
    def step(self) -> None:
        """All weights one step of gradient descent further, with the gradients of the last `outputs`."""

    def advance(self, count: int) -> int:
        """``count`` steps further; how many were taken, fewer where outputs are no longer finite then."""
        for taken in range(count):
            if self.outputs(gradients=True) is None:
                return taken
            self.step()
        return count

    def chosen(self, rows: np.ndarray | None) -> tuple[Points, Array, Array | None]:
        """(X, targets, offset) of the points with these numbers; None is all of them."""
        if rows is None:
            return self.X, self.targets, self.offset
        rows = self.engine.xp.asarray(rows)
        return points.rows(self.X, rows), self.targets[rows], None if self.offset is None else self.offset[rows]

    def finite_outputs(self, out: Array, offset: Array | None) -> Array | None:
        """The outputs less their offset; None where one is not finite, and the state goes back to the last that was."""
        if not bool(self.engine.xp.isfinite(out).all()):
            self.state = self.seen
            return None
        self.seen = self.state
        return out if offset is None else out - offset
