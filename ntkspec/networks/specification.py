"""Networks named in a few characters: fc:4x512, cnn:4x64:k3."""

import re
from collections.abc import Sequence

import numpy as np

from ntkspec.networks.convolutional import Convolutional
from ntkspec.networks.deep import DeepNetwork
from ntkspec.networks.fully_connected import FullyConnected

_PATTERN = re.compile(r"(fc):(\d+)x(\d+)|(cnn):(\d+)x(\d+):k(\d+)")


def named_network(name: str, shape: Sequence[int], activation, *, seed: int = 0, dtype=np.float64) -> DeepNetwork:
    """The paired network of that name for inputs of a shape, (d,), (length, c) or (height, width, c).

    fc:4x512 has 4 hidden layers of 512 neurons, cnn:4x64:k3 has 4 of 64 channels with filters of 3 positions along
    each axis. Raises ValueError for another name, and for a cnn where the inputs are not images.
    """
    match = _PATTERN.fullmatch(name)
    if not match:
        raise ValueError(
            f"network {name!r} is unknown; use fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, such as fc:4x512"
        )
    dense, depth, width, _, layers, channels, size = match.groups()
    if dense:
        return FullyConnected.paired(int(np.prod(shape)), [int(width)] * int(depth), activation, seed=seed, dtype=dtype)
    if len(shape) == 1:
        raise ValueError(f"{name} convolves images, but the inputs are vectors of {shape[0]} numbers; use fc:...")
    stack = [int(channels)] * int(layers)
    return Convolutional.paired(shape, stack, activation, filter_size=int(size), seed=seed, dtype=dtype)
