"""What every kernel operator can do, and the lazy algebra of operators."""

from collections.abc import Iterator
from numbers import Real
from types import ModuleType

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of

TILE = 512


class KernelOperator:
    """A real matrix K of shape (n, n') that is never formed unless asked for.

    A subclass sets ``shape``, ``dtype``, ``engine``, ``symmetric`` (K equals its transpose by construction),
    ``tile_flops`` (flops for one entry of a tile) and ``product_flops`` (flops for one vector in factored form),
    and defines :meth:`accumulate`, :meth:`factored_product`, :meth:`diagonal` and :attr:`T`.
    """

    # NumPy's scalars and arrays leave * and @ to the operator.
    __array_ufunc__ = None

    shape: tuple[int, int]
    dtype: np.dtype
    engine: ModuleType
    symmetric: bool
    tile_flops: float
    product_flops: float

    def accumulate(self, out, rows: slice, cols: slice, scale: float = 1.0) -> None:
        """Add ``scale * K[rows, cols]`` to the C-contiguous array ``out`` of the operator's dtype."""
        raise NotImplementedError

    def factored_product(self, V):
        """``K @ V`` for V of shape (n', k), without forming entries of K. Cost: k * product_flops."""
        raise NotImplementedError

    def diagonal(self):
        """The diagonal of a square K, shape (n,)."""
        raise NotImplementedError

    @property
    def T(self) -> "KernelOperator":
        """The transpose, sharing the factors."""
        raise NotImplementedError

    def thin_factors(self):
        """(F, G) with K = F Gᵀ where that is how K is known, else None."""
        return None

    # ------------------------------------------------------------------------------------------------- as a matrix
    def __matmul__(self, V):
        """``K @ V`` for a vector (n',) or a block (n', k), in the dtype of the operator.

        Many vectors at once are multiplied tile by tile where that needs fewer flops than the factored form.
        """
        V = checks.as_floats(V, "the factor of a product")
        if V.ndim not in (1, 2) or V.shape[0] != self.shape[1]:
            raise ValueError(f"a kernel of shape {self.shape} cannot multiply an array of shape {V.shape}")
        block = V.reshape(V.shape[0], -1).astype(self.dtype, copy=False)
        n, columns, k = *self.shape, block.shape[1]
        by_tiles = n * columns * (self.tile_flops + 2 * k)
        product = self._tiled_product if by_tiles < k * self.product_flops else self.factored_product
        return product(block).reshape(n, *V.shape[1:])

    def __rmatmul__(self, V):
        """``V @ K`` for a vector (n,) or a block (k, n)."""
        return (self.T @ checks.as_floats(V, "the factor of a product").T).T

    def _tiled_product(self, V):
        product = self.engine.xp.empty((self.shape[0], V.shape[1]), dtype=self.dtype)

        def fill(rows):
            total = 0.0
            for cols in slices(self.shape[1]):
                total = total + self.tile(rows, cols) @ V[cols]
            product[rows] = total

        self.engine.run(fill, slices(self.shape[0]), progress="products by tiles")
        return product

    def tile(self, rows: slice, cols: slice):
        """``K[rows, cols]`` as a new array."""
        out = self.engine.xp.zeros((rows.stop - rows.start, cols.stop - cols.start), dtype=self.dtype)
        self.accumulate(out, rows, cols)
        return out

    def to_dense(self):
        """The matrix itself, n * n' entries; of a :class:`Dense` operator its own array.

        Cost: n n' tile_flops, half of that where K is symmetric.
        """
        matrix = self.engine.xp.empty(self.shape, dtype=self.dtype)

        def fill(place):
            rows, cols = place
            matrix[rows, cols] = entries = self.tile(rows, cols)
            if self.symmetric and rows != cols:
                matrix[cols, rows] = entries.T

        self.engine.run(fill, tiles(self), progress="kernel matrix")
        return matrix

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"

    # ----------------------------------------------------------------------------------------------------- algebra
    def __add__(self, other):
        if not isinstance(other, KernelOperator):
            return NotImplemented
        return LinearCombination(_terms(self) + _terms(other))

    def __sub__(self, other):
        if not isinstance(other, KernelOperator):
            return NotImplemented
        return self + (-1.0) * other

    def __mul__(self, scalar):
        if not isinstance(scalar, Real):
            return NotImplemented
        return LinearCombination([(float(scalar) * c, operator) for c, operator in _terms(self)])

    __rmul__ = __mul__

    def __neg__(self):
        return -1.0 * self


class LinearCombination(KernelOperator):
    """``sum of c * K`` over (c, K) terms of one shape; nothing is computed until a tile or a product is asked for."""

    def __init__(self, terms):
        self.terms = list(terms)
        shapes = {operator.shape for _, operator in self.terms}
        dtypes = {operator.dtype for _, operator in self.terms}
        if len(shapes) != 1 or len(dtypes) != 1:
            raise ValueError(
                f"kernels of shapes {sorted(shapes)} and dtypes {sorted(map(str, dtypes))} cannot be combined; "
                f"build them from the same data in one dtype"
            )
        self.shape, self.dtype = shapes.pop(), dtypes.pop()
        operators = [operator for _, operator in self.terms]
        self.engine = operators[0].engine
        self.symmetric = all(operator.symmetric for operator in operators)
        self.tile_flops = sum(operator.tile_flops for operator in operators)
        self.product_flops = sum(operator.product_flops for operator in operators)

    def accumulate(self, out, rows, cols, scale=1.0):
        for c, operator in self.terms:
            operator.accumulate(out, rows, cols, scale * c)

    def factored_product(self, V):
        total = 0.0
        for c, operator in self.terms:
            total = total + self.dtype.type(c) * operator.factored_product(V)
        return total

    def diagonal(self):
        return sum(self.dtype.type(c) * operator.diagonal() for c, operator in self.terms)

    @property
    def T(self):
        return LinearCombination([(c, operator.T) for c, operator in self.terms])

    def thin_factors(self):
        factors = [operator.thin_factors() for _, operator in self.terms]
        if any(pair is None for pair in factors) or any(c < 0 for c, _ in self.terms):
            return None
        roots = [self.dtype.type(c**0.5) for c, _ in self.terms]
        left, right = (
            self.engine.xp.hstack([root * pair[side] for root, pair in zip(roots, factors, strict=True)])
            for side in (0, 1)
        )
        return left, right


def _terms(operator) -> list:
    return operator.terms if isinstance(operator, LinearCombination) else [(1.0, operator)]


# --------------------------------------------------------------------------------------------------------- geometry
def slices(n: int) -> list[slice]:
    """``range(n)`` in pieces of at most TILE."""
    return [slice(a, min(a + TILE, n)) for a in range(0, n, TILE)]


def tiles(operator: KernelOperator) -> Iterator[tuple[slice, slice]]:
    """The tiles of a matrix; of a symmetric one the lower triangle and the diagonal only."""
    for rows in slices(operator.shape[0]):
        for cols in slices(operator.shape[1]):
            if not operator.symmetric or cols.start <= rows.start:
                yield rows, cols


def paired_factors(F, G, name: str):
    """Check two factors that meet in a product ``F Gᵀ``; G = None stands for F itself."""
    F = checks.as_matrix(F, name)
    G = F if G is None else checks.as_matrix(G, name, columns=F.shape[1])
    if F.dtype != G.dtype:
        raise TypeError(f"{name} came as {F.dtype} and {G.dtype}; convert one of them")
    return F, G, engine_of(F, G)
