"""The linear models f^lin1, f^lin2 and f^lin of the paper and those of deep networks, through their features psi."""

from collections.abc import Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import engine_of
from ntkspec.kernels.expansion import Expansion, expand
from ntkspec.kernels.layer_moments import layer_weights
from ntkspec.kernels.linear_cnn import cnn_linear_kernel
from ntkspec.kernels.moments import trace_ratio as estimate_trace_ratio
from ntkspec.networks import Convolutional, DeepNetwork, FullyConnected, TwoLayer
from ntkspec.operators import Gram, KernelOperator

# The weights (eta1, eta2) of the two layers in the features that serve all three models.
LAYER_WEIGHTS = {"first": (1.0, 0.0), "second": (0.0, 1.0), "both": (1.0, 1.0)}


def weighted_linear_kernel(
    act: Activation, X, X2=None, *, weights: Sequence[float], trace_ratio: float
) -> KernelOperator:
    r"""The linear kernel for learning rates ``weights`` of the weight matrices, as psi psi'ᵀ; s = ‖x‖/sqrt d.

    .. math:: \psi = \left[ \sqrt{\tfrac{\eta_1 + \eta_2}{d}} \zeta x,\;
       \nu \sqrt{\tfrac{\eta_1}{d} + \tfrac{\eta_2}{2d}},\;
       \sqrt{\eta_2} \big(\vartheta_0 + \vartheta_1 (s - 1) + \vartheta_2 (s - 1)^2\big) \right]

    for two: (1, 0) gives psi_1 of equation (5), (0, 1) psi_2 of (9), (1, 1) psi of (11), each up to coordinates that
    are zero. More weights are a deep network (:func:`ntkspec.kernels.expansion.expand`), whose last feature may be two.
    A sum of ``Gram(X)``, which shares its products with Theta_1, and the ``Gram`` of the other features.
    """
    return _of_expansion(expand(act, weights), checks.as_sides(X, X2), trace_ratio)


def _of_expansion(expansion: Expansion, sides: list, trace_ratio: float) -> KernelOperator:
    inputs = (expansion.data / sides[0].shape[1]) * Gram(*sides)
    if expansion.proportional:
        return inputs
    return inputs + Gram(*(_constant_and_norms(expansion, points, trace_ratio) for points in sides))


def _constant_and_norms(expansion: Expansion, X, trace_ratio: float):
    """The coordinates of psi behind those of x, shape (n, 1 + k)."""
    (n, d), engine = X.shape, engine_of(X)
    xp = engine.xp
    features = xp.empty((n, 1 + len(expansion.norms)))
    features[:, 0] = (expansion.square * trace_ratio / d) ** 0.5
    excess = xp.sqrt(engine.row_products(X, X, np.float64) / d) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (constant, slope, bend) in enumerate(expansion.norms, 1):
            features[:, k] = constant + slope * excess + bend * excess**2
    if not (abs(features) <= (np.finfo(X.dtype).max / features.shape[1]) ** 0.5).all():
        raise ValueError(
            f"the features of the norms, up to {float(abs(features).max()):.3g}, have products beyond the range of "
            f"{X.dtype}; scale the inputs" + ("" if X.dtype == np.float64 else ", or pass them as float64")
        )
    return features.astype(X.dtype)


