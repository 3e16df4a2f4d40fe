"""The Neural Tangent Kernel of a given network."""

from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels.empirical_deep import deep_ntk
from ntkspec.kernels.trained_layers import layers_of_two
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.networks.two_layer import Forward, scaled_weights
from ntkspec.operators import Bits, Gram, HadamardGram, KernelOperator


def ntk(
    net: TwoLayer | DeepNetwork, X: ArrayLike, X2: ArrayLike | None = None, *, layer: str | int = "all"
) -> KernelOperator:
    r"""The NTK of a network at its present weights, as a kernel operator.

    Of a two-layer network it is Theta_1, Theta_2 or their sum:

    .. math:: \Theta_1 = \frac{\phi'(U) \mathrm{diag}(v^2) \phi'(U')^T}{m} \odot \frac{X X'^T}{d}, \quad
              \Theta_2 = \frac{\phi(U) \phi(U')^T}{m}, \quad U = X W^T / \sqrt d

    Parameters
    ----------
    net : TwoLayer, FullyConnected or Convolutional
        The network; its weights are taken as they are now.
    X : (n, d) array
        Points, float32 or float64, NumPy or CuPy; the arrays decide where it is computed.
    X2 : (n', d) array, optional
        The points of the columns; None means X itself. Pass test points as X and training points as X2.
    layer : {"all", "first", "second", "both"} or int, default "all"
        The weight matrices that are trained. Of a two-layer network "first" is Theta_1, "second" Theta_2, and "both" is
        another word for "all". Of a deeper one "all", "first", or the number of one matrix from 0 at the input.

    Returns
    -------
    KernelOperator
        Shape (n, n) or (n, n'), in the dtype of X and the network together.

    Raises
    ------
    TypeError
        For something that is no network of this package.
    ValueError
        For a ``layer`` that the network does not have, and where X does not have d columns.

    Notes
    -----
    Cost: 2 n m d flops, and n m numbers a layer; half of each after antisymmetric initialization, whose neurons
    (chains) are used once. Where phi is piecewise linear and v² constant, phi' is kept in n m bits. Deep
    fully-connected networks keep n (m_l + m_{l-1}) numbers for each layer; convolutional ones recompute gradients,
    through vjp and jvp for a product and block by block for a tile.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, section 2 and section 3.1.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X, net = np.eye(4, 3), ns.FullyConnected.random(3, [8, 8], "erf")
    >>> parts = [ns.ntk(net, X, layer=layer).to_dense() for layer in range(3)]
    >>> bool(np.allclose(sum(parts), ns.ntk(net, X).to_dense()))
    True
    """
    if isinstance(net, DeepNetwork):
        return deep_ntk(net, X, X2, layer=layer)
    if not isinstance(net, TwoLayer):
        raise TypeError(f"ntk of a {type(net).__name__} is not available; pass an ntkspec network, such as TwoLayer")
    layer = layers_of_two(layer)
    X = checks.as_inputs(X, net.dim)
    dtype = np.result_type(X.dtype, net.dtype)
    left = _Features(net, X.astype(dtype, copy=False), layer)
    right = None
    if X2 is not None:
        X2 = checks.as_inputs(X2, net.dim, "X2")
        right = _Features(net, X2.astype(dtype, copy=False), layer)
    terms = {"first": [first_layer], "second": [second_layer], "both": [first_layer, second_layer]}[layer]
    first, *rest = (term(left, right) for term in terms)
    return first + rest[0] if rest else first


class _Features:
    """phi(U) and phi'(U) |v| of the neurons that the kernel needs; ``slope_scale`` holds a constant v² instead.

    Where phi' takes two values and v² is constant, ``slope`` is stored as bits.
    """

    def __init__(self, net: TwoLayer, X: Array, layer: str):
        W, v = net.kernel_neurons()
        self.X, (self.width, dtype), engine = X, (W.shape[0], X.dtype), engine_of(X, W)
        constant = bool((v == v[0]).all())
        self.slope_scale = float(v[0]) ** 2 if constant else 1.0
        weights = None if constant else v.astype(dtype, copy=False)
        values, n = net.activation.slopes if constant else None, X.shape[0]
        self.value: Any = engine.xp.empty((n, self.width), dtype) if layer != "first" else None
        self.slope: Any = None
        if layer != "second":
            self.slope = engine.bits.empty(n, self.width) if values else engine.xp.empty((n, self.width), dtype)
        scaled, _ = scaled_weights(W, v, dtype)

        def fill(share):
            forward = Forward(net.activation, scaled)
            for rows in engine.blocks(share, self.width):
                value, slope = forward(X[rows])
                if self.value is not None:
                    self.value[rows] = value
                if self.slope is None:
                    continue
                if values:
                    engine.bits.pack(self.slope[rows], slope, values[1])
                else:
                    self.slope[rows] = slope if weights is None else slope * weights

        engine.run(fill, engine.shares(n))
        if values and layer != "second":
            self.slope = Bits(self.slope, self.width, values, dtype)


def first_layer(left: _Features, right: _Features | None) -> KernelOperator:
    """Theta_1 from the features of both sides."""
    scale = left.slope_scale / (left.width * left.X.shape[1])
    if right is None:
        return scale * HadamardGram(left.slope, left.X)
    return scale * HadamardGram(left.slope, left.X, right.slope, right.X)


def second_layer(left: _Features, right: _Features | None) -> KernelOperator:
    """Theta_2 from the features of both sides."""
    return (1 / left.width) * Gram(left.value, None if right is None else right.value)
