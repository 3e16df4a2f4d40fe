"""Arithmetic of intervals, rounded outwards: the result contains what exact arithmetic gives for all points inside."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real


@dataclass(frozen=True)
class Interval:
    """The numbers from ``lower`` to ``upper``, which may be infinite."""

    lower: float
    upper: float

    @classmethod
    def of(cls, number: Real) -> "Interval":
        """The float that the number is, or the two around it; everything for NaN."""
        near = float(number)
        if math.isnan(near):
            return cls(-math.inf, math.inf)
        return cls(near, near) if near == number else _around(near)

    def __neg__(self) -> "Interval":
        return Interval(-self.upper, -self.lower)

    def __abs__(self) -> "Interval":
        if self.lower < 0 < self.upper:
            return Interval(0.0, max(-self.lower, self.upper))
        return -self if self.upper <= 0 else self

    def __add__(self, other: "Interval") -> "Interval":
        return _hull([_sum(self.lower, other.lower), _sum(self.upper, other.upper)])

    def __mul__(self, other: "Interval") -> "Interval":
        return _hull(_product(one, two) for one in self._ends for two in other._ends)

    def inverse(self) -> "Interval":
        """1 / x of all x but zero; everything where zero is inside, or all that there is."""
        if self.lower < 0 < self.upper or self.lower == self.upper == 0:
            return Interval(-math.inf, math.inf)
        beyond = math.copysign(math.inf, self.lower + self.upper)
        return _hull(_inverse(end, beyond) for end in self._ends)

    def power(self, exponent: float) -> "Interval":
        """x ** exponent of all x. Raises ValueError for a root of negative numbers."""
        if exponent < 0:
            return self.power(-exponent).inverse()
        if self.lower < 0 and exponent % 1:
            raise ValueError(f"the power {exponent:g} of an interval that begins at {self.lower:.8g} < 0 is not real")
        turns = self.lower < 0 < self.upper and exponent % 2 == 0
        return _hull(_power(end, exponent) for end in (*self._ends, *([0.0] if turns else [])))

    @property
    def _ends(self) -> tuple[float, float]:
        return self.lower, self.upper


def _hull(parts: Iterable[Interval]) -> Interval:
    parts = list(parts)
    return Interval(min(part.lower for part in parts), max(part.upper for part in parts))


def _around(near: float) -> Interval:
    """What may have been rounded to this float."""
    return Interval(math.nextafter(near, -math.inf), math.nextafter(near, math.inf))


def _sum(one: float, two: float) -> Interval:
    return _around(one + two) if one and two else Interval(one + two, one + two)


def _product(one: float, two: float) -> Interval:
    """An infinite end stands for all that is finite, so that 0 times it is 0."""
    return _around(one * two) if one and two else Interval(0.0, 0.0)


def _inverse(end: float, beyond: float) -> Interval:
    """``beyond`` is the inverse of an end at zero."""
    if not end or math.isinf(end):
        return Interval(beyond, beyond) if not end else Interval(0.0, 0.0)
    return _around(1 / end)


def _power(end: float, exponent: float) -> Interval:
    """pow of the C library is off by less than one ulp."""
    if not end or exponent in (0, 1):
        exact = 1.0 if not exponent else end
        return Interval(exact, exact)
    try:
        near = math.pow(end, exponent)
    except OverflowError:
        near = math.inf if end > 0 or exponent % 2 == 0 else -math.inf
    once = _around(near)
    return Interval(math.nextafter(once.lower, -math.inf), math.nextafter(once.upper, math.inf))
