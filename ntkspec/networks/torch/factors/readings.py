"""What each kind of node in the autograd graph says of the gradient in one of its inputs, a parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from ntkspec.networks.torch.factors.convolution import Convolution, Geometry
from ntkspec.networks.torch.factors.embedding import Embedding
from ntkspec.networks.torch.factors.layouts import Layout
from ntkspec.networks.torch.factors.nodes import kind, whole
from ntkspec.networks.torch.factors.outer import Outer
from ntkspec.networks.torch.factors.per_point import PerPoint, summed
from ntkspec.networks.torch.factors.views import View

Factor: TypeAlias = Outer | Convolution | Embedding | PerPoint
# A tensor of a pass with its points first: Layout.points_first, which makes one copy for several layers.
PointsFirst: TypeAlias = Callable[[Tensor, Layout], Tensor]


class Reading(Protocol):
    """One use of a parameter in one pass. axes : those of an oriented gradient that points can lie along."""

    @property
    def axes(self) -> tuple[int, ...]: ...

    def orient(self, g: Tensor) -> Tensor:
        """The gradient of one function in the node's output, in the form that ``axes`` counts."""

    def part(self, g: Tensor, layout: Layout, n: int) -> Tensor:
        """What is kept of that gradient: (n, ...)."""

    def factors(self, G: Tensor, layout: Layout, view: View, first: PointsFirst) -> list[Factor]:
        """From the parts of R functions, (n, R, ...)."""


@dataclass
class _Matrix:
    """out = inputs Wᵀ for (h, rows, d_in) and W (h, d_out, d_in); the transpose of the node's where ``flipped``."""

    inputs: Tensor
    flipped: bool
    axes: tuple[int, ...] = (1,)

    def orient(self, g: Tensor) -> Tensor:
        g = g[None] if g.ndim == 2 else g
        return g.mT if self.flipped else g

    def part(self, g: Tensor, layout: Layout, n: int) -> Tensor:
        return layout.points_first(self.orient(g), n)

    def factors(self, G: Tensor, layout: Layout, view: View, first: PointsFirst) -> list[Factor]:
        a = first(self.inputs, layout)  # (n, T, h, d_in), and G is (n, R, T, h, d_out)
        views = [view] if len(view.shape) == 2 else [view.part(h) for h in range(view.shape[0])]
        own = views if self.flipped else [one.T for one in views]
        return [Outer(a[:, :, h], G[:, :, :, h], one) for h, one in enumerate(own)]


class _Output:
    """Of a gradient in a node's output that is kept as it is."""

    def orient(self, g: Tensor) -> Tensor:
        return g

    def part(self, g: Tensor, layout: Layout, n: int) -> Tensor:
        return layout.points_first(g, n)


@dataclass
class _Vector(_Output):
    """out = inputs w for inputs (rows, d)."""

    inputs: Tensor
    axes: tuple[int, ...] = (0,)

    def factors(self, G: Tensor, layout: Layout, view: View, first: PointsFirst) -> list[Factor]:
        return [Outer(first(self.inputs, layout), G[..., None], view.shaped((1, view.size)))]


@dataclass
class _Convolution(_Output):
    """A convolution's filters."""

    inputs: Tensor
    geometry: Geometry
    axes: tuple[int, ...] = (0,)

    def factors(self, G: Tensor, layout: Layout, view: View, first: PointsFirst) -> list[Factor]:
        return [Convolution(first(self.inputs, layout), G, self.geometry, view)]


class _Embedding(_Output):
    """A matrix whose rows are looked up."""

    def __init__(self, numbers: Tensor, unused: int):
        self.numbers, self.unused = numbers, unused
        self.axes = tuple(range(numbers.ndim))

    def part(self, g: Tensor, layout: Layout, n: int) -> Tensor:
        return layout.points_first(g.masked_fill((self.numbers == self.unused)[..., None], 0), n)

    def factors(self, G: Tensor, layout: Layout, view: View, first: PointsFirst) -> list[Factor]:
        return [Embedding(first(self.numbers, layout).flatten(1), G.flatten(2, -2), view)]


class _Entries(_Output):
    """A tensor that is broadcast to entries of the output; ``times`` makes an output gradient that of the entries."""

    def __init__(self, shape: tuple[int, ...], ndim: int, times: Callable[[Tensor], Tensor]):
        self.times, self.shape = times, (1,) * (ndim - len(shape)) + tuple(shape)
        self.axes = tuple(axis for axis, size in enumerate(self.shape) if size == 1)

    def part(self, g: Tensor, layout: Layout, n: int) -> Tensor:
        own = self.shape[: layout.axis] + self.shape[layout.axis + 1 :]
        return summed(layout.points_first(self.times(g), n), own)

    def factors(self, G: Tensor, layout: Layout, view: View, first: PointsFirst) -> list[Factor]:
        return [PerPoint(G, view)]


# ------------------------------------------------------------------------------------------------- kinds of nodes
def reading_of(node: Any, slot: int, view: View) -> Reading | None:
    """What a node says of its input ``slot``, which is a view of a parameter; None where it is not understood."""
    read = READERS.get(kind(node))
    return None if read is None else read(node, slot, view)


