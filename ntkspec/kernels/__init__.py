"""From a network or an activation to a kernel operator."""

from ntkspec.kernels.empirical import ntk
from ntkspec.kernels.expected import expected_nngp, expected_ntk
from ntkspec.kernels.expected_cnn import expected_cnn_ntk
from ntkspec.kernels.linear import linear_expansion, linear_kernel, naive_linear_kernel, weighted_linear_kernel
from ntkspec.kernels.linear_cnn import cnn_linear_kernel
from ntkspec.kernels.moments import trace_ratio
from ntkspec.kernels.nearest import LinearCoefficients, LinearFit, nearest_linear_kernel

__all__ = [
    "LinearCoefficients",
    "LinearFit",
    "cnn_linear_kernel",
    "expected_cnn_ntk",
    "expected_nngp",
    "expected_ntk",
    "linear_expansion",
    "linear_kernel",
    "naive_linear_kernel",
    "nearest_linear_kernel",
    "ntk",
    "trace_ratio",
    "weighted_linear_kernel",
]
