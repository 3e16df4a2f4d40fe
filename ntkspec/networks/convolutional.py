"""Convolutional networks in one or two dimensions: circular padding, no pooling, a linear output; equation (12)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation, activation
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.networks.architecture import Architecture
from ntkspec.networks.deep import DeepNetwork, draw, halved, split
from ntkspec.networks.layers import Activate, Layer, Linear, Patches, Reshape


class Convolutional(DeepNetwork):
    r"""A convolutional network in one or two dimensions: circular padding, stride 1, no pooling, a linear output.

    Layer l is phi(W_l * x / sqrt(q c)) for filters of q positions and c channels. One layer and one channel is

    .. math:: f_{CNN}(x; W, V) = \frac{1}{\sqrt{md}} \sum_{r=1}^m v_r^T \phi\left(w_r * x / \sqrt q\right), \qquad
              [w * x]_i = \sum_{j=1}^q w_j x_{i+j-1}

    Parameters
    ----------
    parameters : sequence of arrays
        For each layer (channels, q c_before), the filter's positions outermost, and the output's (1, positions *
        channels), all float32 or all float64; twice for antisymmetric initialization (ASI), the difference of two
        chains of these shapes over sqrt 2. They are kept, not copied.
    shape : sequence of int
        Of an input: (length, channels) or (height, width, channels). Points X are (n, d) with d its product, in C
        order.
    activation_ : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.
    filter_size : int or sequence of int
        Positions of a filter along each axis of space, at most the size of that axis; one number for all axes.

    Attributes
    ----------
    parameters : list of arrays
        The weights, as they were passed.
    activation : Activation
        phi.
    channels : list of int
        Channels of each hidden layer, of both chains together.
    n_weights : int
        Hidden layers and the output: the weight matrices of a chain.

    Raises
    ------
    TypeError
        Where the weights have two dtypes, or one that is neither float32 nor float64.
    ValueError
        Where the sizes do not fit each other, weights are not finite, and for an unknown activation.

    Notes
    -----
    Cost of an output: two flops for each weight of a filter at each position. Patches are copied: a layer keeps q c +
    2 m numbers for each position of a point.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (12).

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> net = ns.Convolutional.random((8, 8, 3), [16, 4], "relu", filter_size=3)
    >>> [W.shape for W in net.parameters]
    [(16, 27), (4, 144), (1, 256)]
    >>> net(np.ones((2, 8 * 8 * 3))).shape
    (2,)
    """

    def __init__(
        self,
        parameters: Sequence[ArrayLike],
        shape: Sequence[int],
        activation_: str | Activation,
        *,
        filter_size: int | Sequence[int],
    ):
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
    def random(
        cls,
        shape: Sequence[int],
        channels: int | Sequence[int],
        activation: str | Activation,
        *,
        filter_size: int | Sequence[int],
        seed: int | Sequence[int] = 0,
        dtype: DTypeLike = np.float64,
    ) -> "Convolutional":
        """A network with independent N(0, 1) weights.

        Parameters
        ----------
        shape : sequence of int
            Of an input: (length, channels) or (height, width, channels).
        channels : int or sequence of int
            Channels of each hidden layer; one number is one hidden layer.
        activation : str or Activation
            phi, by its name or as an :class:`ntkspec.Activation`.
        filter_size : int or sequence of int
            Positions of a filter along each axis of space, at most the size of that axis; one number for all axes.
        seed : int or sequence of int, default 0
            Seed of NumPy's generator: the same one gives the same weights.
        dtype : float32 or float64, default float64
            Of the weights. They are drawn in float64 and rounded.

        Returns
        -------
        Convolutional
            On the CPU; :meth:`to` moves it.

        Raises
        ------
        TypeError
            For another dtype.
        ValueError
            For sizes that are not whole numbers >= 1 or do not fit, and where the weights do not fit into memory.

        Examples
        --------
        >>> import ntkspec as ns
        >>> ns.Convolutional.random((10, 1), 4, "erf", filter_size=3)
        Convolutional(shape=(10, 1), channels=[4], filter_size=(3,), activation='erf')
        """
        layers = _drawn(shape, halved(channels, 1, "channels"), activation, filter_size)
        weights = draw(layers, antisymmetric=False, seed=seed, dtype=dtype)
        return cls(weights, shape, activation, filter_size=filter_size)

    @classmethod
    def paired(
        cls,
        shape: Sequence[int],
        channels: int | Sequence[int],
        activation: str | Activation,
        *,
        filter_size: int | Sequence[int],
        seed: int | Sequence[int] = 0,
        dtype: DTypeLike = np.float64,
    ) -> "Convolutional":
        """Antisymmetric initialization (ASI): the difference of two chains with the same weights, whose output is zero.

        Each chain has half the channels.

        Parameters
        ----------
        shape : sequence of int
            Of an input: (length, channels) or (height, width, channels).
        channels : int or sequence of int
            Channels of each hidden layer, of both chains together: even numbers; one number is one hidden layer.
        activation : str or Activation
            phi, by its name or as an :class:`ntkspec.Activation`.
        filter_size : int or sequence of int
            Positions of a filter along each axis of space, at most the size of that axis; one number for all axes.
        seed : int or sequence of int, default 0
            Seed of NumPy's generator: the same one gives the same weights.
        dtype : float32 or float64, default float64
            Of the weights. They are drawn in float64 and rounded.

        Returns
        -------
        Convolutional
            On the CPU; :meth:`to` moves it.

        Raises
        ------
        TypeError
            For another dtype.
        ValueError
            For sizes that are not whole numbers >= 1 or do not fit, an odd number of
            channels, and where the weights do not fit into memory.

        Examples
        --------
        >>> import numpy as np, ntkspec as ns
        >>> net = ns.Convolutional.paired((10, 1), [4, 4], "erf", filter_size=3)
        >>> bool(abs(net(np.ones((2, 10)))).max() < 1e-15)
        True
        """
        layers = _drawn(shape, halved(channels, 2, "channels"), activation, filter_size)
        weights = draw(layers, antisymmetric=True, seed=seed, dtype=dtype)
        return cls(weights, shape, activation, filter_size=filter_size)

    @classmethod
    def made_of(cls, weights: Sequence[Array], activation: Activation, **options: Any) -> "Convolutional":
        """The network of these weights and options, checked."""
        return cls(weights, activation_=activation, **options)

    @property
    def dim(self) -> int:
        """d, the number of entries of an input: the product of its shape."""
        return math.prod(self.shape)

    @property
    def architecture(self) -> Architecture:
        """What its kernels of infinite width and its linear model depend on."""
        return Architecture(self.activation, len(self.channels), self.shape, self.filter_size)

    @property
    def options(self) -> dict[str, Any]:
        """What a network like it is made with, beside weights and activation."""
        return {"shape": self.shape, "filter_size": self.filter_size}

    @property
    def activations_per_point(self) -> int:
        """Numbers that a forward pass keeps for a point: patches, phi and phi' of every layer."""
        q, positions = math.prod(self.filter_size), math.prod(self.shape[:-1])
        return positions * sum(
            q * c + 2 * m for c, m in zip([self.shape[-1], *self.channels], self.channels, strict=False)
        )

    @property
    def flops(self) -> float:
        """Floating-point operations of an output: two for each weight at each position."""
        positions = math.prod(self.shape[:-1])
        filters = sum(W.size for W in self.parameters if len(W) > 1)
        return 2.0 * (positions * filters + sum(W.size for W in self.parameters if len(W) == 1))

    def __repr__(self) -> str:
        kind = "paired, " if self.antisymmetric else ""
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


def image_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """(length, channels) or (height, width, channels) as whole numbers. Raises ValueError."""
    given = tuple(shape) if np.ndim(shape) else ()
    if len(given) not in (2, 3):
        raise ValueError(f"shape={checks.shown(shape)}, but (length, channels) or (height, width, channels) is needed")
    return tuple(checks.whole_number(size, "each size of shape", 1) for size in given)


def filter_sizes(filter_size: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """The filter's size along each axis of space, at most that axis. Raises ValueError."""
    space = shape[:-1]
    given: Any = filter_size
    sizes = tuple(given) if np.ndim(given) else (given,) * len(space)
    if len(sizes) != len(space):
        raise ValueError(
            f"filter_size={checks.shown(filter_size)}, but inputs of shape {shape} need {len(space)} sizes, or one "
            f"for all"
        )
    for size, room in zip(sizes, space, strict=True):
        if checks.whole_number(size, "filter_size", 1) > room:
            raise ValueError(f"filter_size={filter_size!r} is larger than the {space} positions of an input")
    return tuple(int(size) for size in sizes)
