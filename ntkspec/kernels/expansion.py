r"""The Taylor expansion of the NTK of infinite width around orthogonal inputs of norm sqrt d: the linear model.

h(s, s', c) of s = ‖x‖/sqrt d and c = <x, x'>/d is expanded around (1, 1, 0) to the second order. Every layer of
:func:`ntkspec.expected_ntk` is carried as a :class:`ntkspec.kernels.taylor_jets.Jet` in t = s - 1, t' = s' - 1 and c.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import poch

from ntkspec.activations import Activation
from ntkspec.activations.gaussian_quadrature import scaled_nodes
from ntkspec.engines import engine_of
from ntkspec.kernels.recursion import tangent_kernel
from ntkspec.kernels.taylor_jets import Jet, composed

# How many Hermite terms to choose from, and what they may leave out, relative to E phi².
TERMS, REMAINDER = (64, 256, 1024), 1e-16
# Two rules of quadrature, whose difference is the error of the result: nodes of a panel, and a shift of all panels.
RULES = (32, 0.0), (40, 0.37)
# Rounding of a layer, relative to the largest entry. Variances whose third powers float64 holds.
ROUNDING, SMALLEST, LARGEST = 4e-16, 1e-90, 1e90


@dataclass(frozen=True)
class Expansion:
    r"""The linear model of a network of infinite width: its NTK to the second order.

    .. math:: h \approx \mathrm{data}\, c + \mathrm{square}\, c^2 + \sum_k p_k(s - 1)\, p_k(s' - 1)

    Attributes
    ----------
    data, square : float
        The coefficients of c = <x, x'>/d and of c².
    norms : (k, 3) array
        The coefficients of the polynomials p_k in s - 1 = ‖x‖/sqrt d - 1, from the constant one on.
    equal : float
        h(1, 1, 1), the diagonal for inputs of norm sqrt d.
    error : float
        A bound on the absolute error of each Taylor coefficient.
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
    a remainder below 1e-16, and quadrature is compared with another rule. Cost: milliseconds a layer.
    Raises ValueError where a series would be too long, as orthogonal inputs become almost parallel in a deeper layer
    under a kink of one's own, and where variances leave the range of float64's powers.
    """
    if len(weights) == 2:
        return _one_layer(act, *weights)
    return _expansion(*taylor(act, weights))


def taylor(
    act: Activation, weights: Sequence[float], *, averaged: Callable[[Jet], Jet] | None = None
) -> tuple[Jet, float, float]:
    """(h, h(1, 1, 1), a bound on the error of both) with the variables t, t' and c.

    averaged : what lies between two layers, for patches: their mean. Each layer then has three variables of its own,
    which stand for the means of the first ones, taken once for each layer between.
    """
    if act.slopes is not None or act.name == "identity":
        kind = _PiecewiseLinear(act.slopes[0] if act.slopes else 1.0)
        jet, equal = _recursion(kind, weights, averaged)
        return jet, equal, ROUNDING * len(weights) * equal
    found = [_recursion(_Smooth(act, rule), weights, averaged) for rule in RULES]
    (jet, equal), (other, other_equal) = found
    parts = [abs(a - b) for a, b in ((jet.value, other.value), (equal, other_equal))]
    parts += [np.abs(a - b).max() for a, b in ((jet.linear, other.linear), (jet.quadratic, other.quadratic))]
    return jet, equal, float(max(parts)) + ROUNDING * len(weights) * equal


def _one_layer(act: Activation, first: float, second: float) -> Expansion:
    constants = act.constants
    thetas = np.array([[constants.vartheta0, constants.vartheta1, constants.vartheta2]])
    seconds = [_Smooth(act, rule).second_moments(1.0) for rule in RULES]
    equal, other = (second * value[0] + first * slope for value, slope in seconds)
    # Coefficients are products of two constants.
    size = max(abs(constants.zeta), float(np.abs(thetas).max())) + constants.error
    error = (first + second) * (2 * constants.error + ROUNDING * size) * size + ROUNDING * equal
    return Expansion(
        data=(first + second) * constants.zeta**2,
        square=(first + second / 2) * constants.vartheta1**2 if abs(constants.vartheta1) > constants.error else 0.0,
        norms=math.sqrt(second) * thetas if second and np.abs(thetas).max() > constants.error else np.empty((0, 3)),
        equal=equal,
        error=max(error, abs(equal - other) + ROUNDING * len(RULES) * equal),
    )


def _expansion(jet: Jet, equal: float, error: float) -> Expansion:
    """Features with the Taylor coefficients of h(s, s', 0) to the second order.

    It is a positive semidefinite kernel of the norms: h h_tt' >= h_t², which is equal for one hidden layer and for
    homogeneous activations, and leaves a multiple of t t' otherwise. What is below its own error counts as zero.
    """
    norms, mixed, of_mixed = [], 2 * jet.quadratic[0, 1], 2 * error
    data, square = float(jet.linear[2]), float(jet.quadratic[2, 2])
    if jet.value > error:
        norms.append(np.array([jet.value, jet.linear[0], jet.quadratic[0, 0]]) / math.sqrt(jet.value))
        mixed -= jet.linear[0] ** 2 / jet.value
        of_mixed += error * (2 * abs(jet.linear[0]) / jet.value + (jet.linear[0] / jet.value) ** 2)
    if mixed > of_mixed:
        norms.append(np.array([0.0, math.sqrt(mixed), 0.0]))
    square = square if square > error else 0.0
    return Expansion(data, square, np.reshape(norms, (-1, 3)), equal, float(max(error, of_mixed)))


# ----------------------------------------------------------------------------------------------------------- the layers
def _recursion(kind, weights: Sequence[float], averaged: Callable[[Jet], Jet] | None) -> tuple[Jet, float]:
    """(T_L, T_L(1, 1, 1)) for moments of a kind: its ``moments`` at variances and a covariance."""
    averaged, count = averaged or (lambda jet: jet), 3 * (1 if averaged is None else len(weights) - 1)
    norm, other, covariance = (Jet.variable(k, count) for k in range(3))
    left, right = (norm + 1.0) * (norm + 1.0), (other + 1.0) * (other + 1.0)
    layers, alone, last = [], [], len(weights) - 1
    for number in range(1, len(weights)):
        if not SMALLEST < left.value < LARGEST:
            raise ValueError(
                f"inputs of norm sqrt d have the variance {left.value:.1e} after layer {number - 1}, beyond what "
                f"float64 expands around; take fewer hidden layers, or an activation of another scale"
            )
        value, slope = kind.moments(left, right, covariance)
        of_value, of_slope = kind.second_moments(left.value)
        layers.append((value, slope))
        alone.append((of_value[0], of_slope))
        if number < last:
            covariance = averaged(value)
            left, right = (averaged(side.through(*of_value)) for side in (left, right))
    inputs = Jet.variable(2, count)
    return tangent_kernel(weights, inputs, layers, between=averaged), tangent_kernel(weights, 1.0, alone)


class _PiecewiseLinear:
    """K = sqrt(ab) kappa(rho), kappa = p² rho + q² (2/pi) (sqrt(1 - rho²) + rho asin rho), K' = kappa'(rho)."""

    def __init__(self, negative: float):
        self.straight, self.bend = ((1 + negative) / 2) ** 2, (1 - negative) ** 2 / (2 * math.pi)
        self.share = (1 + negative**2) / 2

    def moments(self, a: Jet, b: Jet, c: Jet) -> tuple[Jet, Jet]:
        """K and K'."""
        size = _root(a) * _root(b)
        rho = c * size.through(1 / size.value, -1 / size.value**2, 2 / size.value**3)
        r, root, arc = rho.value, math.sqrt((1 - rho.value) * (1 + rho.value)), math.asin(rho.value)
        kappa = self.straight * r + self.bend * (root + r * arc)
        first, second, third = self.straight + self.bend * arc, self.bend / root, self.bend * r / root**3
        return size * rho.through(kappa, first, second), rho.through(first, second, third)

    def second_moments(self, a: float) -> tuple[tuple[float, float, float], float]:
        """(E phi² with two derivatives in a, E phi'²)."""
        return (self.share * a, self.share, 0.0), self.share


def _root(jet: Jet) -> Jet:
    root = math.sqrt(jet.value)
    return jet.through(root, 0.5 / root, -0.25 / root**3)


class _Smooth:
    """Any other activation, by one rule of quadrature."""

    def __init__(self, act: Activation, rule: tuple[int, float]):
        self.act, self.rule = act, rule

    def moments(self, a: Jet, b: Jet, c: Jet) -> tuple[Jet, Jet]:
        """K and K'."""
        found = _Moments(self.act, a.value, c.value, self.rule)
        slope = composed(lambda i, j, l: found.derivative(i, j, l + 1), (a, b, c))
        return composed(found.derivative, (a, b, c)), slope

    def second_moments(self, a: float) -> tuple[tuple[float, float, float], float]:
        """(E phi² with two derivatives in a, E phi'²), the derivatives by Hermite moments of phi²."""
        g, weights = scaled_nodes(math.sqrt(a), self.act.kinks, *self.rule)
        value, slope = (np.square(part) for part in self.act.value_and_derivative(math.sqrt(a) * g))
        moments = [float(part) for part in engine_of(g).pairs.hermite_moments(g, (value * weights)[None, :], 5)[0]]
        return (moments[0], moments[2] / (math.sqrt(2) * a), moments[4] * 1.5**0.5 / a**2), float(slope @ weights)


class _Moments:
    r"""Derivatives of K(a, b, c) = E[phi(u) phi(u')] at variances a = b and a covariance c.

    .. math:: \partial_a^i \partial_b^j \partial_c^l K = 2^{-i-j} \sum_k e_{k+l+2i}(a)\, e_{k+l+2j}(b)\, c^k / k!, \quad
              e_k(a) = E \phi^{(k)}(\sqrt a g) = \sqrt{k!}\, a^{-k/2} c_k(\sqrt a)

    from Mehler's formula and de_k/da = e_{k+2}/2; c_k are the coefficients of :mod:`ntkspec.activations.hermite`. K' =
    dK/dc.
    """

    def __init__(self, act: Activation, a: float, c: float, rule: tuple[int, float]):
        self.a, self.rho = a, c / a
        g, weights = scaled_nodes(math.sqrt(a), act.kinks, *rule)
        weighted = (act(math.sqrt(a) * g) * weights)[None, :]
        second = float(np.square(act(math.sqrt(a) * g)) @ weights)
        for terms in TERMS:
            coefficients = engine_of(g).pairs.hermite_moments(g, weighted, terms + 8)[0]
            rest = _rest(np.square(coefficients[:terms]), second)
            if abs(self.rho) ** terms * (terms + 8.0) ** 3 * rest <= REMAINDER * second:
                self.terms, self.coefficients = terms, coefficients
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
