"""The weights during full-batch gradient descent: one pass over blocks of rows that stay in cache for each step."""

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.networks import TwoLayer
from ntkspec.networks.two_layer import Forward, scaled_weights

# Numbers of phi of a block of rows: small enough for a core's caches, large enough for fast matrix products.
BLOCK = 2**17
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
        weights, _ = scaled_weights(*self.state[1:], y.dtype)
        self._spaces = [_Space(self.engine.xp, Forward(net.activation, weights)) for _ in self._shares]
        self._gradients: list = []

    def network(self) -> TwoLayer:
        """The network whose outputs were finite last."""
        _, W, v = self._seen
        return TwoLayer(W, v, self.activation)

    def outputs(self, *, gradients: bool):
        """Outputs on the training points now, (n,); None where one is not finite, and the state goes back to before.

        gradients : whether those are computed in the same pass, for :meth:`step`.
        """
        xp, (_, W, v), out = self.engine.xp, self.state, self.engine.xp.empty_like(self.y)
        weights, readout = scaled_weights(W, v, self.y.dtype)
        for space in self._spaces:
            space.forward.weights = weights
        rates = self.rates if gradients else (0.0, 0.0)
        works = list(zip(self._shares, self._spaces, strict=True))
        self._gradients = self.engine.run(lambda work: self._pass(work, readout, rates, out), works)
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
    def _pass(self, work, readout, rates, out):
        """Outputs of a share of the rows, and its part of sum r_i phi'(u_i) x_iᵀ and sum r_i phi(u_i)."""
        (share, space), xp = work, self.engine.xp
        gradient_W, gradient_v = space.zeroed()
        for rows in self.engine.blocks(share, len(readout), BLOCK):
            x, (value, slope) = self.X[rows], space.forward(self.X[rows])
            xp.matmul(value, readout, out=out[rows])
            residual = out[rows] - self.targets[rows]
            if rates[0]:
                gradient_W += xp.matmul(slope.T, x * residual[:, None], out=space.part)
            if rates[1]:
                gradient_v += residual @ value
        return gradient_W, gradient_v


class _Space:
    """Memory of one worker, allocated once."""

    def __init__(self, xp, forward: Forward):
        d, m = forward.weights.shape
        self.forward, self.part = forward, xp.empty((m, d), forward.weights.dtype)
        self._gradients = xp.empty_like(self.part), xp.empty(m, self.part.dtype)

    def zeroed(self):
        """The gradients of W and v, set to zero."""
        for gradient in self._gradients:
            gradient[...] = 0
        return self._gradients
