"""What every kernel operator can do, and the lazy algebra of operators."""

import math
from collections.abc import Iterator
from functools import partial
from numbers import Real
from types import ModuleType

import numpy as np

from ntkspec import checks, progress
from ntkspec.engines import OnEngine, engine_of
from ntkspec.engines.parts import HadamardTerm, LowRankTerm
from ntkspec.operators.work import Work

HALF_ULP = 2.0**-53
ADVICE = "take fewer points or float32, or save_kernel to keep the kernel on disk"
# Unit vectors that are multiplied together where a matrix is asked for that only has products, and their entries.
COLUMNS_AT_ONCE, ENTRIES_AT_ONCE = 64, 2**24


class Tile:
    """Rows and columns of a matrix, the dtype they are computed in, and the Gram matrices A[rows] B[cols]ᵀ that several
    terms of a sum share there.

    The difference of Theta_1 and Theta^lin1 takes one product X Xᵀ a tile, although both terms hold it. A tile lives
    as long as it is being formed: it keeps those matrices. ``rows`` is a slice or an array of row numbers.
    """

    def __init__(self, rows, cols: slice, dtype):
        self.rows, self.cols, self.dtype = rows, cols, dtype
        self._grams: dict = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the tile."""
        rows = self.rows.stop - self.rows.start if isinstance(self.rows, slice) else len(self.rows)
        return rows, self.cols.stop - self.cols.start

    def gram(self, A, B):
        """A[rows] @ B[cols].T, computed when it is first asked for; not to be written to."""
        key = id(A), id(B)
        if key not in self._grams:
            if hasattr(A, "gram"):
                self._grams[key] = A.gram(self.rows, B, self.cols, self.dtype)
            else:
                self._grams[key] = taken(A, self.rows, self.dtype) @ taken(B, self.cols, self.dtype).T
        return self._grams[key]


def taken(A, rows, dtype):
    """``A[rows]`` in a dtype, for an array or :class:`Bits`."""
    return A.unpacked(rows, dtype) if hasattr(A, "unpacked") else A[rows].astype(dtype, copy=False)


class KernelOperator(OnEngine):
    """A real matrix K of shape (n, n') that is never formed unless asked for.

    A subclass sets ``shape``, ``dtype``, ``engine``, ``symmetric`` (K equals its transpose by construction), ``grams``
    (the pairs (A, B) whose Gram matrices its tiles take), ``product_work`` (of one vector in factored form) and
    ``depth`` (roundings on the longest path of that product), and defines :meth:`parts` where it is ``summed``, else
    :meth:`accumulate`, and :meth:`_matmat`, :meth:`diagonal`, :attr:`absolute_norm` and :attr:`T`. An operator
    keeps references to its factors, which must not be changed afterwards. It pickles with them.
    """

    # NumPy's scalars and arrays leave +, -, * and @ to the operator, and so do tables of pandas (their own is 4000).
    __array_ufunc__ = None
    __pandas_priority__ = 5000

    ndim = 2
    shape: tuple[int, int]
    dtype: np.dtype
    engine: ModuleType
    symmetric: bool
    grams: tuple
    product_work: Work
    # The entries lie in memory or on disk: a block of products costs little more than one.
    stored = False
    # The work of reading one entry that is stored.
    stored_work = Work()
    # Entries can be computed without multiplying whole vectors.
    entrywise = True
    # Entries are sums of products that :meth:`parts` lists, and an engine may add them up in one pass.
    summed = False
    # The sum of the squared entries, once all of them have been formed.
    frobenius_squared: float | None = None
    # How far its entries in its own dtype are from K, once that has been measured.
    rounding: float | None = None
    # Positive semidefinite by construction (where it is stored, up to ``storage_error``).
    semidefinite = False
    # How far in Frobenius norm the matrix that is multiplied with is from the one that the operator stands for.
    storage_error: float = 0.0
    depth: float

    def parts(self, tile: Tile, scale: float = 1.0) -> Iterator[HadamardTerm | LowRankTerm]:
        """What ``scale * K[tile.rows, tile.cols]`` is the sum of, each as the engine asks for it."""
        raise NotImplementedError

    def accumulate(self, out, tile: Tile, scale: float = 1.0) -> None:
        """Add ``scale * K[tile.rows, tile.cols]`` to the array ``out`` of the tile's dtype."""
        self.engine.add_parts(out, self.parts(tile, scale))

    def write(self, out, tile: Tile, squares: bool = False):
        """Make the array ``out``, of the tile's shape and dtype, K[tile.rows, tile.cols].

        Returns the sum of the squared entries where ``squares`` asks for it: a float, or a device array of no
        dimension, float64.
        """
        if self.summed:
            return self.engine.write_parts(out, self.parts(tile), squares)
        out[...] = 0
        self.accumulate(out, tile)
        return self.engine.sum_of_squares(out) if squares else None

    def _matmat(self, V):
        """``K @ V`` for V of shape (n', k), without forming entries of K. Cost: k times product_work."""
        raise NotImplementedError

    def gathered(self, V):
        """What these points contribute to products with all points, for their rows of a few vectors V (n', k).

        An array, or a list of them, that adds up over parts of the points; :meth:`scattered` makes rows of the product
        of the sum. So K may be spread over machines: they exchange this, which does not grow with n.
        """
        raise NotImplementedError

    def scattered(self, total):
        """These points' rows of the product (n, k), from what all points have :meth:`gathered`."""
        raise NotImplementedError

    @property
    def absolute_norm(self) -> float:
        """A bound on the norm of K with every product in its entries replaced by its absolute value."""
        raise NotImplementedError

    def product_error(self) -> float:
        """A bound on |computed K q - K q| for a float64 vector q of norm 1, multiplied in float64.

        Each of at most ``depth`` roundings changes a sum of absolute values by half an ulp (first order).
        """
        return self.depth * HALF_ULP * self.absolute_norm

    def forming_error(self) -> float:
        """A bound on |formed K - K| in Frobenius norm, for entries that are formed in float64."""
        return self.product_error()

    def row_weights(self):
        """Sizes of the rows' rounding errors, (n,), up to a common factor: |diagonal|, of a sum that of its terms."""
        return abs(self.diagonal(np.float64))

    def sum_of_squares(self) -> float:
        """The sum of the squared entries in float64: every tile once, of a symmetric K those of the lower triangle.

        Where only products are known, n of them.
        """
        if not self.entrywise:
            parts = self.by_columns(lambda _, A: self.engine.sum_of_squares(A), "Frobenius norm (products)")
            return math.fsum(self._on_host(parts))

        def squares(place):
            rows, cols = place
            tile = Tile(rows, cols, self.dtype)
            return self.write(self.engine.xp.empty(tile.shape, self.dtype), tile, squares=True)

        places = list(tiles(self))
        weights = np.array([2.0 if self.symmetric and rows != cols else 1.0 for rows, cols in places])
        return math.fsum(weights * self._on_host(self.engine.run(squares, places, progress="Frobenius norm (tiles)")))

    def _on_host(self, sums: list):
        """Numbers of the engine, which waits for its device once."""
        return self.engine.to_host(self.engine.xp.stack(sums))

    def by_columns(self, task, text: str, dtype=None) -> list:
        """The task on (slice of columns, those columns of the matrix), for all columns. n products, with a bar."""
        found = []
        with progress.bar(total=self.shape[1], text=text) as bar:
            count = min(COLUMNS_AT_ONCE, max(1, ENTRIES_AT_ONCE // self.shape[1]))
            for cols in slices(self.shape[1], count):
                found.append(task(cols, self @ self._units(cols, dtype)))
                bar.update(cols.stop - cols.start)
        return found

    def _units(self, cols: slice, dtype=None):
        units = self.engine.xp.zeros((self.shape[1], cols.stop - cols.start), dtype or self.dtype)
        units[cols] = self.engine.xp.eye(units.shape[1])
        return units

    def diagonal(self, dtype=None):
        """The diagonal of a square K, shape (n,), computed in ``dtype`` (that of K unless said otherwise)."""
        raise NotImplementedError

    @property
    def T(self) -> "KernelOperator":
        """The transpose, sharing the factors."""
        raise NotImplementedError

    def low_rank_factors(self):
        """(F, G) with K = F Gᵀ where that is how K is known, else None."""
        return None

    # ------------------------------------------------------------------------------------------------- as a matrix
    @property
    def tile_work(self) -> Work:
        """The work of one entry of a tile: each Gram matrix once, and a pass over the tile for each term."""
        shared = {(id(A), id(B)): A for A, B in self.grams}
        passes = Work(entries=float(len(self.grams))) + self.stored_work
        return sum((Work.of_gram(A) for A in shared.values()), passes)

    def __matmul__(self, V):
        """``K @ V`` for a vector (n',) or a block (n', k).

        The dtype is that of K and V together, and the arithmetic is done in it: a float32 kernel times float64 vectors
        is accumulated in float64. Many vectors at once are multiplied tile by tile where that needs less work than the
        factored form.
        """
        V = checks.on_engine(checks.as_floats(V, "the factor of a product"), self.engine, "the factor of a product")
        if V.ndim not in (1, 2) or V.shape[0] != self.shape[1]:
            raise ValueError(f"a kernel of shape {self.shape} cannot multiply an array of shape {V.shape}")
        block = V.reshape(V.shape[0], -1).astype(np.result_type(self.dtype, V.dtype), copy=False)
        what = f"a product of a kernel {self._size} with {block.shape[1]} vectors"
        with checks.memory_for(what, self.engine, ADVICE):
            return self._product(block).reshape(self.shape[0], *V.shape[1:])

    def __rmatmul__(self, V):
        """``V @ K`` for a vector (n,) or a block (k, n)."""
        return (self.T @ checks.as_floats(V, "the factor of a product").T).T

    def _product(self, V):
        entries, k = self.shape[0] * self.shape[1], V.shape[1]
        by_tiles = entries * (self.tile_work + Work(flops=2.0 * k))
        if self.entrywise and by_tiles.nominal_seconds < (k * self.product_work).nominal_seconds:
            return self._tiled_product(V)
        return self._matmat(V)

    def _tiled_product(self, V):
        product = self.engine.xp.empty((self.shape[0], V.shape[1]), dtype=V.dtype)

        def fill(rows):
            total = 0.0
            for cols in slices(self.shape[1], self.engine.TILE):
                total = total + self.tile(rows, cols, V.dtype) @ V[cols]
            product[rows] = total

        self.engine.run(fill, slices(self.shape[0], self.engine.TILE), progress="products by tiles")
        return product

    def tile(self, rows, cols: slice, dtype=None):
        """``K[rows, cols]`` as a new array, computed in ``dtype`` (that of K unless said otherwise).

        rows : a slice or an array of row numbers.
        """
        place = Tile(rows, cols, self.dtype if dtype is None else dtype)
        out = self.engine.xp.empty(place.shape, dtype=place.dtype)
        self.write(out, place)
        return out

    def to_dense(self, dtype=None):
        """The whole matrix, n * n' entries, computed in ``dtype``; of a :class:`Dense` operator its own array.

        Cost: n n' tile_work, half of that where K is symmetric; n' products where only products are known. Raises
        ValueError where the memory does not suffice.
        """
        dtype = np.dtype(dtype or self.dtype)
        size = self.shape[0] * self.shape[1] * dtype.itemsize
        what = f"the whole matrix {self._size} in {dtype}"
        checks.memory(size, self.engine, what, "use products with the operator, or its tiles")
        with checks.memory_for(what, self.engine, "use products with the operator, or its tiles"):
            return self._filled(dtype)

    def _filled(self, dtype):
        matrix = self.engine.xp.empty(self.shape, dtype=dtype)
        if not self.entrywise:
            self.by_columns(partial(_put, matrix), "kernel matrix (products)", dtype)
            return matrix

        def fill(place):
            rows, cols = place
            matrix[rows, cols] = entries = self.tile(rows, cols, dtype)
            if self.symmetric and rows != cols:
                self.engine.copy_transposed(matrix[cols, rows], entries)

        self.engine.run(fill, tiles(self), progress="kernel matrix")
        return matrix

    @property
    def _size(self) -> str:
        return f"{self.shape[0]} x {self.shape[1]}"

    def __array__(self, dtype=None, copy=None):
        """:meth:`to_dense`, so that NumPy's functions take a kernel for its matrix; TypeError for one on a card."""
        if self.engine is not engine_of():
            raise TypeError("this kernel is on the GPU; take op.to_dense(), an array there, or a product with vectors")
        return self.to_dense().astype(dtype or self.dtype, copy=bool(copy) and self.stored)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"

    # ----------------------------------------------------------------------------------------------------- algebra
    def __add__(self, other):
        """With an operator or an array (n, n'); the number 0 is the zero matrix, so that sum() works."""
        if isinstance(other, Real):
            if other == 0:
                return self
            raise TypeError(
                f"a kernel plus the number {other!r} could be K + {other!r} I or {other!r} in every entry; add "
                f"{other!r} * ntkspec.operators.identity({self.shape[0]}), or an array of shape {self.shape}"
            )
        return LinearCombination(_terms(self) + _terms(self._like(other)))

    __radd__ = __add__

    def __sub__(self, other):
        return self + -other if isinstance(other, Real) else self + -1.0 * self._like(other)

    def __rsub__(self, other):
        return -1.0 * self + other

    def _like(self, other) -> "KernelOperator":
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

    def __mul__(self, scalar):
        if not isinstance(scalar, Real):
            kind = type(scalar).__name__
            raise TypeError(
                f"a kernel times a {kind} with * could be two products; use * with a number, @ with vectors"
            )
        return LinearCombination([(float(scalar) * c, operator) for c, operator in _terms(self)])

    __rmul__ = __mul__

    def __truediv__(self, scalar):
        return self * (1 / scalar) if isinstance(scalar, Real) else NotImplemented

    def __neg__(self):
        return -1.0 * self


class Stored(KernelOperator):
    """Entries that are there: products read them where they lie, and never copy them into tiles."""

    grams = ()
    stored = True
    frobenius_squared: float

    def _product(self, V):
        return self._matmat(V)

    @property
    def absolute_norm(self):
        """At most the Frobenius norm."""
        return math.sqrt(self.frobenius_squared)


class LinearCombination(KernelOperator):
    """``sum of c * K`` over (c, K) terms of one shape; nothing is computed until a tile or a product is asked for."""

    def __init__(self, terms):
        self.terms = list(terms)
        shapes = {operator.shape for _, operator in self.terms}
        dtypes = {operator.dtype for _, operator in self.terms}
        if len(shapes) != 1 or len(dtypes) != 1:
            raise ValueError(
                f"kernels of shapes {sorted(shapes)} and dtypes {sorted(map(str, dtypes))} cannot be combined; "
                f"build them from the same points in one dtype, that of the network too (dtype=np.float32 where X is)"
            )
        self.shape, self.dtype = shapes.pop(), dtypes.pop()
        operators = [operator for _, operator in self.terms]
        self.engine = _one_engine(operators)
        self.symmetric = all(operator.symmetric for operator in operators)
        self.grams = tuple(pair for operator in operators for pair in operator.grams)
        self.product_work = sum((operator.product_work for operator in operators), Work())
        self.stored_work = sum((operator.stored_work for operator in operators), Work())
        self.storage_error = sum(abs(c) * operator.storage_error for c, operator in self.terms)
        self.entrywise = all(operator.entrywise for operator in operators)
        self.summed = all(operator.summed for operator in operators)
        self.semidefinite = all(c >= 0 and operator.semidefinite for c, operator in self.terms)

    def parts(self, tile, scale=1.0):
        for c, operator in self.terms:
            yield from operator.parts(tile, scale * c)

    def accumulate(self, out, tile, scale=1.0):
        if self.summed:
            super().accumulate(out, tile, scale)
        else:
            for c, operator in self.terms:
                operator.accumulate(out, tile, scale * c)

    def _matmat(self, V):
        total = 0.0
        for c, operator in self.terms:
            total = total + c * operator._matmat(V)
        return total

    def gathered(self, V):
        return [operator.gathered(V) for _, operator in self.terms]

    def scattered(self, total):
        parts = zip(self.terms, total, strict=True)
        return sum(c * operator.scattered(part) for (c, operator), part in parts)

    @property
    def absolute_norm(self):
        return sum(abs(c) * operator.absolute_norm for c, operator in self.terms)

    def product_error(self):
        rounding = (1 + len(self.terms)) * HALF_ULP * self.absolute_norm
        return rounding + sum(abs(c) * operator.product_error() for c, operator in self.terms)

    def forming_error(self):
        rounding = (1 + len(self.terms)) * HALF_ULP * self.absolute_norm
        return rounding + sum(abs(c) * operator.forming_error() for c, operator in self.terms)

    def row_weights(self):
        return sum(abs(c) * operator.row_weights() for c, operator in self.terms)

    def diagonal(self, dtype=None):
        return sum(c * operator.diagonal(dtype) for c, operator in self.terms)

    @property
    def T(self):
        return LinearCombination([(c, operator.T) for c, operator in self.terms])

    def low_rank_factors(self):
        factors = [operator.low_rank_factors() for _, operator in self.terms]
        if any(pair is None for pair in factors) or any(c < 0 for c, _ in self.terms):
            return None
        roots = [self.dtype.type(c**0.5) for c, _ in self.terms]
        sides = (0,) if all(F is G for F, G in factors) else (0, 1)
        stacked = [
            self.engine.xp.hstack([root * pair[side] for root, pair in zip(roots, factors, strict=True)])
            for side in sides
        ]
        return stacked[0], stacked[-1]


def _put(matrix, cols: slice, entries) -> None:
    matrix[:, cols] = entries


def _one_engine(operators) -> ModuleType:
    names = sorted({operator.engine.name for operator in operators})
    if len(names) > 1:
        raise TypeError(f"kernels on {' and '.join(names)} cannot be combined; build them from arrays of one device")
    return operators[0].engine


def _terms(operator) -> list:
    return operator.terms if isinstance(operator, LinearCombination) else [(1.0, operator)]


# --------------------------------------------------------------------------------------------------------- geometry
def slices(n: int, step: int) -> list[slice]:
    """``range(n)`` in pieces of at most ``step``."""
    return [slice(a, min(a + step, n)) for a in range(0, n, step)]


def tiles(operator: KernelOperator) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles of a matrix; of a symmetric one the lower triangle, row by row."""
    side = operator.engine.TILE
    for rows in slices(operator.shape[0], side):
        for cols in slices(operator.shape[1], side):
            if not operator.symmetric or cols.start <= rows.start:
                yield rows, cols


def summing_depth(blocks: list[slice]) -> float:
    """Roundings on the longest path of a sum over rows that is done block by block; workers' sums come last."""
    return len(blocks) + max(block.stop - block.start for block in blocks) + 64.0


def paired_factors(F, G, name: str):
    """Check two factors that meet in a product ``F Gᵀ``; G = None stands for F itself."""
    F = checks.as_matrix(F, name)
    G = F if G is None or G is F else checks.as_matrix(G, name, columns=F.shape[1])
    if F.dtype != G.dtype:
        raise TypeError(f"{name} came as {F.dtype} and {G.dtype}; convert one of them")
    return F, G, engine_of(F, G)
