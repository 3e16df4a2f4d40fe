"""Whether two functions of arrays are phi and phi': entry by entry, finite, and one the derivative of the other."""

from collections.abc import Callable

import numpy as np

# Where is looked: at so many points, evenly spread and on no round number, up to this far from zero.
REACH, POINTS = 8.0, 128
# Inputs of that size are common at initialization: both functions have to be finite there.
COMMON = 3.0
# Widths of the cells around a point, of which one has to fit, and shifts, so that a kink is not in all of them.
WIDTHS, SHIFTS = 2.0 ** -np.arange(1, 14, 2), np.array([-3.0, 0.0, 3.0]) / 32
# phi' counts as right to this part of itself. A few roundings of functions that compute in float64 or in float32.
TOLERANCE, DOUBLE, SINGLE = 1e-5, 2.0**-50, 2.0**-21
# A cell can tell where rounding hides at most this part of the largest slope around its point.
TELLING = 1e-4
# Halvings of the space between two points, in which a jump of phi remains.
HALVINGS = 40

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def refuse_wrong(name: str, phi: Callable, slope: Callable) -> None:
    """Raises ValueError, with the place, where ``slope`` is not the derivative of ``phi``.

    phi(b) - phi(a) is compared with Gauss and Legendre's integral of phi' over small cells around 128 points of
    [-8, 8]; at each point one cell of those between 1/2 and 2^-13 wide has to fit, so that phi may oscillate and phi'
    may jump, at places that were not declared as well. What is wrong by 1e-4 of the largest slope around, over a
    quarter of a unit, is seen, except in tails that rounding to float32 may hide; so is a jump of phi by 1e-5 of its
    size. Cost: 30,000 values of both, once.
    """
    wrong = f"activation {name!r} cannot be used:"
    z = np.sort(REACH * (2 * (np.arange(1, POINTS + 1) * (5**0.5 - 1) / 2 % 1) - 1))
    with np.errstate(all="ignore"):
        for what, function in (("phi", phi), ("its derivative", slope)):
            _refuse_values(f"{wrong} {what}", function, z)
        size = _sizes(phi, slope, z)
        found = _misfit(phi, slope, z, size)
        if found is not None:
            at, said, rise = found
            raise ValueError(
                f"{wrong} the derivative does not belong to phi: near z = {at:.4g} it is {said:.6g}, but phi rises by "
                f"{rise:.6g} for each unit of z"
            )
        jump = _jump(phi, slope, z, size)
    if jump is not None:
        raise ValueError(f"{wrong} phi jumps near z = {jump:.4g}, and a jump has no derivative")


def _refuse_values(what: str, function: Callable, z) -> None:
    values = function(z)
    others = function(z[::-2].reshape(2, -1)).ravel()
    bad = np.abs(z)[~np.isfinite(values)]
    if (bad <= COMMON).any():
        at = float(z[~np.isfinite(values) & (np.abs(z) <= COMMON)][0])
        raise ValueError(f"{what} is not finite at z = {at:.4g}")
    if not np.allclose(values[::-2], others, rtol=TOLERANCE, atol=SINGLE * float(np.abs(values).max()), equal_nan=True):
        raise ValueError(f"{what} does not act entry by entry: the other entries of its argument, or chance, change it")


def _sizes(phi: Callable, slope: Callable, z):
    """How large the terms may be that phi is computed from, at each point: what phi is at all points no farther out.

    In the tail of z (1 + tanh z) / 2 they cancel, and only rounding is left.
    """
    order, sizes = np.argsort(abs(z)), abs(phi(z)) + abs(z * slope(z))
    sizes[order] = np.fmax.accumulate(sizes[order])
    return sizes


def _misfit(phi: Callable, slope: Callable, z, terms):
    """(z, phi', rise of phi for a unit) at the point nearest to zero where no cell fits, or None.

    Arrays are (points, cells).
    """
    width = np.tile(WIDTHS, len(SHIFTS))
    middle = z[:, None] + np.repeat(SHIFTS, len(WIDTHS))
    rise, integral, size, steep = _compared(phi, slope, middle - width / 2, middle + width / 2)
    size = np.maximum(size, terms[:, None])
    largest = np.maximum(steep, abs(rise) / width).max(axis=1, keepdims=True)
    misfit, allowed = abs(rise - integral), TOLERANCE * width * steep
    fits = np.zeros(len(z), bool)
    for eps in (DOUBLE, SINGLE):
        telling = eps * size <= TELLING * width * largest
        fits |= (telling & (misfit <= allowed + eps * size)).any(axis=1)
    failed = np.flatnonzero(telling.any(axis=1) & ~fits)
    if not len(failed):
        return None
    point = failed[np.argmin(abs(z[failed]))]
    cell = np.flatnonzero(telling[point])[-1]
    return z[point], integral[point, cell] / width[cell], rise[point, cell] / width[cell]


def _compared(phi: Callable, slope: Callable, lower, upper):
    """Of cells: phi(upper) - phi(lower), the integral of phi', what either's rounding is relative to, the largest
    |phi'|."""
    ends, half = (phi(lower), phi(upper)), (upper - lower) / 2
    slopes = slope((lower + half)[..., None] + half[..., None] * _NODES)
    steep = abs(slopes).max(axis=-1)
    size = np.maximum(*map(abs, ends)) + np.maximum(abs(lower), abs(upper)) * steep
    return ends[1] - ends[0], half * (slopes @ _WEIGHTS), size, steep


def _jump(phi: Callable, slope: Callable, z, terms):
    """Where phi jumps, or None: between two points, what phi' does not explain stays in ever smaller halves."""
    lower, upper = z[:-1], z[1:]
    size = np.maximum(np.maximum(terms[:-1], terms[1:]), terms[abs(z) <= COMMON].max())
    for _ in range(HALVINGS):
        middle = (lower + upper) / 2
        left, right = (
            abs(rise - integral)
            for rise, integral, *_ in (_compared(phi, slope, lower, middle), _compared(phi, slope, middle, upper))
        )
        lower, upper = np.where(right > left, middle, lower), np.where(right > left, upper, middle)
    left_over = np.maximum(left, right) > TOLERANCE * size
    return float(lower[left_over][0]) if left_over.any() else None
