"""A grid of cells over d, n, width, activations, distributions and seeds."""

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from ntkspec import checks
from ntkspec.experiments.sweep_cells import INFINITE, INFINITE_LAW, TWO_LAYER, Cell, with_width
from ntkspec.networks.two_layer import even_width

# The most values of a range of dimensions, cells of a grid, and the largest size.
MOST_VALUES, MOST_CELLS, LARGEST_SIZE = 1000, 100_000, 2**53
_RANGE = re.compile(r"([0-9]+):([0-9]+):x([0-9]+(?:\.[0-9]*)?)")
_POWER = re.compile(r"(?:([0-9]{1,16}(?:\.[0-9]*)?)\*)?d(?:\^([0-9]{1,16}(?:\.[0-9]*)?))?")
_WHOLE = re.compile(r"[0-9]+")
_NETWORKS = re.compile(r"(fc:[0-9]+x)([^:]+)()"), re.compile(r"(cnn:[0-9]+x)([^:]+)(:k[0-9]+)")


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
    engine : "cpu" or "gpu", where all cells are computed. Raises ValueError where a list is empty, and for more than
    100,000 combinations.
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

    def __post_init__(self):
        checks.whole_number(self.seeds, "seeds", 1)
        lists = {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), tuple)}
        for name, values in lists.items():
            if not values:
                raise ValueError(f"{name} is empty, but a grid needs one value of it at least")
        for d in self.d:
            checks.whole_number(d, "d", 2, LARGEST_SIZE)
        _refuse_too_many(
            {name: len(values) for name, values in lists.items()} | {"seeds": self.seeds}, len(self.models())
        )

    def models(self) -> list[Model]:
        """The networks, each with one law of its width."""
        two_layer = [Model(TWO_LAYER, width) for width in self.width]
        return [model for name in self.network for model in (two_layer if name == TWO_LAYER else [_deep(name)])]

    def cells(self) -> list[Cell]:
        """Every cell once, the small ones first."""
        kinds = itertools.product(self.quantity, self.activation, self.distribution, self.covariance, range(self.seeds))
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


def _refuse_too_many(counts: dict[str, int], models: int) -> None:
    """ValueError, before any cell is made, where the lists have more combinations than a file of a sweep can hold."""
    counts = {name: count for name, count in counts.items() if name not in ("network", "width")} | {"networks": models}
    cells = math.prod(counts.values())
    if cells > MOST_CELLS:
        factors = " x ".join(f"{checks.shown(count)} {name}" for name, count in counts.items() if count > 1)
        raise ValueError(
            f"{factors} are {checks.shown(cells)} cells, but a sweep has at most {MOST_CELLS}; take fewer, or parts of "
            f"the grid into files of their own"
        )


def dimensions(given: str | Sequence[str]) -> tuple[int, ...]:
    """Whole numbers from "32:512:x1.5" (32, 48, 72, ... up to 512, first and last included) or a list of them.

    Raises ValueError for what is neither, and for a range of more than 1,000 values, before it is expanded.
    """
    parts = [given] if isinstance(given, str) else list(given)
    found: list[int] = []
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match:
            found += _geometric(_whole(match[1], "d"), _whole(match[2], "d"), float(match[3]))
        elif _WHOLE.fullmatch(part) and _whole(part, "d") >= 2:
            found.append(_whole(part, "d"))
        else:
            raise ValueError(
                f"d={checks.shown(part)}, but whole numbers >= 2, or first:last:xratio such as 32:512:x1.5, are needed"
            )
    return tuple(sorted(set(found)))


def _whole(given: str, name: str) -> int:
    """The number of those digits, which Python does not read where they are thousands."""
    if len(given.lstrip("0")) > 40:
        raise ValueError(f"{name} is a number of {len(given)} digits, but a size is below 2^53")
    return int(given)


def _geometric(first: int, last: int, ratio: float) -> Iterable[int]:
    if not (2 <= first <= last <= LARGEST_SIZE and 1 < ratio < math.inf):
        raise ValueError(
            f"d={first}:{last}:x{ratio:g}, but 2 <= first <= last <= {LARGEST_SIZE} and a finite ratio above 1 are "
            f"needed"
        )
    count = math.log(last / first) / math.log(ratio)
    if count > MOST_VALUES:
        raise ValueError(
            f"d={first}:{last}:x{ratio:.10g} goes through {count:.3g} values, but a range has at most {MOST_VALUES}; "
            f"take a larger ratio"
        )
    value = float(first)
    while round(value) < last * ratio**-0.5:
        yield round(value)
        value *= ratio
    yield from (first, last)


def points_of(given: str, d: int) -> int:
    """A number of points: a whole number >= 2, or a power of d such as "d^1.5" or "2*d^1.25", rounded."""
    return checks.whole_number(_whole(given, "n"), "n", 2) if _WHOLE.fullmatch(given) else _power(given, d)


def width_of(given: str, d: int) -> int:
    """A number of neurons, which equation (3) pairs: an even number, or a power of d, rounded to one; 0 for "inf"."""
    if given == INFINITE_LAW:
        return INFINITE
    return even_width(_whole(given, "width")) if _WHOLE.fullmatch(given) else _power(given, d, multiple=2)


def _deep(given: str) -> Model:
    """fc:3xm and d^1.5 of fc:3xd^1.5."""
    match = next(filter(None, (pattern.fullmatch(given) for pattern in _NETWORKS)), None)
    if not match:
        raise ValueError(
            f"network {checks.shown(given)} is unknown; use {TWO_LAYER}, fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, "
            f"such as fc:4x512, fc:3xd^1.5 and cnn:4x64:k3"
        )
    return Model(f"{match[1]}m{match[3]}", match[2])


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
