"""Passes through the two-layer network, block by block of points."""

from collections.abc import Callable

import numpy as np

from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array


def scaled_weights(W: Array, v: Array, dtype: np.dtype) -> tuple[Array, Array]:
    """(Wᵀ / sqrt d, v / sqrt m) in the dtype: what a forward pass multiplies with."""
    m, d = W.shape
    weights = engine_of(W).xp.empty((d, m), dtype)
    weights[...] = W.T
    weights /= dtype.type(d**0.5)
    return weights, v.astype(dtype, copy=False) / dtype.type(m**0.5)


class Forward:
    """phi(u) and phi'(u), u = x Wᵀ / sqrt d, of one block of rows after another, for ``weights`` = Wᵀ / sqrt d.

    They lie in memory that the next block overwrites: new pages would cost more than the arithmetic.
    """

    def __init__(self, activation: Activation, weights: Array):
        self.activation, self.weights = activation, weights
        self._xp = engine_of(weights).xp
        self._room = self._xp.empty((3, 0, weights.shape[1]), weights.dtype)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """(phi(u), phi'(u)), each of shape (rows of x, m)."""
        if self._room.shape[1] < len(x):
            self._room = self._xp.empty((3, len(x), self._room.shape[2]), self._room.dtype)
        inputs, value, slope = (part[: len(x)] for part in self._room)
        self.activation.fill(self._xp.matmul(x, self.weights, out=inputs), value, slope)
        return value, slope


def value_and_vjp(
    activation: Activation, W: Array, v: Array, X: Array, cotangent: Callable[[slice, Array], Array]
) -> tuple[Array, list[Array]]:
    r"""(outputs, gradients in W and v) of f = v · phi(W x / sqrt d) / sqrt m, for :meth:`TwoLayer.value_and_vjp`."""
    engine, (m, d), scaled = engine_of(X, W), W.shape, X.dtype.type
    weights, readout = scaled_weights(W, v, X.dtype)
    forward, outputs = Forward(activation, weights), []
    of_W, of_v = engine.xp.zeros((m, d), X.dtype), engine.xp.zeros(m, X.dtype)
    for rows in engine.blocks(slice(0, len(X)), m):
        value, slope = forward(X[rows])
        outputs.append(value @ readout)
        own = cotangent(rows, outputs[-1])
        of_W += slope.T @ (X[rows] * own[:, None])
        of_v += own @ value
    of_W *= readout[:, None] * scaled(d**-0.5)
    return engine.xp.concatenate(outputs), [of_W, of_v * scaled(m**-0.5)]


def jvp(activation: Activation, W: Array, v: Array, X: Array, W_tangent: Array, v_tangent: Array) -> Array:
    r"""phi'(u) (x dW / sqrt d) · v / sqrt m + phi(u) · dv / sqrt m, for :meth:`TwoLayer.jvp`."""
    engine = engine_of(X, W)
    weights, readout = scaled_weights(W, v, X.dtype)
    turned, moved_readout = scaled_weights(W_tangent, v_tangent, X.dtype)
    forward, moved = Forward(activation, weights), []
    for rows in engine.blocks(slice(0, len(X)), len(v)):
        value, slope = forward(X[rows])
        slope *= X[rows] @ turned
        moved.append(slope @ readout + value @ moved_readout)
    return engine.xp.concatenate(moved)
