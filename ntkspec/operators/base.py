"""What every kernel operator can do: the contract that a subclass fills, products, tiles, and the matrix as a whole."""

import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from ntkspec import checks, progress
from ntkspec.engines import Engine, OnEngine, engine_of
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.engines.terms import HadamardTerm, LowRankTerm
from ntkspec.objects.lazy import cached_property
from ntkspec.objects.notebook import Row, Shown, Table, in_bytes
from ntkspec.operators.rounding import ASSUMED_EPS, Rounding
from ntkspec.operators.sampling import forming_error
from ntkspec.operators.tiles import Rows, Tile, slices, tiles
from ntkspec.operators.work import Cost, Work

ADVICE = "take fewer points or float32, or save_kernel to keep the kernel on disk"
# Unit vectors that are multiplied together where a matrix is asked for that only has products, and their entries.
COLUMNS_AT_ONCE, ENTRIES_AT_ONCE = 64, 2**24
# Probes from which the size of an operator that does not know it is estimated; rows and columns of the tile, and of the
# pieces of a diagonal, from which its cost is measured.
SIZE_PROBES, MEASURED_SIDE = 4, 64
# Seconds from which products for all columns are announced.
LONG = 10.0


class ManyProductsWarning(RuntimeWarning):
    """All columns of a matrix are about to be computed of which only products are known, and that takes long."""


