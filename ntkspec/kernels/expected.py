"""The expected NTK and NNGP over random weights: the kernels of infinite width, for any number of hidden layers."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels import ranges
from ntkspec.kernels.layer_moments import LayerMoments, layer_moments
from ntkspec.kernels.recursion import tangent_kernel
from ntkspec.networks.trained_layers import layer_weights
from ntkspec.operators import GramFunction, KernelOperator


def expected_ntk(
    activation: str | Activation,
    X: ArrayLike,
    X2: ArrayLike | None = None,
    *,
    layer: str | int = "all",
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The NTK of a fully-connected network of infinite width with standard normal weights.

    .. math:: S_0 = T_0 = \frac{x \cdot x'}{d}, \quad S_l = E[\phi(u) \phi(u')], \quad
              T_l = S_l + E[\phi'(u) \phi'(u')] T_{l-1}, \quad
              (u, u') \sim N\!\left(0, \begin{pmatrix} S_{l-1}(x, x) & S_{l-1}(x, x') \\
              S_{l-1}(x, x') & S_{l-1}(x', x') \end{pmatrix}\right)

    The kernel is T_L. For L = 1 it is E_W of Theta_1 + Theta_2 at any width, also where v = +-1. No biases.

    Parameters
    ----------
    activation : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.
    X : (n, d) array
        Points, float32 or float64, NumPy or CuPy; the arrays decide where it is computed.
    X2 : (n', d) array, optional
        The points of the columns; None means X itself.
    layer : {"all", "first", "second", "both"} or int, default "all"
        The weight matrices that are trained: "all", "first", or the number of one of them, 0 (first) to L (last). Of
        L = 1 "second" is the last one, and "both" another word for "all".
    hidden_layers : int, default 1
        L, the number of hidden layers.

    Returns
    -------
    KernelOperator
        Shape (n, n) or (n, n'), in the dtype of X. ``op.function.error`` bounds the error of each entry in float64,
        relative to sqrt(K(x, x) K(x', x')) (not to itself: entries of opposite inputs can pass through zero).

    Raises
    ------
    TypeError
        Where X is no matrix of real numbers.
    ValueError
        For a ``layer`` that there is not, an unknown activation, and norms beyond the ranges below.

    Notes
    -----
    ReLU, leaky ReLU, abs, identity, erf, GELU, sin and cos are closed forms, right to 1e-12 for ‖x‖²/d up to 1e6. Every
    other activation is a Hermite series whose remainder is below 1e-14 a layer, and integrals where it is not; the
    error of quadrature is that of the worst norm, carried through all layers.

    Norms are of any size whose kernel the dtype holds where phi is piecewise linear; else ‖x‖²/d goes from 1e-100 to
    1e24 (1e12 for a series), with an error that grows as 1e-15 ‖x‖/sqrt d for all but GELU. float32 inputs of norms
    that float32 cannot square cost a computation in float64.

    Cost: 2 d flops and about 50 L passes an entry; integrals take milliseconds a pair and layer, for inputs that are
    almost parallel under activations with kinks or for ‖x‖² far above d.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, section 3.1.1 (E_W Theta_1) and section 4.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> x = np.ones((1, 3))  # ReLU keeps half of ‖x‖²/d = 1: Theta_1 + Theta_2 = 1/2 + 1/2
    >>> bool(np.allclose(ns.expected_ntk("relu", x).to_dense(), 1.0))
    True
    """
    act = activation_of(activation)
    hidden_layers = checks.whole_number(hidden_layers, "hidden_layers", 1)
    weights = layer_weights(layer, hidden_layers + 1)

    def build(*sides):
        moments, narrow = layer_moments(act, sides, hidden_layers)
        return GramFunction(_Expected(moments, weights), *sides, in_float64=not narrow and sides[0].dtype != np.float64)

    return ranges.built(act, checks.as_sides(X, X2), build)


def expected_nngp(
    activation: str | Activation, X: ArrayLike, X2: ArrayLike | None = None, *, hidden_layers: int = 1
) -> KernelOperator:
    r"""The NNGP kernel S_L: the covariance of the outputs of a network of infinite width, and its last layer's NTK.

    .. math:: S_0 = \frac{x \cdot x'}{d}, \quad S_l = E[\phi(u) \phi(u')], \quad
              (u, u') \sim N\!\left(0, \begin{pmatrix} S_{l-1}(x, x) & S_{l-1}(x, x') \\
              S_{l-1}(x, x') & S_{l-1}(x', x') \end{pmatrix}\right)

    Parameters
    ----------
    activation : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.
    X : (n, d) array
        Points, float32 or float64, NumPy or CuPy; the arrays decide where it is computed.
    X2 : (n', d) array, optional
        The points of the columns; None means X itself.
    hidden_layers : int, default 1
        L, the number of hidden layers.

    Returns
    -------
    KernelOperator
        Shape (n, n) or (n, n'), in the dtype of X. ``op.function.error`` bounds the error of each entry in float64,
        relative to sqrt(K(x, x) K(x', x')).

    Raises
    ------
    TypeError
        Where X is no matrix of real numbers.
    ValueError
        For an unknown activation, and norms beyond the ranges of :func:`ntkspec.expected_ntk`.

    Notes
    -----
    Accuracy, ranges and cost are those of :func:`ntkspec.expected_ntk`, whose last layer this is.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, section 4.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((4, 3))
    >>> nngp, last = ns.expected_nngp("erf", X, hidden_layers=2), ns.expected_ntk("erf", X, layer=2, hidden_layers=2)
    >>> bool(np.array_equal(nngp.to_dense(), last.to_dense()))
    True
    """
    hidden_layers = checks.whole_number(hidden_layers, "hidden_layers", 1)
    return expected_ntk(activation, X, X2, layer=hidden_layers, hidden_layers=hidden_layers)


class _Expected:
    """Entries of T_L: the sum of weight times S_l K'_{l+1} ... K'_L over the layers."""

    def __init__(self, moments: list[LayerMoments], weights: Sequence[float]):
        self.moments, self.weights, self.levels = moments, weights, len(moments)
        ends = np.cumsum([0, *(layer.width for layer in moments)])
        self.parts = [slice(*pair) for pair in itertools.pairwise(ends)]
        self.error = self._error()

    def points(self, squares: Array) -> Array:
        """The numbers of each point in every layer, side by side."""
        blocks = []
        for layer in self.moments:
            blocks.append(layer.points(squares))
            squares = blocks[-1][:, 1]
        return engine_of(squares).xp.hstack(blocks)

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Array:
        return tangent_kernel(self.weights, c, self._layers(engine, left, right, c, gap))

    def _layers(self, engine, left, right, c, gap) -> Iterator[tuple[Array, Array]]:
        """(K, K') of one layer after another; K is the covariance of the next."""
        for number, (layer, part) in enumerate(zip(self.moments, self.parts, strict=True), 1):
            pair = left[:, part], right[:, part]
            if number < self.levels:
                c, slope, gap = layer.with_next_gap(engine, *pair, c, gap)
            else:
                c, slope = layer(engine, *pair, c, gap)
            yield c, slope

    def diagonal(self, engine: Engine, points: Array) -> Array:
        layers = zip(self.moments, self.parts, strict=True)
        moments = (layer.diagonal(engine, points[:, part]) for layer, part in layers)
        return tangent_kernel(self.weights, points[:, 0], moments)

    def _error(self) -> float:
        """A term of T_L is off by the sum of its factors' relative errors, to first order."""
        rho = slopes = 0.0
        for layer in self.moments:
            rho, slope = layer.carried(rho)
            slopes += slope
        return float(max(rho, slopes))
