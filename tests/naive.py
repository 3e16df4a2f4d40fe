"""The definitions of the paper as slow loops, written without importing the package."""

import itertools
import math

import numpy as np
import scipy.linalg


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


def trace_ratio_about_the_mean(X):
    """The U-statistic of Tr[Sigma²]/d for an unknown mean, over all four different points."""
    n, d = X.shape
    total = sum(
        float((X[i] - X[j]) @ (X[k] - X[m])) ** 2 / 4
        for i in range(n)
        for j in range(n)
        for k in range(n)
        for m in range(n)
        if len({i, j, k, m}) == 4
    )
    return total / (n * (n - 1) * (n - 2) * (n - 3) * d)


def kernel_descent(K, K_test, y, eta, steps):
    """Full-batch gradient descent in dual coefficients, step by step: outputs at the recorded steps."""
    n, alpha = len(y), np.zeros(len(y))
    train, test = {}, {}
    for t in range(max(steps) + 1):
        train[t], test[t] = K @ alpha, K_test @ alpha
        alpha = alpha - eta / n * (K @ alpha - y)
    return np.array([train[t] for t in steps]), np.array([test[t] for t in steps])


def linearized_descent(J, J_test, y, eta, steps):
    """Gradient descent on the parameters of f(x_i) = J_i w, (K,) outputs a point, from w = 0, on (1/2n) |f - y|^2."""
    n, w, train, test = len(y), np.zeros(J.shape[2]), {}, {}
    for t in range(max(steps) + 1):
        train[t] = np.array([J_i @ w for J_i in J])
        test[t] = np.array([J_i @ w for J_i in J_test])
        gradient = np.zeros(len(w))
        for i in range(n):
            for k in range(y.shape[1]):
                gradient += (train[t][i, k] - y[i, k]) * J[i, k] / n
        w = w - eta * gradient
    return np.array([train[t] for t in steps]), np.array([test[t] for t in steps])


def heavy_ball(K, K_test, y, how, start):
    """u_{t+1} = u_t - (eta/n) K (u_t - y) + momentum (u_t - u_{t-1}) with its dual coefficients, from outputs
    start = (u_0, f_0); how is (eta, momentum, steps)."""
    (eta, momentum, steps), (u0, f0) = how, start
    n, alpha, before, train, test = len(y), np.zeros(len(y)), np.zeros(len(y)), {}, {}
    for t in range(max(steps) + 1):
        train[t], test[t] = u0 + K @ alpha, f0 + K_test @ alpha
        alpha, before = alpha - eta / n * (train[t] - y) + momentum * (alpha - before), alpha
    return np.array([train[t] for t in steps]), np.array([test[t] for t in steps])


def nesterov(K, K_test, y, how, start):
    """z_{t+1} = w_t - eta grad(w_t) and w_{t+1} = z_{t+1} + momentum (z_{t+1} - z_t), as `heavy_ball`."""
    (eta, momentum, steps), (u0, f0) = how, start
    n, w, z, train, test = len(y), np.zeros(len(y)), np.zeros(len(y)), {}, {}
    for t in range(max(steps) + 1):
        train[t], test[t] = u0 + K @ w, f0 + K_test @ w
        before, z = z, w - eta / n * (train[t] - y)
        w = z + momentum * (z - before)
    return np.array([train[t] for t in steps]), np.array([test[t] for t in steps])


def kernel_flow(K, K_test, y, eta, times):
    """du/dt = -(eta/n) K (u - y) from 0 by the exponential of the matrix [[K, .], [K*, 0]] acting on outputs."""
    n, n_test = len(y), len(K_test)
    A = np.zeros((n + n_test + 1, n + n_test + 1))
    A[:n, :n], A[:n, -1] = -eta / n * K, eta / n * K @ y
    A[n:-1, :n], A[n:-1, -1] = -eta / n * K_test, eta / n * K_test @ y
    states = [scipy.linalg.expm(t * A)[:, -1] for t in times]
    return np.array([s[:n] for s in states]), np.array([s[n:-1] for s in states])


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


def expected_kernel(phi, slope, X, layer):
    """E_W of Theta_1, Theta_2 or the sum, for smooth phi: the trapezoidal rule in two standard normal variables, which
    converges faster than any power of the step. The angle of two inputs comes from the difference of directions."""
    step, (n, d) = 1 / 16, X.shape
    g = np.arange(-12, 12 + step / 2, step)
    density = step * np.exp(-g * g / 2) / math.sqrt(2 * math.pi)
    weights, kernel = np.outer(density, density), np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            cosine, sine, norms = angle(X[i], X[j])
            u = norms[0] / math.sqrt(d) * g[:, None] + 0 * g
            v = norms[1] / math.sqrt(d) * (cosine * g[:, None] + sine * g)
            first = X[i] @ X[j] / d * (weights * slope(u) * slope(v)).sum()
            second = (weights * phi(u) * phi(v)).sum()
            kernel[i, j] = kernel[j, i] = {"first": first, "second": second, "both": first + second}[layer]
    return kernel


