"""The weights of a network during training: where they are, and one step further."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ntkspec.dynamics.laws import moved
from ntkspec.dynamics.losses import SQUARED, LossFunction
from ntkspec.dynamics.rates import at
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks import points
from ntkspec.networks.protocol import Network, Points
from ntkspec.training.task import Task

# A diverging run is reported once, by its outputs.
DIVERGING = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class State:
    """Where a run is: steps that were taken, weights, and what the law remembers, some arrays for each of these."""

    step: int
    weights: list[Array]
    memory: list[Array] = field(default_factory=list)

    def copy(self) -> "State":
        """The same, in memory of its own."""
        return State(self.step, [W.copy() for W in self.weights], [array.copy() for array in self.memory])


@dataclass(frozen=True)
class Chosen:
    """The points of a step: X, labels y, targets y + offset of the squared loss, and the offset, or None for zero."""

    X: Points
    y: Array
    targets: Array
    offset: Array | None
    loss: LossFunction

    def rows(self, which: slice | Array) -> "Chosen":
        """Some of them."""
        offset = None if self.offset is None else self.offset[which]
        return Chosen(points.rows(self.X, which), self.y[which], self.targets[which], offset, self.loss)

    def slope(self, outputs: Array, rows: slice) -> Array:
        """The derivative of the loss of each point in the network's outputs, at some rows."""
        if self.loss == SQUARED:
            return outputs - self.targets[rows]
        found = outputs if self.offset is None else outputs - self.offset[rows]
        return self.loss.derivative(found, self.y[rows])


class Trainer(ABC):
    """Data, targets y + offset, and the ``state`` of a network in training; that of ``seen`` was finite last.

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
        own = [W.astype(self.y.dtype) for W in weights]
        zeros = self.engine.xp.zeros_like
        self.resume(State(0, own, [zeros(W) for W in own for _ in range(self.task.law.slots)]))

    def resume(self, state: State) -> None:
        """Go on from a state whose outputs were finite, and which is kept."""
        self.state = self.seen = state

    def network(self) -> Network:
        """The network whose outputs were finite last, with copies of its weights."""
        return self.net.with_weights([W.copy() for W in self.seen.weights])

    @abstractmethod
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs on the training points now, like y; None where one is not finite, and the state goes back to before.

        gradients : whether those are computed in the same pass, for :meth:`step`. rows : numbers of the points of a
        batch; None is all of them.
        """

    @abstractmethod
    def step(self) -> None:
        """All weights one step further, with the gradients of the last `outputs`."""

    def move(self, descents: Sequence[Array], rates: Sequence[float]) -> None:
        """One step further by the law, from the learning rate times the gradient of each array of weights."""
        law, state = self.task.law, self.state
        if self.task.decays:
            parts = zip(descents, rates, state.weights, self.net.weights, strict=True)
            descents = [own + rate * self._decay(W, start.astype(W.dtype)) for own, rate, W, start in parts]
        weights: list[Array] = []
        memory: list[Array] = []
        for k, (W, descent) in enumerate(zip(state.weights, descents, strict=True)):
            way, kept = moved(law, descent, state.memory[k * law.slots : (k + 1) * law.slots], state.step)
            weights.append(W + way)
            memory += kept
        self.state = State(state.step + 1, weights, memory)

    def _decay(self, W: Array, start: Array) -> Array:
        """The gradient of what is added to the loss."""
        return self.task.ridge * (W - start) + self.task.weight_decay * W

    def advance(self, count: int) -> int:
        """``count`` steps further; how many were taken, fewer where outputs are no longer finite then."""
        for taken in range(count):
            if self.outputs(gradients=True) is None:
                return taken
            self.step()
        return count

    @property
    def rates_now(self) -> tuple[float, float]:
        """Those of the step that comes next."""
        return at(self.rates[0], self.state.step), at(self.rates[1], self.state.step)

    def chosen(self, rows: np.ndarray | None) -> Chosen:
        """The points with these numbers; None is all of them."""
        whole = Chosen(self.X, self.y, self.targets, self.offset, self.task.loss)
        return whole if rows is None else whole.rows(self.engine.xp.asarray(rows))

    def finite_outputs(self, out: Array, offset: Array | None) -> Array | None:
        """The outputs less their offset; None where one is not finite, and the state goes back to the last that was."""
        if not bool(self.engine.xp.isfinite(out).all()):
            self.state = self.seen
            return None
        self.seen = self.state
        return out if offset is None else out - offset
