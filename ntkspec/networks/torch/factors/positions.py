"""Inner products of gradients through Gram matrices of positions, sum_tt' <a_t, a'_t'> <g_t, g'_t'>: no gradient is
formed. Positions come before points here, so that sums over positions add whole matrices of points."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ntkspec.networks.torch.factors.convolution import Convolution, Geometry
from ntkspec.networks.torch.factors.embedding import Embedding
from ntkspec.networks.torch.factors.outer import Outer
from ntkspec.networks.torch.factors.readings import Factor
from ntkspec.networks.torch.factors.sides import Room, Side
from ntkspec.operators.tiles import slices

# Numbers of a Gram matrix of positions that is formed at a time; points of a symmetric tile that are taken together.
POSITIONS, STRIP = 2**21, 128
# A pass over the entries of such matrices takes about as long as so many flops an entry.
PASS = 16.0


@dataclass(frozen=True)
class Inputs:
    """How the inputs of two uses of a parameter meet.

    of : from what is kept of inputs (n, ...) to (*places, n, d). grams : from those of two sides to their inner
    products at all positions, (T, n, T', n'). flops : for one pair of points.
    """

    of: Callable[[Tensor], Tensor]
    grams: Callable[[Tensor, Tensor, Room], Tensor]
    flops: float


def inputs_of(one: Factor, other: Factor) -> Inputs | None:
    """For two uses of a parameter; None where gradients have to be formed."""
    if isinstance(one, Outer) and isinstance(other, Outer):
        pairs = one.a.shape[1] * other.a.shape[1]
        return Inputs(lambda a: a.transpose(0, 1), _products, 2.0 * one.a.shape[2] * pairs)
    if isinstance(one, Embedding) and isinstance(other, Embedding):
        pairs = one.index.shape[1] * other.index.shape[1]
        return Inputs(lambda index: index.T[..., None], _equal, 2.0 * pairs)
    if isinstance(one, Convolution) and isinstance(other, Convolution) and one.geometry.groups == 1:
        return _of_convolutions(one, other)
    return None


def _of_convolutions(one: Convolution, other: Convolution) -> Inputs:
    """Inner products of patches are sums of those of single pixels, where that takes fewer flops."""
    channels, geometry = one.x.shape[2], one.geometry
    pixels, pairs = (float(f(one) * f(other)) for f in (lambda c: c.x[0, :, 0].numel(), lambda c: c.positions))
    taps = torch.Size(geometry.kernel).numel()
    by_pixels, by_patches = 2.0 * channels * pixels + PASS * taps * pairs, 2.0 * channels * taps * pairs
    if by_pixels < by_patches:
        spaces = one.g.shape[4:], other.g.shape[4:]
        return Inputs(lambda x: x.movedim((0, 2), (-2, -1)), partial(_summed, geometry, *spaces), by_pixels)

    def patches(x: Tensor) -> Tensor:
        seen = geometry.patches(x.flatten(0, 1))[:, 0]
        return seen.reshape(len(x), -1, seen.shape[2]).transpose(0, 1)

    return Inputs(patches, _products, by_patches)


def flops(one: Factor, other: Factor, *, stacked: bool) -> float:
    """Of one pair of points."""
    inputs, R = inputs_of(one, other), one.tensors[-1].shape[1]
    if inputs is None:
        return float("inf")
    g, g2 = _output_gradients(one), _output_gradients(other)
    functions = R * R if stacked else R
    pairs = len(g) * len(g2)
    return inputs.flops + pairs * (2.0 * functions * g.shape[3] + PASS * (functions if stacked else 1))


def add_by_positions(out: Tensor, left: Side, right: Side, room: Room, *, stacked: bool) -> None:
    """Add the inner products of gradients in a parameter with one use, as :func:`grams.add_gram` does."""
    inputs = inputs_of(left.blocks[0][0], right.blocks[0][0])
    assert inputs is not None
    a, g = _positions(left, inputs)
    a2, g2 = (a, g) if right is left else _positions(right, inputs)
    (T, n, R, _), (T2, n2) = g.shape, g2.shape[:2]
    each = R if stacked else 1
    if not stacked:
        g, g2 = (part.flatten(2)[:, :, None] for part in (g, g2))
    widest = max(T * T2 * each * each, a[..., 0, 0].numel() * a2[..., 0, 0].numel())
    for some in _strips(n, widest * n2, halved=right is left):
        cols = slice(0, some.stop if right is left else n2)
        A = inputs.grams(a[..., some, :], a2[..., cols, :], room)[:, :, None, :, :, None]
        G = _products(g[:, some].flatten(1, 2), g2[:, cols].flatten(1, 2), room, 2)
        G = G.unflatten(3, (-1, each)).unflatten(1, (-1, each)).mul_(A)
        place = out[some.start * each : some.stop * each, : cols.stop * each]
        place += G.sum(dim=(0, 3)).view(place.shape)


def _positions(side: Side, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Inputs (*places, n, d) and output gradients (T, n, R, d_out) of all points."""
    kept, _ = side.tensors()
    g = torch.cat([_output_gradients(own[0]) for own in side.blocks], dim=1)
    return inputs.of(kept).contiguous(), g


