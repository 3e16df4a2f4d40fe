"""Networks: parameters, outputs, their derivatives, and the Neural Tangent Kernel at the present weights."""

from ntkspec.networks.convolutional import Convolutional
from ntkspec.networks.deep import DeepNetwork
from ntkspec.networks.fully_connected import FullyConnected
from ntkspec.networks.independent import IndependentOutputs
from ntkspec.networks.linearized import linearize
from ntkspec.networks.saved import load_network
from ntkspec.networks.two_layer import TwoLayer

__all__ = [
    "Convolutional",
    "DeepNetwork",
    "FullyConnected",
    "IndependentOutputs",
    "TwoLayer",
    "linearize",
    "load_network",
]
