"""Networks in the NTK parameterization: parameters and outputs, nothing about kernels."""

from ntkspec.networks.two_layer import TwoLayer

__all__ = ["TwoLayer"]
