"""The weights of a two-layer network during training: one pass over blocks of rows that stay in cache for each step."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.networks.two_layer_passes import Forward, scaled_weights

# (steps that were taken, weights).
State: TypeAlias = tuple[int, list[Array]]
# Numbers of phi of a block of rows: small enough for a core's caches, large enough for fast matrix products.
BLOCK = 2**17
# What phi and phi' of a number cost, in flops of a matrix product.
FLOPS_OF_PHI = 50.0
# A diverging run is reported once, by its outputs.
DIVERGING = np.errstate(over="ignore", invalid="ignore")


class Trainer(ABC):
    """Data, targets y + offset, and the state (step, weights) of a network in training; ``seen`` was finite last.

    rates : of the first and of all other layers. offset : (n,), subtracted from outputs, or None. ``together`` : steps
    that are taken in one go, where none of them is recorded.
    """

    together = 1

    def __init__(
        self,
        net: TwoLayer | DeepNetwork,
        X: Array,
        y: Array,
        *,
        rates: tuple[float, float],
        offset: Array | None = None,
    ):
        self._net, self.X, self.y = net, X, y
        self.engine, self.activation = engine_of(self.X), net.activation
        self.rates, self.offset = rates, offset
        self.targets = self.y if offset is None else self.y + offset
        self._gradients: list[Array] = []

    def start(self, weights: Sequence[Array]) -> None:
        """Begin with copies of these weights, in the dtype of the data."""
        self.resume(0, [W.astype(self.X.dtype) for W in weights])

    def resume(self, step: int, weights: Sequence[Array]) -> None:
        """Go on from these weights, which are kept, at a step whose outputs were finite."""
        self.state: State = (step, list(weights))
        self.seen = self.state

    def network(self) -> TwoLayer | DeepNetwork:
        """The network whose outputs were finite last, with copies of its weights."""
        return self._net.with_parameters([W.copy() for W in self.seen[1]])

    @abstractmethod
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs on the training points now, (n,); None where one is not finite, and the state goes back to before.

        gradients : whether those are computed in the same pass, for :meth:`step`. rows : numbers of the points of a
        batch; None is all of them.
        """

    @abstractmethod
    def step(self) -> None:
        """All weights one step of gradient descent further, with the gradients of the last `outputs`."""

    def advance(self, count: int) -> int:
        """``count`` steps further; how many were taken, fewer where outputs are no longer finite then."""
        for taken in range(count):
            if self.outputs(gradients=True) is None:
                return taken
            self.step()
        return count

    def chosen(self, rows: np.ndarray | None) -> tuple[Array, Array, Array | None]:
        """(X, targets, offset) of the points with these numbers; None is all of them."""
        if rows is None:
            return self.X, self.targets, self.offset
        rows = self.engine.xp.asarray(rows)
        return self.X[rows], self.targets[rows], None if self.offset is None else self.offset[rows]

    def finite_outputs(self, out: Array, offset: Array | None) -> Array | None:
        """The outputs less their offset; None where one is not finite, and the state goes back to the last that was."""
        if not bool(self.engine.xp.isfinite(out).all()):
            self.state = self.seen
            return None
        self.seen = self.state
        return out if offset is None else out - offset


