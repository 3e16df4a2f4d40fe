"""Gradients of one scalar function at the rows of a matrix, through its two directions of differentiation."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ntkspec import checks
from ntkspec.engines import OnEngine, engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.tiles import Rows, slices
from ntkspec.operators.work import Work


class Gradients(Protocol):
    """The gradients of a scalar function in its parameters, of which each point x has one.

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


class GradientsAt(OnEngine):
    """A function's gradients at the rows of X: one side of a :class:`ntkspec.operators.JacobianGram`.

    Parameters
    ----------
    function : Gradients
        With ``dtype``, ``size``, ``flops``, ``fan`` and the methods ``vjp``, ``jvp`` and ``parts``.
    X : array, shape (n, d)
        Points.

    Raises
    ------
    ValueError
        For points that are no finite matrix.

    Notes
    -----
    A pull and a push of a vector are three passes forward each, on all cores; nothing of the size n p is kept. A tile
    forms the gradients of its points part by part: 2 p flops an entry for p parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> class Linear:  # f(x) = <w, x>
    ...     dtype, size, flops, fan = np.dtype(float), 3, 6.0, 3
    ...     def vjp(self, X, cotangent):
    ...         return [X.T @ cotangent]
    ...     def jvp(self, X, tangents):
    ...         return X @ tangents[0]
    ...     def parts(self, X):
    ...         return [lambda: X]
    >>> X = np.arange(6.0).reshape(2, 3)
    >>> kernel = ns.operators.JacobianGram(ns.operators.GradientsAt(Linear(), X))
    >>> bool(np.allclose(kernel.to_dense(), X @ X.T))
    True
    """

    functions, widens = 1, True

    def __init__(self, function: Gradients, X: ArrayLike):
        self.function, self.X = function, checks.as_matrix(X)
        self.engine, self.dtype = engine_of(self.X), function.dtype
        self.points, self.size = self.X.shape[0], function.size

    @property
    def pull_work(self) -> Work:
        """Three passes forward of all points."""
        return self.points * Work(flops=3.0 * self.function.flops)

    push_work = pull_work

    def entry_work(self, other: "GradientsAt") -> Work:
        """An inner product of gradients, which are computed once for each tile."""
        return Work(flops=2.0 * self.size + 8.0 * self.function.flops / self.engine.TILE)

    def pull(self, U: Array, functions: slice) -> list[list[Array]]:
        """Vector by vector, on shares of the points."""
        return [self._pulled(u) for u in U[:, 0].T]

    def _pulled(self, u: Array) -> list[Array]:
        def of_share(share):
            return self.function.vjp(self.X[share].astype(u.dtype, copy=False), u[share])

        pulled = self.engine.run(of_share, self.engine.shares(self.points))
        return [sum(parts) for parts in zip(*pulled, strict=True)]

    def push(self, tangents: list[list[Array]], functions: slice) -> Array:
        """Vector by vector, on shares of the points."""
        return self.engine.xp.stack([self._pushed(tangent) for tangent in tangents], axis=1)[:, None]

    def _pushed(self, tangent: list[Array]) -> Array:
        def of_share(share):
            return self.function.jvp(self.X[share].astype(tangent[0].dtype, copy=False), tangent)

        return self.engine.xp.concatenate(self.engine.run(of_share, self.engine.shares(self.points)))

    def gram(self, other: "GradientsAt", rows: Rows, cols: slice, *, dtype: np.dtype, stacked: bool) -> Array:
        """Columns in blocks: what a function keeps for its points is large, and columns may be many."""
        X, X2 = self.X[rows].astype(dtype), other.X[cols].astype(dtype)
        found, left = self.engine.xp.zeros((len(X), len(X2)), dtype), self.function.parts(X)
        for block in slices(len(X2), self.engine.TILE):
            for one, other_part in zip(left, other.function.parts(X2[block]), strict=True):
                found[:, block] += one() @ other_part().T
        return found

    def squares(self, dtype: np.dtype) -> Array:
        """In blocks of points."""
        row_products = self.engine.linalg.row_products

        def of_block(rows):
            parts = self.function.parts(self.X[rows].astype(dtype))
            return sum(row_products(own, own, dtype) for own in (part() for part in parts))

        blocks = self.engine.blocks(slice(0, self.points), self.size, 2**24)
        return self.engine.xp.concatenate(self.engine.run(of_block, blocks))[:, None]

    def rounding(self, other: "GradientsAt", kernel: KernelOperator) -> Rounding:
        """The norm of absolute values is at most the trace (of a rectangular K the geometric mean of both traces)."""
        sides = [self] if other is self else [self, other]
        sums: list[Any] = [float(side.squares(np.dtype(np.float64)).sum()) for side in sides]
        return Rounding.of_path(4.0 * self.function.fan + sum(kernel.shape), (sums[0] * sums[-1]) ** 0.5)