def linear_kernel(
    activation: str | Activation | TwoLayer | DeepNetwork,
    X,
    X2=None,
    *,
    layer: str | int = "both",
    trace_ratio: float | None = None,
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The kernel of the linear model: :math:`\Theta^{lin1}`, :math:`\Theta^{lin2}` or :math:`\Theta^{lin}`.

    activation : by name, or a network whose activation, depth and windows are taken.
    layer : "first" (:math:`(\zeta^2 X X^T + \nu^2 1 1^T)/d`, section 3.1.1), "second" (equation (9)) or "both"
    (equation (11)); of a deep network "both" (all), "first", or the number of a weight matrix from 0 on. X : (n, d),
    X2 : (n', d) training points where X are test points; X2 = None means X itself.
    trace_ratio : Tr[Sigma²]/d. None estimates it from X2, or from X where X2 is None, so that a test-train kernel
    belongs to the same model as its train-train kernel; it is not needed where vartheta1 = 0.
    hidden_layers : of a fully-connected network. More than one is the Taylor expansion of the NTK of infinite width
    around orthogonal inputs of norm sqrt d, :func:`ntkspec.linear_expansion`: h_c X Xᵀ/d, a constant and features of
    the norms. A convolutional network has that of :func:`ntkspec.cnn_linear_kernel`, with all layers, and the moments
    of its windows in the place of ``trace_ratio``.
    Cost: keeps X and at most three numbers a point; rank d + 3. Raises ValueError / TypeError.
    """
    if isinstance(activation, TwoLayer | DeepNetwork):
        X, X2 = _as_inputs(activation, X), None if X2 is None else _as_inputs(activation, X2)
        if isinstance(activation, Convolutional):
            return _of_convolutions(activation, X, X2, layer)
        hidden_layers = _hidden_layers(activation)
        activation = activation.activation
    act = activation_of(activation)
    hidden_layers = checks.whole_number(hidden_layers, "hidden_layers", 1)
    sides, expansion = checks.as_sides(X, X2), expand(act, layer_weights(layer, hidden_layers))
    return _of_expansion(expansion, sides, _trace_ratio(sides[-1], trace_ratio, needed=expansion.square > 0))


def linear_expansion(activation: str | Activation, *, layer: str | int = "both", hidden_layers: int = 1) -> Expansion:
    """The coefficients of :func:`ntkspec.linear_kernel`: of X Xᵀ/d, 1 1ᵀ, the norm features and the identity.

    Arguments as there. Returns an :class:`ntkspec.kernels.expansion.Expansion`, with a bound on their error.
    """
    act = activation_of(activation)
    return expand(act, layer_weights(layer, checks.whole_number(hidden_layers, "hidden_layers", 1)))


def _as_inputs(net: TwoLayer | DeepNetwork, X):
    """Points that a network takes, in the dtype of its kernel."""
    X = checks.as_matrix(X, columns=net.dim)
    return X.astype(np.result_type(X.dtype, net.dtype), copy=False)


def _hidden_layers(net: TwoLayer | DeepNetwork) -> int:
    if isinstance(net, FullyConnected):
        return len(net.widths)
    if isinstance(net, TwoLayer):
        return 1
    raise TypeError(f"the linear kernel of a {type(net).__name__} is not known; pass an activation")


def _of_convolutions(net: Convolutional, X, X2, layer) -> KernelOperator:
    if layer != "both":
        raise ValueError(f"{layer=}, but the linear kernel of a convolutional network is that of all layers: 'both'")
    depth = len(net.channels)
    return cnn_linear_kernel(net.activation, X, X2, filter_size=net.filter_size, shape=net.shape, hidden_layers=depth)


def _trace_ratio(train, given: float | None, *, needed: bool) -> float:
    if given is None:
        return estimate_trace_ratio(train) if needed else 1.0
    if not 0 <= given < np.inf:
        raise ValueError(f"trace_ratio={given!r}, but Tr[Sigma^2]/d is a finite number >= 0")
    return given


def naive_linear_kernel(
    activation: str | Activation, X, X2=None, *, trace_ratio: float | None = None
) -> KernelOperator:
    r"""The kernel of the naive linear model of section 3.4: equation (11) with vartheta1 = vartheta2 = 0.

    .. math:: \psi = \left[ \sqrt{\tfrac{2}{d}} \zeta x,\; \sqrt{\tfrac{3}{2d}} \nu,\; \vartheta_0 \right]

    nu stays what it is. Arguments, cost and errors as for :func:`linear_kernel`, for both layers.
    """
    act, X = activation_of(activation), checks.as_matrix(X)
    train = X if X2 is None else checks.as_matrix(X2, "X2", columns=X.shape[1])
    trace_ratio = estimate_trace_ratio(train) if trace_ratio is None else trace_ratio
    d, constants = X.shape[1], act.constants
    bias = (1.5 / d * constants.nu(trace_ratio) ** 2 + constants.vartheta0**2) ** 0.5
    left, right = (engine_of(points).xp.full((len(points), 1), bias, points.dtype) for points in (X, train))
    inputs, rest = (Gram(X), Gram(left)) if X2 is None else (Gram(X, train), Gram(left, right))
    return (2 / d * constants.zeta**2) * inputs + rest
