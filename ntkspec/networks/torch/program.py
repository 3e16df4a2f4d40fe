"""A module's code without its numbers: a copy that no later change of the module reaches, called with any numbers."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ntkspec.objects.pickling import Foreign

Forward = Callable[[Any, Any], Any]
# Wrappers that hold the module itself under this attribute.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel. Raises TypeError for what is sharded
    or scripted, and for what is no module."""
    while type(module).__name__ in _WRAPPERS and isinstance(module, torch.nn.Module):
        module = getattr(module, _WRAPPERS[type(module).__name__])
    if not isinstance(module, torch.nn.Module):
        advice = "; make it first: from_torch(Net())" if isinstance(module, type) else ""
        raise TypeError(f"a {type(module).__name__} came, but a torch.nn.Module is needed{advice}")
    for part in module.modules():
        names = {cls.__name__ for cls in type(part).__mro__}
        if names & {"FullyShardedDataParallel", "FSDPModule"}:
            raise TypeError("the parameters of an FSDP module are sharded over processes; pass the module before it")
        if isinstance(part, torch.jit.ScriptModule):
            raise TypeError("a TorchScript module keeps its code to itself; pass the module that was scripted")
    return module


class Program(torch.nn.Module):
    """The structure of a module at a moment: its layers, modes and settings, and empty tensors for its numbers.

    Called with points by :func:`torch.func.functional_call`, all parameters and buffers given.
    """

    def __init__(self, module: torch.nn.Module, forward: Foreign | None):
        super().__init__()
        self.module, self.own = module, forward

    @classmethod
    def of(cls, module: torch.nn.Module, forward: Foreign | None) -> "Program":
        """Of a module as it is now, which is not touched."""
        return cls(_copied(module, lambda tensor: tensor.detach().clone()), forward)

    def in_dtype(self, dtype: torch.dtype) -> "Program":
        """With floats that are no parameters or buffers, constants of the code, in another dtype."""
        return Program(_copied(self.module, lambda t: t.to(dtype) if t.is_floating_point() else t), self.own)

    def forward(self, points: Any) -> Any:
        """What the module returns: for a tuple of points module(*points), for a dict module(**points)."""
        if self.own is not None:
            return self.own(self.module, points)
        if isinstance(points, dict):
            return self.module(**points)
        return self.module(*points) if isinstance(points, tuple) else self.module(points)

    def run(self, state: Mapping[str, torch.Tensor], points: Any) -> Any:
        """The same with these numbers."""
        return torch.func.functional_call(self, {f"module.{name}": t for name, t in state.items()}, (points,))


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers as they are now, shared with the module, by their first names."""
    own = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in own}


def _copied(module: torch.nn.Module, constant: Callable[[torch.Tensor], torch.Tensor]) -> torch.nn.Module:
    """A copy whose parameters and buffers are empty, and whose other tensors are what ``constant`` makes of them."""
    memo: dict[int, Any] = {}
    for tensor in _constants(module):
        memo[id(tensor)] = constant(tensor)
    for parameter in module.parameters():
        memo[id(parameter)] = torch.nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"the module cannot be copied ({type(error).__name__}: {reason}), which keeps kernels as they are while it "
            f"trains on; give its class a method __deepcopy__, or keep what cannot be copied outside of it"
        ) from error


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


def fingerprint(module: torch.nn.Module) -> tuple[Any, ...]:
    """What tells whether the structure has changed: the parts, their modes and their plain settings."""
    plain = (bool, int, float, str, type(None))
    return tuple(
        (name, id(part), tuple((key, value) for key, value in vars(part).items() if isinstance(value, plain)))
        for name, part in module.named_modules()
    )
