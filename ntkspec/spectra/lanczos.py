"""Block Lanczos on any symmetric operator: full orthogonalization, breakdowns as answers, thick restart."""

import math
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators import KernelOperator
from ntkspec.operators.adapters import LARGEST
from ntkspec.operators.rounding import HALF_ULP
from ntkspec.spectra.basis import ArrayBasis, Basis, Block
from ntkspec.spectra.deflation import LockedPairs

# Relative size of <q, K p> - <K q, p> from which an operator is refused, where its own rounding does not explain it.
ASYMMETRY = 1e-8
# Singular values of a residual block, relative to the block before its full pass of Gram-Schmidt, from which that pass
# leaves it orthogonal to rounding.
CLEAN = 0.1


class Lanczos:
    r"""An orthonormal basis Q with :math:`K Q = Q T + Q' C + F` that grows by a block of products at a time.

    Q lies in a ``basis`` (:mod:`ntkspec.spectra.basis`), the small matrices are NumPy's. T (k, k) is symmetric, Q' (the
    residual block) is the orthonormal block that is multiplied next, C (its width, k) is ``off_diagonal``. All of it is
    float64, whatever the dtype of the operator: products with float64 vectors are accumulated in float64. ``start``
    (k, b) holds the coordinates of the orthonormalized start block Q_1, and the block that was given is
    ``start_factorᵀ`` Q_1 (rows). F is everything that is not exact: the rounding of products and of Gram-Schmidt, the
    asymmetry of the operator, directions that were dropped because they are no larger than that; ``error`` bounds its
    Frobenius norm, to first order in the unit roundoff.

    Directions that vanish make the residual block narrower. Where it is empty the space is invariant (``exhausted``):
    T's eigenvalues are eigenvalues of K. Vectors that were locked stay in front of the basis, their values and
    residuals in ``pairs``; K then stands for P K P with the projector P onto what is orthogonal to them
    (:mod:`ntkspec.spectra.deflation`).

    Cost: b vectors a product block, 4 n k b flops for Gram-Schmidt, 8 n (k + b) bytes.
    """

    def __init__(self, operator: KernelOperator):
        self.operator, self.engine, self.n = operator, operator.engine, operator.shape[0]
        self.products, self.pairs = 0, LockedPairs()
        self.asymmetry, self.scale, self._product_error = 0.0, 0.0, 0.0
        self.basis, self._T = basis_of(operator), np.zeros((16, 16))
        self.size, self.residual_width, self.start = 0, 0, np.zeros((0, 0))
        self._ritz: tuple[np.ndarray, np.ndarray] | None = None

    def begin_random(self, seed: int | np.random.SeedSequence, block: int) -> None:
        """Start from a Gaussian block: the space it spans is uniform, so its overlap with any eigenvector has a known
        law."""
        self._begin(self.basis.drawn(np.random.default_rng(seed), min(block, self.n)))

    def begin(self, start: ArrayLike) -> None:
        """Start from a block (n, b) or a vector (n,); all but the locked vectors are forgotten."""
        self._begin(self.basis.taken(start))

    def _begin(self, block: Block) -> None:
        self.size, self.steps, self.restarts, self.error = 0, 0, 0, 0.0
        self._T, self._ritz = np.zeros_like(self._T), None
        rounding = 8 * np.finfo(np.float64).eps * float(np.linalg.norm(self.basis.sizes(block)))
        found, (_, self.start_factor) = self._orthonormalized(block, self.locked, rounding)
        self._append(found)
        self.start = np.eye(len(found))

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
        """The basis as columns (n, k)."""
        return self.basis.columns(slice(self.locked, self.locked + self.size))

    @property
    def exhausted(self) -> bool:
        """The basis spans an invariant space."""
        return self.residual_width == 0

    @property
    def complete(self) -> bool:
        """The basis and the locked vectors span everything."""
        return self.locked + self.size == self.n

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """(theta, S): eigenvalues of T, ascending, and its eigenvectors as columns; kept until T changes."""
        if self._ritz is None:
            self._ritz = np.linalg.eigh(self.T)
        return self._ritz

    def residuals(self, S: np.ndarray) -> np.ndarray:
        """|K z - theta z| of the Ritz vectors z = Q s, for columns s of S; rounding (``error``) comes on top."""
        return np.linalg.norm(self.off_diagonal @ S, axis=0)

    def orthogonality_loss(self) -> float:
        """|Q Qᵀ - I| in Frobenius norm, of the locked vectors and the basis together. Cost: 2 n k² flops."""
        count = self.locked + self.size
        return float(np.linalg.norm(self.basis.gram(count) - np.eye(count)))

    # ----------------------------------------------------------------------------------------------------------- growth
    def extend(self, steps: int) -> None:
        """Up to ``steps`` further blocks of products; stops where the space is exhausted."""
        extend_together([self], steps)

    @property
    def residual_block(self) -> Block:
        """The orthonormal vectors that are multiplied next."""
        first = self.locked + self.size
        return self.basis.block(first, first + self.residual_width)

    def _step(self, W: Block) -> None:
        """Take in the product with the residual block."""
        self._accept(W)
        k, width, first = self.size, self.residual_width, self.locked + self.size
        self.scale = max(self.scale, float(self.basis.sizes(W).max()))
        rounding = self._error_of_products() + (first + width + 8) * HALF_ULP * self.scale
        found, (overlaps, factors) = self._orthonormalized(W, first + width, rounding)
        overlaps = overlaps[self.locked :]
        self._compare(overlaps, rounding)
        self.error = math.hypot(self.error, math.sqrt(width) * rounding)
        self._T[k : k + width, k : k + width] = (overlaps[k:] + overlaps[k:].T) / 2
        self._T[:k, k : k + width] = self.off_diagonal.T
        self.size, self.steps, self._ritz = k + width, self.steps + 1, None
        self.start = np.vstack([self.start, np.zeros((self.size - len(self.start), self.start.shape[1]))])
        self._append(found)
        self._T[self.size : self.size + len(found), k : self.size] = factors

    def _error_of_products(self) -> float:
        """The bound for one product. It grows where it is relative to the largest one so far: so does the error."""
        now, before = self.operator.rounding.matvec_error_bound, self._product_error
        if 0 < before < now:
            self.error *= now / before
        self._product_error = max(now, before)
        return now

    def _accept(self, W: Block) -> None:
        """Count a product; refuse one that is not finite, or whose squares are not held."""
        bad, largest = self.basis.faults(W)
        if bad is not None:
            number = self.products + bad + 1
            raise ValueError(f"product {number} with the kernel holds NaN or infinity; look at the kernel's entries")
        if largest > LARGEST or 0 < max(largest, self.scale) < 1 / LARGEST:
            raise ValueError(
                f"products with the kernel are up to {largest:.3g}, but squares of numbers beyond 1e+-150 are not held "
                f"by float64; scale the kernel"
            )
        self.products += len(W)

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

    def _orthonormalized(self, W: Block, known: int, rounding: float):
        """Orthonormal vectors P, and (overlaps, factors) with W = overlapsᵀ Q + factorsᵀ P for the first ``known``
        vectors Q.

        Block Gram-Schmidt, first along the vectors that W overlaps by more than rounding, then along all of them; a
        third time, normalized, where less than CLEAN of a direction was left (twice is enough: BCGSI+ of Barlow and
        Smoktunowicz, Numer. Math. 123, 2013). Directions of W that are no larger than rounding are dropped.
        """
        room = self.n - known
        overlaps = np.zeros((known, len(W)))
        for first, last in ((0, self.locked), (self._overlapped(), known)):
            overlaps[first:last], W = self.basis.without(W, first, last)
        size = max(self.basis.sizes(W), default=0.0)
        further, W = self.basis.without(W, 0, known)
        overlaps += further
        factors, P, dropped = self.basis.factored(W, rounding, room)
        self.error = math.hypot(self.error, dropped)
        if len(P) and np.linalg.norm(factors, axis=1).min() < CLEAN * size:
            again, P = self.basis.without(P, 0, known)
            overlaps += again @ factors
            second, P, _ = self.basis.factored(P, 0.0, room)
            factors = second @ factors
        return P, (overlaps, factors)

    def _overlapped(self) -> int:
        """The first vector, behind the locked ones, along which a product with the residual block lies: that of the
        last two blocks, or of all of them behind a restart."""
        coupled = np.flatnonzero(self.off_diagonal.any(axis=0))
        return self.locked + (int(coupled[0]) if len(coupled) else self.size)

    def _append(self, found: Block) -> None:
        """Make a block the residual block."""
        used = self.locked + self.size
        self.residual_width = len(found)
        self.reserve(used + self.residual_width)
        self.basis.put(used, found)

    def reserve(self, vectors: int) -> None:
        """Room for that many."""
        self.basis.reserve(vectors)
        needed = vectors - self.locked
        if needed > len(self._T):
            self._T = np.pad(self._T, (0, max(needed, 2 * len(self._T)) - len(self._T)))

    # ---------------------------------------------------------------------------------------------------------- restart
    def restart(self, theta: np.ndarray, S: np.ndarray) -> None:
        """Keep the span of the Ritz vectors with values theta and columns S, and the residual block (thick restart)."""
        off_diagonal, kept = self.off_diagonal @ S, S.shape[1]
        self.basis.combine(self.locked, S, self.residual_width)
        self._T, self._ritz = np.zeros_like(self._T), None
        self._T[:kept, :kept] = np.diag(theta)
        self._T[kept : kept + self.residual_width, :kept] = off_diagonal
        self.start, self.size, self.restarts = S.T @ self.start, kept, self.restarts + 1

    def lock(self, theta: np.ndarray, S: np.ndarray) -> None:
        """Put the Ritz vectors with values theta and columns S behind the locked ones; :meth:`begin` must follow."""
        found = self.pairs.joined(theta, self.residuals(S) + self.error)
        self.basis.combine(self.locked, S, self.residual_width)
        self._keep(found)

    def lock_pairs(self, values: np.ndarray, vectors: Array, residuals: np.ndarray) -> None:
        """Put pairs that are known, vectors (n, k) as columns, behind the locked ones; :meth:`begin` must follow."""
        found = self.pairs.joined(values, residuals)
        self.basis.put(self.locked, self.basis.taken(vectors))
        self._keep(found)

    def _keep(self, pairs: LockedPairs) -> None:
        """These pairs are locked, and nothing stands behind them."""
        self.pairs, self.size, self.residual_width = pairs, 0, 0
        self.start, self._ritz = self.start[:0], None

    def combined(self, coefficients: np.ndarray) -> Array:
        """An array (steps, n): coefficients (steps, k) times the k vectors of the basis."""
        return self.basis.combined(coefficients, self.locked)

    def project(self, V: Array) -> Array:
        """P times the columns of an array (n, b), in place: less its parts along the locked vectors, twice."""
        return self.basis.project(V, self.locked)


def basis_of(operator: KernelOperator) -> Basis:
    """Where the vectors of an operator lie: that of its ``lanczos_basis()``, rows of an array where it has none."""
    own = getattr(operator, "lanczos_basis", None)
    return ArrayBasis(operator) if own is None else own()


def extend_together(runs: Sequence[Lanczos], steps: int) -> None:
    """:meth:`Lanczos.extend` of several runs on one operator, whose products are computed at once."""
    for _ in range(steps):
        growing = [run for run in runs if not run.exhausted]
        if not growing:
            return
        with checks.memory_for(f"step {growing[0].steps + 1} of Lanczos", growing[0].engine, "take a larger rtol"):
            products = growing[0].basis.products([run.residual_block for run in growing])
            for run, W in zip(growing, products, strict=True):
                run._step(W)
