"""Which parameters of a module are trained: the arguments ``parameters`` of a network, and ``layer`` of a kernel."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from ntkspec.networks.naming import matching, some

# What a user passes: a glob on names, a list of them, or a function of (name, parameter).
ParametersLike: TypeAlias = str | Sequence[str] | Callable[[str, torch.Tensor], bool] | None


def trained(module: torch.nn.Module, parameters: ParametersLike) -> list[str]:
    """The names of the chosen parameters, a shared one once, under its first name. Raises ValueError."""
    own = dict(module.named_parameters())
    if parameters is None:
        found = [name for name, parameter in own.items() if parameter.requires_grad]
        if not found:
            raise ValueError(
                f"none of the {len(own)} parameters of the module has requires_grad; choose some with parameters='*'"
            )
        return found
    if callable(parameters):
        found = [name for name, parameter in own.items() if parameters(name, parameter)]
        if not found:
            raise ValueError(f"parameters chose none of {some(list(own))}")
        return found
    return matching(parameters, "parameters", aliases(module))


def aliases(module: torch.nn.Module) -> dict[str, list[str]]:
    """All names of each parameter, by its first one."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    found: dict[str, list[str]] = {name: [] for name in first.values()}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        found[first[id(parameter)]].append(name)
    return found
