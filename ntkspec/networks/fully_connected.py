"""Deep fully-connected networks in NTK parameterization."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation, activation
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.networks.architecture import Architecture
from ntkspec.networks.deep import DeepNetwork, draw, halved, split
from ntkspec.networks.deep_kernel import hadamard_kernel
from ntkspec.networks.layers import Activate, Layer, Linear
from ntkspec.operators import KernelOperator


class FullyConnected(DeepNetwork):
    r"""A fully-connected network with L hidden layers in NTK parameterization, without biases.

    .. math:: f(x) = \frac{1}{\sqrt{m_L}} W_{L+1}\, \phi\!\left( \frac{W_L}{\sqrt{m_{L-1}}} \cdots
              \phi\!\left( \frac{W_1 x}{\sqrt d} \right) \right)

    Parameters
    ----------
    parameters : sequence of arrays
        W_1 (m_1, d), ..., W_L (m_L, m_{L-1}), W_{L+1} (1, m_L), all float32 or all float64; twice for antisymmetric
        initialization (ASI), the difference of two chains of these shapes over sqrt 2. They are kept, not copied.
    activation_ : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.

    Attributes
    ----------
    parameters : list of arrays
        The weights, as they were passed.
    activation : Activation
        phi.
    widths : list of int
        Neurons of each hidden layer, of both chains together.
    n_weights : int
        L + 1, the weight matrices of a chain: ``layer`` counts them from 0.

    Raises
    ------
    TypeError
        Where the weights have two dtypes, or one that is neither float32 nor float64.
    ValueError
        Where the weights do not fit each other or are not finite, and for an unknown activation.

    Notes
    -----
    Cost of an output: two flops for each weight, 2 sum_l m_l m_{l-1}.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, section 4.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> net = ns.FullyConnected.random(3, [8, 6], "erf", seed=1)
    >>> [W.shape for W in net.parameters]
    [(8, 3), (6, 8), (1, 6)]
    >>> net(np.ones((5, 3))).shape
    (5,)
    """

    def __init__(self, parameters: Sequence[ArrayLike], activation_: str | Activation):
        parameters, act = list(parameters), activation(activation_)
        chain = split([checks.as_floats(W, "a weight matrix").shape for W in parameters])
        if len(chain) < 2:
            raise ValueError(f"{len(chain)} weight matrices came, but a hidden layer and the output need two at least")
        own = [rows for rows, _ in chain[:-1]]
        self.widths, self._dim = [width * len(parameters) // len(chain) for width in own], chain[0][1]
        super().__init__(_layers(self._dim, own, act), parameters, act)

    @classmethod
    def random(
        cls,
        d: int,
        widths: int | Sequence[int],
        activation: str | Activation,
        *,
        seed: int | Sequence[int] = 0,
        dtype: DTypeLike = np.float64,
    ) -> "FullyConnected":
        """A network with independent N(0, 1) weights.

        Parameters
        ----------
        d : int
            Entries of an input.
        widths : int or sequence of int
            Neurons of each hidden layer; one number is one hidden layer.
        activation : str or Activation
            phi, by its name or as an :class:`ntkspec.Activation`.
        seed : int or sequence of int, default 0
            Seed of NumPy's generator: the same one gives the same weights.
        dtype : float32 or float64, default float64
            Of the weights. They are drawn in float64 and rounded.

        Returns
        -------
        FullyConnected
            On the CPU; :meth:`to` moves it.

        Raises
        ------
        TypeError
            For another dtype.
        ValueError
            For sizes that are not whole numbers >= 1, and where the weights do not fit into memory.

        Examples
        --------
        >>> import ntkspec as ns
        >>> ns.FullyConnected.random(3, [8, 8], "relu")
        FullyConnected(d=3, widths=[8, 8], activation='relu')
        """
        layers = _drawn(d, halved(widths, 1, "widths"), activation)
        return cls(draw(layers, antisymmetric=False, seed=seed, dtype=dtype), activation)

    @classmethod
    def paired(
        cls,
        d: int,
        widths: int | Sequence[int],
        activation: str | Activation,
        *,
        seed: int | Sequence[int] = 0,
        dtype: DTypeLike = np.float64,
    ) -> "FullyConnected":
        """Antisymmetric initialization (ASI): the difference of two chains with the same weights, whose output is zero.

        Each chain has half the widths. For one hidden layer this is equation (3) with v ~ N(0, 1).

        Parameters
        ----------
        d : int
            Entries of an input.
        widths : int or sequence of int
            Neurons of each hidden layer, of both chains together: even numbers. One number is one hidden layer.
        activation : str or Activation
            phi, by its name or as an :class:`ntkspec.Activation`.
        seed : int or sequence of int, default 0
            Seed of NumPy's generator: the same one gives the same weights.
        dtype : float32 or float64, default float64
            Of the weights. They are drawn in float64 and rounded.

        Returns
        -------
        FullyConnected
            On the CPU; :meth:`to` moves it.

        Raises
        ------
        TypeError
            For another dtype.
        ValueError
            For sizes that are not whole numbers >= 1, an odd width, and where the weights do not fit into memory.

        Notes
        -----
        The mean of the NTK over the weights is that of :meth:`random` up to the width, its fluctuation that of half the
        widths.

        References
        ----------
        Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
        NeurIPS 2020, eq. (3).

        Examples
        --------
        >>> import numpy as np, ntkspec as ns
        >>> net = ns.FullyConnected.paired(3, [8, 8], "erf")
        >>> bool(abs(net(np.ones((5, 3)))).max() < 1e-15)
        True
        """
        layers = _drawn(d, halved(widths, 2, "widths"), activation)
        return cls(draw(layers, antisymmetric=True, seed=seed, dtype=dtype), activation)

    @classmethod
    def made_of(cls, weights: Sequence[Array], activation: Activation, **options: Any) -> "FullyConnected":
        """The network of these weights and options, checked."""
        return cls(weights, activation_=activation, **options)

    @property
    def dim(self) -> int:
        """d, the number of entries of an input."""
        return self._dim

    @property
    def architecture(self) -> Architecture:
        """What its kernels of infinite width and its linear model depend on."""
        return Architecture(self.activation, len(self.widths))

    def kernel_between(self, sides: list[Array], chosen: range) -> KernelOperator:
        """A sum of Hadamard products of Gram matrices, whose factors are kept."""
        return hadamard_kernel(self, chosen, sides)

    @property
    def recomputes(self) -> bool:
        """False: its kernel keeps the activations."""
        return False

    @property
    def activations_per_point(self) -> int:
        """Numbers that a forward pass keeps for a point: the inputs of the layers, phi and phi'."""
        return self._dim + 2 * sum(self.widths)

    def __repr__(self) -> str:
        kind = "paired, " if self.antisymmetric else ""
        return f"FullyConnected({kind}d={self.dim}, widths={self.widths}, activation={self.activation.name!r})"


def _layers(d: int, widths: Sequence[int], act: Activation) -> list[Layer]:
    layers: list[Layer] = []
    for fan_in, fan_out in zip([d, *widths], widths, strict=False):
        layers += [Linear(fan_in, fan_out), Activate(act)]
    return [*layers, Linear(widths[-1], 1)]


def _drawn(d, widths, act) -> list[Layer]:
    return _layers(checks.whole_number(d, "d", 1), widths, activation(act))
