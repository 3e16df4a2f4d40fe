r"""One kernel whose points lie on the workers of a Dask cluster.

Each worker keeps parts of the points: their rows of the factors and of every vector. Where the products of a kernel go
through sums over its points, a product is a map (``local_vjp``: what a part's rows contribute), a sum, and a map
(``local_jvp``: its rows of the product), and what moves has the size of the parameters, not of n. Elsewhere each part
multiplies with its own points and with those of the others, one part after the other.
"""

import math
from collections.abc import Callable, Sequence
from io import FileIO
from typing import Any

import numpy as np

from ntkspec import checks, progress
from ntkspec.cluster import pieces
from ntkspec.cluster.connection import Patience
from ntkspec.cluster.in_parts import InParts
from ntkspec.cluster.parts import Parts, homes
from ntkspec.cluster.pieces import Facts
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.cluster.spread_basis import SpreadBasis
from ntkspec.cluster.spread_columns import SpreadColumns
from ntkspec.cluster.workers import Result, Workers, given
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import Diagonal, KernelOperator, LinearCombination, Rounding, wrap
from ntkspec.operators.rounding import HALF_ULP


def kernel(
    build: Callable[[Any], KernelOperator], parts: Sequence[Any], *, scheduler: str, patience: Patience | None = None
) -> KernelOperator:
    """A kernel whose points lie on the workers of a Dask cluster; norms, eigenpairs, densities and predictions take it.

    Parameters
    ----------
    build : function
        From one of the ``parts`` to the kernel on its points alone, (n', n'). It runs on a worker, which keeps what it
        returns. All parts have one network, one dtype and one scale. Where it gives a kernel of test points against
        those of its part, (t, n'), the result is the test kernel (t, n). Where it moves its points to a GPU, the
        worker's GPU computes and keeps the rows.
    parts : sequence
        Row ranges, file names: anything that can be sent. Their points stand behind one another in this order.
    scheduler : str
        Address of a Dask scheduler, such as "tcp://10.0.0.1:8786".
    patience : Patience, optional
        How long scheduler and workers are waited for, and how often tasks are tried (default: ``Patience()``).

    Returns
    -------
    KernelOperator
        (n, n) for n points in all, or (t, n). Arrays with a row for each point that come of it are
        :class:`ntkspec.cluster.SpreadArray`: their rows stay on the workers until ``gather()``, or go from there into a
        file.

    Raises
    ------
    ValueError
        Where no scheduler answers, a worker has another version of the package, ``build`` fails or gives what cannot be
        spread (the part is named), or parts do not fit together.

    Notes
    -----
    Kernels of two-layer and deep networks, linear models and sums of them move O(m d) numbers a product to and from
    each worker; kernels that are known by their entries, such as those of infinite width, move the points: n d numbers
    to each worker, one part at a time. A part that is lost with its worker is built again on another one, and so is
    what was computed from it, with the same bits on machines of one kind. So is everything where the scheduler is lost
    and is back in time (``patience``).

    ``checkpoint=PATH`` of norms, eigenpairs and densities is a file in a folder that all machines share. There each
    worker writes its rows of the products into the folder PATH.parts, and PATH says which are whole. After the loss of
    the scheduler the same call, with a kernel of the same parts on any workers, goes on from them with the same bits;
    what a lost worker held of a product is read from there too. The file of another kernel is refused. Cost: 8 n bytes
    a product, which is written and read once, and the digest of each vector.

    :func:`ntkspec.save_result` writes arrays from the workers into one file, one part after the other.

    Examples
    --------
    >>> import ntkspec as ns
    >>> def build(rows):
    ...     return ns.operators.Gram(ns.datasets.gaussian(1000, 5).X[rows])
    >>> parts = [slice(0, 500), slice(500, 1000)]
    >>> K = ns.cluster.kernel(build, parts, scheduler="tcp://10.0.0.1:8786")  # doctest: +SKIP
    >>> ns.spectral_norm(K), ns.eigsh(K, 10).vectors.gather()  # doctest: +SKIP
    """
    parts = list(parts)
    if not parts:
        raise ValueError("parts is empty; at least one part of the points is needed")
    return built(Workers.of(scheduler, patience), build, parts)


