"""Sizes of a sweep: whole numbers, or powers of the dimension d such as d^1.5 and 2*d^1.25."""

import math
import re

from ntkspec import checks
from ntkspec.networks.two_layer import even_width

LARGEST_SIZE = 2**53
# The width that stands for infinitely many neurons, and its law.
INFINITE, INFINITE_LAW = 0, "inf"
WHOLE = re.compile(r"[0-9]+")
_POWER = re.compile(r"(?:([0-9]{1,16}(?:\.[0-9]*)?)\*)?d(?:\^([0-9]{1,16}(?:\.[0-9]*)?))?")


def points_of(given: str, d: int) -> int:
    """A number of points: a whole number >= 2, or a power of d such as "d^1.5" or "2*d^1.25", rounded."""
    return checks.whole_number(whole(given, "n"), "n", 2) if WHOLE.fullmatch(given) else _power(given, d)


def width_of(given: str, d: int) -> int:
    """A number of neurons, which equation (3) pairs: an even number, or a power of d, rounded to one; 0 for "inf"."""
    if given == INFINITE_LAW:
        return INFINITE
    return even_width(whole(given, "width")) if WHOLE.fullmatch(given) else _power(given, d, multiple=2)


def whole(given: str, name: str) -> int:
    """The number of those digits, which Python does not read where they are thousands."""
    if len(given.lstrip("0")) > 40:
        raise ValueError(f"{name} is a number of {len(given)} digits, but a size is below 2^53")
    return int(given)


def _power(given: str, d: int, *, multiple: int = 1) -> int:
    """The power of d, rounded to a multiple. Raises ValueError where it is none, and below 2 and beyond 2^53."""
    match = _POWER.fullmatch(given)
    if not match:
        raise ValueError(
            f"{checks.shown(given)} is not a size; pass a whole number, or a power of d such as d^1.5 or 2*d^1.25"
        )
    factor, power = float(match[1] or 1), float(match[2] or 1)
    logarithm = (math.log10(factor) if factor else -math.inf) + power * math.log10(d)
    if not logarithm < math.log10(LARGEST_SIZE):
        raise ValueError(f"{checks.shown(given)} is 10^{logarithm:.0f} at d = {d}, but a size is below 2^53")
    size = multiple * round(factor * d**power / multiple)
    if size < 2:
        raise ValueError(f"{given} is {factor * d**power:.3g} at d = {d}, but a size is 2 or more")
    return size
