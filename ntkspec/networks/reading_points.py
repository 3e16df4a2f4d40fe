"""Points that users pass to networks of their own, read and checked as arrays on the host."""

from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import Array
from ntkspec.engines.containers import as_array
from ntkspec.networks.points import rows


def as_arrays(points: Any, name: str, dtype: np.dtype) -> Any:
    """Points in the same form, a tuple, list or dict of arrays, or one array, whose float numbers are in ``dtype``.

    Integers and booleans stay what they are. Refuses parts without a common first axis of length >= 1, NaN, infinity,
    and what are no numbers.
    """
    if isinstance(points, dict):
        labels = [f"{name}[{key!r}]" for key in points]
        read = [_as_part(part, label, dtype) for part, label in zip(points.values(), labels, strict=True)]
        found: Any = dict(zip(points, read, strict=True))
    elif isinstance(points, tuple | list) and any(np.ndim(part) and hasattr(part, "shape") for part in points):
        labels = [f"{name}[{k}]" for k in range(len(points))]
        read = [_as_part(part, label, dtype) for part, label in zip(points, labels, strict=True)]
        found = type(points)(*read) if hasattr(points, "_fields") else type(points)(read)
    else:
        labels, read = [name], [_as_part(points, name, dtype)]
        found = read[0]
    if len({len(part) for part in read}) > 1:
        came = ", ".join(f"{label} has {len(part)}" for label, part in zip(labels, read, strict=True))
        raise ValueError(f"{came} along the first axis, but each point needs one row in every part")
    if not read:
        raise ValueError(f"{name} holds no arrays; pass at least one, whose first axis counts the points")
    return found


def _as_part(part: Any, name: str, dtype: np.dtype) -> Array:
    array = np.asarray(as_array(part, name))
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape} and holds no points; their first axis counts them, from 1 on")
    kind = "f" if array.dtype.name == "bfloat16" else array.dtype.kind
    if kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}, but real numbers are needed; encode it as numbers first")
    if kind != "f":
        return array
    read = array.astype(dtype, copy=False)
    checks.all_finite(read, name if read is array else f"{name} in {dtype}")
    return read


def filled(points: Any, which: Any, size: int) -> Any:
    """The points with these numbers, a slice or an array, and the last of them again until there are ``size``."""
    numbers = np.arange(which.start, which.stop) if isinstance(which, slice) else np.asarray(which)
    if len(numbers) == size:
        return rows(points, which)
    return rows(points, np.pad(numbers, (0, size - len(numbers)), mode="edge"))