def built(workers: Workers, build: Callable[[Any], KernelOperator], parts: Sequence[Any]) -> KernelOperator:
    """:func:`kernel` on workers."""
    at = homes(workers, len(parts))
    operators = [workers.submit(pieces.built, build, part, k, home=at[k]) for k, part in enumerate(parts)]
    return spread(workers, operators)


def spread(workers: Workers, operators: Sequence[Result]) -> KernelOperator:
    """The kernel of parts that are being built."""
    at = homes(workers, len(operators))
    with progress.bar(text="kernel, cluster (parts)"):
        found = workers.answers([workers.submit(pieces.facts, one, home=at[k]) for k, one in enumerate(operators)])
    _require_one_kernel(found)
    square = found[0].shape[0] == found[0].shape[1] and found[0].symmetric
    sizes = [one.shape[1] // one.rows_per_point for one in found]
    parts = Parts.of(workers, sizes, [one.engine for one in found])
    return SpreadKernel(parts, operators, found) if square else SpreadColumns(parts, operators, found)


def _require_one_kernel(found: Sequence[Facts]) -> None:
    """Raises ValueError, with the number of the part, where a part does not go with the first one."""
    first = found[0]
    for k, one in enumerate(found):
        for what in ("dtype", "rows_per_point", "kind", "symmetric"):
            if getattr(one, what) != getattr(first, what):
                raise ValueError(
                    f"part {k} has the {what} {getattr(one, what)}, but part 0 has {getattr(first, what)}; the parts "
                    f"of one kernel differ in their points only"
                )
        if not first.symmetric and one.shape[0] != first.shape[0]:
            raise ValueError(
                f"part {k} has shape {one.shape}, but a symmetric kernel of its own points is needed, or the same "
                f"{first.shape[0]} test points against them"
            )
        if not one.sums and not one.pairs and first.symmetric:
            raise ValueError(
                f"part {k} is {one.kind}, which cannot be spread: it has neither sums over its points (local_vjp and "
                f"local_jvp) nor a method against(other)"
            )


class SpreadKernel(InParts):
    """A symmetric kernel in parts; ``operators`` are those on the points of each part alone."""

    symmetric = True

    def __init__(self, parts: Parts, operators: Sequence[Result], facts: Sequence[Facts]):
        super().__init__(parts, operators, facts)
        self.engine = parts  # type: ignore[assignment]
        self.shape = (parts.n * self.rows_per_point,) * 2
        self.semidefinite, self.entrywise = all(one.semidefinite for one in facts), all(one.pairs for one in facts)

    @property
    def rounding(self) -> Rounding:
        """Norms of absolute values add up over the points. The longest path gathers in one part, goes through the sum
        over parts, and scatters in another; where products take all pairs, it goes through all parts."""
        found = [one.rounding for one in self.facts]
        total = sum(one.norm_of_absolute for one in found)
        adding = HALF_ULP if all(one.widens for one in self.facts) else float(np.finfo(self.dtype).eps) / 2

        def bound(name):
            paths = [getattr(one, name) / one.norm_of_absolute for one in found if one.norm_of_absolute]
            longest = 2 * max(paths, default=0.0) if self.facts[0].sums else sum(paths)
            return (longest + len(found) * adding) * total

        return Rounding(total, bound("matvec_error_bound"), bound("forming_error_bound"))

    def lanczos_basis(self) -> SpreadBasis:
        """Where Lanczos keeps its vectors."""
        return SpreadBasis(self)

    def checkpointed(self, file: FileIO) -> "SpreadKernel":
        """The kernel that keeps its products: in the file what they are, and beside it the rows of each part."""
        from ntkspec.cluster.checkpoints import CheckpointedKernel  # which is built on this module

        return CheckpointedKernel(self, file)

    # ----------------------------------------------------------------------------------------------------- products
    def __matmul__(self, V: ArrayLike) -> SpreadArray:  # type: ignore[override]
        """``K @ V`` for a vector (n,) or a block (n, k), of the cluster or NumPy's; its rows stay on the workers."""
        return self.multiplied(self._block(V).T).T.reshape(np.shape(V))

    def multiplied(self, block: SpreadArray) -> SpreadArray:
        """Products with the vectors of a block (k, n)."""
        if self.facts[0].sums:
            terms = self.parts.map(pieces.gathered, self.operators, block.pieces)
            total = self.parts.same(self.parts.workers.summed(terms))
            found = self.parts.map(pieces.scattered, self.operators, total, block.pieces)
        else:
            found = self._by_pairs(block)
        return SpreadArray(self.parts, found, block.shape, block.dtype, 1)

    def _by_pairs(self, block: SpreadArray) -> list[Result]:
        """Each part with its own points, and then with those of the next ones: no worker holds more than one other part
        of each that it keeps."""
        parts, workers, count = self.parts, self.parts.workers, len(self.parts)
        found = parts.map(pieces.multiplied, self.operators, parts.same(None), block.pieces)
        for ahead in range(1, count):
            turn = [(k + ahead) % count for k in range(count)]
            others = [workers.submit(given, self.operators[k], home=parts.homes[k]) for k in turn]
            terms = parts.map(pieces.multiplied, self.operators, others, [block.pieces[k] for k in turn])
            found = parts.map(pieces.added_pair, found, terms)
            workers.finished(found)
        return found

    # ------------------------------------------------------------------------------------------------------- entries
    @cached_property
    def _squares(self) -> tuple[float, float]:
        """Of all pairs of parts, each pair once."""
        parts, workers, count = self.parts, self.parts.workers, len(self.parts)
        sums = workers.answers(parts.map(pieces.squares, self.operators, parts.same(None)))
        totals = [sums]
        for ahead in progress.bar(range(1, count // 2 + 1), text="Frobenius norm (pairs of parts)"):
            ones = range(count // 2) if 2 * ahead == count else range(count)
            tasks = []
            for k in ones:
                other = workers.submit(given, self.operators[(k + ahead) % count])
                tasks.append(workers.submit(pieces.squares, self.operators[k], other, home=parts.homes[k]))
            totals.append([(2 * size, 2 * error) for size, error in workers.answers(tasks)])
        found = [pair for some in totals for pair in some]
        return checks.finite_sum(size for size, _ in found), math.fsum(error for _, error in found)

    def diagonal(self, dtype: DTypeLike | None = None) -> SpreadArray:  # type: ignore[override]
        """On the workers."""
        dtype = np.dtype(dtype or self.dtype)
        found = self.parts.map(pieces.diagonal, self.operators, self.parts.same(dtype))
        return SpreadArray(self.parts, found, self.shape[:1], dtype, 0)

    def row_weights(self) -> SpreadArray:  # type: ignore[override]
        found = self.parts.map(pieces.weights, self.operators)
        return SpreadArray(self.parts, found, self.shape[:1], np.float64, 0)

    def to_dense(self, dtype: DTypeLike | None = None) -> Array:
        """Refused: no machine holds all pairs of points."""
        raise ValueError("the points of this kernel lie on workers, and no whole matrix is formed; use its products")

    # ------------------------------------------------------------------------------------------------------- algebra
    def _like_these(self, other: Any) -> InParts:
        """A sum of diagonal matrices, in the same parts."""
        other = wrap(other)
        terms = other.terms if isinstance(other, LinearCombination) else [(1.0, other)]
        if other.shape != self.shape or not all(isinstance(term, Diagonal) for _, term in terms):
            return super()._like_these(other)
        entries = self.parts.placed(other.diagonal())
        made = self.parts.map(pieces.diagonal_of, entries.pieces, self.parts.same(self.rows_per_point))
        return spread(self.parts.workers, made)  # type: ignore[return-value]
