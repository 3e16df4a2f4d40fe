"""The linear models f^lin1, f^lin2 and f^lin of the paper and those of deep networks, through their features psi."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels.expansion import Expansion, expand
from ntkspec.kernels.linear_cnn import cnn_linear_kernel
from ntkspec.kernels.moments import trace_ratio as estimate_trace_ratio
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.networks.architecture import Architecture, architecture_of
from ntkspec.networks.protocol import is_network
from ntkspec.networks.trained_layers import layer_weights, trained_layers
from ntkspec.operators import Gram, KernelOperator

_ADVICE = "pass an activation, or take ntkspec.nearest_linear_kernel(theta, X), the linear kernel nearest to its NTK"
# The weights (eta1, eta2) of the two layers in the features that serve all three models.
LAYER_WEIGHTS = {"first": (1.0, 0.0), "second": (0.0, 1.0), "both": (1.0, 1.0)}


def weighted_linear_kernel(
    act: Activation, X: ArrayLike, X2: ArrayLike | None = None, *, weights: Sequence[float], trace_ratio: float
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


def _of_expansion(expansion: Expansion, sides: list[Array], trace_ratio: float) -> KernelOperator:
    inputs = (expansion.data / sides[0].shape[1]) * Gram(*sides)
    if expansion.proportional:
        return inputs
    return inputs + Gram(*(_constant_and_norms(expansion, points, trace_ratio) for points in sides))


def _constant_and_norms(expansion: Expansion, X: Array, trace_ratio: float) -> Array:
    """The coordinates of psi behind those of x, shape (n, 1 + k)."""
    constant = (expansion.square * trace_ratio / X.shape[1]) ** 0.5
    return norm_features(np.vstack([[constant, 0.0, 0.0], expansion.norms]), X).astype(X.dtype)


def norm_features(polynomials: np.ndarray, X: Array) -> Array:
    """Polynomials, (k, 3) coefficients, in ‖x‖/sqrt d - 1 of each point: (n, k) in float64.

    Raises ValueError where the dtype of X does not hold their products.
    """
    (n, d), engine = X.shape, engine_of(X)
    xp = engine.xp
    features = xp.empty((n, len(polynomials)))
    excess = xp.sqrt(engine.linalg.row_products(X, X, np.float64) / d) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (constant, slope, bend) in enumerate(polynomials):
            features[:, k] = constant + slope * excess + bend * excess**2
    if not (abs(features) <= (np.finfo(X.dtype).max / features.shape[1]) ** 0.5).all():
        raise ValueError(
            f"the features of the norms, up to {float(abs(features).max()):.3g}, have products beyond the range of "
            f"{X.dtype}; scale the inputs" + ("" if X.dtype == np.float64 else ", or pass them as float64")
        )
    return features


def linear_kernel(
    activation: str | Activation | TwoLayer | DeepNetwork,
    X: ArrayLike,
    X2: ArrayLike | None = None,
    *,
    layer: str | int = "all",
    trace_ratio: float | None = None,
    hidden_layers: int = 1,
) -> KernelOperator:
    r"""The kernel of the linear model: Theta^lin1, Theta^lin2 or Theta^lin of the paper, and that of deep networks.

    .. math:: \Theta^{lin1} = \frac{\zeta^2 X X^T + \nu^2 1 1^T}{d}, \quad
              \nu = \vartheta_1 \sqrt{\mathrm{Tr}[\Sigma^2]/d}

    Parameters
    ----------
    activation : str, Activation or network
        phi, by its name or as an :class:`ntkspec.Activation`; or a network, whose activation, hidden layers and patches
        are taken.
    X : (n, d) array
        Points, float32 or float64, NumPy or CuPy; the arrays decide where it is computed.
    X2 : (n', d) array, optional
        Training points where X are test points; None means X itself.
    layer : {"all", "first", "second", "both"} or int, default "all"
        The weight matrices that are trained. Of two layers "first" is Theta^lin1 (equation (5)), "second" Theta^lin2
        (equation (9)), and "both" another word for "all", Theta^lin (equation (11)). Of a deeper network "all",
        "first", or the number of one matrix from 0 at the input. Of a convolutional one only "all".
    trace_ratio : float, optional
        Tr[Sigma²]/d of the points' distribution. None estimates it (:func:`ntkspec.trace_ratio`) from X2, or from X
        where X2 is None, so that a test-train kernel belongs to the same model as its train-train kernel. It is not
        needed where vartheta1 = 0.
    hidden_layers : int, default 1
        Of a fully-connected network, where ``activation`` is none.

    Returns
    -------
    KernelOperator
        Shape (n, n) or (n, n'), rank at most d + 3, in the dtype of X (of a network, of X and its weights).

    Raises
    ------
    TypeError
        For a network whose linear model is not known; :func:`ntkspec.nearest_linear_kernel` takes the NTK of any.
    ValueError
        For a ``layer`` that there is not, a ``trace_ratio`` that is not a finite number >= 0, and features whose
        products the dtype does not hold.

    Notes
    -----
    More than one hidden layer is the Taylor expansion of the NTK of infinite width around orthogonal inputs of norm
    sqrt d (:func:`ntkspec.linear_expansion`): h_c X Xᵀ/d, a constant and features of the norms. A convolutional network
    has the kernel of :func:`ntkspec.cnn_linear_kernel`, with the moments of its patches in the place of
    ``trace_ratio``. Cost: keeps X and at most three numbers a point.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eqs. (5), (9) and (11).

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X, constants = np.random.default_rng(0).standard_normal((4, 3)), ns.activation("relu").constants
    >>> linear = ns.linear_kernel("relu", X, layer="first", trace_ratio=1.0)
    >>> bool(np.allclose(linear.to_dense(), (constants.zeta**2 * X @ X.T + constants.nu(1.0) ** 2) / 3))
    True
    """
    given: Any = activation
    if is_network(given):
        architecture = architecture_of(given, "the linear kernel", _ADVICE)
        X, X2 = given.as_points(X), None if X2 is None else given.as_points(X2, "X2")
        if architecture.convolutional:
            return _of_convolutions(architecture, X, X2, layer)
        given, hidden_layers = architecture.activation, architecture.hidden_layers
    act = activation_of(given)
    hidden_layers = checks.whole_number(hidden_layers, "hidden_layers", 1)
    sides, expansion = checks.as_sides(X, X2), expand(act, layer_weights(layer, hidden_layers + 1))
    return _of_expansion(expansion, sides, _trace_ratio(sides[-1], trace_ratio, needed=expansion.square > 0))


def linear_expansion(activation: str | Activation, *, layer: str | int = "all", hidden_layers: int = 1) -> Expansion:
    r"""The coefficients of :func:`ntkspec.linear_kernel`: of X Xᵀ/d, of c², of the norm features, and of the identity.

    .. math:: h \approx \mathrm{data}\, c + \mathrm{square}\, c^2 + \sum_k p_k(s - 1)\, p_k(s' - 1), \qquad
              c = \frac{\langle x, x' \rangle}{d}, \quad s = \frac{\|x\|}{\sqrt d}

    Parameters
    ----------
    activation : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.
    layer : {"all", "first", "second", "both"} or int, default "all"
        The weight matrices that are trained: "all", "first", or the number of one of them from 0 at the input. Of two
        layers "second" is the last one, and "both" another word for "all".
    hidden_layers : int, default 1
        Of a fully-connected network.

    Returns
    -------
    Expansion
        ``data``, ``square``, ``norms`` (k, 3), the coefficients of the polynomials p_k from the constant one on,
        ``equal`` = h(1, 1, 1), and ``error``, a bound on the absolute error of each Taylor coefficient.

    Raises
    ------
    ValueError
        For a ``layer`` that there is not, ``hidden_layers`` that are no whole number >= 1, an unknown activation, and
        where the expansion needs too many terms or variances that float64 does not hold.

    Notes
    -----
    Cost: milliseconds a layer.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eqs. (5), (9) and (11), and section 4.1.

    Examples
    --------
    >>> import ntkspec as ns
    >>> found, zeta = ns.linear_expansion("erf"), ns.activation("erf").constants.zeta
    >>> found.data == 2 * zeta**2, found.proportional
    (True, True)
    """
    act = activation_of(activation)
    return expand(act, layer_weights(layer, checks.whole_number(hidden_layers, "hidden_layers", 1) + 1))


def _of_convolutions(architecture: Architecture, X: Array, X2: Array | None, layer: str | int) -> KernelOperator:
    n_weights = architecture.hidden_layers + 1
    if trained_layers(layer, n_weights) != range(n_weights):
        raise ValueError(f"{layer=}, but the linear kernel of a convolutional network is that of all layers: 'all'")
    filter_size: Any = architecture.filter_size
    how: dict[str, Any] = {"shape": architecture.shape, "hidden_layers": architecture.hidden_layers}
    return cnn_linear_kernel(architecture.activation, X, X2, filter_size=filter_size, **how)


def _trace_ratio(train: Array, given: float | None, *, needed: bool) -> float:
    if given is None:
        return estimate_trace_ratio(train) if needed else 1.0
    if not 0 <= given < np.inf:
        raise ValueError(f"trace_ratio={checks.shown(given)}, but Tr[Sigma^2]/d is a finite number >= 0")
    return given


def naive_linear_kernel(
    activation: str | Activation, X: ArrayLike, X2: ArrayLike | None = None, *, trace_ratio: float | None = None
) -> KernelOperator:
    r"""The kernel of the naive linear model of section 3.4: equation (11) with vartheta1 = vartheta2 = 0.

    .. math:: \psi = \left[ \sqrt{\tfrac{2}{d}} \zeta x,\; \sqrt{\tfrac{3}{2d}} \nu,\; \vartheta_0 \right]

    nu stays what it is. X : (n, d), X2 : (n', d) training points where X are test points; trace_ratio : Tr[Sigma²]/d,
    which None estimates from the training points. Both layers.
    """
    act, points = activation_of(activation), checks.as_matrix(X)
    train = points if X2 is None else checks.as_matrix(X2, "X2", columns=points.shape[1])
    trace_ratio = estimate_trace_ratio(train) if trace_ratio is None else trace_ratio
    d, constants = points.shape[1], act.constants
    bias = (1.5 / d * constants.nu(trace_ratio) ** 2 + constants.vartheta0**2) ** 0.5
    left, right = (engine_of(side).xp.full((len(side), 1), bias, side.dtype) for side in (points, train))
    inputs, rest = (Gram(points), Gram(left)) if X2 is None else (Gram(points, train), Gram(left, right))
    return (2 / d * constants.zeta**2) * inputs + rest
