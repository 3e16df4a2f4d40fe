"""The points of a tile, as many together as their factors have room."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ntkspec.networks.torch.blocks import give_back
from ntkspec.networks.torch.factors.capture import Factors
from ntkspec.networks.torch.factors.held import held, with_bias
from ntkspec.networks.torch.factors.sides import Side
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.tensors import tensor_of
from ntkspec.operators.tiles import Rows


class Blocks(Protocol):
    """Factors of points, block by block; see :class:`ntkspec.networks.torch.factors.jacobian.FactoredJacobian`."""

    function: ModuleFunction
    functions: int

    @property
    def point_blocks(self) -> list[slice]: ...

    @property
    def bytes_per_point(self) -> float: ...

    def stores(self, number: int) -> bool: ...

    def factors(self, number: int, functions: slice) -> Factors: ...


@dataclass(frozen=True)
class Part:
    """Some points. pieces : (number of the block, which of its points, how many)."""

    blocks: Blocks
    pieces: list[tuple[int, Any, int]]

    @property
    def points(self) -> int:
        """How many."""
        return sum(points for _, _, points in self.pieces)

    def sides(self, biases: Mapping[str, str]) -> dict[str, Side]:
        """The gradients in each parameter that has factors and that outputs depend on; biases go with their weights."""
        every, blocks = slice(0, self.blocks.functions), []
        for number, local, _ in self.pieces:
            made = self.blocks.factors(number, every)
            own = {name: held([one[local] for one in uses]) for name, uses in made.items() if uses}
            if not self.blocks.stores(number):
                give_back(self.blocks.function.device)  # activations between factors that stay
            own |= {weight: with_bias(own[weight]) for weight in biases.values()}
            blocks.append({name: uses for name, uses in own.items() if name not in biases})
        sizes = {name: tensor.numel() for name, tensor in self.blocks.function.state.items()}
        for bias, weight in biases.items():
            sizes[weight] += sizes[bias]
        return {name: Side([block[name] for block in blocks], sizes[name]) for name in blocks[0]}


def parts_of(blocks: Blocks, which: Rows, most: float) -> list[Part]:
    """Consecutive points, or points with ascending numbers; factors of a part that are not stored take ``most`` bytes,
    or are those of one block."""
    found: list[Part] = []
    room = 0.0
    for number, block in enumerate(blocks.point_blocks):
        local, points = _inside(which, block)
        if points <= 0:
            continue
        needed = 0.0 if blocks.stores(number) else (block.stop - block.start) * blocks.bytes_per_point
        if not found or needed > room:
            found.append(Part(blocks, []))
            room = most
        room -= needed
        found[-1].pieces.append((number, local, points))
    return found


def _inside(which: Rows, block: slice) -> tuple[Any, int]:
    """Which points of a block these are, and how many."""
    if isinstance(which, slice):
        local = slice(max(which.start - block.start, 0), min(which.stop, block.stop) - block.start)
        return local, local.stop - local.start
    numbers = tensor_of(which)
    inside = numbers[(numbers >= block.start) & (numbers < block.stop)] - block.start
    return inside, len(inside)
