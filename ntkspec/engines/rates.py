"""What a machine does in a second."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """What this machine does in a second, on all workers: flops in matrix products of tiles, steps of AND and popcount
    of 64-bit words, entries added to a tile, bytes of a stored matrix multiplied with two vectors, read from memory or
    ``cached``, bytes copied from the host's memory to the GPU (the CPU copies none), and lines of sums looked up (a GPU
    has no look-ups)."""

    flops: float
    words: float
    entries: float
    bytes: float
    cached: float
    copied: float = math.inf
    lookups: float = math.inf
