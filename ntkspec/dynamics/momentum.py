r"""Gradient descent with momentum beta, of the heavy ball and of Nesterov: the modes of both in one closed form.

A mode with x = eta lambda / n has the roots r of r² - M r + P, with (1 - r_1) (1 - r_2) = x. With the sums
S_t = (r_1^t - r_2^t) / (r_1 - r_2), its part of the start residual after t steps is e_t = S_{t+1} - beta S_t. For the
heavy ball M = 1 + beta - x and P = beta, for Nesterov M = (1 + beta) (1 - x) and P = beta (1 - x).
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ntkspec import checks
from ntkspec.dynamics.laws import FOLLOWED, PLAIN, SpectralLaw, grid, per_x, sign_of
from ntkspec.engines.arrays import Array, ArrayLike

# Terms of the series of early times: the first that is left out is below 1e-19 of the first.
EARLY_TERMS = 20


@dataclass(frozen=True)
class Momentum(SpectralLaw):
    """What the two laws share; ``momentum`` is beta."""

    momentum: float

    slots = 1

    def __post_init__(self):
        if not checks.is_number(self.momentum) or not 0 <= self.momentum < 1:
            raise ValueError(
                f"momentum={checks.shown(self.momentum)}, but a number from 0 to below 1 is needed, such as 0.9"
            )

    @property
    def amplification(self) -> float:
        """1 / (1 - momentum): responses to one step are largest, and all of one sign, at x = 0."""
        return 1.0 / (1 - self.momentum)

    def times(self, steps: ArrayLike) -> np.ndarray:
        """Whole numbers >= 0."""
        return checks.as_steps(steps)

    @FOLLOWED
    def learned(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        r"""For real roots >= 0: (1 - r_1^t) - (r_2 - momentum) S_t.

        At early times, where that cancels, a power series in t; for other roots 1 - e_t.
        """
        x, t = grid(x, t)
        learned = -np.expm1(t * np.log1p(-self._rest(x))) - self._smaller(x) * self._sums(x, t)
        late = np.where(self._positive(x), learned, 1 - self.residual(x[0], t[:, 0]))
        _, square, spread = self._roots(x)
        farther = np.where(square < 0, np.sqrt(abs(x)), (abs(self._twice_from_one(x)) + spread) / 2)
        return np.where((t + 1) * farther <= 1, self._early(x, t), late)

    def gain(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """learned / x; at x = 0 its limit, sum_{s <= t} S_s + lead S_t with S_s = (1 - momentum^s)/(1 - momentum)."""
        m, (_, times) = self.momentum, grid(x, t)
        sums = -np.expm1(times * math.log(m)) / (1 - m) if m else np.minimum(times, 1.0)
        return per_x(self, x, t, (times - m * sums) / (1 - m) + self._lead * sums)

    @FOLLOWED
    def residual(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        r"""S_{t+1} - momentum S_t; for real roots >= 0 r_1^t + (r_2 - momentum) S_t, for complex ones waves."""
        x, t = grid(x, t)
        sums, (_, square, _) = self._sums(x, t), self._roots(x)
        slow = np.exp(t * np.log1p(-self._rest(x))) + self._smaller(x) * sums
        real = np.where(self._positive(x), slow, self._sums(x, t + 1) - self.momentum * sums)
        return np.where(square < 0, self._turning(x, t), real)

    @FOLLOWED
    def envelope(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Of complex roots the amplitude of the oscillation, from two steps; of roots of opposite signs the sum of both
        parts in the next step, if that is more; otherwise abs(e_t)."""
        x, t = grid(x, t)
        middle, square, spread = self._roots(x)
        now, following = (self.residual(x[0], t[:, 0] + later) for later in (0, 1))
        amplitude = (following**2 - middle * now * following + self._product(x) * now**2) / (-square / 4)
        one, two = (middle + spread) / 2, (middle - spread) / 2
        parts = abs((following - two * now) * one) + abs((one * now - following) * two)
        apart = np.where(self._product(x) < 0, np.maximum(parts / spread, abs(now)), abs(now))
        return np.where(square < 0, np.sqrt(np.maximum(amplitude, now**2)), apart)

    @FOLLOWED
    def decay(self, x: ArrayLike) -> np.ndarray:
        """-log of the larger of the moduli of the two roots."""
        x = np.asarray(x, np.float64)
        middle, square, spread = self._roots(x)
        larger = np.where(square < 0, np.sqrt(self._product(x)), (abs(middle) + spread) / 2)
        return -np.where(self._positive(x), np.log1p(-self._rest(x)), np.log(larger))

    def keeps_signs(self, largest: float) -> bool:
        """Never known: two steps enter each."""
        return False

    @property
    @abstractmethod
    def _lead(self) -> float:
        """gain = sum_{s <= t} S_s + lead S_t."""

    @abstractmethod
    def _roots(self, x):
        """M, the square of the distance of the roots, without cancellation, and the distance where they are real."""

    @abstractmethod
    def _product(self, x):
        """P."""

    @abstractmethod
    def _log_product(self, x):
        """log P where it is positive, with the digits of a small x."""

    @abstractmethod
    def _twice_from_one(self, x):
        """2 - M, the sum of 1 - r_1 and 1 - r_2, without cancellation."""

    @abstractmethod
    def _half(self, x):
        """M / 2 - momentum."""

    @abstractmethod
    def _smaller(self, x):
        """r_2 - momentum where the roots are real and above 0, without cancellation."""

    def _positive(self, x):
        """Where the roots are real and above 0."""
        middle, square, _ = self._roots(x)
        return (square >= 0) & (middle > 0)

    def _rest(self, x):
        """1 - r_1 = x / (1 - r_2) where the roots are real and above 0, without cancellation; 1/2 elsewhere."""
        _, _, spread = self._roots(x)
        return np.where(self._positive(x), x / ((self._twice_from_one(x) + spread) / 2), 0.5)

    def _sums(self, x, t):
        """S_t of real roots, by the larger root's power."""
        middle, _, spread = self._roots(x)
        larger = (abs(middle) + spread) / 2
        ratio = np.where(larger > 0, spread / np.where(larger > 0, larger, 1.0), 0.0)
        count = PLAIN.gain(ratio.ravel(), t.ravel())
        logarithm = np.where(self._positive(x), np.log1p(-self._rest(x)), np.log(larger))
        power = np.where(t == 1, 1.0, sign_of(middle, t - 1) * np.exp((t - 1) * logarithm))
        return np.where(t == 0, 0.0, power * count)

    def _turning(self, x, t):
        r"""e_t of complex roots sqrt(P) exp(+- i a): P^{t/2} (cos(t a) + (M/2 - momentum)/sqrt(P) sin(t a)/sin(a)).

        S_{t+1} - momentum S_t with what cancels between the two taken out. Where the roots lie on the left, a is the
        angle of -r, and every second sign is turned.
        """
        middle, square, _ = self._roots(x)
        size = np.where(square < 0, self._log_product(x) / 2, 0.0)
        angle, side = np.arctan2(np.sqrt(np.maximum(-square, 0)), abs(middle)), np.where(middle < 0, -1.0, 1.0)
        waves = np.cos(t * angle) + side * self._half(x) / np.exp(size) * np.sin(t * angle) / np.sin(angle)
        return sign_of(side, t) * np.exp(t * size) * waves

    def _early(self, x, t):
        r"""x (sum_{s <= t} S_s + lead S_t), for (t + 1) |1 - r| <= 1, where nothing cancels in the series.

        S_t = sum_j (-1)^j C(t, j + 1) h_j and sum_{s <= t} S_s = sum_j (-1)^j C(t + 1, j + 2) h_j, with h_j the
        complete symmetric polynomial of 1 - r_1 and 1 - r_2: h_j = (2 - M) h_{j-1} - x h_{j-2}.
        """
        power, before, last, all_before, total = 1.0, 0.0, t, t * (t + 1) / 2, 0.0
        for j in range(EARLY_TERMS):
            total = total + (all_before + self._lead * last) * power
            last, all_before = -last * (t - 1 - j) / (j + 2), -all_before * (t - 1 - j) / (j + 3)
            power, before = self._twice_from_one(x) * power - x * before, power
        return x * total


