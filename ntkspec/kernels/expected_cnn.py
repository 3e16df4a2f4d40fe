"""The NTK of convolutional networks with infinitely many channels."""

import math
from collections.abc import Sequence

from ntkspec import activations, checks, duals
from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.networks.convolutional import filter_sizes, image_shape
from ntkspec.operators import Gram, KernelOperator
from ntkspec.operators.windows import WindowGram, Windows
from ntkspec.series import Series

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
    act, X = activations.activation(activation), checks.as_matrix(X)
    sides = [X] if X2 is None else [X, checks.as_matrix(X2, "X2", columns=X.shape[1])]
    shape = image_shape((X.shape[1], 1) if shape is None else shape)
    if math.prod(shape) != X.shape[1]:
        raise ValueError(f"{shape=} holds {math.prod(shape)} numbers, but X has {X.shape[1]} columns")
    windows = Windows(shape, filter_sizes(filter_size, shape))
    depth = checks.whole_number(hidden_layers, "hidden_layers", 1)
    return WindowGram(_Network(act, windows, sides, depth), windows, *sides)


def cnn_linear_kernel(activation: str | Activation, X, X2=None) -> KernelOperator:
    r"""The linear part of :func:`expected_cnn_ntk` with one hidden layer: 2 zeta² X X'ᵀ/d, for Proposition 4.1.

    The mean of the c_i over positions is <x, x'>/d for every filter: the kernel is that of a fully-connected network.
    For windows with ‖window‖² = q c, as on the cube, and activations with vartheta0 = vartheta1 = 0, such as the odd
    ones; others have features of the norms and a constant as well, and raise ValueError.
    X : (n, d), X2 : (n', d). Cost: keeps X; rank d.
    """
    act, X = activations.activation(activation), checks.as_matrix(X)
    constants = act.constants
    if max(abs(constants.vartheta0), abs(constants.vartheta1)) > max(1e-12, constants.error):
        raise ValueError(
            f"activation {act.name!r} has vartheta0 = {constants.vartheta0:.3g} and vartheta1 = "
            f"{constants.vartheta1:.3g}, but the linear kernel of a convolutional network is known where both are 0; "
            f"take an odd activation, such as 'erf'"
        )
    inputs = Gram(X) if X2 is None else Gram(X, checks.as_matrix(X2, "X2", columns=X.shape[1]))
    return (2 * constants.zeta**2 / X.shape[1]) * inputs


class _Closed:
    """K and K' of windows, for an activation whose closed form is known. Squares are (positions, r), (positions, s)."""

    # Measured against 150 digits; float64.
    error = 2e-14
    # Intermediates stay in a core's cache, and memory of this size is used again without a page fault.
    pairs, passes = 2**13, 50.0

    def __init__(self, dual):
        self.dual = dual

    def __call__(self, engine, left, right, c, gap):
        return self.dual(engine.xp, left[:, :, None], right[:, None, :], c, gap)

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

    def diagonal(self, engine, squares):
        points = self.table[engine.xp.searchsorted(self.distinct, squares)]
        return points[..., 1], points[..., 2]


class _Network:
    """Entries from the moments K and K' of each layer's windows."""

    def __init__(self, act: Activation, windows: Windows, sides, depth: int):
        self.windows, self.depth, self.engine = windows, depth, engine_of(*sides)
        squares, self.layers = self.engine.xp.concatenate([windows.squares(self.engine, X) for X in sides]), []
        for level in range(depth):
            self.layers.append(_Expanded(act, squares, self.engine) if act.dual is None else _Closed(act.dual))
            squares = self._following(level, squares)
        if act.slopes is None:
            self.lost = None
        else:
            # K(a, a, a) = share a, and what K lacks to that of equal windows.
            self.share, self.lost = (1 + act.slopes[0] ** 2) / 2, duals.lost_to_angle(act.slopes[0])
        self.passes, self.pairs = sum(moments.passes for moments in self.layers), self.layers[0].pairs
        cancelled = CANCELLED if act.kinks and self.lost is None else 0.0
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
        tangent = c
        for level in range(self.depth - 1):
            value, slope = self.layers[level](engine, left[level], right[level], c, gap)
            tangent = self.windows.means(engine, value + tangent * slope)
            here = slice(level, level + 2)
            c, gap = self._covariance(engine, (left[here], right[here]), (c, gap), value)
        value, slope = self.layers[-1](engine, left[-1], right[-1], c, gap)
        return (value + tangent * slope).mean(axis=0)

    def _covariance(self, engine, points, before, value):
        """(c, gap) of the next layer's windows, from the points in this layer and the next, (c, gap) and K of this."""
        ((left, own), (right, other)), xp = points, engine.xp
        c = self.windows.means(engine, value)
        if self.lost is None:
            size = xp.sqrt(own[:, :, None] * other[:, None, :])
            return c, xp.maximum(size - abs(c), 0) * (size + abs(c))
        lost = self.windows.means(engine, self.lost(xp, left[:, :, None], right[:, None, :], *before))
        sizes = [xp.sqrt(self.share * side) for side in (left, right)]  # of the features at each position
        rows, cols = (xp.ascontiguousarray(sizes[0].T), own), (sizes[1], other)
        return c, engine.window_gaps(c, rows, cols, xp.asarray(self.windows.places), lost)

    def diagonal(self, engine, points):
        squares = points.swapaxes(1, 2)
        tangent = squares[0]
        for level in range(self.depth - 1):
            value, slope = self.layers[level].diagonal(engine, squares[level])
            tangent = self.windows.means(engine, value + tangent * slope)
        value, slope = self.layers[-1].diagonal(engine, squares[-1])
        return (value + tangent * slope).mean(axis=0)
