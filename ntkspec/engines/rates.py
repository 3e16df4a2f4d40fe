"""What a machine does in a second."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """What this machine does in a second, on all workers: flops in matrix products of tiles, steps of AND and popcount
    of 64-bit words, entries added to a tile, and bytes of a stored matrix multiplied with a vector."""

    flops: float
    words: float
    entries: float
    bytes: float
