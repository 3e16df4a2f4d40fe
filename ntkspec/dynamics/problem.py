"""One problem for all methods: a kernel, a residual, a law, and when to look."""

from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics.laws import Law
from ntkspec.operators import KernelOperator


@dataclass(frozen=True)
class Problem:
    """Training from zero output on the residual y - u_0: rate = eta / n, and when to look."""

    kernel: KernelOperator
    kernel_test: KernelOperator | None
    residual: np.ndarray
    rate: float
    law: Law
    steps: np.ndarray
