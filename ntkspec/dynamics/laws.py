r"""How one eigenmode of a kernel is learned over time: gradient descent, its continuous limit, and the heavy ball.

A mode with eigenvalue lambda and x = eta lambda / n keeps the part e_t(x) of its start residual after t steps. A law
gives, for arrays of times t (rows) and of x (columns),

    residual(x, t) = e_t(x),     learned(x, t) = 1 - e_t(x),     gain(x, t) = learned(x, t) / x  (its limit at x = 0)

at any t, without overflow for stable x and without cancellation for small x t, also at the double roots of the heavy
ball (where its roots turn fast, rounding of the angle grows as t momentum^(t/2): to 2e-10 at 0.999); ``envelope``,
what |e_s| stays below for all s >= t, and ``decay``, -log |e_{t+1} / e_t| that each mode ends with, below 0 where it
grows. ``limit``: modes are stable for 0 <= x <= limit.
``amplification``: no perturbation of one step ever grows beyond this factor while they are. ``keeps_signs(largest)``:
e_t of a tridiagonal matrix with diagonal entries up to ``largest`` has entries of one sign at all times.
"""

import math
from dataclasses import dataclass

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import ArrayLike

# Terms of the series of early times: the first that is left out is below 1e-19 of the first.
EARLY_TERMS = 20
# Past the stable range modes grow to infinity: that is followed and reported.
_FOLLOWED = np.errstate(all="ignore")


