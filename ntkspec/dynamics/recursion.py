"""Training of a kernel model step by step, where there is no closed form: other losses, and laws of one's own."""

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import solve_ivp

from ntkspec import checks, progress
from ntkspec.dynamics.batches import Batches
from ntkspec.dynamics.coordinates import Coordinates
from ntkspec.dynamics.laws import PLAIN, Law, moved
from ntkspec.dynamics.losses import SQUARED, LossFunction, name_of
from ntkspec.dynamics.rates import Rate, at
from ntkspec.dynamics.telling import warn_if_rising
from ntkspec.dynamics.trajectory import Trajectory
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array

# Relative tolerance of the solution of an ODE, by the dtype of the kernel, and how many times as large it is in the
# solution that it is compared with.
TOLERANCE, COARSER = {"d": 1e-11, "f": 1e-6}, 100.0
# Products of the solution while eta lambda_max t / n grows by one, and those that find lambda_max roughly.
EVALUATIONS, POWERS = 5.0, 5
_FOLLOWED = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class Task:
    """What is trained: a model, on a loss of labels y, from outputs at step 0 (None is zero), at a learning rate.

    steps : or times, ascending. dtypes : of the kernel, and of the test kernel where there is one. batches : which
    points each step takes; None is all of them. ridge : added to the loss is ridge/2 times the square of the distance
    from the coordinates' center.
    """

    coordinates: Coordinates
    loss: LossFunction
    y: Array
    start: Array | None
    start_test: Array | None
    eta: Rate
    steps: np.ndarray
    dtypes: list[np.dtype]
    batches: Batches | None = None
    ridge: float = 0.0

    def descent(self, u: Array, c: Array, step: int) -> Array:
        """The learning rate times the gradient of the loss at coordinates c with outputs u."""
        if self.batches is None:
            slope, count = self.loss.derivative(u, self.y), len(u)
        else:
            xp = engine_of(u).xp
            rows = xp.asarray(self.batches.rows(step))
            slope, count = xp.zeros_like(u), len(rows)
            slope[rows] = self.loss.derivative(u[rows], self.y[rows])
        rate = at(self.eta, step)
        descent = rate / count * self.coordinates.gradient(slope)
        return descent + rate * self.ridge * (c - self.coordinates.center) if self.ridge else descent

    def train(self, c: Array) -> Array:
        """Outputs on the training points."""
        found = self.coordinates.outputs(c)
        return found if self.start is None else found + self.start


@_FOLLOWED
def by_steps(task: Task, law: Law) -> Trajectory:
    """The recursion itself: nothing is truncated. Where outputs are no longer finite it ends, and says so."""
    due, last, found = set(task.steps.tolist()), int(task.steps[-1]), _Outputs(task)
    c = task.coordinates.zero
    memory = [0.0 * c for _ in range(law.slots)]
    checks.duration(last, c.size, f"a prediction of {last} steps, one by one,", "take fewer")
    with progress.bar(total=last, text="prediction (steps)") as bar:
        for step in range(last + 1):
            u = task.train(c)
            if not bool(engine_of(u).xp.isfinite(u.astype(task.dtypes[0])).all()):
                warnings.warn(
                    f"outputs are no longer finite at step {step}; take a smaller learning rate", RuntimeWarning, 4
                )
                break
            if step in due:
                found.write(u, c)
            if step < last:
                way, memory = moved(law, task.descent(u, c, step), memory, step)
                c = c + way
                bar.update(1)
    if law == PLAIN and task.batches is None and not task.ridge:
        warn_if_rising(found.losses, task.steps)
    return found.trajectory("recursion")


@_FOLLOWED
def by_ode(task: Task) -> Trajectory:
    """Gradient flow by a method of order eight; its error is the distance from a solution at a larger tolerance."""
    _refuse_years(task)
    fine, coarse = _Outputs(task), _Outputs(task)
    tolerance = TOLERANCE[task.dtypes[0].char]
    for outputs, allowed in ((coarse, COARSER * tolerance), (fine, tolerance)):
        for c in _solution(task, allowed):
            outputs.write(task.train(c), c)
    found, other = fine.trajectory("gradient flow as an ODE"), coarse.trajectory("")
    engine, error_test = engine_of(task.y), None
    to_host = engine.to_host
    apart = (found.train - other.train).astype(np.float64).reshape(len(found.steps), -1)
    error = to_host(engine.xp.linalg.norm(apart, axis=1)) / math.sqrt(len(task.y))
    if found.test is not None and other.test is not None:
        error_test = abs(to_host(found.test - other.test)).reshape(len(found.steps), -1).max(axis=1)
    return replace(found, error=error, error_test=error_test)


