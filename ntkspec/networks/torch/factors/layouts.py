"""Which entries of a tensor belong to which point."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Points of the two small passes by which a layout is found: with three, points that lie one after the other and points
# that lie side by side cannot be taken for each other.
PROBES, FEWER = 3, 2


@dataclass(frozen=True)
class Layout:
    """Axis ``axis`` has ``outer`` times n times ``inner`` entries, in that order, for n points."""

    axis: int
    outer: int
    inner: int

    def points_first(self, t: Tensor, n: int) -> Tensor:
        """(n, outer * inner, the other axes in their order); no copy where the points come first already."""
        shape = t.shape
        if shape[self.axis] != self.outer * n * self.inner:
            raise Rearranged(f"{n} points gave a tensor of shape {tuple(shape)}")
        split = t.reshape(*shape[: self.axis], self.outer, n, self.inner, *shape[self.axis + 1 :])
        front = split.movedim((self.axis + 1, self.axis, self.axis + 2), (0, 1, 2))
        return front.reshape(n, self.outer * self.inner, *shape[: self.axis], *shape[self.axis + 1 :])


class Rearranged(Exception):
    """A pass over other points computed something else than the probes did."""


def layouts(axes: Sequence[int], many: tuple[int, ...], few: tuple[int, ...]) -> list[Layout]:
    """Those of a tensor that has shape ``many`` for PROBES points and ``few`` for FEWER, along one of some axes.

    Points one after the other first, then side by side, then in between.
    """
    if len(many) != len(few):
        return []
    changed = [axis for axis, (m, f) in enumerate(zip(many, few, strict=True)) if m != f]
    if len(changed) != 1 or changed[0] not in axes:
        return []
    axis = changed[0]
    each, rest = divmod(many[axis], PROBES)
    if rest or few[axis] != FEWER * each:
        return []
    divisors = [outer for outer in range(1, each + 1) if each % outer == 0]
    ordered = sorted(divisors, key=lambda outer: (outer != 1, outer != each, outer))
    return [Layout(axis, outer, each // outer) for outer in ordered]


def fitting(found: Sequence[Layout], marks: Sequence[Tensor]) -> Layout | None:
    """The layout in which each point's marks, where it certainly has a part in the tensor of all, are in its own."""
    if not all(bool(mark.any()) for mark in marks):
        return None
    return next((layout for layout in found if _fits(layout, marks)), None)


def _fits(layout: Layout, marks: Sequence[Tensor]) -> bool:
    """Whether each point's marks are in its own entries only."""
    for i, mark in enumerate(marks):
        parts = layout.points_first(mark, PROBES).flatten(1).any(dim=1)
        if bool(parts[torch.arange(PROBES, device=parts.device) != i].any()):
            return False
    return True
