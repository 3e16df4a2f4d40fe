"""Inner products of the gradients of one parameter at two sets of points."""

from torch import Tensor

from ntkspec.networks.torch.factors.convolution import Convolution
from ntkspec.networks.torch.factors.embedding import Embedding
from ntkspec.networks.torch.factors.outer import Outer
from ntkspec.networks.torch.factors.readings import Factor
from ntkspec.networks.torch.factors.sides import Side
from ntkspec.operators.tiles import slices

# Numbers of gradients, and of Gram matrices of positions, that are formed at a time.
GRADIENTS, POSITIONS = 2**26, 2**23
# Rows of a symmetric tile that are multiplied together.
STRIP = 128


def add_gram(out: Tensor, left: Side, right: Side, *, stacked: bool) -> None:
    """Add the inner products of gradients to a tile: (n R, n' R), or (n, n') where they are summed over R functions.

    Where both sides are one object, only the lower triangle is certain to be complete.
    """
    one, other = left.alone, right.alone
    if one is None or other is None:
        _add_by_gradients(out, left, right, stacked)
    elif isinstance(one, Embedding) and isinstance(other, Embedding) and by_positions(one, other, stacked):
        _add_by_rows_of_table(out, left, right, stacked)
    elif by_positions(one, other, stacked):
        _add_by_positions(out, left.outer(), right.outer() if right is not left else None, stacked)
    else:
        _add_by_gradients(out, left, right, stacked)


def flops(one: Factor, other: Factor, stacked: bool) -> tuple[float, float]:
    """Of one pair of points: through Gram matrices of positions, and through gradients."""
    R = one.tensors[-1].shape[1]
    pairs = R * R if stacked else R
    by_gradients = 2.0 * pairs * one.view.size
    if isinstance(one, Outer) and isinstance(other, Outer):
        T, d_in, d_out = one.a.shape[1] * other.a.shape[1], one.a.shape[2], one.g.shape[3]
    elif isinstance(one, Convolution) and isinstance(other, Convolution) and one.geometry.groups == 1:
        T, d_in, d_out = one.positions * other.positions, one.view.size // one.rows, one.rows
    elif isinstance(one, Embedding) and isinstance(other, Embedding):
        T, d_in, d_out = one.index.shape[1] * other.index.shape[1], 1, one.g.shape[3]
    else:
        return float("inf"), by_gradients
    # A pass over the products of two Gram matrices takes about as long as 16 flops an entry.
    return T * (2.0 * (d_in + pairs * d_out) + 16 * (pairs if stacked else 1)), by_gradients


def by_positions(one: Factor, other: Factor, stacked: bool) -> bool:
    """Whether Gram matrices of positions take fewer flops than gradients."""
    positions, gradients = flops(one, other, stacked)
    return positions < gradients


def _add_by_gradients(out: Tensor, left: Side, right: Side, stacked: bool) -> None:
    R = left.blocks[0][0].tensors[-1].shape[1]
    functions = [slice(0, R)] if stacked else [slice(r, r + 1) for r in range(R)]
    each = R if stacked else 1
    rows, width = left.rows
    most = max(1, GRADIENTS // (each * width))  # points whose gradients have room, a row at least
    step = max(1, most // max(left.points, right.points))
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
                    G = some.gradients(chosen, piece)
                    add_product(part, G, G if same else others.gradients(chosen, piece))


def add_product(out: Tensor, G: Tensor, H: Tensor) -> None:
    """Add G Hᵀ to ``out``; of G Gᵀ little more than the lower triangle."""
    if G is not H:
        out.addmm_(G, H.T)
        return
    for start in range(0, len(G), STRIP):
        stop = min(start + STRIP, len(G))
        out[start:stop, :stop].addmm_(G[start:stop], G[:stop].T)


def _add_by_positions(out: Tensor, one: Outer, other: Outer | None, stacked: bool) -> None:
    two = one if other is None else other
    n2, T2 = two.a.shape[:2]
    R, T = one.g.shape[1:3]
    each = R if stacked else 1
    for some in _strips(len(one.a), T * T2 * each * each * n2, halved=other is None):
        own, cols = one[some], two[: some.stop] if other is None else two
        n, m = len(own.a), len(cols.a)
        A = (own.a.flatten(0, 1) @ cols.a.flatten(0, 1).T).reshape(n, 1, T, m, 1, T2)
        g, g2 = (part.g if stacked else part.g.transpose(1, 2).flatten(2)[:, None] for part in (own, cols))
        G = (g.flatten(0, 2) @ g2.flatten(0, 2).T).reshape(n, each, T, m, each, T2)
        out[some.start * each : some.stop * each, : m * each] += (A * G).sum(dim=(2, 5)).reshape(n * each, -1)


def _strips(n: int, width: int, *, halved: bool) -> list[slice]:
    """``range(n)`` in pieces whose Gram matrices of positions have room; some, where each meets those before it."""
    step = POSITIONS // width
    return slices(n, max(1, min(step, STRIP, -(-n // 4)) if halved else step))


def _add_by_rows_of_table(out: Tensor, left: Side, right: Side, stacked: bool) -> None:
    """Positions that look the same row up; the others have no inner product."""
    (index, g), (index2, g2) = left.tensors(), right.tensors()
    R, T, T2, n2 = *g.shape[1:3], index2.shape[1], len(index2)
    each = R if stacked else 1
    for some in _strips(len(index), T * T2 * each * each * n2, halved=False):
        n = some.stop - some.start
        same = (index[some].reshape(n, 1, T, 1, 1, 1) == index2[None, None, None, :, None]).reshape(n, 1, T, n2, 1, T2)
        h, h2 = (part if stacked else part.transpose(1, 2).flatten(2)[:, None] for part in (g[some], g2))
        G = (h.flatten(0, 2) @ h2.flatten(0, 2).T).reshape(n, each, T, n2, each, T2)
        out[some.start * each : some.stop * each] += (same * G).sum(dim=(2, 5)).reshape(n * each, -1)
