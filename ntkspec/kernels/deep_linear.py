"""The linear model of a deep network with an odd activation: its kernel is a multiple of the data kernel."""

import numpy as np

from ntkspec.activations import Activation
from ntkspec.series import pair_integrals

# Odd to rounding, on this grid.
_GRID, _ODD = np.linspace(0.0, 20.0, 401), 1e-12


def data_slope(act: Activation, hidden_layers: int) -> float:
    r"""h_c(1, 1, 0): what X Xᵀ/d is multiplied with in the NTK of infinite width, for inputs of norm sqrt d.

    .. math:: h_c = (L + 1) \prod_{l=0}^{L-1} \zeta_l^2, \qquad \zeta_l = E \phi'(\sqrt{q_l} g), \qquad
              q_0 = 1, \; q_{l+1} = E \phi(\sqrt{q_l} g)^2

    for odd phi, where h(a, b, 0) = 0 and this is the whole linear model; L = 1 is 2 zeta². Circular convolutions
    without pooling have the same: the mean over all windows of their inner products is <x, x'>/d. By quadrature, to
    1e-13. Raises ValueError where phi is not odd.
    """
    value, mirrored = act(_GRID), act(-_GRID)
    if not np.allclose(value, -mirrored, rtol=_ODD, atol=_ODD):
        raise ValueError(
            f"activation {act.name!r} is not odd: the linear model of a deep network is there for odd ones only, such "
            f"as erf, tanh, sin and identity"
        )
    slope, variance = float(hidden_layers + 1), 1.0
    for _ in range(hidden_layers):
        slope *= pair_integrals(act, variance, variance, 0.0, variance**2)[1]
        variance = pair_integrals(act, variance, variance, variance, 0.0)[0]
    return slope
