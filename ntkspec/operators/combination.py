"""The lazy algebra of operators: sums with factors."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

from ntkspec.engines import Engine
from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.tiles import Tile
from ntkspec.operators.work import Cost, Work


class LinearCombination(KernelOperator):
    """``sum of c * K`` over (c, K) terms of one shape, dtype and engine; nothing is computed until it is asked for.

    Parameters
    ----------
    terms : iterable of (float, KernelOperator)
        Factors and operators.

    Raises
    ------
    ValueError
        Where shapes, dtypes or the rows of a point differ; TypeError where engines do.

    Notes
    -----
    A product costs the products of all terms, a tile each Gram matrix that terms share once.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Gram, identity
    >>> (Gram(np.ones((2, 1))) - 0.5 * identity(2)).to_dense()
    array([[0.5, 1. ],
           [1. , 0.5]])
    """

    def __init__(self, terms: Iterable[tuple[float, KernelOperator]]):
        self.terms = list(terms)
        for _, operator in self.terms:
            operator.check_contract()
        shapes = {operator.shape for _, operator in self.terms}
        dtypes = {operator.dtype for _, operator in self.terms}
        if len(shapes) != 1 or len(dtypes) != 1:
            raise ValueError(
                f"kernels of shapes {sorted(shapes)} and dtypes {sorted(map(str, dtypes))} cannot be combined; "
                f"build them from the same points in one dtype, that of the network too (dtype=np.float32 where X is)"
            )
        self.shape, self.dtype = shapes.pop(), dtypes.pop()
        operators = [operator for _, operator in self.terms]
        self.rows_per_point = _one_count(operators)
        self.engine = _one_engine(operators)
        self.symmetric = all(operator.symmetric for operator in operators)
        self.entrywise = all(operator.entrywise for operator in operators)
        self.columns_are_dear = any(operator.columns_are_dear for operator in operators)
        self.takes_all_threads = any(operator.takes_all_threads for operator in operators)
        self.semidefinite = all(c >= 0 and operator.semidefinite for c, operator in self.terms)
        self.storage_error = sum(abs(c) * operator.storage_error for c, operator in self.terms)

    @cached_property
    def cost(self) -> Cost:
        """The sum of the terms' costs, with the Gram matrices that they share."""
        return Cost.of_sum(operator.cost for _, operator in self.terms)

    @property
    def rounding(self) -> Rounding:
        return Rounding.of_sum((c, operator.rounding) for c, operator in self.terms)

    def tile_terms(self, tile: Tile, scale: float = 1.0) -> Iterable[Any] | None:
        terms: list[Any] = [operator.tile_terms(tile, scale * c) for c, operator in self.terms]
        return None if any(part is None for part in terms) else chain.from_iterable(terms)

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        terms = self.tile_terms(tile, scale)
        if terms is not None:
            self.engine.terms.add(out, terms)
            return
        for c, operator in self.terms:
            operator.accumulate(out, tile, scale * c)

    def _matmat(self, V: Array) -> Array:
        total: Any = 0.0
        for c, operator in self.terms:
            total = total + c * operator._multiplied(V)
        return total

    @property
    def product_in_float64(self) -> Work:
        return sum((operator.product_in_float64 for _, operator in self.terms), Work())

    def row_weights(self) -> Array:
        return _summed([abs(c) * operator.row_weights() for c, operator in self.terms])

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        return _summed([c * operator.diagonal(dtype) for c, operator in self.terms])

    def against(self, other: "LinearCombination") -> "LinearCombination":
        """The kernel of its rows with those of another, term by term."""
        pairs = zip(self.terms, other.terms, strict=True)
        return LinearCombination([(c, one.against(two)) for (c, one), (_, two) in pairs])  # type: ignore[attr-defined]

    @property
    def T(self) -> "LinearCombination":
        return LinearCombination([(c, operator.T) for c, operator in self.terms])

    def low_rank_factors(self) -> Any:
        factors = [operator.low_rank_factors() for _, operator in self.terms]
        if any(pair is None for pair in factors) or any(c < 0 for c, _ in self.terms):
            return None
        roots = [self.dtype.type(c**0.5) for c, _ in self.terms]
        sides = (0,) if all(F is G for F, G in factors) else (0, 1)
        stacked = [
            self.engine.xp.hstack([root * pair[side] for root, pair in zip(roots, factors, strict=True)])
            for side in sides
        ]
        return stacked[0], stacked[-1]


def _summed(arrays: list[Array]) -> Array:
    return sum(arrays[1:], start=arrays[0])


def _one_count(operators: list[KernelOperator]) -> int:
    """Rows of each point: what a term says, as an array does not know that several of its rows are of one point."""
    counts = sorted({operator.rows_per_point for operator in operators} - {1})
    if len(counts) > 1:
        raise ValueError(
            f"kernels with {' and '.join(map(str, counts))} rows for each point cannot be combined; build them from "
            f"networks of as many outputs"
        )
    return counts[0] if counts else 1


def _one_engine(operators: list[KernelOperator]) -> Engine:
    names = sorted({operator.engine.name for operator in operators})
    if len(names) > 1:
        raise TypeError(f"kernels on {' and '.join(names)} cannot be combined; build them from arrays of one device")
    return operators[0].engine
