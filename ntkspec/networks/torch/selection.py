"""Which parameters of a module are trained: the arguments ``parameters`` of a network, and ``layer`` of a kernel."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

import torch

from ntkspec import checks

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
            raise ValueError(f"parameters chose none of {_some(list(own))}")
        return found
    return matching(parameters, "parameters", aliases(module))


def aliases(module: torch.nn.Module) -> dict[str, list[str]]:
    """All names of each parameter, by its first one."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    found: dict[str, list[str]] = {name: [] for name in first.values()}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        found[first[id(parameter)]].append(name)
    return found


def matching(globs: object, argument: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of which one alias matches a glob. Each glob has to match one. Raises TypeError and ValueError."""
    given = [globs] if isinstance(globs, str) else globs
    if not isinstance(given, list | tuple) or not given or not all(isinstance(glob, str) for glob in given):
        raise TypeError(f"{argument}={checks.shown(globs)}, but a glob on parameter names or a list of globs is needed")
    chosen = set()
    for glob in given:
        found = {name for name, shared in names.items() if any(fnmatchcase(one, glob) for one in shared)}
        if not found:
            inside = any(one.startswith(f"{glob}.") for shared in names.values() for one in shared)
            advice = f"; did you mean '{glob}.*'?" if inside else ""
            raise ValueError(f"{argument}={glob!r} is the name of no parameter{advice}; there are {_some(list(names))}")
        chosen |= found
    return [name for name in names if name in chosen]


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
