"""Points as a module takes them: tensors on its device, floats in its dtype, integers as they are."""

from typing import Any

import torch

from ntkspec import checks
from ntkspec.networks.points import parts, rows
from ntkspec.networks.torch.tensors import converted, tensor_of


def as_tensors(points: Any, name: str, dtype: torch.dtype, device: torch.device) -> Any:
    """A tensor, or a tuple or dict of tensors with one first axis. Raises TypeError and ValueError.

    A list of arrays is a tuple; a list of numbers, or of lists of them, is an array.
    """
    if isinstance(points, dict):
        found: Any = {key: _part(part, f"{name}[{key!r}]", dtype, device) for key, part in points.items()}
    elif isinstance(points, tuple) or (
        isinstance(points, list) and points and all(hasattr(p, "dtype") for p in points)
    ):
        found = tuple(_part(part, f"{name}[{k}]", dtype, device) for k, part in enumerate(points))
    else:
        found = _part(points, name, dtype, device)
    lengths = [len(part) for part in parts(found)]
    if not lengths or 0 in lengths:
        raise ValueError(f"{name} holds no points; at least one is needed")
    if len(set(lengths)) > 1:
        raise ValueError(
            f"the arrays of {name} have {lengths} points, but each part of a tuple, list or dict has one row for each "
            f"point; join arrays of one point each with numpy.stack"
        )
    return found


def _part(given: Any, name: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    tensor = tensor_of(given, name)
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        raise TypeError(f"{name} is no dense tensor; pass .to_dense(), .dequantize() or a padded tensor")
    if tensor.ndim == 0:
        raise ValueError(f"{name} is one number, but an array is needed whose first axis counts the points")
    if tensor.is_complex():
        raise TypeError(f"{name} has dtype {tensor.dtype}, but real numbers are needed; pass the parts as two channels")
    if not tensor.is_floating_point():
        return tensor.to(device)
    tensor = tensor.to(device, dtype)
    bad = ~torch.isfinite(tensor)
    if bad.any():
        where = tuple(bad.nonzero()[0].tolist())
        raise checks.not_finite(name, int(bad.sum()), where=where, first=tensor[where].item())
    return tensor


def copied(points: Any, which: Any) -> Any:
    """Some of the points in memory of their own, which a module may change in place."""
    return _each(rows(points, which), torch.Tensor.clone)


def in_dtype(points: Any, dtype: torch.dtype) -> Any:
    """The points with floats of another dtype."""
    return _each(points, lambda part: converted(part, dtype))


def changed(points: Any) -> Any:
    """One point, and a copy of it with other numbers that are as valid: halved floats, integers in another order."""

    def both(part):
        other = part / 2 if part.is_floating_point() else part.flip(part.ndim - 1) if part.ndim > 1 else part
        return torch.cat([part, other])

    return _each(points, both)


def _each(points: Any, change: Any) -> Any:
    if isinstance(points, dict):
        return {key: change(part) for key, part in points.items()}
    return tuple(change(part) for part in points) if isinstance(points, tuple) else change(points)


def form_of(points: Any) -> tuple[Any, ...]:
    """What points have in common that a module treats alike: their names or number of parts, shapes and dtypes."""
    names = tuple(points) if isinstance(points, dict) else type(points)
    return names, *((tuple(part.shape[1:]), part.dtype) for part in parts(points))


def shapes(points: Any) -> str:
    """What a message says of them."""
    return ", ".join(f"{tuple(part.shape)} of {str(part.dtype).removeprefix('torch.')}" for part in parts(points))
