r"""Closed forms of K = E[phi(u) phi(v)] and K' = E[phi'(u) phi'(v)] for Gaussian u, v.

u and v have mean 0, variances a and b and covariance c. Each function takes (xp, a, b, c, gap), gap = ab - c² >= 0, and
returns the two moments. They take ``gap`` because ab - c² cancels near rho = +-1, and are arranged so that nothing else
does: the relative error is a few ulp at every rho and norm, except where a moment itself passes through zero.
K' = dK/dc (Price's theorem).

The next layer of a deep network takes K for its c, and K(a, a, a) K(b, b, b) - K² for its gap: :func:`next_gap`, or
where K' has kinks at rho = +-1 and the gap must be right relative to itself, the product of
:meth:`PiecewiseLinear.with_distances`.
"""

import math
from collections.abc import Callable
from typing import Any

from ntkspec.engines.arrays import Array

# Measured against 150 digits: what a closed form loses in float64, relative to sqrt(K(x, x) K(x', x')).
MEASURED = 2e-14
# What float64 makes of the angle between two inputs, in the unit in which an activation of scale 1 notices it.
ANGLE = 1e-15
TWO_OVER_PI, TWO_PI = 2 / math.pi, 2 * math.pi
# Below this tangent, t - atan(t) is summed as a series: direct subtraction would cancel.
_SERIES_BELOW = 0.25
_SERIES = tuple((-1) ** k / (2 * k + 3) for k in range(13))


class PiecewiseLinear:
    """phi(z) = z for z >= 0 and ``slope`` z below: ReLU (0), leaky ReLU, the absolute value (-1), identity (1).

    With psi = acos|rho| in [0, pi/2]: the arc-cosine kernels of degree 1 and 0, written from the nearer end.
    """

    def __init__(self, slope: float):
        self.equal, self.opposite, self.bend = (1 + slope**2) / 2, slope, (1 - slope) ** 2 / TWO_PI

    def __call__(self, xp: Any, a: Array, b: Array, c: Array, gap: Array) -> tuple[Array, Array]:
        value, slope, *_ = self._moments(xp, c, gap)
        return value, slope

    def with_distances(self, xp: Any, a: Array, b: Array, c: Array, gap: Array) -> tuple[Array, Array, Array, Array]:
        """K, K', E P - K and E P + K for P = sqrt(ab), E = K(1, 1, 1); E P = sqrt(E phi(u)² E phi(v)²).

        From e = P - |c| = gap / (P + |c|) and the difference of E and ``opposite``, which is a square: both distances
        are right relative to themselves, also where they vanish at rho = +-1.
        """
        value, slope, ahead, excess = self._moments(xp, c, gap)
        product = xp.sqrt(c * c + gap)
        less = gap / xp.maximum(product + abs(c), xp.finfo(c.dtype).tiny)
        step = xp.where(ahead, self.equal, -self.opposite) * less - excess
        lost = xp.where(ahead, 0, (1 + self.opposite) ** 2 / 2) * product + step
        return value, slope, lost, xp.where(ahead, 2 * self.equal, (1 - self.opposite) ** 2 / 2) * product - step

    def _moments(self, xp, c, gap):
        root, size = xp.sqrt(gap), abs(c)
        psi = xp.arctan2(root, size)
        ahead = c >= 0
        turned = self.bend * psi
        excess = self.bend * _beyond_arc(xp, root, size, psi)
        value = xp.where(ahead, self.equal, self.opposite) * c + excess
        return value, xp.where(ahead, self.equal - turned, self.opposite + turned), ahead, excess


def next_gap(xp: Any, value: Array, one: Array, other: Array) -> Array:
    """K(a, a, a) K(b, b, b) - K² for those second moments (r, 1) and (s,): right to an ulp of their product."""
    size, value = xp.sqrt(one) * xp.sqrt(other), abs(value)
    return xp.maximum((size - value) * (size + value), 0)


def erf(xp: Any, a: Array, b: Array, c: Array, gap: Array) -> tuple[Array, Array]:
    """phi = erf: K = (2/pi) asin(2c / sqrt((1 + 2a)(1 + 2b)))."""
    root = xp.sqrt(1 + 2 * (a + b) + 4 * gap)
    return TWO_OVER_PI * xp.arctan2(2 * c, root), 2 * TWO_OVER_PI / root


def gelu(xp: Any, a: Array, b: Array, c: Array, gap: Array) -> tuple[Array, Array]:
    """phi(z) = z Phi(z). For c < 0 and a small angle the form whose leading terms are cancelled on paper is taken."""
    product, total = (1 + a) * (1 + b), 1 + (a + b)
    square = total + gap
    root, size, ahead = xp.sqrt(square), abs(c), c >= 0
    psi = xp.arctan2(root, size)
    bump = (a * b * square + c * c) / (product * root)
    direct = c * xp.where(ahead, math.pi - psi, psi) + bump
    rest = (total * total - a * b + (1 + total) * gap) / (product * root)
    value = xp.where(ahead | (root > size), direct, _beyond_arc(xp, root, size, psi) - rest)
    slope = c * ((2 + total) * square + c * c) / (product * square * root)
    return value / TWO_PI, (xp.where(ahead, math.pi - psi, psi) + slope) / TWO_PI


def sin(xp: Any, a: Array, b: Array, c: Array, gap: Array) -> tuple[Array, Array]:
    """phi = sin: K = exp(-(a + b)/2) sinh c, K' with cosh c."""
    odd, even = _exponentials(xp, a, b, c, gap)
    return odd, even


def cos(xp: Any, a: Array, b: Array, c: Array, gap: Array) -> tuple[Array, Array]:
    """phi = cos: K = exp(-(a + b)/2) cosh c, K' with sinh c."""
    odd, even = _exponentials(xp, a, b, c, gap)
    return even, odd


def _exponentials(xp, a, b, c, gap):
    """exp(-(a + b)/2) times sinh c and cosh c, for any size of c: (a + b)/2 - |c| is a sum of what is positive."""
    size, roots = abs(c), xp.sqrt(a) + xp.sqrt(b)
    tiny = xp.finfo(c.dtype).tiny
    left = ((a - b) / xp.maximum(roots, tiny)) ** 2 / 2 + gap / xp.maximum(xp.sqrt(a * b) + size, tiny)
    half = xp.exp(-left) / 2
    falling = xp.expm1(-2 * size)
    return xp.copysign(-falling * half, c), (2 + falling) * half


def _beyond_arc(xp, root, size, psi):
    """root - size psi for psi = atan(root / size), in full relative accuracy."""
    direct = root - size * psi
    flat = root < _SERIES_BELOW * size
    if not flat.any():
        return direct
    direct, root = xp.asarray(direct), xp.asarray(root)[flat]
    t = root / xp.asarray(size)[flat]
    square, total = t * t, _SERIES[-1]
    for coefficient in _SERIES[-2::-1]:
        total = total * square + coefficient
    direct[flat] = root * square * total
    return direct


def error_of(dual: Callable[..., Any], largest: float) -> float:
    """The relative error of a closed form for variances a, b up to ``largest``.

    Inputs at a distance of 1 have the angle 1/sqrt(a), which rounding hides where a is large; K of functions that grow
    has no such scale.
    """
    return MEASURED + (ANGLE * math.sqrt(largest) if dual in (erf, sin, cos) else 0.0)
