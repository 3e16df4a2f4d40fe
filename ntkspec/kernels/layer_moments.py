"""The layers of a deep network of infinite width: what one activation makes of variances and covariances."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ntkspec.activations import Activation, duals
from ntkspec.activations.hermite import Series
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array
from ntkspec.kernels import ranges


class LayerMoments(Protocol):
    """K = E[phi(u) phi(v)] and K' = E[phi'(u) phi'(v)] of one layer, for inputs of the norms that it was made for.

    left (r, width) and right (s, width) are the numbers of points, c and gap (r, s) their covariance and ab - c².
    """

    # A bound on the error of both, relative to sqrt(K(x, x) K(x', x')).
    error: float

    @property
    def width(self) -> int:
        """Numbers of a point."""

    def points(self, squares: Array) -> Array:
        """(n, width) numbers of each point, from its variance (n,): that, E phi², and what else is needed."""

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Sequence[Array]:
        """K and K' (r, s)."""

    def with_next_gap(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Sequence[Array]:
        """K, K' and the gap of the next layer."""

    def diagonal(self, engine: Engine, points: Array) -> tuple[Array, Array]:
        """K and K' of each point with itself."""

    def carried(self, error: float) -> tuple[float, float]:
        """Relative errors of K and K' at an error of the correlation."""


class Closed:
    """The moments of an activation whose closed form is known, as :class:`Series` gives those of any other.

    ``points`` of a point: ‖x‖²/d and E phi².
    """

    width = 2

    def __init__(self, dual: Callable[..., Any], squares: Array):
        self.dual, self.error = dual, duals.error_of(dual, float(squares.max()))

    def points(self, squares: Array) -> Array:
        xp = engine_of(squares).xp
        return xp.stack([squares, self._alone(xp, squares)[0]], axis=1)

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Sequence[Array]:
        return self.dual(engine.xp, left[:, :1], right[:, 0], c, gap)

    def with_next_gap(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Sequence[Array]:
        """K, K' and the gap of the next layer."""
        arguments = engine.xp, left[:, :1], right[:, 0], c, gap
        if isinstance(self.dual, duals.PiecewiseLinear):
            value, slope, lost, other = self.dual.with_distances(*arguments)
            return value, slope, lost * other
        value, slope = self.dual(*arguments)
        return value, slope, duals.next_gap(engine.xp, value, left[:, 1:], right[:, 1])

    def diagonal(self, engine: Engine, points: Array) -> tuple[Array, Array]:
        return self._alone(engine.xp, points[:, 0])

    def carried(self, error: float) -> tuple[float, float]:
        """Relative errors of K and K' at an error of rho, whose part was measured as well."""
        return error + self.error, error + self.error

    def _alone(self, xp, a):
        return self.dual(xp, a, a, a, xp.zeros_like(a))


def layer_moments(act: Activation, sides: Sequence[Array], hidden_layers: int) -> tuple[list[LayerMoments], bool]:
    """The moments of each layer, the first for inputs from ``sides``, each next for the variances that come out.

    Also whether float32 holds the products of all these variances.
    """
    engine = engine_of(*sides)
    squares = np.unique(engine.to_host(engine.xp.concatenate([ranges.squares_of(engine, X) for X in sides])))
    found: list[LayerMoments] = []
    narrow = True
    for layer in range(hidden_layers):
        ranges.refuse_variances(act, squares, layer)
        narrow &= ranges.within(squares, *ranges.SQUARES["f"])
        found.append(Series(act, squares) if act.dual is None else Closed(act.dual, squares))
        if layer + 1 < hidden_layers:
            squares = found[-1].points(squares)[:, 1]
    return found, narrow
