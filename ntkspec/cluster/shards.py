"""One part of a kernel's points on a worker, and what it adds to the products of all."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ntkspec.engines import moved
from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator, LinearCombination


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