@dataclass(frozen=True)
class GradientDescent:
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

    def times(self, steps: ArrayLike) -> np.ndarray:
        """Whole numbers >= 0."""
        return checks.as_steps(steps)

    @_FOLLOWED
    def learned(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """-expm1(t log1p(-x)) for x < 1/2, by powers with their sign beyond."""
        x, t = _grid(x, t)
        slow = -np.expm1(t * np.log1p(-np.minimum(x, 0.5)))
        return np.where(x < 0.5, slow, 1 - self.residual(x[0], t[:, 0]))

    def gain(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """learned / x, and t at x = 0."""
        return _per_x(self, x, t, _grid(x, t)[1])

    @_FOLLOWED
    def residual(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """(1 - x)^t."""
        x, t = _grid(x, t)
        return np.where(t == 0, 1.0, _sign(1 - x, t) * np.exp(t * np.where(x < 0.5, np.log1p(-x), np.log(abs(1 - x)))))

    def envelope(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """|1 - x|^t, of a stable mode."""
        return abs(self.residual(x, t))

    @_FOLLOWED
    def decay(self, x: ArrayLike) -> np.ndarray:
        """-log |1 - x|."""
        x = np.asarray(x, np.float64)
        return -np.where(x < 0.5, np.log1p(-x), np.log(abs(1 - x)))

    def keeps_signs(self, largest: float) -> bool:
        """I - T has diagonal entries >= 0, and off-diagonal ones of one sign: so have its powers."""
        return largest <= 1


@dataclass(frozen=True)
class GradientFlow:
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

    @_FOLLOWED
    def learned(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """-expm1(-x t)."""
        x, t = _grid(x, t)
        return -np.expm1(-x * t)

    def gain(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """learned / x, and t at x = 0."""
        return _per_x(self, x, t, _grid(x, t)[1])

    @_FOLLOWED
    def residual(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """exp(-x t)."""
        x, t = _grid(x, t)
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


@dataclass(frozen=True)
class HeavyBall:
    r"""Gradient descent with heavy-ball momentum, a ``law`` for :func:`ntkspec.predict_gd` and its like.

    .. math:: u_{t+1} = u_t - \frac{\eta}{n} K (u_t - y) + \beta (u_t - u_{t-1}), \qquad u_{-1} = u_0

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

    momentum: float

    def __post_init__(self):
        if not isinstance(self.momentum, int | float | np.number) or not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum!r}, but a number from 0 to below 1 is needed, such as 0.9")

    @property
    def limit(self) -> float:
        """2 (1 + momentum)."""
        return 2.0 * (1 + self.momentum)

    @property
    def amplification(self) -> float:
        """1 / (1 - momentum): S_t is a scaled Chebyshev polynomial, largest at the ends of the stable range."""
        return 1.0 / (1 - self.momentum)

    def times(self, steps: ArrayLike) -> np.ndarray:
        """Whole numbers >= 0."""
        return checks.as_steps(steps)

    @_FOLLOWED
    def learned(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        r"""For real roots >= 0: (1 - r_1^t) - momentum ((1 - r_1)/r_1) S_t, with 1 - r_1 = x / (1 - r_2).

        At early times, where that cancels, a power series in t; for other roots 1 - e_t.
        """
        x, t = _grid(x, t)
        rest = self._rest(x)
        learned = -np.expm1(t * np.log1p(-rest)) - self.momentum * rest / (1 - rest) * self._sums(x, t)
        late = np.where(self._positive(x), learned, 1 - self.residual(x[0], t[:, 0]))
        _, square, spread = self._roots(x)
        farther = np.where(square < 0, np.sqrt(abs(x)), (abs(1 - self.momentum + x) + spread) / 2)
        return np.where((t + 1) * farther <= 1, self._early(x, t), late)

    def gain(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """learned / x; at x = 0 its limit, (t - momentum (1 - momentum^t)/(1 - momentum)) / (1 - momentum)."""
        m, (_, times) = self.momentum, _grid(x, t)
        sums = -np.expm1(times * math.log(m)) / (1 - m) if m else np.minimum(times, 1.0)
        return _per_x(self, x, t, (times - m * sums) / (1 - m))

    @_FOLLOWED
    def residual(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        r"""S_{t+1} - momentum S_t; for real roots >= 0 r_1^t + momentum ((1 - r_1)/r_1) S_t, for complex ones waves."""
        x, t = _grid(x, t)
        rest, sums, (_, square, _) = self._rest(x), self._sums(x, t), self._roots(x)
        slow = np.exp(t * np.log1p(-rest)) + self.momentum * rest / (1 - rest) * sums
        real = np.where(self._positive(x), slow, self._sums(x, t + 1) - self.momentum * sums)
        return np.where(square < 0, self._turning(x, t), real)

    @_FOLLOWED
    def envelope(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Of complex roots the amplitude of the oscillation, from two steps; otherwise abs(e_t)."""
        x, t = _grid(x, t)
        middle, square, _ = self._roots(x)
        now, following = (self.residual(x[0], t[:, 0] + later) for later in (0, 1))
        amplitude = (following**2 - middle * now * following + self.momentum * now**2) / (-square / 4)
        return np.where(square < 0, np.sqrt(np.maximum(amplitude, now**2)), abs(now))

    @_FOLLOWED
    def decay(self, x: ArrayLike) -> np.ndarray:
        """-log of the larger of the moduli of the two roots."""
        x = np.asarray(x, np.float64)
        middle, square, spread = self._roots(x)
        larger = np.where(square < 0, math.sqrt(self.momentum), (abs(middle) + spread) / 2)
        return -np.where(self._positive(x), np.log1p(-self._rest(x)), np.log(larger))

    def keeps_signs(self, largest: float) -> bool:
        """Never known: two steps enter each."""
        return False

    def _roots(self, x):
        """Twice the middle of the roots, the square of their distance, and the distance where they are real."""
        m, root = self.momentum, math.sqrt(self.momentum)
        square = (((1 - m) / (1 + root)) ** 2 - x) * ((1 + root) ** 2 - x)
        return 1 + m - x, square, np.sqrt(np.maximum(square, 0))

    def _positive(self, x):
        """Where the roots are real and above 0."""
        middle, square, _ = self._roots(x)
        return (square >= 0) & (middle > 0)

    def _rest(self, x):
        """1 - r_1 where the roots are real and above 0, without cancellation; 1/2 elsewhere."""
        _, _, spread = self._roots(x)
        return np.where(self._positive(x), x / ((1 - self.momentum + x + spread) / 2), 0.5)

    def _sums(self, x, t):
        """S_t of real roots, by the larger root's power."""
        middle, _, spread = self._roots(x)
        larger = (abs(middle) + spread) / 2
        ratio = np.where(larger > 0, spread / np.where(larger > 0, larger, 1.0), 0.0)
        count = _PLAIN.gain(ratio.ravel(), t.ravel())
        logarithm = np.where(self._positive(x), np.log1p(-self._rest(x)), np.log(larger))
        power = np.where(t == 1, 1.0, _sign(middle, t - 1) * np.exp((t - 1) * logarithm))
        return np.where(t == 0, 0.0, power * count)

    def _turning(self, x, t):
        r"""e_t of complex roots sqrt(m) exp(+- i a): m^{t/2} (cos(t a) + (1 - m - x)/(2 sqrt(m)) sin(t a)/sin(a)).

        S_{t+1} - m S_t with what cancels between the two taken out. Where the roots lie on the left, a is the angle of
        -r, and every second sign is turned.
        """
        m, (middle, square, _) = self.momentum, self._roots(x)
        if not m:
            return np.zeros(np.broadcast_shapes(x.shape, t.shape))
        angle, side = np.arctan2(np.sqrt(np.maximum(-square, 0)), abs(middle)), np.where(middle < 0, -1.0, 1.0)
        share = side * (1 - m - x) / (2 * math.sqrt(m))
        waves = np.cos(t * angle) + share * np.sin(t * angle) / np.sin(angle)
        return _sign(side, t) * np.exp(t / 2 * math.log(m)) * waves

    def _early(self, x, t):
        r"""x sum_{s <= t} S_s = x sum_j (-1)^j C(t + 1, j + 2) h_j, for (t + 1) |1 - r| <= 1, where nothing cancels.

        h_j is the complete symmetric polynomial of 1 - r_1 and 1 - r_2: h_j = (1 - m + x) h_{j-1} - x h_{j-2}.
        """
        power, before, weight, total = 1.0, 0.0, t * (t + 1) / 2, 0.0
        for j in range(EARLY_TERMS):
            total = total + weight * power
            weight = -weight * (t - 1 - j) / (j + 3)
            power, before = (1 - self.momentum + x) * power - x * before, power
        return x * total


Law = GradientDescent | GradientFlow | HeavyBall
_PLAIN = GradientDescent()
_NAMED: dict[str, Law] = {"gd": _PLAIN, "flow": GradientFlow()}


def law_of(given: str | Law) -> Law:
    """The law of that name ("gd" or "flow"), or a law itself, such as ``HeavyBall(0.9)``."""
    if isinstance(given, Law):
        return given
    if not isinstance(given, str) or given not in _NAMED:
        raise ValueError(f"law={given!r}, but 'gd', 'flow' or ntkspec.HeavyBall(momentum) is needed")
    return _NAMED[given]


def _grid(x, t):
    """x as a row and t as a column, in float64."""
    return np.asarray(x, np.float64).reshape(1, -1), np.asarray(t, np.float64).reshape(-1, 1)


def _per_x(law, x, t, at_zero):
    """learned / x, and ``at_zero`` for x = 0."""
    row, _ = _grid(x, t)
    return np.where(row == 0, at_zero, law.learned(x, t) / np.where(row == 0, 1.0, row))


def _sign(base, t):
    """The sign of base^t for whole t."""
    return np.where(t % 2 == 1, np.sign(base), 1.0)