def _output_gradients(one: Factor) -> Tensor:
    """(T, n, R, d_out)."""
    g = one.tensors[-1]
    return g.flatten(4).movedim((2, 4), (0, 1)).flatten(0, 1) if isinstance(one, Convolution) else g.movedim(2, 0)


def _strips(n: int, width: int, *, halved: bool) -> list[slice]:
    """``range(n)`` in pieces whose Gram matrices of positions have room; some, where each meets those before it."""
    step = POSITIONS // width
    return slices(n, max(1, min(step, STRIP, -(-n // 4)) if halved else step))


# ------------------------------------------------------------------------------------------------- grams of inputs
def _products(a: Tensor, b: Tensor, room: Room, place: int = 3) -> Tensor:
    """<a[t, i], b[t', j]> for a (*places, n, d): (T, n, T', n')."""
    a, b = a.flatten(0, -3), b.flatten(0, -3)
    shape = (*a.shape[:2], *b.shape[:2])
    held = room.take(place, torch.Size(shape).numel(), a)
    torch.mm(a.flatten(0, 1), b.flatten(0, 1).T, out=held.view(shape[0] * shape[1], -1))
    return held.view(shape)


def _equal(index: Tensor, index2: Tensor, room: Room) -> Tensor:
    """Positions that look the same row up; the others have no inner product."""
    return index[:, :, None] == index2[..., 0]


def _summed(geometry: Geometry, space: torch.Size, space2: torch.Size, x: Tensor, x2: Tensor, room: Room) -> Tensor:
    """Of patches at output positions ``space`` and ``space2``, from pixels x (m, *places, n, d)."""
    (m, *places, n, _), (m2, *places2, n2, _) = x.shape, x2.shape
    B = _products(x, x2, room, 4).view(m, *places, n, m2, *places2, n2)
    shape = (m, *space, n, m2, *space2, n2)
    A = room.take(3, torch.Size(shape).numel(), B).view(shape).zero_()
    every = slice(None)
    for one, other in zip(_taps(geometry, places, space), _taps(geometry, places2, space2), strict=True):
        to, start = ((every, *a, every, every, *b, every) for a, b in zip(one, other, strict=True))
        A[to] += B[start]
    return A.view(m * space.numel(), n, m2 * space2.numel(), n2)


def _taps(geometry: Geometry, places: list[int], space: torch.Size) -> Iterator[tuple[list[slice], list[slice]]]:
    """For each place in the kernel: the output positions where it lies inside of the input, and the pixels there."""
    axes = []
    settings = zip(places, space, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    for size, outputs, kernel, stride, padding, dilation in settings:
        shifts = [k * dilation - padding for k in range(kernel)]
        first = [max(0, -(shift // stride)) for shift in shifts]
        last = [min(outputs - 1, (size - 1 - shift) // stride) for shift in shifts]
        axes.append(
            [
                (slice(f, l + 1), slice(f * stride + s, l * stride + s + 1, stride)) if l >= f else (slice(0), slice(0))
                for f, l, s in zip(first, last, shifts, strict=True)
            ]
        )
    for place in itertools.product(*axes):
        yield [to for to, _ in place], [start for _, start in place]