def _product(first: str, second: str, shift: int) -> Callable[[Any, int, View], Reading | None]:
    """Of ``first @ second``, which are inputs ``shift`` and ``shift + 1`` of the node; before them an addend."""

    def read(node: Any, slot: int, view: View) -> Reading | None:
        if shift and (node._saved_alpha != 1 or node._saved_beta != 1):
            return None
        if slot < shift:
            return _entries(node, slot, view)
        inputs = getattr(node, first) if slot > shift else getattr(node, second).mT
        return _Matrix(inputs[None] if inputs.ndim == 2 else inputs, flipped=slot == shift)

    return read


def _entries(node: Any, slot: int, view: View, times: Callable[[Tensor], Tensor] = lambda g: g) -> Reading:
    return _Entries(view.shape, len(node._input_metadata[0].shape), times)


def _vector(node: Any, slot: int, view: View) -> Reading | None:
    return _Vector(node._saved_self) if slot == 1 else None


def _convolution(node: Any, slot: int, view: View) -> Reading | None:
    x, dims = node._saved_input, node._saved_input.ndim - 2
    if slot == 2:
        return _Entries((*view.shape, *(1,) * dims), dims + 2, lambda g: g)
    if node._saved_transposed:
        return None
    stride, padding, dilation = (
        tuple(map(int, numbers)) for numbers in (node._saved_stride, node._saved_padding, node._saved_dilation)
    )
    return _Convolution(x, Geometry(view.shape[2:], stride, padding, dilation, node._saved_groups))


def _embedding(node: Any, slot: int, view: View) -> Reading | None:
    if node._saved_scale_grad_by_freq or node._saved_sparse:
        return None
    return _Embedding(node._saved_indices, whole(node._saved_padding_idx))


def _sum(node: Any, slot: int, view: View) -> Reading | None:
    sign = -1 if kind(node) == "Sub" else 1
    return _entries(node, slot, view, lambda g: g if slot == 0 else sign * node._saved_alpha * g)


def _times(node: Any, slot: int, view: View) -> Reading | None:
    other = node._saved_other if slot == 0 else node._saved_self
    return _entries(node, slot, view, lambda g: g * other.detach())


def _over(node: Any, slot: int, view: View) -> Reading | None:
    if slot:
        return None
    other = node._saved_other
    return _entries(node, slot, view, lambda g: g / other.detach())


def _layer_norm(node: Any, slot: int, view: View) -> Reading | None:
    x, mean, rate = (t.detach() for t in (node._saved_input, node._saved_result1, node._saved_result2))
    return _affine(node, slot, view.shape, lambda: (x - mean) * rate)


def _group_norm(node: Any, slot: int, view: View) -> Reading | None:
    x, mean, rate = (t.detach() for t in (node._saved_input, node._saved_result1, node._saved_result2))

    def normal() -> Tensor:
        grouped = x.reshape(*mean.shape, -1)
        return ((grouped - mean[..., None]) * rate[..., None]).reshape(x.shape)

    return _affine(node, slot, (*view.shape, *(1,) * (x.ndim - 2)), normal)


def _batch_norm(node: Any, slot: int, view: View) -> Reading | None:
    if node._saved_training:
        return None
    x, mean, variance = (t.detach() for t in (node._saved_input, node._saved_running_mean, node._saved_running_var))
    shape = (*view.shape, *(1,) * (x.ndim - 2))
    rate = (variance + node._saved_eps).rsqrt()
    return _affine(node, slot, shape, lambda: (x - mean.reshape(shape)) * rate.reshape(shape))


def _affine(node: Any, slot: int, shape: tuple[int, ...], normal: Callable[[], Tensor]) -> Reading | None:
    """Of weight * normal() + bias."""
    dims = len(node._input_metadata[0].shape)
    if slot == 2:
        return _Entries(shape, dims, lambda g: g)
    return _Entries(shape, dims, lambda g: g * normal()) if slot == 1 else None


def _prelu(node: Any, slot: int, view: View) -> Reading | None:
    x = node._saved_self.detach()
    return _entries(node, slot, view, lambda g: g * x.clamp(max=0)) if slot == 1 else None


READERS: dict[str, Callable[[Any, int, View], Reading | None]] = {
    "Mm": _product("_saved_self", "_saved_mat2", 0),
    "Addmm": _product("_saved_mat1", "_saved_mat2", 1),
    "Bmm": _product("_saved_self", "_saved_mat2", 0),
    "Baddbmm": _product("_saved_batch1", "_saved_batch2", 1),
    "Mv": _vector,
    "Convolution": _convolution,
    "Embedding": _embedding,
    "Add": _sum,
    "Sub": _sum,
    "Mul": _times,
    "Div": _over,
    "Expand": _entries,
    "NativeLayerNorm": _layer_norm,
    "NativeGroupNorm": _group_norm,
    "NativeBatchNorm": _batch_norm,
    "CudnnBatchNorm": _batch_norm,
    "PreluKernel": _prelu,
}
