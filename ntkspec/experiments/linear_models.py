"""The linear model beside a network: of theory, or the nearest one to its kernel."""

from dataclasses import dataclass

from ntkspec.kernels import LinearFit
from ntkspec.operators import KernelOperator


@dataclass(frozen=True)
class LinearModel:
    """A linear model on a data set.

    kernel, kernel_test : F Fᵀ on the training points, and with test points, where there are any. compared : what Theta
    is compared with, ``kernel`` + ``identity`` I. data_coefficient : that of X Xᵀ/d. fit : where it is the nearest one.
    """

    kernel: KernelOperator
    kernel_test: KernelOperator | None
    compared: KernelOperator
    data_coefficient: float
    identity: float = 0.0
    fit: LinearFit | None = None
