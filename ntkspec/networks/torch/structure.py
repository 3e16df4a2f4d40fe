"""What a module holds besides its numbers, which tells whether its code still is what it was at an earlier look."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

# Settings that are compared by value; and what is compared by identity, as functions are, without a look inside.
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_WHOLE = (torch.nn.Module, type, type(torch), torch.Generator)
# Objects that are looked into at most: settings, not data sets that a module happens to hold.
MOST = 10_000


def structure_of(module: torch.nn.Module) -> tuple[Any, ...]:
    """Equal at two looks between which no part, mode, hook, setting, or tensor besides parameters and buffers changed.

    It holds copies of such tensors, and references to all other objects.
    """
    names = {id(tensor): name for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    look = _Look(names)
    return tuple((name, _Same(part), type(part), look.at(vars(part))) for name, part in module.named_modules())


class _Look:
    """A walk through what objects hold. names : of tensors that may change in all but their place."""

    def __init__(self, names: Mapping[int, str]):
        self.names = names
        self.seen: dict[int, Any] = {}

    def at(self, held: Any) -> Any:
        """What is compared of an object."""
        if isinstance(held, _PLAIN):
            return type(held), held
        if id(held) in self.names:
            return self.names[id(held)]
        if isinstance(held, torch.Tensor | np.ndarray):
            return _Numbers(held)
        if isinstance(held, _WHOLE) or id(held) in self.seen or len(self.seen) >= MOST:
            return _Same(held)
        self.seen[id(held)] = held  # whose address no other object can get meanwhile
        if isinstance(held, dict):
            return type(held), tuple((self.at(key), self.at(one)) for key, one in held.items())
        if isinstance(held, list | tuple | set | frozenset):
            return type(held), tuple(self.at(one) for one in held)
        own = getattr(held, "__dict__", None)
        return (_Same(held), self.at(own)) if own else _Same(held)


class _Same:
    """Equal to itself alone; holds the object, so that no other one can get its address."""

    def __init__(self, held: Any):
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held

    __hash__ = None  # type: ignore[assignment]


class _Numbers:
    """Equal where all numbers are."""

    def __init__(self, held: torch.Tensor | np.ndarray):
        self.held = held.detach().clone() if isinstance(held, torch.Tensor) else held.copy()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Numbers) or type(self.held) is not type(other.held):
            return False
        one, two = self.held, other.held
        return one.shape == two.shape and one.dtype == two.dtype and _all_equal(one, two)

    __hash__ = None  # type: ignore[assignment]


def _all_equal(one: Any, two: Any) -> bool:
    """NaN is equal to NaN."""
    return getattr(one, "device", None) == getattr(two, "device", None) and bool(
        ((one == two) | ((one != one) & (two != two))).all()
    )
