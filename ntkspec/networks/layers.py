"""Small layers that compose into networks: forward, and the two directions of their derivative.

Arrays are (n, ...): one entry for each data point, then positions, then channels. A layer with weights multiplies the
last axis; convolutions are the gathering of circular patches and such a product. Everything is written for the engine's
array module.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array


class Layer(Protocol):
    """y = layer(x) with weights W, None where it has none. ``saved`` is what forward keeps for jvp and vjp."""

    @property
    def weights(self) -> tuple[int, int] | None:
        """The shape of its weights, if it has any."""

    def forward(self, W: Any, x: Array) -> tuple[Array, Any]:
        """(y, saved)."""

    def jvp(self, W: Any, saved: Any, tangent: Array | None, W_tangent: Array | None) -> Array | None:
        """How y moves when x moves by ``tangent`` and the weights by ``W_tangent``; either may be None, for nothing."""

    def vjp(self, W: Any, saved: Any, cotangent: Array) -> Array:
        """The cotangent of x."""


class Linear:
    """x Wᵀ / sqrt(fan in) on the last axis, W (out, in): the NTK parameterization, without bias."""

    def __init__(self, fan_in: int, fan_out: int):
        self.weights = fan_out, fan_in
        self._scale = fan_in**-0.5

    def forward(self, W: Any, x: Array) -> tuple[Array, Any]:
        return self._times(x, W.T), x

    def jvp(self, W: Any, saved: Any, tangent: Array | None, W_tangent: Array | None) -> Array | None:
        moved = None if tangent is None else self._times(tangent, W.T)
        turned = None if W_tangent is None else self._times(saved, W_tangent.T)
        return turned if moved is None else moved if turned is None else moved + turned

    def vjp(self, W: Any, saved: Any, cotangent: Array) -> Array:
        return self._times(cotangent, W)

    def gradient(self, saved: Array, cotangent: Array) -> Array:
        """The cotangent of W: sum over points and positions of cotangent xᵀ / sqrt(fan in), shape (out, in)."""
        scaled = cotangent.dtype.type(self._scale)
        return scaled * (cotangent.reshape(-1, self.weights[0]).T @ saved.reshape(-1, self.weights[1]))

    def gradients(self, saved: Array, cotangent: Array) -> Array:
        """The same for each point on its own, (n, out * in)."""
        (n, *_), (fan_out, fan_in), scaled = saved.shape, self.weights, saved.dtype.type(self._scale)
        left, right = cotangent.reshape(n, -1, fan_out), saved.reshape(n, -1, fan_in)
        return (scaled * (left.swapaxes(1, 2) @ right)).reshape(n, -1)

    def _times(self, x, matrix):
        product = x.reshape(-1, x.shape[-1]) @ matrix
        product *= product.dtype.type(self._scale)
        return product.reshape(*x.shape[:-1], matrix.shape[1])


class Activate:
    """phi entry by entry."""

    weights = None

    def __init__(self, activation: Activation):
        self.activation = activation

    def forward(self, W: Any, x: Array) -> tuple[Array, Any]:
        value, slope = engine_of(x).xp.empty_like(x), engine_of(x).xp.empty_like(x)
        self.activation.fill(x, value, slope)
        return value, slope

    def jvp(self, W: Any, saved: Any, tangent: Array | None, W_tangent: Array | None) -> Array | None:
        return None if tangent is None else saved * tangent

    def vjp(self, W: Any, saved: Any, cotangent: Array) -> Array:
        return saved * cotangent


class Patches:
    """For each position the channels of ``size`` positions from it on, circularly: (n, *space, c) to (n, *space, q c).

    size : one number for each axis of space; q is their product. Equation (12) has [w * x]_i = sum_j w_j x_{i+j-1}.
    """

    weights = None

    def __init__(self, size: Sequence[int]):
        self.size = tuple(size)
        self._axes = tuple(range(1, 1 + len(self.size)))
        self._shifts = list(np.ndindex(*self.size))

    def forward(self, W: Any, x: Array) -> tuple[Array, Any]:
        xp, channels = engine_of(x).xp, x.shape[-1]
        patches = xp.empty((*x.shape[:-1], len(self._shifts) * channels), x.dtype)
        longer = x
        for axis, size in zip(self._axes, self.size, strict=True):
            longer = xp.concatenate([longer, longer[_along(axis, slice(size - 1))]], axis=axis)
        for k, part in enumerate(self._parts(longer, x.shape)):
            patches[..., k * channels : (k + 1) * channels] = part
        return patches, None

    def jvp(self, W: Any, saved: Any, tangent: Array | None, W_tangent: Array | None) -> Array | None:
        return None if tangent is None else self.forward(W, tangent)[0]

    def vjp(self, W: Any, saved: Any, cotangent: Array) -> Array:
        xp, channels = engine_of(cotangent).xp, cotangent.shape[-1] // len(self._shifts)
        space = cotangent.shape[1:-1]
        rooms = [room + size - 1 for room, size in zip(space, self.size, strict=True)]
        longer = xp.zeros((len(cotangent), *rooms, channels), cotangent.dtype)
        for k, part in enumerate(self._parts(longer, cotangent.shape)):
            part += cotangent[..., k * channels : (k + 1) * channels]
        for axis, room in zip(self._axes, space, strict=True):
            inside, beyond = _along(axis, slice(room)), _along(axis, slice(room, None))
            start = _along(axis, slice(longer.shape[axis] - room))
            longer[start] += longer[beyond]
            longer = longer[inside]
        return longer

    def _parts(self, longer, shape) -> list:
        """For each shift the positions from it on, of an array that goes on for a patch beyond the end."""
        space = shape[1:-1]
        return [
            longer[:, *(slice(s, s + room) for s, room in zip(shift, space, strict=True))] for shift in self._shifts
        ]


class Reshape:
    """Each point in another shape: flat inputs to images, the last features to one axis."""

    weights = None

    def __init__(self, before: Sequence[int], after: Sequence[int]):
        self.before, self.after = tuple(before), tuple(after)

    def forward(self, W: Any, x: Array) -> tuple[Array, Any]:
        return x.reshape(len(x), *self.after), None

    def jvp(self, W: Any, saved: Any, tangent: Array | None, W_tangent: Array | None) -> Array | None:
        return None if tangent is None else tangent.reshape(len(tangent), *self.after)

    def vjp(self, W: Any, saved: Any, cotangent: Array) -> Array:
        return cotangent.reshape(len(cotangent), *self.before)


def _along(axis: int, part: slice) -> tuple:
    """The index of a part of one axis."""
    return (slice(None),) * axis + (part,)
