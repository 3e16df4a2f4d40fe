"""The layers of a network, by what users call them: whose share of the kernel and whose movement is tracked."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.networks.naming import matching
from ntkspec.networks.outputs import OutputChoice
from ntkspec.networks.protocol import Layer, Network, Points, names_of
from ntkspec.networks.trained_layers import trained_layers
from ntkspec.spectra.traces import trace


@dataclass(frozen=True)
class NamedLayer:
    """A layer. argument : what :func:`ntkspec.ntk` calls it. weights : places among the weights of its network."""

    name: str
    argument: Layer
    weights: tuple[int, ...]


def layers_of(net: Network, layer: Layer) -> list[NamedLayer]:
    """The layers of a network that ``layer`` names, in the order of its weights.

    Parameters of one module, such as "0.weight" and "0.bias", are one layer.
    """
    if isinstance(net, TwoLayer):
        pairs = (NamedLayer("first", "first", (0,)), NamedLayer("second", "second", (1,)))
        return [one for one in pairs if layer in ("all", "both", one.name)]
    if isinstance(net, DeepNetwork):
        chosen, count = trained_layers(layer, net.n_weights), net.n_weights
        return [NamedLayer(f"layer {k}", k, tuple(range(k, len(net.weights), count))) for k in chosen]
    return list(_by_modules(net, layer))


def _by_modules(net: Network, layer: Layer) -> Iterator[NamedLayer]:
    names = names_of(net)
    chosen = names if layer == "all" else matching(layer, "layer", {name: [name] for name in names})
    modules: dict[str, list[str]] = {}
    for name in chosen:
        modules.setdefault(name.rpartition(".")[0] or name, []).append(name)
    for module, own in modules.items():
        yield NamedLayer(module, own, tuple(names.index(name) for name in own))


def shares(net: Network, points: Points, layers: list[NamedLayer], outputs: OutputChoice) -> np.ndarray:
    """(layers,), of the trace of the kernel; NaN where that is zero."""
    kernels = (net.kernel(points, None, layer=one.argument, outputs=outputs) for one in layers)
    traces = np.array([float(trace(kernel)) for kernel in kernels])
    return traces / traces.sum() if traces.sum() > 0 else np.full(len(layers), np.nan)


def movements(before: list[np.ndarray], now: list[np.ndarray], layers: list[NamedLayer]) -> tuple[float, np.ndarray]:
    """Euclidean distance of the weights over their size before: of all layers, and (layers,) of each.

    Infinite where weights that were zero have moved.
    """
    moved, size = ([_squares(before, now, one, moved=which) for one in layers] for which in (True, False))
    return _ratio(sum(moved), sum(size)), np.array([_ratio(*pair) for pair in zip(moved, size, strict=True)])


def _squares(before: list[np.ndarray], now: list[np.ndarray], layer: NamedLayer, *, moved: bool) -> float:
    pairs = ((before[k].astype(np.float64), now[k]) for k in layer.weights)
    return sum(float(np.square(after - first if moved else first).sum()) for first, after in pairs)


def _ratio(moved: float, size: float) -> float:
    return float(np.sqrt(moved / size)) if size else (np.inf if moved else 0.0)


def on_host(net: Network) -> list[np.ndarray]:
    """Copies of its weights."""
    return [np.array(engine_of(W).to_host(W)) for W in net.weights]
