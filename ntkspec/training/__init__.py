"""Real full-batch gradient descent, what is watched on the way, and runs that go on after an interruption."""

from ntkspec.training.metrics import accuracy, kernel_drift, weight_movement
from ntkspec.training.train import train_gd

__all__ = ["accuracy", "kernel_drift", "train_gd", "weight_movement"]