class KernelOperator(OnEngine, Shown, ABC):
    r"""A matrix-free real K of shape (n, n'): its entries are formed only where they are asked for.

    A subclass sets ``shape`` and ``dtype`` and writes ``_matmat``; one that knows entries and no better product derives
    from :class:`ntkspec.operators.EntrywiseOperator` and writes ``_tile``. All else has a default: the class
    attributes, what it says of :attr:`cost` and :attr:`rounding`, :meth:`diagonal`, and where K is not symmetric
    ``_rmatmat``. An operator keeps references to its factors, which must not be changed afterwards. It pickles with
    them.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    dtype : numpy.dtype
        float32 or float64, that of its entries.
    engine : module
        What computes; the CPU's unless a subclass sets another (``ntkspec.engines.engine_of`` its arrays).
    symmetric : bool, default False
        K equals its transpose by construction. Norms and eigenpairs need it.
    semidefinite : bool, default False
        Positive semidefinite by construction (where it is stored, up to ``storage_error``).
    entrywise : bool, default False
        Entries can be computed without multiplying whole vectors.
    stored : bool, default False
        Entries lie in memory or on disk: a block of products costs little more than one.
    storage_error : float, default 0
        How far in Frobenius norm the matrix that is multiplied with is from the one that the operator stands for.
    frobenius_squared : float or None
        The sum of the squared entries, once all of them have been formed.
    columns_are_dear : bool, default False
        A column of a tile costs passes through a network, however few rows there are.
    takes_all_threads : bool, default False
        A tile is formed by all threads together, so that one tile comes after the other.
    widens : bool, default True
        Products of a float32 kernel with float64 vectors are computed in float64; else in float32, as a network does.
    rows_per_point : int, default 1
        K where each of K outputs of a network has a row, point-major: row i K + k is output k of point i. So have the
        columns. ``points`` counts the points of the rows.
    spread : bool, default False
        The points lie on the workers of a cluster, and nothing with all of them is formed here.

    Notes
    -----
    ``K @ V`` takes arrays and gives arrays of the engine, in the dtype of K and V together. ``+``, ``-`` and ``*`` with
    a number are lazy. NumPy's scalars and arrays leave these to the operator, and so do pandas' tables.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> class Ones(ns.KernelOperator):
    ...     symmetric = semidefinite = True
    ...     def __init__(self, n):
    ...         self.shape, self.dtype = (n, n), np.dtype(float)
    ...     def _matmat(self, V):
    ...         return np.ones(self.shape[:1])[:, None] * V.sum(axis=0)
    >>> round(float(ns.spectral_norm(Ones(9))), 6)
    9.0
    """

    __array_ufunc__ = None
    __pandas_priority__ = 5000  # their own is 4000

    ndim = 2
    shape: tuple[int, int]
    dtype: np.dtype
    symmetric: bool = False
    semidefinite: bool = False
    entrywise: bool = False
    stored: bool = False
    storage_error: float = 0.0
    frobenius_squared: float | None = None
    columns_are_dear: bool = False
    takes_all_threads: bool = False
    widens: bool = True
    rows_per_point: int = 1
    spread: bool = False

    # -------------------------------------------------------------------------------------- what a subclass writes
    @abstractmethod
    def _matmat(self, V: Array) -> Array:
        """``K @ V`` for V of shape (n', k), in the dtype of V and K together. Cost: k times ``cost.product``."""

    def _rmatmat(self, V: Array) -> Array:
        """``Kᵀ @ V`` for V of shape (n, k)."""
        if self.symmetric:
            return self._matmat(V)
        raise TypeError(
            f"{type(self).__name__} is not symmetric and has no product with its transpose; give the class a method "
            f"_rmatmat(self, V) that returns K.T @ V, or say symmetric = True"
        )

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        """Add ``scale * K[tile.rows, tile.cols]`` to the array ``out`` of the tile's dtype."""
        out += out.dtype.type(scale) * self._multiplied(self._units(tile.cols, tile.dtype))[tile.rows]

    def tile_terms(self, tile: Tile, scale: float = 1.0) -> Iterable[HadamardTerm | LowRankTerm] | None:
        """What ``scale * K[tile.rows, tile.cols]`` is the sum of, for an engine that adds it up in one pass.

        None where entries are no such sum: then :meth:`accumulate` is asked.
        """
        return None

    @cached_property
    def engine(self) -> Engine:
        """What computes: the CPU, where a subclass sets nothing else."""
        return engine_of()

    @cached_property
    def cost(self) -> Cost:
        """What products and entries cost. Where a subclass says nothing, one product is measured; a tile takes one for
        each of its columns."""
        product = Work.lasting(self._seconds(lambda: self._multiplied(self._units(slice(0, 1)))))
        return Cost(product, own=(1 / self.engine.TILE) * product)

    @property
    def product_in_float64(self) -> Work:
        """Of a product with a float64 vector: twice that of one in float32, where the kernel widens."""
        twice = self.dtype == np.float32 and self.widens and not self.stored
        return 2 * self.cost.product if twice else self.cost.product

    @property
    def rounding(self) -> Rounding:
        """Bounds on the rounding of products and entries.

        Where a subclass says nothing, an assumption: products are accurate to ASSUMED_EPS eps of the dtype, relative to
        an estimate of the Frobenius norm from SIZE_PROBES products.
        """
        return self._assumed_rounding

    @cached_property
    def _assumed_rounding(self) -> Rounding:
        error = ASSUMED_EPS * float(np.finfo(self.dtype).eps)
        return Rounding.relative(error, self._probed_size(), self.shape[1])

    def _probed_size(self) -> float:
        """Of Gaussian g, the root of the mean |K g|²: that of |K|_F²."""
        rng = np.random.default_rng(0)
        probes = self.engine.xp.asarray(rng.standard_normal((self.shape[1], SIZE_PROBES)).astype(self.dtype))
        return math.sqrt(float(self.engine.tiles.sum_of_squares(self._multiplied(probes))) / SIZE_PROBES)

    def _seconds(self, task: Callable) -> float:
        """How long a task takes whose answer lies on the engine: the first time it may compile something."""
        found = []
        for _ in range(2):
            start = time.perf_counter()
            self.engine.to_host(task())
            found.append(time.perf_counter() - start)
        return min(found)

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        """The diagonal of a square K.

        Parameters
        ----------
        dtype : float32 or float64, optional
            What it is computed in; that of K unless said otherwise.

        Returns
        -------
        array, shape (n,)
            On the engine of K. Where only products are known, n of them.
        """
        dtype = np.dtype(dtype or self.dtype)
        if self.entrywise:
            blocks = slices(self.shape[0], MEASURED_SIDE)
            found = self.over_tiles(lambda rows: self.tile(rows, rows, dtype).diagonal(), blocks)
        else:
            found = self.by_columns(lambda cols, A: A[cols].diagonal(), "diagonal")
        return self.engine.xp.concatenate(found).astype(dtype, copy=False)

    @cached_property
    def points(self) -> int:
        """How many points the rows are of: fewer than rows where each output of a network has a row.

        Ask ``points_of``: a class may keep its points themselves under this name.
        """
        return points_of(self)

    @property
    def T(self) -> "KernelOperator":
        """The transpose, sharing the factors; itself where K is symmetric."""
        if self.symmetric:
            return self
        from ntkspec.operators.transposed import Transposed  # which is built on this module

        return Transposed(self)

    def low_rank_factors(self) -> Any:
        """(F, G) with K = F Gᵀ where that is how K is known, else None."""
        return None

    def row_weights(self) -> Array:
        """Sizes of the rows' rounding errors, (n,), up to a factor: abs(diagonal), of a sum that of its terms."""
        return abs(self.diagonal(np.float64))

    # ------------------------------------------------------------------------------------------- what has been found
    @property
    def formed_error(self) -> float:
        """How far in Frobenius norm the matrix of its entries, in its dtype, is from K (``storage_error`` included).

        Of a float32 operator an estimate (``ntkspec.operators.sampling``), which is made once.
        """
        return self.storage_error if self.stored else self._forming_error + self.storage_error

    @cached_property
    def _forming_error(self) -> float:
        return forming_error(self)

    def keep_frobenius_squared(self, found: float) -> float:
        """Keep the sum of the squared entries, which a pass over all of them gave; returns it."""
        self.frobenius_squared = found
        return found

    def sum_of_squares(self) -> float:
        """The sum of the squared entries in float64, which is kept.

        Cost: every tile once, of a symmetric K those of the lower triangle; where only products are known, n of them.
        """
        if self.frobenius_squared is None:
            return self.keep_frobenius_squared(
                self._squares_of_tiles() if self.entrywise else self._squares_of_columns()
            )
        return self.frobenius_squared

    def _squares_of_columns(self) -> float:
        sums = self.by_columns(lambda _, A: self.engine.tiles.sum_of_squares(A), "Frobenius norm (products)")
        return checks.finite_sum(self._on_host(sums))

    def _squares_of_tiles(self) -> float:
        def squares(k):
            rows, cols = places[k]
            tile = Tile(rows, cols, self.dtype)
            return self.write(self.engine.xp.empty(tile.shape, self.dtype), tile, squares=True)

        places = list(tiles(self))
        weights = np.array([2.0 if self.symmetric and rows != cols else 1.0 for rows, cols in places])
        sums = self._on_host(self.over_tiles(squares, range(len(places)), text="Frobenius norm (tiles)"))
        return checks.finite_sum(weights * sums)

    def _on_host(self, sums: list) -> Array:
        """Numbers of the engine, which waits for its device once."""
        return self.engine.to_host(self.engine.xp.stack(sums))

    # ---------------------------------------------------------------------------------------------- tiles and columns
    def over_tiles(self, task: Callable[[Any], Any], items: Iterable[Any], *, text: str = "") -> list[Any]:
        """``[task(item) for item in items]`` for tasks that form tiles, with a bar of this text.

        On all threads of the engine; in this one where a tile takes all: what one tile leaves is dropped before the
        next, and memory that the heaps of further threads would keep.
        """
        if not self.takes_all_threads:
            return self.engine.run(task, items, progress=text)
        items = list(items)
        return [task(item) for item in (progress.bar(items, text=text) if text and len(items) > 1 else items)]

    def write(self, out: Array, tile: Tile, squares: bool = False) -> Any:
        """Make the array ``out``, of the tile's shape and dtype, K[tile.rows, tile.cols].

        Returns the sum of the squared entries where ``squares`` asks for it: a float, or a device array of no
        dimension, float64.
        """
        terms = self.tile_terms(tile)
        if terms is not None:
            return self.engine.terms.write(out, terms, squares)
        out[...] = 0
        self.accumulate(out, tile)
        return self.engine.tiles.sum_of_squares(out) if squares else None

    def tile(self, rows: Rows, cols: slice, dtype: DTypeLike | None = None) -> Array:
        """``K[rows, cols]`` as a new array.

        Parameters
        ----------
        rows : slice or array of int
            Row numbers; a slice with both ends.
        cols : slice
            Columns, with both ends.
        dtype : float32 or float64, optional
            What it is computed in; that of K unless said otherwise.
        """
        place = Tile(rows, cols, self.dtype if dtype is None else np.dtype(dtype))
        out = self.engine.xp.empty(place.shape, dtype=place.dtype)
        self.write(out, place)
        return out

    def by_columns(self, task: Callable[[slice, Array], Any], text: str, dtype: DTypeLike | None = None) -> list[Any]:
        """The task on (slice of columns, those columns of the matrix), for all columns. n products, with a bar."""
        found = []
        self.warn_of_columns(text)
        with progress.bar(total=self.shape[1], text=text) as bar:
            count = min(COLUMNS_AT_ONCE, max(1, ENTRIES_AT_ONCE // self.shape[1]))
            for cols in slices(self.shape[1], count):
                found.append(task(cols, self @ self._units(cols, dtype)))
                bar.update(cols.stop - cols.start)
        return found

    def warn_of_columns(self, what: str) -> None:
        """Warn, before it begins, of what takes a product for each column for longer than LONG seconds."""
        each = self.cost.product.nominal_seconds
        if self.shape[1] * each > LONG:
            warnings.warn(
                f"{what}: only products of this {type(self).__name__} {self._size} are known, and all columns take "
                f"{self.shape[1]:,} of {each:.2g} s, about {self.shape[1] * each:.2g} s; where an interval serves, "
                f"rtol=0.05 takes fewer (frobenius_norm, trace, kernel_target_alignment, participation_ratio)",
                ManyProductsWarning,
                stacklevel=2,
            )

    def _units(self, cols: slice, dtype: DTypeLike | None = None) -> Array:
        units = self.engine.xp.zeros((self.shape[1], cols.stop - cols.start), dtype or self.dtype)
        units[cols] = self.engine.xp.eye(units.shape[1])
        return units

    # ------------------------------------------------------------------------------------------------- as a matrix
    def __matmul__(self, V: ArrayLike) -> Array:
        """``K @ V`` for a vector (n',) or a block (n', k).

        The dtype is that of K and V together, and the arithmetic is done in it: a float32 kernel times float64 vectors
        is accumulated in float64, unless it does not widen. Many vectors at once are multiplied tile by tile where that
        needs less work than the factored form.
        """
        V = checks.on_engine(checks.as_floats(V, "the factor of a product"), self.engine, "the factor of a product")
        if V.ndim not in (1, 2) or V.shape[0] != self.shape[1]:
            raise ValueError(f"a kernel of shape {self.shape} cannot multiply an array of shape {V.shape}")
        block = V.reshape(V.shape[0], -1).astype(np.result_type(self.dtype, V.dtype), copy=False)
        what = f"a product of a kernel {self._size} with {block.shape[1]} vectors"
        with checks.memory_for(what, self.engine, ADVICE):
            return self._product(block).reshape(self.shape[0], *V.shape[1:])

    def __rmatmul__(self, V: ArrayLike) -> Array:
        """``V @ K`` for a vector (n,) or a block (k, n)."""
        return (self.T @ checks.as_floats(V, "the factor of a product").T).T

    def _product(self, V: Array) -> Array:
        """Tile by tile where that is sooner; entries that are stored are multiplied where they lie."""
        if self.entrywise and not self.stored and self._tiles_are_sooner(V.shape[1]):
            return self._tiled_product(V)
        return self._multiplied(V)

    def _multiplied(self, V: Array) -> Array:
        """What ``_matmat`` returns, where it has the shape and the precision that the contract asks for."""
        found = self._checked(self._matmat(V), (self.shape[0], V.shape[1]), "_matmat")
        return found.astype(np.result_type(found.dtype, V.dtype), copy=False)

    def _checked(self, found: Any, shape: tuple[int, ...], method: str) -> Array:
        """What a subclass returned; another shape would be broadcast, or read in another order."""
        came = f"{type(self).__name__}.{method} returned"
        if not hasattr(found, "dtype") or found.shape != shape or found.dtype.kind not in "fiub":
            what = f"shape {found.shape} of {found.dtype}" if hasattr(found, "dtype") else f"a {type(found).__name__}"
            raise ValueError(f"{came} {what}, but an array of real numbers of shape {shape} is needed")
        if found.dtype.kind == "f" and found.dtype.itemsize < np.dtype(self.dtype).itemsize:
            raise TypeError(
                f"{came} {found.dtype} from an operator of {self.dtype}, whose intervals leave out that rounding; "
                f"compute in {self.dtype}, or make {found.dtype} the dtype of the operator"
            )
        return found

    def check_contract(self) -> None:
        """Refuse an operator whose class or instance sets no usable ``shape`` and ``dtype``."""
        shape, dtype = getattr(self, "shape", None), getattr(self, "dtype", None)
        sizes = [n for n in shape if isinstance(n, int | np.integer) and n > 0] if isinstance(shape, tuple) else []
        if len(sizes) != 2 or shape != tuple(sizes):
            raise TypeError(
                f"{type(self).__name__}.shape is {shape!r}, but a tuple of two whole numbers >= 1 is needed"
            )
        if not isinstance(dtype, np.dtype) or dtype.str[1:] not in ("f4", "f8"):
            raise TypeError(
                f"{type(self).__name__}.dtype is {dtype!r}, but np.dtype(np.float32) or np.dtype(np.float64) is needed"
            )

    def _tiles_are_sooner(self, k: int) -> bool:
        by_tiles = self.shape[0] * self.shape[1] * (self.cost.entry + Work(flops=2.0 * k))
        return by_tiles.nominal_seconds < (k * self.cost.product).nominal_seconds

    def _tiled_product(self, V: Array) -> Array:
        product = self.engine.xp.empty((self.shape[0], V.shape[1]), dtype=V.dtype)
        dtype = V.dtype if self.widens else self.dtype

        def fill(rows):
            total = 0.0
            for cols in slices(self.shape[1], self.engine.TILE):
                total = total + self.tile(rows, cols, dtype) @ V[cols]
            product[rows] = total

        self.over_tiles(fill, slices(self.shape[0], self.engine.TILE), text="products by tiles")
        return product

    def to_dense(self, dtype: DTypeLike | None = None) -> Array:
        """The whole matrix, for small n.

        Parameters
        ----------
        dtype : float32 or float64, optional
            What entries are computed in; that of K unless said otherwise.

        Returns
        -------
        array, shape (n, n')
            On the engine of K; of a :class:`ntkspec.operators.Dense` operator its own array.

        Raises
        ------
        ValueError
            Where the memory does not suffice.

        Notes
        -----
        Cost: n n' ``cost.entry``, half of that where K is symmetric; n' products where only products are known.
        """
        dtype = np.dtype(dtype or self.dtype)
        size = self.shape[0] * self.shape[1] * dtype.itemsize
        what = f"the whole matrix {self._size} in {dtype}"
        checks.memory(size, self.engine, what, "use products with the operator, or its tiles")
        with checks.memory_for(what, self.engine, "use products with the operator, or its tiles"):
            return self._filled(dtype)

    def _filled(self, dtype: np.dtype) -> Array:
        matrix = self.engine.xp.empty(self.shape, dtype=dtype)
        if not self.entrywise:
            self.by_columns(partial(_put, matrix), "kernel matrix (products)", dtype)
            return matrix

        places = list(tiles(self))

        def fill(k):
            rows, cols = places[k]
            matrix[rows, cols] = entries = self.tile(rows, cols, dtype)
            if self.symmetric and rows != cols:
                self.engine.tiles.copy_transposed(matrix[cols, rows], entries)

        self.over_tiles(fill, range(len(places)), text="kernel matrix")
        return matrix

    @property
    def _size(self) -> str:
        return f"{self.shape[0]} x {self.shape[1]}"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """:meth:`to_dense`, so that NumPy's functions take a kernel for its matrix; TypeError for one on a GPU."""
        if self.spread:
            return np.asarray(self.to_dense(dtype))
        if self.engine is not engine_of():
            raise TypeError("this kernel is on the GPU; take op.to_dense(), an array there, or a product with vectors")
        return self.to_dense().astype(dtype or self.dtype, copy=bool(copy) and self.stored)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"

    def _shown(self) -> Table:
        size = in_bytes(self.shape[0] * self.shape[1] * self.dtype.itemsize)
        symmetric = "positive semidefinite" if self.semidefinite else "symmetric" if self.symmetric else "any"
        per_point = [Row("rows of a point", str(self.rows_per_point), "one for each output")]
        return Table(
            f"{type(self).__name__}, {self._size}",
            [
                Row("entries", str(self.dtype), f"{size} as an array{'' if self.stored else '; none is stored'}"),
                *(per_point if self.rows_per_point > 1 else []),
                Row("kind", symmetric, "by construction"),
                Row("computed on", "GPU" if self.engine is not engine_of() else "CPU"),
            ],
        )

    # ----------------------------------------------------------------------------------------------------- algebra
    def __add__(self, other: Any) -> "KernelOperator":
        """With an operator or an array (n, n'); the number 0 is the zero matrix, so that sum() works."""
        if isinstance(other, Real):
            if other == 0:
                return self
            raise TypeError(
                f"a kernel plus the number {other!r} could be K + {other!r} I or {other!r} in every entry; add "
                f"{other!r} * ntkspec.operators.identity({self.shape[0]}), or an array of shape {self.shape}"
            )
        if isinstance(other, KernelOperator) and other.spread and not self.spread:
            return other + self
        return _combined(_terms(self) + _terms(self._like(other)))

    __radd__ = __add__

    def __sub__(self, other: Any) -> "KernelOperator":
        return self + -other if isinstance(other, Real) else self + -1.0 * self._like(other)

    def __rsub__(self, other: Any) -> "KernelOperator":
        return -1.0 * self + other

    def _like(self, other: Any) -> "KernelOperator":
        """An operator itself; anything else as an array of this shape and dtype."""
        if isinstance(other, KernelOperator):
            return other
        from ntkspec.operators.dense import Dense  # which is built on this module

        array = checks.as_floats(other, "what is added to a kernel")
        if array.shape != self.shape:
            raise ValueError(f"a kernel of shape {self.shape} and an array of shape {array.shape} cannot be added")
        same = array.astype(self.dtype, copy=False)
        if not (same == array).all():
            raise TypeError(
                f"an array of {array.dtype} is added to a kernel of {self.dtype}, which rounds its numbers; convert it "
                f"with .astype({self.dtype}), or build the kernel from data in {array.dtype}"
            )
        return Dense(same)

    def __mul__(self, scalar: float) -> "KernelOperator":
        if not isinstance(scalar, Real):
            kind = type(scalar).__name__
            raise TypeError(
                f"a kernel times a {kind} with * could be two products; use * with a number, @ with vectors"
            )
        return _combined([(float(scalar) * c, operator) for c, operator in _terms(self)])

    __rmul__ = __mul__

    def __truediv__(self, scalar: float) -> "KernelOperator":
        return self * (1 / scalar) if isinstance(scalar, Real) else NotImplemented

    def __neg__(self) -> "KernelOperator":
        return -1.0 * self


def points_of(operator: KernelOperator) -> int:
    """How many points the rows are of, whatever the class keeps as ``points``."""
    return operator.shape[0] // operator.rows_per_point


def _combined(terms: list) -> KernelOperator:
    from ntkspec.operators.combination import LinearCombination  # which is built on this module

    return LinearCombination(terms)


def _terms(operator: KernelOperator) -> list:
    """(c, K) whose sum the operator is."""
    return getattr(operator, "terms", [(1.0, operator)])


def _put(matrix: Array, cols: slice, entries: Array) -> None:
    matrix[:, cols] = entries
