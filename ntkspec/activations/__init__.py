"""Activation functions: constants, dual activations, Hermite series."""

from ntkspec.activations.functions import Activation, Constants, activation
from ntkspec.activations.names import plain_name

__all__ = ["Activation", "Constants", "activation", "plain_name"]
