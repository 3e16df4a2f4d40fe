"""The gradients of a module's outputs at fixed points by autograd alone, which any module has."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from ntkspec.engines import OnEngine
from ntkspec.engines.arrays import Array
from ntkspec.networks.points import count, rows
from ntkspec.networks.torch.blocks import GRADIENT_BYTES, fitting, points_at_once
from ntkspec.networks.torch.differentiating import pull
from ntkspec.networks.torch.facts import Facts
from ntkspec.networks.torch.failing import told_by_point
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.rounding import SAMPLE, estimated
from ntkspec.networks.torch.tensors import array_of, engine_for, numpy_dtype, tensor_of
from ntkspec.networks.torch.ways import PASSES, Push, gradients, push_of
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import JacobianGram
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.sampling import PIECE, SAMPLED_PIECES, SAMPLED_ROWS
from ntkspec.operators.tiles import Rows, slices
from ntkspec.operators.work import PassWork, Work

# How long a pass in float64 takes, in those of float32.
DOUBLE = 3.0


@dataclass(frozen=True, eq=False)
class Pulled:
    """k vectors of parameters: ``scales`` (k,) times ``blocks``, (k, size of a parameter) for each."""

    blocks: dict[str, torch.Tensor]
    scales: np.ndarray

    def __add__(self, other: "Pulled") -> "Pulled":
        """Of the points of both, in units of the larger scales."""
        scales = np.maximum(self.scales, other.scales)

        def rescaled(one: "Pulled", block: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(one.scales / scales).to(block)[:, None] * block

        return Pulled(
            {name: rescaled(self, own) + rescaled(other, other.blocks[name]) for name, own in self.blocks.items()},
            scales,
        )

    def vectors(self, state: Mapping[str, torch.Tensor], names: Iterable[str]) -> list[dict[str, torch.Tensor]]:
        """One after the other, in some of the parameters, of the shapes in ``state``."""
        return [{name: self.blocks[name][j].view(state[name].shape) for name in names} for j in range(len(self.scales))]


class AutogradJacobian(OnEngine):
    """J of R functions of a module at n points: :class:`ntkspec.operators.jacobian.JacobianAt` by autograd.

    at : the points. names : the parameters. directions : (R, K), the functions as weighted sums of outputs; None for
    all K outputs.
    Vectors are multiplied in the dtype of the module, each scaled to entries of at most 1.
    """

    widens = False
    probed: Any = None  # how layer factors are read, which both sides of a kernel have in common

    def __init__(
        self,
        function: ModuleFunction,
        facts: Facts,
        at: Any,
        names: Sequence[str],
        directions: torch.Tensor | None,
    ):
        self.function, self.facts, self.names = function, facts, list(names)
        self.at, self.directions = function.points(at), directions
        self.points = count(at)
        self.functions = (facts.n_outputs or 1) if directions is None else len(directions)
        self.size = sum(function.state[name].numel() for name in self.names)
        self.dtype, self.engine = numpy_dtype(function.dtype), engine_for(function.device)

    @property
    def takes_all_threads(self) -> bool:
        """Tiles are formed on all threads of torch; a device has streams instead."""
        return self.function.device.type == "cpu"

    @property
    def pull_work(self) -> Work:
        """A pass forward and one backward, twice as long."""
        return self.points * Work(flops=3.0 * self.facts.flops)

    @property
    def push_work(self) -> Work:
        """What the way takes in which the module knows it."""
        return self.points * Work(flops=PASSES[self._push] * self.facts.flops)

    @cached_property
    def _push(self) -> Push:
        return push_of(self.function, self.at, self.names)

    def entry_work(self, other: "AutogradJacobian") -> Work:
        """An inner product of gradients, which are computed once for each block of a tile."""
        again = 3.0 * self.facts.flops * (1 / self.engine.TILE + 2 / self._gradients_at_once)
        return Work(flops=2.0 * self.size + again)

    def passes_of_points(self, n: int) -> PassWork:
        """One forward, and one backward of each function, twice as long; gradients of rows and a third as many columns
        are there at once."""
        each = self._functions_at_once * self._bytes_of_gradient
        return PassWork(n * (1.0 + 2.0 * self.functions), passing=4 / 3 * min(n, self._gradients_at_once) * each)

    def passes_of_checks(self, stacked: bool) -> PassWork:
        """Of the rows and pieces of columns from which rounding is estimated, in both precisions."""
        pairs = SAMPLED_PIECES * (SAMPLED_ROWS + PIECE)
        return (1.0 + DOUBLE) * self.passes_of_points(pairs + SAMPLE)

    # ----------------------------------------------------------------------------------------------------- products
    @torch.inference_mode(False)
    def pull(self, U: Array, functions: slice) -> Pulled:
        """Block by block, one pass forward for all vectors."""
        given, scales = self._scaled(U)
        total = self._zeros(self.names, given.shape[2])
        for block in self._blocks(self._points_at_once):
            self._add_pulled(total, block, given, functions)
        return Pulled(total, scales)

    def _scaled(self, U: Array) -> tuple[torch.Tensor, np.ndarray]:
        """(the vectors with entries of at most 1, what they were divided by)."""
        given = tensor_of(U).to(self.function.device)
        scales = given.abs().amax(dim=(0, 1)).clamp_min(torch.finfo(given.dtype).tiny)
        return (given / scales).to(self.function.dtype), scales.double().cpu().numpy()

    def _zeros(self, names: Iterable[str], k: int) -> dict[str, torch.Tensor]:
        """(k, size) for each of some parameters."""
        state = self.function.state
        return {name: state[name].new_zeros(k, state[name].numel()) for name in names}

    def _add_pulled(self, total: dict[str, torch.Tensor], block: slice, u: torch.Tensor, functions: slice) -> None:
        """Add Jᵀ u of a block of points, one vector after the other."""
        vectors = self._of_outputs(u[block], functions).unbind(2)
        for j, found in enumerate(pull(self.function, rows(self.at, block), list(total), vectors)):
            for name, own in total.items():
                own[j] += found.pop(name).flatten()

    def _of_outputs(self, u: torch.Tensor, functions: slice) -> torch.Tensor:
        """Cotangents (b, r, k) of some functions as ones of the outputs, (b, K, k)."""
        if self.directions is not None:
            return torch.einsum("brk,ro->bok", u, self.directions[functions])
        if u.shape[1] == self.functions:
            return u
        every = u.new_zeros(len(u), self.functions, u.shape[2])
        every[:, functions] = u
        return every

    @torch.inference_mode(False)
    def push(self, tangents: Pulled, functions: slice) -> Array:
        """Block by block."""
        turned, vectors = self._of_functions(functions), tangents.vectors(self.function.state, self.names)
        found = [
            self._push(self.function, rows(self.at, block), vectors, turned)
            for block in self._blocks(self._points_at_once)
        ]
        return self._unscaled(torch.cat(found), tangents.scales)

    def _unscaled(self, found: torch.Tensor, scales: np.ndarray) -> Array:
        return array_of(found.double() * torch.from_numpy(scales).to(found.device), self.engine)

    def multiplied(self, U: Array) -> Array:
        """J Jᵀ U for U (n, R, k), all functions."""
        every = slice(0, self.functions)
        return self.push(self.pull(U, every), every)

    def _of_functions(self, functions: slice) -> torch.Tensor | None:
        if self.directions is not None:
            return self.directions[functions]
        if functions == slice(0, self.functions):
            return None
        return torch.eye(self.functions, dtype=self.function.dtype, device=self.function.device)[functions]

    # ------------------------------------------------------------------------------------------------------ entries
    @torch.inference_mode(False)
    def gram(self, other: "AutogradJacobian", rows: Rows, cols: slice, *, dtype: np.dtype, stacked: bool) -> Array:
        """Large blocks of rows, whose gradients stay, against small blocks of columns."""
        left, right = self._in(dtype).part(rows), other._in(dtype).part(cols)
        same = other is self and isinstance(rows, slice) and rows == cols
        R = self.functions if stacked else 1
        found = torch.zeros(left.points, R, right.points, R, dtype=left.function.dtype, device=left.function.device)
        for own in left._function_blocks:
            for block in left._blocks(left._gradients_at_once):
                A = left.gradients(block, own)
                for others in left._function_blocks if stacked else [own]:
                    reused = same and (block, others) == (slice(0, left.points), own)
                    for across in [block] if reused else right._blocks(max(1, right._gradients_at_once // 3)):
                        B = A if reused else right.gradients(across, others)
                        place = (block, own, across, others) if stacked else (block, slice(1), across, slice(1))
                        found[place] += _inner_products(A, B, stacked=stacked)
        matrix = found.reshape(left.points * R, right.points * R)
        return array_of(matrix, self.engine).astype(dtype, copy=False)

    @torch.inference_mode(False)
    def squares(self, dtype: np.dtype) -> Array:
        """In blocks of points and functions."""
        side = self._in(dtype)
        found = [
            torch.cat([_squares(side.gradients(block, own)) for own in side._function_blocks], dim=1)
            for block in side._blocks(side._gradients_at_once)
        ]
        return array_of(torch.cat(found), self.engine).astype(dtype, copy=False)

    def gradients(self, block: slice, functions: slice) -> list[torch.Tensor]:
        """Those of a block of points, (b, r, size of a parameter) for each."""
        at, turned = rows(self.at, block), self._of_functions(functions)
        return gradients(self.function, at, self.names, turned)

    def told_by_point(self, name: str) -> AbstractContextManager[None]:
        """Where what the module raises is told with the number of the point."""
        return told_by_point(self.function, self.at, name)

    def rounding(self, other: "AutogradJacobian", kernel: JacobianGram) -> Rounding:
        """An estimate from products at a few points, in this dtype and in another."""
        return estimated(self, other, kernel)

    # ---------------------------------------------------------------------------------------------- others like this
    def part(self, rows_: Rows) -> Self:
        """At some of the points."""
        return self._like(at=rows(self.at, rows_ if isinstance(rows_, slice) else self.engine.to_host(rows_)))

    def elsewhere(self, points: Any, facts: Facts) -> Self:
        """At other points, and what is known of those."""
        return self._like(at=points, facts=facts)

    @torch.inference_mode(False)
    def along(self, weights: np.ndarray) -> Self:
        """Of weighted sums of the functions, weights (R', R)."""
        given = tensor_of(weights).to(self.function.device, self.function.dtype)
        return self._like(directions=given if self.directions is None else given @ self.directions)

    @torch.inference_mode(False)
    def in_dtype(self, dtype: torch.dtype) -> Self:
        """The same with all numbers in float32 or float64."""
        directions = None if self.directions is None else self.directions.to(dtype)
        return self._like(function=self.function.in_dtype(dtype), directions=directions)

    @cached_property
    def precise(self) -> Self:
        """The same in float64. Raises TypeError where the module does not run in it."""
        if self.facts.float64:
            raise TypeError(
                f"the module does not run in float64 ({self.facts.float64}), which the rounding of entries and "
                f"products is estimated with; let its code follow the dtype of its input, as in x.to(self.weight.dtype)"
            )
        return self.in_dtype(torch.float64)

    def release(self) -> None:
        """Drop what was made in float64 for estimates, where it is large."""
        if self.function.large:
            self.__dict__.pop("precise", None)
            self.function.release()

    def _in(self, dtype: np.dtype) -> Self:
        return self.precise if dtype == np.float64 and self.dtype == np.float32 else self

    def _like(self, **changes: Any) -> Self:
        own = {name: getattr(self, name) for name in ("function", "facts", "at", "directions")} | changes
        return type(self)(own["function"], own["facts"], own["at"], self.names, own["directions"])

    # -------------------------------------------------------------------------------------------------------- blocks
    def _blocks(self, at_once: int) -> list[slice]:
        return slices(self.points, at_once)

    @property
    def _points_at_once(self) -> int:
        return points_at_once(self.facts, self.points, self.function.device)

    @property
    def _functions_at_once(self) -> int:
        return min(self.functions, fitting(GRADIENT_BYTES, self._bytes_of_gradient, self.function.device))

    @property
    def _function_blocks(self) -> list[slice]:
        return slices(self.functions, self._functions_at_once)

    @property
    def _gradients_at_once(self) -> int:
        """Points whose gradients are kept at once, of so many functions."""
        each = self._functions_at_once * self._bytes_of_gradient
        return fitting(GRADIENT_BYTES, each, self.function.device)

    @property
    def _bytes_of_gradient(self) -> float:
        """With what the passes need beside it."""
        return 2.0 * self.size * self.dtype.itemsize + 2.0 * self.facts.bytes


def _inner_products(A: list[torch.Tensor], B: list[torch.Tensor], *, stacked: bool) -> torch.Tensor:
    """Of gradients (b, r, p) and (b', r', p): (b, r, b', r'), or their sum over r = r', (b, 1, b', 1)."""
    last = 1 if stacked else 0
    total: Any = sum(a.flatten(0, last).flatten(1) @ b.flatten(0, last).flatten(1).T for a, b in zip(A, B, strict=True))
    (n, r), (m, s) = (tuple(each[0].shape[:2]) if stacked else (len(each[0]), 1) for each in (A, B))
    return total.reshape(n, r, m, s)


def _squares(gradients: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([one.square().sum(dim=2) for one in gradients]).sum(dim=0)
