"""The parts of n points, one behind the other, each with the worker that keeps it: what computes with spread arrays."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ntkspec.cluster.spread_array import Arrays, SpreadArray
from ntkspec.cluster.workers import Result, Workers
from ntkspec.engines import moved, named
from ntkspec.engines.arrays import Array
from ntkspec.engines.rates import Rates
from ntkspec.operators import Gram, KernelOperator, wrap


class Parts:
    """Of each part its rows and the name of its worker; arrays are :class:`SpreadArray`, small ones NumPy's.

    It stands where an operator has its engine, with what functions of whole arrays need of one.
    """

    name, xp = "cluster", Arrays()

    def __init__(self, workers: Workers, sizes: Sequence[int], engines: Sequence[str]):
        self.workers, self.sizes, self.engines = workers, tuple(sizes), tuple(engines)
        self.homes, self.ends = homes(workers, len(sizes)), np.cumsum([0, *sizes])

    @classmethod
    def of(cls, workers: Workers, sizes: Sequence[int], engines: Sequence[str]) -> "Parts":
        """The same object for the same parts, so that arrays of several kernels go together."""
        key = tuple(sizes), tuple(engines)
        known = workers.parts.get(key)
        if known is None:
            known = workers.parts[key] = cls(workers, sizes, engines)
        return known

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def n(self) -> int:
        """Rows in all."""
        return int(self.ends[-1])

    def map(self, function: Callable, *arguments: Sequence[Any]) -> list[Result]:
        """A task for each part at its worker: the function of the part's own member of each argument."""
        tasks = zip(self.homes, *arguments, strict=True)
        return [self.workers.submit(function, *own, home=home) for home, *own in tasks]

    def same(self, value: Any) -> list[Any]:
        """One value for all parts."""
        return [value] * len(self)

    def total(self, function: Callable, *arguments: Sequence[Any]) -> Any:
        """The sum of small results of all parts, in their order."""
        return sum(self.workers.answers(self.map(function, *arguments)))

    # --------------------------------------------------------------------------------------------- as of an engine
    def placed(self, array: Any, axis: int = 0) -> Any:
        """An array of NumPy, its axis over the parts; one without so many rows as it is."""
        if isinstance(array, SpreadArray) or array.ndim <= axis or array.shape[axis] % self.n or not array.shape[axis]:
            return array
        times = array.shape[axis] // self.n
        ranges = [slice(times * first, times * last) for first, last in zip(self.ends[:-1], self.ends[1:], strict=True)]
        cut = [
            self.workers.sent(np.ascontiguousarray(array[(slice(None),) * axis + (rows,)]), home)
            for rows, home in zip(ranges, self.homes, strict=True)
        ]
        return SpreadArray(self, self.map(_placed, cut, self.engines), array.shape, array.dtype, axis)

    def gram(self, F: SpreadArray) -> Any:
        """F Fᵀ of features (n, k), or with several rows for each point."""
        from ntkspec.cluster.kernel import spread  # which is built on this module

        rows_per_point = F.shape[0] // self.n
        return spread(self.workers, self.map(gram_with, F.pieces, self.same(rows_per_point)))

    def to_host(self, array: Any) -> np.ndarray:
        """All rows, here."""
        return array.gather() if isinstance(array, SpreadArray) else array

    def one_blas_thread(self) -> contextlib.AbstractContextManager:
        """Workers have theirs."""
        return contextlib.nullcontext()

    def free_memory(self) -> float:
        """Bytes that arrays with a row for each point may take: as much as the fullest worker holds of its part."""
        found = self.workers.answers(self.map(_free_memory, self.engines))
        shares = [self.homes.count(home) for home in self.homes]
        return min(free / (share * size) for free, share, size in zip(found, shares, self.sizes, strict=True)) * self.n

    def spare_memory(self) -> float:
        """None."""
        return 0.0

    def rates(self, dtype: str, *, memory: bool = True) -> Rates:
        """Those of the first worker."""
        asked = self.workers.submit(_rates, self.engines[0], dtype, memory, home=self.homes[0])
        return self.workers.answers([asked])[0]


def homes(workers: Workers, count: int) -> list[str]:
    """The workers of so many parts, one after the other."""
    return [workers.names[k * len(workers.names) // count if count > len(workers.names) else k] for k in range(count)]


def gram_with(F: Array, rows_per_point: int) -> KernelOperator:
    """On a worker: F Fᵀ of one part."""
    return wrap(Gram(F), rows_per_point=rows_per_point)


def _placed(array: np.ndarray, engine: str) -> Array:
    return moved(array, named(engine))


def _free_memory(engine: str) -> float:
    return float(named(engine).free_memory())


def _rates(engine: str, dtype: str, memory: bool) -> Rates:
    return named(engine).rates(dtype, memory=memory)
