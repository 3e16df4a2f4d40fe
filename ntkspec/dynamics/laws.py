r"""Laws of training, and how one eigenmode of a kernel is learned over time by those in closed form.

A mode with eigenvalue lambda and x = eta lambda / n keeps the part e_t(x) of its start residual after t steps. A law in
closed form (``SpectralLaw``) gives, for arrays of times t (rows) and of x (columns),

    residual(x, t) = e_t(x),     learned(x, t) = 1 - e_t(x),     gain(x, t) = learned(x, t) / x  (its limit at x = 0)

at any t, without overflow for stable x and without cancellation for small x t, also at the double roots of the laws
with momentum (where their roots turn fast, rounding of the angle grows as t momentum^(t/2): to 2e-10 at 0.999);
``envelope``, what |e_s| stays below for all s >= t, and ``decay``, -log |e_{t+1} / e_t| that each mode ends with, below
0 where it grows. ``limit``: modes are stable for 0 <= x <= limit.
``amplification``: no perturbation of one step ever grows beyond this factor while they are. ``keeps_signs(largest)``:
e_t of a tridiagonal matrix with diagonal entries up to ``largest`` has entries of one sign at all times.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import Array, ArrayLike

# Past the stable range modes grow to infinity: that is followed and reported.
FOLLOWED = np.errstate(all="ignore")


@runtime_checkable
class Law(Protocol):
    """How steps of training are made of gradients: a user's own class needs these two names.

    slots : arrays that are remembered for each array of weights, zero at the start.
    """

    @property
    def slots(self) -> int: ...

    def move(self, descent: Array, memory: Sequence[Array], step: int) -> tuple[Array, list[Array]]:
        """(what is added to an array of weights in a step, what is remembered of it).

        descent : the learning rate times the gradient. step : its number, from 0.
        """


class SpectralLaw(ABC):
    """A law whose modes are known in closed form."""

    @property
    @abstractmethod
    def limit(self) -> float: ...

    @property
    @abstractmethod
    def amplification(self) -> float: ...

    @abstractmethod
    def times(self, steps: ArrayLike) -> np.ndarray:
        """The checked times that a law knows."""

    @abstractmethod
    def learned(self, x: ArrayLike, t: ArrayLike) -> np.ndarray: ...

    @abstractmethod
    def gain(self, x: ArrayLike, t: ArrayLike) -> np.ndarray: ...

    @abstractmethod
    def residual(self, x: ArrayLike, t: ArrayLike) -> np.ndarray: ...

    @abstractmethod
    def envelope(self, x: ArrayLike, t: ArrayLike) -> np.ndarray: ...

    @abstractmethod
    def decay(self, x: ArrayLike) -> np.ndarray: ...

    @abstractmethod
    def keeps_signs(self, largest: float) -> bool: ...


# What functions take: a name, or a law.
LawLike: TypeAlias = str | Law | SpectralLaw


@dataclass(frozen=True)
class GradientDescent(SpectralLaw):
    """Full-batch gradient descent, u <- u - (eta/n) K (u - y): e_t = (1 - x)^t with x = eta lambda / n.

    Attributes
    ----------
    limit : float
        Modes with 0 <= x <= 2 are stable.
    amplification : float
        1: no perturbation grows while all modes are stable.
    """

    limit = 2.0
    amplification = 1.0
    slots = 0

    def move(self, descent: Array, memory: Sequence[Array], step: int) -> tuple[Array, list[Array]]:
        """Down the gradient."""
        return -descent, []

    def times(self, steps: ArrayLike) -> np.ndarray:
        """Whole numbers >= 0."""
        return checks.as_steps(steps)

    @FOLLOWED
    def learned(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """-expm1(t log1p(-x)) for x < 1/2, by powers with their sign beyond."""
        x, t = grid(x, t)
        slow = -np.expm1(t * np.log1p(-np.minimum(x, 0.5)))
        return np.where(x < 0.5, slow, 1 - self.residual(x[0], t[:, 0]))

    def gain(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """learned / x, and t at x = 0."""
        return per_x(self, x, t, grid(x, t)[1])

    @FOLLOWED
    def residual(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """(1 - x)^t."""
        x, t = grid(x, t)
        logarithm = np.where(x < 0.5, np.log1p(-x), np.log(abs(1 - x)))
        return np.where(t == 0, 1.0, sign_of(1 - x, t) * np.exp(t * logarithm))

    def envelope(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """|1 - x|^t, of a stable mode."""
        return abs(self.residual(x, t))

    @FOLLOWED
    def decay(self, x: ArrayLike) -> np.ndarray:
        """-log |1 - x|."""
        x = np.asarray(x, np.float64)
        return -np.where(x < 0.5, np.log1p(-x), np.log(abs(1 - x)))

    def keeps_signs(self, largest: float) -> bool:
        """I - T has diagonal entries >= 0, and off-diagonal ones of one sign: so have its powers."""
        return largest <= 1


@dataclass(frozen=True)
class GradientFlow(SpectralLaw):
    """Gradient flow, du/dt = -(eta/n) K (u - y) with time in steps: e_t = exp(-x t) with x = eta lambda / n.

    Attributes
    ----------
    limit : float
        Infinite: every mode with lambda >= 0 is stable.
    amplification : float
        1: no perturbation grows while all modes are stable.
    """

    limit = math.inf
    amplification = 1.0

    def times(self, steps: ArrayLike) -> np.ndarray:
        """Numbers >= 0, whole or not."""
        return checks.as_times(steps)

    @FOLLOWED
    def learned(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """-expm1(-x t)."""
        x, t = grid(x, t)
        return -np.expm1(-x * t)

    def gain(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """learned / x, and t at x = 0."""
        return per_x(self, x, t, grid(x, t)[1])

    @FOLLOWED
    def residual(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """exp(-x t)."""
        x, t = grid(x, t)
        return np.exp(-x * t)

    def envelope(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """exp(-x t)."""
        return self.residual(x, t)

    def decay(self, x: ArrayLike) -> np.ndarray:
        """x."""
        return np.asarray(x, np.float64)

    def keeps_signs(self, largest: float) -> bool:
        """exp(-T) has one sign pattern for every T."""
        return True


PLAIN = GradientDescent()
FLOW = GradientFlow()
_NAMED: dict[str, SpectralLaw] = {"gd": PLAIN, "flow": FLOW}


_KNOWN = "'gd', 'flow', ntkspec.HeavyBall(momentum) or ntkspec.Nesterov(momentum)"


def law_of(given: LawLike) -> SpectralLaw:
    """The law of that name ("gd" or "flow"), or a law in closed form itself, such as ``HeavyBall(0.9)``."""
    if isinstance(given, SpectralLaw):
        return given
    if not isinstance(given, str) or given not in _NAMED:
        raise ValueError(f"law={checks.shown(given)}, but {_KNOWN} is needed")
    return _NAMED[given]


def steps_of(given: LawLike) -> Law:
    """The law as what takes steps: one with ``slots`` and ``move``, which is tried on three numbers.

    Raises ValueError for gradient flow, which has no steps, TypeError for a law whose move does not fit.
    """
    law = given if takes_steps(given) else law_of(given)
    if not isinstance(law, Law):
        raise ValueError(
            f"law={checks.shown(given)} has no steps: gradient flow is the limit of small ones. Take law='gd' with a "
            f"tenth of eta and ten times the steps; ntkspec.predict_gd(..., law='flow') follows the flow of a kernel"
        )
    checks.whole_number(law.slots, f"slots of {type(law).__name__}", 0)
    if not callable(law.move):
        raise TypeError(
            f"move of {type(law).__name__} is a {type(law.move).__name__}, but a function of (descent, memory, step) "
            f"is needed"
        )
    zeros = np.zeros(3)
    moved(law, zeros, [zeros] * law.slots, 0)
    return law


def linear_steps_of(given: LawLike) -> Law:
    """:func:`steps_of`, of a law whose moves are linear combinations of what it is given; ValueError for others."""
    law, rng = steps_of(given), np.random.default_rng(0)
    turn, given_arrays = rng.standard_normal((5, 5)), [rng.standard_normal(5) for _ in range(1 + law.slots)]
    first, rest = moved(law, given_arrays[0], given_arrays[1:], 0)
    turned = [turn @ array for array in given_arrays]
    other, others = moved(law, turned[0], turned[1:], 0)
    for one, two in zip([first, *rest], [other, *others], strict=True):
        if not np.allclose(turn @ one, two, rtol=1e-8, atol=1e-8):
            raise ValueError(
                f"the moves of {type(law).__name__} are no linear combinations of gradients, so that a kernel does not "
                f"tell what it does to outputs; train the network's expansion, ntkspec.linearize(net), by "
                f"ntkspec.train_gd"
            )
    return law


def takes_steps(given: object) -> bool:
    """Whether an object is a law with ``slots`` and ``move``."""
    return not isinstance(given, str | type) and isinstance(given, Law)


def moved(law: Law, descent: Array, memory: Sequence[Array], step: int) -> tuple[Array, list[Array]]:
    """``law.move``, whose arrays are like ``descent``; TypeError where they are not.

    A user's law may change what it is given, which are copies.
    """
    if not isinstance(law, SpectralLaw):
        descent, memory = descent.copy(), [array.copy() for array in memory]
    found = law.move(descent, memory, step)
    paired = isinstance(found, tuple | list) and len(found) == 2 and isinstance(found[1], tuple | list)
    arrays = [found[0], *found[1]] if paired else []
    if len(arrays) != 1 + law.slots or not all(_is_like(array, descent) for array in arrays):
        raise TypeError(
            f"move of {type(law).__name__} has to return (move, kept): an array of numbers of the shape of descent, "
            f"and a list of slots={law.slots} such arrays"
        )
    first, *others = (array.astype(descent.dtype, copy=False) for array in arrays)
    return first, others


def _is_like(found: object, array: Array) -> bool:
    """Whether it is an array of real numbers of the same shape."""
    kind = getattr(getattr(found, "dtype", None), "kind", "")
    return getattr(found, "shape", None) == array.shape and kind in tuple("fiu")


def grid(x: ArrayLike, t: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """x as a row and t as a column, in float64."""
    return np.asarray(x, np.float64).reshape(1, -1), np.asarray(t, np.float64).reshape(-1, 1)


def per_x(law: SpectralLaw, x: ArrayLike, t: ArrayLike, at_zero: np.ndarray) -> np.ndarray:
    """learned / x, and ``at_zero`` for x = 0."""
    row, _ = grid(x, t)
    return np.where(row == 0, at_zero, law.learned(x, t) / np.where(row == 0, 1.0, row))


def sign_of(base: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The sign of base^t for whole t."""
    return np.where(t % 2 == 1, np.sign(base), 1.0)
