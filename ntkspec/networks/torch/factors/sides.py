"""The gradients of one parameter at the points of a tile, through the factors of its uses."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ntkspec.networks.torch.factors.held import formed
from ntkspec.networks.torch.factors.outer import Outer
from ntkspec.networks.torch.factors.readings import Factor


class Room:
    """Memory for gradients that is used again and again: new pages take longer than what fills them."""

    def __init__(self) -> None:
        self._held: dict[int, Tensor] = {}

    def take(self, number: int, count: int, like: Tensor) -> Tensor:
        """So many numbers of place ``number``, which hold what was left there."""
        held = self._held.get(number)
        if held is None or len(held) < count:
            self._held[number] = held = like.new_empty(count)
        return held[:count]


@dataclass(frozen=True, eq=False)
class Side:
    """blocks : the factors of the parameter's uses, for consecutive blocks of points. size : of the parameter."""

    blocks: list[list[Factor]]
    size: int

    @property
    def points(self) -> int:
        """n."""
        return sum(len(own[0].tensors[0]) for own in self.blocks)

    @property
    def alone(self) -> Factor | None:
        """The only use, of the first block, where its own gradients have the parameter's inner products."""
        own = self.blocks[0]
        return own[0] if len(own) == 1 and own[0].view.index is None and own[0].view.scale is None else None

    def formed(self) -> "Side":
        """With gradients in place of the factors of an only use."""
        return Side([formed(own) for own in self.blocks], self.size)

    def outer(self) -> Outer:
        """The outer products of all points, of a parameter with one use of that kind."""
        found: list[Any] = [own[0] for own in self.blocks]
        if len(found) == 1:
            return found[0]
        return Outer(torch.cat([one.a for one in found]), torch.cat([one.g for one in found]), found[0].view)

    def tensors(self) -> list[Tensor]:
        """Those of all points, of a parameter with one use."""
        return [torch.cat(t) for t in zip(*(own[0].tensors for own in self.blocks), strict=True)]

    def some(self, points: slice) -> "Side":
        """Of consecutive points."""
        found, first = [], 0
        for own in self.blocks:
            count = len(own[0].tensors[0])
            start, stop = max(points.start - first, 0), min(points.stop - first, count)
            if start < stop:
                found.append(own if stop - start == count else [one[start:stop] for one in own])
            first += count
        return Side(found, self.size)

    @property
    def rows(self) -> tuple[int, int]:
        """(rows, numbers in a row) of the gradients, which can be formed some rows at a time."""
        one = self.alone
        if one is not None:
            return one.rows, one.view.size // one.rows
        widths = {own.view.size // own.rows for own in self.blocks[0]}
        if len(widths) == 1 and all(own.view.rows_of_parameter for own in self.blocks[0]):
            (width,) = widths
            return self.size // width, width
        return 1, self.size

    def gradients(self, functions: slice, rows: slice, room: Room, place: int = 0) -> Tensor:
        """(n R, numbers of some rows), point-major, for R chosen functions; an order of numbers that sides share.

        They lie in a place of the room, until it is taken again.
        """
        one, R = self.blocks[0][0].tensors[-1], functions.stop - functions.start
        shape = (self.points, R, (rows.stop - rows.start) * self.rows[1])
        out = room.take(place, torch.Size(shape).numel(), one).view(shape)
        first = 0
        for own in self.blocks:
            chosen = [factor.of(functions) for factor in own]
            block = out[first : first + len(own[0].tensors[0])]
            if self.alone is not None:
                chosen[0].fill(block, rows)
            else:
                self._add_uses(block.zero_(), chosen, rows)
            first += len(block)
        return out.flatten(0, 1)

    def squares(self, functions: slice, numbers: int, room: Room) -> Tensor:
        """The squared norms (n, R), from about so many numbers of gradients at a time."""
        one = self.alone
        if isinstance(one, Outer) and one.a.shape[1] * (one.a.shape[2] + one.g.shape[3]) <= one.view.size:
            a, g = self.outer().a[:, None], self.outer().g[:, functions]
            return ((a @ a.mT) * (g @ g.mT)).sum(dim=(2, 3))
        n, R = self.points, functions.stop - functions.start
        rows, width = self.rows
        step = max(1, numbers // (n * R * width))
        total = self.blocks[0][0].tensors[-1].new_zeros(n, R)
        for start in range(0, rows, step):
            G = self.gradients(functions, slice(start, min(start + step, rows)), room)
            total += torch.linalg.vecdot(G, G).reshape(n, R)
        return total

    def _add_uses(self, out: Tensor, uses: list[Factor], rows: slice) -> None:
        """Add the gradients of all uses, in the order of the parameter."""
        count, width = self.rows
        for one in uses:
            if count == 1:
                one.view.add(out, one.gradients(slice(0, one.rows)).reshape(*out.shape[:2], *one.view.shape))
                continue
            before = one.view.start // width
            start, stop = max(rows.start, before), min(rows.stop, before + one.rows)
            if start < stop:
                own = one.gradients(slice(start - before, stop - before)).flatten(2)
                out[..., (start - rows.start) * width : (stop - rows.start) * width] += own


def pull(factors: list[Factor], U: Tensor, out: Tensor) -> None:
    """Add sum_ir U[i, r] times the gradients, for U (n, R, k), to parameters ``out`` (k, size)."""
    for one in factors:
        one.view.add(out, one.pull(U))


def push(factors: list[Factor], theta: Tensor, out: Tensor) -> None:
    """Add the gradients' inner products with k parameters (k, size) to ``out`` (n, R, k)."""
    for one in factors:
        out += one.push(one.view.of(theta))
