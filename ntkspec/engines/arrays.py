"""Array types: what users may pass, and what the engines compute with."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

# An array of NumPy, or of CuPy, which has the same methods; to type checkers it is one of NumPy.
Array: TypeAlias = NDArray[Any]
# A vector or matrix of floating-point numbers, float32 or float64.
Floats: TypeAlias = NDArray[np.floating[Any]]

__all__ = ["Array", "ArrayLike", "DTypeLike", "Floats"]
