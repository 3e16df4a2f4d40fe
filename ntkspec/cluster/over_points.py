"""Products of a kernel in parts: what the rows of one part contribute, and their rows of the result."""

from typing import Any, Protocol

from ntkspec.engines.arrays import Array
from ntkspec.operators import Diagonal, KernelOperator, LinearCombination


class OverPoints(Protocol):
    """A kernel whose products go through sums over its points, which parts of them add up to."""

    def local_vjp(self, V: Array) -> Any:
        """What these points contribute to products of all points with a few vectors, for their rows V (n', k): arrays,
        and lists of them.

        It adds up over parts of the points, and does not grow with n.
        """

    def local_jvp(self, total: Any) -> Array:
        """These points' rows of the product (n, k), from the sum of all points' :meth:`local_vjp`."""


def goes_through_sums(operator: KernelOperator) -> bool:
    """Whether the operator is of that kind; else products take all pairs of points."""
    if isinstance(operator, LinearCombination):
        return all(goes_through_sums(term) for _, term in operator.terms)
    return isinstance(operator, Diagonal) or hasattr(operator, "local_vjp")


def local_vjp(operator: KernelOperator, V: Array) -> Any:
    """:meth:`OverPoints.local_vjp` of an operator, of a sum a list with that of each term."""
    if isinstance(operator, LinearCombination):
        return [local_vjp(term, V) for _, term in operator.terms]
    return [] if isinstance(operator, Diagonal) else operator.local_vjp(V)  # type: ignore[attr-defined]


def local_jvp(operator: KernelOperator, total: Any, V: Array) -> Array:
    """The operator's rows of the product with vectors whose rows are V, from the sum of :func:`local_vjp`."""
    if isinstance(operator, LinearCombination):
        parts = [c * local_jvp(term, part, V) for (c, term), part in zip(operator.terms, total, strict=True)]
        return sum(parts[1:], start=parts[0])
    if isinstance(operator, Diagonal):
        return operator._multiplied(V)
    return operator.local_jvp(total)  # type: ignore[attr-defined]
