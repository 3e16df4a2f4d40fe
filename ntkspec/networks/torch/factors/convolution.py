"""Convolutions in any number of dimensions."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ntkspec.networks.torch.factors.outer import inner
from ntkspec.networks.torch.factors.views import View
from ntkspec.operators.tiles import slices

# Numbers of patches that are copied at a time; points whose gradients are formed together.
PATCHES, POINTS = 2**20, 4
# Channels whose products at one place of the kernel are too small to be worth a call.
FEW = 16


@dataclass(frozen=True)
class Geometry:
    """Of a convolution, one number for each axis of space."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def convolve(self, x: Tensor, W: Tensor) -> Tensor:
        """Inputs (b, channels, *space) with filters (outputs, channels of a group, *kernel)."""
        zeros = (0,) * len(self.kernel)
        return torch.convolution(x, W, None, self.stride, self.padding, self.dilation, False, zeros, self.groups)

    def pull(self, x: Tensor, h: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The gradient in filters of this shape of <h, convolve(x, W)>."""
        zeros = (0,) * len(self.kernel)
        return torch.ops.aten.convolution_backward(
            h,
            x,
            x.new_empty(1).expand(shape),
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            zeros,
            self.groups,
            (False, True, False),
        )[1]

    def patches(self, x: Tensor) -> Tensor:
        """What each output position sees of x (b, channels, *space): (b, groups, positions, channels * kernel).

        A copy, larger than x by the size of the kernel.
        """
        b, channels = x.shape[:2]
        if len(self.kernel) == 2 and self.groups == 1:
            return F.unfold(x, self.kernel, self.dilation, self.padding, self.stride).mT[:, None]
        x = self.padded(x)
        settings = zip(x.shape[2:], self.kernel, self.stride, self.dilation, strict=True)
        space = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in settings]
        steps = x.stride()[2:]
        strides = [step * s for step, s in zip(steps, self.stride, strict=True)]
        taps = [step * d for step, d in zip(steps, self.dilation, strict=True)]
        seen = x.as_strided(
            (b, self.groups, *space, channels // self.groups, *self.kernel),
            (x.stride(0), x.stride(1) * (channels // self.groups), *strides, x.stride(1), *taps),
        )
        return seen.reshape(b, self.groups, torch.Size(space).numel(), -1)

    def padded(self, x: Tensor) -> Tensor:
        """With zeros around each axis of space."""
        return F.pad(x, [size for p in reversed(self.padding) for size in (p, p)]) if any(self.padding) else x

    def windows(self, x: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(g, what g meets) for gradients g (b, outputs, *space) and one group: g (b, outputs, L), inputs (b, L, d).

        For stride 1 the inputs at each place of the kernel, d channels: with channels last these are consecutive
        numbers of the padded x, so that nothing is copied; g lies on the grid of the padded x, whose rows are longer,
        with zeros at their ends. Otherwise, and for few channels, a copy of the patches.
        """
        x = self.padded(x).movedim(1, -1).contiguous()
        channels, space, strides = x.shape[-1], g.shape[2:], x.stride()[1:-1]
        taps = tuple(step * d for step, d in zip(strides, self.dilation, strict=True))
        if set(self.stride) != {1} or channels < FEW:
            steps = (step * s for step, s in zip(strides, self.stride, strict=True))
            seen = x.as_strided((len(x), *space, *self.kernel, channels), (x.stride(0), *steps, *taps, 1))
            return g.flatten(2), [seen.reshape(len(x), space.numel(), -1)]
        longer = [full - size for full, size in zip(x.shape[1:-1], space, strict=True)]
        length = 1 + sum((size - 1) * step for size, step in zip(space, strides, strict=True)) // channels
        g = F.pad(g, [size for rest in reversed(longer[1:]) for size in (0, rest)]).flatten(2)[..., :length]
        places = itertools.product(*map(range, self.kernel))
        starts = [sum(k * step for k, step in zip(place, taps, strict=True)) for place in places]
        return g, [x.as_strided((len(x), length, channels), (x.stride(0), channels, 1), start) for start in starts]


@dataclass(frozen=True, eq=False)
class Convolution:
    """Gradients in filters W (outputs, channels of a group, *kernel), of m images for each point.

    x : inputs (n, m, channels, *space). g : output gradients (n, R, m, outputs, *space). view : of W in its parameter.
    """

    x: Tensor
    g: Tensor
    geometry: Geometry
    view: View

    @property
    def tensors(self) -> list[Tensor]:
        """What it keeps."""
        return [self.x, self.g]

    @property
    def rows(self) -> int:
        """Outputs."""
        return self.g.shape[3]

    @property
    def positions(self) -> int:
        """T, at which a filter is used for each point."""
        return self.g.shape[2] * self.g.shape[4:].numel()

    @property
    def flops(self) -> float:
        """Of a pull or a push of one vector, for a point."""
        return 2.0 * self.positions * self.view.size

    def __getitem__(self, which: slice | Tensor) -> "Convolution":
        return Convolution(self.x[which], self.g[which], self.geometry, self.view)

    def absolute(self) -> "Convolution":
        """Of absolute values."""
        return Convolution(self.x.abs(), self.g.abs(), self.geometry, self.view)

    def of(self, functions: slice) -> "Convolution":
        """Of some of the functions."""
        return Convolution(self.x, self.g[:, functions], self.geometry, self.view)

    def pull(self, U: Tensor) -> Tensor:
        """sum_ir U[i, r] times the gradients, (k, *shape) for U (n, R, k)."""
        pulled = U.new_empty(U.shape[2], *self.view.shape)
        for k, own in enumerate(pulled):
            own.copy_(self._pull_one(U[..., k]))
        return pulled

    def _pull_one(self, u: Tensor) -> Tensor:
        n, R = u.shape
        g = self.g.reshape(n, R, -1)
        h = u[:, 0, None] * g[:, 0] if R == 1 else (u[:, None] @ g)[:, 0]
        return self.geometry.pull(self.x.flatten(0, 1), h.reshape(-1, *self.g.shape[3:]), self.view.shape)

    def push(self, W: Tensor) -> Tensor:
        """The gradients' inner products with W (k, *shape): (n, R, k)."""
        n, R = self.g.shape[:2]
        x, g = self.x.flatten(0, 1), self.g.reshape(n, R, -1)
        return torch.cat([inner(g, self.geometry.convolve(x, one).reshape(n, 1, -1)) for one in W], dim=2)

    def gradients(self, rows: slice) -> Tensor:
        """(n, R, rows, channels of a group * kernel), for some outputs; a few points at a time."""
        n, R, m = self.g.shape[:3]
        groups, width = self.geometry.groups, self.view.size // self.rows
        each = self.rows // groups
        some = slice(rows.start // each, -(-rows.stop // each))
        own = slice(rows.start - some.start * each, rows.stop - some.start * each)
        out = self.g.new_empty(n, R, rows.stop - rows.start, width)
        for few in slices(n, max(1, PATCHES // (m * self.positions * groups * width))):
            count = few.stop - few.start
            seen = self.geometry.patches(self.x[few].flatten(0, 1))[:, some].unflatten(0, (count, m))
            g = self.g[few].reshape(count, R, m, groups, each, -1)[:, :, :, some]
            left = g.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (count, groups, R each, m positions)
            found = left @ seen.transpose(1, 2).flatten(2, 3)
            out[few] = found.unflatten(2, (R, each)).transpose(1, 2).flatten(2, 3)[:, :, own]
        return out

    def fill(self, out: Tensor, rows: slice) -> None:
        """Make ``out`` (n, R, numbers) the gradients of some outputs, in an order that only depends on the shapes."""
        R, m = self.g.shape[1:3]
        if m > 1 or self.geometry.groups > 1:
            out.copy_(self.gradients(rows).flatten(2))
            return
        for few in slices(len(out), POINTS):
            g, seen = self.geometry.windows(self.x[few, 0], self.g[few, :, 0, rows].flatten(1, 2))
            g = g.unflatten(1, (R, -1))
            own = out[few].view(len(g), R, len(seen), g.shape[2], -1)
            for r in range(R):
                for place, inputs in enumerate(seen):
                    torch.bmm(g[:, r], inputs, out=own[:, r, place])
