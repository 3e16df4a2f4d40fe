"""A grid of cells over d, n, width, activations, distributions and seeds."""

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from ntkspec import checks
from ntkspec.activations import plain_name
from ntkspec.experiments.kernel_drift import NTK
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_limits import work_of
from ntkspec.networks.size_laws import LARGEST_SIZE, WHOLE, points_of, whole
from ntkspec.networks.specification import TWO_LAYER, NetworkSpec

# The most values of a range of dimensions, and cells of a grid.
MOST_VALUES, MOST_CELLS = 1000, 100_000
_RANGE = re.compile(r"([0-9]+):([0-9]+):x([0-9]+(?:\.[0-9]*)?)")


@dataclass(frozen=True)
class Grid:
    """All combinations of what is listed.

    d : dimensions. n, width : whole numbers, or powers of d such as "d^1.5" and "2*d^1.25" (widths are rounded to even
    numbers; "inf" is the limit of infinite width). network : "two-layer", which has each of the widths, or deep ones
    with such a size in their names, "fc:3xd^1.5" and "cnn:3x64:k5". seeds : how many; they are 0, 1, 2, ...
    engine : "cpu" or "gpu", where all cells are computed. parameterization : "ntk", and "mup" of drifts. Raises
    ValueError where a list is empty, and for more than 100,000 combinations.
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
    parameterization: tuple[str, ...] = (NTK,)

    def __post_init__(self):
        checks.whole_number(self.seeds, "seeds", 1)
        object.__setattr__(self, "activation", tuple(map(plain_name, self.activation)))
        lists = {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), tuple)}
        for name, values in lists.items():
            if not values:
                raise ValueError(f"{name} is empty, but a grid needs one value of it at least")
        for d in self.d:
            checks.whole_number(d, "d", 2, LARGEST_SIZE)
        _refuse_too_many(
            {name: len(values) for name, values in lists.items()} | {"seeds": self.seeds}, len(self.networks())
        )

    def networks(self) -> list[NetworkSpec]:
        """The networks, each with one law of its width."""
        specs = [NetworkSpec.parse(name) for name in self.network]
        return [
            one for spec in specs for one in ([spec] if spec.deep else [spec.with_width(law) for law in self.width])
        ]

    def cells(self) -> list[Cell]:
        """Every cell once, the small ones first."""
        kinds = itertools.product(
            self.quantity,
            self.activation,
            self.distribution,
            self.covariance,
            self.parameterization,
            range(self.seeds),
        )
        found = {
            Cell(
                quantity=quantity,
                d=d,
                n=points_of(n, d),
                width=spec.width_at(d),
                activation=act,
                distribution=distribution,
                covariance=covariance,
                second=self.second,
                dtype=self.dtype,
                seed=seed,
                network=spec.of_any_width.name,
                engine=self.engine,
                parameterization=parameterization,
            )
            for (quantity, act, distribution, covariance, parameterization, seed), d, n, spec in itertools.product(
                kinds, self.d, self.n, self.networks()
            )
        }
        return sorted(found, key=lambda cell: (work_of(cell), cell))


def _refuse_too_many(counts: dict[str, int], networks: int) -> None:
    """ValueError, before any cell is made, where the lists have more combinations than a file of a sweep can hold."""
    counts = {name: count for name, count in counts.items() if name not in ("network", "width")} | {
        "networks": networks
    }
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
            found += _geometric(whole(match[1], "d"), whole(match[2], "d"), float(match[3]))
        elif WHOLE.fullmatch(part) and whole(part, "d") >= 2:
            found.append(whole(part, "d"))
        else:
            raise ValueError(
                f"d={checks.shown(part)}, but whole numbers >= 2, or first:last:xratio such as 32:512:x1.5, are needed"
            )
    return tuple(sorted(set(found)))


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
