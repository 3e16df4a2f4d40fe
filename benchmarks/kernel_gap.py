"""Both norms of Theta_1 - Theta^lin1, against NumPy and SciPy as an expert would write it."""

import math

import numpy as np
import scipy.sparse.linalg

import ntkspec as ns
from benchmarks.common import Case


def cases(quick: bool):
    """ReLU and erf at one size; and a product with the first-layer NTK that is never formed."""
    n, d, m = (600, 32, 128) if quick else (4096, 128, 2048)
    for name in ("relu", "erf"):
        yield _gap(name, n, d, m)
    yield _product(*((3000, 32, 128) if quick else (20000, 100, 512)))


def _setting(name, n, d, m):
    X = np.random.default_rng(1).standard_normal((n, d)).astype(np.float32)
    return ns.TwoLayer.symmetric(d, m, name, dtype=np.float32), X


def _gap(name, n, d, m) -> Case:
    net, X = _setting(name, n, d, m)
    act = net.activation
    zeta, nu = act.constants.zeta, act.constants.nu(1.0)

    def ours():
        gap = ns.ntk(net, X, layer="first") - ns.linear_kernel(act, X, layer="first", trace_ratio=1.0)
        return float(ns.spectral_norm(gap)), float(ns.frobenius_norm(gap))

    def expert():
        D, gram = act.derivative(X @ net.W.T / np.float32(math.sqrt(d))), X @ X.T / np.float32(d)
        gap = (D @ D.T / np.float32(m)) * gram - np.float32(zeta**2) * gram - np.float32(nu**2 / d)
        values = scipy.sparse.linalg.eigsh(gap, k=1, tol=1e-3, return_eigenvectors=False)
        return abs(float(values[0])), float(np.linalg.norm(gap))

    return Case(
        name=f"gap norms, {name}, n={n} d={d} m={m} float32",
        ours=ours,
        peers={"NumPy + SciPy eigsh": expert},
        tolerance=2e-3,
        floor_flops=n * n * (m / 2 + d),
        dtype="float32",
    )


def _product(n, d, m) -> Case:
    net, X = _setting("erf", n, d, m)
    v = np.random.default_rng(2).standard_normal(n).astype(np.float32)
    theta = ns.ntk(net, X, layer="first")
    D = net.activation.derivative(X @ net.W.T / np.float32(math.sqrt(d)))

    def expert():
        G = D.T @ (v[:, None] * X)
        return (np.einsum("nm,nm->n", D, X @ G.T) / np.float32(m * d),)

    return Case(
        name=f"factored product, erf, n={n} d={d} m={m} float32",
        ours=lambda: (theta @ v,),
        peers={"NumPy": expert},
        tolerance=1e-4,
        floor_flops=4 * n * d * m / 2,
        dtype="float32",
    )
