"""The linear model of convolutional networks with infinitely many channels."""

import math
from collections.abc import Sequence

from ntkspec import activations, checks
from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.kernels.expansion import Expansion, expand
from ntkspec.moments import trace_ratio
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
    r"""The kernel of the linear model of :func:`ntkspec.expected_cnn_ntk`, by the expansion of its h at each window.

    .. math:: \Theta^{lin} = h_c \frac{X X'^T}{d} + \frac1P \sum_{i=1}^P \sum_k p_k(s_i - 1)\, p_k(s'_i - 1)
              + \mathrm{square}\, \frac1P \sum_{i=1}^P \frac{\mathrm{Tr}[\Sigma_i^2]}{(qc)^2}

    with s_i = ‖window_i‖/sqrt(q c), the covariance Sigma_i of a window and :func:`ntkspec.linear_expansion` for one
    hidden layer. The mean of all windows' inner products is <x, x'>/d: the first term is that of a fully-connected
    network for every filter, 2 zeta² X X'ᵀ/d in Proposition 4.1. The others are zero for odd activations.
    hidden_layers : more than one for odd activations only: norms of windows would enter every layer. X : (n, d), X2 :
    (n', d), X2 = None means X itself; windows as for :func:`ntkspec.expected_cnn_ntk`; Tr[Sigma_i²] is estimated from
    X2, or from X where X2 is None.
    Cost: keeps X, and P + 1 numbers a point for activations that are not odd; for these also 2 n P (q c)² flops once.
    Raises ValueError / TypeError.
    """
    act, X = activations.activation(activation), checks.as_matrix(X)
    sides = [X] if X2 is None else [X, checks.as_matrix(X2, "X2", columns=X.shape[1])]
    windows = windows_of(X, filter_size, shape)
    depth = checks.whole_number(hidden_layers, "hidden_layers", 1)
    expansion = expand(act, (1.0,) * (depth + 1))
    inputs = (expansion.data / X.shape[1]) * Gram(*sides)
    if expansion.proportional:
        return inputs
    if depth > 1:
        raise ValueError(
            f"activation {act.name!r} is not odd, and the linear model of a convolutional network of {depth} hidden "
            f"layers is known for odd ones only, such as erf, tanh, sin and identity; take one of these, or one layer"
        )
    bias = (expansion.square * _mean_overlap(sides[-1], windows)) ** 0.5 if expansion.square else 0.0
    return inputs + Gram(*(_features(expansion, windows, points, bias) for points in sides))


def _features(expansion: Expansion, windows: Windows, X, bias: float):
    """(n, 1 + k P): the constant, and each polynomial of the size of each window."""
    engine = engine_of(X)
    excess = engine.xp.sqrt(windows.squares(engine, X)) - 1
    polynomials = [constant + slope * excess + bend * excess**2 for constant, slope, bend in expansion.norms]
    constant = engine.xp.full((len(X), 1), bias)
    scaled = [part / windows.positions**0.5 for part in polynomials]
    return engine.xp.hstack([constant, *scaled]).astype(X.dtype)


def _mean_overlap(X, windows: Windows) -> float:
    """The mean over positions of E c_i² for independent points: Tr[Sigma_i²]/(q c)², by U-statistics."""
    images = X.reshape(len(X), windows.positions, windows.channels)
    size = windows.length * windows.channels
    ratios = (trace_ratio(images[:, places].reshape(len(X), size)) for places in windows.places)
    return sum(ratios) / (windows.positions * size)
