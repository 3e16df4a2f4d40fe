"""The basis of Lanczos in parts, whose rows never leave the workers."""

from collections.abc import Sequence
from concurrent.futures import CancelledError

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.operators import Rounding
from ntkspec.spectra.lanczos import Lanczos

# What sums over the parts add to the roundings of one part's products.
SUMMING = 2.0
LOST = "a worker that held a part of the points was lost; run this again"


def answers(futures: Sequence) -> list:
    """The results; what a worker takes with it when it dies is said."""
    try:
        return [future.result() for future in futures]
    except (OSError, RuntimeError, CancelledError) as error:
        raise ValueError(f"{LOST}: {error}") from None


class _Rows:
    """Vectors on the shards: how many, from which place, of which length."""

    def __init__(self, first: int, last: int, n: int):
        self.first, self.last, self.shape, self.size = first, last, (last - first, n), (last - first) * n

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice):
        first, last, _ = rows.indices(len(self))
        return _Rows(self.first + first, self.first + last, self.shape[1])


class _Whole:
    """What Lanczos asks of the operator, from the facts of all shards."""

    symmetric = stored = True

    def __init__(self, facts: list[tuple]):
        sizes, dtypes, semidefinite, rounding, storage_errors = zip(*facts, strict=True)
        if len(set(dtypes)) > 1:
            raise ValueError(f"the parts have dtypes {sorted(set(dtypes))}, but one kernel has one dtype")
        self.shape, self.engine = (sum(sizes), sum(sizes)), engine_of()
        self.semidefinite, self.storage_error = all(semidefinite), float(sum(storage_errors))
        # Norms of absolute values add up over the points, and so do the bounds that are relative to them.
        self.rounding = Rounding(
            float(sum(part.norm_of_absolute for part in rounding)),
            SUMMING * float(sum(part.matvec_error_bound for part in rounding)),
            SUMMING * float(sum(part.forming_error_bound for part in rounding)),
        )


class ShardedLanczos(Lanczos):
    """:class:`Lanczos` whose vectors never leave the workers."""

    def __init__(self, shards: list):
        self.shards = shards
        super().__init__(_Whole(self._all("facts")))  # type: ignore[arg-type]
        self.basis = _Rows(0, 0, self.operator.shape[0])

    def _all(self, method: str, *arguments) -> list:
        """The method of every shard, at the same time."""
        return answers([getattr(shard, method)(*arguments) for shard in self.shards])

    def begin_random(self, seed: np.random.SeedSequence, block: int) -> None:
        """Start from a Gaussian block, each part from its own stream."""
        block = min(block, self.operator.shape[0])
        self._all("draw", seed.entropy, seed.spawn_key, block)
        self._begin(_Rows(0, block, self.operator.shape[0]))

    def _product(self, block):
        parts = self._all("gather", block.first, block.last)
        total = [sum(terms) for terms in zip(*parts, strict=True)] if isinstance(parts[0], list) else sum(parts)
        squares = sum(self._all("scatter", total))
        if not np.isfinite(squares).all():
            raise ValueError(f"a product after {self.products} with the kernel holds NaN or infinity")
        self.products += len(block)
        return _Rows(0, len(block), self.operator.shape[0])

    def _sizes(self, W):
        return np.sqrt(sum(self._all("squares")))

    def _overlapped(self, known: int) -> list[slice]:
        """All rows: a part of them takes as many messages."""
        return [slice(0, known)]

    def _without(self, W, known):
        overlaps = sum(self._all("overlaps", len(known)))
        self._all("subtract", overlaps)
        return overlaps, W

    def _factored(self, W, rounding, room):
        R = np.linalg.qr(np.vstack(self._all("triangle")), mode="r") if len(W) else np.zeros((0, 0))
        _, sizes, V = np.linalg.svd(R, full_matrices=False)
        kept = min(int((sizes > max(rounding, np.finfo(np.float64).tiny)).sum()), room)
        self._all("mix", V[:kept] / sizes[:kept, None])
        dropped = float(np.linalg.norm(sizes[kept:]))
        return sizes[:kept, None] * V[:kept], _Rows(0, kept, self.operator.shape[0]), dropped

    def _append(self, rows):
        used = self.locked + self.size
        self.residual_width = len(rows)
        self.reserve(used + self.residual_width)
        self._all("append", used)

    def fitting(self, share: float) -> int:
        """How many vectors fit on every worker."""
        return min(self._all("fitting", share))

    def reserve(self, rows: int) -> None:
        """Room in T; the shards make room as they need it."""
        if rows > len(self.basis):
            self.basis = _Rows(0, rows, self.operator.shape[0])
        if rows > len(self._T):
            self._T = np.pad(self._T, (0, max(rows, 2 * len(self._T)) - len(self._T)))

    def orthogonality_loss(self) -> float:
        """|Q Qᵀ - I| in Frobenius norm."""
        count = self.locked + self.size
        return float(np.linalg.norm(sum(self._all("gram", count)) - np.eye(count)))
