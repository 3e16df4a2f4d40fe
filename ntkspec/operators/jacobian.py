"""The Gram operator of gradients, J J'ᵀ, of R scalar functions at n points."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, Protocol, TypeAlias

import numpy as np

from ntkspec import progress
from ntkspec.engines import Engine
from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.sampling import forming_error
from ntkspec.operators.tiles import Rows, Tile, slices
from ntkspec.operators.work import Cost, PassWork, Work

# A block of k vectors of parameters, in whatever form a Jacobian has: what ``pull`` gives and ``push`` takes.
Tangents: TypeAlias = Any
# Bytes of the vectors of parameters that are on their way at once, and how often a side holds each of them.
TANGENT_BYTES, COPIES = 2.0**30, 3


class JacobianAt(Protocol):
    """J, the gradients of R scalar functions g_r in P parameters at n fixed points: (n, R, P), never formed whole.

    points : n. functions : R. size : P. dtype : of its numbers. ``pull_work`` and ``push_work`` are for one vector,
    whether of one function or of all R together. A side that multiplies float64 vectors in ``dtype`` has an attribute
    ``widens``, which is False; one whose tiles are formed by all threads together ``takes_all_threads``. One whose
    passes are a framework's has methods that give a :class:`ntkspec.operators.work.PassWork`: ``passes_of_points(n)``,
    of the gradients of n points, and ``passes_of_checks(stacked)``, of the estimates of rounding. One that runs code of
    a user's has a method ``told_by_point(name)``, a context in which errors of that code name the point of ``name``
    that they come from. One that keeps what it makes for estimates of rounding has a method ``release()``, which drops
    it.
    """

    points: int
    functions: int
    size: int
    dtype: np.dtype

    @property
    def engine(self) -> Engine:
        """What computes."""

    @property
    def pull_work(self) -> Work:
        """Of :meth:`pull` for one vector, of one function or of all together."""

    @property
    def push_work(self) -> Work:
        """Of :meth:`push` for one vector, of one function or of all together."""

    def entry_work(self, other: Any) -> Work:
        """Of one entry of J_r J'_rᵀ in a tile."""

    def pull(self, U: Array, functions: slice) -> Tangents:
        """sum over i and r of U[i, r] times the gradient of g_r at x_i: U is (n, r, k) for r chosen functions."""

    def push(self, tangents: Tangents, functions: slice) -> Array:
        """The inner products of the gradients with k vectors of parameters, (n, r, k)."""

    def gram(self, other: Any, rows: Rows, cols: slice, *, dtype: np.dtype, stacked: bool) -> Array:
        """J[rows] J'[cols]ᵀ: (rows R, cols R) in point-major order, or summed over functions (rows, cols)."""

    def squares(self, dtype: np.dtype) -> Array:
        """|J[i, r]|², (n, R)."""

    def rounding(self, other: Any, kernel: "JacobianGram") -> Rounding:
        """Of the kernel J J'ᵀ with these sides."""


