"""Activation functions: constants, dual activations, Hermite series."""

from ntkspec.activations.functions import Activation, Constants, activation

__all__ = ["Activation", "Constants", "activation"]