def _refuse_years(task: Task) -> None:
    """Of the squared loss, whose curvature stays, the largest eigenvalue tells how many products the times take."""
    if task.loss != SQUARED:
        return
    c, largest, xp = task.coordinates.gradient(task.y.astype(np.float64)), 0.0, engine_of(task.y).xp
    for _ in range(POWERS):
        found = task.coordinates.gradient(task.coordinates.outputs(c))
        size = float(xp.linalg.norm(c))
        largest = float(xp.linalg.norm(found)) / size if size else 0.0
        c = found / size if size else found
    last = float(task.steps[-1])
    evaluations = EVALUATIONS * at(task.eta, 0) * (largest / len(task.y) + task.ridge) * last
    checks.duration(evaluations, 2.0 * c.size, f"gradient flow to time {last:g}", "take shorter times")


def _solution(task: Task, tolerance: float) -> list[Array]:
    """The coordinates at the times asked for."""
    zero, last = task.coordinates.zero, float(task.steps[-1])
    engine = engine_of(zero)

    def here(c: np.ndarray) -> Array:
        return engine.xp.asarray(c).reshape(zero.shape)

    def moving(t: float, c: np.ndarray) -> np.ndarray:
        return -engine.to_host(task.descent(task.train(here(c)), here(c), 0)).ravel()

    # Coordinates that stay small are followed as far as the first unit of time moves the others.
    size = float(np.abs(moving(0.0, engine.to_host(zero).ravel())).max()) * min(1.0, last)
    if not size:
        return [zero] * len(task.steps)
    with progress.bar(total=100, text="gradient flow (percent of the time)") as bar:

        def watched(t: float, c: np.ndarray) -> np.ndarray:
            bar.update(max(0, int(100 * t / last) - bar.n))
            return moving(t, c)

        found = solve_ivp(
            watched,
            (0.0, last),
            engine.to_host(zero).ravel(),
            method="DOP853",
            t_eval=task.steps,
            rtol=tolerance,
            atol=tolerance * size,
        )
    if not found.success:
        raise ValueError(f"gradient flow cannot be followed to time {last:g}: {found.message}")
    return [here(c) for c in found.y.T]


class _Outputs:
    """What is recorded on the way, at ascending steps; NaN from where nothing was recorded."""

    def __init__(self, task: Task):
        self._task = task
        self._coordinates: list[Array] = []
        self._train: list[Array] = []
        self.losses: list[float] = []

    def write(self, u: Array, c: Array) -> None:
        """The next step: outputs u on the training points, and the coordinates."""
        self._train.append(u.astype(self._task.dtypes[0]))
        self._coordinates.append(c)
        self.losses.append(float(self._task.loss.values(u, self._task.y).mean()))

    def trajectory(self, method: str) -> Trajectory:
        """All of it, without errors."""
        task, nothing = self._task, np.zeros(len(self._task.steps))
        method = f"{method} {task.coordinates.description}, {name_of(task.loss)} loss"
        test = self._test() if len(task.dtypes) > 1 else None
        error_test = None if test is None else nothing
        unknown = [np.nan * task.y.astype(task.dtypes[0])] * (len(task.steps) - len(self._train))
        train = engine_of(task.y).xp.stack([*self._train, *unknown])
        return Trajectory(task.steps, train, test, method, nothing, error_test=error_test)

    def _test(self) -> Array:
        """Outputs on the test points."""
        task = self._task
        found = task.coordinates.outputs_on_test(self._coordinates or [task.coordinates.zero])
        if task.start_test is not None:
            found = found + task.start_test
        whole = engine_of(found).xp.full((len(task.steps), *found.shape[1:]), np.nan, np.result_type(*task.dtypes))
        whole[: len(found)] = found
        return whole
