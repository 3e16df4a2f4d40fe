"""A module's code without its numbers: a copy that no later change of the module reaches, called with any numbers."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ntkspec.networks.torch.tensors import converted
from ntkspec.objects.lazy import cached_property
from ntkspec.objects.pickling import Foreign

Forward = Callable[[Any, Any], Any]


class Program:
    """The structure of a module at a moment: its layers, modes and settings, and empty tensors for its numbers.

    Called with points while it is :meth:`holding` all of them.
    """

    def __init__(self, module: torch.nn.Module, forward: Foreign | None):
        self.module, self.own = module, forward

    @classmethod
    def of(cls, module: torch.nn.Module, forward: Foreign | None) -> "Program":
        """Of a module as it is now, which is not touched."""
        return cls(_copied(module, lambda tensor: tensor.detach().clone()), forward)

    def in_dtype(self, dtype: torch.dtype) -> "Program":
        """With floats that are no parameters or buffers, constants of the code, in another dtype."""
        return Program(_copied(self.module, lambda t: converted(t, dtype)), self.own)

    def __call__(self, points: Any) -> Any:
        """What the module returns: for a tuple of points module(*points), for a dict module(**points)."""
        if self.own is not None:
            return self.own(self.module, points)
        if isinstance(points, dict):
            return self.module(**points)
        return self.module(*points) if isinstance(points, tuple) else self.module(points)

    @contextlib.contextmanager
    def holding(self, state: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """With these numbers, in passes backward as well, where checkpoints run parts of the module again."""
        before = [(table, key, table[key]) for places in self._places.values() for table, key in places]
        try:
            for name, tensor in state.items():
                for table, key in self._places[name]:
                    table[key] = tensor
            yield
        finally:
            for table, key, tensor in before:
                table[key] = tensor

    @cached_property
    def _places(self) -> dict[str, list[tuple[dict[str, Any], str]]]:
        """Where each tensor stands, under all of its names."""
        first = {id(tensor): name for name, tensor in _named(self.module)}
        found: dict[str, list[tuple[dict[str, Any], str]]] = {name: [] for name in first.values()}
        for part in self.module.modules():
            for table in (part._parameters, part._buffers):
                for key, tensor in table.items():
                    if tensor is not None:
                        found[first[id(tensor)]].append((table, key))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module, "own": self.own}


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers as they are now, shared with the module, by their first names."""
    return {name: tensor.detach() for name, tensor in _named(module)}


def _named(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _copied(module: torch.nn.Module, constant: Callable[[torch.Tensor], torch.Tensor]) -> torch.nn.Module:
    """A copy whose parameters and buffers are empty, and whose other tensors are what ``constant`` makes of them."""
    memo: dict[int, Any] = {}
    for tensor in _constants(module):
        memo[id(tensor)] = constant(tensor)
    for parameter in module.parameters():
        memo[id(parameter)] = (
            parameter if parameter.is_meta else torch.nn.Parameter(_empty(parameter), parameter.requires_grad)
        )
    for buffer in module.buffers():
        memo[id(buffer)] = buffer if buffer.is_meta else _empty(buffer)
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"the module cannot be copied ({type(error).__name__}: {reason}), which keeps kernels as they are while it "
            f"trains on; give its class a method __deepcopy__, or keep what cannot be copied outside of it"
        ) from error


def _empty(tensor: torch.Tensor) -> torch.Tensor:
    """Of its shape, without numbers."""
    return torch.empty_like(tensor, device="meta")


def _constants(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Tensors that a module keeps as plain attributes, in lists and dicts as well."""
    waiting: list[Any] = [
        held
        for part in module.modules()
        for name, held in vars(part).items()
        if name not in ("_parameters", "_buffers")
    ]
    while waiting:
        held = waiting.pop()
        if isinstance(held, torch.Tensor):
            yield held
        elif type(held) in (list, tuple):
            waiting += held
        elif type(held) is dict:
            waiting += held.values()
