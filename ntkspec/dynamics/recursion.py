"""Training of a kernel model step by step, where there is no closed form: other losses, and laws of one's own."""

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import solve_ivp

from ntkspec import checks, progress
from ntkspec.dynamics.coordinates import Coordinates
from ntkspec.dynamics.laws import Law, moved
from ntkspec.dynamics.losses import LossFunction, name_of
from ntkspec.dynamics.trajectory import Trajectory
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array

# Relative tolerance of the solution of an ODE, by the dtype of the kernel, and how many times as large it is in the
# solution that it is compared with.
TOLERANCE, COARSER = {"d": 1e-11, "f": 1e-6}, 100.0
_FOLLOWED = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class Descent:
    """Labels y, outputs at step 0 (zero where they are None), the loss and eta / n; steps or times, ascending.

    dtype, dtype_test : of the recorded outputs, on the training and on the test points; None for no test points.
    """

    coordinates: Coordinates
    y: Array
    start: Array | None
    start_test: Array | None
    loss: LossFunction
    rate: float
    steps: np.ndarray
    dtype: np.dtype
    dtype_test: np.dtype | None = None

    def slope(self, c: Array) -> Array:
        """eta / n times the gradient of n times the loss, in coordinates."""
        return self.rate * self.coordinates.gradient(self.loss.derivative(self.train(c), self.y))

    def train(self, c: Array) -> Array:
        """Outputs on the training points."""
        found = self.coordinates.outputs(c)
        return found if self.start is None else found + self.start


@_FOLLOWED
def by_steps(descent: Descent, law: Law) -> Trajectory:
    """The recursion itself: nothing is truncated. Where outputs are no longer finite it ends, and says so."""
    due, last, found = set(descent.steps.tolist()), int(descent.steps[-1]), _Outputs(descent)
    c = descent.coordinates.zero
    memory = [0.0 * c for _ in range(law.slots)]
    checks.duration(last, c.size, f"a prediction of {last} steps, one by one,", "take fewer")
    with progress.bar(total=last, text="prediction (steps)") as bar:
        for step in range(last + 1):
            u = descent.train(c)
            if not bool(engine_of(u).xp.isfinite(u.astype(descent.dtype)).all()):
                warnings.warn(
                    f"outputs are no longer finite at step {step}; take a smaller learning rate", RuntimeWarning, 4
                )
                break
            if step in due:
                found.write(u, c)
            if step < last:
                slope = descent.coordinates.gradient(descent.loss.derivative(u, descent.y))
                way, memory = moved(law, descent.rate * slope, memory, step)
                c = c + way
                bar.update(1)
    return found.trajectory("recursion")


@_FOLLOWED
def by_ode(descent: Descent) -> Trajectory:
    """Gradient flow by a method of order eight; its error is the distance from a solution at a larger tolerance."""
    fine, coarse = _Outputs(descent), _Outputs(descent)
    tolerance = TOLERANCE[descent.dtype.char]
    for outputs, allowed in ((coarse, COARSER * tolerance), (fine, tolerance)):
        for c in _solution(descent, allowed):
            outputs.write(descent.train(c), c)
    found, other = fine.trajectory("gradient flow as an ODE"), coarse.trajectory("")
    points, to_host = len(descent.y), engine_of(descent.y).to_host
    apart = to_host(found.train - other.train).astype(np.float64).reshape(len(found.steps), -1)
    error, error_test = np.linalg.norm(apart, axis=1) / math.sqrt(points), None
    if found.test is not None and other.test is not None:
        error_test = abs(to_host(found.test - other.test)).reshape(len(found.steps), -1).max(axis=1)
    return replace(found, error=error, error_test=error_test)


def _solution(descent: Descent, tolerance: float) -> list[Array]:
    """The coordinates at the times asked for."""
    zero, last = descent.coordinates.zero, float(descent.steps[-1])
    engine = engine_of(zero)

    def here(c: np.ndarray) -> Array:
        return engine.xp.asarray(c).reshape(zero.shape)

    def moving(t: float, c: np.ndarray) -> np.ndarray:
        return -engine.to_host(descent.slope(here(c))).ravel()

    # Coordinates that stay small are followed as far as the first unit of time moves the others.
    size = float(np.abs(moving(0.0, engine.to_host(zero).ravel())).max()) * min(1.0, last)
    if not size:
        return [zero] * len(descent.steps)
    found = solve_ivp(
        moving,
        (0.0, last),
        engine.to_host(zero).ravel(),
        method="DOP853",
        t_eval=descent.steps,
        rtol=tolerance,
        atol=tolerance * size,
    )
    if not found.success:
        raise ValueError(f"gradient flow cannot be followed to time {last:g}: {found.message}")
    return [here(c) for c in found.y.T]


class _Outputs:
    """What is recorded on the way, at ascending steps; NaN from where nothing was recorded."""

    def __init__(self, descent: Descent):
        self._descent = descent
        self._coordinates: list[Array] = []
        shape = len(descent.steps), *descent.y.shape
        self._train = engine_of(descent.y).xp.full(shape, np.nan, descent.dtype)

    def write(self, u: Array, c: Array) -> None:
        """The next step: outputs u on the training points, and the coordinates."""
        self._train[len(self._coordinates)] = u
        self._coordinates.append(c)

    def trajectory(self, method: str) -> Trajectory:
        """All of it, without errors."""
        descent, nothing = self._descent, np.zeros(len(self._descent.steps))
        method = f"{method} {descent.coordinates.description}, {name_of(descent.loss)} loss"
        test = self._test() if descent.dtype_test is not None else None
        error_test = None if test is None else nothing
        return Trajectory(descent.steps, self._train, test, method, nothing, error_test=error_test)

    def _test(self) -> Array:
        """Outputs on the test points."""
        descent = self._descent
        found = descent.coordinates.outputs_on_test(self._coordinates or [descent.coordinates.zero])
        if descent.start_test is not None:
            found = found + descent.start_test
        whole = engine_of(found).xp.full((len(descent.steps), *found.shape[1:]), np.nan, descent.dtype_test)
        whole[: len(found)] = found
        return whole
