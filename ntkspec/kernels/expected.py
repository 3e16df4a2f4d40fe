"""The expected NTK and NNGP over random weights: the kernels of infinite width, for any number of hidden layers."""

import itertools
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import engine_of
from ntkspec.kernels import ranges
from ntkspec.kernels.layer_moments import levels_of
from ntkspec.kernels.recursion import tangent_kernel
from ntkspec.kernels.trained_layers import layer_weights
from ntkspec.operators import GramFunction, KernelOperator


def expected_ntk(
    activation: str | Activation, X, X2=None, *, layer: str | int = "all", hidden_layers: int = 1
) -> KernelOperator:
    r"""The NTK of a fully-connected network of infinite width with standard normal weights, shape (n, n) or (n, n').

    .. math:: S_0 = T_0 = \frac{x \cdot x'}{d}, \quad S_l = E[\phi(u) \phi(u')], \quad
              T_l = S_l + E[\phi'(u) \phi'(u')] T_{l-1}, \quad
              (u, u') \sim N\!\left(0, \begin{pmatrix} S_{l-1}(x, x) & S_{l-1}(x, x') \\
              S_{l-1}(x, x') & S_{l-1}(x', x') \end{pmatrix}\right)

    The kernel is T_L for L = ``hidden_layers``; L = 1: E_W of Theta_1 + Theta_2, also where v = +-1. No biases.
    layer : "all", "first", of two layers "second" and "both" (all), or the number of a weight matrix, 0 (first) to L
    (last): then only that one is trained. X : (n, d), X2 : (n', d); X2 = None means X itself.
    ``op.function.error`` bounds the error of each entry in float64, relative to sqrt(K(x, x) K(x', x')) (not to itself:
    entries of opposite inputs can pass through zero). ReLU, leaky ReLU, abs, identity, erf, GELU, sin and cos are
    closed forms, right to 1e-12 for ‖x‖²/d up to 1e6. Every other activation is a Hermite series whose remainder is
    below 1e-14 a level, and integrals where it is not; the error of quadrature is that of the worst norm, carried
    through all levels. Norms are of any size whose kernel the dtype holds where phi is piecewise linear; else ‖x‖²/d
    goes from 1e-100 to 1e24 (1e12 for a series), with an error that grows as 1e-15 ‖x‖/sqrt d for all but GELU. float32
    inputs of norms that float32 cannot square cost a computation in float64.
    Cost: 2 d flops and about 50 L passes an entry; integrals take milliseconds a pair and level, for inputs that are
    almost parallel under activations with kinks or for ‖x‖² far above d. Raises ValueError / TypeError.
    """
    act = activation_of(activation)
    hidden_layers = checks.whole_number(hidden_layers, "hidden_layers", 1)
    weights = layer_weights(layer, hidden_layers + 1)

    def build(*sides):
        levels, narrow = levels_of(act, sides, hidden_layers)
        return GramFunction(_Expected(levels, weights), *sides, in_float64=not narrow and sides[0].dtype != np.float64)

    return ranges.built(act, checks.as_sides(X, X2), build)


def expected_nngp(activation: str | Activation, X, X2=None, *, hidden_layers: int = 1) -> KernelOperator:
    r"""The covariance S_L of the outputs of that network at infinite width, the NNGP kernel: only its last layer's NTK.

    Arguments, accuracy, cost and errors as for :func:`expected_ntk`.
    """
    hidden_layers = checks.whole_number(hidden_layers, "hidden_layers", 1)
    return expected_ntk(activation, X, X2, layer=hidden_layers, hidden_layers=hidden_layers)


class _Expected:
    """Entries of T_L: the sum of weight times S_l K'_{l+1} ... K'_L over the layers."""

    def __init__(self, moments: list, weights: Sequence[float]):
        self.moments, self.weights, self.levels = moments, weights, len(moments)
        ends = np.cumsum([0, *(level.width for level in moments)])
        self.parts = [slice(*pair) for pair in itertools.pairwise(ends)]
        self.error = self._error()

    def points(self, squares):
        """The numbers of each point at every level, side by side."""
        blocks = []
        for level in self.moments:
            blocks.append(level.points(squares))
            squares = blocks[-1][:, 1]
        return engine_of(squares).xp.hstack(blocks)

    def __call__(self, engine, left, right, c, gap):
        return tangent_kernel(self.weights, c, self._layers(engine, left, right, c, gap))

    def _layers(self, engine, left, right, c, gap):
        """(K, K') of one layer after another; K is the covariance of the next."""
        for number, (level, part) in enumerate(zip(self.moments, self.parts, strict=True), 1):
            pair = left[:, part], right[:, part]
            if number < self.levels:
                c, slope, gap = level.with_next_gap(engine, *pair, c, gap)
            else:
                c, slope = level(engine, *pair, c, gap)
            yield c, slope

    def diagonal(self, engine, points):
        layers = zip(self.moments, self.parts, strict=True)
        moments = (level.diagonal(engine, points[:, part]) for level, part in layers)
        return tangent_kernel(self.weights, points[:, 0], moments)

    def _error(self) -> float:
        """A term of T_L is off by the sum of its factors' relative errors, to first order."""
        rho = slopes = 0.0
        for level in self.moments:
            rho, slope = level.carried(rho)
            slopes += slope
        return float(max(rho, slopes))
