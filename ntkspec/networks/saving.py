"""The one method that all networks share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from ntkspec.activations import Activation
from ntkspec.engines.arrays import Array


class Savable:
    """A network that can be kept in a file."""

    @property
    def options(self) -> dict[str, Any]:
        """What a network like it is made with, beside weights and activation."""
        return {}

    @classmethod
    def made_of(cls, weights: Sequence[Array], activation: Activation, **options: Any) -> Self:
        """The network of these weights and options, checked; the inverse of ``weights`` and ``options``."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write the network to a file, which :func:`ntkspec.load_network` reads.

        Parameters
        ----------
        path : str or Path
            The file, which is replaced where there is one. Its folder has to exist.

        Raises
        ------
        FileNotFoundError, PermissionError
            Where the folder does not exist or cannot be written to.
        TypeError
            For a class of network that is not one of this package.
        ValueError
            Where a weight is NaN or infinite.

        Notes
        -----
        The file holds the class, the weights in their dtype and the activation: a named one by its name and parameters,
        any other by some of its values, so that it is passed again when the network is loaded. Weights on a GPU are
        copied to the host. It is whole or not there, also after a kill. Cost: the weights are compressed, some 20 MB a
        second.

        Examples
        --------
        >>> import ntkspec as ns
        >>> ns.TwoLayer.symmetric(3, 8, "relu").save("net.h5")
        >>> ns.load_network("net.h5")
        TwoLayer(d=3, width=8, activation='relu', dtype=float64)
        """
        from ntkspec.networks.saved import save_network  # which is built on the networks

        save_network(self, path)
