"""The gradients of a module's outputs at fixed points through layer factors, and by autograd where there are none."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ntkspec import progress
from ntkspec.engines.arrays import Array
from ntkspec.networks.points import rows
from ntkspec.networks.torch.blocks import LEAST_BYTES, free_memory_now, give_back, number_of, points_at_once
from ntkspec.networks.torch.factors.capture import Factors, Recipe, captured
from ntkspec.networks.torch.factors.forecasts import bytes_of_point, entry_flops, held_flops, product_flops
from ntkspec.networks.torch.factors.grams import add_gram, numbers_together
from ntkspec.networks.torch.factors.held import biases, held
from ntkspec.networks.torch.factors.layouts import Rearranged
from ntkspec.networks.torch.factors.parts import Part, parts_of
from ntkspec.networks.torch.factors.probing import Probed
from ntkspec.networks.torch.factors.sides import Room, Side, pull, push
from ntkspec.networks.torch.factors.verifying import disagreements
from ntkspec.networks.torch.facts import Facts
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.jacobian import AutogradJacobian, Pulled
from ntkspec.networks.torch.tensors import array_of, tensor_of
from ntkspec.networks.torch.ways import PASSES
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.sampling import PIECE, SAMPLED_PIECES, SAMPLED_ROWS
from ntkspec.operators.tiles import Rows, slices
from ntkspec.operators.work import PassWork, Work

# Bytes of a block of points on its way, and of the factors of a tile's rows, or columns, that are not stored.
BLOCK_BYTES, TILE_BYTES = 2**28, 2**32
# A block of more points, with so many bytes, takes longer: what it writes has left the cache when it is read.
ENOUGH_POINTS, ENOUGH_BYTES = 32, 2**26
# Shares of the free memory: of stored factors, and, of what these leave, of a block on its way, rows and columns. A
# tile makes its columns again for each part of its rows, and gradients of rows for each part of its columns.
STORED_SHARE, BLOCK_SHARE, ROWS_SHARE, COLUMNS_SHARE = 0.4, 0.15, 0.32, 0.2

Found = TypeVar("Found")


class FactoredJacobian(AutogradJacobian):
    """J of R functions of a module: :class:`ntkspec.operators.jacobian.JacobianAt` through the factors of its layers.

    The factors of the first blocks of points are stored where those of half of the points fit, so that others are
    computed again for each product and tile. What fits is decided once, at first use. Parameters that have none go
    through autograd, as a further term of each sum.

    lasts : whether factors are stored at first use; rows of a rectangular kernel, as of test points, are used once, and
    stored from the second product on.
    """

    lasts = True

    def __init__(
        self,
        function: ModuleFunction,
        facts: Facts,
        at: Any,
        names: Sequence[str],
        directions: Tensor | None,
        probed: Probed | None = None,
    ):
        super().__init__(function, facts, at, names, directions)
        self.probed = Probed(at, names, facts) if probed is None else probed
        self._kept: dict[int, Factors] = {}
        self._picked: tuple[bytes, Any] = b"", None
        self._rows: tuple[Rows | None, dict[str, Side]] = None, {}

    @property
    def recipe(self) -> Recipe:
        """Which parameters have factors, and how they are read."""
        return self.probed.recipe(self.function)

    @property
    def factored(self) -> list[str]:
        """The parameters that have factors."""
        return [name for name in self.names if name not in self.recipe.reasons]

    @property
    def rest(self) -> AutogradJacobian | None:
        """The same functions' gradients in the other parameters."""
        others = [name for name in self.names if name in self.recipe.reasons]
        if not others:
            return None
        return AutogradJacobian(self.function, self.facts, self.at, others, self.directions)

    def describe(self) -> str:
        """Which way each parameter goes."""
        others = ", ".join(f"{name} ({self.recipe.reasons[name]})" for name in self.names if name not in self.factored)
        told = f"layer factors of {len(self.factored)} of {len(self.names)} parameters"
        return f"{told}; by autograd: {others}" if others else told

    # ------------------------------------------------------------------------------------------------------ forecasts
    @property
    def pull_work(self) -> Work:
        """Matrix products with the factors, which are read; two passes more where these are not stored."""
        _, stored = held_flops(self._sample, self.functions)
        again = product_flops(self._sample) + 2.0 * self.facts.flops
        own = self._points_stored * stored + (self.points - self._points_stored) * again
        read = Work.of_reading(self._points_stored * self.bytes_per_point, self.engine.last_cache())
        rest = self.rest
        return Work(flops=own) + read + (Work() if rest is None else rest.pull_work)

    @property
    def push_work(self) -> Work:
        """As that of a pull, but for parameters without factors."""
        rest = self.rest
        return self.pull_work if rest is None else self.pull_work + rest.push_work + -1.0 * rest.pull_work

    def entry_work(self, other: AutogradJacobian) -> Work:
        """Inner products of gradients or of positions; what both need of a point comes once for a tile, or once."""
        side = min(self.engine.TILE, self.points, other.points)
        stored = self._points_stored == self.points
        height, width = (side, side) if stored else (min(side, self._fitting(most)) for most in self._part_bytes)
        tiles = -(-self.points // side)
        halved = 1 / tiles if other is self else 0.0  # of the tiles, about, only a triangle
        own = entry_flops(self._sample, self.functions, (1 - halved / 2) * (1 / height + 1 / width))
        once = 2 / (1 + tiles) if other is self else side / self.points + side / other.points
        again = 1.0 if height < side else 2 / (1 + tiles)  # rows of one part are kept from tile to tile
        # Factors of the columns are made once for each part of the rows.
        made = once if stored else again + (1 - halved / 2) * -(-side // height)
        if not stored or len(self._kept) < len(self.point_blocks):
            each = 2.0 * (1 + 1 / self.functions) * self.facts.flops
            own += made / side * (each + held_flops(self._sample, self.functions)[0])
        rest = self.rest
        return Work(flops=own) + (Work() if rest is None else rest.entry_work(rest))

    def passes_of_points(self, n: int) -> PassWork:
        """Of the factors, which are kept as far as they fit. On their way are those of a block, vectors of parameters
        or gradients of a tile, or a block of training: what they had is given back."""
        found = super().passes_of_points(n)
        every, own = min(n, self.engine.TILE) * self.size, self.size * self.dtype.itemsize
        formed = 2.0 * max(
            min(numbers_together(self.function.dtype, self.function.device), every) * self.dtype.itemsize, own
        )
        together = min(n, self.points, points_at_once(self.facts, self.points, self.function.device))
        trained = 2.0 * self.facts.bytes * together
        others = found.passing if self.rest is not None else 0.0
        passing = max(formed, self._bytes_of_block(n), others, trained)
        return replace(found, kept=self._bytes_of_factors(n), passing=passing)

    def passes_of_checks(self, stacked: bool) -> PassWork:
        """Whose factors go with them, those in float64 of twice the size, beside the parameters in float64 and as many
        numbers of gradients."""
        pairs = SAMPLED_PIECES * (SAMPLED_ROWS + PIECE)
        passing = 2.0 * self._bytes_of_block(pairs) + 16.0 * self.size
        return replace(super().passes_of_checks(stacked), kept=0.0, passing=passing)

    def _bytes_of_factors(self, n: int) -> float:
        """Of those of n points that are stored, and of the rows and columns of a tile where they are not."""
        free, every, tile = self._free, n * self.bytes_per_point, self.engine.TILE
        if every <= STORED_SHARE * free:
            return every
        stored = STORED_SHARE * free if every <= 2 * STORED_SHARE * free else 0.0
        shares = (share * (free - stored) for share in (ROWS_SHARE, COLUMNS_SHARE))
        return stored + sum(min(share, tile * self.bytes_per_point) for share in shares)

    def _bytes_of_block(self, n: int) -> float:
        """Of factors on their way, beside what is kept of them."""
        each = self.facts.bytes + bytes_of_point(self._sample, self.functions) + self.bytes_per_point
        return min(n, self._points_at_once) * each

    @property
    def _sample(self) -> Factors:
        self.recipe  # noqa: B018 (finds it)
        return {name: own for name, own in self.probed.sample.items() if name not in self.recipe.reasons}

    @cached_property
    def bytes_per_point(self) -> float:
        """Of what is held of the factors of all functions."""
        return bytes_of_point(self._sample, self.functions, held=True)

    @cached_property
    def _free(self) -> float:
        """Bytes that were free at first use, once factors had been tried: what is computed takes its shares of them."""
        self.recipe  # noqa: B018 (finds it)
        give_back(self.function.device)
        return free_memory_now(self.function.device)

    @cached_property
    def _points_stored(self) -> int:
        """All, or those of whole blocks; none where fewer than half fit, as the memory is worth more to tiles."""
        fit = min(self.points, int(STORED_SHARE * self._free / max(1.0, self.bytes_per_point)))
        at_once = self._points_at_once
        return fit if fit == self.points else fit // at_once * at_once if 2 * fit >= self.points else 0

    @property
    def _points_at_once(self) -> int:
        most, sample = max(LEAST_BYTES, BLOCK_SHARE * self._free), self._sample
        passes, every = (self.facts.bytes + bytes_of_point(sample, R) for R in (1, self.functions))
        fitting = min(number_of(min(BLOCK_BYTES, most), passes), number_of(min(4 * BLOCK_BYTES, most), every))
        return min(self.points, fitting, max(ENOUGH_POINTS, number_of(ENOUGH_BYTES, every)))

    @property
    def _part_bytes(self) -> tuple[float, float]:
        """Of the factors of rows, and of columns, that are held together in a tile and not stored."""
        left = self._free - self._points_stored * self.bytes_per_point
        rows, columns = (max(LEAST_BYTES, share * left) for share in (ROWS_SHARE, COLUMNS_SHARE))
        return min(TILE_BYTES, rows), min(TILE_BYTES, columns)

    def _fitting(self, most: float) -> int:
        """Points of a part: whole blocks, one at least."""
        at_once = self._points_at_once
        return max(1, int(most / max(1.0, self.bytes_per_point)) // at_once) * at_once

    # ----------------------------------------------------------------------------------------------------- products
    def pull(self, U: Array, functions: slice) -> Pulled:
        """Block by block of points, all vectors at once."""
        return self._tried(lambda: self._pulled(U, functions))

    def _pulled(self, U: Array, functions: slice) -> Pulled:
        given, scales = self._scaled(U)
        k, self.lasts = given.shape[2], self.lasts or self._in_turn(functions)
        sums = self._zeros(self.factored, k)
        with self.function.undisturbed(), torch.no_grad():
            for number, block in self._passed() if sums else ():
                if not self.stores(number) and 1 + 2 * k < self._passes(functions, k):
                    self._add_pulled(sums, block, given, functions)
                    continue
                for name, own in self.factors(number, functions).items():
                    pull(own, given[block], sums[name])
        self.lasts = True
        rest = self.rest
        if rest is not None:
            others = rest.pull(array_of(given, self.engine), functions)
            own_scales = tensor_of(others.scales).to(given)[:, None]
            sums |= {name: own_scales * block for name, block in others.blocks.items()}
        return Pulled(sums, scales)

    def push(self, tangents: Pulled, functions: slice) -> Array:
        """Block by block of points, all vectors at once."""
        return self._tried(lambda: self._pushed(tangents, functions))

    def _pushed(self, tangents: Pulled, functions: slice) -> Array:
        names, R, k = self.factored, functions.stop - functions.start, len(tangents.scales)
        out = torch.zeros(self.points, R, k, dtype=self.function.dtype, device=self.function.device)
        self.lasts = self.lasts or self._in_turn(functions)
        with self.function.undisturbed(), torch.no_grad():
            for number, block in self._passed() if names else ():
                if not self.stores(number) and self._sooner_by_autograd(self._passes(functions, k), k):
                    own = tangents.vectors(self.function.state, names)
                    out[block] = self._push(self.function, rows(self.at, block), own, self._of_functions(functions))
                    continue
                for name, uses in self.factors(number, functions).items():
                    push(uses, tangents.blocks[name], out[block])
        self.lasts = True
        found, rest = self._unscaled(out, tangents.scales), self.rest
        if rest is not None:
            found = found + rest.push(tangents, functions)
        return found

    def multiplied(self, U: Array) -> Array:
        """Parameter by parameter where the factors of all points are stored, or smaller than vectors of parameters."""
        smaller = self.points * self.bytes_per_point <= U.shape[2] * self.size * self.dtype.itemsize
        if smaller or self._points_stored == self.points:
            return self._tried(lambda: self._multiplied(U))
        return super().multiplied(U)

    def _multiplied(self, U: Array) -> Array:
        given, scales = self._scaled(U)
        out, every = torch.zeros_like(given), slice(0, self.functions)
        with self.function.undisturbed(), torch.no_grad():
            blocks = [(block, self.factors(number, every)) for number, block in self._passed()] if self.factored else []
            for name in self.factored:
                (total,) = self._zeros([name], given.shape[2]).values()
                for block, own in blocks:
                    pull(own[name], given[block], total)
                for block, own in blocks:
                    push(own[name], total, out[block])
                give_back(self.function.device)
        found, rest = self._unscaled(out, scales), self.rest
        return found if rest is None else found + rest.multiplied(U)

    def _in_turn(self, functions: slice) -> bool:
        """Whether functions that are summed are multiplied one after the other."""
        return functions.stop - functions.start < self.functions

    def _sooner_by_autograd(self, passes: int, k: int) -> bool:
        """Whether k vectors are pushed in fewer passes forward; which way the module knows is found out at need."""
        return min(PASSES.values()) * k < passes and PASSES[self._push] * k < passes

    # ------------------------------------------------------------------------------------------------------- entries
    def gram(self, other: AutogradJacobian, rows: Rows, cols: slice, *, dtype: np.dtype, stacked: bool) -> Array:
        """Parameter by parameter, of a symmetric tile one triangle; one tile at a time, on all threads of torch."""
        assert isinstance(other, FactoredJacobian)
        left, right = self._in(dtype), other._in(dtype)
        same = other is self and isinstance(rows, slice) and rows == cols
        if not same:
            (left, rows), (right, cols) = left._alone(rows), right._alone(cols)
        return left._tried(lambda: left._tile(right, rows, cols, stacked, same)).astype(dtype, copy=False)

    def _alone(self, which: Rows) -> tuple[Self, Any]:
        """Some points and their numbers: as a side of their own, where others would be computed along with them."""
        pieces = [piece for part in parts_of(self, which, TILE_BYTES) for piece in part.pieces]
        made = [self.point_blocks[number] for number, _, _ in pieces if number not in self._kept]
        points = sum(points for _, _, points in pieces)
        if 2 * points > sum(block.stop - block.start for block in made):
            return self, which
        if isinstance(which, slice):
            return self.part(which), slice(0, points)
        numbers = self.engine.to_host(which).tobytes()  # rows that meet several columns
        if self._picked[0] != numbers:
            self._picked = numbers, self.part(which)
        return self._picked[1], slice(0, points)

    def _tile(self, other: Self, rows: Rows, cols: slice, stacked: bool, same: bool) -> Array:
        each = self.functions if stacked else 1
        heights, widths = parts_of(self, rows, self._part_bytes[0]), parts_of(other, cols, other._part_bytes[1])
        n, m = (sum(part.points for part in parts) for parts in (heights, widths))
        out = torch.zeros(n * each, m * each, dtype=self.function.dtype, device=self.function.device)
        with self.function.undisturbed(), torch.no_grad():
            top, room, along = 0, Room(), biases(self._sample)
            for height in heights if self.factored else []:
                left, first = self._sides_of_rows(height, rows, along), 0
                place = out[top * each : (top + height.points) * each]
                if same:  # the columns before these rows
                    widths = parts_of(other, slice(cols.start, cols.start + top), other._part_bytes[1])
                for width in widths:
                    part = place[:, first * each : (first + width.points) * each]
                    _add(part, left, width.sides(along), room, stacked)
                    first += width.points
                if same:
                    _add(place[:, top * each : (top + height.points) * each], left, left, room, stacked)
                top += height.points
            if same or cols.stop == other.points:  # the last tile of these rows
                self._rows = None, {}
            if same:
                out = out.tril() + out.tril(-1).T
        found, rest, others = array_of(out, self.engine), self.rest, other.rest
        if rest is not None and others is not None:
            found = found + rest.gram(others, rows, cols, dtype=self.dtype, stacked=stacked)
        return found

    def _sides_of_rows(self, height: Part, rows: Rows, along: dict[str, str]) -> dict[str, Side]:
        """Rows that are one part stay for the tiles that follow."""
        if not isinstance(rows, slice) or height.points < rows.stop - rows.start:
            return height.sides(along)
        if self._rows[0] != rows:
            self._rows = None, {}  # which makes room
            self._rows = rows, height.sides(along)
        return self._rows[1]

    def squares(self, dtype: np.dtype) -> Array:
        """Parameter by parameter, in blocks of points."""
        side = self._in(dtype)
        return side._tried(lambda: side._squares(keep=side is self)).astype(dtype, copy=False)

    def _squares(self, *, keep: bool) -> Array:
        out = torch.zeros(self.points, self.functions, dtype=self.function.dtype, device=self.function.device)
        every, room = slice(0, self.functions), Room()
        with self.function.undisturbed(), torch.no_grad():
            for number, block in enumerate(self.point_blocks) if self.factored else ():
                made = self.factors(number, every) if keep or number in self._kept else self._captured(number, every)
                for name, own in made.items():
                    if own:
                        out[block] += Side([own], self.function.state[name].numel()).squares(
                            every, numbers_together(out.dtype, out.device), room
                        )
        found, rest = array_of(out, self.engine), self.rest
        return found if rest is None else found + rest.squares(self.dtype)

    # ------------------------------------------------------------------------------------------------------- factors
    def factors(self, number: int, functions: slice) -> Factors:
        """Of some functions, for a block of points: stored ones, or new ones."""
        every = slice(0, self.functions)
        if not self.stores(number):
            return self._captured(number, functions)
        if number not in self._kept:
            made = self._captured(number, every)
            self._kept[number] = {name: held(uses) for name, uses in made.items()}
        kept = self._kept[number]
        if functions == every:
            return kept
        return {name: [one.of(functions) for one in own] for name, own in kept.items()}

    def _passed(self) -> Iterable[tuple[int, slice]]:
        """The blocks of points, with a bar where factors have to be made."""
        blocks = list(enumerate(self.point_blocks))
        made = all(number in self._kept for number, _ in blocks)
        return blocks if made else progress.bar(blocks, text="gradients (blocks of points)")

    def stores(self, number: int) -> bool:
        """Whether the factors of a block are stored once they are there."""
        return self.lasts and self.point_blocks[number].stop <= self._points_stored

    def _passes(self, functions: slice, k: int) -> int:
        """What factors of so many functions, made for one product with k vectors, take in passes forward."""
        return 1 + functions.stop - functions.start + k

    def _captured(self, number: int, functions: slice) -> Factors:
        at = rows(self.at, self.point_blocks[number])
        with self.function.recorded(at, self.names) as (outputs, leaves):
            weights = self._of_functions(functions)
            found = captured(self.recipe, outputs, leaves, weights)
            if self.recipe.moves:
                every = torch.eye(self.functions).to(outputs) if weights is None else weights
                if disagreements(found, outputs, leaves, every):
                    raise Rearranged("the order of rows depends on the points")
            return found

    @cached_property
    def point_blocks(self) -> list[slice]:
        """The points whose factors are made together."""
        return slices(self.points, self._points_at_once)

    @torch.inference_mode(False)
    def _tried(self, way: Callable[[], Found]) -> Found:
        """Where a block of points computes something else than the first points did, all goes through autograd.

        The heap keeps what passes took.
        """
        passes = len(self._kept) < len(self.point_blocks)
        try:
            return way()
        except Rearranged as error:
            self.probed.give_up(self.function, str(error))
            self._kept.clear()
            self._rows = None, {}
            return way()
        finally:
            if passes:
                give_back(self.function.device)

    def release(self) -> None:
        """Drop the factors of single rows as well, and those of rows of a tile."""
        self._picked, self._rows = (b"", None), (None, {})
        super().release()

    def elsewhere(self, points: Any, facts: Facts) -> Self:
        """At other points, and what is known of those."""
        return self._like(at=points, facts=facts)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_kept": {}, "_picked": (b"", None), "_rows": (None, {})}

    def _like(self, **changes: Any) -> Self:
        own = {name: getattr(self, name) for name in ("function", "facts", "at", "directions")} | changes
        return type(self)(own["function"], own["facts"], own["at"], self.names, own["directions"], self.probed)


def _add(out: Tensor, left: dict[str, Side], right: dict[str, Side], room: Room, stacked: bool) -> None:
    """Add the inner products of gradients in all parameters."""
    for name, own in left.items():
        add_gram(out, own, right[name], room, stacked=stacked)
