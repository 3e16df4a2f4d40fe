"""Numbers of every width and byte order as float64."""

import numpy as np

from ntkspec.engines.arrays import ArrayLike


def as_numbers(array: ArrayLike, name: str) -> np.ndarray:
    """Integers, booleans and floats of any width and byte order as native float64.

    Raises ValueError for every other dtype, and where a long double is beyond the range of float64.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "iubf":
        kind = "words or objects" if array.dtype.kind in "SUTO" else f"dtype {_short(array.dtype)}"
        raise ValueError(f"{name} has {kind}, but real numbers are needed")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float64, copy=False)
    if array.dtype.itemsize > 8 and (np.isinf(numbers) & np.isfinite(array)).any():
        raise ValueError(f"{name} holds {array.dtype} numbers beyond the range of float64 (1.8e308); rescale them")
    return numbers


def _short(dtype: np.dtype) -> str:
    return f"with fields {', '.join(dtype.names)}" if dtype.names else str(dtype)
