"""The vectors of Lanczos with their rows on workers: :class:`ntkspec.spectra.basis.Basis` of a spread kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkspec.cluster import pieces
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.cluster.workers import added, given
from ntkspec.spectra.basis import split

if TYPE_CHECKING:
    from ntkspec.cluster.kernel import SpreadKernel

# Blocks that are put together: a task takes one argument for each of them.
JOINED, LARGEST = 8, 32


@dataclass(frozen=True, eq=False)
class Seen:
    """What all parts told of a block, with its overlaps with the vectors from ``first`` to ``last``."""

    block: SpreadArray
    first: int
    last: int
    looks: list[pieces.Look]


class SpreadBasis:
    """Blocks are :class:`SpreadArray` (b, n), and never change: each is a function of the ones before it."""

    def __init__(self, kernel: "SpreadKernel"):
        self.kernel, self.parts, self.n = kernel, kernel.parts, kernel.shape[0]
        self.blocks: list[SpreadArray] = []
        # What was asked last, and of how many vectors, the last ones, a product is likely to be freed next.
        self._seen: Seen | None = None
        self._tail = 0

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def _block(self, found: Sequence[Any], count: int) -> SpreadArray:
        return SpreadArray(self.parts, found, (count, self.n), np.float64, 1)

    def drawn(self, rng: np.random.Generator, count: int) -> SpreadArray:
        """Each part from a stream of its own."""
        parts, entropy = self.parts, rng.integers(2**63, size=2).tolist()
        same = parts.same(entropy), range(len(parts)), parts.same(count)
        return self._block(parts.map(pieces.drawn, *same, self.kernel.rows_of_parts, parts.engines), count)

    def taken(self, start: Any) -> SpreadArray:
        columns = self.parts.placed(start if isinstance(start, SpreadArray) else np.asarray(start))
        return columns.astype(np.float64).reshape(self.n, -1).T

    def products(self, blocks: Sequence[SpreadArray]) -> list[SpreadArray]:
        together = joined(blocks)
        W = self.kernel.multiplied(together)
        if len(blocks) == 1:
            return [W]
        ends = np.cumsum([len(block) for block in blocks])
        return [W[int(end) - len(block) : int(end)] for block, end in zip(blocks, ends, strict=True)]

    def _look(self, block: SpreadArray, tail: int) -> "Seen":
        """What is asked of a block, and in the same tasks its overlaps with the last ``tail`` vectors."""
        if self._seen is None or self._seen.block is not block:
            count = len(self)
            first = max(0, count - tail)
            known = self._known(first, count) if first < count else self.parts.same([])
            looks = self.parts.workers.answers(self.parts.map(pieces.looked_at, block.pieces, known))
            self._seen = Seen(block, first, count, looks)
        return self._seen

    def faults(self, block: SpreadArray) -> tuple[int | None, float]:
        looks = self._look(block, self._tail).looks
        bad = np.any([one.bad for one in looks], axis=0)
        return int(bad.argmax()) if bad.any() else None, max(one.largest for one in looks)

    def sizes(self, block: SpreadArray) -> np.ndarray:
        return np.sqrt(sum(one.squares for one in self._look(block, len(self)).looks))

    def without(self, block: SpreadArray, first: int, last: int) -> tuple[np.ndarray, SpreadArray]:
        if first == last or not len(block):
            return np.zeros((last - first, len(block))), block
        known, seen = self._known(first, last), self._seen
        if seen is not None and seen.block is block and (seen.first, seen.last) == (first, last):
            total = added([one.overlaps for one in seen.looks])
        else:
            total = self.parts.total(pieces.overlaps, block.pieces, known)
        if first:
            self._tail = last - first
        found = self.parts.map(pieces.without, block.pieces, self.parts.same(total), known)
        return total, self._block(found, len(block))

    def factored(self, block: SpreadArray, rounding: float, room: int) -> tuple[np.ndarray, SpreadArray, float]:
        """From the triangles of all parts that of the whole block (TSQR: Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci.
        Comput. 34, 2012)."""
        if len(block) == 0:
            return np.zeros((0, 0)), block, 0.0
        triangles = self.parts.workers.answers(self.parts.map(pieces.triangle, block.pieces))
        Q, R = np.linalg.qr(np.vstack(triangles))
        U, A, dropped = split(R, rounding, room)
        cuts = np.split((Q @ U).T, np.cumsum([len(one) for one in triangles])[:-1], axis=1)
        return A, self._block(self.parts.map(pieces.turned, block.pieces, cuts), len(A)), dropped

    def block(self, first: int, last: int) -> SpreadArray:
        return joined(self._cut(first, last))

    def put(self, first: int, block: SpreadArray) -> None:
        self.blocks = [*self._cut(0, first), block] if len(block) else self._cut(0, first)
        tail = self.blocks[-JOINED - 1 : -1]
        if len(tail) == JOINED and sum(map(len, tail)) <= LARGEST:
            self.blocks[-JOINED - 1 : -1] = [joined(tail)]

    def _cut(self, first: int, last: int) -> list[SpreadArray]:
        """The vectors from first to last, in blocks."""
        found, start = [], 0
        for block in self.blocks:
            low, high = max(first - start, 0), min(last - start, len(block))
            if low < high:
                found.append(block if (low, high) == (0, len(block)) else block[low:high])
            start += len(block)
        return found

    def _known(self, first: int, last: int) -> list[list]:
        """Of each part the pieces of these vectors."""
        return [list(own) for own in zip(*(block.pieces for block in self._cut(first, last)), strict=True)]

    def combine(self, first: int, S: np.ndarray, width: int) -> None:
        front, behind = self._cut(0, first), self._cut(first + len(S), first + len(S) + width)
        self.blocks = [*front, *([self._mixed(S.T, first)] if S.shape[1] else []), *behind]

    def _mixed(self, coefficients: np.ndarray, first: int) -> SpreadArray:
        parts, count = self.parts, coefficients.shape[1]
        matrix = parts.workers.submit(given, np.ascontiguousarray(coefficients))
        known = self._known(first, first + count) or parts.same([])
        found = parts.map(pieces.mixed, known, parts.same(matrix), self.kernel.rows_of_parts, parts.engines)
        return self._block(found, len(coefficients))

    def gram(self, count: int) -> np.ndarray:
        return self.parts.total(pieces.gram, self._known(0, count)) if count else np.zeros((0, 0))

    def reserve(self, rows: int) -> None:
        """Blocks take what they need."""

    def fitting(self, share: float) -> int:
        return int(share * self.parts.free_memory() / (8 * self.n))

    def columns(self, chosen: slice | np.ndarray) -> SpreadArray:
        if isinstance(chosen, slice):
            return self.block(chosen.start, chosen.stop).T
        indices = np.arange(len(self))[chosen]
        return self._mixed(np.eye(len(self))[indices], 0).T

    def combined(self, coefficients: np.ndarray, first: int) -> SpreadArray:
        return self._mixed(np.asarray(coefficients), first)

    def project(self, V: Any, count: int) -> Any:
        found = V.T
        for _ in range(2):
            _, found = self.without(found, 0, count)
        return found.T


def joined(blocks: Sequence[SpreadArray]) -> SpreadArray:
    """One behind the other."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)  # type: ignore[return-value]