def angle(x, z):
    """cos, sin >= 0 and the norms; a zero input is orthogonal to everything."""
    norms = math.sqrt(x @ x), math.sqrt(z @ z)
    if 0 in norms:
        return 0.0, 1.0, norms
    sign = math.copysign(1.0, x @ z)
    near = ((x / norms[0] - sign * z / norms[1]) ** 2).sum() / 2
    return sign * (1 - near), math.sqrt(near * (2 - near)), norms


def trapezoidal_moments(phi, slope):
    """E phi(u) phi(v) and E phi'(u) phi'(v) as functions of (a, b, c), by the rule of :func:`expected_kernel`."""
    step = 1 / 16
    g = np.arange(-12, 12 + step / 2, step)
    density = step * np.exp(-g * g / 2) / math.sqrt(2 * math.pi)
    weights = np.outer(density, density)

    def moments(a, b, c):
        cosine = float(c / (a * b) ** 0.5) if a * b else 0.0
        sine = math.sqrt(max(0.0, 1 - cosine**2))
        u = float(a) ** 0.5 * g[:, None] + 0 * g
        v = float(b) ** 0.5 * (cosine * g[:, None] + sine * g)
        return float((weights * phi(u) * phi(v)).sum()), float((weights * slope(u) * slope(v)).sum())

    return moments


def deep_expected(moments, X, hidden_layers, number=float):
    """What each of L + 1 weight matrices adds to the NTK of infinite width, by the recursion over layers.

    moments(a, b, c) gives E phi(u) phi(v) and E phi'(u) phi'(v); ``number`` is mpmath's mpf for more digits.
    """
    rows = [[number(float(entry)) for entry in x] for x in X]
    inner = [[sum(p * q for p, q in zip(x, z, strict=True)) / len(x) for z in rows] for x in rows]
    inner, n = np.array(inner), len(X)
    parts = [inner]
    for _ in range(hidden_layers):
        pairs = [[moments(inner[i, i], inner[j, j], inner[i, j]) for j in range(n)] for i in range(n)]
        inner, slopes = (np.array([[pair[k] for pair in row] for row in pairs]) for k in range(2))
        parts = [*(part * slopes for part in parts), inner]
    return parts


def expected_piecewise_linear(slope, X, layer):
    """E_W for phi = z (z >= 0), slope z (z < 0): shares of the circle on which both, one or none are positive."""
    n, d = X.shape
    kernel = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            cosine, sine, norms = angle(X[i], X[j])
            theta = math.atan2(sine, cosine)
            same, mixed = (math.pi - theta) / (2 * math.pi), theta / (2 * math.pi)
            slopes = (1 + slope**2) * same + 2 * slope * mixed
            relu = (sine + (math.pi - theta) * cosine) / (2 * math.pi)
            crossed = (sine - theta * cosine) / (2 * math.pi)
            second = norms[0] * norms[1] / d * ((1 + slope**2) * relu - 2 * slope * crossed)
            first = X[i] @ X[j] / d * slopes
            kernel[i, j] = {"first": first, "second": second, "both": first + second}[layer]
    return kernel


def expected_elu(x, z):
    """E_W of Theta_1 and Theta_2 for one pair and phi = ELU, by iterated adaptive quadrature split at the kinks."""
    from scipy.integrate import quad

    cosine, sine, norms = angle(x, z)
    one, other = norms[0] / math.sqrt(len(x)), norms[1] / math.sqrt(len(x))

    def pieces(f, ends):
        return sum(quad(f, a, b, epsabs=1e-14, epsrel=1e-13)[0] for a, b in itertools.pairwise(ends))

    def density(g):
        return math.exp(-g * g / 2) / math.sqrt(2 * math.pi)

    def expectation(f):
        def inner(g):
            if sine < 1e-14:
                return f(other * cosine * g)
            kink = -cosine * g / sine
            ends = sorted([-9, -3, 3, 9, *([kink] if abs(kink) < 9 else [])])
            return pieces(lambda h: density(h) * f(other * (cosine * g + sine * h)), ends)

        near = [k * sine for k in (-8, -2, 2, 8)]
        return pieces(lambda g: density(g) * f(one * g) * inner(g), sorted([-9, -4, -1, 0, 1, 4, 9, *near]))

    slopes = expectation(lambda u: 1.0 if u >= 0 else math.exp(u))
    return float(x @ z) / len(x) * slopes, expectation(lambda u: u if u >= 0 else math.expm1(u))
