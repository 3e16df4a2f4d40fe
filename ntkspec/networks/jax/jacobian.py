"""The gradients of a JAX function at points, as the kernel's two sides."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkspec import progress
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks.blocks import block_rows, vector_blocks
from ntkspec.networks.jax.passes import Passes
from ntkspec.networks.points import count
from ntkspec.networks.points import rows as part_of
from ntkspec.networks.protocol import Points
from ntkspec.networks.reading_points import filled
from ntkspec.networks.rounding_estimates import COMPARED, assumed_rounding, compared_points, estimated_rounding
from ntkspec.operators import JacobianGram
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.sampling import SAMPLED_PIECES
from ntkspec.operators.tiles import Rows, slices
from ntkspec.operators.work import PassWork, Work

if TYPE_CHECKING:
    from ntkspec.networks.jax.network import JaxNetwork

# Gradients of all points are kept where they take at most so many bytes, and this part of the free memory. Else those
# of a tile's rows are held, as many as fit into the other part, and gradients are computed in blocks of so many bytes.
KEPT_BYTES, KEPT_SHARE, HELD_SHARE, GRADIENT_BYTES = 2.0**31, 0.25, 0.25, 2.0**28
# New memory that a gradient takes until it is kept, and how long a pass in float64 takes, in those of float32.
COPIES, DOUBLE = 3.0, 3.0
# Gradients of few points are computed in blocks of a power of two, from this one on: each size is compiled.
FEW = 16
# Tiles are asked for by several threads. JAX takes all cores for one of them, so that they take turns.
_TURN = threading.RLock()


class JaxJacobian:
    """J of R sums of a network's outputs in some of its parameters: :class:`ntkspec.operators.JacobianAt`.

    weights : (R, K), or None for the K outputs as they are. Products are passes backward and along tangents on blocks
    of points, several vectors in one; entries come from gradients of points, which are kept where they fit.
    """

    widens = False

    def __init__(self, net: "JaxNetwork", points: Points, which: tuple[int, ...], weights: Array | None):
        self.net, self.at, self.which = net, points, which
        self.dtype: np.dtype = net.dtype
        self.points, self.outputs = count(points), net.trace(points).outputs or 1
        self.directions = np.eye(self.outputs) if weights is None else np.asarray(weights, np.float64)
        self.mixed, self.functions = weights is not None, len(self.directions)
        self.size = sum(array.size for array in self._weights[0])
        free = self.engine.free_memory()
        needed = float(self.points) * self.functions * self.size * self.dtype.itemsize
        self._kept: Array | None = None
        self._twins: dict[np.dtype, JaxJacobian | None] = {}
        self.keeps = needed <= min(KEPT_BYTES, KEPT_SHARE * free)
        self.held = max(1, int(HELD_SHARE * free / (self.functions * self.size * self.dtype.itemsize)))

    @property
    def engine(self) -> Engine:
        """The CPU's: vectors are NumPy's."""
        return engine_of()

    # ---------------------------------------------------------------------------------------------------------- costs
    @property
    def pull_work(self) -> Work:
        """Three passes forward of all points."""
        return self.points * Work(flops=3.0 * self.net.flops)

    push_work = pull_work

    def entry_work(self, other: Any) -> Work:
        """An inner product of gradients, and its share of their passes."""
        side, each = self.engine.TILE, 3.0 * self.net.flops
        if self.keeps and other.keeps:
            passes = each * (1 / self.points + 1 / other.points)
        else:
            passes = each * (1 / side + 1 / min(side, self.held))
        return Work(flops=2.0 * self.size + passes)

    def passes_of_points(self, n: int) -> PassWork:
        """One forward and one backward for each function, whose gradients are copied twice."""
        each = self.functions * self.size * self.dtype.itemsize
        kept = n * each if self.keeps else 0.0
        passing = COPIES * min(GRADIENT_BYTES, n * each)
        return PassWork(3.0 * n * self.functions, COPIES * n * each, programs=2.0, kept=kept, passing=passing)

    def passes_of_checks(self, stacked: bool) -> PassWork:
        """Of sampled rows and columns in float64, and of products of some points in both precisions."""
        some = min(self.points, COMPARED)
        sampled = self.passes_of_points((1 + SAMPLED_PIECES) * FEW)
        products = (2.0 + 3.0 * DOUBLE) * 2 * 5.0 * some * (1 if stacked else self.functions)
        in_double = PassWork(DOUBLE * sampled.forward, 2 * sampled.written)
        done = self.passes_of_points(some) + in_double + PassWork(products, programs=5.0)
        return replace(done, kept=0.0)

    # ------------------------------------------------------------------------------------------------------- products
    def pull(self, U: Array, functions: slice) -> list[Array]:
        """Lists of arrays with the vectors along their first axis."""
        cotangents = self._onto_outputs(U, functions)
        k, pass_back = U.shape[2], self._passes.pull
        total = [np.zeros((k, *array.shape), self.dtype) for array in self._weights[0]]
        for vectors, wide in vector_blocks(k):
            for here, size, block in self._blocks(wide):
                given = np.zeros((size, self.outputs, wide), self.dtype)
                given[: here.stop - here.start, :, : vectors.stop - vectors.start] = cotangents[here, :, vectors]
                parts = pass_back(*self._weights, block, given)
                for one, part in zip(total, parts, strict=True):
                    one[vectors] += np.asarray(part)[: vectors.stop - vectors.start]
        return total

    def push(self, tangents: list[Array], functions: slice) -> Array:
        """(n, r, k)."""
        k, pass_along = len(tangents[0]), self._passes.push
        found = np.empty((self.points, self.outputs, k), self.dtype)
        for vectors, wide in vector_blocks(k):
            given = [_padded(tangent[vectors], wide) for tangent in tangents]
            for here, _, block in self._blocks(wide):
                part = np.asarray(pass_along(*self._weights, block, given))
                found[here, :, vectors] = part[: here.stop - here.start, :, : vectors.stop - vectors.start]
        if not self.mixed:
            return found[:, functions]
        return np.einsum("rm,nmk->nrk", self.directions[functions].astype(self.dtype), found)

    def _onto_outputs(self, U: Array, functions: slice) -> Array:
        """(n, K, k): U of the chosen functions as cotangents of the outputs."""
        return np.einsum("rm,nrk->nmk", self.directions[functions].astype(self.dtype), U.astype(self.dtype, copy=False))

    def _blocks(self, vectors: int) -> Iterator[tuple[slice, int, Points]]:
        size = self.net.block_rows(self.at, vectors)
        for here in progress.bar(slices(self.points, size), text="gradients (blocks of points)"):
            yield here, size, filled(self.at, here, size)

    # -------------------------------------------------------------------------------------------------------- entries
    def gram(self, other: Any, rows: Rows, cols: slice, *, dtype: np.dtype, stacked: bool) -> Array:
        """From gradients that are kept, else block by block, those of as many rows as fit held meanwhile.

        A tile on the diagonal takes each pair of blocks once.
        """
        if self.keeps and other.keeps and dtype == self.dtype:
            A, B = (side.kept()[some] for side, some in ((self, rows), (other, cols)))
            shape = (-1, self.size) if stacked else (-1, self.functions * self.size)
            return A.reshape(shape) @ B.reshape(shape).T
        here, there = self._in(dtype), other._in(dtype)
        mirrored = other is self and isinstance(rows, slice) and rows == cols
        left, right, R = _numbers(rows), _numbers(cols), self.functions if stacked else 1
        found = np.zeros((len(left), R, len(right), R), dtype)
        with _TURN:
            inner = here._passes.stacked if stacked else here._passes.summed
            for some in slices(len(left), self.held):
                for mine in self._function_blocks:
                    A = here._held(left[some], mine)
                    for yours in self._function_blocks if stacked else [mine]:
                        r, s = (mine, yours) if stacked else (slice(0, 1), slice(0, 1))
                        own = [(some, A)] if mirrored and yours == mine else []
                        first = 0 if not mirrored else some.stop if own else some.start
                        for part, B in chain(own, there._gradients(right, yours, first)):
                            entries = np.asarray(inner(A, B))[: some.stop - some.start, :, : part.stop - part.start]
                            found[some, r, part, s] += entries
        matrix = found.reshape(len(left) * R, -1)
        return np.triu(matrix) + np.triu(matrix, 1).T if mirrored else matrix

    def squares(self, dtype: np.dtype) -> Array:
        """(n, R), in blocks of points."""
        found = np.zeros((self.points, self.functions), dtype)
        with _TURN:
            for mine in self._function_blocks:
                for part, arrays in self._in(dtype)._gradients(np.arange(self.points), mine):
                    for array in arrays:
                        own = np.asarray(array)[: part.stop - part.start]
                        found[part, mine] += np.einsum("irp,irp->ir", own, own)
        return found

    def kept(self) -> Array:
        """The gradients of all points, (n, R, P), computed by the thread that asks first."""
        with _TURN:
            if self._kept is None:
                found = np.empty((self.points, self.functions, self.size), self.dtype)
                blocks = self._function_blocks
                with progress.bar(total=self.points * len(blocks), text="gradients (points)") as bar:
                    for mine in blocks:
                        for part, arrays in self._gradients(np.arange(self.points), mine):
                            own = [np.asarray(array)[: part.stop - part.start] for array in arrays]
                            np.concatenate(own, axis=2, out=found[part, mine])
                            bar.update(part.stop - part.start)
                self._kept = found
            return self._kept

    def _held(self, numbers: Array, mine: slice) -> list[Any]:
        """The gradients of some points, (points or a few more, r, p) each, on JAX's device."""
        parts = [arrays for _, arrays in self._gradients(numbers, mine)]
        return parts[0] if len(parts) == 1 else self._passes.joined(parts)

    def _gradients(self, numbers: Array, mine: slice, first: int = 0) -> Iterator[tuple[slice, list[Any]]]:
        """(part of the numbers, gradients there), from the ``first`` number on; the last part is filled up."""
        directions = self.directions[mine].astype(self.dtype)
        each = len(directions) * (self.size * self.dtype.itemsize + self.net.trace(self.at).bytes)
        few = max(FEW, 1 << (len(numbers) - first - 1).bit_length())  # not all points for a sample of them
        size = min(few, block_rows(self.points, each, GRADIENT_BYTES))
        for start in range(first, len(numbers), size):
            part = slice(start, min(start + size, len(numbers)))
            block = filled(self.at, numbers[part], size)
            yield part, self._passes.gradients(*self._weights, block, directions)

    @property
    def _weights(self) -> tuple[list[Any], list[Any]]:
        return self.net.split(self.which)

    @property
    def _passes(self) -> Passes:
        return self.net.program.passes(self.which)

    @property
    def _function_blocks(self) -> list[slice]:
        """Sums of outputs whose gradients at a point fit into a block."""
        return slices(self.functions, max(1, int(GRADIENT_BYTES / (self.size * self.dtype.itemsize))))

    def __reduce__(self) -> tuple[Any, ...]:
        return JaxJacobian, (self.net, self.at, self.which, self.directions if self.mixed else None)

    # ------------------------------------------------------------------------------------------------------- rounding
    def rounding(self, other: Any, kernel: JacobianGram) -> Rounding:
        """An estimate, from a few points in float32 and float64; an assumption where it takes only one of them."""
        sides = [self] if other is self else [self, other]
        some = [side._some() for side in sides]
        sums = [
            float(one.squares(self.dtype).sum()) * side.points / one.points
            for side, one in zip(sides, some, strict=True)
        ]
        size = kernel.scale * (sums[0] * sums[-1]) ** 0.5
        single, double = (np.dtype(kind) for kind in (np.float32, np.float64))
        if not all(self.net.runs_in(kind, self.at) for kind in (single, double)):
            return assumed_rounding(kernel, size)
        made = [
            JacobianGram(*(one._in(kind) for one in some), stacked=kernel.stacked, scale=kernel.scale)
            for kind in (single, double)
        ]
        rough = self.net.in_dtype(double).program.traced.narrows
        return estimated_rounding(kernel, single=made[0], double=made[1], norm_of_absolute=size, rough=rough)

    def _some(self) -> "JaxJacobian":
        return self._alike(self.net, part_of(self.at, compared_points(self.points)))

    def _in(self, dtype: np.dtype) -> "JaxJacobian":
        """The same in another dtype, where the function takes that."""
        if dtype == self.dtype:
            return self
        if dtype not in self._twins:
            runs, net = self.net.runs_in(dtype, self.at), self.net.in_dtype(dtype)
            self._twins[dtype] = self._alike(net, net.as_points(self.at)) if runs else None
        return self._twins[dtype] or self

    def _alike(self, net: "JaxNetwork", points: Points) -> "JaxJacobian":
        return JaxJacobian(net, points, self.which, self.directions if self.mixed else None)


def _numbers(rows: Rows) -> Array:
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else np.asarray(rows)


def _padded(array: Array, wide: int) -> Array:
    """With zeros after its rows, up to ``wide`` of them."""
    return np.concatenate([array, np.zeros((wide - len(array), *array.shape[1:]), array.dtype)])
