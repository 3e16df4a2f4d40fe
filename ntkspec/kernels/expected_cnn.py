"""The NTK of convolutional networks with infinitely many channels."""

from collections.abc import Sequence
from functools import partial

from ntkspec import checks
from ntkspec.activations import Activation, duals
from ntkspec.activations import activation as activation_of
from ntkspec.activations.hermite import Series
from ntkspec.engines import OnEngine, engine_of
from ntkspec.kernels import ranges
from ntkspec.kernels.linear_cnn import windows_of
from ntkspec.kernels.recursion import tangent_kernel
from ntkspec.operators import KernelOperator
from ntkspec.operators.windows import WindowGram, Windows

# What phi' at a kink loses where a b - c² of a deeper layer is subtracted: the root of a few ulp.
CANCELLED = 1e-7


def expected_cnn_ntk(
    activation: str | Activation,
    X,
    X2=None,
    *,
    filter_size: int | Sequence[int],
    shape: Sequence[int] | None = None,
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The NTK of a convolutional network with N(0, 1) weights and infinitely many channels, (n, n) or (n, n').

    .. math:: \Theta(x, x') = \frac1P \sum_{i=1}^P \left[ K(a_i, b_i, c_i) + c_i K'(a_i, b_i, c_i) \right], \qquad
              c_i = \frac{1}{qc} \langle x_{i..i+q-1}, x'_{i..i+q-1} \rangle

    with a_i and b_i the same for x and x' with themselves, K = E phi(u)phi(v), K' = E phi'(u)phi'(v): equation (12),
    P = d positions of one channel, is the case shape = (d, 1), which None stands for. It is the limit of
    ``ntk(Convolutional.random(shape, m, ...))`` with all its conventions; in two dimensions windows are rectangles.
    Of more ``hidden_layers`` the next c_i is the mean of K over a window, and that of K + T K' takes the place of c_i
    before K', with T the one before (first c_i).
    X : (n, d), X2 : (n', d) in C order of ``shape``, (length, c) or (height, width, c). filter_size : along each axis.
    Activations and their accuracy as for :func:`ntkspec.expected_ntk`, relative to sqrt(Theta(x, x) Theta(x', x')).
    Cost: 2 d flops and about 50 passes for each position and layer an entry, whatever the filter. Activations without
    closed form take some 0.2 ms and 2 kB for each distinct norm of a window, up to eight times the passes, and
    milliseconds for a pair of windows that the series does not serve: almost parallel, as all are where a window is one
    number, and under a kink or of norms above 1. Raises ValueError / TypeError.
    """
    act, sides = activation_of(activation), checks.as_sides(X, X2)
    windows = windows_of(sides[0], filter_size, shape)
    depth = checks.whole_number(hidden_layers, "hidden_layers", 1)
    return ranges.built(act, sides, lambda *sides: WindowGram(_Network(act, windows, sides, depth), windows, *sides))


class _Closed:
    """K and K' of windows, for an activation whose closed form is known. Squares are (positions, r), (positions, s)."""

    # Intermediates stay in a core's cache, and memory of this size is used again without a page fault.
    pairs, passes = 2**13, 50.0

    def __init__(self, dual, squares):
        self.dual, self.error = dual, duals.error_of(dual, float(squares.max()))

    def __call__(self, engine, left, right, c, gap):
        return self.dual(engine.xp, left[:, :, None], right[:, None, :], c, gap)

    def with_lost(self, engine, left, right, c, gap):
        """K, K' and what K lacks to that of equal windows, where the dual knows it, else None."""
        arguments = engine.xp, left[:, :, None], right[:, None, :], c, gap
        if isinstance(self.dual, duals.PiecewiseLinear):
            return self.dual.with_distances(*arguments)[:3]
        return *self.dual(*arguments), None

    def diagonal(self, engine, squares):
        return self.dual(engine.xp, squares, squares, squares, engine.xp.zeros_like(squares))


class _Expanded:
    """The same for every other activation, position by position. Keeps the coefficients of each distinct norm."""

    # Each position copies the coefficients of its columns, for as many rows as there are.
    pairs = 2**18

    def __init__(self, act: Activation, squares, engine):
        self.distinct = engine.xp.unique(squares)
        self.series = Series(act, engine.to_host(self.distinct))
        self.passes = 1.5 * self.series.terms
        size = 8.0 * (5 + 2 * self.series.terms) * self.distinct.size
        what = f"the series of {act.name!r} for the {self.distinct.size} norms of the windows"
        checks.memory(size, engine, what, "take an activation with a closed form, fewer points or data of equal norms")
        self.table, self.error = self.series.points(self.distinct), self.series.error

    def __call__(self, engine, left, right, c, gap):
        points = (self.table[engine.xp.searchsorted(self.distinct, squares)] for squares in (left, right))
        pairs = [self.series(engine, *position) for position in zip(*points, c, gap, strict=True)]
        return (engine.xp.stack(part) for part in zip(*pairs, strict=True))

    def with_lost(self, engine, left, right, c, gap):
        """K, K' and None."""
        return *self(engine, left, right, c, gap), None

    def diagonal(self, engine, squares):
        points = self.table[engine.xp.searchsorted(self.distinct, squares)]
        return points[..., 1], points[..., 2]


class _Network(OnEngine):
    """Entries from the moments K and K' of each layer's windows."""

    def __init__(self, act: Activation, windows: Windows, sides, depth: int):
        self.windows, self.depth, self.engine = windows, depth, engine_of(*sides)
        self.weights = (1.0,) * (depth + 1)
        squares, self.layers = self.engine.xp.concatenate([windows.squares(self.engine, X) for X in sides]), []
        for level in range(depth):
            # A window may be as small as it likes beside others: the moments of those are what its point's consist of.
            ranges.refuse_variances(act, squares.max(axis=1), level)
            own = _Closed(act.dual, squares) if act.dual is not None else _Expanded(act, squares, self.engine)
            self.layers.append(own)
            squares = self._following(level, squares)
        # K(a, a, a) = share a, for those whose K says what it lacks to that of equal windows.
        self.share = act.dual.equal if isinstance(act.dual, duals.PiecewiseLinear) else None
        self.passes, self.pairs = sum(moments.passes for moments in self.layers), self.layers[0].pairs
        cancelled = CANCELLED if act.kinks and self.share is None else 0.0
        self.error = sum(moments.error for moments in self.layers) + (depth - 1) * cancelled

    def points(self, squares):
        levels = [squares]
        for level in range(self.depth - 1):
            levels.append(self._following(level, levels[-1]))
        return self.engine.xp.stack(levels)

    def _following(self, level: int, squares):
        """Squares (n, positions) of the next layer's windows."""
        whole = self.engine.xp.ascontiguousarray
        value, _ = self.layers[level].diagonal(self.engine, whole(squares.T))
        return whole(self.windows.means(self.engine, value).T)

    def __call__(self, engine, left, right, c, gap):
        return self._mean(engine, c, self._moments(engine, left, right, c, gap))

    def _mean(self, engine, covariance, layers):
        """Over all positions, T_L of layers between which it is the mean over each patch."""
        between = partial(self.windows.means, engine)
        return tangent_kernel(self.weights, covariance, layers, between=between).mean(axis=0)

    def _moments(self, engine, left, right, c, gap):
        """(K, K') at the positions of one layer after another."""
        for level in range(self.depth - 1):
            value, slope, lost = self.layers[level].with_lost(engine, left[level], right[level], c, gap)
            yield value, slope
            here = slice(level, level + 2)
            c, gap = self._covariance(engine, (left[here], right[here]), value, lost)
        yield self.layers[-1](engine, left[-1], right[-1], c, gap)

    def _covariance(self, engine, points, value, lost):
        """(c, gap) of the next layer's windows, from the points in this layer and the next, K and what it lacks."""
        ((left, own), (right, other)), xp = points, engine.xp
        c = self.windows.means(engine, value)
        if lost is None:
            size = xp.sqrt(own[:, :, None] * other[:, None, :])
            return c, xp.maximum(size - abs(c), 0) * (size + abs(c))
        sizes = [xp.sqrt(self.share * side) for side in (left, right)]  # of the features at each position
        rows, cols = (xp.ascontiguousarray(sizes[0].T), own), (sizes[1], other)
        return c, engine.window_gaps(c, rows, cols, xp.asarray(self.windows.places), self.windows.means(engine, lost))

    def diagonal(self, engine, points):
        squares = points.swapaxes(1, 2)
        moments = (layer.diagonal(engine, own) for layer, own in zip(self.layers, squares, strict=True))
        return self._mean(engine, squares[0], moments)
