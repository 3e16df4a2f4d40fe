r"""The spread that random batches give to the outputs of a kernel model, by the recursion of their covariance.

Batches of b of n points are drawn uniformly, without a point twice, and independently in each step. With the squared
loss the gradient is linear in the outputs, and its mean over batches is that of all points: the mean of the outputs is
full-batch training. In coordinates (:mod:`ntkspec.dynamics.coordinates`) outputs are u_0 + A c and a gradient is G r;
with p = b/n and p' = p (b - 1)/(n - 1) the covariance V of c, and of what a law remembers, follows from

    Cov(G P r) = G [(p' - p²) (m mᵀ + A V Aᵀ) + (p - p') D] Gᵀ,

where P takes the points of the batch, m is the mean of the residuals r, and D has the diagonal of m mᵀ + A V Aᵀ, the
outputs of a point as one block. No step is sampled or left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec import checks, progress
from ntkspec.dynamics.laws import Law, moved
from ntkspec.dynamics.rates import at
from ntkspec.dynamics.recursion import Task
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array


@dataclass(frozen=True)
class Spread:
    """E |u - E u|² over n at each step, a sum over outputs, on the training points and on the test points."""

    train: np.ndarray
    test: np.ndarray | None


def spread(task: Task, law: Law, batch: int) -> Spread:
    """That of the steps of a task; batch : points of each, at most n. Cost: 4 n k² + 8 k³ flops a step."""
    model, due, last = _Model(task, law, batch), set(task.steps.tolist()), int(task.steps[-1])
    found: list[tuple[float, float]] = []
    checks.duration(last, model.flops, f"the noise of batches over {last} steps, one by one,", "take fewer")
    with progress.bar(total=last, text="noise of batches (steps)") as bar:
        for step in range(last + 1):
            if step in due:
                found.append(model.spreads())
            if step < last:
                model.advance(step)
                bar.update(1)
    train, test = np.array(found).T
    return Spread(train, test if model.tested else None)


class _Model:
    """Mean and covariance of what the law moves, slots + 1 arrays of k coordinates, after some steps.

    Where columns of labels are trained on their own the covariance is the sum of theirs: all see the same batches.
    """

    def __init__(self, task: Task, law: Law, batch: int):
        A, A_test = task.coordinates.matrices()
        n, k, slots = len(task.y), A.shape[1], 1 + law.slots
        self._task, self._law, self._xp, self._n, self.tested = task, law, engine_of(A).xp, n, A_test is not None
        self._A, self._test, self._GA = A, A_test, task.coordinates.gradients(A)
        self._batch = batch
        self._one = self._batch / n
        self._two = self._one * (self._batch - 1) / max(1, n - 1)
        self._mean: list[Array] = [task.coordinates.zero for _ in range(slots)]
        self._V = self._xp.zeros((slots, k, slots, k))

    @property
    def flops(self) -> float:
        """Of a step."""
        rows, k = self._A.shape
        return 4.0 * rows * k**2 + 4.0 * len(self._V) ** 3 * k**3

    def spreads(self) -> tuple[float, float]:
        """Of the training points, and of the test points where there are any."""
        V, rows = self._V[0, :, 0], len(self._A) // self._n
        sums = [0.0 if A is None else float(((A @ V) * A).sum()) * rows / len(A) for A in (self._A, self._test)]
        return sums[0], sums[1]

    def advance(self, step: int) -> None:
        """One step of the law."""
        task, xp, rate, (c, *memory) = self._task, self._xp, at(self._task.eta, step), self._mean
        noise = (rate / self._batch) ** 2 * self._noise(task.train(c) - task.y)
        turn, push = (xp.asarray(part) for part in _coefficients(self._law, step))
        k, slots = len(self._GA), len(turn)
        eye = xp.eye(k)
        moves = turn[:, None, :, None] * eye[None, :, None, :]
        moves[:, :, 0] += push[:, None, None] * (rate / self._n * self._GA + rate * task.ridge * eye)
        flat = moves.reshape(slots * k, slots * k)
        V = (flat @ self._V.reshape(slots * k, slots * k) @ flat.T).reshape(self._V.shape)
        self._V = V + push[:, None, None, None] * push[None, None, :, None] * noise[None, :, None, :]
        way, kept = moved(self._law, task.descent(task.train(c), c, step), memory, step)
        self._mean = [c + way, *kept]

    def _noise(self, m: Array) -> Array:
        """Cov(G P r), of residuals with the mean m."""
        coordinates, V, xp = self._task.coordinates, self._V[0, :, 0], self._xp
        blocks, parts = self._A.reshape(self._n, -1, len(V)), m.reshape(self._n, len(self._A) // self._n, -1)
        own = xp.einsum("nik,nlk->nil", blocks @ V, blocks) + xp.einsum("nic,nlc->nil", parts, parts)
        slopes = coordinates.gradients(m.reshape(len(self._A), -1))
        together = slopes @ slopes.T + self._GA @ V @ self._GA.T
        return (self._two - self._one**2) * together + (self._one - self._two) * coordinates.of_blocks(own)


def _coefficients(law: Law, step: int) -> tuple[np.ndarray, np.ndarray]:
    """A law's move of (coordinates, memory) as numbers: new = turn (c, memory) + push descent."""
    slots = 1 + law.slots

    def after(descent: float, memory: Sequence[float]) -> np.ndarray:
        way, kept = moved(law, np.array([descent]), [np.array([one]) for one in memory], step)
        return np.array([way[0], *(one[0] for one in kept)])

    nothing = [0.0] * law.slots
    turn = np.zeros((slots, slots))
    turn[0, 0] = 1.0
    for j in range(law.slots):
        turn[:, 1 + j] = after(0.0, [float(i == j) for i in range(law.slots)])
    return turn, after(1.0, nothing)
