"""What kernels whose points lie on workers have in common: their parts, what these cost, and sums of such kernels."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.cluster import pieces
from ntkspec.cluster.parts import Parts
from ntkspec.cluster.pieces import Facts
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.cluster.workers import Result
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators import Cost, KernelOperator


class InParts(KernelOperator):
    """A kernel in parts of its columns; ``operators`` are those of each part, and ``facts`` what is known of them."""

    spread = True

    def __init__(self, parts: Parts, operators: Sequence[Result], facts: Sequence[Facts]):
        self.parts, self.operators, self.facts = parts, list(operators), list(facts)
        self.rows_per_point, self.dtype = facts[0].rows_per_point, facts[0].dtype
        self.storage_error = float(sum(one.storage_error for one in facts))

    def __getstate__(self) -> dict:
        raise TypeError("a kernel on a cluster is not pickled; it lives as long as its connection")

    @property
    def rows_of_parts(self) -> list[int]:
        """Rows of each."""
        return [self.rows_per_point * size for size in self.parts.sizes]

    @property
    def cost(self) -> Cost:
        """A product takes what the largest part takes; entries are formed by all workers at once."""
        slowest = max((one.product for one in self.facts), key=lambda work: work.nominal_seconds)
        workers = len(set(self.parts.homes))
        return Cost(slowest * -(-len(self.parts) // workers), own=(1 / workers) * self.facts[0].entry)

    @property
    def product_in_float64(self) -> Any:
        return self.cost.product

    def _block(self, V: ArrayLike) -> SpreadArray:
        """The factor of a product, (n,) or (n, k), as a block (n, k) in the dtype of the product."""
        V = self.parts.placed(checks.as_floats(V, "the factor of a product"))
        if not isinstance(V, SpreadArray) or V.ndim not in (1, 2) or V.shape[0] != self.shape[1]:
            raise ValueError(f"a kernel of shape {self.shape} cannot multiply an array of shape {V.shape}")
        return V.reshape(self.shape[1], -1).astype(np.result_type(self.dtype, V.dtype))

    def _matmat(self, V: Array) -> Array:
        return self @ V

    # ------------------------------------------------------------------------------------------------------- entries
    @property
    @abstractmethod
    def _squares(self) -> tuple[float, float]:
        """The sum of the squared entries, and the square of their error: both add up over what the tasks take."""

    def sum_of_squares(self) -> float:
        """Of all entries."""
        if self.frobenius_squared is None:
            return self.keep_frobenius_squared(self._squares[0])
        return self.frobenius_squared

    @property
    def _forming_error(self) -> float:
        return math.sqrt(self._squares[1])

    # ------------------------------------------------------------------------------------------------------- algebra
    def __add__(self, other: Any) -> KernelOperator:
        if isinstance(other, Real):
            return super().__add__(other)
        if not isinstance(other, InParts):
            other = self._like_these(other)
        if other.parts is not self.parts or other.shape != self.shape:
            raise ValueError(
                f"kernels of shapes {self.shape} and {other.shape} in parts {checks.shown(self.parts.sizes)} and "
                f"{checks.shown(other.parts.sizes)} cannot be added; build both from the same parts, with one scheduler"
            )
        return self._combined([1.0, 1.0], [self.operators, other.operators])

    __radd__ = __add__

    def __mul__(self, scalar: float) -> KernelOperator:
        if not isinstance(scalar, int | float | np.number):
            return super().__mul__(scalar)
        return self._combined([float(scalar)], [self.operators])

    __rmul__ = __mul__

    def _like_these(self, other: Any) -> "InParts":
        """What lies in this process, in the same parts; refused unless a subclass knows how."""
        raise ValueError(
            f"a kernel {self.shape} on a cluster and one {other.shape} here cannot be added; a multiple of the "
            f"identity can, and other kernels built from the same parts"
        )

    def _combined(self, factors: list[float], operators: list[list[Result]]) -> KernelOperator:
        from ntkspec.cluster.kernel import spread  # which is built on this module

        columns = [list(own) for own in zip(*operators, strict=True)]
        made = self.parts.map(pieces.combined, self.parts.same(factors), columns)
        return spread(self.parts.workers, made)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}): {self.where}"

    @property
    def where(self) -> str:
        """How many parts and workers."""
        return f"{len(self.parts)} parts on {len(set(self.parts.homes))} workers"