@dataclass(frozen=True)
class HeavyBall(Momentum):
    r"""Gradient descent with heavy-ball momentum, a ``law`` for :func:`ntkspec.predict_gd` and its like.

    .. math:: w_{t+1} = w_t - \eta \nabla L(w_t) + \beta (w_t - w_{t-1}), \qquad w_{-1} = w_0

    The outputs of a kernel model follow u_{t+1} = u_t - (eta/n) K (u_t - y) + beta (u_t - u_{t-1}).

    Parameters
    ----------
    momentum : float
        beta, from 0 to below 1; 0 is gradient descent.

    Raises
    ------
    ValueError
        Where the momentum is not such a number.

    Notes
    -----
    Each mode with x = eta lambda / n has the roots r of r² - (1 + beta - x) r + beta. With the sums
    S_t = (r_1^t - r_2^t) / (r_1 - r_2), its part of the start residual after t steps is e_t = S_{t+1} - beta S_t. It is
    stable for 0 <= x <= 2 (1 + beta).

    References
    ----------
    B. T. Polyak, Some methods of speeding up the convergence of iteration methods, USSR Comput. Math. Math. Phys. 4,
    1964.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> plain, heavy = (ns.predict_gd(np.eye(2), [1.0, 1.0], eta=0.2, steps=[1, 2], law=law)
    ...                 for law in ("gd", ns.HeavyBall(0.9)))
    >>> plain.train[:, 0].round(4).tolist(), heavy.train[:, 0].round(4).tolist()
    ([0.1, 0.19], [0.1, 0.28])
    """

    def move(self, descent: Array, memory: Sequence[Array], step: int) -> tuple[Array, list[Array]]:
        """Down the gradient, and the part ``momentum`` of the last move again."""
        move = float(self.momentum) * memory[0] - descent
        return move, [move]

    @property
    def limit(self) -> float:
        """2 (1 + momentum)."""
        return 2.0 * (1 + self.momentum)

    _lead = 0.0

    def _roots(self, x):
        m, root = self.momentum, math.sqrt(self.momentum)
        square = (((1 - m) / (1 + root)) ** 2 - x) * ((1 + root) ** 2 - x)
        return 1 + m - x, square, np.sqrt(np.maximum(square, 0))

    def _product(self, x):
        return np.full_like(x, self.momentum)

    def _log_product(self, x):
        return np.log(self._product(x))

    def _twice_from_one(self, x):
        return 1 - self.momentum + x

    def _half(self, x):
        return (1 - self.momentum - x) / 2

    def _smaller(self, x):
        rest = self._rest(x)
        return self.momentum * rest / (1 - rest)


