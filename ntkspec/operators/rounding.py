"""What floating-point arithmetic does to products with a kernel, and to its entries."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

HALF_ULP = 2.0**-53
# The relative error of products and entries, in eps of their dtype, where an operator says nothing.
ASSUMED_EPS = 8


@dataclass(frozen=True)
class Rounding:
    """Bounds on the rounding of an operator K, which it hands over as :attr:`ntkspec.KernelOperator.rounding`.

    Attributes
    ----------
    norm_of_absolute : float
        A bound on the norm of K with every product in its entries replaced by its absolute value: what the rounding of
        sums is relative to.
    matvec_error_bound : float
        A bound on \\|computed K q - K q\\| for a float64 vector q of norm 1, multiplied in float64.
    forming_error_bound : float
        A bound on \\|formed K - K\\| in Frobenius norm, for entries that are computed in float64.

    Examples
    --------
    >>> from ntkspec.operators import Rounding
    >>> Rounding.of_path(4.0, 1.0).matvec_error_bound == 4 * 2.0**-53
    True
    """

    norm_of_absolute: float
    matvec_error_bound: float
    forming_error_bound: float

    @classmethod
    def of_path(cls, rounding_depth: float, norm_of_absolute: float) -> "Rounding":
        """Of products with at most ``rounding_depth`` roundings on the longest path from an operand to a result.

        Each of them changes a sum of absolute values by half an ulp, to first order.
        """
        error = rounding_depth * HALF_ULP * norm_of_absolute
        return cls(norm_of_absolute, error, error)

    @classmethod
    def relative(cls, error: float, norm: float, columns: int) -> "Rounding":
        """Of products that are accurate to a relative ``error``, from which entries are formed column by column."""
        return cls(norm, error * norm, math.sqrt(columns) * (error * norm))

    @classmethod
    def of_sum(cls, terms: Iterable[tuple[float, "Rounding"]]) -> "Rounding":
        """Of sum c K, from (c, rounding of K) of each term."""
        terms = [(abs(c), rounding) for c, rounding in terms]
        norm = sum(c * rounding.norm_of_absolute for c, rounding in terms)
        adding = (1 + len(terms)) * HALF_ULP * norm
        return cls(
            norm,
            adding + sum(c * rounding.matvec_error_bound for c, rounding in terms),
            adding + sum(c * rounding.forming_error_bound for c, rounding in terms),
        )
