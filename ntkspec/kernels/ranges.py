"""Norms of inputs: ranges in which a kernel is computed, and rows times powers of two where a norm can be taken out."""

from collections.abc import Callable

import numpy as np

from ntkspec.activations import Activation
from ntkspec.activations.duals import PiecewiseLinear
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array
from ntkspec.operators.function import OfPairs
from ntkspec.operators.rescaled import Rescaled

# ‖x‖²/d whose products, gap included, a dtype holds; and what float64 holds of those that pass through all layers.
SQUARES = {"f": (1e-10, 1e8), "d": (1e-100, 1e100)}
VARIANCES = (1e-130, 1e130)
# Where an activation has a scale of its own: float64 then knows the angle of near inputs to 1e-4 of that scale.
LARGEST = 1e24


def squares_of(engine: Engine, X: Array) -> Array:
    """‖x‖²/d (n,) in float64; of a row that is not zero at least the smallest number above 0."""
    squares, xp = engine.linalg.row_products(X, X, np.float64) / X.shape[1], engine.xp
    lost = squares == 0
    return xp.where(lost & X.any(axis=1), 5e-324, squares) if lost.any() else squares


def within(squares: Array, low: float, high: float) -> bool:
    """Whether all numbers above 0 lie in a range."""
    return bool(((squares == 0) | ((squares >= low) & (squares <= high))).all())


def homogeneous(act: Activation) -> bool:
    """Whether phi(s z) = s phi(z) for s > 0, and K(x, x') is a multiple of ‖x‖ ‖x'‖."""
    return isinstance(act.dual, PiecewiseLinear)


def refuse_variances(act: Activation, squares: Array, layer: int) -> None:
    """ValueError for variances that enter a layer and are beyond what float64 computes expectations of."""
    low, high = VARIANCES if homogeneous(act) else (SQUARES["d"][0], LARGEST)
    if not within(squares, low, high):
        some = squares[squares > 0]
        what = "‖x‖²/d" if layer == 0 else f"the variance after layer {layer}"
        raise ValueError(
            f"{what} goes from {some.min():.3g} to {some.max():.3g}, but expectations of {act.name!r} are computed "
            f"from {low:.0e} to {high:.0e}; scale the inputs"
        )


def built(act: Activation, sides: list[Array], build: Callable[..., OfPairs]) -> OfPairs:
    """``build(*sides)``; where norms leave the range of float64's squares and can be taken out, of rows times powers of
    two. Raises ValueError where the dtype does not hold the kernel's diagonal, or underflow would take its digits.
    """
    engine, sides = engine_of(*sides), sides if sides[-1] is not sides[0] else sides[:1]
    squares = [squares_of(engine, X) for X in sides]
    if not homogeneous(act):
        refuse_variances(act, engine.xp.concatenate(squares), 0)
    if homogeneous(act) and sides[0].dtype == np.float64 and not all(within(one, *SQUARES["d"]) for one in squares):
        units, scales = zip(*(_unit_rows(engine.xp, X) for X in sides), strict=True)
        operator: OfPairs = Rescaled(build(*units), scales)
    else:
        operator = build(*sides)
    for own, diagonal in zip(squares, operator.own_diagonals(), strict=True):
        _refuse_diagonal(operator.dtype, diagonal, (own > 0) & (homogeneous(act) | (diagonal > 0)))
    return operator


def _unit_rows(xp, X):
    """Each row times a power of two that brings its largest entry to 1 to 2, and the inverse of that power, (n,)."""
    _, exponents = xp.frexp(abs(X).max(axis=1))
    scales = xp.ldexp(xp.ones(len(X)), xp.where(X.any(axis=1), exponents - 1, 0))
    return X / scales[:, None], scales


def _refuse_diagonal(dtype: np.dtype, diagonal: Array, counted: Array) -> None:
    """ValueError where K(x, x) of the points that count is not a normal number of the dtype."""
    info = np.finfo(dtype)
    if not ((diagonal[counted] >= info.tiny) & (diagonal[counted] <= info.max)).all():
        raise ValueError(
            f"K(x, x) leaves the range of {dtype}, {info.tiny:.0e} to {info.max:.0e}; scale the inputs"
            + ("" if dtype == np.float64 else ", or pass them as float64")
        )
