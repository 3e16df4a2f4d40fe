r"""Means and covariances of linearized networks, in the eigenvectors V of the kernel Theta that trains them.

Training takes the outputs u_0 of a network on the training points, of covariance K, to u_t = y - E_t (y - u_0), and
those on test points to f_t = f_0 + A_t (y - u_0), with E_t = e_t(Theta) and A_t = Theta_* g_t(Theta). So

.. math:: E[u_t] = (I - E_t) y, \qquad Cov[u_t] = E_t K E_t, \qquad E[f_t] = A_t y, \qquad
          Cov[f_t] = K_{**} - A_t K_*^T - K_* A_t^T + A_t K A_t^T .

Functions give (variances, covariances) of all steps, (steps, points) and (steps, points, points) or None.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array

# Column blocks of a triangle: eight of them take 9/16 of the flops of the whole matrix.
COLUMN_BLOCKS = 8

Spread: TypeAlias = tuple[Array, Array | None]


@dataclass(frozen=True)
class Learning:
    """Modes of Theta over steps: eigenvalues, eigenvectors V (columns), and e_t, 1 - e_t and g_t, (steps, modes).

    On the engine's device.
    """

    values: Array
    V: Array
    left: Array
    learned: Array
    gain: Array


def means(rows: Array, parts: Array, labels: Array) -> Array:
    """(vectors, steps, points) of labels in the eigenvectors, (vectors, modes), of which ``parts`` are seen."""
    return engine_of(rows).xp.stack([(parts * label) @ rows.T for label in labels])


def spread_on_train(learning: Learning, inner: Array | None, *, full: bool) -> Spread:
    """E_t K E_t. inner : Vᵀ K V, None where K is Theta."""
    if inner is None:
        return _sums(learning.V, learning.values * learning.left**2, full=full)
    return _sandwiches(learning.V, learning.left, inner, full=full)


def spread_of_readout(learning: Learning, rows: Array, test: Array, *, full: bool) -> Spread:
    """On test points, where K is Theta: K_** - K_* g_t (1 + e_t) K_*ᵀ. rows : K_* V. test : K_**, or its diagonal."""
    variance, covariance = _sums(rows, -learning.gain * (1 + learning.left), full=full)
    return _added(variance, covariance, test)


def spread_on_test(
    learning: Learning, inner: Array, test: Array, *, rows: Array, prior_rows: Array, full: bool
) -> Spread:
    """On test points. rows, prior_rows : Theta_* V and K_* V. test : K_**, or its diagonal."""
    variance, covariance = _sandwiches(rows, learning.gain, inner, full=full)
    if covariance is None:
        variance -= 2 * learning.gain @ (rows * prior_rows).T
    else:
        for one, gain in zip(covariance, learning.gain, strict=True):
            both = (rows * gain) @ prior_rows.T
            one -= both
            one -= both.T
    return _added(variance, covariance, test)


def _added(variance: Array, covariance: Array | None, test: Array) -> Spread:
    if covariance is None:
        return variance + test, None
    covariance += test
    return _diagonals(covariance), covariance


def _diagonals(covariance: Array) -> Array:
    return covariance.diagonal(axis1=1, axis2=2).copy()


def _sums(rows: Array, weights: Array, *, full: bool) -> Spread:
    """Rows diag(w) rowsᵀ for the weights w of each step."""
    if not full:
        return weights @ (rows**2).T, None
    covariance = engine_of(rows).xp.stack([(rows * weight) @ rows.T for weight in weights])
    return _diagonals(covariance), covariance


def _sandwiches(rows: Array, weights: Array, inner: Array, *, full: bool) -> Spread:
    """S M Sᵀ with S = rows diag(w) for the weights w of each step, M symmetric."""
    xp, count = engine_of(rows).xp, len(rows)
    if not full:
        triangle = 2 * xp.triu(inner, 1) + xp.diag(inner.diagonal())
        return xp.stack([_quadratic(rows * weight, triangle) for weight in weights]), None
    covariance = xp.empty((len(weights), count, count))
    for one, weight in zip(covariance, weights, strict=True):
        weighted = rows * weight
        one[:] = (weighted @ inner) @ weighted.T
        one += one.T.copy()
        one /= 2
    return _diagonals(covariance), covariance


def _quadratic(S: Array, triangle: Array) -> Array:
    """S_i U S_iᵀ of each row i, U upper triangular."""
    total: Any = 0.0
    for columns in np.array_split(np.arange(len(triangle)), COLUMN_BLOCKS):
        if len(columns):
            some, end = slice(columns[0], columns[-1] + 1), columns[-1] + 1
            total = total + ((S[:, :end] @ triangle[:end, some]) * S[:, some]).sum(axis=1)
    return total
