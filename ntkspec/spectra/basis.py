"""Where the vectors of Lanczos lie, and what is done with them: all but the algorithm and its small matrices."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ntkspec.engines import Engine
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators import KernelOperator

# Entries of a basis from which an orthogonalization is worth the time to wake the other workers.
SHARED_FROM = 2**19
# Singular values of a block, relative to each other, from which its Gram matrix tells them.
WELL_APART = 0.1
# A few vectors (b, n) in the form that a basis has for them; ``len`` is their number, ``T`` their array (n, b).
Block: TypeAlias = Any


class Basis(Protocol):
    """Vectors of length n, one behind the other, and products with one operator.

    What comes and goes is NumPy's and has no side of length n, but for blocks: these are of the basis' own form.
    """

    n: int

    def drawn(self, rng: np.random.Generator, count: int) -> Block:
        """So many Gaussian vectors."""

    def taken(self, start: ArrayLike) -> Block:
        """The columns of an array (n, b), or a vector (n,)."""

    def products(self, blocks: Sequence[Block]) -> list[Block]:
        """The operator times the vectors of each block, in float64."""

    def faults(self, block: Block) -> tuple[int | None, float]:
        """The first vector that holds NaN or infinity; and the largest entry of them all."""

    def sizes(self, block: Block) -> np.ndarray:
        """The norms of its vectors."""

    def without(self, block: Block, first: int, last: int) -> tuple[np.ndarray, Block]:
        """The overlaps (last - first, b) of these vectors with a block, and the block less its parts along them."""

    def factored(self, block: Block, rounding: float, room: int) -> tuple[np.ndarray, Block, float]:
        """(A, P, dropped) with block = Aᵀ P up to ``dropped``: at most ``room`` orthonormal vectors P, of the singular
        values above rounding. A is as wide as the block."""

    def block(self, first: int, last: int) -> Block:
        """The vectors from first to last, without it."""

    def put(self, first: int, block: Block) -> None:
        """A block behind the first vectors; what lay there is forgotten."""

    def combine(self, first: int, S: np.ndarray, width: int) -> None:
        """Sᵀ times the vectors from ``first`` on in their place, and the ``width`` ones behind them behind these."""

    def gram(self, count: int) -> np.ndarray:
        """Overlaps of the first vectors with one another."""

    def reserve(self, rows: int) -> None:
        """Room for that many vectors."""

    def fitting(self, share: float) -> int:
        """How many vectors fit into this share of the free memory."""

    def columns(self, chosen: slice | np.ndarray) -> Array:
        """The chosen vectors as the columns of an array (n, k) like those that the operator multiplies."""

    def combined(self, coefficients: np.ndarray, first: int) -> Array:
        """An array (k, n): coefficients (k, m) times the m vectors from ``first`` on."""

    def project(self, V: Array, count: int) -> Array:
        """The columns of an array (n, b) less their parts along the first vectors, twice; in place where it can be."""


class ArrayBasis:
    """Rows of one array on the operator's device."""

    def __init__(self, operator: KernelOperator):
        self.operator, self.n = operator, operator.shape[0]
        self.engine: Engine = operator.engine
        self.rows = self.engine.xp.empty((16, self.n))

    def drawn(self, rng: np.random.Generator, count: int) -> Array:
        """In the order of the generator: vector after vector."""
        return self.engine.xp.asarray(rng.standard_normal((count, self.n)))

    def taken(self, start: ArrayLike) -> Array:
        return self.engine.xp.asarray(start, np.float64).reshape(self.n, -1).T

    def products(self, blocks: Sequence[Array]) -> list[Array]:
        """Of all blocks at once."""
        together = blocks[0] if len(blocks) == 1 else self.engine.xp.concatenate(blocks)
        W = self.engine.xp.ascontiguousarray((self.operator @ together.T).T, dtype=np.float64)
        ends = np.cumsum([len(block) for block in blocks])
        return [W[end - len(block) : end] for block, end in zip(blocks, ends, strict=True)]

    def faults(self, block: Array) -> tuple[int | None, float]:
        largest = float(abs(block).max())
        if math.isfinite(largest):
            return None, largest
        return int((~self.engine.xp.isfinite(block).all(axis=1)).argmax()), largest

    def sizes(self, block: Array) -> np.ndarray:
        return self.engine.to_host(self.engine.xp.einsum("ij,ij->i", block, block)) ** 0.5

    def without(self, block: Array, first: int, last: int) -> tuple[np.ndarray, Array]:
        known = self.rows[first:last]
        if not known.size * len(block):
            return np.zeros((len(known), len(block))), block
        overlaps = self._total(lambda share: known[:, share] @ block[:, share].T, known.size)
        rest = self.engine.xp.empty_like(block)

        def subtract(share):
            rest[:, share] = block[:, share] - overlaps.T @ known[:, share]

        self._run(subtract, known.size)
        return self.engine.to_host(overlaps), rest

    def factored(self, block: Array, rounding: float, room: int) -> tuple[np.ndarray, Array, float]:
        if len(block) == 0:
            return np.zeros((0, 0)), block, 0.0
        squares, U = np.linalg.eigh(self.engine.to_host(block @ block.T))
        least, largest = np.sqrt(np.maximum(squares[[0, -1]], 0.0))
        if len(block) <= room and least > max(WELL_APART * largest, rounding):
            sizes, V = np.sqrt(squares[::-1]), U.T[::-1]
            return sizes[:, None] * V, self.engine.xp.asarray(V / sizes[:, None]) @ block, 0.0
        left, R = self.engine.xp.linalg.qr(block.T)
        U, A, dropped = split(self.engine.to_host(R), rounding, room)
        return A, self.engine.xp.asarray(U).T @ left.T, dropped

    def block(self, first: int, last: int) -> Array:
        return self.rows[first:last]

    def put(self, first: int, block: Array) -> None:
        self.reserve(first + len(block))
        self.rows[first : first + len(block)] = block

    def combine(self, first: int, S: np.ndarray, width: int) -> None:
        """In place, some columns at a time."""
        (size, kept), rows, turned = S.shape, self.rows[first:], self.engine.xp.asarray(S).T

        def turn(share):
            for columns in self.engine.blocks(share, size):
                rows[:kept, columns] = turned @ rows[:size, columns]
                rows[kept : kept + width, columns] = rows[size : size + width, columns]

        self.engine.run(turn, self.engine.shares(self.n))

    def gram(self, count: int) -> np.ndarray:
        rows = self.rows[:count]
        return self.engine.to_host(self._total(lambda share: rows[:, share] @ rows[:, share].T, rows.size))

    def reserve(self, rows: int) -> None:
        """Half as many again, where the array is full."""
        if rows > len(self.rows):
            larger = self.engine.xp.empty((max(rows, 3 * len(self.rows) // 2), self.n))
            larger[: len(self.rows)] = self.rows
            self.rows = larger

    def fitting(self, share: float) -> int:
        return int(share * self.engine.free_memory() / (8 * self.n))

    def columns(self, chosen: slice | np.ndarray) -> Array:
        return self.rows[chosen if isinstance(chosen, slice) else self.engine.xp.asarray(chosen)].T

    def combined(self, coefficients: np.ndarray, first: int) -> Array:
        return self.engine.xp.asarray(coefficients) @ self.rows[first : first + coefficients.shape[1]]

    def project(self, V: Array, count: int) -> Array:
        known = self.rows[:count].T
        for _ in range(2):
            V -= known @ (known.T @ V)
        return V

    def _total(self, task: Callable, entries: int) -> Array:
        """The sum of what the task finds for each share of the points."""
        first, *others = self._run(task, entries)
        return sum(others, start=first)

    def _run(self, task: Callable, entries: int) -> list:
        return self.engine.run(task, self.engine.shares(self.n) if entries > SHARED_FROM else [slice(0, self.n)])


def split(R: np.ndarray, rounding: float, room: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(U, A, dropped) with R = U A up to ``dropped``: at most ``room`` singular vectors, of values above rounding."""
    U, sizes, V = np.linalg.svd(R, full_matrices=False)
    kept = min(int((sizes > max(rounding, np.finfo(np.float64).tiny)).sum()), room)
    return U[:, :kept], sizes[:kept, None] * V[:kept], float(np.linalg.norm(sizes[kept:]))
