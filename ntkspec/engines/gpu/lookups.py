"""Products of bits with numbers on the GPU: no look-ups.

A multiprocessor of an H200 reads 128 bytes of shared memory a cycle, one line of a table: with eight bits to a look-up
256 products in float32 and 128 in float64, where multiplications are 128, and 128 on the tensor cores. In float64 there
is nothing to gain, and in float32 writing tables, sums and the conflicts of banks take most of the factor of two.
"""

from ntkspec.engines.arrays import Array


def products(words: Array, columns: int, values: tuple[float, float]) -> None:
    """None: products of numbers are as fast here."""
