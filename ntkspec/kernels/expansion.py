r"""The Taylor expansion of the NTK of infinite width around orthogonal inputs of norm sqrt d: the linear model.

h(s, s', c) of s = ‖x‖/sqrt d and c = <x, x'>/d is expanded around (1, 1, 0) to the second order. Every level of
:func:`ntkspec.expected_ntk` is carried as such a polynomial in t = s - 1, t' = s' - 1 and c: an array (3, 3, 3) of
coefficients.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.special import poch

from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.series import scaled_nodes

# Powers of (t, t', c) to the second order.
POWERS = [powers for powers in itertools.product(range(3), repeat=3) if sum(powers) <= 2]
# How many Hermite terms to choose from, and what they may leave out, relative to E phi².
TERMS, REMAINDER = (64, 256, 1024), 1e-16
# Two rules of quadrature, whose difference is the error of the result: nodes of a panel, and a shift of all panels.
RULES = (32, 0.0), (40, 0.37)
# Rounding of closed forms, and of the recursion.
ROUNDING = 4e-16


@dataclass(frozen=True)
class Expansion:
    r"""The linear model of a network of infinite width: its NTK to the second order.

    .. math:: h \approx \mathrm{data}\, c + \mathrm{square}\, c^2 + \sum_k p_k(s - 1)\, p_k(s' - 1)

    norms : (k, 3), coefficients of the polynomials p_k, from the constant one on. equal : h(1, 1, 1), the diagonal.
    error : a bound on the absolute error of each Taylor coefficient.
    """

    data: float
    square: float
    norms: np.ndarray
    equal: float
    error: float

    @property
    def proportional(self) -> bool:
        """Whether the linear kernel is a multiple of X Xᵀ alone, as for odd activations."""
        return not self.norms.size and not self.square

    def identity(self, trace_ratio: float, d: int) -> float:
        """gamma of Theta ~ Theta^lin + gamma I for inputs of norm sqrt d; it does not grow with n.

        trace_ratio : Tr[Sigma²]/d, which gives c² of independent inputs the mean trace_ratio/d.
        """
        return self.equal - self.data - self.square * trace_ratio / d - float(np.square(self.norms[:, 0]).sum())


def expand(act: Activation, weights: Sequence[float]) -> Expansion:
    r"""The expansion of w_0 Theta_0 + ... + w_L Theta_L, for ``weights`` of the L + 1 weight matrices, input first.

    .. math:: S_0 = c, \quad T_0 = w_0 c, \quad S_l = E[\phi(u) \phi(u')], \quad
              T_l = w_l S_l + E[\phi'(u) \phi'(u')] T_{l-1}, \quad h = T_L

    One hidden layer has the features of equations (5), (9) and (11). Piecewise-linear activations are closed forms, h
    being s s' H(rho). For all others derivatives of K = E[phi(u) phi(u')] are Hermite series (:class:`_Moments`) with
    a remainder below 1e-16, and quadrature is compared with another rule. Cost: milliseconds a level.
    Raises ValueError where orthogonal inputs become almost parallel in a deeper layer.
    """
    if len(weights) == 2:
        return _one_layer(act, *weights)
    if act.slopes is not None or act.name == "identity":
        taylor, equal = _homogeneous(act.slopes[0] if act.slopes else 1.0, weights)
        return _expansion(taylor, equal, ROUNDING * len(weights))
    found = [_recursion(act, weights, rule) for rule in RULES]
    (taylor, equal), (other, other_equal) = found
    error = float(max(np.abs(taylor - other).max(), abs(equal - other_equal)))
    return _expansion(taylor, equal, error + ROUNDING * len(weights))


def _one_layer(act: Activation, first: float, second: float) -> Expansion:
    constants = act.constants
    thetas = np.array([[constants.vartheta0, constants.vartheta1, constants.vartheta2]])
    value, slope = _second_moments(act, 1.0, RULES[0])[:2]
    square = (first + second / 2) * constants.vartheta1**2
    return Expansion(
        data=(first + second) * constants.zeta**2,
        square=square if square > constants.error else 0.0,
        norms=math.sqrt(second) * thetas if second and np.abs(thetas).max() > constants.error else np.empty((0, 3)),
        equal=second * value + first * slope,
        error=constants.error,
    )


def _expansion(taylor, equal: float, error: float) -> Expansion:
    """Features with the Taylor coefficients of h(s, s', 0) to the second order.

    It is a positive semidefinite kernel of the norms: h h_tt' >= h_t², which is equal for one hidden layer and for
    homogeneous activations, and leaves a multiple of t t' otherwise. What is below its own error counts as zero.
    """
    value, norm, second, mixed = taylor[0, 0, 0], taylor[1, 0, 0], taylor[2, 0, 0], taylor[1, 1, 0]
    norms = []
    if value > error:
        norms.append(np.array([value, norm, second]) / math.sqrt(value))
        mixed -= norm**2 / value
        error *= 1 + abs(norm) / value
    if mixed > 4 * error:
        norms.append(np.array([0.0, math.sqrt(mixed), 0.0]))
    data, square = float(taylor[0, 0, 1]), float(taylor[0, 0, 2])
    return Expansion(data, square if square > error else 0.0, np.reshape(norms, (-1, 3)), equal, float(error))


# ------------------------------------------------------------------------------------------------ truncated polynomials
def _times(p, q):
    """The product of two polynomials, without what is beyond the second order."""
    product = np.zeros((3, 3, 3))
    for i, j, k in POWERS:
        for a, b, c in POWERS:
            if i + j + k + a + b + c <= 2:
                product[i + a, j + b, k + c] += p[i, j, k] * q[a, b, c]
    return product


def _polynomial(coefficients, axis: int):
    """The polynomial in one of the variables with those coefficients."""
    found = np.zeros((3, 3, 3))
    found[tuple(np.arange(3) if k == axis else 0 for k in range(3))] = coefficients
    return found


def _composed(derivative, arguments):
    """F(A, B, C) for polynomials A, B, C, where derivative(i, j, l) are those of F at their constants."""
    one, moved = _polynomial([1.0, 0.0, 0.0], 0), []
    for argument in arguments:
        moved.append(argument.copy())
        moved[-1][0, 0, 0] = 0.0
    total = np.zeros((3, 3, 3))
    for powers in POWERS:
        factors = [part for part, power in zip(moved, powers, strict=True) for _ in range(power)]
        total += derivative(*powers) / math.prod(map(math.factorial, powers)) * reduce(_times, factors, one)
    return total


# ----------------------------------------------------------------------------------------------------------- the levels
def _recursion(act: Activation, weights: Sequence[float], rule):
    """(T_L as a polynomial, T_L(1, 1, 1))."""
    variance = np.array([1.0, 2.0, 1.0])  # (1 + t)², of the inputs
    covariance = _polynomial([0.0, 1.0, 0.0], 2)
    tangent, equal = weights[0] * covariance, weights[0]
    for weight in weights[1:]:
        moments = _Moments(act, variance[0], covariance[0, 0, 0], rule)
        arguments = _polynomial(variance, 0), _polynomial(variance, 1), covariance
        slope = _composed(lambda i, j, l, of=moments: of.derivative(i, j, l + 1), arguments)
        covariance = _composed(moments.derivative, arguments)
        tangent = weight * covariance + _times(slope, tangent)
        value, of_slope, first, second = _second_moments(act, variance[0], rule)
        moved = _polynomial([0.0, *variance[1:]], 0)
        variance = (first * moved + second / 2 * _times(moved, moved))[:, 0, 0]
        variance[0] = value
        equal = weight * value + of_slope * equal
    return tangent, equal


def _second_moments(act: Activation, a: float, rule) -> tuple[float, float, float, float]:
    """E phi², E phi'², and the first two derivatives of E phi(sqrt a g)² in a, by its Hermite moments."""
    g, weights = scaled_nodes(math.sqrt(a), act.kinks, *rule)
    value, slope = (np.square(part) for part in act.value_and_derivative(math.sqrt(a) * g))
    moments = engine_of(g).hermite_moments(g, (value * weights)[None, :], 5)[0]
    return float(moments[0]), float(slope @ weights), moments[2] / (math.sqrt(2) * a), moments[4] * 1.5**0.5 / a**2


class _Moments:
    r"""Derivatives of K(a, b, c) = E[phi(u) phi(u')] at variances a = b and a covariance c.

    .. math:: \partial_a^i \partial_b^j \partial_c^l K = 2^{-i-j} \sum_k e_{k+l+2i}(a)\, e_{k+l+2j}(b)\, c^k / k!, \quad
              e_k(a) = E \phi^{(k)}(\sqrt a g) = \sqrt{k!}\, a^{-k/2} c_k(\sqrt a)

    from Mehler's formula and de_k/da = e_{k+2}/2; c_k are the coefficients of :mod:`ntkspec.series`. K' = dK/dc.
    """

    def __init__(self, act: Activation, a: float, c: float, rule):
        self.a, self.rho = a, c / a
        g, weights = scaled_nodes(math.sqrt(a), act.kinks, *rule)
        weighted = (act(math.sqrt(a) * g) * weights)[None, :]
        second = float(np.square(act(math.sqrt(a) * g)) @ weights)
        for self.terms in TERMS:
            self.coefficients = engine_of(g).hermite_moments(g, weighted, self.terms + 8)[0]
            rest = _rest(np.square(self.coefficients[: self.terms]), second)
            if abs(self.rho) ** self.terms * (self.terms + 8.0) ** 3 * rest <= REMAINDER * second:
                return
        raise ValueError(
            f"orthogonal inputs have a correlation of {self.rho:.4f} in a deeper layer of {act.name!r}, and the "
            f"expansion around it needs more than {TERMS[-1]} terms; take fewer hidden layers"
        )

    def derivative(self, i: int, j: int, l: int) -> float:
        """i times in a, j times in b, l times in c; i + j + l <= 3."""
        k = np.arange(self.terms)
        left, right = l + 2 * i, l + 2 * j
        sizes = np.sqrt(poch(k + 1, left) * poch(k + 1, right)) * self.rho**k
        both = self.coefficients[left : left + self.terms] * self.coefficients[right : right + self.terms]
        return float((sizes * both).sum()) * self.a ** -(i + j + l) / 2 ** (i + j)


def _rest(squares, second: float) -> float:
    """sum_k c_k² beyond the first ones, by Parseval's identity; where that drowns in rounding, their last half's."""
    rest = second - float(squares.sum())
    return rest if rest > 1e-14 * second else float(squares[len(squares) // 2 :].sum())


def _homogeneous(negative: float, weights: Sequence[float]):
    """(T_L, T_L(1, 1, 1)) of a piecewise-linear activation: s s' H(rho), by H to the second order at rho = 0.

    K(a, b, c) = sqrt(ab) kappa(rho) with kappa = p² rho + q² (2/pi) (sqrt(1 - rho²) + rho asin rho), and K' = kappa'.
    """
    straight, bend = ((1 + negative) / 2) ** 2, (1 - negative) ** 2 / (2 * math.pi)
    share = (1 + negative**2) / 2  # kappa(1), and kappa'(1)
    rho, size, tangent, equal = _polynomial([0.0, 1.0, 0.0], 2), 1.0, _polynomial([0.0, weights[0], 0.0], 2), weights[0]
    for weight in weights[1:]:
        r = rho[0, 0, 0]
        root, arc = math.sqrt((1 - r) * (1 + r)), math.asin(r)
        kappa = straight * r + bend * (root + r * arc), straight + bend * arc, bend / root, bend * r / root**3
        value, slope = (
            _composed(lambda i, j, l, of=of: of[l] if i == j == 0 else 0.0, (rho, rho, rho))
            for of in (kappa, kappa[1:])
        )
        tangent = weight * size * value + _times(slope, tangent)
        equal = weight * size * share + share * equal
        rho, size = value / share, size * share
    scale = _polynomial([1.0, 1.0, 0.0], 0)
    taylor = _times(_times(scale, _polynomial([1.0, 1.0, 0.0], 1)), tangent)
    # rho = c/(s s'): c is multiplied with s s'/(s s').
    taylor[1, 0, 1] = taylor[0, 1, 1] = 0.0
    return taylor, equal
