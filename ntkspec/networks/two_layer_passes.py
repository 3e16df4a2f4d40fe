"""Passes through the two-layer network, block by block of points."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.operators import Bits


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


class Bent:
    """Passes of an activation of two slopes: phi'(u) is kept as bits, and what they multiply is looked up.

    As phi(u) = phi'(u) u, the gradients of both layers come from sum r_i phi'(u_i) x_iᵀ.
    """

    def __init__(self, activation: Any, weights: Array):
        self.weights, self._xp, self._values = weights, engine_of(weights).xp, activation.slopes
        self._room = self._xp.empty((0, weights.shape[1]), weights.dtype)
        self.start(0)

    @classmethod
    def sooner(cls, activation: Activation, weights: Array) -> "Bent | None":
        """None for other activations, and where multiplications are sooner."""
        made = cls(activation, weights) if activation.slopes else None
        return made if made is not None and made.bits.works(len(weights)) else None

    def start(self, rows: int) -> None:
        """Begin a pass over so many points."""
        bits, width = engine_of(self.weights).bits, self.weights.shape[1]
        self.bits = Bits(bits.empty(rows, width), width, self._values, self.weights.dtype)
        self._products = self.bits.products

    def forward(self, rows: slice, x: Array, readout: Array) -> Array:
        """phi(u) @ readout for the points x, which are these rows of all; phi'(u) is kept."""
        if len(self._room) < len(x):
            self._room = self._xp.empty((len(x), self.weights.shape[1]), self.weights.dtype)
        inputs = self._xp.matmul(x, self.weights, out=self._room[: len(x)])
        return self._products.activate(rows, inputs, readout)

    def gradients(self, gathered: Array) -> tuple[Array, Array]:
        """(sum r_i phi'(u_i) x_iᵀ, sum r_i phi(u_i)), where ``gathered`` is the product of the bits with x and r."""
        of_W = self._products.matrix(gathered, len(self.weights))
        return of_W, (self.weights.T * of_W).sum(axis=1)

    def gathered(self, X: Array, r: Array) -> Array:
        """That product for points of which this thread alone takes all."""
        return self._products.gather(slice(0, len(X)), X, r[:, None])

    def directional(self, X: Array, tangent: Array) -> Array:
        """phi'(u_i) · (tangent x_i) for each point and a tangent (m, d)."""
        return self.bits.scatter(X, self._products.lines(tangent))[:, 0]


def value_and_vjp(
    activation: Activation, W: Array, v: Array, X: Array, cotangent: Callable[[slice, Array], Array]
) -> tuple[Array, list[Array]]:
    r"""(outputs, gradients in W and v) of f = v · phi(W x / sqrt d) / sqrt m, for :meth:`TwoLayer.value_and_vjp`."""
    engine, (m, d), scaled = engine_of(X, W), W.shape, X.dtype.type
    weights, readout = scaled_weights(W, v, X.dtype)
    bent, outputs = Bent.sooner(activation, weights), []
    if bent is not None:
        bent.start(len(X))
        given = engine.xp.empty(len(X), X.dtype)
        for rows in engine.blocks(slice(0, len(X)), m):
            outputs.append(bent.forward(rows, X[rows], readout))
            given[rows] = cotangent(rows, outputs[-1])
        of_W, of_v = bent.gradients(bent.bits.gather(X, given[:, None]))
        of_W = of_W * (readout[:, None] * scaled(d**-0.5))
        return engine.xp.concatenate(outputs), [of_W, of_v * scaled(m**-0.5)]
    forward = Forward(activation, weights)
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
    bent, moved, blocks = Bent.sooner(activation, weights), [], engine.blocks(slice(0, len(X)), len(v))
    if bent is not None:
        bent.start(len(X))
        moved = [bent.forward(rows, X[rows], moved_readout) for rows in blocks]
        return engine.xp.concatenate(moved) + bent.directional(X, turned.T * readout[:, None])
    forward = Forward(activation, weights)
    for rows in blocks:
        value, slope = forward(X[rows])
        slope *= X[rows] @ turned
        moved.append(slope @ readout + value @ moved_readout)
    return engine.xp.concatenate(moved)
