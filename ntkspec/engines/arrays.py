"""Array types: what users may pass, and what the engines compute with."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

# An array of NumPy, or of CuPy, which has the same methods; to type checkers it is one of NumPy.
Array: TypeAlias = NDArray[Any]
# A vector or matrix of floating-point numbers, float32 or float64.
Floats: TypeAlias = NDArray[np.floating[Any]]

__all__ = ["Array", "ArrayElsewhere", "ArrayLike", "DTypeLike", "EngineElsewhere", "Floats"]


class EngineElsewhere(Protocol):
    """What computes with arrays that do not lie in this process: less than a whole engine."""

    name: str

    def placed(self, array: Array) -> Any:
        """An array of NumPy among these."""

    def gram(self, F: Any) -> Any:
        """The operator F Fᵀ."""


class ArrayElsewhere:
    """An array whose numbers do not lie in this process; it brings what computes with it.

    Its parts lie behind one another along ``axis``, and ``sizes`` says how long each is there.
    """

    engine: Any
    shape: tuple[int, ...]
    dtype: np.dtype
    axis: int
    sizes: Sequence[int]

    def parts_here(self) -> Iterator[Array]:
        """Its parts as arrays of NumPy, one after the other: each comes when it is asked for, and is not kept."""
        raise NotImplementedError
