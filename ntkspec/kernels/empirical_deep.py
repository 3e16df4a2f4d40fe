"""The Neural Tangent Kernel of a given deep network."""

from functools import partial

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels.trained_layers import trained_layers
from ntkspec.networks import DeepNetwork, FullyConnected
from ntkspec.operators import GradientsAt, Gram, HadamardGram, JacobianGram, KernelOperator


def deep_ntk(
    net: DeepNetwork, X: ArrayLike, X2: ArrayLike | None = None, *, layer: str | int = "all"
) -> KernelOperator:
    r"""The NTK of a deep network: the sum over its weight matrices, or the term of one of them.

    .. math:: \Theta = \sum_l \frac{(\Delta_l \Delta_l'^T) \odot (H_{l-1} H_{l-1}'^T)}{m_{l-1}}

    for fully-connected networks, with the inputs H of each layer and the gradients Delta of f in its outputs: Hadamard
    products of Gram matrices, kept as n (m_l + m_{l-1}) numbers for each layer. Any other network goes through its vjp
    and jvp (:class:`ntkspec.operators.JacobianGram`). Two chains with the same weights are used once.
    """
    chosen = trained_layers(layer, net.n_weights)
    given = {"X": X} if X2 is None else {"X": X, "X2": X2}
    sides = [checks.as_inputs(points, net.dim, name) for name, points in given.items()]
    dtype = np.result_type(net.dtype, *(points.dtype for points in sides))
    sides = [points.astype(dtype, copy=False) for points in sides]
    same = engine_of(*net.parameters).xp.array_equal
    if net.antisymmetric and all(map(same, net.parameters[: net.n_weights], net.parameters[net.n_weights :])):
        net = net.with_parameters(net.parameters[: net.n_weights])
    if isinstance(net, FullyConnected):
        return _hadamards(net, chosen, sides)
    gradients = _Gradients(net, chosen)
    return JacobianGram(*(GradientsAt(gradients, side) for side in sides))


def _hadamards(net: FullyConnected, chosen: range, sides: list[Array]) -> KernelOperator:
    """The sum of Hadamard products over the chosen weight matrices."""
    signals = [net.signals(points) for points in sides]
    terms = []
    for k in range(len(signals[0])):
        if k % net.n_weights not in chosen:
            continue
        (layer, *_), factors = signals[0][k], [part for one in signals for part in (one[k][2], one[k][1])]
        if k % net.n_weights == net.n_weights - 1:  # the gradient in the output is the same number at each point
            scale = float(factors[0][0, 0]) ** 2
            terms.append(scale / layer.weights[1] * Gram(*factors[1::2]))
        else:
            terms.append(1 / layer.weights[1] * HadamardGram(*factors))
    return sum(terms[1:], start=terms[0])


class _Gradients:
    """The gradients of a network in some of its weight matrices, as :class:`ntkspec.operators.GradientsAt` takes."""

    def __init__(self, net: DeepNetwork, chosen: range):
        self.net, self.dtype, self.fan = net, net.dtype, max(W.shape[1] for W in net.parameters)
        self._chosen = [k for k in range(len(net.parameters)) if k % net.n_weights in chosen]
        self.size = sum(net.parameters[k].size for k in self._chosen)
        self.flops = net.flops

    def vjp(self, X: Array, cotangent: Array) -> list[Array]:
        """sum_i cotangent_i times the gradient at x_i, in the chosen weight matrices."""
        gradients = self.net.vjp(X, cotangent)
        return [gradients[k] for k in self._chosen]

    def jvp(self, X: Array, tangents: list[Array]) -> Array:
        """The inner products of the gradients with the tangents."""
        given: list[Array | None] = [None] * len(self.net.parameters)
        for k, tangent in zip(self._chosen, tangents, strict=True):
            given[k] = tangent
        return self.net.jvp(X, given)

    def parts(self, X: Array) -> list:
        """Functions that return the gradients (n, p_k) of one weight matrix each."""
        signals = self.net.signals(X)
        return [partial(signals[k][0].gradients, *signals[k][1:]) for k in self._chosen]
