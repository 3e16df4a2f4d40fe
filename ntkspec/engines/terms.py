"""What tiles of a kernel are made of where its entries are sums of products: what operators say to an engine."""

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, eq=False)
class HadamardTerm:
    """``scale * P * Q`` entry by entry, or ``scale * P`` where Q is None; P and Q (rows, cols).

    They are arrays of any dtype, or what the engine's ``bits.gram`` gives.
    """

    scale: float
    P: Any
    Q: Any = None

    @property
    def factors(self) -> list[Any]:
        """P, and Q where there is one."""
        return [self.P] if self.Q is None else [self.P, self.Q]


@dataclass(frozen=True, eq=False)
class LowRankTerm:
    """``scale * F @ G.T`` for F (rows, k), G (cols, k) and a few k."""

    scale: float
    F: Any
    G: Any


# What a tile is a sum of.
Term: TypeAlias = HadamardTerm | LowRankTerm


@dataclass(frozen=True, eq=False)
class Levels:
    """What counts of common ones must become where bits stand for two values:

    ``square * count_ij + cross * (ones_i + others_j) + constant`` is the Gram matrix. ``ones`` (rows,) and ``others``
    (cols,), int64, count the ones of each row.
    """

    square: float
    cross: float
    constant: float
    ones: Any
    others: Any
