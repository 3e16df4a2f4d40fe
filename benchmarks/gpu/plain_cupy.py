"""The same computations as an expert writes them with CuPy, NumPy and SciPy alone: whole matrices in float32, products
by cuBLAS, everything else in place.

``xp`` is CuPy. X (n, d) are points, W (m, d) the weights of the neurons that differ, D (n, m) their slopes phi'.
"""

import math

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

_ROWS = 2**14
LANCZOS_STEPS = 60


def relu_slopes(xp, X, W, dtype=np.float32):
    """phi'(x_i · w_r), block by block."""
    D = xp.empty((len(X), len(W)), dtype)
    for k in range(0, len(X), _ROWS):
        D[k : k + _ROWS] = X[k : k + _ROWS] @ W.T >= 0
    return D


def gap_matrix(xp, X, W, zeta: float, nu: float):
    """Theta_1 - Theta^lin1 of ReLU."""
    D = relu_slopes(xp, X, W)
    K = D @ D.T
    del D
    K *= 1 / len(W)
    K -= zeta**2
    K *= X @ X.T
    K -= nu**2
    K *= 1 / X.shape[1]
    return K


def gap_norms(xp, X, W, zeta: float, nu: float) -> tuple[float, float]:
    """Spectral norm (Lanczos, without an interval) and Frobenius norm of that matrix."""
    K = gap_matrix(xp, X, W, zeta, nu)
    parts = [xp.square(K[k : k + _ROWS]).sum(dtype=np.float64) for k in range(0, len(K), _ROWS)]
    return lanczos(xp, lambda u: K @ u, len(K)), math.sqrt(sum(float(part) for part in parts))


def lanczos(xp, product, n: int) -> float:
    """The largest |Ritz value| of a symmetric matrix."""
    q = xp.random.default_rng(0).standard_normal(n, dtype=np.float32)
    q /= float(xp.linalg.norm(q))
    before, alpha, beta = xp.zeros_like(q), [], [0.0]
    for _ in range(LANCZOS_STEPS):
        w = product(q)
        w -= beta[-1] * before
        alpha.append(float(q @ w))
        w -= alpha[-1] * q
        beta.append(float(xp.linalg.norm(w)))
        before, q = q, w / beta[-1]
    return float(abs(eigvalsh_tridiagonal(np.array(alpha), np.array(beta[1:-1]))).max())


def first_layer_product(D, X, u):
    """Theta_1 u for u (n,), through the factors: 4 n m d flops."""
    mixed = D @ (D.T @ (u[:, None] * X))
    mixed *= X
    return mixed.sum(axis=1) / (D.shape[1] * X.shape[1])


def factored_gap_norm(xp, X, W, zeta: float, nu: float) -> float:
    """The spectral norm of Theta_1 - Theta^lin1 from products with the factors."""
    D, d = relu_slopes(xp, X, W), X.shape[1]

    def product(u):
        linear = X @ (X.T @ u)
        linear *= zeta**2 / d
        return first_layer_product(D, X, u) - linear - nu**2 / d * u.sum()

    return lanczos(xp, product, len(X))


def erf_ntk(xp, X, W):
    """Theta_1 + Theta_2 for erf and v_r = ±1."""
    m, d = W.shape
    value, slope = erf_and_slope(xp, X @ (W.T / math.sqrt(d)))
    slope *= 1 / math.sqrt(m * d)
    value *= 1 / math.sqrt(m)
    K = slope @ slope.T
    del slope
    K *= X @ X.T
    K += value @ value.T
    return K


def erf_and_slope(xp, u):
    """erf(u) and its derivative; u is overwritten."""
    from cupyx.scipy.special import erf

    value = erf(u)
    u *= u
    u *= -1
    xp.exp(u, out=u)
    u *= 2 / math.sqrt(math.pi)
    return value, u


def relu_and_slope(xp, u):
    """max(u, 0) and its derivative."""
    return xp.maximum(u, 0), (u > 0).astype(u.dtype)


PHI = {"erf": erf_and_slope, "relu": relu_and_slope}


def descend(xp, activation: str, weights, data, eta: float, steps: int):
    """(W, v) after so many steps of full-batch descent on both layers, with the gradient written by hand."""
    phi, (X, y), (W, v) = PHI[activation], data, (one.copy() for one in weights)
    (m, d), n = W.shape, len(y)
    for _ in range(steps):
        value, slope = phi(xp, X @ (W.T / math.sqrt(d)))
        residual = value @ v
        residual *= 1 / math.sqrt(m)
        residual -= y
        slope *= residual[:, None]
        gradient = slope.T @ X
        gradient *= (eta / (n * math.sqrt(m * d))) * v[:, None]
        W -= gradient
        v -= (eta / (n * math.sqrt(m))) * (residual @ value)
    return W, v
