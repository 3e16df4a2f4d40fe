"""The weights during full-batch gradient descent: one pass over blocks of rows that stay in cache for each step."""

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.networks import TwoLayer
from ntkspec.networks.two_layer import scaled_weights

# Numbers of the block of pre-activations, phi and phi' of one worker: together they fill a core's second-level cache.
BLOCK = 2**16
# A diverging run is reported once, by its outputs.
_DIVERGING = np.errstate(over="ignore", invalid="ignore")


class Descent:
    r"""Equation (4) for targets y + offset: outputs are those of the network less the offset.

    One step is one pass over the rows: u = X Wᵀ / sqrt d, phi(u), phi'(u), the outputs and residuals r, and
    sum r_i phi'(u_i) x_iᵀ and sum r_i phi(u_i), block by block. ``state`` is (step, W, v), replaced as a whole.
    """

    def __init__(self, net: TwoLayer, data, rates, offset):
        X, y = data
        self.engine, self.activation = engine_of(X, net.W), net.activation
        self.X, self.y, self.rates, self.offset = X, y, rates, offset
        self.targets = y if offset is None else y + offset
        self.state = self._seen = 0, net.W.astype(X.dtype), net.v.astype(X.dtype)
        self._shares = self.engine.shares(len(y))
        self._spaces = [_Space(self.engine.xp, self.state[1]) for _ in self._shares]
        self._gradients: list = []

    def network(self) -> TwoLayer:
        """The network whose outputs were finite last."""
        _, W, v = self._seen
        return TwoLayer(W, v, self.activation)

    def outputs(self):
        """Outputs on the training points now, (n,); the gradients are kept for :meth:`step`.

        None where an output is not finite: the state then goes back to the last one whose outputs were.
        """
        xp, (_, W, v) = self.engine.xp, self.state
        scaled, readout = scaled_weights(W, v, self.y.dtype)
        weights, out = (xp.ascontiguousarray(scaled.T), readout), xp.empty_like(self.y)
        works = list(zip(self._shares, self._spaces, strict=True))
        self._gradients = self.engine.run(lambda work: self._pass(work, weights, out), works)
        if not bool(xp.isfinite(out).all()):
            self.state = self._seen
            return None
        self._seen = self.state
        return out if self.offset is None else out - self.offset

    @_DIVERGING
    def step(self) -> None:
        """W and v one step of gradient descent further, with the gradients of the last `outputs`."""
        gradient_W, gradient_v = (sum(parts) for parts in zip(*self._gradients, strict=True))
        (step, W, v), n, dtype = self.state, len(self.y), self.y.dtype.type
        m, d = W.shape
        W_step = dtype(self.rates[0] / (n * (m * d) ** 0.5)) * v[:, None] * gradient_W
        v_step = dtype(self.rates[1] / (n * m**0.5)) * gradient_v
        self.state = step + 1, W - W_step, v - v_step

    @_DIVERGING
    def _pass(self, work, weights, out):
        """Outputs of a share of the rows, and its part of sum r_i phi'(u_i) x_iᵀ and sum r_i phi(u_i)."""
        (share, space), (scaled, readout), xp = work, weights, self.engine.xp
        gradient_W, gradient_v = space.zeroed()
        for rows in self.engine.blocks(share, len(readout), BLOCK):
            x, inputs, value, slope, product = space.views(rows, self.X)
            xp.matmul(x, scaled, out=inputs)
            self.activation.fill(inputs, value, slope)
            xp.matmul(value, readout, out=out[rows])
            residual = out[rows] - self.targets[rows]
            if self.rates[0]:
                gradient_W += xp.matmul(slope.T, xp.multiply(x, residual[:, None], out=product), out=space.part)
            if self.rates[1]:
                gradient_v += residual @ value
        return gradient_W, gradient_v


class _Space:
    """Memory of one worker, allocated once: new pages cost more than what is written to them."""

    def __init__(self, xp, W):
        self._xp, self._shape, self._dtype = xp, W.shape, W.dtype
        self._gradients = xp.empty_like(W), xp.empty(len(W), W.dtype)
        self.part = xp.empty_like(W)
        self._rows = xp.empty((0, 0), W.dtype)

    def zeroed(self):
        """The gradients of W and v, set to zero."""
        for gradient in self._gradients:
            gradient[...] = 0
        return self._gradients

    def views(self, rows, X):
        """Of a block of rows: X, room for inputs, phi and phi', and room for X times the residual."""
        (m, d), count = self._shape, rows.stop - rows.start
        if len(self._rows) < count:
            self._rows, self._product = (
                self._xp.empty((3, count, m), self._dtype),
                self._xp.empty((count, d), self._dtype),
            )
        return X[rows], *(room[:count] for room in self._rows), self._product[:count]
