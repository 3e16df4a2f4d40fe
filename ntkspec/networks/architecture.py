"""What the theory needs to know of a built-in network."""

from dataclasses import dataclass
from typing import Any

from ntkspec.activations import Activation


@dataclass(frozen=True)
class Architecture:
    """What kernels of infinite width and linear models depend on: no weights, no widths.

    shape, filter_size : those of :class:`ntkspec.Convolutional`; None of fully-connected networks.
    """

    activation: Activation
    hidden_layers: int
    shape: tuple[int, ...] | None = None
    filter_size: tuple[int, ...] | None = None

    @property
    def convolutional(self) -> bool:
        """Whether it has filters."""
        return self.filter_size is not None


def architecture_of(net: Any, what: str, advice: str) -> Architecture:
    """That of a built-in network; TypeError for one that the theory does not know, with what is asked of it."""
    found = getattr(net, "architecture", None)
    if not isinstance(found, Architecture):
        raise TypeError(f"{what} of a {type(net).__name__} is not known; {advice}")
    return found
