"""Gauss rules for the measure that a vector sees of a kernel's spectrum, from the T of block Lanczos."""

import math

import numpy as np
from scipy.linalg import eigh_tridiagonal

from ntkspec.spectra.lanczos import Lanczos


def jacobi_matrices(lanczos: Lanczos, steps: int) -> list[tuple[np.ndarray, np.ndarray, int, float]]:
    """(alpha, beta, length, \\|g\\|²) of each column g of the start block, from the block's T and C.

    Lanczos on T from the coordinates of g is Lanczos on K from g, as long as it has not reached the residual block.
    """
    size = lanczos.size + lanczos.residual_width
    whole = np.zeros((size, size))
    whole[: lanczos.size, : lanczos.size] = lanczos.T
    whole[lanczos.size :, : lanczos.size], whole[: lanczos.size, lanczos.size :] = (
        lanczos.off_diagonal,
        lanczos.off_diagonal.T,
    )
    starts = np.zeros((size, lanczos.start_factor.shape[1]))
    starts[: lanczos.size] = lanczos.start @ lanczos.start_factor
    return [_jacobi(whole, start, min(steps, lanczos.steps), steps) for start in starts.T]


def _jacobi(matrix, start, steps: int, room: int):
    alpha, beta, size = np.zeros(room), np.zeros(room), float(start @ start)
    basis, negligible = [start / math.sqrt(size)], 1e-13 * float(abs(matrix).sum(axis=1).max())
    for k in range(steps):
        product = matrix @ basis[-1]
        alpha[k] = basis[-1] @ product
        known = np.array(basis)
        for _ in range(2):
            product = product - (known @ product) @ known
        beta[k] = np.linalg.norm(product)
        if beta[k] <= negligible:
            beta[k] = 0.0
            return alpha, beta, k + 1, size
        basis.append(product / beta[k])
    return alpha, beta, steps, size


def rule(alpha: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, weights) of the Gauss rule of a Jacobi matrix."""
    nodes, S = eigh_tridiagonal(alpha, beta)
    return nodes, S[0] ** 2


def radau_rule(alpha: np.ndarray, beta: np.ndarray, x: float) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, weights) of the Gauss rule with one more node, prescribed at x."""
    if beta[-1] == 0:
        return rule(alpha, beta[:-1])
    # The last diagonal entry that makes x an eigenvalue: x + beta² e_kᵀ (T - x)⁻¹ e_k, by continued fraction.
    pivot = alpha[0] - x
    for a, b in zip(alpha[1:], beta[:-1], strict=True):
        pivot = a - x - b**2 / (pivot or 1e-300)
    return rule(np.append(alpha, x + beta[-1] ** 2 / (pivot or 1e-300)), beta)


def share_below(alpha: np.ndarray, beta: np.ndarray, x: float) -> tuple[float, float]:
    """Bounds on the share up to x of a measure with this Jacobi matrix; beta[-1] couples to what is not known.

    The rule with one more node, prescribed at x, has the largest mass at x that the moments allow (Chebyshev, Markov,
    Stieltjes): what lies below it is a lower bound, and with it an upper one.
    """
    if beta[-1] == 0:
        nodes, weights = rule(alpha, beta[:-1])
        share = float(weights[nodes <= x + 1e-13 * abs(nodes).max()].sum())
        return share, share
    nodes, weights = radau_rule(alpha, beta, x)
    at = int(np.argmin(abs(nodes - x)))
    below = float(weights[:at].sum())
    return below, below + float(weights[at])
