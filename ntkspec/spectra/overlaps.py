r"""How far the eigenvectors that a block Krylov space has not found may overlap its start.

Let :math:`K Q = Q T + Q' C + F` with the start block in coordinates E (Lanczos), and K z = lambda z with |z| = 1. The
overlaps :math:`y = Q^T z` satisfy :math:`(\lambda - T) y = C^T Q'^T z + F^T z`, so that those of the start block are

.. math:: E^T y = M(\lambda)\, Q'^T z + E^T (\lambda - T)^{-1} F^T z, \qquad M(\lambda) = E^T (\lambda - T)^{-1} C^T, \\
          \|E^T y\| \le \sqrt{1 + 1/w^2}\, \sqrt{\|M(\lambda)\|^2 + w^2 f^2 \|E^T (\lambda - T)^{-1}\|^2}

for every w > 0 and f >= |F|. With b = 1 and f = 0 this is :math:`\prod \beta_j / \prod |\lambda - \theta_i|`: the bound
of van Dorsselaer, Hochstenbach and van der Vorst (SIAM J. Matrix Anal. Appl. 22, 2001).

For b > 1 the norm of M need not fall with lambda. Beyond T's spectrum it is analytic, so that a polynomial of degree N
is near it on an interval (Bernstein's ellipse; L. N. Trefethen, Approximation Theory and Approximation Practice, SIAM
2013, theorem 8.2), and no such polynomial is larger than 1 / cos(pi N / 2 p) times its largest value at p Chebyshev
nodes (H. Ehlich, K. Zeller, Math. Z. 86, 1964): finitely many values of M bound it everywhere.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, betaln, gammaln

from ntkspec.spectra.lanczos import Lanczos

# w above: rounding counts four times, the exact part 1.03 times.
WEIGHT = 4.0
LOSS = math.sqrt(1 + 1 / WEIGHT**2)
# The degree of the polynomials, the nodes in [-1, 1], and how much larger than at the nodes they may be.
_DEGREE = 24
_NODES = np.cos(np.pi * (np.arange(4 * _DEGREE) + 0.5) / (4 * _DEGREE))
GROWTH = 1 / math.cos(math.pi * _DEGREE / (2 * len(_NODES)))
# Intervals on which M is bounded end this many times as far from T's spectrum as they begin; an end is found to FINEST.
_RATIO, _FINEST = 3.0, 1.02


def overlap_quantile(n: int, block: int, failure_probability: float, vectors: int = 1) -> float:
    r"""t with P(\|Q_1ᵀ z\| < t for a unit z of a given space) <= failure_probability, for a uniform block Q_1 (n, b).

    vectors : the dimension of the space. For one vector \|Q_1ᵀ z\|² has the law Beta(b/2, (n-b)/2), and equality holds.
    For m of them the eigenvalues x_1 <= ... <= x_m of Zᵀ Q_1 Q_1ᵀ Z have the density of the Jacobi ensemble, which is
    proportional to prod x_i^((b-m-1)/2) (1-x_i)^((n-b-m-1)/2) prod_(i<j) (x_j - x_i); with x_j - x_1 <= x_j the
    smallest one is below x with at most a constant (Selberg's integrals) times an incomplete beta function of x. t is
    0 where the space has more dimensions than the block.
    """
    if block >= n:
        return 1.0
    if vectors > min(block, n - block):
        return 0.0
    a, b = (block - vectors + 1) / 2, (n - block - vectors + 1) / 2
    excess = math.exp(_selberg(vectors - 1, a + 1, b) + betaln(a, b) - _selberg(vectors, a, b))
    return math.sqrt(betaincinv(a, b, min(1.0, failure_probability / excess)))


def _selberg(count: int, a: float, b: float) -> float:
    """The logarithm of the integral of prod x_i^(a-1) (1-x_i)^(b-1) prod_(i<j) (x_j - x_i) over x_1 < ... < x_count."""
    half = np.arange(count) / 2
    terms = gammaln(a + half) + gammaln(b + half) + gammaln(1.5 + half) - gammaln(1.5)
    return float((terms - gammaln(a + b + (count - 1) / 2 + half)).sum() - gammaln(count + 1))


@dataclass(frozen=True)
class Relation:
    """Lanczos' relation in the basis of its Ritz vectors: T = diag(theta), E (k, b), C (its width, k), |F| <= error."""

    theta: np.ndarray
    start: np.ndarray
    coupling: np.ndarray
    error: float

    @classmethod
    def of(cls, lanczos: Lanczos) -> "Relation":
        """Cost: the eigenvectors of a (k, k) matrix, whose rounding is less than that of Gram-Schmidt in ``error``."""
        theta, S = lanczos.ritz()
        return cls(theta, S.T @ lanczos.start, lanczos.off_diagonal @ S, lanczos.error)

    def without(self, found: np.ndarray) -> "Relation":
        """The part of the other Ritz vectors."""
        theta, start = np.delete(self.theta, found), np.delete(self.start, found, axis=0)
        return Relation(theta, start, np.delete(self.coupling, found, axis=1), self.error)

    def mirrored(self) -> "Relation":
        """That of -K."""
        return Relation(-self.theta[::-1], self.start[::-1], self.coupling[:, ::-1], self.error)

    def residuals(self) -> np.ndarray:
        """Bounds on |K z - theta z| of the Ritz vectors."""
        return np.linalg.norm(self.coupling, axis=0) + self.error

    def overlap_bounds(self, value: float) -> tuple[float, float]:
        """(exact, rounding): with z of this eigenvalue, no Ritz value, |Q_1ᵀ z| is at most their hypotenuse."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            (M,), weighted = self._M(np.array([value])), self.start.T / (value - self.theta)
        if not (np.isfinite(M).all() and np.isfinite(weighted).all()):
            return math.inf, math.inf
        exact = float(np.linalg.norm(M, 2)) if M.size else 0.0
        return LOSS * exact, LOSS * WEIGHT * self.error * float(np.linalg.norm(weighted, 2))

    def stays_below(self, level: float, end: float) -> bool:
        """Whether the bound is below the level at ``end``, above all Ritz values, and everywhere beyond it."""
        near = end - self.theta[-1]
        while near > 0 and not self._crude(near) < level:
            if not self._below(level, near, _RATIO):
                return False
            near *= _RATIO
        return near > 0

    def end(self, level: float) -> float:
        """The first end above all Ritz values, up to FINEST, from which on the bound stays below the level."""
        near = self._unit
        while near < math.inf and not self._crude(near) < level:
            near *= 2
        least, ratio = self.error + 4 * np.finfo(np.float64).eps * self._unit, _RATIO
        while ratio > _FINEST:
            while near > ratio * least and self._below(level, near / ratio, ratio):
                near /= ratio
            ratio **= 0.5
        return float(self.theta[-1] + near)

    @property
    def _unit(self) -> float:
        return max(float(abs(self.theta).max()), float(abs(self.coupling).max(initial=0.0)), self.error)

    def _M(self, values: np.ndarray) -> np.ndarray:
        """M at some values, (values, b, width)."""
        return (self.start.T / (values[:, None, None] - self.theta)) @ self.coupling.T

    def _majorant(self, distance: float) -> float:
        """|M| is at most this where Re lambda is at least so far above all Ritz values, by Cauchy and Schwarz."""
        root = 1 / np.sqrt(distance + (self.theta[-1] - self.theta))
        return float(np.linalg.norm(self.start * root[:, None]) * np.linalg.norm(self.coupling * root))

    def _crude(self, near: float) -> float:
        """A bound on the overlap at this distance from the Ritz values that falls with it."""
        return LOSS * math.hypot(self._majorant(near), self._rounding(near))

    def _rounding(self, near: float) -> float:
        weighted = self.start.T / (near + (self.theta[-1] - self.theta))
        return WEIGHT * self.error * float(np.linalg.norm(weighted, 2))

    def _below(self, level: float, near: float, ratio: float) -> bool:
        """Whether the bound is below the level at distances from near to ratio times near."""
        rounding = self._rounding(near)
        if not LOSS * rounding < level:
            return False
        half, middle = (ratio - 1) / 2 * near, (ratio + 1) / 2 * near
        # The ellipse around the interval that reaches half of the way to the Ritz values.
        axes = (middle - near / 2) / half
        rho = axes + math.sqrt(axes**2 - 1)
        tail = 2 * self._majorant(near / 2) * rho**-_DEGREE / (rho - 1)
        allowed = (math.sqrt((level / LOSS) ** 2 - rounding**2) - tail) / GROWTH - tail
        M = self._M(self.theta[-1] + middle + half * _NODES)
        if np.sqrt(np.square(M).sum(axis=(1, 2))).max() < allowed:  # Frobenius norms are sooner there
            return True
        return bool(M.size and np.linalg.norm(M, 2, axis=(1, 2)).max() < allowed)
