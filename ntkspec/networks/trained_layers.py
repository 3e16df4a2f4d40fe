"""Which weight matrices are trained: the argument ``layer`` of all kernels."""

from ntkspec import checks
from ntkspec.networks.protocol import Layer


def layers_of_two(layer: Layer) -> str:
    """ "first", "second" or "both" of a two-layer network, of which "all" is another word for "both"."""
    return "both" if layer == "all" else checks.one_of(layer, "layer", (*checks.LAYERS, "all"))


def trained_layers(layer: Layer, n_weights: int) -> range:
    """The numbers of the weight matrices that ``layer`` names, of those from 0 at the input to n_weights - 1."""
    numbers = f"0 (first) to {n_weights - 1} (last)"
    if not isinstance(layer, str):
        number = checks.whole_number(layer, "layer", 0)
        if number >= n_weights:
            raise ValueError(f"layer={layer!r}, but weight matrices are counted from {numbers}; pass 'all' for all")
        return range(number, number + 1)
    if n_weights == 2:
        return {"first": range(1), "second": range(1, 2), "both": range(2)}[layers_of_two(layer)]
    if layer == "both":
        raise ValueError(
            f"layer='both' names the layers of two-layer networks, but here are {n_weights} weight matrices; "
            f"pass layer='all' for all of them"
        )
    if layer == "second":
        raise ValueError(
            f"layer='second' names the last layer of a network with one hidden layer; of {n_weights} weight matrices "
            f"pass its number: {numbers}"
        )
    if layer not in ("all", "first"):
        raise ValueError(f"layer={checks.shown(layer)}, but 'all', 'first', or a number from {numbers} is needed")
    return range(n_weights if layer == "all" else 1)


def layer_weights(layer: Layer, n_weights: int) -> tuple[float, ...]:
    """1 for each weight matrix that ``layer`` names, 0 for the others."""
    trained = trained_layers(layer, n_weights)
    return tuple(float(number in trained) for number in range(n_weights))
