"""Arrays and tensors: the same numbers, in the same memory where they lie on one device."""

import importlib.util
import warnings
from typing import Any

import numpy as np
import torch

from ntkspec.engines import Engine, as_array, engine_of, named
from ntkspec.engines.arrays import Array

_DTYPES: dict[torch.dtype, np.dtype] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """float32 or float64 of NumPy."""
    return _DTYPES[dtype]


def engine_for(device: torch.device) -> Engine:
    """What computes with the vectors: the GPU's engine where the module lies there and CuPy is installed, else the
    CPU's."""
    there = device.type == "cuda" and importlib.util.find_spec("cupy") is not None
    return named("gpu") if there else engine_of()


def tensor_of(given: Any, name: str = "the array") -> torch.Tensor:
    """A tensor of the numbers in any array, without a gradient, on the device where they lie. Raises TypeError."""
    if isinstance(given, torch.Tensor):
        with torch.inference_mode(False):
            return given.clone() if given.is_inference() else given.detach()
    array = as_array(given, name)
    if not isinstance(array, np.ndarray):
        return torch.from_dlpack(array)
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"{name} has dtype {array.dtype}, but numbers are needed: floats, integers or booleans")
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 8
    array = array.astype(np.float64 if wide else array.dtype.newbyteorder("="), copy=False)
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():  # nothing writes to it, so it may be read-only
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def array_of(tensor: torch.Tensor, engine: Engine) -> Array:
    """An array of an engine with the numbers of a tensor."""
    tensor = tensor.detach().resolve_neg()
    if engine is engine_of():
        return tensor.cpu().numpy()
    return engine.xp.from_dlpack(tensor.contiguous())


def on_host(tensor: torch.Tensor) -> np.ndarray:
    """An array of NumPy."""
    return array_of(tensor, engine_of())


def converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Floats in this dtype, complex numbers with parts in it, integers as they are."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
