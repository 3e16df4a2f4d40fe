"""The Hadamard product of two Gram matrices, (D D'ᵀ) ⊙ (X X'ᵀ)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.engines.terms import HadamardTerm
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.bits import Bits
from ntkspec.operators.factors import paired_factors, summing_depth
from ntkspec.operators.rounding import HALF_ULP, Rounding
from ntkspec.operators.tiles import Tile, taken
from ntkspec.operators.work import Cost, Work

# A product keeps an (m, d) matrix for each vector on each worker: at most this many vectors go together.
VECTORS_AT_ONCE = 8
# Numbers of the row blocks that each worker multiplies: gemm reaches its rate, and float64 copies stay in the cache.
NUMBERS_AT_ONCE = 2**18
# How often a product moves each number of D, X and the products with X: they are read, packed by gemm, read again.
MOVES = 3


class HadamardGram(KernelOperator):
    r"""K = (D D'ᵀ) ⊙ (X X'ᵀ), the entrywise product of two Gram matrices.

    :math:`\Theta_1` is this operator over m d, with D = phi'(X Wᵀ / sqrt d) (section 3.1.1).

    Parameters
    ----------
    D : array or Bits, shape (n, m)
        Derivatives of the rows' units.
    X : array, shape (n, d)
        Points of the rows, of the dtype of D.
    D2 : array or Bits, shape (n', m), optional
        Those of the columns; D where it is None.
    X2 : array, shape (n', d), optional
        Those of the columns; X where it is None.

    Raises
    ------
    ValueError
        For shapes that do not fit and for NaN; TypeError for dtypes that differ.

    Notes
    -----
    Keeps references. A product is :math:`(K u)_i = x_i \cdot (D'^T \mathrm{diag}(u) X')^T d_i`: 2 m d (n + n') flops
    for each vector and m d numbers for each worker; a tile costs 2 (m + d) flops an entry, m / 64 words in place of 2 m
    flops where D and D' are :class:`Bits`. On CPUs products of bits look up the sums of six rows (the method of four
    Russians) where that is sooner: about 40 % of the time, the same bits for any number of threads, and less rounding.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, section 3.1.1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import HadamardGram
    >>> D, X = np.array([[1.0], [2.0]]), np.array([[3.0], [1.0]])
    >>> HadamardGram(D, X).to_dense()
    array([[9., 6.],
           [6., 4.]])
    """

    entrywise = True
    D: Any
    D2: Any

    def __init__(
        self, D: ArrayLike | Bits, X: ArrayLike, D2: ArrayLike | Bits | None = None, X2: ArrayLike | None = None
    ):
        if isinstance(D, Bits) != isinstance(D if D2 is None else D2, Bits):
            raise TypeError("D came as bits on one side and as numbers on the other; both sides need the same")
        if isinstance(D, Bits):
            self.D, self.D2 = D, D if D2 is None else D2
        else:
            self.D, self.D2, _ = paired_factors(D, D2, "D")
        self.X, self.X2, self.engine = paired_factors(X, X2, "X")
        for wide, narrow in ((self.D, self.X), (self.D2, self.X2)):
            if wide.shape[0] != narrow.shape[0]:
                raise ValueError(f"D has {wide.shape[0]} rows and X has {narrow.shape[0]}; both have one a data point")
        if self.D.dtype != self.X.dtype:
            raise TypeError(f"D is {self.D.dtype} and X is {self.X.dtype}; convert one of them")
        self.symmetric = self.semidefinite = self.D2 is self.D and self.X2 is self.X
        self.shape, self.dtype = (self.D.shape[0], self.D2.shape[0]), self.D.dtype
        work = self._work_of_products()
        self.cost = Cost(work, grams=((self.D, self.D2), (self.X, self.X2)))

    def _work_of_products(self) -> Work:
        """By multiplications, or by look-ups where that is sooner."""
        (n, others), (m, d), dtype = self.shape, (self.D.shape[1], self.X.shape[1]), self.dtype
        each = Work(flops=2.0 * m * d, cached=float(MOVES * (m + 2 * d) * dtype.itemsize))
        works = self.D.works(d) if isinstance(self.D, Bits) else None
        self._looks_up = works is not None
        if works is None:
            return (n + others) * each
        gathered, scattered = works
        return others * gathered + n * scattered

    def tile_terms(self, tile: Tile, scale: float = 1.0) -> Iterator[HadamardTerm]:
        yield HadamardTerm(scale, tile.gram(self.D, self.D2), tile.gram(self.X, self.X2))

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        self.engine.terms.add(out, self.tile_terms(tile, scale))

    def _matmat(self, V: Array) -> Array:
        step = VECTORS_AT_ONCE
        parts = [self.local_jvp(self.local_vjp(V[:, k : k + step])) for k in range(0, V.shape[1], step)]
        return self.engine.xp.hstack(parts)

    def local_vjp(self, V: Array) -> Array:
        """D'ᵀ diag(u) X' for each column u of V, which adds up over parts of the points: transposed, (k d, m), or as
        look-ups leave it."""
        if self._looks_up:
            return self.D2.gather(self.X2, V)
        xp, dtype, (m, d), k = self.engine.xp, V.dtype, (self.D.shape[1], self.X.shape[1]), V.shape[1]

        def gather(share):
            G = xp.zeros((k * d, m), dtype)
            for rows in self._blocks(share, k):
                G += self.engine.linalg.weighted_rows(V[rows], self.X2[rows]).T @ taken(self.D2, rows, dtype)
            return G

        return sum(self.engine.run(gather, self.engine.shares(self.shape[1])))

    def local_jvp(self, total: Array) -> Array:
        """d_i · (total x_i) for each point."""
        if self._looks_up:
            return self.D.scatter(self.X, total)
        xp, dtype, d = self.engine.xp, total.dtype, self.X.shape[1]
        k = len(total) // d
        out = xp.empty((self.shape[0], k), dtype)

        def scatter(share):
            for rows in self._blocks(share, k):
                mixed = (taken(self.D, rows, dtype) @ total.T).reshape(-1, k, d)
                out[rows] = self.engine.linalg.row_products(mixed, self.X[rows], dtype)

        self.engine.run(scatter, self.engine.shares(self.shape[0]))
        return out

    def _blocks(self, share: slice, vectors: int):
        return self.engine.blocks(share, self.D.shape[1] + vectors * self.X.shape[1], NUMBERS_AT_ONCE)

    @cached_property
    def rounding(self) -> Rounding:
        """Entries are at most a_i a'_j with a_i = ‖D_i‖ ‖X_i‖, a matrix of rank one."""
        sides = (
            [self.diagonal(np.float64)]
            if self.symmetric
            else [HadamardGram(*one).diagonal(np.float64) for one in ((self.D, self.X), (self.D2, self.X2))]
        )
        sums = [float(side.sum()) for side in sides]
        depth = self.D.shape[1] + self.X.shape[1] + summing_depth(self._blocks(slice(0, self.shape[1]), 1))
        found = Rounding.of_path(depth, (sums[0] * sums[-1]) ** 0.5)
        return replace(found, matvec_error_bound=self._error_of_look_ups()) if self._looks_up else found

    def _error_of_look_ups(self) -> float:
        """Of products with a float64 vector: D is low + (high - low) bits, and each part has a rounding of its own."""
        sides = [(self.D, self.X)] if self.symmetric else [(self.D, self.X), (self.D2, self.X2)]
        squares = [self.engine.linalg.row_products(X, X, np.dtype(float)) for _, X in sides]
        sums = [float(D.squares_of_parts() @ own) for (D, _), own in zip(sides, squares, strict=True)]
        d = self.X.shape[1]
        depth = self.D2.depths(d)[0] + self.D.depths(d)[1]
        return depth * HALF_ULP * (sums[0] * sums[-1]) ** 0.5

    def against(self, other: "HadamardGram") -> "HadamardGram":
        """The kernel of its rows with those of another."""
        return HadamardGram(self.D, self.X, other.D, other.X)

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        xp, parts, dtype = self.engine.xp, [], np.dtype(dtype or self.dtype)
        for share in self.engine.shares(self.shape[0]):
            for rows in self.engine.blocks(share, 2 * self.D.shape[1]):
                left = taken(self.D, rows, dtype)
                right = left if self.D2 is self.D else taken(self.D2, rows, dtype)
                inner = self.engine.linalg.row_products(self.X[rows], self.X2[rows], dtype)
                parts.append(self.engine.linalg.row_products(left, right, dtype) * inner)
        return xp.concatenate(parts)

    @property
    def T(self) -> "HadamardGram":
        return self if self.symmetric else HadamardGram(self.D2, self.X2, self.D, self.X)
