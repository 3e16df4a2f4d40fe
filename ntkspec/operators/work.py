"""What a computation does, in units that the machine's rates turn into seconds, and what an operator costs."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ntkspec.engines.rates import Rates
from ntkspec.objects.lazy import cached_property

# Rates of a common two-core machine, for choices that are too small to be worth measuring.
NOMINAL = Rates(flops=2e11, words=3e10, entries=4e9, bytes=2e10, cached=3e10, copied=3e10, lookups=4e9)


@dataclass(frozen=True)
class Work:
    """What a computation does. Work adds up, and a number multiplies it.

    Attributes
    ----------
    flops : float, default 0
        Floating-point operations in matrix products.
    words : float, default 0
        Steps of AND and popcount on 64-bit words.
    entries : float, default 0
        Entries of a tile passed over in cache.
    bytes : float, default 0
        Bytes read from memory.
    cached : float, default 0
        Bytes read from the last cache.
    copied : float, default 0
        Bytes copied to a GPU.
    lookups : float, default 0
        Lines of 64 bytes of sums that are looked up, where a matrix of bits meets one of numbers.

    Examples
    --------
    >>> from ntkspec.operators import Work
    >>> 2 * Work(flops=1.0) + Work(bytes=3.0) == Work(flops=2.0, bytes=3.0)
    True
    """

    flops: float = 0.0
    words: float = 0.0
    entries: float = 0.0
    bytes: float = 0.0
    cached: float = 0.0
    copied: float = 0.0
    lookups: float = 0.0

    @classmethod
    def of_gram(cls, A: Any) -> "Work":
        """The work of one entry of A Bᵀ, for an array (n, k) or :class:`Bits`."""
        columns = A.shape[1]
        return cls(words=-(-columns // 64)) if getattr(A, "counts", False) else cls(flops=2.0 * columns)

    @classmethod
    def of_reading(cls, size: float, cache: float) -> "Work":
        """The work of reading so many bytes once more, where the last cache holds ``cache`` of them."""
        return cls(cached=size) if size <= cache else cls(bytes=size)

    @classmethod
    def lasting(cls, seconds: float) -> "Work":
        """Work that takes so many seconds at nominal rates."""
        return cls(cached=seconds * NOMINAL.cached)

    def __add__(self, other: "Work") -> "Work":
        return Work(*(one + two for one, two in zip(self._parts(), other._parts(), strict=True)))

    def __mul__(self, number: float) -> "Work":
        return Work(*(number * part for part in self._parts()))

    __rmul__ = __mul__

    def seconds(self, rates: Rates) -> float:
        """The time at an engine's ``Rates``."""
        each = rates.flops, rates.words, rates.entries, rates.bytes, rates.cached, rates.copied, rates.lookups
        return sum(part / rate for part, rate in zip(self._parts(), each, strict=True))

    @property
    def nominal_seconds(self) -> float:
        """The time at the rates of a common two-core machine."""
        return self.seconds(NOMINAL)

    def _parts(self):
        return self.flops, self.words, self.entries, self.bytes, self.cached, self.copied, self.lookups


@dataclass(frozen=True)
class PassWork:
    """What a framework does for the entries of a kernel, at its own speed: ``forward`` passes of a point through the
    network, bytes of gradients ``written`` to new memory, ``programs`` compiled, bytes that stay, ``kept``, and those
    of a block on its way, ``passing``. It adds up like :class:`Work`, one program and one block after the other."""

    forward: float = 0.0
    written: float = 0.0
    programs: float = 0.0
    kept: float = 0.0
    passing: float = 0.0

    def __add__(self, other: "PassWork") -> "PassWork":
        done = self.forward + other.forward, self.written + other.written, max(self.programs, other.programs)
        return PassWork(*done, self.kept + other.kept, max(self.passing, other.passing))

    def __rmul__(self, number: float) -> "PassWork":
        done = number * self.forward, number * self.written, self.programs
        return PassWork(*done, number * self.kept, self.passing)


@dataclass(frozen=True, eq=False)
class Cost:
    """What an operator costs, which it hands over as :attr:`ntkspec.KernelOperator.cost`.

    Attributes
    ----------
    product : Work
        Of the product with one vector, as ``KernelOperator._matmat`` computes it.
    own : Work
        Of one entry of a tile, beside the Gram matrices.
    grams : tuple of pairs of arrays
        The (A, B) whose Gram matrices A Bᵀ its tiles take; terms of a sum that hold the same arrays share them.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Gram
    >>> X = np.ones((3, 5))
    >>> Gram(X).cost.entry.flops == (Gram(X) - 2 * Gram(X)).cost.entry.flops == 2 * 5
    True
    """

    product: Work
    own: Work = Work()
    grams: tuple[tuple[Any, Any], ...] = ()

    @cached_property
    def entry(self) -> Work:
        """Of one entry of a tile: each Gram matrix once, and a pass over the tile for each term."""
        shared = {(id(A), id(B)): A for A, B in self.grams}
        passes = Work(entries=float(len(self.grams))) + self.own
        return sum((Work.of_gram(A) for A in shared.values()), passes)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.product + other.product, self.own + other.own, self.grams + other.grams)

    @classmethod
    def of_sum(cls, costs: Iterable["Cost"]) -> "Cost":
        """Of a sum of operators."""
        return reduce(cls.__add__, costs, cls(Work()))
