"""The expected NTK over random weights: the kernel of infinite width."""

from collections.abc import Callable

import numpy as np

from ntkspec import activations, checks
from ntkspec.activations import Activation
from ntkspec.engines import engine_of
from ntkspec.operators import GramFunction, KernelOperator
from ntkspec.series import Series


def expected_ntk(activation: str | Activation, X, X2=None, *, layer: str = "both") -> KernelOperator:
    r"""E_W of the NTK of a two-layer network with w ~ N(0, I), v = +-1, shape (n, n) or (n, n').

    .. math:: E\,\Theta_1 = \frac{x \cdot x'}{d} E[\phi'(u) \phi'(u')], \quad E\,\Theta_2 = E[\phi(u) \phi(u')], \quad
              (u, u') \sim N\!\left(0, \tfrac1d \begin{pmatrix} x \cdot x & x \cdot x' \\ x \cdot x' & x' \cdot x'
              \end{pmatrix}\right)

    layer : "first", "second" or "both" (their sum). X : (n, d) of any norms, X2 : (n', d); X2 = None means X itself.
    ReLU, leaky ReLU, abs, identity, erf, GELU, sin and cos are closed forms, accurate to 1e-12 of each entry in
    float64. Every other activation is a Hermite series whose remainder is below 1e-14 of sqrt(K(x, x) K(x', x')), and
    integrals where it is not; ``op.function.error`` is that bound with the error of quadrature.
    Cost: 2 d flops and about 50 passes an entry; integrals take milliseconds a pair, for inputs that are almost
    parallel under activations with kinks or for ‖x‖² far above d. Raises ValueError / TypeError.
    """
    act = activations.activation(activation)
    checks.one_of(layer, "layer", checks.LAYERS)
    X = checks.as_matrix(X)
    sides = [X] if X2 is None else [X, checks.as_matrix(X2, "X2", columns=X.shape[1])]
    return GramFunction(_Expected(_moments(act, sides), layer), *sides)


class _Closed:
    """The moments of an activation whose closed form is known, as :class:`Series` gives those of any other."""

    # Measured against 150 digits; float64.
    error = 2e-14

    def __init__(self, dual: Callable):
        self.dual = dual

    def points(self, squares):
        return squares[:, None]

    def __call__(self, engine, left, right, c, gap):
        return self.dual(engine.xp, left[:, :1], right[:, 0], c, gap)

    def diagonal(self, engine, points):
        a = points[:, 0]
        return self.dual(engine.xp, a, a, a, engine.xp.zeros_like(a))


def _moments(act: Activation, sides):
    if act.dual is not None:
        return _Closed(act.dual)
    squares = [np.einsum("id,id->i", X, X, dtype=np.float64) / X.shape[1] for X in sides]
    return Series(act, np.concatenate(squares), engine_of(*sides))


class _Expected:
    """Entries of E Theta_1, E Theta_2 or their sum, from the moments K and K'."""

    def __init__(self, moments, layer: str):
        self.moments, self.layer = moments, layer
        self.error, self.points = moments.error, moments.points

    def __call__(self, engine, left, right, c, gap):
        return self._combined(c, *self.moments(engine, left, right, c, gap))

    def diagonal(self, engine, points):
        return self._combined(points[:, 0], *self.moments.diagonal(engine, points))

    def _combined(self, c, value, slope):
        if self.layer == "first":
            return c * slope
        return value if self.layer == "second" else value + c * slope
