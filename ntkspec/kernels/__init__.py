"""From a network or an activation to a kernel operator."""

from ntkspec.kernels.empirical import ntk
from ntkspec.kernels.linear import linear_features, linear_kernel

__all__ = ["linear_features", "linear_kernel", "ntk"]
