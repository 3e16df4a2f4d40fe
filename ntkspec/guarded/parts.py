"""What readers of any format have in common: arrays in parts, and refusals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 32_000_000  # bytes that are read at once
MOST_PACKED = 1032  # deflate makes no more bytes of one

# Is told how many bytes of memory reading an array takes, and how many are unpacked, before it is read.
Allow = Callable[[float, float], None]


class Refused(ValueError):
    """What is wrong with an array, as the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class Content:
    """An array in parts, one after the other, whose bytes together are its own; largest : bytes of a part at most."""

    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Iterator[np.ndarray]
    largest: int
    text: bool = False  # words in UTF-8


def in_parts(found: Any, step: int = 1) -> tuple[Iterator[np.ndarray], int]:
    """(the blocks of an array, bytes of one at most): whole rows, in multiples of ``step``, of BLOCK bytes or more."""
    if found.ndim == 0 or found.size == 0:
        return iter([np.asarray(found[()])]), found.nbytes
    row = found.nbytes // len(found)
    rows = step * max(1, BLOCK // max(1, step * row))
    blocks = (np.asarray(found[start : start + rows]) for start in range(0, len(found), rows))
    return blocks, min(rows, len(found)) * row
