"""The linear models f^lin1, f^lin2 and f^lin of the paper, through their features psi."""

from ntkspec import activations, checks
from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.kernels.deep_linear import data_slope
from ntkspec.moments import trace_ratio as estimate_trace_ratio
from ntkspec.operators import Gram, KernelOperator

# The weights (eta1, eta2) of the two layers in the features that serve all three models.
LAYER_WEIGHTS = {"first": (1.0, 0.0), "second": (0.0, 1.0), "both": (1.0, 1.0)}


def weighted_linear_kernel(
    act: Activation, X, X2=None, *, weights: tuple[float, float], trace_ratio: float
) -> KernelOperator:
    r"""eta1 Theta^lin1 + eta2 Theta^lin2 for weights (eta1, eta2), as psi psi'ᵀ with, for s = ‖x‖/sqrt d,

    .. math:: \psi = \left[ \sqrt{\tfrac{\eta_1 + \eta_2}{d}} \zeta x,\;
       \nu \sqrt{\tfrac{\eta_1}{d} + \tfrac{\eta_2}{2d}},\;
       \sqrt{\eta_2} \big(\vartheta_0 + \vartheta_1 (s - 1) + \vartheta_2 (s - 1)^2\big) \right]

    (1, 0) gives psi_1 of equation (5), (0, 1) psi_2 of (9), (1, 1) psi of (11), each up to coordinates that are zero.
    A sum of ``Gram(X)``, which shares its products with Theta_1, and the ``Gram`` of the last two features.
    """
    X = checks.as_matrix(X)
    train = X if X2 is None else checks.as_matrix(X2, "X2", columns=X.shape[1])
    inputs = Gram(X) if X2 is None else Gram(X, train)
    left = _constant_and_norm(act, X, weights, trace_ratio)
    rest = Gram(left) if X2 is None else Gram(left, _constant_and_norm(act, train, weights, trace_ratio))
    return (sum(weights) / X.shape[1] * act.constants.zeta**2) * inputs + rest


def _constant_and_norm(act: Activation, X, weights, trace_ratio: float):
    """The last two coordinates of psi, shape (n, 2)."""
    (n, d), (eta1, eta2), constants = X.shape, weights, act.constants
    xp = engine_of(X).xp
    features = xp.empty((n, 2), dtype=X.dtype)
    features[:, 0] = (eta1 / d + eta2 / (2 * d)) ** 0.5 * constants.nu(trace_ratio)
    excess = xp.sqrt(xp.einsum("id,id->i", X, X, dtype=xp.float64) / d) - 1
    polynomial = constants.vartheta0 + constants.vartheta1 * excess + constants.vartheta2 * excess**2
    features[:, 1] = eta2**0.5 * polynomial
    return features


def linear_kernel(
    activation: str | Activation,
    X,
    X2=None,
    *,
    layer: str = "both",
    trace_ratio: float | None = None,
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The kernel of the linear model: :math:`\Theta^{lin1}`, :math:`\Theta^{lin2}` or :math:`\Theta^{lin}`.

    layer : "first" (:math:`(\zeta^2 X X^T + \nu^2 1 1^T)/d`, section 3.1.1), "second" (equation (9)) or "both"
    (equation (11)). X : (n, d), X2 : (n', d) training points where X are test points; X2 = None means X itself.
    trace_ratio : Tr[Sigma²]/d. None estimates it from X2, or from X where X2 is None, so that a test-train kernel
    belongs to the same model as its train-train kernel; it is not needed where vartheta1 = 0.
    hidden_layers : more than one is the linear model of all layers of a deep network, for odd activations:
    h_c X Xᵀ/d (:func:`ntkspec.kernels.deep_linear.data_slope`).
    Cost: keeps X and two numbers a point; rank d + 2. Raises ValueError / TypeError for input that does not fit.
    """
    act = activations.activation(activation)
    checks.one_of(layer, "layer", checks.LAYERS)
    X = checks.as_matrix(X)
    train = X if X2 is None else checks.as_matrix(X2, "X2", columns=X.shape[1])
    if checks.whole_number(hidden_layers, "hidden_layers", 1) > 1:
        if layer != "both":
            raise ValueError(f"layer={layer!r}, but the linear model of a deep network is that of all layers")
        inputs = Gram(X) if X2 is None else Gram(X, train)
        return (data_slope(act, hidden_layers) / X.shape[1]) * inputs
    if trace_ratio is None:
        trace_ratio = estimate_trace_ratio(train) if act.constants.vartheta1 else 1.0
    elif not trace_ratio >= 0:
        raise ValueError(f"trace_ratio={trace_ratio!r}, but Tr[Sigma^2]/d is a number >= 0")
    return weighted_linear_kernel(act, X, X2, weights=LAYER_WEIGHTS[layer], trace_ratio=trace_ratio)


def naive_linear_kernel(
    activation: str | Activation, X, X2=None, *, trace_ratio: float | None = None
) -> KernelOperator:
    r"""The kernel of the naive linear model of section 3.4: equation (11) with vartheta1 = vartheta2 = 0.

    .. math:: \psi = \left[ \sqrt{\tfrac{2}{d}} \zeta x,\; \sqrt{\tfrac{3}{2d}} \nu,\; \vartheta_0 \right]

    nu stays what it is. Arguments, cost and errors as for :func:`linear_kernel`, for both layers.
    """
    act, X = activations.activation(activation), checks.as_matrix(X)
    train = X if X2 is None else checks.as_matrix(X2, "X2", columns=X.shape[1])
    trace_ratio = estimate_trace_ratio(train) if trace_ratio is None else trace_ratio
    d, constants = X.shape[1], act.constants
    bias = (1.5 / d * constants.nu(trace_ratio) ** 2 + constants.vartheta0**2) ** 0.5
    left, right = (engine_of(points).xp.full((len(points), 1), bias, points.dtype) for points in (X, train))
    inputs, rest = (Gram(X), Gram(left)) if X2 is None else (Gram(X, train), Gram(left, right))
    return (2 / d * constants.zeta**2) * inputs + rest
