"""The NTK of convolutional networks with infinitely many channels."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ntkspec import checks
from ntkspec.activations import Activation, duals
from ntkspec.activations import activation as activation_of
from ntkspec.activations.hermite import Series
from ntkspec.engines import Engine, OnEngine, engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels import ranges
from ntkspec.kernels.linear_cnn import patches_of
from ntkspec.kernels.recursion import tangent_kernel
from ntkspec.operators import KernelOperator
from ntkspec.operators.patches import Patches, PatchGram

# What phi' at a kink loses where a b - c² of a deeper layer is subtracted: the root of a few ulp.
CANCELLED = 1e-7


def expected_cnn_ntk(
    activation: str | Activation,
    X: ArrayLike,
    X2: ArrayLike | None = None,
    *,
    filter_size: int | Sequence[int],
    shape: Sequence[int] | None = None,
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The NTK of a convolutional network with N(0, 1) weights and infinitely many channels.

    .. math:: \Theta(x, x') = \frac1P \sum_{i=1}^P \left[ K(a_i, b_i, c_i) + c_i K'(a_i, b_i, c_i) \right], \qquad
              c_i = \frac{1}{qc} \langle x_{i..i+q-1}, x'_{i..i+q-1} \rangle

    over the P positions, with c_i of the patches of x and x' at position i, a_i and b_i the same for x and for x' with
    themselves, K = E phi(u)phi(v) and K' = E phi'(u)phi'(v). In two dimensions patches are rectangles; padding is
    circular. Of more ``hidden_layers`` the next c_i is the mean of K over a patch, and that of K + T K' takes the place
    of c_i before K', with T the one before (first c_i).

    Parameters
    ----------
    activation : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.
    X : (n, d) array
        Points, float32 or float64, NumPy or CuPy; the arrays decide where it is computed.
    X2 : (n', d) array, optional
        The points of the columns; None means X itself.
    filter_size : int or sequence of int
        q, the positions of a patch along each axis of space; one number for all axes.
    shape : sequence of int, optional
        Of a point: (length, channels) or (height, width, channels), in C order. None means (d, 1), a sequence with one
        channel, as in equation (12).
    hidden_layers : int, default 1
        The number of convolutional layers before the output.

    Returns
    -------
    KernelOperator
        Shape (n, n) or (n, n'), in the dtype of X: the limit of ``ntk(Convolutional.random(shape, m, ...))`` with all
        its conventions. ``op.function.error`` bounds the error of each entry in float64, relative to
        sqrt(Theta(x, x) Theta(x', x')).

    Raises
    ------
    TypeError
        Where X is no matrix of real numbers.
    ValueError
        Where shape, filter and X do not fit, for an unknown activation, and for norms beyond the ranges of
        :func:`ntkspec.expected_ntk`.

    Notes
    -----
    Cost: 2 d flops and about 50 passes for each position and layer an entry, whatever the filter. Activations without
    closed form take some 0.2 ms and 2 kB for each distinct norm of a patch, up to eight times the passes, and
    milliseconds for a pair of patches that the series does not serve: almost parallel, as all are where a patch is one
    number, and under a kink or of norms above 1.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (12) and section 4.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X = np.ones((2, 6))  # all patches are alike: the kernel is that of a fully-connected network on one of them
    >>> cnn, fc = ns.expected_cnn_ntk("erf", X, filter_size=3), ns.expected_ntk("erf", X[:, :3])
    >>> bool(np.allclose(cnn.to_dense(), fc.to_dense()))
    True
    """
    act, sides = activation_of(activation), checks.as_sides(X, X2)
    patches = patches_of(sides[0], filter_size, shape)
    count = checks.whole_number(hidden_layers, "hidden_layers", 1)
    return ranges.built(act, sides, lambda *sides: PatchGram(_Network(act, patches, sides, count), patches, *sides))


