"""What users pass in and objects keep, functions and operators: on their way into a pickle."""

import copy
import pickle
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

# What pickle raises for functions without a name of their own, and for what is bound to this process.
_UNPICKLED = pickle.PicklingError, AttributeError, TypeError
# What is being pickled now, to see whether it can be.
_tried: ContextVar[frozenset[int]] = ContextVar("tried", default=frozenset())


class Foreign:
    """A value of the user's, called as it is where it is a function.

    It pickles as itself where pickle takes it: functions go by their names. Other functions go by value where
    cloudpickle is installed; else TypeError says what ``what``, its description, needs.
    """

    def __init__(self, value: Any, what: str):
        self.value, self.what = value, what

    def __call__(self, *arguments: Any) -> Any:
        return self.value(*arguments)

    def __deepcopy__(self, memo: dict) -> "Foreign":
        return Foreign(copy.deepcopy(self.value, memo), self.what)

    def __reduce__(self) -> tuple:
        if id(self) in _tried.get():  # a method of an object that holds this one
            return Foreign, (self.value, self.what)
        token = _tried.set(_tried.get() | {id(self)})
        try:
            pickle.dumps(self.value, protocol=5, buffer_callback=_leave_out)
            return Foreign, (self.value, self.what)
        except _UNPICKLED as error:
            return _restored, (_by_value(self.value, self.what, error), self.what)
        finally:
            _tried.reset(token)


def _leave_out(buffer: pickle.PickleBuffer) -> None:
    """Arrays can be pickled: they are not copied to see that."""


def _by_value(value: Callable, what: str, reason: Exception) -> bytes:
    """The value as cloudpickle writes it."""
    try:
        import cloudpickle

        return cloudpickle.dumps(value)
    except (ImportError, *_UNPICKLED):
        raise TypeError(
            f"{what} cannot be pickled ({reason}); define it with def at the top of a module that the other process "
            f"can import, or install cloudpickle"
        ) from None


def _restored(content: bytes, what: str) -> Foreign:
    return Foreign(pickle.loads(content), what)
