"""What is recorded of training: outputs and metrics at ascending steps."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks import points
from ntkspec.networks.protocol import Network, Points
from ntkspec.training.task import Task

# Of (the network at the start, the network now, X): numbers by name.
Metric: TypeAlias = Callable[..., dict[str, float]]


class Records:
    """Outputs on training and test points at the ascending ``steps``, and metrics; NaN until recorded.

    X_test : checked, or None. offset_test : subtracted from outputs on X_test, or None.
    """

    def __init__(
        self,
        task: Task,
        X_test: Points | None = None,
        *,
        steps: np.ndarray,
        metrics: Sequence[Metric] = (),
        offset_test: Array | None = None,
    ):
        self.task, self.X_test, self.steps, self.metrics = task, X_test, steps, metrics
        self.offset_test = offset_test
        self.engine, y = engine_of(task.y), task.y
        self.train = self._nothing((len(steps), *y.shape))
        self.test = None if X_test is None else self._nothing((len(steps), points.count(X_test), *y.shape[1:]))
        self.measured: dict[str, np.ndarray] = {}
        self._ascending = steps.tolist()
        self._index = {step: k for k, step in enumerate(self._ascending)}

    def _nothing(self, shape: tuple[int, ...]) -> Array:
        return self.engine.xp.full(shape, self.engine.xp.nan, self.task.y.dtype)

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    def due(self, step: int) -> bool:
        """Whether this step is recorded."""
        return step in self._index

    def until(self, step: int) -> int:
        """Steps from this one to the next that is recorded, for a step that is not behind the last."""
        return self._ascending[bisect_left(self._ascending, step)] - step

    def write(self, step: int, outputs: Array, network: Network) -> None:
        """Record a step that is due."""
        k = self._index[step]
        self.train[k] = outputs
        if self.test is not None and self.X_test is not None:
            test = self.task.reading.of(network(self.X_test))
            self.test[k] = test if self.offset_test is None else test - self.offset_test
        for name, value in self._metrics_of(network).items():
            self.measured.setdefault(name, np.full(len(self.steps), np.nan))[k] = value

    def _metrics_of(self, network: Network) -> dict[str, float]:
        found: dict[str, float] = {}
        for function in self.metrics:
            numbers = function(self.task.net, network, self.task.X)
            if not isinstance(numbers, dict) or any(np.ndim(value) for value in numbers.values()):
                raise TypeError(f"a watch function returned {checks.shown(numbers)}, but {{name: number}} is needed")
            if found.keys() & numbers.keys():
                raise ValueError(f"two watch functions return {sorted(found.keys() & numbers.keys())}; rename one")
            found |= numbers
        return found

    def tree(self) -> dict:
        """Everything recorded, for a file."""
        train, test = (None if part is None else self.engine.to_host(part) for part in (self.train, self.test))
        return {"steps": self.steps, "train": train, "test": test, "watched": self.measured}

    def require_fitting(self, tree: dict) -> None:
        """Raise ValueError for a tree that :meth:`tree` does not give with these points, at whatever steps."""
        steps = tree["steps"]
        wanted: list[tuple] = [(steps, (steps.size,), np.dtype(int))]
        for found, own in ((tree["train"], self.train), (tree["test"], self.test)):
            if own is not None:
                wanted.append((found, (steps.size, *own.shape[1:]), own.dtype))
        wanted += [(values, (steps.size,), np.dtype(float)) for values in tree["watched"].values()]
        for array, shape, dtype in wanted:
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"an array of shape {array.shape} in {array.dtype} is not {shape} in {dtype}")

    def restore(self, tree: dict, reached: int) -> None:
        """What :meth:`tree` gave of a run that has come to the step ``reached``, whose further steps may be others.

        Raises ValueError for steps before that which it has not recorded.
        """
        missing = sorted(set(self.steps[self.steps < reached].tolist()) - set(tree["steps"].tolist()))
        if missing:
            raise ValueError(
                f"the checkpoint has come to step {reached} and did not record the steps {missing[:5]}; ask for those "
                f"that it recorded, or start anew"
            )
        for old, step in enumerate(tree["steps"].tolist()):
            k = self._index.get(step)
            if k is None:
                continue
            self.train[k] = self.engine.xp.asarray(tree["train"][old])
            if self.test is not None:
                self.test[k] = self.engine.xp.asarray(tree["test"][old])
            for name, values in tree["watched"].items():
                self.measured.setdefault(name, np.full(len(self.steps), np.nan))[k] = values[old]
