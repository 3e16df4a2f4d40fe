"""A diagonal matrix, such as the identity."""

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.gram import Gram
from ntkspec.operators.stored import Stored
from ntkspec.operators.tiles import Tile
from ntkspec.operators.work import Cost, Work


class Diagonal(Stored):
    """diag(entries), such as the identity.

    Parameters
    ----------
    entries : array, shape (n,), float32 or float64
        Finite numbers; kept, not copied.

    Notes
    -----
    A product costs n flops for each vector; its norms are exact.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.operators import Diagonal
    >>> Diagonal(np.array([1.0, 2.0])) @ np.ones(2)
    array([1., 2.])
    """

    symmetric = True
    rounding_depth = 2.0

    def __init__(self, entries: ArrayLike):
        entries = checks.as_floats(entries, "the diagonal")
        self.entries = checks.as_vector(entries, "the diagonal", entries.size)
        self.engine = engine_of(self.entries)
        self.shape, self.dtype = (entries.size, entries.size), entries.dtype
        self.semidefinite = bool((self.entries >= 0).all())
        self.cost = Cost(Work.of_reading(3.0 * self.entries.nbytes, self.engine.last_cache()))
        self.frobenius_squared = float(self.engine.tiles.sum_of_squares(self.entries[None, :]))

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        columns = self.engine.xp.arange(tile.cols.start, tile.cols.stop)
        rows = self.engine.xp.arange(self.shape[0])[tile.rows]
        here, there = (rows[:, None] == columns).nonzero()
        out[here, there] += out.dtype.type(scale) * self.entries[rows[here]] if len(here) else 0

    def _matmat(self, V: Array) -> Array:
        return self.entries[:, None] * V

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        return self.entries.astype(dtype or self.dtype)

    def against(self, other: "Diagonal") -> KernelOperator:
        """Zero: the points of another are other points."""
        zeros = (self.engine.xp.zeros((side.shape[0], 1), self.dtype) for side in (self, other))
        return Gram(*zeros)

    @property
    def T(self) -> "Diagonal":
        return self


def identity(n: int, *, dtype: DTypeLike = np.float64) -> Diagonal:
    """The identity (n, n), for ``K + 0.1 * identity(n)``.

    Parameters
    ----------
    n : int
        Rows and columns.
    dtype : float32 or float64, default float64
        That of the kernel it is added to.

    Returns
    -------
    Diagonal
        On the CPU; on a GPU take ``Diagonal(cupy.ones(n, dtype))``.

    Raises
    ------
    ValueError
        Where n is no whole number from 1 on; TypeError for another dtype.

    Examples
    --------
    >>> from ntkspec.operators import identity
    >>> identity(2).to_dense()
    array([[1., 0.],
           [0., 1.]])
    """
    return Diagonal(np.ones(checks.whole_number(n, "n", 1), checks.float_dtype(dtype)))
