"""What is recorded of training: outputs and watched numbers at ascending steps."""

import numpy as np

from ntkspec.engines import engine_of


class Records:
    """Outputs on training and test points at the ascending ``steps``, and what ``watch`` returns; NaN until recorded.

    points : X, X_test or None, and the offset that is subtracted from outputs on X_test, or None.
    """

    def __init__(self, net, points, steps, watch):
        self.net, (self.X, self.X_test, self.offset), self.steps, self.watch = net, points, steps, watch
        xp = engine_of(self.X).xp
        self.train = xp.full((len(steps), len(self.X)), xp.nan, self.X.dtype)
        self.test = None if self.X_test is None else xp.full((len(steps), len(self.X_test)), xp.nan, self.X.dtype)
        self.watched: dict[str, np.ndarray] = {}
        self._places = {int(step): k for k, step in enumerate(steps)}

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    def due(self, step: int) -> bool:
        """Whether this step is recorded."""
        return step in self._places

    def write(self, step: int, outputs, network) -> None:
        """Record a step that is due."""
        k = self._places[step]
        self.train[k] = outputs
        if self.test is not None:
            test = network(self.X_test)
            self.test[k] = test if self.offset is None else test - self.offset
        for function in self.watch:
            for name, value in function(self.net, network, self.X).items():
                self.watched.setdefault(name, np.full(len(self.steps), np.nan))[k] = value

    def tree(self) -> dict:
        """Everything recorded, for a file."""
        return {"train": self.train, "test": self.test, "watched": self.watched}

    def restore(self, tree: dict) -> None:
        """What :meth:`tree` gave."""
        self.train, self.test, self.watched = tree["train"], tree["test"], tree["watched"]
