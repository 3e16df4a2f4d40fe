"""Networks in files, and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec.activations.functions import Activation, Named, activation
from ntkspec.engines import engine_of, named
from ntkspec.networks.convolutional import Convolutional
from ntkspec.networks.deep import DeepNetwork
from ntkspec.networks.fully_connected import FullyConnected
from ntkspec.networks.saving import Savable
from ntkspec.networks.two_layer import TwoLayer
from ntkspec.storage import read, write

KIND = "network"
_CLASSES: dict[str, Any] = {cls.__name__: cls for cls in (TwoLayer, FullyConnected, Convolutional)}
# Where phi and phi' are compared, on no round number, and to which part of the largest: machines round differently.
_POINTS, _ALIKE = np.linspace(-8.0, 8.0, 64), 1e-5


@dataclass(frozen=True)
class Parts:
    """What a network consists of, as files hold it.

    network : its class. activation, parameters : what names its activation, or the name alone and None for a function
    of the user's own. values : (2, points), phi and phi' at some points. weights : on the host. options : further
    arguments of the class.
    """

    network: str
    activation: str
    parameters: dict | None
    values: np.ndarray
    weights: list
    options: dict


def save_network(net: Savable, path: str | Path) -> None:
    """Write a network; for :meth:`ntkspec.TwoLayer.save` and those of the other classes."""
    write(path, parts_of(net), kind=KIND)


def load_network(
    path: str | Path, *, activation: str | Activation | None = None, engine: str = "cpu"
) -> TwoLayer | DeepNetwork:
    """The network that ``net.save(path)`` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    activation : str or Activation, optional
        The activation of the network. It is needed where that was not a named one: a file holds no functions.
    engine : {"cpu", "gpu"}
        Where the weights are put.

    Returns
    -------
    TwoLayer, FullyConnected or Convolutional
        With the weights bit by bit, in their dtype.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        For a file that is damaged, of another kind or of a newer version; for an unknown activation, one that has to be
        passed, and one that is passed and is not that of the network; and where there is no GPU.

    Notes
    -----
    A file can be taken from strangers: nothing in it is executed. A pickle of a network is quicker to write, but it can
    run anything while it is read, and belongs to the version of the package that wrote it. Cost: one pass over the
    weights.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> ns.FullyConnected.paired(3, [8, 8], "gelu", dtype=np.float32).save("net.h5")
    >>> ns.load_network("net.h5")
    FullyConnected(paired, d=3, widths=[8, 8], activation='gelu')

    A function of one's own is passed again:

    >>> wave = ns.Activation(lambda z: z + np.sin(z), lambda z: 1 + np.cos(z), "wave")
    >>> ns.TwoLayer.random(3, 8, wave).save("net.h5")
    >>> ns.load_network("net.h5", activation=wave)
    TwoLayer(d=3, width=8, activation='wave', dtype=float64)
    """
    named(engine)
    try:
        return network_of(read(path, kind=KIND, types=[Parts]), activation).to(engine)
    except Unfitting as error:
        raise ValueError(f"{path} {error}") from None


class Unfitting(ValueError):
    """Parts that make no network; the message goes on where a file's name stops."""


def parts_of(net: Any) -> Parts:
    """The parts of a network. Raises TypeError / ValueError for one that could not be loaded."""
    if type(net) not in _CLASSES.values():
        known = ", ".join(_CLASSES)
        raise TypeError(f"{type(net).__name__} objects cannot be saved; save one of {known}, or pickle it")
    name, parameters = net.activation.recipe if isinstance(net.activation, Named) else (net.activation.name, None)
    weights = [engine_of(W).to_host(W) for W in net.weights]
    parts = Parts(type(net).__name__, name, parameters, _values(net.activation), weights, net.options)
    _constructed(parts, net.activation)
    return parts


def network_of(parts: Parts, given: str | Activation | None) -> TwoLayer | DeepNetwork:
    """The network of the parts, with its activation where that is not named there. Raises Unfitting."""
    if not isinstance(parts, Parts):
        raise Unfitting("holds no network")
    if given is None and parts.parameters is None:
        raise Unfitting(
            f"holds a network with the activation {parts.activation!r}, a function that is not in the file; pass it "
            f"with activation="
        )
    try:
        act = activation(parts.activation, **(parts.parameters or {})) if given is None else activation(given)
        alike = _alike(_values(act), parts.values)
        net = _constructed(parts, act)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise Unfitting(f"holds no network of this version: {error}") from None
    if not alike:
        raise Unfitting(
            f"holds a network with the activation {parts.activation!r}, but the values of {act.name!r} are others; "
            f"pass the one that it was made with"
        )
    return net


def _constructed(parts: Parts, act: Activation):
    if parts.network not in _CLASSES:
        raise ValueError(f"its class {parts.network!r} is none of {', '.join(_CLASSES)}")
    return _CLASSES[parts.network].made_of(parts.weights, act, **parts.options)


def _values(act: Activation) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.array(act.value_and_derivative(_POINTS))


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    sizes = abs(other[np.isfinite(other)])
    allowed = _ALIKE * float(sizes.max(initial=0.0))
    return one.shape == other.shape and np.allclose(one, other, rtol=_ALIKE, atol=allowed, equal_nan=True)
