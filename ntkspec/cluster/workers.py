"""Tasks on the workers of one scheduler. What they find stays there until it is asked for.

Each task is a function of its arguments alone, and every result keeps how it was made. Where a worker is lost, the
scheduler has what it held computed again elsewhere. Where the scheduler is lost and is back, all that is still needed
is computed again. The numbers are the same, on machines of one kind.
"""

import contextlib
import itertools
import pickle
import threading
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ntkspec.cluster.connection import Connection, Patience
from ntkspec.operators import KernelOperator

# Small results that one task adds up: more of them go through a tree.
FAN_IN = 8
# What ends a call, and what is left to do.
LEFT = "what lay on its workers is gone; run this again, with more parts where memory is short"


class Recipe:
    """How a result is made: a function of arguments, which are recipes where they are results themselves, at a home."""

    __slots__ = ("_result", "arguments", "function", "home")

    def __init__(self, function: Callable, arguments: Sequence[Any], home: str | None):
        self.function, self.arguments, self.home = function, arguments, home
        self._result: weakref.ref[Result] | None = None

    @property
    def result(self) -> "Result | None":
        """What was made, as long as somebody holds it."""
        return None if self._result is None else self._result()

    def made(self) -> "Result":
        """That, or a new one."""
        found = self.result or Result(self)
        self._result = weakref.ref(found)
        return found

    def needed(self) -> "Iterator[Recipe]":
        """The recipes among the arguments."""
        for one in self.arguments:
            members = one if isinstance(one, list) else [one]
            yield from (member for member in members if isinstance(member, Recipe))


class Result:
    """What a task finds, on a worker; ``future`` is Dask's, on the present connection, None before it is started."""

    __slots__ = ("__weakref__", "future", "recipe")

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.future: Any = None

    def begin(self, future: Any) -> None:
        """It is made as this future."""
        self.future = future


class Workers:
    """Those that the scheduler at an address has when it is first asked; :meth:`of` keeps one for each address."""

    _kept: ClassVar[weakref.WeakValueDictionary[tuple, "Workers"]] = weakref.WeakValueDictionary()

    def __init__(self, address: str, patience: Patience):
        self.connection = Connection(address, patience)
        self._close = weakref.finalize(self, self.connection.close)
        self.names: tuple[str, ...] = tuple(sorted(self.connection.client.nthreads()))
        # Other workers in place of those that went with a scheduler.
        self._instead: dict[str, str] = {}
        self._results: weakref.WeakSet[Result] = weakref.WeakSet()
        # The client that they have been started with.
        self._started_with: Any = self.connection.client
        self._mending = threading.RLock()
        # What divides points over them, by sizes and engines: arrays of equal parts go together.
        self.parts: weakref.WeakValueDictionary[tuple, Any] = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, address: str, patience: Patience | None = None) -> "Workers":
        """The ones that are in use, or a new connection."""
        key = address, patience or Patience()
        known = cls._kept.get(key)
        if known is None or known.connection.lost:
            known = cls._kept[key] = cls(*key)
        return known

    def submit(self, function: Callable, *arguments: Any, home: str | None = None) -> Result:
        """A task, at home as long as that worker lives. Arguments may be results, and lists of them."""
        found = Recipe(function, [_with(_recipe, one) for one in arguments], home).made()
        self._results.add(found)
        self._persistently(lambda: self._start(found) if found.future is None else None)
        return found

    def _start(self, result: Result) -> None:
        """Anew, on the present connection, where the results among its arguments have been started."""
        recipe, client = result.recipe, self.connection.client
        where: dict[str, Any] = {}
        if recipe.home is not None:
            where = {"workers": [self._instead.get(recipe.home, recipe.home)], "allow_other_workers": True}
        arguments = [_with(_future, one) for one in recipe.arguments]
        key = f"{recipe.function.__name__}-{uuid.uuid4().hex}"
        retries = self.connection.patience.retries
        result.begin(client.submit(done, recipe.function, *arguments, key=key, retries=retries, **where))

    def sent(self, value: Any, home: str) -> Result:
        """A value, at a worker; the scheduler keeps it too, for another one where that is lost."""
        with _large_values():
            return self.submit(given, value, home=home)

    def summed(self, results: Sequence[Result]) -> Result:
        """The sum, in the order given, by a tree of tasks."""
        left = list(results)
        while len(left) > 1:
            groups = [left[k : k + FAN_IN] for k in range(0, len(left), FAN_IN)]
            left = [self.submit(added, group) if len(group) > 1 else group[0] for group in groups]
        return left[0]

    def answers(self, results: Sequence[Result]) -> list:
        """What was found, here. Raises ValueError where there has been no worker for too long."""
        found = self._persistently(lambda: self.connection.gathered([one.future for one in results]))
        return [each(aligned, one) for one in found]

    def finished(self, results: Sequence[Result]) -> None:
        """Wait until all are done. Raises as :meth:`answers`."""
        self._persistently(lambda: self.connection.wait([one.future for one in results]))

    # ------------------------------------------------------------------------------------------- a lost scheduler
    def _persistently(self, ask: Callable[[], Any]) -> Any:
        """What is asked for, also where the scheduler is lost meanwhile and is back in time."""
        while True:
            client = self.connection.client
            try:
                with self._mending:
                    if self._started_with is not client:
                        self._start_again(client)
                found = ask()
            except Exception as error:
                with self._mending:
                    if client is self.connection.client:
                        self.connection.recover(error, LEFT)
            else:
                self.connection.losses = 0
                return found

    def _start_again(self, client: Any) -> None:
        """All results that are held, and for the time being what they are made of."""
        there = sorted(client.nthreads())
        gone = [name for name in self.names if name not in there]
        new = [name for name in there if name not in self.names]
        self._instead = dict(zip(gone, itertools.cycle(new or there), strict=False))
        held, made = list(self._results), []
        for one in held:
            one.begin(None)
        with _large_values():
            for recipe in _in_order(one.recipe for one in held):
                made.append(recipe.made())
                self._start(made[-1])
        self._started_with = client


