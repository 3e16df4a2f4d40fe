"""The definitions of the paper as slow loops, written without importing the package."""

import math

import numpy as np


def network(W, v, phi, x):
    """Equation (1) for one point."""
    m, d = W.shape
    return sum(v[r] * phi(sum(W[r, k] * x[k] for k in range(d)) / math.sqrt(d)) for r in range(m)) / math.sqrt(m)


def theta_first(W, v, slope, X, X2):
    """Section 3.1.1, with v_r squared: (1/m) sum_r v_r² phi'(u_r) phi'(u'_r) <x, x'>/d."""
    m, d = W.shape
    kernel = np.zeros((len(X), len(X2)))
    for i, x in enumerate(X):
        for j, z in enumerate(X2):
            for r in range(m):
                u, w = W[r] @ x / math.sqrt(d), W[r] @ z / math.sqrt(d)
                kernel[i, j] += v[r] ** 2 * slope(u) * slope(w) * (x @ z) / (m * d)
    return kernel


def theta_second(W, phi, X, X2):
    """(1/m) sum_r phi(u_r) phi(u'_r)."""
    m, d = W.shape
    kernel = np.zeros((len(X), len(X2)))
    for i, x in enumerate(X):
        for j, z in enumerate(X2):
            kernel[i, j] = sum(phi(W[r] @ x / math.sqrt(d)) * phi(W[r] @ z / math.sqrt(d)) for r in range(m)) / m
    return kernel


def psi_first(x, zeta, nu):
    """Equation (5)."""
    return np.append(zeta * x, nu) / math.sqrt(len(x))


def psi_second(x, zeta, nu, thetas):
    """Equation (9)."""
    d, excess = len(x), math.sqrt(float(x @ x) / len(x)) - 1
    norm_feature = thetas[0] + thetas[1] * excess + thetas[2] * excess**2
    return np.concatenate([zeta * x / math.sqrt(d), [nu / math.sqrt(2 * d), norm_feature]])


def psi_both(x, zeta, nu, thetas):
    """Equation (11)."""
    d, excess = len(x), math.sqrt(float(x @ x) / len(x)) - 1
    norm_feature = thetas[0] + thetas[1] * excess + thetas[2] * excess**2
    return np.concatenate([math.sqrt(2 / d) * zeta * x, [math.sqrt(3 / (2 * d)) * nu, norm_feature]])


def trace_ratio(X):
    """The U-statistic of Tr[Sigma²]/d."""
    n, d = X.shape
    return sum(float(X[i] @ X[j]) ** 2 for i in range(n) for j in range(n) if i != j) / (n * (n - 1) * d)


def kernel_descent(K, K_test, y, eta, steps):
    """Full-batch gradient descent in dual coefficients, step by step: outputs at the recorded steps."""
    n, alpha = len(y), np.zeros(len(y))
    train, test = {}, {}
    for t in range(max(steps) + 1):
        train[t], test[t] = K @ alpha, K_test @ alpha
        alpha = alpha - eta / n * (K @ alpha - y)
    return np.array([train[t] for t in steps]), np.array([test[t] for t in steps])


def linear_model_descent(features, test_features, y, eta, steps):
    """Equations (6) and (10): gradient descent on the parameters of a linear model from zero."""
    n, beta = len(y), np.zeros(features.shape[1])
    train, test = {}, {}
    for t in range(max(steps) + 1):
        train[t], test[t] = features @ beta, test_features @ beta
        beta = beta - eta / n * features.T @ (features @ beta - y)
    return np.array([train[t] for t in steps]), np.array([test[t] for t in steps])


def network_descent(W, v, activation, data, rates, steps):
    """Equation (4) with the gradients written out; activation is (phi, phi'), data is (X, y)."""
    (phi, slope), (X, y), (eta1, eta2) = activation, data, rates
    W, v, outputs = W.copy(), v.copy(), {}
    (m, d), n = W.shape, len(y)
    for t in range(max(steps) + 1):
        U = X @ W.T / math.sqrt(d)
        outputs[t] = phi(U) @ v / math.sqrt(m)
        if t == max(steps):
            break
        residual = outputs[t] - y
        gradient_W, gradient_v = np.zeros_like(W), np.zeros_like(v)
        for r in range(m):
            for i in range(n):
                gradient_W[r] += residual[i] * v[r] * slope(U[i, r]) * X[i] / (n * math.sqrt(m * d))
                gradient_v[r] += residual[i] * phi(U[i, r]) / (n * math.sqrt(m))
        W, v = W - eta1 * gradient_W, v - eta2 * gradient_v
    return np.array([outputs[t] for t in steps]), W, v
