"""Gauss-Legendre quadrature of Gaussian expectations, on panels that end where the integrand bends."""

from collections.abc import Iterable
from functools import cache, lru_cache

import numpy as np

from ntkspec.engines.arrays import Array

# The standard normal density at 16 is 1e-56: beyond, only a function that outgrows exp(z²/2) has weight.
REACH = 16.0
# Gauss-Legendre nodes of a panel, half-width in standard deviations of an inner integral, and how far from 0 an
# activation is expected to have structure of scale 1; beyond, panels double in width.
NODES, INNER_REACH, STRUCTURE = 16, 9.0, 40


def _structure(scale: float, reach: float) -> np.ndarray:
    """Panel ends in units of z that resolve an activation, where the Gaussian is wide."""
    if scale <= 2:
        return np.empty(0)
    inner = np.arange(1.0, STRUCTURE + 1)
    outer = STRUCTURE * 2.0 ** np.arange(1, max(1, np.ceil(np.log2(reach * scale / STRUCTURE))) + 1)
    positive = np.concatenate([inner, outer])
    return np.concatenate([-positive, [0.0], positive])


def scaled_nodes(scale: float, marks: Iterable[float], count: int, shift: float = 0.0) -> tuple[Array, Array]:
    """Nodes g and weights of E f(scale g), panels ending where ``marks`` (in z) and the structure of f ask for it.

    Norms share them where their marks are the same, none or 0: not to be written to.
    """
    return _nodes(panel_marks(scale, marks, shift), count, shift)


def panel_marks(scale: float, marks: Iterable[float], shift: float = 0.0) -> tuple[float, ...]:
    """Where ``marks`` and the structure of f lie, in units of g: panels end there."""
    if scale == 0:
        return ()
    found = np.concatenate([_structure(scale, REACH) + shift, np.asarray(marks, dtype=float)]) / scale
    return tuple(found[np.abs(found) < REACH])


@lru_cache(maxsize=64)
def _nodes(marks: tuple[float, ...], count: int, shift: float) -> tuple[Array, Array]:
    ends = np.unique(np.concatenate([[-REACH, REACH], np.arange(-REACH, REACH) + shift, marks]))
    nodes, weights = _gauss(ends[None, :], count)
    return nodes[0], weights[0]


def conditional_nodes(means: Array, sigma: float, kinks: Iterable[float]) -> tuple[Array, Array]:
    """Nodes h (Q, N) and weights of E f(mean + sigma h) for each mean."""
    if sigma == 0:
        return np.zeros((len(means), 1)), np.ones((len(means), 1))
    marks = np.concatenate([_structure(sigma, INNER_REACH), np.asarray(kinks, dtype=float)])
    with np.errstate(over="ignore"):
        marked = np.clip((marks - means[:, None]) / sigma, -INNER_REACH, INNER_REACH)
    fixed = np.broadcast_to(np.arange(-INNER_REACH, INNER_REACH + 1), (len(means), int(2 * INNER_REACH) + 1))
    ends = np.sort(np.concatenate([fixed, marked], axis=1), axis=1)
    return _gauss(ends, NODES)


_legendre = cache(np.polynomial.legendre.leggauss)


def _gauss(ends: Array, count: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes of all panels of each row of ``ends``, with weights of the standard normal law."""
    points, weights = _legendre(count)
    half, middle = np.diff(ends, axis=1)[..., None] / 2, ((ends[:, 1:] + ends[:, :-1]) / 2)[..., None]
    nodes = (middle + half * points).reshape(len(ends), -1)
    density = np.exp(-nodes * nodes / 2) / np.sqrt(2 * np.pi)
    return nodes, density * (half * weights).reshape(len(ends), -1)