class Descent(Trainer):
    r"""Equation (4) for targets y + offset: outputs are those of the network less the offset.

    One step is one pass over the rows: u = X Wᵀ / sqrt d, phi(u), phi'(u), the outputs and residuals r, and
    sum r_i phi'(u_i) x_iᵀ and sum r_i phi(u_i), block by block. ``state`` is (step, [W, v]), replaced as a whole, and
    ``seen`` the last one whose outputs were finite.
    """

    def __init__(self, net: TwoLayer, X: Array, y: Array, *, rates: tuple[float, float], offset: Array | None = None):
        super().__init__(net, X, y, rates=rates, offset=offset)
        self._width = net.width
        self.start([net.W, net.v])
        W, v = self.state[1]
        weights, _ = scaled_weights(W, v, self.y.dtype)
        m, d = W.shape
        self._flops = m * (6.0 * d + FLOPS_OF_PHI)
        shares = self.engine.shares(len(self.y), self._flops)
        self._spaces = [_Space(self.engine.xp, Forward(net.activation, weights)) for _ in shares]
        self._works = self._shared(len(self.y))

    def _shared(self, n: int) -> list:
        """Blocks of n rows for each worker, and its memory."""
        shares, width = self.engine.shares(n, self._flops), self._width
        blocks = [list(enumerate(self.engine.blocks(share, width, BLOCK))) for share in shares]
        return list(zip(blocks, self._spaces, strict=False))

    @DIVERGING
    def outputs(self, *, gradients: bool, rows: np.ndarray | None = None) -> Array | None:
        """Outputs now (:meth:`Trainer.outputs`), and in the same pass the gradients."""
        xp, dtype = self.engine.xp, self.y.dtype
        X, targets, offset = self.chosen(rows)
        W, v = self.state[1]
        weights, readout = scaled_weights(W, v, dtype)
        for space in self._spaces:
            space.forward.weights = weights
        rates, out = self.rates if gradients else (0.0, 0.0), xp.empty(len(targets), dtype)
        works = self._works if rows is None else self._shared(len(out))

        def of_share(work: tuple[list, _Space]) -> tuple[Array, Array]:
            return self._pass(*work, X=X, targets=targets, out=out, readout=readout, rates=rates)

        # A worker has settings of its own.
        parts = [of_share(works[0])] if len(works) == 1 else self.engine.run(DIVERGING(of_share), works)
        self._gradients = [sum(own[1:], own[0]) / len(out) for own in zip(*parts, strict=True)]
        return self.finite_outputs(out, offset)

    @DIVERGING
    def step(self) -> None:
        """Equation (4), with the gradients of the last outputs."""
        (gradient_W, gradient_v), (step, (W, v)), dtype = self._gradients, self.state, self.y.dtype.type
        m, d = W.shape
        W_step = dtype(self.rates[0] / (m * d) ** 0.5) * v[:, None] * gradient_W
        v_step = dtype(self.rates[1] / m**0.5) * gradient_v
        self.state = step + 1, [W - W_step, v - v_step]

    @staticmethod
    def _pass(
        blocks: list,
        space: "_Space",
        *,
        X: Array,
        targets: Array,
        out: Array,
        readout: Array,
        rates: tuple[float, float],
    ) -> tuple[Array, Array]:
        """Write the outputs of blocks of rows; their part of sum r_i phi'(u_i) x_iᵀ and of sum r_i phi(u_i)."""
        for number, rows in blocks:
            x = X[rows]
            value, slope = space.forward(x)
            out[rows] = found = value @ readout
            residual = found - targets[rows]
            if rates[0]:
                space.add(0, number, slope.T, x * residual[:, None])
            if rates[1]:
                space.add(1, number, residual[None], value)
        gradient_W, gradient_v = space.gradients
        return gradient_W, gradient_v[0]


class _Space:
    """Memory of one worker, allocated once: ``gradients`` of W (m, d) and v (1, m), zero where the rate is 0."""

    def __init__(self, xp: Any, forward: Forward):
        d, m = forward.weights.shape
        self.forward, self._xp, dtype = forward, xp, forward.weights.dtype
        self.gradients, self._parts = ([xp.zeros(shape, dtype) for shape in ((m, d), (1, m))] for _ in range(2))

    def add(self, which: int, number: int, left: Array, right: Array) -> None:
        """Make left @ right a gradient where it is that of the first block, and add it where it is not."""
        gradient, part = self.gradients[which], self._parts[which]
        if number:
            gradient += self._xp.matmul(left, right, out=part)
        else:
            self._xp.matmul(left, right, out=gradient)
