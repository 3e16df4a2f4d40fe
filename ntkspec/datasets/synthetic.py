"""Synthetic data of Assumption 3.1: x = Sigma^{1/2} x̄ with independent, sub-Gaussian entries of x̄."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ntkspec import checks
from ntkspec.datasets.dataset import Dataset
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import ArrayLike, DTypeLike
from ntkspec.networks import TwoLayer

# Draws independent entries of mean 0 and variance 1: (generator, (n, d)) to (n, d).
Entries: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], ArrayLike]
# A name of TARGETS, or a function from points (n, d) to labels (n,).
Target: TypeAlias = str | Callable[[np.ndarray], ArrayLike]

TARGETS = ("teacher", "norm", "random")
ENTRIES: dict[str, Entries] = {
    "uniform": lambda rng, shape: rng.uniform(-math.sqrt(3), math.sqrt(3), shape),
    # Values 2 and -1/2 with probabilities 1/5 and 4/5: mean 0, variance 1, skewness 1.5.
    "skewed": lambda rng, shape: np.where(rng.random(shape) < 0.2, 2.0, -0.5),
}


def gaussian(
    n: int,
    d: int,
    *,
    covariance: ArrayLike | None = None,
    n_test: int = 0,
    target: Target = "teacher",
    seed: int = 0,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    """Gaussian points, x ~ N(0, Sigma).

    Parameters
    ----------
    n : int
        Number of training points, at least 1.
    d : int
        Dimension of the points, at least 1.
    covariance : array_like of shape (d,) or (d, d), optional
        Sigma: d variances, or a symmetric positive semidefinite matrix. Its trace must be d. Default: the identity.
    n_test : int, default 0
        Number of test points, drawn from the same distribution and labelled alike.
    target : {"teacher", "norm", "random"} or callable, default "teacher"
        The labels. "teacher": the sign of a random erf network of width 5 (Figure 1 of the paper). "norm":
        ‖x‖/sqrt d + ReLU(a·x) with a ~ N(0, I/d) (section 3.4; these labels are not bounded by 1). "random": fair
        signs. A function takes all points (n + n_test, d) and returns their labels (n + n_test,).
    seed : int, default 0
        The same seed gives the same data. Points and labels use streams of their own, so that a network with the same
        seed is independent of them.
    dtype : {float64, float32}, default float64
        The dtype of points and labels; they are drawn in float64 and rounded.

    Returns
    -------
    Dataset
        ``trace_ratio`` is Tr[Sigma²]/d exactly; ``meta`` holds "distribution", "target" and "seed".

    Raises
    ------
    ValueError
        If a size is not a whole number in its range, the covariance has another shape or trace or a negative
        eigenvalue, ``target`` is unknown or its labels have the wrong shape, or memory is too small.
    TypeError
        If ``dtype`` is neither float32 nor float64.

    Notes
    -----
    Cost: (n + n_test) d random numbers, and 2 (n + n_test) d² flops plus an eigendecomposition of Sigma if it is a
    matrix. Memory: about 24 (n + n_test) d bytes.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.1.

    Examples
    --------
    Unequal variances, which must sum to d:

    >>> import ntkspec as ns
    >>> data = ns.datasets.gaussian(100, 3, covariance=[2.0, 0.5, 0.5], n_test=10, seed=1)
    >>> data.X.shape, data.X_test.shape, set(data.y.tolist()) == {-1.0, 1.0}
    ((100, 3), (10, 3), True)
    >>> data.trace_ratio == (2.0**2 + 0.5**2 + 0.5**2) / 3
    True
    """
    return _drawn(
        "gaussian",
        _normal,
        n=n,
        d=d,
        n_test=n_test,
        covariance=covariance,
        target=target,
        seed=seed,
        dtype=dtype,
    )


def rademacher(
    n: int,
    d: int,
    *,
    covariance: ArrayLike | None = None,
    n_test: int = 0,
    target: Target = "teacher",
    seed: int = 0,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    """Rademacher points, x = Sigma^{1/2} x̄ with x̄ uniform on {-1, 1}^d.

    With Sigma = I these are the inputs that the paper takes for convolutional networks (Proposition 4.1). The command
    line calls them ``cube``.

    Parameters
    ----------
    n : int
        Number of training points, at least 1.
    d : int
        Dimension of the points, at least 1.
    covariance : array_like of shape (d,) or (d, d), optional
        Sigma: d variances, or a symmetric positive semidefinite matrix. Its trace must be d. Default: the identity.
    n_test : int, default 0
        Number of test points, drawn from the same distribution and labelled alike.
    target : {"teacher", "norm", "random"} or callable, default "teacher"
        The labels. "teacher": the sign of a random erf network of width 5 (Figure 1 of the paper). "norm":
        ‖x‖/sqrt d + ReLU(a·x) with a ~ N(0, I/d) (section 3.4; these labels are not bounded by 1). "random": fair
        signs. A function takes all points (n + n_test, d) and returns their labels (n + n_test,).
    seed : int, default 0
        The same seed gives the same data. Points and labels use streams of their own, so that a network with the same
        seed is independent of them.
    dtype : {float64, float32}, default float64
        The dtype of points and labels; they are drawn in float64 and rounded.

    Returns
    -------
    Dataset
        ``trace_ratio`` is Tr[Sigma²]/d exactly; ``meta`` holds "distribution", "target" and "seed".

    Raises
    ------
    ValueError
        If a size is not a whole number in its range, the covariance has another shape or trace or a negative
        eigenvalue, ``target`` is unknown or its labels have the wrong shape, or memory is too small.
    TypeError
        If ``dtype`` is neither float32 nor float64.

    Notes
    -----
    Cost: (n + n_test) d random numbers, and 2 (n + n_test) d² flops plus an eigendecomposition of Sigma if it is a
    matrix. Memory: about 24 (n + n_test) d bytes.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> data = ns.datasets.rademacher(50, 4, target="random")
    >>> np.unique(data.X).tolist()
    [-1.0, 1.0]
    """
    return _drawn(
        "rademacher",
        _signs,
        n=n,
        d=d,
        n_test=n_test,
        covariance=covariance,
        target=target,
        seed=seed,
        dtype=dtype,
    )


def sphere(
    n: int,
    d: int,
    *,
    covariance: ArrayLike | None = None,
    n_test: int = 0,
    target: Target = "teacher",
    seed: int = 0,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    """Points on a sphere, x = Sigma^{1/2} x̄ with x̄ uniform on the sphere of radius sqrt d.

    The entries of x̄ are uncorrelated, of mean 0 and variance 1, but not independent: Assumption 3.1 holds up to that.

    Parameters
    ----------
    n : int
        Number of training points, at least 1.
    d : int
        Dimension of the points, at least 1.
    covariance : array_like of shape (d,) or (d, d), optional
        Sigma: d variances, or a symmetric positive semidefinite matrix. Its trace must be d. Default: the identity.
    n_test : int, default 0
        Number of test points, drawn from the same distribution and labelled alike.
    target : {"teacher", "norm", "random"} or callable, default "teacher"
        The labels. "teacher": the sign of a random erf network of width 5 (Figure 1 of the paper). "norm":
        ‖x‖/sqrt d + ReLU(a·x) with a ~ N(0, I/d) (section 3.4; these labels are not bounded by 1). "random": fair
        signs. A function takes all points (n + n_test, d) and returns their labels (n + n_test,).
    seed : int, default 0
        The same seed gives the same data. Points and labels use streams of their own, so that a network with the same
        seed is independent of them.
    dtype : {float64, float32}, default float64
        The dtype of points and labels; they are drawn in float64 and rounded.

    Returns
    -------
    Dataset
        ``trace_ratio`` is Tr[Sigma²]/d exactly; ``meta`` holds "distribution", "target" and "seed".

    Raises
    ------
    ValueError
        If a size is not a whole number in its range, the covariance has another shape or trace or a negative
        eigenvalue, ``target`` is unknown or its labels have the wrong shape, or memory is too small.
    TypeError
        If ``dtype`` is neither float32 nor float64.

    Notes
    -----
    Cost: (n + n_test) d random numbers, and 2 (n + n_test) d² flops plus an eigendecomposition of Sigma if it is a
    matrix. Memory: about 24 (n + n_test) d bytes.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> data = ns.datasets.sphere(20, 9)
    >>> bool(np.allclose(np.linalg.norm(data.X, axis=1), 3.0))
    True
    """
    return _drawn(
        "sphere",
        _on_sphere,
        n=n,
        d=d,
        n_test=n_test,
        covariance=covariance,
        target=target,
        seed=seed,
        dtype=dtype,
    )


def subgaussian(
    n: int,
    d: int,
    *,
    entries: str | Entries = "uniform",
    covariance: ArrayLike | None = None,
    n_test: int = 0,
    target: Target = "teacher",
    seed: int = 0,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    """Sub-Gaussian points, x = Sigma^{1/2} x̄ with independent entries of x̄ of a chosen distribution.

    Parameters
    ----------
    n : int
        Number of training points, at least 1.
    d : int
        Dimension of the points, at least 1.
    entries : {"uniform", "skewed"} or callable, default "uniform"
        Distribution of the entries of x̄. "uniform": on [-sqrt 3, sqrt 3]. "skewed": 2 with probability 1/5, else -1/2.
        A function takes a ``numpy.random.Generator`` and the shape (n + n_test, d), and returns independent entries of
        mean 0 and variance 1.
    covariance : array_like of shape (d,) or (d, d), optional
        Sigma: d variances, or a symmetric positive semidefinite matrix. Its trace must be d. Default: the identity.
    n_test : int, default 0
        Number of test points, drawn from the same distribution and labelled alike.
    target : {"teacher", "norm", "random"} or callable, default "teacher"
        The labels. "teacher": the sign of a random erf network of width 5 (Figure 1 of the paper). "norm":
        ‖x‖/sqrt d + ReLU(a·x) with a ~ N(0, I/d) (section 3.4; these labels are not bounded by 1). "random": fair
        signs. A function takes all points (n + n_test, d) and returns their labels (n + n_test,).
    seed : int, default 0
        The same seed gives the same data. Points and labels use streams of their own, so that a network with the same
        seed is independent of them.
    dtype : {float64, float32}, default float64
        The dtype of points and labels; they are drawn in float64 and rounded.

    Returns
    -------
    Dataset
        ``trace_ratio`` is Tr[Sigma²]/d exactly; ``meta`` holds "distribution", "target" and "seed".

    Raises
    ------
    ValueError
        If a size is not a whole number in its range, the covariance has another shape or trace or a negative
        eigenvalue, ``entries`` or ``target`` is unknown, labels have the wrong shape, or memory is too small.
    TypeError
        If ``dtype`` is neither float32 nor float64.

    Notes
    -----
    Cost: (n + n_test) d random numbers, and 2 (n + n_test) d² flops plus an eigendecomposition of Sigma if it is a
    matrix. Memory: about 24 (n + n_test) d bytes.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> data = ns.datasets.subgaussian(50, 4, entries="skewed")
    >>> np.unique(data.X).tolist()
    [-0.5, 2.0]
    >>> signs = ns.datasets.subgaussian(50, 4, entries=lambda rng, shape: rng.choice([-1.0, 1.0], size=shape))
    >>> np.unique(signs.X).tolist()
    [-1.0, 1.0]
    """
    draw = entries if callable(entries) else ENTRIES[checks.one_of(entries, "entries", tuple(ENTRIES))]
    return _drawn(
        "subgaussian",
        draw,
        n=n,
        d=d,
        n_test=n_test,
        covariance=covariance,
        target=target,
        seed=seed,
        dtype=dtype,
    )


def _normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.standard_normal(shape)


def _signs(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.choice([-1.0, 1.0], size=shape)


def _on_sphere(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x * (math.sqrt(shape[1]) / np.linalg.norm(x, axis=1, keepdims=True))


def _drawn(
    name: str,
    entries: Entries,
    *,
    n: int,
    d: int,
    n_test: int,
    covariance: ArrayLike | None,
    target: Target,
    seed: int,
    dtype: DTypeLike,
) -> Dataset:
    dtype = checks.float_dtype(dtype)
    n = checks.whole_number(n, "n", 1)
    d = checks.whole_number(d, "d", 1)
    n_test = checks.whole_number(n_test, "n_test", 0)
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


def _square_root(covariance: ArrayLike | None, d: int) -> tuple[np.ndarray, float]:
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


def _labels(target: Target, d: int, seed: int, rng: np.random.Generator) -> Callable[[np.ndarray], ArrayLike]:
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
