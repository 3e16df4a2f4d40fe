"""How the tensor that a layer computes with lies in its parameter."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ntkspec.networks.torch.factors.nodes import kind, shapes, whole

# What an operation makes of its input: functions of (input, node, number of the output, shape of the output).
Step = Callable[[Tensor, Any, int, tuple[int, ...]], Tensor]


def _split(t: Tensor, node: Any, number: int, shape: tuple[int, ...]) -> Tensor:
    size = node._saved_split_size
    return t.narrow(whole(node._saved_dim), number * size, shape[whole(node._saved_dim)])


def _split_with_sizes(t: Tensor, node: Any, number: int, shape: tuple[int, ...]) -> Tensor:
    return t.split([int(size) for size in node._saved_split_sizes], whole(node._saved_dim))[number]


def _slice(t: Tensor, node: Any, number: int, shape: tuple[int, ...]) -> Tensor:
    dim, step = whole(node._saved_dim), node._saved_step
    start = 0 if node._saved_start is None else whole(node._saved_start)
    start = min(max(start + t.shape[dim] if start < 0 else start, 0), t.shape[dim])
    return (
        t.index_select(dim, start + step * torch.arange(shape[dim], device=t.device))
        if step > 1
        else t.narrow(dim, start, shape[dim])
    )


# Operations that hand each entry of a parameter on, unchanged; a View works on sizes that points never have.
STEPS: dict[str, Step] = {
    "T": lambda t, node, number, shape: t.t(),
    "Transpose": lambda t, node, number, shape: t.transpose(whole(node._saved_dim0), whole(node._saved_dim1)),
    "Permute": lambda t, node, number, shape: t.permute([whole(dim) for dim in node._saved_dims]),
    "View": lambda t, node, number, shape: t.reshape(shape),
    "UnsafeView": lambda t, node, number, shape: t.reshape(shape),
    "ReshapeAlias": lambda t, node, number, shape: t.reshape(shape),
    "Unsqueeze": lambda t, node, number, shape: t.reshape(shape),
    "Squeeze": lambda t, node, number, shape: t.reshape(shape),
    "Alias": lambda t, node, number, shape: t,
    "Clone": lambda t, node, number, shape: t,
    "Select": lambda t, node, number, shape: t.select(whole(node._saved_dim), whole(node._saved_index)),
    "Slice": _slice,
    "Split": _split,
    "UnsafeSplit": _split,
    "SplitWithSizes": _split_with_sizes,
    "Unbind": lambda t, node, number, shape: t.unbind(whole(node._saved_dim))[number],
}


def _other(node: Any) -> Tensor:
    """The factor that a parameter is multiplied with."""
    return node._saved_self if node._saved_other is None else node._saved_other


# Operations that select or repeat entries of a parameter, where no point has a part in it.
SELECTIONS: dict[str, Step] = {
    "Embedding": lambda t, node, number, shape: t[node._saved_indices],
    "Index": lambda t, node, number, shape: t[tuple(slice(None) if i is None else i for i in node._saved_indices)],
    "IndexSelect": lambda t, node, number, shape: t.index_select(whole(node._saved_dim), node._saved_index),
    "Expand": lambda t, node, number, shape: t.expand(shape),
}
# ... and that multiply them with constants.
MULTIPLES: dict[str, Step] = {
    "Mul": lambda t, node, number, shape: t * _other(node),
    "Div": lambda t, node, number, shape: t / node._saved_other,
    "Neg": lambda t, node, number, shape: -t,
}
WHERE_FIXED = {*SELECTIONS, *MULTIPLES}


@dataclass(frozen=True, eq=False)
class View:
    """A tensor W of this shape, whose entries are entries of a parameter theta, times ``scale`` where there is one.

    Its flattened entries are those of theta from ``start`` on, of the transposed matrix where ``swapped``; or those
    with the numbers ``index``, which may repeat.
    """

    shape: tuple[int, ...]
    start: int = 0
    swapped: bool = False
    index: Tensor | None = None
    scale: Tensor | None = None

    @property
    def size(self) -> int:
        """Entries of W."""
        return int(torch.Size(self.shape).numel())

    @property
    def rows_of_parameter(self) -> bool:
        """Whether the rows of W, one after the other, are theta's entries from ``start`` on."""
        return not self.swapped and self.index is None and self.scale is None

    def of(self, theta: Tensor) -> Tensor:
        """W of k parameters (k, size of theta): (k, *shape)."""
        k = len(theta)
        if self.index is not None:
            W = theta[:, self.index].reshape(k, *self.shape)
        else:
            W = theta[:, self.start : self.start + self.size]
            W = W.reshape(k, *self.shape[::-1]).transpose(1, 2) if self.swapped else W.reshape(k, *self.shape)
        return W if self.scale is None else W * self.scale.to(W)

    def add(self, out: Tensor, gradients: Tensor) -> None:
        """Add gradients (..., *shape) in W to those in theta, (..., size of theta)."""
        gradients = gradients if self.scale is None else gradients * self.scale.to(gradients)
        gradients = gradients.transpose(-1, -2) if self.swapped else gradients
        flat = gradients.reshape(*out.shape[:-1], self.size)
        if self.index is None:
            out[..., self.start : self.start + self.size] += flat
        else:
            out.index_add_(-1, self.index, flat)

    def absolute(self) -> "View":
        """Of absolute values."""
        return self if self.scale is None else replace(self, scale=self.scale.abs())

    def part(self, h: int) -> "View":
        """The view of W[h]."""
        shape = self.shape[1:]
        size = self.size // self.shape[0]
        index = None if self.index is None else self.index[h * size : (h + 1) * size]
        return View(shape, self.start + h * size, index=index, scale=None if self.scale is None else self.scale[h])

    def shaped(self, shape: tuple[int, ...]) -> "View":
        """Of the same entries in another shape; of a view that is not swapped."""
        return replace(self, shape=shape, scale=None if self.scale is None else self.scale.reshape(shape))

    @property
    def T(self) -> "View":
        """The view of the transposed matrix."""
        scale, shape = None if self.scale is None else self.scale.T.contiguous(), self.shape[::-1]
        if self.index is None:
            return replace(self, shape=shape, swapped=not self.swapped, scale=scale)
        return View(shape, index=self.index.reshape(self.shape).T.flatten(), scale=scale)


