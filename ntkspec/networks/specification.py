"""Networks named in a few characters: fc:4x512, cnn:4x64:k3."""

import re
from collections.abc import Sequence

import numpy as np

from ntkspec.networks.convolutional import Convolutional
from ntkspec.networks.deep import DeepNetwork, halved
from ntkspec.networks.fully_connected import FullyConnected

# The network of equation (3), which has options of its own where experiments take any network.
TWO_LAYER = "two-layer"
MOST_LAYERS = 1000
_PATTERN = re.compile(r"fc:(\d+)x(\d+)|cnn:(\d+)x(\d+):k(\d+)")


def named_network(name: str, shape: Sequence[int], activation, *, seed: int = 0, dtype=np.float64) -> DeepNetwork:
    """The paired network of that name for inputs of a shape, (d,), (length, c) or (height, width, c).

    fc:4x512 has 4 hidden layers of 512 neurons, cnn:4x64:k3 has 4 of 64 channels with filters of 3 positions along
    each axis; vectors (d,) are sequences with one channel, as in equation (12). Raises ValueError for another name.
    """
    layers, width, size = parsed(name)
    stack = [width] * layers
    if size is None:
        return FullyConnected.paired(int(np.prod(shape)), stack, activation, seed=seed, dtype=dtype)
    shape = (*shape, 1) if len(shape) == 1 else shape
    return Convolutional.paired(shape, stack, activation, filter_size=size, seed=seed, dtype=dtype)


def parsed(name: str) -> tuple[int, int, int | None]:
    """(hidden layers, width or channels, positions of a filter or None). Raises ValueError where there is no such."""
    match = _PATTERN.fullmatch(name)
    if not match:
        raise ValueError(
            f"network {name!r} is unknown; use fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, such as fc:4x512"
        )
    layers, width, *size = (int(number) for number in match.groups() if number is not None)
    if not 1 <= layers <= MOST_LAYERS:
        raise ValueError(f"network {name!r} has {layers} hidden layers, but 1 to {MOST_LAYERS} are possible")
    halved(width, 2, "width")
    return layers, width, size[0] if size else None
