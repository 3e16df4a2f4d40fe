"""The Gram operator of gradients, J J'ᵀ, through a function's two directions of differentiation."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.tiles import Tile, slices
from ntkspec.operators.work import Cost, Work


class Jacobian(Protocol):
    """The gradients of a scalar function in its parameters, of which each point x has one: what the operator needs.

    size : number of parameters. flops : of one pass forward for a point. fan : the longest sum in it.
    """

    dtype: np.dtype
    size: int
    flops: float
    fan: int

    def vjp(self, X: Array, cotangent: Array) -> list[Array]:
        """sum_i cotangent_i times the gradient at x_i, in any form that can be added up: a list of arrays."""

    def jvp(self, X: Array, tangents: list[Array]) -> Array:
        """The inner product of each point's gradient with ``tangents``, (n,)."""

    def parts(self, X: Array) -> list[Callable[[], Array]]:
        """The gradients of the points in parts, functions that return (n, p_k) each."""


class JacobianGram(KernelOperator):
    """K_ij = <grad f(x_i), grad f(x'_j)>, the NTK of a function through its two directions of differentiation.

    Parameters
    ----------
    jacobian : Jacobian
        The gradients of the function, with ``dtype``, ``size``, ``flops``, ``fan`` and the methods ``vjp``, ``jvp`` and
        ``parts``.
    X : array, shape (n, d)
        Points of the rows.
    X2 : array, shape (n', d), optional
        Points of the columns; X where it is None.

    Raises
    ------
    ValueError
        For points that do not fit together or hold NaN.

    Notes
    -----
    Keeps references. A product is a vjp to the parameters and a jvp of the result: about six passes forward of the
    function for each vector, and nothing of the size n n' or n p. A tile forms the gradients of its rows and columns,
    part by part: 2 p flops an entry for p parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> net = ns.Convolutional.random((4, 1), [2], "relu", filter_size=3)
    >>> kernel = ns.ntk(net, np.eye(4))
    >>> bool(np.allclose(kernel @ np.eye(4), kernel.to_dense()))
    True
    """

    entrywise = True

    def __init__(self, jacobian: Jacobian, X: ArrayLike, X2: ArrayLike | None = None):
        self.jacobian, self.X = jacobian, checks.as_matrix(X)
        self.X2 = self.X if X2 is None else checks.as_matrix(X2, "X2", columns=self.X.shape[1])
        self.engine = engine_of(self.X, self.X2)
        self.symmetric = self.semidefinite = self.X2 is self.X
        self.shape, self.dtype = (self.X.shape[0], self.X2.shape[0]), jacobian.dtype
        entry = Work(flops=2.0 * jacobian.size + 8.0 * jacobian.flops / self.engine.TILE)
        self.cost = Cost(sum(self.shape) * Work(flops=3.0 * jacobian.flops), own=entry)

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        X, X2 = self.X[tile.rows].astype(tile.dtype), self.X2[tile.cols].astype(tile.dtype)
        left = self.jacobian.parts(X)
        for cols in slices(
            len(X2), self.engine.TILE
        ):  # what a function keeps for its points is large, and columns may be many
            for one, other in zip(left, self.jacobian.parts(X2[cols]), strict=True):
                self.engine.terms.add_scaled(out[:, cols], one() @ other().T, scale)

    def _matmat(self, V: Array) -> Array:
        return self.engine.xp.stack([self._times(v) for v in V.T], axis=1)

    def _times(self, v):
        """K v for one vector."""
        X, X2, dtype = self.X, self.X2, v.dtype
        shares = self.engine.shares(self.shape[1])
        pulled = self.engine.run(lambda s: self.jacobian.vjp(X2[s].astype(dtype, copy=False), v[s]), shares)
        total = [sum(parts) for parts in zip(*pulled, strict=True)]
        shares = self.engine.shares(self.shape[0])
        pushed = self.engine.run(lambda s: self.jacobian.jvp(X[s].astype(dtype, copy=False), total), shares)
        return self.engine.xp.concatenate(pushed)

    @cached_property
    def rounding(self) -> Rounding:
        """The norm of absolute values is at most the trace (of a rectangular K the geometric mean of both traces)."""
        sides = [self] if self.symmetric else [JacobianGram(self.jacobian, X) for X in (self.X, self.X2)]
        sums = [float(side.diagonal(np.float64).sum()) for side in sides]
        return Rounding.of_path(4.0 * self.jacobian.fan + sum(self.shape), (sums[0] * sums[-1]) ** 0.5)

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        dtype, xp = np.dtype(dtype or self.dtype), self.engine.xp

        def entries(rows):
            left, right = (self.jacobian.parts(X[rows].astype(dtype)) for X in (self.X, self.X2))
            return sum(
                self.engine.linalg.row_products(one(), other(), dtype) for one, other in zip(left, right, strict=True)
            )

        blocks = self.engine.blocks(slice(0, self.shape[0]), self.jacobian.size, 2**24)
        return xp.concatenate(self.engine.run(entries, blocks))

    @property
    def T(self) -> "JacobianGram":
        return self if self.symmetric else JacobianGram(self.jacobian, self.X2, self.X)
