"""Networks named in a few characters: fc:4x512, cnn:4x64:k3."""

import re
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.networks.convolutional import Convolutional
from ntkspec.networks.deep import DeepNetwork, halved
from ntkspec.networks.fully_connected import FullyConnected

# The network of equation (3), which has options of its own where experiments take any network.
TWO_LAYER = "two-layer"
MOST_LAYERS = 1000
# A network of more layers than these that is narrower than deep was probably meant the other way round.
USUAL_LAYERS = 64
_PATTERN = re.compile(r"fc:([0-9]{1,18})x([0-9]{1,18})|cnn:([0-9]{1,18})x([0-9]{1,18}):k([0-9]{1,18})")


def named_network(name: str, shape: Sequence[int], activation, *, seed: int = 0, dtype=np.float64) -> DeepNetwork:
    """The network of that name, antisymmetric (ASI), for inputs of a shape, (d,), (length, c) or (height, width, c).

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
            f"network {checks.shown(name)} is unknown; use fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, such as "
            f"fc:4x512"
        )
    layers, width, *size = (int(number) for number in match.groups() if number is not None)
    if not 1 <= layers <= MOST_LAYERS:
        raise ValueError(f"network {name!r} has {layers} hidden layers, but 1 to {MOST_LAYERS} are possible")
    halved(width, 2, "width")
    return layers, width, size[0] if size else None


def refuse_swapped(name: str) -> None:
    """ValueError for a name such as fc:512x4, 512 layers of 4 neurons, with what was probably meant."""
    layers, width, _ = parsed(name)
    if layers > max(width, USUAL_LAYERS):
        kind, rest = name.split(":", 1)
        swapped = f"{kind}:{rest.replace(f'{layers}x{width}', f'{width}x{layers}')}"
        raise ValueError(
            f"network {name!r} has {layers} hidden layers of {width}; for {width} layers of {layers} take {swapped}. "
            f"Networks of more than {USUAL_LAYERS} layers must be as wide as deep here; ntkspec.FullyConnected and "
            f"ntkspec.Convolutional take any"
        )
