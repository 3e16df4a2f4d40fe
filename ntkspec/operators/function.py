"""A kernel whose entries are a function of two inputs' inner product and norms."""

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ntkspec.engines import Engine
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.factors import paired_factors
from ntkspec.operators.rounding import HALF_ULP, Rounding
from ntkspec.operators.tiles import Tile, slices
from ntkspec.operators.work import Cost, Work

# Passes over a tile that one entry costs a level, of an arc tangent and what surrounds it.
PASSES = 50.0
# 1 - rho² below which a pair's inner product is taken again from the difference of the two directions.
CLOSE = {"f": 0.1, "d": 0.01}
# What an error of rho can do to an entry where 1 - rho² >= CLOSE["d"]: max k rho^(k-1), relative to the diagonal.
SENSITIVITY = 2 / (math.e * CLOSE["d"])


class PairFunction(Protocol):
    """h(x, x') of a positive semidefinite kernel: what :class:`ntkspec.operators.GramFunction` needs to know.

    Attributes
    ----------
    error : float
        A bound on the error of h(x, x') over sqrt(h(x, x) h(x', x')), rounding of its arguments aside.
    levels : int
        Nonlinear functions that an entry passes through, one after the other.

    Examples
    --------
    >>> class Squared:
    ...     error, levels = 1e-15, 1
    ...     def points(self, squares):
    ...         return squares[:, None]
    ...     def __call__(self, engine, left, right, c, gap):
    ...         return c**2
    ...     def diagonal(self, engine, points):
    ...         return points[:, 0] ** 2
    >>> import numpy as np
    >>> from ntkspec.operators import GramFunction
    >>> GramFunction(Squared(), np.eye(2)).to_dense()
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """

    # A bound on the error of h(x, x') over sqrt(h(x, x) h(x', x')), rounding of its arguments aside.
    error: float
    # Nonlinear functions that an entry passes through, one after the other.
    levels: int

    def points(self, squares: Array) -> Array:
        """(n, p) numbers of each point, from its ‖x‖²/d (n,), which is the first of them."""

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> Array:
        """Entries (r, s) for points (r, p) and (s, p), c = <x, x'>/d and gap = ‖x‖²‖x'‖²/d² - c², both (r, s)."""

    def diagonal(self, engine: Engine, points: Array) -> Array:
        """h(x, x) of points (n, p)."""


class OfPairs(KernelOperator):
    """Entries are a ``function`` of two points, whose numbers are ``left`` and ``right``; products form every tile."""

    entrywise = True
    function: Any
    left: Any
    right: Any
    # Roundings on the longest path of a product.
    rounding_depth: float

    def _matmat(self, V: Array) -> Array:
        return self._tiled_product(V)

    def own_diagonals(self) -> list[Array]:
        """h(x, x) in float64 of the points of each side, one where they are the same."""
        sides = [self.left] if self.symmetric else [self.left, self.right]
        return [self.function.diagonal(self.engine, side) for side in sides]

    @cached_property
    def rounding(self) -> Rounding:
        """The norm of absolute values is at most the trace (of a rectangular K the geometric mean of both traces)."""
        roots = [math.sqrt(float(own.sum(dtype=np.float64))) for own in self.own_diagonals()]
        return Rounding.of_path(self.rounding_depth, roots[0] * roots[-1])

    @property
    @abstractmethod
    def T(self) -> "OfPairs":
        """The transpose."""

    @property
    @abstractmethod
    def relative_storage_error(self) -> float:
        """The error of each entry, relative to sqrt(h(x, x) h(x', x'))."""

    @property
    def storage_error(self) -> float:  # type: ignore[override]
        return self.relative_storage_error * self.rounding.norm_of_absolute

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        if self.symmetric:
            return self.own_diagonals()[0].astype(dtype or self.dtype)
        entries = [self.tile(slice(i, i + 1), slice(i, i + 1), dtype)[0] for i in range(self.shape[0])]
        return self.engine.xp.concatenate(entries)


class GramFunction(OfPairs):
    r"""K_ij = h(‖x_i‖²/d, ‖x'_j‖²/d, <x_i, x'_j>/d) for points x of the rows and x' of the columns.

    The expected kernels :math:`E_W \Theta_1`, :math:`E_W \Theta_2` are of this kind.

    Parameters
    ----------
    function : PairFunction
        h.
    X : array, shape (n, d), float32 or float64
        Points of the rows.
    X2 : array, shape (n', d), optional
        Points of the columns; X where it is None.
    in_float64 : bool, default False
        Entries are computed in float64 and then rounded, for float32 points whose numbers float32 does not hold.

    Notes
    -----
    Keeps references to X and X'. ``gap`` = ‖x‖²‖x'‖²/d² - c² would cancel for inputs that are nearly parallel: there it
    is taken from the difference of the directions, so that entries keep their accuracy up to rho = +-1. A tile takes 2
    d flops and about 50 passes an entry and level; a product forms every tile.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> ns.expected_nngp("relu", np.eye(3)).shape
    (3, 3)
    """

    def __init__(self, function: PairFunction, X: ArrayLike, X2: ArrayLike | None = None, *, in_float64: bool = False):
        self.function, self.in_float64 = function, in_float64
        self.X, self.X2, self.engine = paired_factors(X, X2, "X")
        self.symmetric = self.semidefinite = self.X2 is self.X
        self.shape, self.dtype = (self.X.shape[0], self.X2.shape[0]), self.X.dtype
        self.left = self._points(self.X)
        self.right = self.left if self.symmetric else self._points(self.X2)
        self.cost = formed_each_time(
            self.shape, Cost(Work(), Work(entries=PASSES * function.levels), ((self.X, self.X2),))
        )
        self.rounding_depth = self.shape[1] + SENSITIVITY * (self.X.shape[1] + 64)

    def _points(self, X):
        return self.function.points(self.engine.linalg.row_products(X, X, np.float64) / X.shape[1])

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        if self.in_float64:
            tile = Tile(tile.rows, tile.cols, np.dtype(np.float64))
        gram, left, right = tile.gram(self.X, self.X2), self.left[tile.rows], self.right[tile.cols]
        X, cols = self.X[tile.rows], (self.X2[tile.cols], self.engine.xp.ascontiguousarray(right[:, 0]))
        right = right.astype(tile.dtype, copy=False)
        for rows in slices(tile.shape[0], self.engine.STRIP):
            own = self.engine.xp.ascontiguousarray(left[rows, 0])
            c, gap = self.engine.pairs.moments(gram[rows], X[rows], own, *cols, CLOSE[np.dtype(tile.dtype).char])
            entries = self.function(self.engine, left[rows].astype(tile.dtype, copy=False), right, c, gap)
            self.engine.terms.add_scaled(out[rows], entries, scale)

    @property
    def relative_storage_error(self) -> float:
        return self.function.error + SENSITIVITY * HALF_ULP

    def against(self, other: "GramFunction") -> "GramFunction":
        """The kernel of its rows with those of another."""
        return GramFunction(self.function, self.X, other.X, in_float64=self.in_float64)

    @property
    def T(self) -> "GramFunction":
        if self.symmetric:
            return self
        return GramFunction(self.function, self.X2, self.X, in_float64=self.in_float64)


def formed_each_time(shape: tuple[int, int], tile: Cost) -> Cost:
    """The cost of an operator whose products form every tile, from that of its tiles."""
    return replace(tile, product=float(shape[0] * shape[1]) * tile.entry)
