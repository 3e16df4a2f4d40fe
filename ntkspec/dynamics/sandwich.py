r"""Means and covariances of linearized networks, in the eigenvectors V of the kernel Theta that trains them.

Training takes the outputs u_0 of a network on the training points, of covariance K, to u_t = y - E_t (y - u_0), and
those on test points to f_t = f_0 + A_t (y - u_0), with E_t = e_t(Theta) and A_t = Theta_* g_t(Theta). So

.. math:: E[u_t] = (I - E_t) y, \qquad Cov[u_t] = E_t K E_t, \qquad E[f_t] = A_t y, \qquad
          Cov[f_t] = K_{**} - A_t K_*^T - K_* A_t^T + A_t K A_t^T .

A spread is of all steps: variances (steps, points), or where they are asked for in ``full`` matrices (steps, points,
points) whose symmetric parts are the covariances.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array

# Column blocks of a triangle: eight of them take 9/16 of the flops of the whole matrix.
COLUMN_BLOCKS = 8


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


def spread_on_train(learning: Learning, inner: Array | None, *, full: bool) -> Array:
    """E_t K E_t. inner : Vᵀ K V, None where K is Theta."""
    if inner is None:
        return _sums(learning.V, learning.values * learning.left**2, full=full)
    return _sandwiches(learning.V, learning.left, inner, full=full)


def spread_of_readout(learning: Learning, rows: Array, test: Array, *, full: bool) -> Array:
    """On test points, where K is Theta: K_** - K_* g_t (1 + e_t) K_*ᵀ. rows : K_* V. test : K_**, or its diagonal."""
    found = _sums(rows, -learning.gain * (1 + learning.left), full=full)
    found += test
    return found


def spread_on_test(
    learning: Learning, inner: Array, test: Array, *, rows: Array, prior_rows: Array, full: bool
) -> Array:
    """On test points. rows, prior_rows : Theta_* V and K_* V. test : K_**, or its diagonal."""
    found = _sandwiches(rows, learning.gain, inner, full=full)
    if full:
        for one, gain in zip(found, learning.gain, strict=True):
            one -= 2 * (rows * gain) @ prior_rows.T
    else:
        found -= 2 * learning.gain @ (rows * prior_rows).T
    found += test
    return found


def symmetric_parts(matrices: Array) -> None:
    """Of each matrix, in its place."""
    for one in matrices:
        one += one.T.copy()
        one /= 2


def _sums(rows: Array, weights: Array, *, full: bool) -> Array:
    """Rows diag(w) rowsᵀ for the weights w of each step."""
    if not full:
        return weights @ (rows**2).T
    found = engine_of(rows).xp.empty((len(weights), len(rows), len(rows)))
    for one, weight in zip(found, weights, strict=True):
        one[:] = (rows * weight) @ rows.T
    return found


def _sandwiches(rows: Array, weights: Array, inner: Array, *, full: bool) -> Array:
    """S M Sᵀ with S = rows diag(w) for the weights w of each step, M symmetric."""
    xp = engine_of(rows).xp
    found = xp.empty((len(weights), len(rows), len(rows)) if full else (len(weights), len(rows)))
    triangle = 2 * xp.triu(inner, 1) + xp.diag(inner.diagonal())
    for one, weight in zip(found, weights, strict=True):
        S = rows * weight
        one[:] = (S @ inner) @ S.T if full else _quadratic(S, triangle)
    return found


def _quadratic(S: Array, triangle: Array) -> Array:
    """S_i U S_iᵀ of each row i, U upper triangular."""
    total = engine_of(S).xp.zeros(len(S))
    edges = np.linspace(0, len(triangle), COLUMN_BLOCKS + 1).astype(int)
    for first, end in itertools.pairwise(edges):
        total += ((S[:, :end] @ triangle[:end, first:end]) * S[:, first:end]).sum(axis=1)
    return total