@contextlib.contextmanager
def _large_values() -> Iterator[None]:
    """Values are sent without Dask's advice to have workers read them themselves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        yield


def _in_order(wanted: Iterable[Recipe]) -> Iterator[Recipe]:
    """The recipes with all that they are made of, each once and after what it needs."""
    seen: set[Recipe] = set()
    stack = [(recipe, False) for recipe in wanted]
    while stack:
        recipe, ready = stack.pop()
        if ready:
            yield recipe
        elif recipe not in seen:
            seen.add(recipe)
            stack.append((recipe, True))
            stack += [(one, False) for one in recipe.needed()]


def _with(function: Callable, argument: Any) -> Any:
    """The function of an argument, of a list of those of its members."""
    return [function(one) for one in argument] if isinstance(argument, list) else function(argument)


def _recipe(one: Any) -> Any:
    return one.recipe if isinstance(one, Result) else one


def _future(one: Any) -> Any:
    return one.made().future if isinstance(one, Recipe) else one


class Kept:
    """An operator on a worker. It travels as bytes of its own, so that its arrays lie on a copy as they did."""

    def __init__(self, operator: KernelOperator):
        self.operator = operator

    def __reduce__(self) -> tuple:
        return _unpacked, (pickle.dumps(self.operator, protocol=4),)


def _unpacked(content: bytes) -> Kept:
    return Kept(pickle.loads(content))


def done(function: Callable, *arguments: Any) -> Any:
    """On a worker: a task, with arrays that lie as on the worker that made them."""
    found = function(*(each(aligned, one) for one in arguments))
    return Kept(found) if isinstance(found, KernelOperator) else found


def aligned(value: Any) -> Any:
    """An array that came in between other bytes in a place of its own: products with others have other roundings."""
    if isinstance(value, Kept):
        return value.operator
    return np.require(value, requirements="A") if isinstance(value, np.ndarray) else value


def given(value: Any) -> Any:
    """On a worker: what was sent to it."""
    return value


def added(parts: Sequence[Any]) -> Any:
    """On a worker: the sum, of lists and tuples that of their members."""
    if isinstance(parts[0], list | tuple):
        return type(parts[0])(added(members) for members in zip(*parts, strict=True))
    return sum(parts[1:], start=parts[0])


def each(function: Callable, found: Any) -> Any:
    """The function of a value, of lists and tuples of their members."""
    return type(found)(each(function, one) for one in found) if isinstance(found, list | tuple) else function(found)
