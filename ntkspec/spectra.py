"""Lanczos with full reorthogonalization, and extreme eigenpairs from it."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal

from ntkspec import checks, planning, progress
from ntkspec.operators import KernelOperator

# Up to this size the dense eigenproblem is solved: it takes about a second and finds every multiplicity.
DENSE_SIZE = 1500
# Numbers of a basis from which an orthogonalization is worth the time to wake the other workers.
SHARED_FROM = 2**20


class Lanczos:
    r"""An orthonormal Krylov basis of a symmetric operator: K Q_k = Q_k T_k + beta_k q_{k+1} e_kᵀ.

    Each product is followed by two Gram-Schmidt passes against the whole basis. The basis has the dtype of the
    operator (n numbers a product); alpha and beta are float64. ``exhausted`` says that the Krylov space is invariant:
    beta_k is no larger than rounding, and T_k's eigenvalues are eigenvalues of K.
    """

    def __init__(self, operator: KernelOperator, start):
        n = operator.shape[0]
        self.operator, self.engine = operator, operator.engine
        self.basis = self.engine.xp.empty((16, n), dtype=operator.dtype)
        self.alpha: list[float] = []
        self.beta: list[float] = []
        self._append(start)
        self.exhausted = False

    @property
    def products(self) -> int:
        """k, the number of products so far."""
        return len(self.alpha)

    def extend(self, count: int) -> None:
        """Up to ``count`` further products; stops where the Krylov space is exhausted."""
        for _ in range(count):
            if self.exhausted:
                return
            self._step()

    def restart(self, vector) -> bool:
        """Continue an exhausted space in a direction orthogonal to it; False where the space is everything."""
        vector = self._orthogonalized(vector.astype(self.basis.dtype), self.products)
        if self.products == self.basis.shape[1]:
            return False
        self._append(vector)
        self.exhausted = False
        return True

    def ritz(self):
        """(theta, S): eigenvalues of T_k, ascending, and its eigenvectors as columns."""
        return eigh_tridiagonal(np.array(self.alpha), np.array(self.beta[:-1]))

    def vectors(self):
        """q_1, ..., q_k as rows."""
        return self.basis[: self.products]

    def _append(self, vector):
        k = self.products
        if k == self.basis.shape[0]:
            larger = self.engine.xp.empty((2 * k, self.basis.shape[1]), dtype=self.basis.dtype)
            larger[:k] = self.basis
            self.basis = larger
        self.basis[k] = vector / self.engine.xp.linalg.norm(vector)

    def _step(self):
        k = self.products
        product = self.operator @ self.basis[k]
        alpha = float(self.basis[k] @ product)
        if not np.isfinite(alpha):
            raise ValueError(f"product {k + 1} with the kernel holds NaN or infinity; look at the kernel's entries")
        rest = self._orthogonalized(product, k + 1)
        beta = float(self.engine.xp.linalg.norm(rest))
        self.alpha.append(alpha)
        scale = max(map(abs, (*self.alpha, *self.beta)))
        self.exhausted = k + 1 == len(rest) or beta <= 8 * np.finfo(rest.dtype).eps * (k + 1) ** 0.5 * scale
        self.beta.append(0.0 if self.exhausted else beta)
        if not self.exhausted:
            self._append(rest)

    def _orthogonalized(self, vector, k: int):
        known, run = self.basis[:k], self.engine.run
        shares = self.engine.shares(len(vector)) if known.size > SHARED_FROM else [slice(0, len(vector))]
        for _ in range(2):
            overlaps = sum(run(lambda share, old=vector: known[:, share] @ old[share], shares))
            parts = run(lambda share, old=vector, c=overlaps: old[share] - c @ known[:, share], shares)
            vector = self.engine.xp.concatenate(parts)
        return vector


def random_start(operator: KernelOperator, seed):
    """A Gaussian vector: its direction is uniform, so its overlap with any eigenvector has a known law."""
    return operator.engine.xp.asarray(np.random.default_rng(seed).standard_normal(operator.shape[0]), operator.dtype)


def require_symmetric(operator: KernelOperator) -> None:
    """Refuse what has no real spectrum."""
    if not isinstance(operator, KernelOperator):
        raise TypeError(f"a kernel operator is needed, not {type(operator).__name__}; wrap a matrix in operators.Dense")
    if operator.shape[0] != operator.shape[1] or not operator.symmetric:
        raise ValueError(
            f"a symmetric kernel is needed, but this one (shape {operator.shape}) is not symmetric by construction; "
            f"for an array that is, use operators.Dense(matrix, symmetric=True)"
        )


@dataclass(frozen=True)
class Spectrum:
    """Eigenpairs: values (k,), vectors (n, k) as columns, residuals |K z - value z| (k,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int
    converged: bool
    method: str


def eigsh(operator: KernelOperator, k: int, *, which: str = "LM", rtol: float = 1e-6, seed=0) -> Spectrum:
    """The k extreme eigenpairs of a symmetric kernel.

    which : "LM" largest magnitude (descending), "LA" largest (descending) or "SA" smallest (ascending).
    rtol : every residual |K z - value z|, which bounds the error of the value, is at most rtol |value| or rounding
    (50 eps times the largest |value|), else ``converged`` is False.
    Up to n = 1500 the dense eigenproblem is solved and every multiplicity is found. Beyond, Lanczos from one random
    vector finds an eigenvalue that is exactly multiple once for each invariant subspace that it exhausts.
    Cost: p products and 4 n p² flops for a basis of p vectors, at most n and at most 40 k + 400.
    """
    require_symmetric(operator)
    n = operator.shape[0]
    if checks.whole_number(k, "k", 1) > n:
        raise ValueError(f"k={k}, but a kernel of {n} points has {n} eigenpairs")
    checks.one_of(which, "which", ("LM", "LA", "SA"))
    if n <= DENSE_SIZE:
        values, vectors = eigh(operator.to_dense())
        chosen = _extreme(values, k, which)
        residuals = np.linalg.norm(operator @ vectors[:, chosen] - vectors[:, chosen] * values[chosen], axis=0)
        return Spectrum(values[chosen], vectors[:, chosen], residuals, k, True, "dense eigh")
    lanczos, chosen, converged = _converge(operator, k, which, rtol, seed)
    values, S = lanczos.ritz()
    vectors = lanczos.vectors().T @ S[:, chosen].astype(operator.dtype)
    residuals = lanczos.beta[-1] * abs(S[-1, chosen])
    return Spectrum(values[chosen], vectors, residuals, lanczos.products, converged, "Lanczos")


def _converge(operator, k, which, rtol, seed):
    """Extend, and restart in what is left where a Krylov space is exhausted, until k pairs are settled."""
    operator, _ = planning.prepare(operator, 4 * k + 50)
    limit = min(operator.shape[0], 40 * k + 400)
    lanczos = Lanczos(operator, random_start(operator, seed))
    with operator.engine.one_blas_thread(), progress.bar(text="eigenpairs (products)") as bar:
        while True:
            before = lanczos.products
            lanczos.extend(min(max(10, k // 2), limit - before))
            bar.update(lanczos.products - before)
            values, S = lanczos.ritz()
            chosen = _extreme(values, min(k, len(values)), which)
            residuals = lanczos.beta[-1] * abs(S[-1, chosen])
            rounding = 50 * np.finfo(operator.dtype).eps * abs(values).max()
            small = len(chosen) == k and bool((residuals <= np.maximum(rtol * abs(values[chosen]), rounding)).all())
            if small and _settled(lanczos, values[chosen[-1]], which):
                return lanczos, chosen, True
            if lanczos.products >= limit:
                return lanczos, chosen, small and limit == operator.shape[0]
            if lanczos.exhausted:
                lanczos.restart(random_start(operator, [seed, lanczos.products]))


def _settled(lanczos: Lanczos, last, which) -> bool:
    """Whether no further space can hold a value more extreme than the last one chosen.

    Each exhausted space holds every eigenvalue that is left once, so the next one holds nothing beyond its extreme.
    """
    ends = [k for k, beta in enumerate(lanczos.beta) if beta == 0.0]
    if not ends:
        return True
    start = 0 if len(ends) == 1 else ends[-2] + 1
    space = eigh_tridiagonal(lanczos.alpha[start : ends[-1] + 1], lanczos.beta[start : ends[-1]], eigvals_only=True)
    extreme = space[_extreme(space, 1, which)[0]]
    size = {"LM": abs(last) - abs(extreme), "LA": last - extreme, "SA": extreme - last}[which]
    return bool(size >= -1e-6 * abs(np.array(lanczos.alpha)).max())


def _extreme(values, k, which):
    order = {"LM": np.argsort(-abs(values)), "LA": np.argsort(-values), "SA": np.argsort(values)}[which]
    return order[:k]