class _Closed:
    """K and K' of patches, for an activation whose closed form is known. Squares are (positions, r), (positions, s)."""

    # Intermediates stay in a core's cache, and memory of this size is used again without a page fault.
    pairs, passes = 2**13, 50.0

    def __init__(self, dual: Callable[..., Any], squares: Array):
        self.dual, self.error = dual, duals.error_of(dual, float(squares.max()))

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Sequence[Array]:
        return self.dual(engine.xp, left[:, :, None], right[:, None, :], c, gap)

    def with_lost(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> tuple:
        """K, K' and what K lacks to that of equal patches, where the dual knows it, else None."""
        arguments = engine.xp, left[:, :, None], right[:, None, :], c, gap
        if isinstance(self.dual, duals.PiecewiseLinear):
            return self.dual.with_distances(*arguments)[:3]
        return *self.dual(*arguments), None

    def diagonal(self, engine: Engine, squares: Array) -> tuple[Array, Array]:
        return self.dual(engine.xp, squares, squares, squares, engine.xp.zeros_like(squares))


class _Expanded:
    """The same for every other activation, position by position. Keeps the coefficients of each distinct norm."""

    # Each position copies the coefficients of its columns, for as many rows as there are.
    pairs = 2**18

    def __init__(self, act: Activation, squares: Array, engine: Engine):
        self.distinct = engine.xp.unique(squares)
        self.series = Series(act, engine.to_host(self.distinct))
        self.passes = 1.5 * self.series.terms
        size = 8.0 * (5 + 2 * self.series.terms) * self.distinct.size
        what = f"the series of {act.name!r} for the {self.distinct.size} norms of the patches"
        checks.memory(size, engine, what, "take an activation with a closed form, fewer points or data of equal norms")
        self.table, self.error = self.series.points(self.distinct), self.series.error

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Sequence[Array]:
        points = (self.table[engine.xp.searchsorted(self.distinct, squares)] for squares in (left, right))
        pairs = [self.series(engine, *position) for position in zip(*points, c, gap, strict=True)]
        return [engine.xp.stack(part) for part in zip(*pairs, strict=True)]

    def with_lost(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> tuple:
        """K, K' and None."""
        return *self(engine, left, right, c, gap), None

    def diagonal(self, engine: Engine, squares: Array) -> tuple[Array, Array]:
        points = self.table[engine.xp.searchsorted(self.distinct, squares)]
        return points[..., 1], points[..., 2]


class _Network(OnEngine):
    """Entries from the moments K and K' of each layer's patches."""

    def __init__(self, act: Activation, patches: Patches, sides: Sequence[Array], hidden_layers: int):
        self.patches, self.levels, self.engine = patches, hidden_layers, engine_of(*sides)
        self.weights, self.layers = (1.0,) * (hidden_layers + 1), []
        squares = self.engine.xp.concatenate([patches.squares(self.engine, X) for X in sides])
        for layer in range(hidden_layers):
            # A patch may be as small as it likes beside others: the moments of those are what its point's consist of.
            ranges.refuse_variances(act, squares.max(axis=1), layer)
            own = _Closed(act.dual, squares) if act.dual is not None else _Expanded(act, squares, self.engine)
            self.layers.append(own)
            squares = self._following(layer, squares)
        # K(a, a, a) = share a, for those whose K says what it lacks to that of equal patches.
        self.share = act.dual.equal if isinstance(act.dual, duals.PiecewiseLinear) else None
        self.passes, self.pairs = sum(moments.passes for moments in self.layers), self.layers[0].pairs
        cancelled = CANCELLED if act.kinks and self.share is None else 0.0
        self.error = sum(moments.error for moments in self.layers) + (hidden_layers - 1) * cancelled

    def points(self, squares: Array) -> Array:
        points = [squares]
        for layer in range(self.levels - 1):
            points.append(self._following(layer, points[-1]))
        return self.engine.xp.stack(points)

    def _following(self, layer: int, squares):
        """Squares (n, positions) of the next layer's patches."""
        whole = self.engine.xp.ascontiguousarray
        value, _ = self.layers[layer].diagonal(self.engine, whole(squares.T))
        return whole(self.patches.means(self.engine, value).T)

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Array:
        return self._mean(engine, c, self._moments(engine, left, right, c, gap))

    def _mean(self, engine, covariance, layers):
        """Over all positions, T_L of layers between which it is the mean over each patch."""
        between = partial(self.patches.means, engine)
        return tangent_kernel(self.weights, covariance, layers, between=between).mean(axis=0)

    def _moments(self, engine, left, right, c, gap) -> Iterator[Sequence[Array]]:
        """(K, K') at the positions of one layer after another."""
        for layer in range(self.levels - 1):
            value, slope, lost = self.layers[layer].with_lost(engine, left[layer], right[layer], c, gap)
            yield value, slope
            here = slice(layer, layer + 2)
            c, gap = self._covariance(engine, left[here], right[here], value=value, lost=lost)
        yield self.layers[-1](engine, left[-1], right[-1], c, gap)

    def _covariance(self, engine, rows, cols, *, value, lost):
        """(c, gap) of the next layer's patches, from the squares in this layer and the next, K and what it lacks."""
        xp, own, other = engine.xp, rows[1], cols[1]
        c = self.patches.means(engine, value)
        if lost is None:
            size = xp.sqrt(own[:, :, None] * other[:, None, :])
            return c, xp.maximum(size - abs(c), 0) * (size + abs(c))
        sizes = [xp.sqrt(self.share * side) for side in (rows[0], cols[0])]  # of the features at each position
        sides = (xp.ascontiguousarray(sizes[0].T), own), (sizes[1], other)
        return c, engine.patches.gaps(
            c, *sides[0], *sides[1], xp.asarray(self.patches.places), self.patches.means(engine, lost)
        )

    def diagonal(self, engine: Engine, points: Array) -> Array:
        squares = points.swapaxes(1, 2)
        moments = (layer.diagonal(engine, own) for layer, own in zip(self.layers, squares, strict=True))
        return self._mean(engine, squares[0], moments)
