"""One problem for all methods: a kernel, residuals, a law, and when to look."""

from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics.laws import SpectralLaw
from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator
from ntkspec.operators.base import points_of


@dataclass(frozen=True)
class Problem:
    """Training of a kernel model from zero output on the residual y - u_0, rows of (vectors, rows of the kernel).

    rate : eta / n for n points.
    """

    kernel: KernelOperator
    kernel_test: KernelOperator | None
    residual: Array
    rate: float
    law: SpectralLaw
    steps: np.ndarray

    @property
    def points(self) -> int:
        """n, by which the rate is divided."""
        return points_of(self.kernel)
