r"""One kernel whose points live on the workers of a Dask cluster: its spectral norm, with the same certificate.

Each worker keeps a part of the points: its rows of the factors and of every Lanczos vector. A product is a map
(``local_vjp``: what the part's rows contribute), a reduce, and a map (``local_jvp``: its rows of the product), so that
an iteration moves O(m d) numbers to and from each worker, and nothing that grows with n. The rows lie where the
part's kernel computes, in memory or on a GPU; what travels is NumPy's.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ntkspec import checks, progress
from ntkspec.cluster.execution import all_done, client_of
from ntkspec.engines import engine_of, moved
from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator, LinearCombination, Rounding
from ntkspec.operators.planning import Plan
from ntkspec.spectra.certificates import FailureBudget, prove
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.norms import norm_of, target_interval
from ntkspec.spectra.results import Estimate, collect

# What sums over the parts add to the roundings of one part's products.
SUMMING = 2.0
# Seconds between two looks at the workers while the kernels are built.
LOOK_EVERY = 2.0
LOST = "a worker that held a part of the points was lost; run this again"


def spectral_norm(
    build: Callable[..., Any],
    parts: Sequence[Any],
    *,
    scheduler: str,
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    """The spectral norm of a symmetric kernel on the points of all parts, as an interval.

    Parameters
    ----------
    build : function
        From one of the ``parts`` to the kernel on its points alone, a sum of Theta_1, Theta_2 and linear kernels with
        one network and one trace_ratio. It runs on a worker, which keeps what it returns. Where it moves its points
        with ``cupy.asarray`` and its network with ``.to("gpu")``, the worker's GPU computes and keeps the rows.
    parts : sequence
        Row ranges, file names: anything that can be sent. Parts on GPUs and on CPUs go together.
    scheduler : str
        Address of a Dask scheduler. Start one worker for each GPU, with CUDA_VISIBLE_DEVICES: a GPU chosen by
        cupy.cuda.Device is that of one thread, and a worker has several.
    rtol : float, default 1e-3
        Relative width of the interval.
    failure_probability : float, default 1e-6
        A bound on the probability, over the random start block, that the norm lies above the interval.
    seed : int, default 0
        Of the start block.

    Returns
    -------
    Estimate
        ``value``, the largest |Ritz value|; ``lower`` and ``upper``, the interval; ``products``, how many vectors were
        multiplied; ``converged``, whether the interval is as narrow as asked for; ``plan`` and ``evidence``.

    Raises
    ------
    ValueError
        Where a kernel is not symmetric or not such a sum, where no scheduler answers, and where a worker dies: what it
        held is lost, and the call has to be made again.

    Notes
    -----
    The certificate is that of :func:`ntkspec.spectral_norm`. Each worker holds n_w (m + d) numbers of its n_w points
    and 8 n_w bytes for each Lanczos vector; each block of two products moves 2 (m d + d + 2) numbers to and from it for
    each of Theta_1 and the rest.

    Examples
    --------
    >>> import ntkspec as ns
    >>> def build(rows):
    ...     return ns.operators.Gram(ns.datasets.gaussian(1000, 5).X[rows])
    >>> parts = [slice(0, 500), slice(500, 1000)]
    >>> norm = ns.cluster.spectral_norm(build, parts, scheduler="tcp://10.0.0.1:8786")  # doctest: +SKIP
    """
    checks.accuracy(rtol, failure_probability, seed)
    with client_of(scheduler) as client, progress.bar(text="spectral norm, cluster (products)") as bar:
        start = time.perf_counter()
        lanczos = ShardedLanczos(_shards(client, build, parts))
        built = time.perf_counter() - start
        outcome = prove(
            lanczos,
            target_interval(lanczos.operator.storage_error, rtol),
            FailureBudget(failure_probability, seed),
            bar,
        )
        each = (time.perf_counter() - start - built) / max(1, lanczos.products)
        plan = Plan("cluster", 0, built, each, lanczos.products, f"{len(parts)} parts")
        evidence = collect(lanczos, (outcome.lowest, outcome.highest), failure_probability)
        return replace(norm_of(evidence, rtol, plan), products=lanczos.products)


def _shards(client, build: Callable, parts: Sequence) -> list:
    """The shards, once they stand. Where a worker is lost meanwhile, its part would go to the next one, and where none
    is left, it would be waited for without end."""
    workers = set(client.nthreads())
    shards = [client.submit(Shard, build, part, k, actor=True) for k, part in enumerate(parts)]
    while not all_done(shards, LOOK_EVERY):
        lost = workers - set(client.nthreads())
        if lost:
            raise ValueError(f"{LOST}: {', '.join(sorted(lost))}")
    return _answers(shards)


def _answers(futures: Sequence) -> list:
    """The results; what a worker takes with it when it dies is said."""
    try:
        return [future.result() for future in futures]
    except (OSError, RuntimeError, CancelledError) as error:
        raise ValueError(f"{LOST}: {error}") from None


class OverPoints(Protocol):
    """A kernel whose products go through sums over its points, which parts of them add up to."""

    def local_vjp(self, V: Array) -> Array:
        """What these points contribute to products of all points with a few vectors, for their rows V (n', k).

        It adds up over parts of the points, and does not grow with n.
        """

    def local_jvp(self, total: Array) -> Array:
        """These points' rows of the product (n, k), from the sum of all points' :meth:`local_vjp`."""


def local_vjp(operator: KernelOperator, V: Array) -> Any:
    """:meth:`OverPoints.local_vjp` of an operator, of a sum a list with that of each term."""
    if isinstance(operator, LinearCombination):
        return [local_vjp(term, V) for _, term in operator.terms]
    return _over_points(operator).local_vjp(V)


def local_jvp(operator: KernelOperator, total: Any) -> Array:
    """The operator's rows of the product, from the sum of :func:`local_vjp` over all parts."""
    if isinstance(operator, LinearCombination):
        parts = [c * local_jvp(term, part) for (c, term), part in zip(operator.terms, total, strict=True)]
        return sum(parts[1:], start=parts[0])
    return _over_points(operator).local_jvp(total)


def _over_points(operator: Any) -> OverPoints:
    if not hasattr(operator, "local_vjp"):
        raise ValueError(
            f"{type(operator).__name__} cannot be spread over machines; sums of Theta_1, Theta_2 and linear kernels can"
        )
    return operator


class Shard:
    """The points of one part: the kernel on them, and their rows of the basis and of the block that is worked on.

    Rows lie on the kernel's device; arguments and answers are NumPy's.
    """

    def __init__(self, build: Callable[[Any], KernelOperator], part: Any, index: int):
        self.operator, self.index = build(part), index
        if not isinstance(self.operator, KernelOperator) or not self.operator.symmetric:
            raise ValueError(f"build({part!r}) gave {self.operator!r}, but a symmetric kernel operator is needed")
        self.engine = self.operator.engine
        self.basis, self.block = (self.engine.xp.empty((room, self.operator.shape[0])) for room in (16, 0))

    def facts(self) -> tuple:
        """Points, dtype, semidefinite, rounding, storage error."""
        K = self.operator
        return K.shape[0], K.dtype.str, K.semidefinite, K.rounding, K.storage_error

    def fitting(self, share: float) -> int:
        """How many vectors fit into this share of the free memory where the rows lie."""
        return int(share * self.engine.free_memory() / (8 * self.operator.shape[0]))

    def draw(self, entropy: Any, spawn_key: tuple[int, ...], block: int) -> None:
        """A Gaussian block, from a stream of this part's own."""
        rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(*spawn_key, self.index)))
        self.block = self._placed(rng.standard_normal((block, self.operator.shape[0])))

    def gather(self, first: int, last: int) -> Any:
        """What these rows contribute to products with vectors first to last of the basis."""
        vectors = self.engine.xp.ascontiguousarray(self.basis[first:last].T)
        return _each(self.engine.to_host, local_vjp(self.operator, vectors))

    def scatter(self, total: Any) -> np.ndarray:
        """Make the rows of the product the block; returns its squared norms, which are not finite where it is not."""
        product = local_jvp(self.operator, _each(self._placed, total))
        self.block = self.engine.xp.ascontiguousarray(product.T)
        return self.squares()

    def squares(self) -> np.ndarray:
        """Squared norms of the block's rows."""
        return self.engine.to_host(self.engine.xp.square(self.block).sum(axis=1))

    def overlaps(self, count: int) -> np.ndarray:
        """Of the first vectors of the basis with the block, (count, b)."""
        return self.engine.to_host(self.basis[:count] @ self.block.T)

    def subtract(self, overlaps: np.ndarray) -> None:
        """overlapsᵀ times the first vectors from the block."""
        self.block = self.block - self._placed(overlaps).T @ self.basis[: len(overlaps)]

    def triangle(self) -> np.ndarray:
        """R of the block's transpose: of all of them together comes that of the whole block."""
        return self.engine.to_host(self.engine.xp.linalg.qr(self.block.T, mode="r"))

    def mix(self, matrix: np.ndarray) -> None:
        """The block times a small matrix from the left."""
        self.block = self._placed(matrix) @ self.block

    def append(self, used: int) -> None:
        """The block behind the first ``used`` vectors of the basis, which grows by half where it is full."""
        rows = used + len(self.block)
        if rows > len(self.basis):
            larger = self.engine.xp.empty((max(rows, 3 * len(self.basis) // 2), self.basis.shape[1]))
            larger[:used] = self.basis[:used]
            self.basis = larger
        self.basis[used:rows] = self.block

    def gram(self, count: int) -> np.ndarray:
        """Overlaps of the first vectors with one another."""
        return self.engine.to_host(self.basis[:count] @ self.basis[:count].T)

    def _placed(self, small):
        return moved(small, self.engine)


def _each(function: Callable, found):
    """The function of one operator's :func:`local_vjp`, or of each term's of a sum."""
    return [function(term) for term in found] if isinstance(found, list) else function(found)


class _Rows:
    """Vectors on the shards: how many, from which place, of which length."""

    def __init__(self, first: int, last: int, n: int):
        self.first, self.last, self.shape, self.size = first, last, (last - first, n), (last - first) * n

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice):
        first, last, _ = rows.indices(len(self))
        return _Rows(self.first + first, self.first + last, self.shape[1])


class _Whole:
    """What Lanczos asks of the operator, from the facts of all shards."""

    symmetric = stored = True

    def __init__(self, facts: list[tuple]):
        sizes, dtypes, semidefinite, rounding, storage_errors = zip(*facts, strict=True)
        if len(set(dtypes)) > 1:
            raise ValueError(f"the parts have dtypes {sorted(set(dtypes))}, but one kernel has one dtype")
        self.shape, self.engine = (sum(sizes), sum(sizes)), engine_of()
        self.semidefinite, self.storage_error = all(semidefinite), float(sum(storage_errors))
        # Norms of absolute values add up over the points, and so do the bounds that are relative to them.
        self.rounding = Rounding(
            float(sum(part.norm_of_absolute for part in rounding)),
            SUMMING * float(sum(part.matvec_error_bound for part in rounding)),
            SUMMING * float(sum(part.forming_error_bound for part in rounding)),
        )


class ShardedLanczos(Lanczos):
    """:class:`Lanczos` whose vectors never leave the workers."""

    def __init__(self, shards: list):
        self.shards = shards
        super().__init__(_Whole(self._all("facts")))  # type: ignore[arg-type]
        self.basis = _Rows(0, 0, self.operator.shape[0])

    def _all(self, method: str, *arguments) -> list:
        """The method of every shard, at the same time."""
        return _answers([getattr(shard, method)(*arguments) for shard in self.shards])

    def begin_random(self, seed: np.random.SeedSequence, block: int) -> None:
        """Start from a Gaussian block, each part from its own stream."""
        block = min(block, self.operator.shape[0])
        self._all("draw", seed.entropy, seed.spawn_key, block)
        self._begin(_Rows(0, block, self.operator.shape[0]))

    def _product(self, block):
        parts = self._all("gather", block.first, block.last)
        total = [sum(terms) for terms in zip(*parts, strict=True)] if isinstance(parts[0], list) else sum(parts)
        squares = sum(self._all("scatter", total))
        if not np.isfinite(squares).all():
            raise ValueError(f"a product after {self.products} with the kernel holds NaN or infinity")
        self.products += len(block)
        return _Rows(0, len(block), self.operator.shape[0])

    def _sizes(self, W):
        return np.sqrt(sum(self._all("squares")))

    def _without(self, W, known):
        overlaps = sum(self._all("overlaps", len(known)))
        self._all("subtract", overlaps)
        return overlaps, W

    def _factored(self, W, rounding, room):
        R = np.linalg.qr(np.vstack(self._all("triangle")), mode="r") if len(W) else np.zeros((0, 0))
        _, sizes, V = np.linalg.svd(R, full_matrices=False)
        kept = min(int((sizes > max(rounding, np.finfo(np.float64).tiny)).sum()), room)
        self._all("mix", V[:kept] / sizes[:kept, None])
        dropped = float(np.linalg.norm(sizes[kept:]))
        return sizes[:kept, None] * V[:kept], _Rows(0, kept, self.operator.shape[0]), dropped

    def _append(self, rows):
        used = self.locked + self.size
        self.residual_width = len(rows)
        self.reserve(used + self.residual_width)
        self._all("append", used)

    def fitting(self, share: float) -> int:
        """How many vectors fit on every worker."""
        return min(self._all("fitting", share))

    def reserve(self, rows: int) -> None:
        """Room in T; the shards make room as they need it."""
        if rows > len(self.basis):
            self.basis = _Rows(0, rows, self.operator.shape[0])
        if rows > len(self._T):
            self._T = np.pad(self._T, (0, max(rows, 2 * len(self._T)) - len(self._T)))

    def orthogonality_loss(self) -> float:
        """|Q Qᵀ - I| in Frobenius norm."""
        count = self.locked + self.size
        return float(np.linalg.norm(sum(self._all("gram", count)) - np.eye(count)))
