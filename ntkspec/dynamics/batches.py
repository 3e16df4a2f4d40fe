"""Which points each step of training takes."""

import numpy as np

from ntkspec import checks, randomness


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


def batch_of(given: int, n: int) -> int:
    """``given`` as a batch of n points; ValueError where it is none."""
    size = checks.whole_number(given, "batch", 1)
    if size > n:
        raise ValueError(
            f"batch={size}, but there are {n} training points; take fewer, or no batches at all (batch=None, in a "
            f"command --batch 0)"
        )
    return size
