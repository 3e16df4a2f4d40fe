"""Inner products of the gradients of one parameter at two sets of points."""

import torch
from torch import Tensor

from ntkspec.networks.torch.blocks import fitting
from ntkspec.networks.torch.factors import positions
from ntkspec.networks.torch.factors.per_point import PerPoint
from ntkspec.networks.torch.factors.readings import Factor
from ntkspec.networks.torch.factors.sides import Room, Side
from ntkspec.operators.tiles import slices

# Numbers of gradients in float32 that are formed at a time where the memory has room; half as many in float64.
GRADIENTS = 2**24
# Share of the free memory that those of rows, and as many of columns, take at most.
GRADIENTS_SHARE = 0.1
# Rows of a symmetric tile that are multiplied together.
STRIP = 128


def add_gram(out: Tensor, left: Side, right: Side, room: Room, *, stacked: bool) -> None:
    """Add the inner products of gradients to a tile: (n R, n' R), or (n, n') where they are summed over R functions.

    Where both sides are one object, only the lower triangle is certain to be complete.
    """
    one, other = left.alone, right.alone
    if isinstance(one, PerPoint) is not isinstance(other, PerPoint):  # of points of another size
        left, right = left.formed(), right.formed()
        one, other = left.alone, right.alone
    if one is not None and other is not None and by_positions(one, other, stacked):
        positions.add_by_positions(out, left, right, room, stacked=stacked)
    else:
        _add_by_gradients(out, left, right, room, stacked)


def flops(one: Factor, other: Factor, stacked: bool) -> tuple[float, float]:
    """Of one pair of points: through Gram matrices of positions, and through gradients."""
    R = one.tensors[-1].shape[1]
    by_gradients = 2.0 * (R * R if stacked else R) * one.view.size
    return positions.flops(one, other, stacked=stacked), by_gradients


def by_positions(one: Factor, other: Factor, stacked: bool) -> bool:
    """Whether Gram matrices of positions take fewer flops than gradients."""
    through_positions, through_gradients = flops(one, other, stacked)
    return through_positions < through_gradients


def _add_by_gradients(out: Tensor, left: Side, right: Side, room: Room, stacked: bool) -> None:
    R = left.blocks[0][0].tensors[-1].shape[1]
    functions = [slice(0, R)] if stacked else [slice(r, r + 1) for r in range(R)]
    each = R if stacked else 1
    rows, width = left.rows
    # Points whose gradients have room, a row at least.
    most = max(1, numbers_together(out.dtype, out.device) // (each * width))
    step = max(1, most // max(left.points, right.points))
    step = -(-rows // -(-rows // step))  # pieces of about one size
    for i in range(0, left.points, most):
        some = left if most >= left.points else left.some(slice(i, min(i + most, left.points)))
        for j in range(0, right.points, most):
            same = right is left and i == j
            others = right if most >= right.points else right.some(slice(j, min(j + most, right.points)))
            if right is left and j > i:
                continue
            part = out[i * each : (i + some.points) * each, j * each : (j + others.points) * each]
            for chosen in functions:
                for piece in slices(rows, step):
                    G = some.gradients(chosen, piece, room)
                    add_product(part, G, G if same else others.gradients(chosen, piece, room, place=1))


def numbers_together(dtype: torch.dtype, device: torch.device) -> int:
    """Numbers of gradients that are formed at a time."""
    return fitting(4.0 * GRADIENTS, dtype.itemsize, device, GRADIENTS_SHARE)


def add_product(out: Tensor, G: Tensor, H: Tensor) -> None:
    """Add G Hᵀ to ``out``; of G Gᵀ little more than the lower triangle."""
    if G is not H:
        out.addmm_(G, H.T)
        return
    for start in range(0, len(G), STRIP):
        stop = min(start + STRIP, len(G))
        out[start:stop, :stop].addmm_(G[start:stop], G[:stop].T)