def view_of(parameter: Tensor, steps: tuple[tuple[Any, int], ...]) -> View:
    """Of the tensor at the end of the operations that a parameter goes through."""
    theta = parameter.detach().contiguous()
    kinds = {kind(node) for node, _ in steps}
    if not kinds & WHERE_FIXED:
        W = _through(theta, steps)
        if W.untyped_storage().data_ptr() == theta.untyped_storage().data_ptr():
            start = int(W.storage_offset() - theta.storage_offset())
            if W.is_contiguous():
                return View(tuple(W.shape), start)
            if W.ndim == 2 and W.T.is_contiguous():
                return View(tuple(W.shape), start, swapped=True)
    numbers = torch.arange(theta.numel(), device=theta.device).reshape(theta.shape)
    index = _through(numbers, [step for step in steps if kind(step[0]) not in MULTIPLES])
    scale = _through(torch.ones_like(theta), steps).contiguous() if kinds & {*MULTIPLES} else None
    index = index if scale is None else index.expand(scale.shape)
    if scale is not None and bool((scale == scale.flatten()[0]).all()):
        scale = scale.flatten()[0]
    return _simplified(index, scale)


def _through(t: Tensor, steps: Any) -> Tensor:
    for node, number in steps:
        what = kind(node)
        step = STEPS.get(what) or SELECTIONS.get(what) or MULTIPLES[what]
        t = step(t, node, number, shapes(node)[number])
    return t


def _simplified(index: Tensor, scale: Tensor | None) -> View:
    """Without numbers, where they are consecutive, or are those of a transposed matrix."""
    shape, flat = tuple(index.shape), index.flatten()
    if _consecutive(flat):
        return View(shape, int(flat[0]), scale=scale)
    if len(shape) == 2 and _consecutive(index.T.flatten()):
        return View(shape, int(flat[0]), swapped=True, scale=scale)
    return View(shape, index=flat, scale=scale)


def _consecutive(numbers: Tensor) -> bool:
    return torch.equal(numbers, numbers[0] + torch.arange(len(numbers), device=numbers.device))
