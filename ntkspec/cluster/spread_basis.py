"""The vectors of Lanczos with their rows on workers: :class:`ntkspec.spectra.basis.Basis` of a spread kernel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkspec.cluster import pieces
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.cluster.workers import given
from ntkspec.spectra.basis import split

if TYPE_CHECKING:
    from ntkspec.cluster.kernel import SpreadKernel

# Blocks that are put together: a task takes one argument for each of them.
JOINED, LARGEST = 8, 32


class SpreadBasis:
    """Blocks are :class:`SpreadArray` (b, n), and never change: each is a function of the ones before it."""

    def __init__(self, kernel: "SpreadKernel"):
        self.kernel, self.parts, self.n = kernel, kernel.parts, kernel.shape[0]
        self.blocks: list[SpreadArray] = []
        self._seen: dict[int, tuple[SpreadArray, list]] = {}

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

    def _summary(self, block: SpreadArray) -> list:
        """Of each part; that of the last block is kept, which is asked twice."""
        known = self._seen.get(id(block))
        if known is None or known[0] is not block:
            found = self.parts.workers.answers(self.parts.map(pieces.summary, block.pieces))
            self._seen = {id(block): (block, found)}
            return found
        return known[1]

    def faults(self, block: SpreadArray) -> tuple[int | None, float]:
        found = self._summary(block)
        bad = np.any([part[1] for part in found], axis=0)
        return int(bad.argmax()) if bad.any() else None, max(part[2] for part in found)

    def sizes(self, block: SpreadArray) -> np.ndarray:
        return np.sqrt(sum(part[0] for part in self._summary(block)))

    def without(self, block: SpreadArray, first: int, last: int) -> tuple[np.ndarray, SpreadArray]:
        if first == last or not len(block):
            return np.zeros((last - first, len(block))), block
        known = self._known(first, last)
        total = self.parts.total(pieces.overlaps, block.pieces, known)
        found = self.parts.map(pieces.without, block.pieces, self.parts.same(total), known)
        return total, self._block(found, len(block))

    def factored(self, block: SpreadArray, rounding: float, room: int) -> tuple[np.ndarray, SpreadArray, float]:
        """From the triangles of all parts that of the whole block (TSQR: Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci.
        Comput. 34, 2012)."""
        if len(block) == 0:
            return np.zeros((0, 0)), block, 0.0
        factors = self.parts.map(pieces.triangle, block.pieces)
        triangles = self.parts.workers.answers(self.parts.map(pieces.second, factors))
        Q, R = np.linalg.qr(np.vstack(triangles))
        U, A, dropped = split(R, rounding, room)
        cuts = np.split((Q @ U).T, np.cumsum([len(one) for one in triangles])[:-1], axis=1)
        return A, self._block(self.parts.map(pieces.turned, factors, cuts), len(A)), dropped

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
        count = sum(map(len, self.blocks))
        indices = np.arange(count)[chosen]
        return self._mixed(np.eye(count)[indices], 0).T

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
