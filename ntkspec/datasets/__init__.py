"""Data sets: the distributions of Assumption 3.1, MNIST, CIFAR-10 and the user's own files."""

from ntkspec.datasets.containers import from_arrays
from ntkspec.datasets.dataset import Dataset
from ntkspec.datasets.files import load
from ntkspec.datasets.images.cifar10 import cifar10
from ntkspec.datasets.images.mnist import mnist
from ntkspec.datasets.synthetic import gaussian, rademacher, sphere, subgaussian

__all__ = ["Dataset", "cifar10", "from_arrays", "gaussian", "load", "mnist", "rademacher", "sphere", "subgaussian"]
