"""One problem for all methods: a kernel, a residual, a law, and when to look."""

from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics.laws import Law
from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator


@dataclass(frozen=True)
class Problem:
    """Training of a kernel model from zero output on the residual y - u_0 (n,), with rate = eta / n."""

    kernel: KernelOperator
    kernel_test: KernelOperator | None
    residual: Array
    rate: float
    law: Law
    steps: np.ndarray
