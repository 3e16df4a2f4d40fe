"""Networks named in a few characters: two-layer, fc:4x512, cnn:4x64:k3, and in sweeps fc:3xd^1.5."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.engines.arrays import DTypeLike
from ntkspec.networks.convolutional import Convolutional
from ntkspec.networks.deep import DeepNetwork, halved
from ntkspec.networks.fully_connected import FullyConnected
from ntkspec.networks.size_laws import width_of
from ntkspec.networks.two_layer import TwoLayer, even_width

# The network of equation (3), whose width is not in its name.
TWO_LAYER = "two-layer"
# The width of a network that a cell of a sweep sets.
ANY_WIDTH = "m"
MOST_LAYERS = 1000
# A network of more layers than these that is narrower than deep was probably meant the other way round.
USUAL_LAYERS = 64
_DEEP = re.compile(r"fc:([0-9]{1,18})x([^:]+)|cnn:([0-9]{1,18})x([^:]+):k([0-9]{1,18})")
_FIXED = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class NetworkSpec:
    """What the name of a network says, parsed once.

    kind : "two-layer" (equation (3)), "fc" or "cnn". width : of each hidden layer, neurons or channels: a number, a law
    such as "d^1.5" or "inf", or "m", which :meth:`with_width` replaces. filter_size : positions along each axis, of
    "cnn" alone.
    """

    kind: str = TWO_LAYER
    hidden_layers: int = 1
    width: str = ANY_WIDTH
    filter_size: int | None = None

    @classmethod
    def parse(cls, name: str) -> "NetworkSpec":
        """Of two-layer, fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE. Raises ValueError for another name.

        Whether the width is a size is seen where it is used.
        """
        if name == TWO_LAYER:
            return cls()
        match = _DEEP.fullmatch(name)
        if not match:
            raise _unknown(name)
        layers, width, *size = (part for part in match.groups() if part is not None)
        if not 1 <= int(layers) <= MOST_LAYERS:
            raise ValueError(
                f"network {checks.shown(name)} has {int(layers)} hidden layers, but 1 to {MOST_LAYERS} are possible"
            )
        return cls("cnn" if size else "fc", int(layers), width, int(size[0]) if size else None)

    @property
    def deep(self) -> bool:
        """Whether it is another network than that of equation (3)."""
        return self.kind != TWO_LAYER

    @property
    def name(self) -> str:
        """What :meth:`parse` takes."""
        size = "" if self.filter_size is None else f":k{self.filter_size}"
        return f"{self.kind}:{self.hidden_layers}x{self.width}{size}" if self.deep else TWO_LAYER

    @property
    def label(self) -> str:
        """The name, or of two layers the width, for titles."""
        return self.name if self.deep else f"m = {self.width}"

    @property
    def of_any_width(self) -> "NetworkSpec":
        """The same network with the width m, as the cells of a sweep name it."""
        return self.with_width(ANY_WIDTH)

    def with_width(self, width: int | str) -> "NetworkSpec":
        """The same network with another width, or law of it."""
        return replace(self, width=str(width))

    def width_at(self, d: int) -> int:
        """The width that its law gives in dimension d, even; 0 for "inf". Raises ValueError where it is no law."""
        return width_of(self.width, d)

    def fixed_width(self) -> int:
        """The width where it is an even number. Raises ValueError for a law and for an odd number."""
        if not _FIXED.fullmatch(self.width):
            raise _unknown(self.name)
        width = int(self.width)
        if self.deep:
            halved(width, 2, "width")
            return width
        return even_width(width)

    def refuse_swapped(self) -> None:
        """ValueError for a name such as fc:512x4, 512 layers of 4 neurons, with what was probably meant."""
        layers, width = self.hidden_layers, self.fixed_width()
        if layers > max(width, USUAL_LAYERS):
            swapped = replace(self, hidden_layers=width, width=str(layers)).name
            raise ValueError(
                f"network {self.name!r} has {layers} hidden layers of {width}; for {width} layers of {layers} take "
                f"{swapped}. Networks of more than {USUAL_LAYERS} layers must be as wide as deep here; "
                f"ntkspec.FullyConnected and ntkspec.Convolutional take any"
            )

    def build(
        self,
        shape: Sequence[int],
        activation: str | Activation,
        *,
        second: str = "rademacher",
        seed: int = 0,
        dtype: DTypeLike = np.float64,
    ) -> TwoLayer | DeepNetwork:
        """The antisymmetric network (ASI) for inputs of a shape, (d,), (length, c) or (height, width, c).

        second : initial second layer of two layers.
        """
        if self.deep:
            return self.build_deep(shape, activation, seed=seed, dtype=dtype)
        return self.build_two_layer(int(np.prod(shape)), activation, second=second, seed=seed, dtype=dtype)

    def build_two_layer(
        self,
        d: int,
        activation: str | Activation,
        *,
        second: str = "rademacher",
        seed: int = 0,
        dtype: DTypeLike = np.float64,
    ) -> TwoLayer:
        """:meth:`build` of two layers for inputs (d,)."""
        return TwoLayer.symmetric(d, self.fixed_width(), activation, second=second, seed=seed, dtype=dtype)

    def build_deep(
        self, shape: Sequence[int], activation: str | Activation, *, seed: int = 0, dtype: DTypeLike = np.float64
    ) -> DeepNetwork:
        """:meth:`build` of "fc" and "cnn"; to the latter vectors (d,) are sequences with one channel, equation (12).

        Raises ValueError for two layers.
        """
        if not self.deep:
            raise _unknown(self.name)
        widths = [self.fixed_width()] * self.hidden_layers
        if self.filter_size is None:
            return FullyConnected.paired(int(np.prod(shape)), widths, activation, seed=seed, dtype=dtype)
        shape = (*shape, 1) if len(shape) == 1 else shape
        return Convolutional.paired(shape, widths, activation, filter_size=self.filter_size, seed=seed, dtype=dtype)


def _unknown(name: str) -> ValueError:
    return ValueError(
        f"network {checks.shown(name)} is unknown; use fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, such as fc:4x512 "
        f"(a sweep also two-layer and fc:3xd^1.5, analyze and spectrum FILE.py:FUNCTION)"
    )
