"""MNIST and CIFAR-10, found and recognized in the forms that other programs leave."""

from ntkspec.datasets.images.cifar10 import cifar10
from ntkspec.datasets.images.mnist import mnist

__all__ = ["cifar10", "mnist"]
