"""The linear model of convolutional networks with infinitely many channels."""

import math
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels.expansion import taylor
from ntkspec.kernels.taylor_jets import Jet
from ntkspec.networks.convolutional import filter_sizes, image_shape
from ntkspec.operators import Gram, KernelOperator
from ntkspec.operators.patches import Patches


def patches_of(X: Array, filter_size: int | Sequence[int], shape: Sequence[int] | None) -> Patches:
    """The patches of points X (n, d); shape = None is (d, 1), a sequence with one channel. Raises ValueError."""
    shape = image_shape((X.shape[1], 1) if shape is None else shape)
    if math.prod(shape) != X.shape[1]:
        raise ValueError(f"{shape=} holds {math.prod(shape)} numbers, but X has {X.shape[1]} columns")
    return Patches(shape, filter_sizes(filter_size, shape))


def cnn_linear_kernel(
    activation: str | Activation,
    X: ArrayLike,
    X2: ArrayLike | None = None,
    *,
    filter_size: int | Sequence[int],
    shape: Sequence[int] | None = None,
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The kernel of the linear model of convolutional networks: :func:`ntkspec.expected_cnn_ntk` to the second order.

    .. math:: \Theta^{lin} = h_c \frac{X X'^T}{d} + \sum_{ab} Q_{ab}\, E \overline{M^a c\, M^b c} + m(t) m(t')
              + \sum_{ab} H_{ab} \overline{M^a t\, M^b t'} - \frac{h_t^2}{h_0} \bar t\, \bar t', \quad
              m(t) = \sqrt{h_0} + \frac{h_t \bar t + \sum_{ab} G_{ab} \overline{M^a t M^b t}}{\sqrt{h_0}}

    for the fields t_i = ‖patch_i‖/sqrt(q c) - 1 and c_i = <patch_i, patch'_i>/(q c) of positions, their means (bars)
    and the mean M over the patch at each position. h_c, which is that of a fully-connected network for every filter,
    and the other coefficients are Taylor coefficients of the NTK around orthogonal inputs of norm sqrt d. Odd
    activations have the first term alone: 2 zeta² X X'ᵀ/d in Proposition 4.1.

    Parameters
    ----------
    activation : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.
    X : (n, d) array
        Points, float32 or float64, NumPy or CuPy; the arrays decide where it is computed.
    X2 : (n', d) array, optional
        The points of the columns; None means X itself.
    filter_size : int or sequence of int
        q, the positions of a patch along each axis of space; one number for all axes.
    shape : sequence of int, optional
        Of a point: (length, channels) or (height, width, channels), in C order. None means (d, 1), a sequence with one
        channel, as in equation (12).
    hidden_layers : int, default 1
        The number of convolutional layers before the output.

    Returns
    -------
    KernelOperator
        Shape (n, n) or (n, n'), in the dtype of X.

    Raises
    ------
    TypeError
        Where X is no matrix of real numbers.
    ValueError
        Where shape, filter and X do not fit, for an unknown activation, and for fewer than two points where the
        activation is not odd.

    Notes
    -----
    The expectation over independent points is a U-statistic of X2, or of X where X2 is None, so that a test-train
    kernel belongs to the same model as its train-train kernel. Cost: keeps X; for activations that are not odd at most
    P + 2 numbers a point more, P the number of positions, and 4 n d² flops once.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Proposition 4.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X, zeta = np.random.default_rng(0).standard_normal((4, 6)), ns.activation("erf").constants.zeta
    >>> linear = ns.cnn_linear_kernel("erf", X, filter_size=3)
    >>> bool(np.allclose(linear.to_dense(), 2 * zeta**2 * X @ X.T / 6))
    True
    """
    act, sides = activation_of(activation), checks.as_sides(X, X2)
    patches = patches_of(sides[0], filter_size, shape)
    model = _Fields(act, patches, checks.whole_number(hidden_layers, "hidden_layers", 1))
    inputs = (model.data / sides[0].shape[1]) * Gram(*sides)
    if model.proportional:
        return inputs
    bias = math.sqrt(model.mean_square(sides[-1]))
    return inputs + Gram(*(model.features(points, bias) for points in sides))


def _next_layer(jet: Jet) -> Jet:
    """The mean over patches: M^a of a field becomes M^(a + 1); what is of the second order is averaged in the end."""
    return Jet(jet.value, np.concatenate([np.zeros(3), jet.linear[:-3]]), jet.quadratic)


class _Fields:
    """The expansion in the fields t, t' and c of all positions. M is a circular convolution, multiplied by Fourier."""

    def __init__(self, act: Activation, patches: Patches, hidden_layers: int):
        jet, _, self.error = taylor(act, (1.0,) * (hidden_layers + 1), averaged=_next_layer)
        self.patches, self.constant = patches, jet.value
        self.norm, self.data = float(jet.linear[0::3].sum()), float(jet.linear[2::3].sum())
        self.bend, self.squares = jet.quadratic[0::3, 0::3], jet.quadratic[2::3, 2::3]
        self.mixed = 2 * jet.quadratic[0::3, 1::3]
        patch = np.zeros(patches.space)
        patch.ravel()[patches.places[0]] = 1 / patches.length
        self.symbol = np.fft.fftn(patch).conj()

    @property
    def proportional(self) -> bool:
        """Whether nothing but X X'ᵀ is left."""
        return max(self.constant, np.abs(self.mixed).max(), np.abs(self.squares).max()) <= self.error

    def features(self, X: Array, bias: float) -> Array:
        """(n, P + 2): the constant, m(t), and the fields whose inner products are the rest."""
        engine, places = engine_of(X), self.patches.positions
        xp, axes = engine.xp, tuple(range(1, 1 + len(self.patches.space)))
        t = xp.sqrt(self.patches.squares(engine, X)).reshape(-1, *self.patches.space) - 1
        waves, weights = xp.fft.fftn(t, axes=axes), self._spectrum(self.mixed)
        own = xp.zeros(len(X))
        if self.constant > self.error:
            bend = xp.asarray(self._spectrum(self.bend))
            own = self.constant + self.norm * t.mean(axis=axes) + (abs(waves) ** 2 * bend).sum(axis=axes) / places**2
            own /= math.sqrt(self.constant)
            weights.flat[0] -= self.norm**2 / self.constant
        # The weights are those of a positive semidefinite kernel: what is negative is rounding.
        roots = xp.asarray(np.sqrt(np.maximum(weights, 0.0) / places))
        rest = xp.fft.ifftn(waves * roots, axes=axes).real.reshape(len(X), -1)
        return xp.hstack([xp.full((len(X), 1), bias), own[:, None], rest]).astype(X.dtype)

    def mean_square(self, X: Array) -> float:
        """sum_ab Q_ab E mean(M^a c M^b c) for independent points; >= 0 but for chance, which is set to 0."""
        if np.abs(self.squares).max() <= self.error:
            return 0.0
        n, places, xp = len(X), self.patches.positions, engine_of(X).xp
        if n < 2:
            raise ValueError("the moments of patches need at least two data points")
        X = X.astype(np.float64, copy=False)
        pairs = (X.T @ X) ** 2 - (X * X).T @ (X * X)
        channels = self.patches.channels
        products = pairs.reshape(places, channels, places, channels).sum(axis=(1, 3)) / (n * (n - 1) * channels**2)
        # E |F p|² of the field p of the pixels' inner products, c = M p.
        space = self.patches.space
        first, second = tuple(range(len(space))), tuple(range(len(space), 2 * len(space)))
        waves = xp.fft.ifftn(xp.fft.fftn(products.reshape(*space, *space), axes=first), axes=second)
        sizes = places * waves.reshape(places, places).diagonal().real
        weights = xp.asarray((abs(self.symbol) ** 2 * self._spectrum(self.squares)).ravel())
        return max(0.0, float((weights * sizes).sum()) / places**2)

    def _spectrum(self, coefficients):
        """sum_ab coefficients_ab of M^a and M^b at each frequency."""
        powers = np.array([self.symbol**a for a in range(len(coefficients))])
        return np.einsum("ab,a...,b...->...", coefficients, powers, powers.conj()).real
