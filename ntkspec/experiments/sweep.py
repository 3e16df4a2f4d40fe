"""A grid of cells over d, n, width, activations, distributions and seeds."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ntkspec import checks
from ntkspec.experiments.cells import INFINITE, INFINITE_LAW, TWO_LAYER, Cell, with_width
from ntkspec.networks.two_layer import even_width

_RANGE = re.compile(r"(\d+):(\d+):x(\d+(?:\.\d*)?)")
_POWER = re.compile(r"(?:(\d+(?:\.\d*)?)\*)?d(?:\^(\d+(?:\.\d*)?))?")
_NETWORKS = re.compile(r"(fc:\d+x)([^:]+)()"), re.compile(r"(cnn:\d+x)([^:]+)(:k\d+)")


class Model(NamedTuple):
    """A network of a grid, as its cells have it, and the law of its width."""

    network: str
    width: str

    def __str__(self) -> str:
        return f"m = {self.width}" if self.network == TWO_LAYER else with_width(self.network, self.width)


@dataclass(frozen=True)
class Grid:
    """All combinations of what is listed.

    d : dimensions. n, width : whole numbers, or powers of d such as "d^1.5" and "2*d^1.25" (widths are rounded to even
    numbers; "inf" is the limit of infinite width). network : "two-layer", which has each of the widths, or deep ones
    with such a size in their names, "fc:3xd^1.5" and "cnn:3x64:k5". seeds : how many; they are 0, 1, 2, ...
    engine : "cpu" or "gpu", where all cells are computed.
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
    network: tuple[str, ...] = (TWO_LAYER,)
    engine: str = "cpu"

    def models(self) -> list[Model]:
        """The networks, each with one law of its width."""
        two_layer = [Model(TWO_LAYER, width) for width in self.width]
        return [model for name in self.network for model in (two_layer if name == TWO_LAYER else [_deep(name)])]

    def cells(self) -> list[Cell]:
        """Every cell once, the small ones first."""
        seeds = range(checks.whole_number(self.seeds, "seeds", 1))
        kinds = itertools.product(self.quantity, self.activation, self.distribution, self.covariance, seeds)
        found = {
            Cell(
                quantity=quantity,
                d=d,
                n=points_of(n, d),
                width=width_of(model.width, d),
                activation=act,
                distribution=distribution,
                covariance=covariance,
                second=self.second,
                dtype=self.dtype,
                seed=seed,
                network=model.network,
                engine=self.engine,
            )
            for (quantity, act, distribution, covariance, seed), d, n, model in itertools.product(
                kinds, self.d, self.n, self.models()
            )
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
    """A number of neurons, which equation (3) pairs: an even number, or a power of d, rounded to one; 0 for "inf"."""
    if given == INFINITE_LAW:
        return INFINITE
    return max(2, 2 * round(_power(given, d) / 2)) if not given.isdigit() else even_width(int(given))


def _deep(given: str) -> Model:
    """fc:3xm and d^1.5 of fc:3xd^1.5."""
    match = next(filter(None, (pattern.fullmatch(given) for pattern in _NETWORKS)), None)
    if not match:
        raise ValueError(
            f"network {given!r} is unknown; use {TWO_LAYER}, fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, such as "
            f"fc:4x512, fc:3xd^1.5 and cnn:4x64:k3"
        )
    return Model(f"{match[1]}m{match[3]}", match[2])


def _power(given: str, d: int) -> float:
    match = _POWER.fullmatch(given)
    if not match:
        raise ValueError(f"{given!r} is not a size; pass a whole number, or a power of d such as d^1.5 or 2*d^1.25")
    return float(match[1] or 1) * d ** float(match[2] or 1)
