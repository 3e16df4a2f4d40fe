"""Nodes of the autograd graph: what they compute, and the numbers that they keep."""

from typing import Any


def kind(node: Any) -> str:
    """The operation of a node: "Addmm" of an AddmmBackward0."""
    return node.name().split("Backward")[0]


def shapes(node: Any) -> tuple[tuple[int, ...], ...]:
    """The shapes of the outputs of an operation."""
    return tuple(tuple(one.shape) for one in node._input_metadata or ())


def whole(number: int) -> int:
    """A number that was kept without its sign."""
    return number - 2**64 if number >= 2**63 else number
