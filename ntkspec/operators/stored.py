"""Kernels whose entries are kept."""

import math

from ntkspec.operators.base import KernelOperator
from ntkspec.operators.rounding import Rounding


class Stored(KernelOperator):
    """Entries that are there: products read them where they lie, and never copy them into tiles."""

    entrywise = stored = True
    frobenius_squared: float
    # Roundings on the longest path of a product.
    rounding_depth: float

    @property
    def rounding(self) -> Rounding:
        """The norm of absolute values is at most the Frobenius norm."""
        return Rounding.of_path(self.rounding_depth, math.sqrt(self.frobenius_squared))
