"""Real full-batch gradient descent, what is watched on the way, and runs that go on after an interruption."""

from ntkspec.training.train import train_gd
from ntkspec.training.watching import kernel_drift, weight_movement

__all__ = ["kernel_drift", "train_gd", "weight_movement"]
