"""The Neural Tangent Kernel of a given deep network."""

from functools import partial
from typing import TYPE_CHECKING, Any

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.operators import Bits, GradientsAt, Gram, HadamardGram, JacobianGram, KernelOperator

if TYPE_CHECKING:
    from ntkspec.networks.deep import DeepNetwork


def jacobian_kernel(net: "DeepNetwork", chosen: range, sides: list[Array]) -> KernelOperator:
    """Through the network's vjp and jvp."""
    gradients = _Gradients(net, chosen)
    return JacobianGram(*(GradientsAt(gradients, side) for side in sides))


def hadamard_kernel(net: "DeepNetwork", chosen: range, sides: list[Array]) -> KernelOperator:
    r"""Of a fully-connected network: the sum over the chosen weight matrices.

    .. math:: \Theta = \sum_l \frac{(\Delta_l \Delta_l'^T) \odot (H_{l-1} H_{l-1}'^T)}{m_{l-1}}

    with the inputs H of each layer and the gradients Delta of f in its outputs: Hadamard products of Gram matrices,
    kept as n (m_l + m_{l-1}) numbers for each layer; Delta of the last hidden layer as bits where phi' has two values.
    """
    signals = [net.signals(points) for points in sides]
    terms = []
    for k in range(len(signals[0])):
        if k % net.n_weights not in chosen:
            continue
        layer = signals[0][k][0]
        factors: list[Any] = [part for one in signals for part in (one[k][2], one[k][1])]
        if k % net.n_weights == net.n_weights - 1:  # the gradient in the output is the same number at each point
            scale = float(factors[0][0, 0]) ** 2
            terms.append(scale / layer.weights[1] * Gram(*factors[1::2]))
        else:
            if k % net.n_weights == net.n_weights - 2:
                factors[::2] = _as_bits(net, signals, k) or factors[::2]
            terms.append(1 / layer.weights[1] * HadamardGram(*factors))
    return sum(terms[1:], start=terms[0])


def _as_bits(net: "DeepNetwork", signals: list, k: int) -> list[Bits] | None:
    """The gradients in the last hidden layer, phi' times the weights of the output, as bits; None where phi' takes more
    than two values, or products with bits are not sooner."""
    values = net.activation.slopes
    if values is None:
        return None
    found: list[Bits] = []
    for one in signals:
        (_, inputs, signal), (output, _, factor), engine = one[k], one[k + 1], engine_of(one[k][2])
        weights = output.vjp(net.parameters[k + 1], None, factor[:1])[0]
        bits = Bits(engine.bits.empty(*signal.shape), signal.shape[1], values, signal.dtype, weights)
        if not bits.works(inputs.shape[1]):
            return None
        below = signal.dtype.type(values[0]) * weights
        for rows in engine.blocks(slice(0, len(signal)), signal.shape[1]):
            ones = signal[rows] == weights
            if not bool((ones | (signal[rows] == below)).all()):
                return None
            engine.bits.pack(bits.words[rows], ones.astype(signal.dtype), 1.0)
        found.append(bits)
    return found


class _Gradients:
    """The gradients of a network in some of its weight matrices, as :class:`ntkspec.operators.GradientsAt` takes."""

    def __init__(self, net: "DeepNetwork", chosen: range):
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
