"""Kernels in parts on several machines, and tasks on processes or a Dask cluster."""

from ntkspec.cluster.connection import Patience
from ntkspec.cluster.costs import Iteration, Links, iteration
from ntkspec.cluster.execution import HERE, Place
from ntkspec.cluster.kernel import kernel
from ntkspec.cluster.spread_array import SpreadArray

__all__ = ["HERE", "Iteration", "Links", "Patience", "Place", "SpreadArray", "iteration", "kernel"]
