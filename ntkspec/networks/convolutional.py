"""Convolutional networks in one or two dimensions: circular padding, no pooling, a linear output; equation (12)."""

import math
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation, activation
from ntkspec.networks.deep import DeepNetwork, draw, halved, split
from ntkspec.networks.layers import Activate, Layer, Linear, Patches, Reshape


class Convolutional(DeepNetwork):
    r"""Layers phi(W_l * x / sqrt(q c)), filters of q positions and c channels, and a linear output on all of the last.

    .. math:: f_{CNN}(x; W, V) = \frac{1}{\sqrt{md}} \sum_{r=1}^m v_r^T \phi\left(w_r * x / \sqrt q\right), \qquad
              [w * x]_i = \sum_{j=1}^q w_j x_{i+j-1}

    is the case of one layer and one channel, equation (12). shape : of an input, (length, c) or (height, width, c); X
    is (n, d) with d its product, in C order. filter_size : positions along each axis of space, one number or one for
    each. parameters : for each layer (channels, q c_before), the filter's positions outermost, and the output's
    (1, positions * channels); twice for a paired network.
    """

    def __init__(self, parameters, shape: Sequence[int], activation_: str | Activation, *, filter_size):
        parameters = list(parameters)
        act, self.shape = activation(activation_), image_shape(shape)
        self.filter_size = filter_sizes(filter_size, self.shape)
        chain = split([checks.as_floats(W, "a weight matrix").shape for W in parameters])
        if len(chain) < 2:
            raise ValueError(f"{len(chain)} weight matrices came, but a convolution and the output need two at least")
        own = [rows for rows, _ in chain[:-1]]
        self.channels = [width * len(parameters) // len(chain) for width in own]
        super().__init__(_layers(self.shape, own, act, self.filter_size), parameters, act)

    @classmethod
    def random(cls, shape, channels, activation, *, filter_size, seed=0, dtype=np.float64) -> "Convolutional":
        """N(0, 1) weights. channels : of each layer, one number or a list."""
        layers = _drawn(shape, halved(channels, 1, "channels"), activation, filter_size)
        return cls(draw(layers, paired=False, seed=seed, dtype=dtype), shape, activation, filter_size=filter_size)

    @classmethod
    def paired(cls, shape, channels, activation, *, filter_size, seed=0, dtype=np.float64) -> "Convolutional":
        """Two chains of half the channels with the same weights and opposite signs, so that the output is zero."""
        layers = _drawn(shape, halved(channels, 2, "channels"), activation, filter_size)
        return cls(draw(layers, paired=True, seed=seed, dtype=dtype), shape, activation, filter_size=filter_size)

    @property
    def dim(self) -> int:
        """d, the numbers of an input."""
        return math.prod(self.shape)

    @property
    def numbers(self) -> int:
        """Patches, phi and phi' of every layer."""
        q, positions = math.prod(self.filter_size), math.prod(self.shape[:-1])
        return positions * sum(
            q * c + 2 * m for c, m in zip([self.shape[-1], *self.channels], self.channels, strict=False)
        )

    @property
    def flops(self) -> float:
        """Two for each weight at each position."""
        positions = math.prod(self.shape[:-1])
        filters = sum(W.size for W in self.parameters if len(W) > 1)
        return 2.0 * (positions * filters + sum(W.size for W in self.parameters if len(W) == 1))

    def __repr__(self) -> str:
        kind = "paired, " if self.doubled else ""
        return (
            f"Convolutional({kind}shape={self.shape}, channels={self.channels}, filter_size={self.filter_size}, "
            f"activation={self.activation.name!r})"
        )


def _layers(shape, channels: Sequence[int], act: Activation, size) -> list[Layer]:
    layers: list[Layer] = [Reshape((math.prod(shape),), shape)]
    space, before = shape[:-1], shape[-1]
    for width in channels:
        layers += [Patches(size), Linear(math.prod(size) * before, width), Activate(act)]
        before = width
    flat = math.prod(space) * before
    return [*layers, Reshape((*space, before), (flat,)), Linear(flat, 1)]


def _drawn(shape, channels, act, filter_size) -> list[Layer]:
    shape = image_shape(shape)
    return _layers(shape, channels, activation(act), filter_sizes(filter_size, shape))


def image_shape(shape) -> tuple[int, ...]:
    """(length, channels) or (height, width, channels) as whole numbers. Raises ValueError."""
    given = tuple(shape) if np.ndim(shape) else ()
    if len(given) not in (2, 3):
        raise ValueError(f"shape={shape!r}, but (length, channels) or (height, width, channels) is needed")
    return tuple(checks.whole_number(size, "each size of shape", 1) for size in given)


def filter_sizes(filter_size, shape) -> tuple[int, ...]:
    """The filter's size along each axis of space, at most that axis. Raises ValueError."""
    space = shape[:-1]
    sizes = tuple(filter_size) if np.ndim(filter_size) else (filter_size,) * len(space)
    if len(sizes) != len(space):
        raise ValueError(
            f"filter_size={filter_size!r}, but inputs of shape {shape} need {len(space)} sizes, or one for all"
        )
    for size, room in zip(sizes, space, strict=True):
        if checks.whole_number(size, "filter_size", 1) > room:
            raise ValueError(f"filter_size={filter_size!r} is larger than the {space} positions of an input")
    return tuple(int(size) for size in sizes)
