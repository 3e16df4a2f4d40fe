"""What a pass through a module runs in: settings that numbers depend on, and generators that it leaves untouched."""

import contextlib
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ntkspec.engines import engine_of

# Settings of torch are those of the whole process, and a pass swaps tensors in a module: one pass at a time.
_ONE_AT_A_TIME = threading.RLock()
_BACKENDS = torch.backends
# What narrower numbers, and methods that cast to them, are in a module that computes in float64.
NARROW = (torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex32)
_CASTS: dict[Any, Any] = {
    **dict.fromkeys([torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16], torch.Tensor.double),
    **dict.fromkeys([torch.Tensor.cfloat, torch.Tensor.chalf], torch.Tensor.cdouble),  # type: ignore[attr-defined]
}


@contextlib.contextmanager
def undisturbed(device: torch.device, dtype: torch.dtype, *, recurrent: bool) -> Iterator[None]:
    """Full precision of ``dtype`` without autocast, TF32 and compiled graphs; cuDNN deterministic; new tensors
    on ``device``; as many threads as the engine has workers; torch's generators of random numbers as they were,
    afterwards.

    recurrent : the module holds recurrent layers. Their fused passes know no second derivative, on a GPU no backward
    pass in eval mode; without them they are sums of matrix products.
    """
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        for place, name, value in _settings(recurrent):
            stack.enter_context(_set(place, name, value))
        if "torch._dynamo" in sys.modules:  # else nothing has been compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if torch.get_default_device() != device:
            stack.enter_context(device)
        if dtype != torch.get_default_dtype():
            stack.enter_context(_default_dtype(dtype))
        stack.enter_context(_threads(min(torch.get_num_threads(), engine_of().workers())))
        yield


def _settings(recurrent: bool) -> list[tuple[Any, str, Any]]:
    """(place, name, value) of each setting that is global."""
    found: list[tuple[Any, str, Any]] = [
        (_BACKENDS.cudnn, "deterministic", True),
        (_BACKENDS.cudnn, "benchmark", False),
    ]
    if recurrent:
        found += [(_BACKENDS.cudnn, "enabled", False), (_BACKENDS.mkldnn, "enabled", False)]
    if hasattr(_BACKENDS.cuda.matmul, "fp32_precision"):
        cudnn: Any = _BACKENDS.cudnn
        mkldnn: Any = _BACKENDS.mkldnn
        kinds: list[Any] = [_BACKENDS.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]
        return found + [(kind, "fp32_precision", "ieee") for kind in kinds]
    return [*found, (_BACKENDS.cuda.matmul, "allow_tf32", False), (_BACKENDS.cudnn, "allow_tf32", False)]


@contextlib.contextmanager
def _set(place: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(place, name)
    if before == value:
        yield
        return
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


@contextlib.contextmanager
def same_random_numbers() -> Iterator[None]:
    """The generators of Python and NumPy as they were, afterwards; those of torch are kept for every pass."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def random_numbers(device: torch.device) -> tuple[Any, ...]:
    """What tells whether a generator of Python, NumPy or torch was drawn from meanwhile."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    own = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    return random.getstate(), kind, np.asarray(keys).tobytes(), rest, [one.numpy().tobytes() for one in own]


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Widened(TorchFunctionMode):
    """Where a module in float64 computes in float64, though its code casts to fewer bits."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        wide = _CASTS.get(func, func)
        return wide(*map(_wider, args), **{name: _wider(given) for name, given in (kwargs or {}).items()})


def _wider(given: Any) -> Any:
    if not isinstance(given, torch.dtype) or given not in NARROW:
        return given
    return torch.complex128 if given.is_complex else torch.float64


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if before != number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if before != number:
            torch.set_num_threads(before)
