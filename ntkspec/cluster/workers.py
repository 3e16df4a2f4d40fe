"""Tasks on the workers of one scheduler. What they find stays there, under futures, until it is asked for.

Each task is a function of its arguments alone, and the scheduler keeps how every result was made. Where a worker is
lost, what it held is computed again elsewhere, from the tasks that made it: the same numbers, on machines of one kind.
"""

import pickle
import sys
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any, ClassVar, TypeAlias

import numpy as np

import ntkspec
from ntkspec.cluster.execution import all_done, connected
from ntkspec.operators import KernelOperator

# Seconds between two looks at the workers, and how long a cluster may be without any.
LOOK_EVERY, PATIENCE = 2.0, 60.0
# Small results that one task adds up: more of them go through a tree.
FAN_IN = 8
# A result on a worker, or one to come.
Future: TypeAlias = Any


class Workers:
    """Those that the scheduler at an address has when it is first asked; :meth:`of` keeps one for each address."""

    _kept: ClassVar[weakref.WeakValueDictionary[str, "Workers"]] = weakref.WeakValueDictionary()

    def __init__(self, address: str):
        self.address, self.client = address, connected(address)
        self._close = weakref.finalize(self, self.client.close)
        self._require_one_version()
        self.names: tuple[str, ...] = tuple(sorted(self.client.nthreads()))
        # What divides points over them, by sizes and engines: arrays of equal parts go together.
        self.parts: weakref.WeakValueDictionary[tuple, Any] = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, address: str) -> "Workers":
        """The ones that are in use, or a new connection."""
        known = cls._kept.get(address)
        if known is None or known.client.status != "running":
            known = cls._kept[address] = cls(address)
        return known

    def _require_one_version(self) -> None:
        here = _version()
        for name, there in self.client.run(_version).items():
            if there != here:
                raise ValueError(f"worker {name} has {there}, but {here} is here; install one version on all machines")

    def submit(self, function: Callable, *arguments: Any, home: str | None = None) -> Future:
        """A task, at home as long as that worker lives. Arguments may be futures, and lists of them."""
        where = {} if home is None else {"workers": [home], "allow_other_workers": True}
        key = f"{function.__name__}-{uuid.uuid4().hex}"
        return self.client.submit(done, function, *arguments, key=key, **where)

    def sent(self, value: Any, home: str) -> Future:
        """A value, at a worker; the scheduler keeps it too, for another one where that is lost."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # advice to have workers read it themselves
            return self.submit(given, value, home=home)

    def summed(self, futures: Sequence[Future]) -> Future:
        """The sum, in the order given, by a tree of tasks."""
        futures = list(futures)
        while len(futures) > 1:
            groups = [futures[k : k + FAN_IN] for k in range(0, len(futures), FAN_IN)]
            futures = [self.submit(added, group) if len(group) > 1 else group[0] for group in groups]
        return futures[0]

    def answers(self, futures: Sequence[Future]) -> list:
        """The results, here."""
        from distributed import KilledWorker

        try:
            self.finished(futures)
            return [each(aligned, found) for found in self.client.gather(list(futures))]
        except KilledWorker as error:
            raise ValueError(
                f"a task killed several workers, is their memory too small? Take more parts: {error}"
            ) from None
        except (CancelledError, OSError) as error:
            raise ValueError(
                f"the scheduler {self.address} was lost with what lay on its workers, or cannot import a module "
                f"that the functions it was given need; run this again: {error}"
            ) from None

    def finished(self, futures: Sequence[Future]) -> None:
        """Wait until all are done. Raises ValueError where no worker has been there for PATIENCE seconds."""
        seen = time.monotonic()
        while not all_done(self.client, futures, LOOK_EVERY):
            if self.client.nthreads():
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise ValueError(f"the scheduler {self.address} has had no worker for {PATIENCE:g} s; start some")


def _version() -> str:
    return f"ntkspec {ntkspec.__version__} on Python {'.'.join(map(str, sys.version_info[:2]))}"


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
