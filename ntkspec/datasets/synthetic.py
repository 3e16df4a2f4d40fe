"""Synthetic data of Assumption 3.1: x = Sigma^{1/2} x̄ with independent, sub-Gaussian entries of x̄."""

import math
from collections.abc import Callable

import numpy as np

from ntkspec import checks
from ntkspec.datasets.dataset import Dataset
from ntkspec.engines import engine_of
from ntkspec.networks import TwoLayer

TARGETS = ("teacher", "norm", "random")
ENTRIES: dict[str, Callable] = {
    "uniform": lambda rng, shape: rng.uniform(-math.sqrt(3), math.sqrt(3), shape),
    # Values 2 and -1/2 with probabilities 1/5 and 4/5: mean 0, variance 1, skewness 1.5.
    "skewed": lambda rng, shape: np.where(rng.random(shape) < 0.2, 2.0, -0.5),
}


def gaussian(n, d, *, covariance=None, n_test=0, target="teacher", seed=0, dtype=np.float64) -> Dataset:
    """x ~ N(0, Sigma).

    covariance : None for the identity, a vector of d variances, or a (d, d) matrix; its trace must be d.
    target : "teacher" sign of a random erf network of width 5 (Figure 1); "norm" ‖x‖/sqrt d + ReLU(a·x), a ~ N(0, I/d)
    (section 3.4; these labels are not bounded by 1); "random" fair signs; or a function of X (n, d) that returns (n,).
    n_test : number of test points with the same labels. dtype : float32 or float64.
    The same seed gives the same data. Raises ValueError for a covariance that does not fit.
    """
    return _draw(
        "gaussian", lambda rng, shape: rng.standard_normal(shape), (n, d, n_test), covariance, target, seed, dtype
    )


def rademacher(n, d, *, covariance=None, n_test=0, target="teacher", seed=0, dtype=np.float64) -> Dataset:
    """x = Sigma^{1/2} x̄ with x̄ uniform on the cube {-1, 1}^d; the rest as in :func:`gaussian`."""
    entries = lambda rng, shape: rng.choice([-1.0, 1.0], size=shape)  # noqa: E731
    return _draw("rademacher", entries, (n, d, n_test), covariance, target, seed, dtype)


def sphere(n, d, *, covariance=None, n_test=0, target="teacher", seed=0, dtype=np.float64) -> Dataset:
    """x = Sigma^{1/2} x̄ with x̄ uniform on the sphere of radius sqrt d; the rest as in :func:`gaussian`.

    The entries of x̄ are uncorrelated but not independent: Assumption 3.1 holds up to that.
    """

    def on_sphere(rng, shape):
        x = rng.standard_normal(shape)
        return x * (math.sqrt(shape[1]) / np.linalg.norm(x, axis=1, keepdims=True))

    return _draw("sphere", on_sphere, (n, d, n_test), covariance, target, seed, dtype)


def subgaussian(
    n, d, *, entries="uniform", covariance=None, n_test=0, target="teacher", seed=0, dtype=np.float64
) -> Dataset:
    """x = Sigma^{1/2} x̄ with independent entries of x̄: "uniform" on [-sqrt 3, sqrt 3], "skewed" (2 with probability
    1/5, else -1/2), or a function (rng, shape) that draws entries of mean 0 and variance 1.
    """
    if not callable(entries):
        entries = ENTRIES[checks.one_of(entries, "entries", tuple(ENTRIES))]
    return _draw("subgaussian", entries, (n, d, n_test), covariance, target, seed, dtype)


def _draw(name, entries, sizes, covariance, target, seed, dtype) -> Dataset:
    dtype = checks.float_dtype(dtype)
    n, d, n_test = (
        checks.whole_number(size, what, least)
        for size, what, least in zip(sizes, ("n", "d", "n_test"), (1, 1, 0), strict=True)
    )
    checks.memory(
        3 * 8 * (n + n_test) * d, engine_of(), "drawing the data", "take fewer points, a smaller width or float32"
    )
    root, ratio = _square_root(covariance, d)
    # Streams 1 and 2: NumPy takes [seed, 0] for seed itself, which a network of the same seed draws from.
    x_rng, label_rng = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    label = _labels(target, d, seed, label_rng)
    X = checks.as_matrix(entries(x_rng, (n + n_test, d)), "what entries drew", columns=d)
    X = X * root if root.ndim == 1 else X @ root
    y = checks.as_vector(label(X), "the labels of target", n + n_test)
    X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
    meta = {"distribution": name, "target": getattr(target, "__name__", str(target)), "seed": seed}
    return Dataset(X[:n], y[:n], X[n:], y[n:], ratio, name, meta)


def _square_root(covariance, d: int):
    """(Sigma^{1/2} as a vector or a matrix, Tr[Sigma²]/d)."""
    if covariance is None:
        return np.ones(d), 1.0
    covariance = checks.as_floats(covariance, "covariance").astype(np.float64, copy=False)
    if covariance.shape not in ((d,), (d, d)):
        raise ValueError(f"covariance has shape {covariance.shape}, but ({d},) variances or ({d}, {d}) are needed")
    trace = float(covariance.sum() if covariance.ndim == 1 else np.trace(covariance))
    if not abs(trace - d) <= 1e-8 * d:
        raise ValueError(f"covariance has trace {trace:.12g}, but Assumption 3.1 needs d={d}; multiply it by {d}/trace")
    if covariance.ndim == 1:
        if covariance.min() < 0:
            raise ValueError(f"covariance holds the negative variance {covariance.min():.3g}")
        return np.sqrt(covariance), float((covariance**2).sum()) / d
    if not np.allclose(covariance, covariance.T, atol=1e-10):
        raise ValueError("covariance is not symmetric")
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < -1e-10 * values[-1]:
        raise ValueError(f"covariance has the negative eigenvalue {values[0]:.3g}")
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root, float((covariance**2).sum()) / d


def _labels(target, d: int, seed, rng) -> Callable:
    if callable(target):
        return target
    checks.one_of(target, "target", TARGETS)
    if target == "random":
        return lambda X: rng.choice([-1.0, 1.0], size=len(X))
    if target == "norm":
        a = rng.standard_normal(d) / math.sqrt(d)
        return lambda X: np.linalg.norm(X, axis=1) / math.sqrt(d) + np.maximum(X @ a, 0)
    teacher = TwoLayer.random(d, 5, "erf", seed=[seed, 3], second="normal")
    return lambda X: np.where(teacher(X) >= 0, 1.0, -1.0)
