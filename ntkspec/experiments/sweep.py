"""A grid of cells over d, n, width, activations, distributions and seeds."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ntkspec import checks
from ntkspec.experiments.cells import Cell
from ntkspec.networks.two_layer import even_width

_RANGE = re.compile(r"(\d+):(\d+):x(\d+(?:\.\d*)?)")
_POWER = re.compile(r"(?:(\d+(?:\.\d*)?)\*)?d(?:\^(\d+(?:\.\d*)?))?")


@dataclass(frozen=True)
class Grid:
    """All combinations of what is listed.

    d : dimensions. n, width : whole numbers, or powers of d such as "d^1.5" and "2*d^1.25" (widths are rounded to even
    numbers). seeds : how many; they are 0, 1, 2, ...
    """

    d: tuple[int, ...]
    n: tuple[str, ...] = ("d^1.5",)
    width: tuple[str, ...] = ("d^1.5",)
    activation: tuple[str, ...] = ("erf",)
    distribution: tuple[str, ...] = ("gaussian",)
    covariance: tuple[str, ...] = ("identity",)
    quantity: tuple[str, ...] = ("gap-first",)
    seeds: int = 5
    second: str = "rademacher"
    dtype: str = "float64"

    def cells(self) -> list[Cell]:
        """Every cell once, the small ones first."""
        kinds = itertools.product(self.quantity, self.activation, self.distribution, self.covariance)
        sizes = [(d, points_of(n, d), width_of(m, d)) for d in self.d for n in self.n for m in self.width]
        seeds = range(checks.whole_number(self.seeds, "seeds", 1))
        found = {
            Cell(quantity, d, n, width, act, distribution, covariance, self.second, self.dtype, seed)
            for (quantity, act, distribution, covariance), (d, n, width), seed in itertools.product(kinds, sizes, seeds)
        }
        return sorted(found, key=lambda cell: (cell.n * cell.n * (cell.width + cell.d), cell))


def dimensions(given: str | Sequence[str]) -> tuple[int, ...]:
    """Whole numbers from "32:512:x1.5" (32, 48, 72, ... up to 512, which is included) or a list of them."""
    parts = [given] if isinstance(given, str) else list(given)
    found: list[int] = []
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match:
            found += _geometric(int(match[1]), int(match[2]), float(match[3]))
        elif part.isdigit() and int(part) >= 2:
            found.append(int(part))
        else:
            raise ValueError(
                f"d={part!r}, but whole numbers >= 2, or first:last:xratio such as 32:512:x1.5, are needed"
            )
    return tuple(sorted(set(found)))


def _geometric(first: int, last: int, ratio: float) -> Iterable[int]:
    if not (2 <= first <= last and ratio > 1):
        raise ValueError(f"d={first}:{last}:x{ratio:g}, but 2 <= first <= last and a ratio above 1 are needed")
    value = float(first)
    while round(value) < last * ratio**-0.5:
        yield round(value)
        value *= ratio
    yield last


def points_of(given: str, d: int) -> int:
    """A number of points: a whole number >= 2, or a power of d such as "d^1.5" or "2*d^1.25", rounded."""
    return max(2, round(_power(given, d))) if not given.isdigit() else checks.whole_number(int(given), "n", 2)


def width_of(given: str, d: int) -> int:
    """A number of neurons, which equation (3) pairs: an even number, or a power of d, rounded to an even number."""
    return max(2, 2 * round(_power(given, d) / 2)) if not given.isdigit() else even_width(int(given))


def _power(given: str, d: int) -> float:
    match = _POWER.fullmatch(given)
    if not match:
        raise ValueError(f"{given!r} is not a size; pass a whole number, or a power of d such as d^1.5 or 2*d^1.25")
    return float(match[1] or 1) * d ** float(match[2] or 1)
