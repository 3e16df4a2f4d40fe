"""The weights of a two-layer network during training: one pass over blocks of rows that stay in cache for each step."""

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
    sum r_i phi'(u_i) x_iᵀ and sum r_i phi(u_i), block by block. ``state`` is (step, [W, v]), replaced as a whole, and
    ``seen`` the last one whose outputs were finite.
    """

    def __init__(self, net: TwoLayer, data, rates, offset):
        X, y = data
        self.engine, self.activation = engine_of(X, net.W), net.activation
        self.X, self.y, self.rates, self.offset = X, y, rates, offset
        self.targets = y if offset is None else y + offset
        W, v = net.W.astype(X.dtype), net.v.astype(X.dtype)
        self.state = self.seen = 0, [W, v]
        weights, _ = scaled_weights(W, v, y.dtype)
        self._spaces = [_Space(self.engine.xp, Forward(net.activation, weights)) for _ in self.engine.shares(len(y))]
        self._gradients: list = []

    def network(self) -> TwoLayer:
        """The network whose outputs were finite last."""
        W, v = self.seen[1]
        return TwoLayer(W.copy(), v.copy(), self.activation)

    def outputs(self, *, gradients: bool, rows=None):
        """Outputs on the training points now, (n,); None where one is not finite, and the state goes back to before.

        gradients : whether those are computed in the same pass, for :meth:`step`. rows : numbers of the points; None
        is all of them.
        """
        xp, dtype, offset = self.engine.xp, self.y.dtype, self.offset
        data = (self.X, self.targets) if rows is None else (self.X[rows], self.targets[rows])
        W, v = self.state[1]
        weights, readout = scaled_weights(W, v, dtype)
        for space in self._spaces:
            space.forward.weights = weights
        rates, out = self.rates if gradients else (0.0, 0.0), xp.empty(len(data[1]), dtype)
        works = list(zip(self.engine.shares(len(out)), self._spaces, strict=False))
        parts = self.engine.run(lambda work: self._pass(work, (*data, out), readout, rates), works)
        self._gradients = [sum(own) / len(out) for own in zip(*parts, strict=True)]
        if not bool(xp.isfinite(out).all()):
            self.state = self.seen
            return None
        self.seen = self.state
        return out if offset is None else out - (offset if rows is None else offset[rows])

    @_DIVERGING
    def step(self) -> None:
        """W and v one step of gradient descent further, with the gradients of the last `outputs`."""
        (gradient_W, gradient_v), (step, (W, v)), dtype = self._gradients, self.state, self.y.dtype.type
        m, d = W.shape
        W_step = dtype(self.rates[0] / (m * d) ** 0.5) * v[:, None] * gradient_W
        v_step = dtype(self.rates[1] / m**0.5) * gradient_v
        self.state = step + 1, [W - W_step, v - v_step]

    @_DIVERGING
    def _pass(self, work, data, readout, rates):
        """Outputs of a share of the rows, and its part of sum r_i phi'(u_i) x_iᵀ and sum r_i phi(u_i)."""
        (share, space), (X, targets, out), xp = work, data, self.engine.xp
        gradient_W, gradient_v = space.zeroed()
        for rows in self.engine.blocks(share, len(readout), BLOCK):
            x, (value, slope) = X[rows], space.forward(X[rows])
            xp.matmul(value, readout, out=out[rows])
            residual = out[rows] - targets[rows]
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
