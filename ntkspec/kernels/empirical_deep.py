"""The Neural Tangent Kernel of a given deep network."""

from functools import partial

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.networks import DeepNetwork, FullyConnected
from ntkspec.operators import Gram, HadamardGram, JacobianGram, KernelOperator


def deep_ntk(net: DeepNetwork, X, X2=None, *, layer: str | int = "both") -> KernelOperator:
    r"""The NTK of a deep network: the sum over its weight matrices, or the term of one of them.

    .. math:: \Theta = \sum_l \frac{(\Delta_l \Delta_l'^T) \odot (H_{l-1} H_{l-1}'^T)}{m_{l-1}}

    for fully-connected networks, with the inputs H of each layer and the gradients Delta of f in its outputs: Hadamard
    products of Gram matrices, kept as n (m_l + m_{l-1}) numbers for each layer. Any other network goes through its vjp
    and jvp (:class:`ntkspec.operators.JacobianGram`). Two chains with the same weights are used once.
    """
    chosen, sides = _chosen(net, layer), [X] if X2 is None else [X, X2]
    sides = [checks.as_matrix(points, name, columns=net.dim) for points, name in zip(sides, ("X", "X2"), strict=False)]
    dtype = np.result_type(net.dtype, *(points.dtype for points in sides))
    sides = [points.astype(dtype, copy=False) for points in sides]
    same = engine_of(*net.parameters).xp.array_equal
    if net.doubled and all(map(same, net.parameters[: net.depth], net.parameters[net.depth :])):
        net = net.with_parameters(net.parameters[: net.depth])
    if isinstance(net, FullyConnected):
        return _hadamards(net, chosen, sides)
    return JacobianGram(_Gradients(net, chosen), *sides)


def _chosen(net: DeepNetwork, layer) -> list[int]:
    """Numbers of the weight matrices, from 0 at the input, that are differentiated."""
    if isinstance(layer, str):
        names = {"both": list(range(net.depth)), "first": [0]} | ({"second": [1]} if net.depth == 2 else {})
        if layer in names:
            return names[layer]
    elif checks.whole_number(layer, "layer", 0) < net.depth:
        return [int(layer)]
    raise ValueError(
        f"layer={layer!r}, but 'both' (all), or the number of a weight matrix from 0 (input) to {net.depth - 1} "
        f"(output) is needed"
    )


def _hadamards(net: FullyConnected, chosen: list[int], sides) -> KernelOperator:
    signals = [net.signals(points) for points in sides]
    terms = []
    for k in range(len(signals[0])):
        if k % net.depth not in chosen:
            continue
        (layer, *_), factors = signals[0][k], [part for one in signals for part in (one[k][2], one[k][1])]
        if k % net.depth == net.depth - 1:  # the gradient in the output is the same number at each point
            scale = float(factors[0][0, 0]) ** 2
            terms.append(scale / layer.weights[1] * Gram(*factors[1::2]))
        else:
            terms.append(1 / layer.weights[1] * HadamardGram(*factors))
    return sum(terms[1:], start=terms[0])


class _Gradients:
    """The gradients of a network in some of its weight matrices, as :class:`JacobianGram` takes them."""

    def __init__(self, net: DeepNetwork, chosen: list[int]):
        self.net, self.dtype, self.fan = net, net.dtype, max(W.shape[1] for W in net.parameters)
        self._kept = [k for k in range(len(net.parameters)) if k % net.depth in chosen]
        self.size = sum(net.parameters[k].size for k in self._kept)
        self.flops = net.flops

    def vjp(self, X, cotangent):
        gradients = self.net.vjp(X, cotangent)
        return [gradients[k] for k in self._kept]

    def jvp(self, X, tangents):
        given: list = [None] * len(self.net.parameters)
        for k, tangent in zip(self._kept, tangents, strict=True):
            given[k] = tangent
        return self.net.jvp(X, given)

    def parts(self, X) -> list:
        signals = self.net.signals(X)
        return [partial(signals[k][0].gradients, *signals[k][1:]) for k in self._kept]
