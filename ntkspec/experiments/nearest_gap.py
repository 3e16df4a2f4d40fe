"""How much of the distance from theory's linear kernel is its constants, and how much no linear kernel explains."""

from dataclasses import dataclass

from ntkspec.engines.arrays import Array
from ntkspec.kernels import LinearCoefficients, nearest_linear_kernel
from ntkspec.operators import KernelOperator
from ntkspec.spectra.norms import frobenius_norm, spectral_norm
from ntkspec.spectra.results import Estimate


@dataclass(frozen=True)
class NearestGap:
    """Theta, the nearest linear kernel L, and Theta^lin: L lies between the two.

    gap, gap_frobenius : norms of Theta - L, which no linear kernel explains. moved_frobenius : of L - Theta^lin, the
    constants of theory and the identity. The squares of both Frobenius norms add up to at most that of Theta -
    Theta^lin, where Theta^lin is in the span.
    """

    coefficients: LinearCoefficients
    gap: Estimate
    gap_frobenius: Estimate
    moved_frobenius: Estimate


def nearest_gap(
    theta: KernelOperator, linear: KernelOperator, X: Array, *, seed: int, method: str | None
) -> NearestGap:
    """The nearest linear kernel beside that of theory.

    Cost: d + 3 products with Theta, and the norms of one difference more.
    """
    fit = nearest_linear_kernel(theta, X)
    rest = fit.theta - fit.operator
    return NearestGap(
        coefficients=fit.coefficients,
        gap=spectral_norm(rest, seed=seed, method=method),
        gap_frobenius=frobenius_norm(rest),
        moved_frobenius=frobenius_norm(fit.operator - linear),
    )