class JacobianGram(KernelOperator):
    r"""K = scale * J J'ᵀ, the NTK of R functions of a network, through their gradients at two sets of points.

    Parameters
    ----------
    left : JacobianAt
        The gradients at the points of the rows.
    right : JacobianAt, optional
        Those at the points of the columns; ``left`` where it is None.
    stacked : bool, default False
        A row for each point and function, point-major: (n R, n' R). Otherwise the sum over the functions, (n, n').
    scale : float, default 1
        A factor > 0.
    definition : str, optional
        Which kernel it is, in words that ``repr`` shows.

    Raises
    ------
    ValueError
        Where the sides are of different functions or parameters.

    Notes
    -----
    Keeps references. A product pulls each vector back to the parameters and pushes the result forward; where functions
    are summed, once for each of them. A tile takes ``gram`` of its points.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> net = ns.Convolutional.random((4, 1), [2], "relu", filter_size=3)
    >>> kernel = ns.ntk(net, np.eye(4))
    >>> bool(np.allclose(kernel @ np.eye(4), kernel.to_dense()))
    True
    """

    entrywise = columns_are_dear = True

    def __init__(
        self,
        left: JacobianAt,
        right: JacobianAt | None = None,
        *,
        stacked: bool = False,
        scale: float = 1.0,
        definition: str = "",
    ):
        self.definition = definition
        self.left, self.right, self.scale = left, left if right is None else right, float(scale)
        found = [(side.functions, side.size) for side in (self.left, self.right)]
        if found[0] != found[1]:
            raise ValueError(f"gradients of (functions, parameters) {found[0]} and {found[1]} came; they have to agree")
        # One function has the same matrix either way, and one pull for a product.
        self.functions, self.stacked = left.functions, stacked or left.functions == 1
        self.engine, self.dtype = left.engine, left.dtype
        self.takes_all_threads = getattr(left, "takes_all_threads", False)
        self.widens = all(getattr(side, "widens", True) for side in (self.left, self.right))
        self.symmetric = self.semidefinite = self.right is self.left
        self.rows_per_point = self.functions if self.stacked else 1
        self.shape = (self.left.points * self.rows_per_point, self.right.points * self.rows_per_point)

    @cached_property
    def cost(self) -> Cost:
        """A pull and a push, for each function where they are summed; a tile takes the inner products of gradients."""
        times = 1.0 if self.stacked else self.functions
        with self._told():
            passes = times * (self.right.pull_work + self.left.push_work)
            return Cost(passes, own=times * self.left.entry_work(self.right))

    def _told(self) -> contextlib.ExitStack:
        """Where errors of a user's code are told with the point."""
        stack, sides = contextlib.ExitStack(), {"X": self.left, "X2": self.right}
        for name, side in [("", self.left)] if self.right is self.left else sides.items():
            if hasattr(side, "told_by_point"):
                stack.enter_context(side.told_by_point(name))
        return stack

    def passes(self, points: int, *, checks: bool) -> PassWork:
        """What a framework does for the gradients of so many points, and for the estimates of rounding; nothing where
        all is our own :attr:`cost`."""
        side: Any = self.left
        if not hasattr(side, "passes_of_points"):
            return PassWork()
        of_points = side.passes_of_points(points)
        return of_points + side.passes_of_checks(self.stacked) if checks else of_points

    def _matmat(self, V: Array) -> Array:
        """As many vectors at once as their products with the gradients have room."""
        many = max(1, int(TANGENT_BYTES / (COPIES * self.left.size * self.dtype.itemsize)))
        with self._told():
            if V.shape[1] <= many:
                return self._products(V)
            blocks = progress.bar(slices(V.shape[1], many), text="products with gradients")
            return self.engine.xp.concatenate([self._products(V[:, block]) for block in blocks], axis=1)

    def _products(self, V: Array) -> Array:
        """One vector of parameters for each of V at a time."""
        pulled = ((self._pulled(V, own), own) for own in self._together)
        return self._finite(self._summed(self.left.push(*one) for one in pulled), V)

    @property
    def _together(self) -> list[slice]:
        """The functions that one vector of parameters stands for: all, or one after the other where they are summed."""
        return [slice(0, self.functions)] if self.stacked else [slice(r, r + 1) for r in range(self.functions)]

    def _pulled(self, V: Array, functions: slice) -> Tangents:
        return self.right.pull(V.reshape(self.right.points, -1, V.shape[1]), functions)

    def _summed(self, pushed: Iterable[Array]) -> Array:
        """The scaled sum of (n, r, k) over what is summed, as rows."""
        total = reduce(add, pushed)
        return total.dtype.type(self.scale) * total.reshape(self.shape[0], total.shape[2])

    def local_vjp(self, V: Array) -> list[Tangents]:
        """Vectors of parameters, which add up over parts of the points."""
        with self._told():
            return [self._pulled(V, own) for own in self._together]

    def local_jvp(self, total: list[Tangents]) -> Array:
        """Inner products of the gradients with their sum."""
        with self._told():
            return self._finite(self._summed(map(self.left.push, total, self._together)))

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        self.engine.terms.add_scaled(out, self._entries(tile), scale * self.scale)

    def _entries(self, tile: Tile) -> Array:
        """Of whole points, less the rows and columns that the tile does not have."""
        R = self.rows_per_point
        cols = slice(tile.cols.start // R, -(-tile.cols.stop // R))
        own_cols = slice(tile.cols.start - cols.start * R, tile.cols.stop - cols.start * R)
        if isinstance(tile.rows, slice):
            first = tile.rows.start // R
            rows: Rows = slice(first, -(-tile.rows.stop // R))
            own_rows: Any = slice(tile.rows.start - first * R, tile.rows.stop - first * R)
        else:
            rows, place = np.unique(self.engine.to_host(tile.rows) // R, return_inverse=True)
            own_rows = self.engine.xp.asarray(place * R + self.engine.to_host(tile.rows) % R)
        with self._told():
            found = self.left.gram(self.right, rows, cols, dtype=tile.dtype, stacked=self.stacked)
        found = self._finite(found)[own_rows, own_cols]
        if self.symmetric and isinstance(tile.rows, slice) and tile.rows == tile.cols and tile.dtype == self.dtype:
            self._seen[tile.rows] = self.scale * found.diagonal()
        return found

    @cached_property
    def _seen(self) -> Array:
        """The diagonal, as far as tiles have been formed."""
        return self.engine.xp.full(self.shape[0], np.nan, self.dtype)

    @property
    def known_diagonal(self) -> Array | None:
        """The diagonal of a symmetric kernel, where tiles have been formed that hold all of it."""
        return None if self.engine.xp.isnan(self._seen).any() else self._seen

    def row_weights(self) -> Array:
        """The diagonal in the kernel's own dtype, which takes passes through the network."""
        return abs(self.diagonal()).astype(np.float64)

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        dtype = np.dtype(dtype or self.dtype)
        if not self.symmetric:
            return super().diagonal(dtype)
        known = self.known_diagonal
        if known is not None and dtype == self.dtype:
            return known.copy()
        with self._told():
            squares = self._finite((self.scale * self.left.squares(dtype)).astype(dtype, copy=False))
        return squares.ravel() if self.stacked else squares.sum(axis=1)

    def _finite(self, found: Array, V: Array | None = None) -> Array:
        """``found``, of vectors V. Raises ValueError where gradients of points are not finite, or too large."""
        isfinite = self.engine.xp.isfinite
        if isfinite(found).all() or (V is not None and not isfinite(V).all()):
            return found
        sides = [self.left] if self.right is self.left else [self.left, self.right]
        bad = [np.flatnonzero(~np.isfinite(self.engine.to_host(one.squares(one.dtype))).all(axis=1)) for one in sides]
        points = ", ".join(map(str, next((some for some in bad if len(some)), [])[:4]))
        where = f"gradients at points {points} (counted from 0) are NaN or too large" if points else "it is too large"
        raise ValueError(
            f"the kernel of the network holds NaN or infinity in {found.dtype}: {where}; leave out these points, keep "
            f"sqrt, norm and log away from zero, or scale the outputs down"
        )

    @property
    def rounding(self) -> Rounding:
        """What the sides say of it."""
        return self._rounding

    @cached_property
    def _rounding(self) -> Rounding:
        """Also of what vanishes: products of two derivatives below the smallest number that float32 holds.

        In float64 whoever multiplies refuses kernels that are so small.
        """
        with self._told(), self._released():
            found = self.left.rounding(self.right, self)
        if self.dtype != np.float32:
            return found
        rows, cols = self.shape
        lost = self.scale * self.left.size * math.sqrt(rows * cols) * float(np.finfo(self.dtype).tiny)
        return replace(found, matvec_error_bound=found.matvec_error_bound + lost)

    @cached_property
    def _forming_error(self) -> float:
        """A side that rounds to float32 whatever it is asked for hides that from the sample."""
        with self._released():
            sampled = forming_error(self)
        return max(sampled, self.rounding.forming_error_bound)

    @contextlib.contextmanager
    def _released(self) -> Iterator[None]:
        """An estimate after which sides drop what was made for it."""
        try:
            yield
        finally:
            for side in (self.left, self.right):
                if hasattr(side, "release"):
                    side.release()

    def against(self, other: "JacobianGram") -> "JacobianGram":
        """The kernel of its rows with those of another."""
        return JacobianGram(self.left, other.left, stacked=self.stacked, scale=self.scale, definition=self.definition)

    @property
    def T(self) -> "JacobianGram":
        if self.symmetric:
            return self
        return JacobianGram(self.right, self.left, stacked=self.stacked, scale=self.scale, definition=self.definition)

    def __repr__(self) -> str:
        return super().__repr__() + (f": {self.definition}" if self.definition else "")
