"""Block Lanczos on any symmetric operator: full orthogonalization, breakdowns as answers, thick restart."""

import math
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators import KernelOperator
from ntkspec.operators.adapters import LARGEST
from ntkspec.operators.rounding import HALF_ULP
from ntkspec.spectra.deflation import LockedPairs

# Entries of a basis from which an orthogonalization is worth the time to wake the other workers.
SHARED_FROM = 2**19
# Relative size of <q, K p> - <K q, p> from which an operator is refused, where its own rounding does not explain it.
ASYMMETRY = 1e-8
# Singular values of a residual block, relative to the block before its full pass of Gram-Schmidt, from which that pass
# leaves it orthogonal to rounding; and of a block, relative to each other, from which its Gram matrix tells them.
CLEAN = 0.1


class Lanczos:
    r"""An orthonormal basis Q with :math:`K Q = Q T + Q' C + F` that grows by a block of products at a time.

    Q lies on the operator's device, the small matrices are NumPy's. T (k, k) is symmetric, Q' (the residual
    block) is the orthonormal block that is multiplied next, C (its width, k) is ``off_diagonal``. All of it is float64,
    whatever the dtype of the operator: products with float64 vectors are accumulated in float64. ``start`` (k, b) holds
    the coordinates of the orthonormalized start block Q_1, and the block that was given is ``start_factorᵀ`` Q_1
    (rows). F is everything
    that is not exact: the rounding of products and of Gram-Schmidt, the asymmetry of the operator, directions that were
    dropped because they are no larger than that; ``error`` bounds its Frobenius norm, to first order in the unit
    roundoff.

    Directions that vanish make the residual block narrower. Where it is empty the space is invariant (``exhausted``):
    T's eigenvalues are eigenvalues of K. Vectors that were locked stay in front of the basis, their values and
    residuals in ``pairs``; K then stands for P K P with the projector P onto what is orthogonal to them
    (:mod:`ntkspec.spectra.deflation`).

    Cost: b vectors a product block, 4 n k b flops for Gram-Schmidt, 8 n (k + b) bytes.
    """

    def __init__(self, operator: KernelOperator):
        self.operator, self.engine = operator, operator.engine
        self.products, self.pairs = 0, LockedPairs()
        self.asymmetry, self.scale, self._product_error = 0.0, 0.0, 0.0
        self.basis, self._T = self.engine.xp.empty((16, operator.shape[0])), np.zeros((16, 16))
        self.size, self.residual_width = 0, 0

    def begin_random(self, seed: np.random.SeedSequence, block: int) -> None:
        """Start from a Gaussian block (:func:`random_start`)."""
        self.begin(random_start(self.operator, seed, block))

    def begin(self, start: ArrayLike) -> None:
        """Start from a block (n, b) or a vector (n,); all but the locked vectors are forgotten."""
        block = self.engine.xp.asarray(start, np.float64).reshape(self.operator.shape[0], -1).T
        self._begin(block)

    def _begin(self, block) -> None:
        self.size, self.steps, self.error = 0, 0, 0.0
        self._T = np.zeros_like(self._T)
        rounding = 8 * np.finfo(np.float64).eps * float(np.linalg.norm(self._sizes(block)))
        rows, (_, self.start_factor) = self._orthonormalized(block, self.basis[: self.locked], rounding)
        self._append(rows)
        self.start = np.eye(len(rows))

    # ----------------------------------------------------------------------------------------------------- the relation
    @property
    def T(self) -> np.ndarray:
        """The projection of K on the basis."""
        return self._T[: self.size, : self.size]

    @property
    def off_diagonal(self) -> np.ndarray:
        """C in K Q = Q T + Q' C, shape (residual_width, k)."""
        return self._T[self.size : self.size + self.residual_width, : self.size]

    @property
    def locked(self) -> int:
        """How many vectors stand in front of the basis."""
        return len(self.pairs)

    @property
    def vectors(self) -> Array:
        """The basis as rows (k, n)."""
        return self.basis[self.locked : self.locked + self.size]

    @property
    def exhausted(self) -> bool:
        """The basis spans an invariant space."""
        return self.residual_width == 0

    @property
    def complete(self) -> bool:
        """The basis and the locked vectors span everything."""
        return self.locked + self.size == self.basis.shape[1]

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """(theta, S): eigenvalues of T, ascending, and its eigenvectors as columns."""
        return np.linalg.eigh(self.T)

    def residuals(self, S: np.ndarray) -> np.ndarray:
        """|K z - theta z| of the Ritz vectors z = Q s, for columns s of S; rounding (``error``) comes on top."""
        return np.linalg.norm(self.off_diagonal @ S, axis=0)

    def orthogonality_loss(self) -> float:
        """|Q Qᵀ - I| in Frobenius norm, of the locked vectors and the basis together. Cost: 2 n k² flops."""
        rows = self.basis[: self.locked + self.size]
        gram = self._total(lambda share: rows[:, share] @ rows[:, share].T, rows.size)
        return float(np.linalg.norm(self.engine.to_host(gram) - np.eye(len(rows))))

    # ----------------------------------------------------------------------------------------------------------- growth
    def extend(self, steps: int) -> None:
        """Up to ``steps`` further blocks of products; stops where the space is exhausted."""
        for _ in range(steps):
            if self.exhausted:
                return
            with checks.memory_for(f"step {self.steps + 1} of Lanczos", self.engine, "take a larger rtol"):
                self._step(self._product(self.residual_block))

    @property
    def residual_block(self) -> Array:
        """The orthonormal rows that are multiplied next."""
        first = self.locked + self.size
        return self.basis[first : first + self.residual_width]

    def _step(self, W) -> None:
        """Take in the product with the residual block."""
        k, width, first = self.size, self.residual_width, self.locked + self.size
        self.scale = max(self.scale, float(self._sizes(W).max()))
        known = self.basis[: first + width]
        rounding = self._error_of_products() + (len(known) + 8) * HALF_ULP * self.scale
        rows, (overlaps, factors) = self._orthonormalized(W, known, rounding)
        overlaps = overlaps[self.locked :]
        self._compare(overlaps, rounding)
        self.error = math.hypot(self.error, math.sqrt(width) * rounding)
        self._T[k : k + width, k : k + width] = (overlaps[k:] + overlaps[k:].T) / 2
        self._T[:k, k : k + width] = self.off_diagonal.T
        self.size, self.steps = k + width, self.steps + 1
        self.start = np.vstack([self.start, np.zeros((self.size - len(self.start), self.start.shape[1]))])
        self._append(rows)
        self._T[self.size : self.size + len(rows), k : self.size] = factors

    def _error_of_products(self) -> float:
        """The bound for one product. It grows where it is relative to the largest one so far: so does the error."""
        now, before = self.operator.rounding.matvec_error_bound, self._product_error
        if 0 < before < now:
            self.error *= now / before
        self._product_error = max(now, before)
        return now

    def _product(self, block):
        """K times each row of the block."""
        return self._accepted(self._multiplied(block))

    def _multiplied(self, block):
        return self.engine.xp.ascontiguousarray((self.operator @ block.T).T, dtype=np.float64)

    def _accepted(self, W):
        """A product that is counted; refuses what is not finite, or whose squares are not held."""
        largest = float(abs(W).max())
        if not math.isfinite(largest):
            number = self.products + int((~self.engine.xp.isfinite(W).all(axis=1)).argmax()) + 1
            raise ValueError(f"product {number} with the kernel holds NaN or infinity; look at the kernel's entries")
        if largest > LARGEST or 0 < max(largest, self.scale) < 1 / LARGEST:
            raise ValueError(
                f"products with the kernel are up to {largest:.3g}, but squares of numbers beyond 1e+-150 are not held "
                f"by float64; scale the kernel"
            )
        self.products += len(W)
        return W

    def _compare(self, overlaps, rounding: float) -> None:
        """<q_i, K q_j> against <K q_i, q_j>, which an earlier product gave: what differs belongs to F."""
        k = self.size
        before, now = overlaps[:k] - self.off_diagonal.T, overlaps[k:] - overlaps[k:].T
        defect = math.hypot(np.linalg.norm(before), np.linalg.norm(now))
        self.error = math.hypot(self.error, defect)
        self.asymmetry = max(self.asymmetry, defect)
        if defect > max(ASYMMETRY * self.scale, 1e3 * rounding) + 2 * self.operator.storage_error:
            raise ValueError(
                f"the operator is not symmetric: in product {self.products} <q, K p> and <K q, p> differ by "
                f"{defect:.3g}, with |K p| up to {self.scale:.3g}; pass (K + K.T) / 2 where that is meant, or say how "
                f"inaccurate its products are: ntkspec.operators.wrap(K, error=...)"
            )

    def _orthonormalized(self, W, known, rounding: float):
        """Orthonormal rows P, and (overlaps, factors) with W = overlapsᵀ known + factorsᵀ P.

        Block Gram-Schmidt, first along the rows that W overlaps by more than rounding, then along all of them; a third
        time, normalized, where less than CLEAN of a direction was left (twice is enough: BCGSI+ of Barlow and
        Smoktunowicz, Numer. Math. 123, 2013). Directions of W that are no larger than rounding are dropped.
        """
        room = known.shape[1] - len(known)
        overlaps = np.zeros((len(known), len(W)))
        for rows in self._overlapped(len(known)):
            overlaps[rows], W = self._without(W, known[rows])
        size = max(self._sizes(W), default=0.0)
        further, W = self._without(W, known)
        overlaps += further
        factors, P, dropped = self._factored(W, rounding, room)
        self.error = math.hypot(self.error, dropped)
        if len(P) and np.linalg.norm(factors, axis=1).min() < CLEAN * size:
            again, P = self._without(P, known)
            overlaps += again @ factors
            second, P, _ = self._factored(P, 0.0, room)
            factors = second @ factors
        return P, (overlaps, factors)

    def _overlapped(self, known: int) -> list[slice]:
        """The known rows along which a product with the residual block lies: locked ones, and the last two blocks, or
        all of them behind a restart."""
        coupled = np.flatnonzero(self.off_diagonal.any(axis=0))
        first = self.locked + (int(coupled[0]) if len(coupled) else self.size)
        return [slice(0, self.locked), slice(first, known)]

    def _sizes(self, W):
        """The norms of the rows."""
        return self.engine.to_host(self.engine.xp.einsum("ij,ij->i", W, W)) ** 0.5

    def _factored(self, W, rounding: float, room: int):
        return _factored(self.engine, W, rounding, room)

    def _without(self, W, known):
        """(overlaps, W - overlapsᵀ known)."""
        if not known.size * len(W):
            return np.zeros((len(known), len(W))), W
        overlaps = self._total(lambda share: known[:, share] @ W[:, share].T, known.size)
        rest = self.engine.xp.empty_like(W)

        def subtract(share):
            rest[:, share] = W[:, share] - overlaps.T @ known[:, share]

        self._run(subtract, known.size)
        return self.engine.to_host(overlaps), rest

    def _total(self, task, entries: int):
        """The sum of what the task finds for each share of the points."""
        first, *others = self._run(task, entries)
        return sum(others, start=first)

    def _run(self, task, entries: int) -> list:
        n = self.basis.shape[1]
        return self.engine.run(task, self.engine.shares(n) if entries > SHARED_FROM else [slice(0, n)])

    def _append(self, rows) -> None:
        """Make rows the residual block."""
        used = self.locked + self.size
        self.residual_width = len(rows)
        self.reserve(used + self.residual_width)
        self.basis[used : used + self.residual_width] = rows

    def fitting(self, share: float) -> int:
        """How many vectors fit into this share of the free memory."""
        return int(share * self.engine.free_memory() / (8 * self.basis.shape[1]))

    def reserve(self, rows: int) -> None:
        """Room for that many vectors."""
        if rows > len(self.basis):
            larger = self.engine.xp.empty((max(rows, 3 * len(self.basis) // 2), self.basis.shape[1]))
            larger[: len(self.basis)] = self.basis
            self.basis = larger
        needed = rows - self.locked
        if needed > len(self._T):
            self._T = np.pad(self._T, (0, max(needed, 2 * len(self._T)) - len(self._T)))

    # ---------------------------------------------------------------------------------------------------------- restart
    def restart(self, theta: np.ndarray, S: np.ndarray) -> None:
        """Keep the span of the Ritz vectors with values theta and columns S, and the residual block (thick restart)."""
        off_diagonal, kept = self.off_diagonal @ S, S.shape[1]
        self._combine(S)
        self._T = np.zeros_like(self._T)
        self._T[:kept, :kept] = np.diag(theta)
        self._T[kept : kept + self.residual_width, :kept] = off_diagonal
        self.start, self.size = S.T @ self.start, kept

    def lock(self, theta: np.ndarray, S: np.ndarray) -> None:
        """Put the Ritz vectors with values theta and columns S behind the locked ones; :meth:`begin` must follow."""
        found = self.pairs.joined(theta, self.residuals(S) + self.error)
        self._combine(S)
        self.pairs, self.size, self.residual_width = found, 0, 0

    def lock_pairs(self, values: np.ndarray, vectors: Array, residuals: np.ndarray) -> None:
        """Put pairs that are known, vectors (n, k) as columns, behind the locked ones; :meth:`begin` must follow."""
        found = self.pairs.joined(values, residuals)
        self.reserve(len(found))
        self.basis[self.locked : len(found)] = vectors.T
        self.pairs, self.size, self.residual_width = found, 0, 0

    def project(self, block: Array) -> Array:
        """P times the columns of a block (n, b), in place: less its parts along the locked vectors, twice."""
        locked = self.basis[: self.locked].T
        for _ in range(2):
            block -= locked @ (locked.T @ block)
        return block

    def _combine(self, S) -> None:
        """Overwrite the basis with Sᵀ times it, and move the residual block behind it, some columns at a time."""
        size, kept, width = self.size, S.shape[1], self.residual_width
        rows, turned = self.basis[self.locked :], self.engine.xp.asarray(S).T

        def combine(share):
            for columns in self.engine.blocks(share, size):
                rows[:kept, columns] = turned @ rows[:size, columns]
                rows[kept : kept + width, columns] = rows[size : size + width, columns]

        self.engine.run(combine, self.engine.shares(rows.shape[1]))


def extend_together(bases: Sequence[Lanczos], steps: int) -> None:
    """:meth:`Lanczos.extend` of several bases of one operator, whose products are computed at once."""
    if len(bases) == 1:
        bases[0].extend(steps)
        return
    for _ in range(steps):
        growing = [basis for basis in bases if not basis.exhausted]
        if not growing:
            return
        blocks = [basis.residual_block for basis in growing]
        engine, ends = growing[0].engine, np.cumsum([len(block) for block in blocks])
        with checks.memory_for(f"step {growing[0].steps + 1} of Lanczos", engine, "take a larger rtol"):
            W = growing[0]._multiplied(engine.xp.concatenate(blocks))
            for basis, block, end in zip(growing, blocks, ends, strict=True):
                basis._step(basis._accepted(W[end - len(block) : end]))


def _factored(engine, W, rounding: float, room: int):
    """(A, P, dropped) with W = Aᵀ P up to dropped, P with orthonormal rows: the singular values above rounding.

    A, as wide as the block, is NumPy's; the rows stay on their device.
    """
    if len(W) == 0:
        return np.zeros((0, 0)), W, 0.0
    gram = engine.to_host(W @ W.T)
    squares, U = np.linalg.eigh(gram)
    if len(W) <= room and math.sqrt(max(0.0, squares[0])) > max(CLEAN * math.sqrt(squares[-1]), rounding):
        sizes, V = np.sqrt(squares[::-1]), U.T[::-1]
        return sizes[:, None] * V, engine.xp.asarray(V / sizes[:, None]) @ W, 0.0
    left, R = engine.xp.linalg.qr(W.T)
    U, sizes, V = np.linalg.svd(engine.to_host(R), full_matrices=False)
    kept = min(int((sizes > max(rounding, np.finfo(np.float64).tiny)).sum()), room)
    rows = engine.xp.asarray(U[:, :kept]).T @ left.T
    return sizes[:kept, None] * V[:kept], rows, float(np.linalg.norm(sizes[kept:]))


def random_start(operator: KernelOperator, seed: int | np.random.SeedSequence, block: int = 1) -> Array:
    """A Gaussian block (n, b): the space it spans is uniform, so its overlap with any eigenvector has a known law."""
    normal = np.random.default_rng(seed).standard_normal((min(block, operator.shape[0]), operator.shape[0]))
    return operator.engine.xp.asarray(normal).T
