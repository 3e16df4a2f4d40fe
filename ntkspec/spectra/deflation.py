r"""Deflation: approximate eigenpairs that are taken out of a kernel, and how far they couple to what is left.

With orthonormal columns V, K V = V diag(values) + R, and P = I - V Vᵀ, a kernel is

.. math:: K = V \,\mathrm{diag}(values)\, V^T + P K P + (L + L^T), \qquad \|L\|_F \le \|R\|_F

with a block lower triangle L: each vector couples to those that were found after it and to the rest. By Weyl's theorem
the eigenvalues of K lie within sqrt(2) |R|_F of those of the first two parts together.

The vectors themselves are the locked ones of a basis (:class:`ntkspec.spectra.lanczos.Lanczos`): they stand in front of
it, so that one matrix product orthogonalizes against both.
"""

import math
from dataclasses import dataclass, field

import numpy as np

# |L + Lᵀ| is at most this times |L|, where L is a block lower triangle with zero diagonal blocks.
WEYL = math.sqrt(2)


@dataclass(frozen=True)
class LockedPairs:
    """Values (k,) of the vectors that were taken out, and bounds (k,) on the norms of the columns of R."""

    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    residuals: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.values)

    def joined(self, values: np.ndarray, residuals: np.ndarray) -> "LockedPairs":
        """With pairs of P K P, whose residuals are those in the rest.

        The earlier vectors couple to these as far as they have not converged.
        """
        further = residuals + self.residual_norm
        return LockedPairs(np.append(self.values, values), np.append(self.residuals, further))

    @property
    def residual_norm(self) -> float:
        """A bound on |R|_F."""
        return float(np.linalg.norm(self.residuals))

    @property
    def off_diagonal_norm(self) -> float:
        """How far at most the eigenvalues of K are from those of the two parts."""
        return WEYL * self.residual_norm
