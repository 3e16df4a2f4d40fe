"""Which points each step of training takes."""

import numpy as np

from ntkspec import randomness


class Batches:
    """Batches of ``size`` of n points: each epoch goes through all in a new order, the last batch being shorter.

    A step's batch depends on the seed and its number only, so that an interrupted run goes on with the same ones.
    """

    def __init__(self, n: int, size: int, seed: int):
        self.n, self.size, self.seed = n, size, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def rows(self, step: int) -> np.ndarray:
        """Numbers of the points of a step."""
        epoch, part = divmod(step, -(-self.n // self.size))
        if epoch != self._epoch:
            stream = randomness.stream(self.seed, "batches", epoch)
            self._epoch, self._order = epoch, np.random.default_rng(stream).permutation(self.n)
        return self._order[part * self.size : (part + 1) * self.size]
