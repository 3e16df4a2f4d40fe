"""Functions of several variables to the second order: sums, products and compositions."""

import itertools
import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array

# Orders of the derivatives of a function of three arguments.
ORDERS = [orders for orders in itertools.product(range(3), repeat=3) if sum(orders) <= 2]


class Jet:
    """value + linear · x + x · quadratic x, for x (v,), linear (v,) and a symmetric quadratic (v, v)."""

    def __init__(self, value: float, linear: Array, quadratic: Array):
        self.value, self.linear, self.quadratic = value, linear, quadratic

    @classmethod
    def constant(cls, value: float, variables: int) -> "Jet":
        """A number."""
        return cls(value, np.zeros(variables), np.zeros((variables, variables)))

    @classmethod
    def variable(cls, number: int, variables: int) -> "Jet":
        """x_number, at 0."""
        return cls(0.0, np.eye(variables)[number], np.zeros((variables, variables)))

    def __add__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.linear, self.quadratic)
        return Jet(self.value + other.value, self.linear + other.linear, self.quadratic + other.quadratic)

    def __mul__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value * other, self.linear * other, self.quadratic * other)
        cross = np.outer(self.linear, other.linear)
        quadratic = self.value * other.quadratic + other.value * self.quadratic + (cross + cross.T) / 2
        linear = self.value * other.linear + other.value * self.linear
        return Jet(self.value * other.value, linear, quadratic)

    __radd__, __rmul__ = __add__, __mul__

    def through(self, value: float, slope: float, bend: float) -> "Jet":
        """f(self) for f with this value, first and second derivative at ``self.value``."""
        bent = np.outer(self.linear, self.linear) * (bend / 2)
        return Jet(value, slope * self.linear, slope * self.quadratic + bent)


def composed(derivative: Callable[[int, int, int], float], arguments: tuple[Jet, Jet, Jet]) -> Jet:
    """F(A, B, C), where derivative(i, j, l) is that of F at their values, taken i, j and l times in them."""
    one = Jet.constant(1.0, len(arguments[0].linear))
    moved = [argument + -argument.value for argument in arguments]
    total = 0.0 * one
    for orders in ORDERS:
        factors = [part for part, order in zip(moved, orders, strict=True) for _ in range(order)]
        term = derivative(*orders) / math.prod(map(math.factorial, orders))
        total = total + term * reduce(Jet.__mul__, factors, one)
    return total