@dataclass(frozen=True)
class Nesterov(Momentum):
    r"""Gradient descent with Nesterov's momentum, a ``law`` for :func:`ntkspec.predict_gd` and its like.

    .. math:: z_{t+1} = w_t - \eta \nabla L(w_t), \qquad w_{t+1} = z_{t+1} + \beta (z_{t+1} - z_t), \qquad z_0 = w_0

    The weights w are those at which gradients are taken: their outputs are predicted and recorded, as in PyTorch.

    Parameters
    ----------
    momentum : float
        beta, from 0 to below 1; 0 is gradient descent.

    Raises
    ------
    ValueError
        Where the momentum is not such a number.

    Notes
    -----
    Each mode with x = eta lambda / n has the roots r of r² - (1 + beta) (1 - x) r + beta (1 - x). With the sums
    S_t = (r_1^t - r_2^t) / (r_1 - r_2), its part of the start residual after t steps is e_t = S_{t+1} - beta S_t. It is
    stable for 0 <= x <= 2 (1 + beta) / (1 + 2 beta).

    References
    ----------
    Y. Nesterov, A method of solving a convex programming problem with convergence rate O(1/k²), Soviet Math. Dokl. 27,
    1983.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> plain, ahead = (ns.predict_gd(np.eye(2), [1.0, 1.0], eta=0.2, steps=[1, 2], law=law)
    ...                 for law in ("gd", ns.Nesterov(0.9)))
    >>> plain.train[:, 0].round(4).tolist(), ahead.train[:, 0].round(4).tolist()
    ([0.1, 0.19], [0.19, 0.4249])
    """

    def move(self, descent: Array, memory: Sequence[Array], step: int) -> tuple[Array, list[Array]]:
        """Down the gradient, and the part ``momentum`` of the way from z to the next z."""
        way = float(self.momentum) * memory[0] - descent
        return float(self.momentum) * way - descent, [way]

    @property
    def limit(self) -> float:
        """2 (1 + momentum) / (1 + 2 momentum)."""
        return 2.0 * (1 + self.momentum) / (1 + 2 * self.momentum)

    @property
    def _lead(self) -> float:
        return self.momentum

    def _roots(self, x):
        m = self.momentum
        square = (1 - x) * ((1 - m) ** 2 - (1 + m) ** 2 * x)
        return (1 + m) * (1 - x), square, np.sqrt(np.maximum(square, 0))

    def _product(self, x):
        return self.momentum * (1 - x)

    def _log_product(self, x):
        return np.log(self.momentum) + np.log1p(-x)

    def _twice_from_one(self, x):
        return 1 - self.momentum + (1 + self.momentum) * x

    def _half(self, x):
        return (1 - self.momentum - (1 + self.momentum) * x) / 2

    def _smaller(self, x):
        """m (1 - x - r_1) / r_1, from (1 - x - r_1) (1 - x - r_2) = m x (1 - x)."""
        m, (_, _, spread) = self.momentum, self._roots(x)
        return m * 2 * m * x * (1 - x) / ((1 - m) * (1 - x) + spread) / (1 - self._rest(x))
