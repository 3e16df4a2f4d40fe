"""Deep fully-connected networks in NTK parameterization."""

from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation, activation
from ntkspec.networks.deep import DeepNetwork, draw, halved, split
from ntkspec.networks.layers import Activate, Layer, Linear


class FullyConnected(DeepNetwork):
    r"""f(x) = W_{L+1} phi(W_L ... phi(W_1 x / sqrt d) ... / sqrt m_{L-1}) / sqrt m_L, L hidden layers, no biases.

    parameters : W_1 (m_1, d), ..., W_L (m_L, m_{L-1}), W_{L+1} (1, m_L); twice for a paired network.
    Cost of an output: 2 sum m_l m_{l-1} flops.
    """

    def __init__(self, parameters, activation_: str | Activation):
        parameters, act = list(parameters), activation(activation_)
        chain = split([checks.as_floats(W, "a weight matrix").shape for W in parameters])
        if len(chain) < 2:
            raise ValueError(f"{len(chain)} weight matrices came, but a hidden layer and the output need two at least")
        own = [rows for rows, _ in chain[:-1]]
        self.widths, self._dim = [width * len(parameters) // len(chain) for width in own], chain[0][1]
        super().__init__(_layers(self._dim, own, act), parameters, act)

    @classmethod
    def random(cls, d: int, widths, activation, *, seed=0, dtype=np.float64) -> "FullyConnected":
        """N(0, 1) weights. widths : neurons of each hidden layer, one number or a list."""
        layers = _drawn(d, halved(widths, 1, "widths"), activation)
        return cls(draw(layers, paired=False, seed=seed, dtype=dtype), activation)

    @classmethod
    def paired(cls, d: int, widths, activation, *, seed=0, dtype=np.float64) -> "FullyConnected":
        """Two chains of half the widths with the same weights and opposite signs, so that the output is zero.

        For one hidden layer this is equation (3) with v ~ N(0, 1). The mean of the NTK is that of :meth:`random` up to
        the width, its fluctuation that of half the widths. Raises ValueError for an odd width.
        """
        layers = _drawn(d, halved(widths, 2, "widths"), activation)
        return cls(draw(layers, paired=True, seed=seed, dtype=dtype), activation)

    @property
    def dim(self) -> int:
        """d, the number of inputs."""
        return self._dim

    @property
    def numbers(self) -> int:
        """Inputs of the layers, phi and phi'."""
        return self._dim + 2 * sum(self.widths)

    def __repr__(self) -> str:
        kind = "paired, " if self.doubled else ""
        return f"FullyConnected({kind}d={self.dim}, widths={self.widths}, activation={self.activation.name!r})"


def _layers(d: int, widths: Sequence[int], act: Activation) -> list[Layer]:
    layers: list[Layer] = []
    for fan_in, fan_out in zip([d, *widths], widths, strict=False):
        layers += [Linear(fan_in, fan_out), Activate(act)]
    return [*layers, Linear(widths[-1], 1)]


def _drawn(d, widths, act) -> list[Layer]:
    return _layers(checks.whole_number(d, "d", 1), widths, activation(act))
