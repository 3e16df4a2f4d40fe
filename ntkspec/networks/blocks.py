"""Blocks of points and of vectors that are taken together, in few different sizes: a size may have to be compiled."""

from ntkspec.operators.tiles import slices

# Intermediate results of a block of points take about so many bytes.
BLOCK_BYTES = 2.0**29
# Vectors that share a pass at most.
VECTORS = 16


def block_rows(n: int, bytes_per_point: float, budget: float = BLOCK_BYTES) -> int:
    """Points of a block: all n of them, or a power of two of which as many fit as may be, one at least."""
    fitting = max(1, int(budget / max(1.0, bytes_per_point)))
    return n if n <= fitting else 1 << (fitting.bit_length() - 1)


def vector_blocks(k: int) -> list[tuple[slice, int]]:
    """(vectors, power of two that they are filled up to) for k vectors."""
    return [(some, 1 << (some.stop - some.start - 1).bit_length()) for some in slices(k, VECTORS)]
