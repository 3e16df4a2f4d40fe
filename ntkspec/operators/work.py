"""What a computation does, in units that the machine's rates turn into seconds."""

from dataclasses import dataclass

# Rates of a common two-core machine, for choices that are too small to be worth measuring.
_NOMINAL = (2e11, 3e10, 4e9, 3e10, 3e10)


@dataclass(frozen=True)
class Work:
    """flops in matrix products, steps of AND and popcount on 64-bit words, entries passed over in cache, bytes read
    from memory, and bytes copied to a card. Work adds up, and a number multiplies it."""

    flops: float = 0.0
    words: float = 0.0
    entries: float = 0.0
    bytes: float = 0.0
    copied: float = 0.0

    @classmethod
    def of_gram(cls, A) -> "Work":
        """One entry of A Bᵀ, for an array (n, k) or :class:`Bits`."""
        columns = A.shape[1]
        return cls(words=-(-columns // 64)) if hasattr(A, "words") else cls(flops=2.0 * columns)

    @classmethod
    def lasting(cls, seconds: float) -> "Work":
        """Work that takes so long at nominal rates."""
        return cls(bytes=seconds * _NOMINAL[3])

    def __add__(self, other: "Work") -> "Work":
        return Work(*(one + two for one, two in zip(self._parts(), other._parts(), strict=True)))

    def __mul__(self, number: float) -> "Work":
        return Work(*(number * part for part in self._parts()))

    __rmul__ = __mul__

    def seconds(self, rates) -> float:
        """The time at an engine's ``Rates``."""
        return self._at((rates.flops, rates.words, rates.entries, rates.bytes, rates.copied))

    @property
    def nominal_seconds(self) -> float:
        """The time at the rates of a common two-core machine."""
        return self._at(_NOMINAL)

    def _at(self, rates) -> float:
        return sum(part / rate for part, rate in zip(self._parts(), rates, strict=True))

    def _parts(self):
        return self.flops, self.words, self.entries, self.bytes, self.copied
