"""The Neural Tangent Kernel of a given two-layer network."""

from typing import Any

from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks.protocol import Layer
from ntkspec.networks.trained_layers import layers_of_two
from ntkspec.networks.two_layer_passes import Forward, scaled_weights
from ntkspec.operators import Bits, Gram, HadamardGram, KernelOperator


def two_layer_ntk(
    activation: Activation, W: Array, v: Array, X: Array, X2: Array | None, *, layer: Layer
) -> KernelOperator:
    """Theta_1, Theta_2 or their sum (:func:`ntkspec.ntk`), of neurons W (m, d) and |v| (m,)."""
    layer = layers_of_two(layer)
    left = _Features(activation, W, v, X, layer)
    right = None if X2 is None else _Features(activation, W, v, X2.astype(X.dtype, copy=False), layer)
    terms = {"first": [_first_layer], "second": [_second_layer], "both": [_first_layer, _second_layer]}[layer]
    first, *rest = (term(left, right) for term in terms)
    return first + rest[0] if rest else first


class _Features:
    """phi(U) and phi'(U) |v| of the neurons that the kernel needs; ``slope_scale`` holds a constant v² instead.

    Where phi' takes two values, ``slope`` is stored as bits: if v² is constant, or if products with bits are sooner.
    """

    def __init__(self, activation: Activation, W: Array, v: Array, X: Array, layer: str):
        self.X, (self.width, dtype), engine = X, (W.shape[0], X.dtype), engine_of(X, W)
        constant = bool((v == v[0]).all())
        self.slope_scale = float(v[0]) ** 2 if constant else 1.0
        weights = None if constant else v.astype(dtype, copy=False)
        n, slopes = X.shape[0], None
        if layer != "second" and activation.slopes:
            slopes = Bits(engine.bits.empty(n, self.width), self.width, activation.slopes, dtype, weights)
        bits = slopes if slopes is not None and (constant or slopes.works(X.shape[1])) else None
        self.value: Any = engine.xp.empty((n, self.width), dtype) if layer != "first" else None
        self.slope: Any = None
        if layer != "second":
            self.slope = engine.xp.empty((n, self.width), dtype) if bits is None else bits
        scaled, _ = scaled_weights(W, v, dtype)

        def fill(share):
            forward = Forward(activation, scaled)
            for rows in engine.blocks(share, self.width):
                value, slope = forward(X[rows])
                if self.value is not None:
                    self.value[rows] = value
                if self.slope is None:
                    continue
                if bits is not None:
                    engine.bits.pack(bits.words[rows], slope, bits.high)
                else:
                    self.slope[rows] = slope if weights is None else slope * weights

        engine.run(fill, engine.shares(n))


def _first_layer(left: _Features, right: _Features | None) -> KernelOperator:
    """Theta_1 from the features of both sides."""
    scale = left.slope_scale / (left.width * left.X.shape[1])
    if right is None:
        return scale * HadamardGram(left.slope, left.X)
    return scale * HadamardGram(left.slope, left.X, right.slope, right.X)


def _second_layer(left: _Features, right: _Features | None) -> KernelOperator:
    """Theta_2 from the features of both sides."""
    return (1 / left.width) * Gram(left.value, None if right is None else right.value)
