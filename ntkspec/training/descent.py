"""The weights of a two-layer network during training: one pass over blocks of rows that stay in cache for each step."""

from typing import Any

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks.two_layer_passes import Bent, Forward, scaled_weights
from ntkspec.training.task import Rates, Task
from ntkspec.training.trainer import DIVERGING, Chosen, Trainer

# Numbers of phi of a block of rows: small enough for a core's caches, large enough for fast matrix products.
BLOCK = 2**17
# What phi and phi' of a number cost, in flops of a matrix product.
FLOPS_OF_PHI = 50.0


class Descent(Trainer):
    r"""Equation (4) for targets y + offset: outputs are those of the network less the offset.

    One step is one pass over the rows: u = X Wᵀ / sqrt d, phi(u), phi'(u), the outputs and the slopes r of the loss in
    them, and sum r_i phi'(u_i) x_iᵀ and sum r_i phi(u_i), block by block. ``state`` has the weights [W, v], is replaced
    as a whole, and ``seen`` is the last one whose outputs were finite.
    """

    def __init__(self, task: Task):
        super().__init__(task)
        net: Any = task.net
        self._width = net.width
        W, v = self.state.weights
        weights, _ = scaled_weights(W, v, self.y.dtype)
        m, d = W.shape
        self._flops = m * (6.0 * d + FLOPS_OF_PHI)
        shares = self.engine.shares(len(self.y), self._flops)
        self._spaces = [self._space(net.activation, weights) for _ in shares]
        self._works = self._shared(len(self.y))

    def _space(self, activation: Any, weights: Array) -> "_Space | _BentSpace":
        bent = Bent.sooner(activation, weights)
        return _Space(self.engine.xp, Forward(activation, weights)) if bent is None else _BentSpace(bent)

    def _shared(self, n: int) -> list:
        """Blocks of n rows for each worker, and its memory."""
        shares, width = self.engine.shares(n, self._flops), self._width
        blocks = [list(enumerate(self.engine.blocks(share, width, BLOCK))) for share in shares]
        return list(zip(blocks, self._spaces, strict=False))

    @DIVERGING
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now (:meth:`Trainer.outputs`), and in the same pass the gradients."""
        xp, dtype = self.engine.xp, self.y.dtype
        chosen = self.chosen(rows)
        W, v = self.state.weights
        weights, readout = scaled_weights(W, v, dtype)
        for space in self._spaces:
            space.turn(weights)
        rates: Rates = self.rates if gradients else (0.0, 0.0)
        out = xp.empty(len(chosen.y), dtype)
        works = self._works if rows is None else self._shared(len(out))

        def of_share(work: tuple[list, Any]) -> tuple[Array, Array]:
            return work[1].passed(work[0], chosen=chosen, out=out, readout=readout, rates=rates)

        # A worker has settings of its own.
        parts = [of_share(works[0])] if len(works) == 1 else self.engine.run(DIVERGING(of_share), works)
        self._gradients = [sum(own[1:], own[0]) / len(out) for own in zip(*parts, strict=True)]
        return self.finite_outputs(out, chosen.offset)

    @DIVERGING
    def step(self) -> None:
        """Equation (4), with the gradients of the last outputs."""
        (gradient_W, gradient_v), (W, v), dtype = self._gradients, self.state.weights, self.y.dtype.type
        (m, d), rates = W.shape, self.rates_now
        W_step = dtype(rates[0] / (m * d) ** 0.5) * v[:, None] * gradient_W
        v_step = dtype(rates[1] / m**0.5) * gradient_v
        self.move([W_step, v_step], rates)


class _BentSpace:
    """The same for an activation of two slopes, by look-ups."""

    def __init__(self, bent: Bent):
        self._bent, weights = bent, bent.weights
        xp = engine_of(weights).xp
        self._zeros = xp.zeros_like(weights.T), xp.zeros_like(weights[0])

    def turn(self, weights: Array) -> None:
        """Go on with other weights."""
        self._bent.weights = weights

    def passed(self, blocks: list, *, chosen: Chosen, out: Array, readout: Array, rates: Rates) -> tuple[Array, Array]:
        """:meth:`_Space.passed`."""
        first, last = blocks[0][1].start, blocks[-1][1].stop
        self._bent.start(last - first)
        for _, rows in blocks:
            out[rows] = self._bent.forward(slice(rows.start - first, rows.stop - first), chosen.X[rows], readout)
        residual = chosen.slope(out[first:last], slice(first, last))
        of_W, of_v = self._zeros
        if any(rates):
            found = self._bent.gradients(self._bent.gathered(chosen.X[first:last], residual))
            of_W, of_v = (own if rate else zero for own, rate, zero in zip(found, rates, self._zeros, strict=True))
        return of_W, of_v


class _Space:
    """Memory of one worker, allocated once: ``gradients`` of W (m, d) and v (1, m), zero where the rate is 0."""

    def __init__(self, xp: Any, forward: Forward):
        d, m = forward.weights.shape
        self.forward, self._xp, dtype = forward, xp, forward.weights.dtype
        self.gradients, self._parts = ([xp.zeros(shape, dtype) for shape in ((m, d), (1, m))] for _ in range(2))

    def turn(self, weights: Array) -> None:
        """Go on with other weights."""
        self.forward.weights = weights

    def passed(self, blocks: list, *, chosen: Chosen, out: Array, readout: Array, rates: Rates) -> tuple[Array, Array]:
        """Write the outputs of blocks of rows; their part of sum r_i phi'(u_i) x_iᵀ and of sum r_i phi(u_i)."""
        for number, rows in blocks:
            x = chosen.X[rows]
            value, slope = self.forward(x)
            out[rows] = found = value @ readout
            residual = chosen.slope(found, rows)
            if rates[0]:
                self.add(0, number, slope.T, x * residual[:, None])
            if rates[1]:
                self.add(1, number, residual[None], value)
        gradient_W, gradient_v = self.gradients
        return gradient_W, gradient_v[0]

    def add(self, which: int, number: int, left: Array, right: Array) -> None:
        """Make left @ right a gradient where it is that of the first block, and add it where it is not."""
        gradient, part = self.gradients[which], self._parts[which]
        if number:
            gradient += self._xp.matmul(left, right, out=part)
        else:
            self._xp.matmul(left, right, out=gradient)
