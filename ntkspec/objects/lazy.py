"""Properties that are computed at the first look, and kept."""

import functools
from typing import Any, Self, TypeVar, overload

Value = TypeVar("Value", covariant=True)


class cached_property(functools.cached_property[Value]):
    """Python's own as it is from 3.12 on: without a lock.

    That of 3.11 is one for all objects of a class: threads wait for each other's objects, and a child process that was
    forked while one computes waits for ever. Two threads that look at once compute the same value twice.
    """

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Value: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.attrname] = self.func(instance)
        return value
