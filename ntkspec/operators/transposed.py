"""The transpose of an operator that has none of its own."""

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.entrywise import EntrywiseOperator
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.tiles import Rows
from ntkspec.operators.work import Cost


class Transposed(EntrywiseOperator):
    """Kᵀ of an operator K that is not symmetric; products are ``K._rmatmat``, cost and rounding those of K."""

    def __init__(self, operator: KernelOperator):
        self.operator, self.engine = operator, operator.engine
        self.shape, self.dtype = operator.shape[::-1], operator.dtype
        self.entrywise, self.storage_error = operator.entrywise, operator.storage_error
        self.rows_per_point, self.takes_all_threads = operator.rows_per_point, operator.takes_all_threads

    def _tile(self, rows: Rows, cols: slice, dtype: np.dtype) -> Array:
        if isinstance(rows, slice):
            return self.operator.tile(cols, rows, dtype).T
        first, last = int(rows.min()), int(rows.max()) + 1
        return self.operator.tile(cols, slice(first, last), dtype).T[rows - first]

    def _matmat(self, V: Array) -> Array:
        return self.operator._rmatmat(V)

    def _rmatmat(self, V: Array) -> Array:
        return self.operator._matmat(V)

    @property
    def cost(self) -> Cost:
        return self.operator.cost

    @property
    def rounding(self) -> Rounding:
        return self.operator.rounding

    @property
    def T(self) -> KernelOperator:
        return self.operator
