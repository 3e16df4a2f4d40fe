"""The linear model of convolutional networks with infinitely many channels."""

import math
from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import engine_of
from ntkspec.kernels.expansion import taylor
from ntkspec.kernels.taylor_jets import Jet
from ntkspec.networks.convolutional import filter_sizes, image_shape
from ntkspec.operators import Gram, KernelOperator
from ntkspec.operators.windows import Windows


def windows_of(X, filter_size: int | Sequence[int], shape: Sequence[int] | None) -> Windows:
    """The windows of points X (n, d); shape = None is (d, 1), a sequence with one channel. Raises ValueError."""
    shape = image_shape((X.shape[1], 1) if shape is None else shape)
    if math.prod(shape) != X.shape[1]:
        raise ValueError(f"{shape=} holds {math.prod(shape)} numbers, but X has {X.shape[1]} columns")
    return Windows(shape, filter_sizes(filter_size, shape))


def cnn_linear_kernel(
    activation: str | Activation,
    X,
    X2=None,
    *,
    filter_size: int | Sequence[int],
    shape: Sequence[int] | None = None,
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The kernel of the linear model of :func:`ntkspec.expected_cnn_ntk`: its h to the second order.

    .. math:: \Theta^{lin} = h_c \frac{X X'^T}{d} + \sum_{ab} Q_{ab}\, E \overline{M^a c\, M^b c} + m(t) m(t')
              + \sum_{ab} H_{ab} \overline{M^a t\, M^b t'} - \frac{h_t^2}{h_0} \bar t\, \bar t', \quad
              m(t) = \sqrt{h_0} + \frac{1}{\sqrt{h_0}} \Big( h_t \bar t + \sum_{ab} G_{ab} \overline{M^a t M^b t} \Big)

    for the fields t_i = ‖window_i‖/sqrt(q c) - 1 and c_i = <window_i, window'_i>/(q c) of positions, their means
    (bars) and the mean M over the window at each position. h_c, which is that of a fully-connected network for every
    filter, and the other coefficients are those of :func:`ntkspec.kernels.expansion.taylor` with layers of their own.
    Odd activations have the first term alone: 2 zeta² X X'ᵀ/d in Proposition 4.1.
    X : (n, d), X2 : (n', d), X2 = None means X itself; windows as for :func:`ntkspec.expected_cnn_ntk`. The expectation
    over independent points is a U-statistic of X2, or of X where X2 is None.
    Cost: keeps X; for activations that are not odd at most P + 2 numbers a point more, and 4 n d² flops once.
    Raises ValueError / TypeError.
    """
    act, sides = activation_of(activation), checks.as_sides(X, X2)
    windows = windows_of(sides[0], filter_size, shape)
    depth = checks.whole_number(hidden_layers, "hidden_layers", 1)
    model = _Fields(act, windows, depth)
    inputs = (model.data / sides[0].shape[1]) * Gram(*sides)
    if model.proportional:
        return inputs
    bias = math.sqrt(model.mean_square(sides[-1]))
    return inputs + Gram(*(model.features(points, bias) for points in sides))


def _next_layer(jet: Jet) -> Jet:
    """The mean over windows: M^a of a field becomes M^(a + 1); what is of the second order is averaged in the end."""
    return Jet(jet.value, np.concatenate([np.zeros(3), jet.linear[:-3]]), jet.quadratic)


class _Fields:
    """The expansion in the fields t, t' and c of all positions. M is a circular convolution, multiplied by Fourier."""

    def __init__(self, act: Activation, windows: Windows, depth: int):
        jet, _, self.error = taylor(act, (1.0,) * (depth + 1), averaged=_next_layer)
        self.windows, self.constant = windows, jet.value
        self.norm, self.data = float(jet.linear[0::3].sum()), float(jet.linear[2::3].sum())
        self.bend, self.squares = jet.quadratic[0::3, 0::3], jet.quadratic[2::3, 2::3]
        self.mixed = 2 * jet.quadratic[0::3, 1::3]
        window = np.zeros(windows.space)
        window.ravel()[windows.places[0]] = 1 / windows.length
        self.symbol = np.fft.fftn(window).conj()

    @property
    def proportional(self) -> bool:
        """Whether nothing but X X'ᵀ is left."""
        return max(self.constant, np.abs(self.mixed).max(), np.abs(self.squares).max()) <= self.error

    def features(self, X, bias: float):
        """(n, P + 2): the constant, m(t), and the fields whose inner products are the rest."""
        engine, places = engine_of(X), self.windows.positions
        xp, axes = engine.xp, tuple(range(1, 1 + len(self.windows.space)))
        t = xp.sqrt(self.windows.squares(engine, X)).reshape(-1, *self.windows.space) - 1
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

    def mean_square(self, X) -> float:
        """sum_ab Q_ab E mean(M^a c M^b c) for independent points; >= 0 but for chance, which is set to 0."""
        if np.abs(self.squares).max() <= self.error:
            return 0.0
        n, places, xp = len(X), self.windows.positions, engine_of(X).xp
        if n < 2:
            raise ValueError("the moments of windows need at least two data points")
        X = X.astype(np.float64, copy=False)
        pairs = (X.T @ X) ** 2 - (X * X).T @ (X * X)
        channels = self.windows.channels
        products = pairs.reshape(places, channels, places, channels).sum(axis=(1, 3)) / (n * (n - 1) * channels**2)
        # E |F p|² of the field p of the pixels' inner products, c = M p.
        space = self.windows.space
        first, second = tuple(range(len(space))), tuple(range(len(space), 2 * len(space)))
        waves = xp.fft.ifftn(xp.fft.fftn(products.reshape(*space, *space), axes=first), axes=second)
        sizes = places * waves.reshape(places, places).diagonal().real
        weights = xp.asarray((abs(self.symbol) ** 2 * self._spectrum(self.squares)).ravel())
        return max(0.0, float((weights * sizes).sum()) / places**2)

    def _spectrum(self, coefficients):
        """sum_ab coefficients_ab of M^a and M^b at each frequency."""
        powers = np.array([self.symbol**a for a in range(len(coefficients))])
        return np.einsum("ab,a...,b...->...", coefficients, powers, powers.conj()).real
