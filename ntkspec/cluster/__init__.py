"""Kernels in parts on several machines, and tasks on processes or a Dask cluster."""

from ntkspec.cluster.execution import HERE, Place
from ntkspec.cluster.sharded import spectral_norm

__all__ = ["HERE", "Place", "spectral_norm"]
