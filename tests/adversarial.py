"""Spectra that break eigenvalue methods, and operators that have them."""

import numpy as np

from ntkspec.operators import Dense
from ntkspec.spectra.basis import ArrayBasis


def _marchenko_pastur(n: int):
    samples = np.random.default_rng(7).standard_normal((n, 3 * n // 2))
    return np.linalg.eigvalsh(samples @ samples.T / samples.shape[1])


def _kernel_like(n: int):
    """A few large eigenvalues far above a bulk, as of an NTK."""
    return np.r_[100.0, np.linspace(3, 4, n // 10), np.linspace(0.1, 0.2, n - n // 10 - 1)]


# Eigenvalues of a matrix of size n, for n >= 40.
SPECTRA = {
    "identity": lambda n: np.ones(n),
    "minus identity": lambda n: -np.ones(n),
    "zero": lambda n: np.zeros(n),
    "rank one": lambda n: np.r_[5.0, np.zeros(n - 1)],
    "negative rank one": lambda n: np.r_[-5.0, np.zeros(n - 1)],
    "identity and rank one": lambda n: np.r_[2.0, np.ones(n - 1)],
    "two clusters": lambda n: np.r_[np.full(n // 2, 2.0), np.full(n - n // 2, -1.0)],
    "near clusters": lambda n: np.r_[2 + 1e-9 * np.arange(n // 2), -1 - 1e-9 * np.arange(n - n // 2)],
    "five times the largest": lambda n: np.r_[np.full(5, 3.0), np.linspace(-1, 1, n - 5)],
    "plus and minus": lambda n: np.r_[np.linspace(1, 3, n // 2), -np.linspace(1, 3, n - n // 2)],
    "geometric": lambda n: 0.7 ** np.arange(n),
    "slow geometric": lambda n: 0.98 ** np.arange(n),
    "outlier": lambda n: np.r_[1 + 1e-6, np.linspace(-1, 1, n - 1)],
    # After few products only the overlap of the random start decides whether a bound holds.
    "outlier and four clusters": lambda n: np.r_[1.0, np.resize([0.9, 0.5, 0.2, -0.3], n - 1)],
    "outlier and four others": lambda n: np.r_[1.0, np.resize([0.98, 0.1, -0.5, -0.9], n - 1)],
    "semicircle": lambda n: np.cos(np.linspace(0, np.pi, n)),
    "Marchenko-Pastur": _marchenko_pastur,
    "kernel-like": _kernel_like,
    "huge": lambda n: 1e140 * np.linspace(-1, 2, n),
    "tiny": lambda n: 1e-140 * np.linspace(-1, 2, n),
}
# Sizes 1, 2 and 3.
SMALL = {
    "one": np.array([-4.0]),
    "zero of one": np.array([0.0]),
    "two": np.array([1.0, -2.0]),
    "three": np.array([1.0, 1.0, -2.0]),
}
# float32 holds no numbers of these sizes.
BEYOND_FLOAT32 = {"huge", "tiny"}


def matrix_with(values, seed=0, dtype=np.float64):
    """A symmetric matrix with these eigenvalues in a random basis, up to the rounding of its entries."""
    values = np.asarray(values, dtype=np.float64)
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    matrix = (Q * values) @ Q.T
    return ((matrix + matrix.T) / 2).astype(dtype)


def operator_with(values, seed=0, dtype=np.float64) -> Dense:
    """The matrix as an operator."""
    return Dense(matrix_with(values, seed, dtype), symmetric=True)


def drawn(operator, seed, block=1):
    """The Gaussian block (n, b) that Lanczos starts from."""
    return ArrayBasis(operator).drawn(np.random.default_rng(seed), block).T


def every_spectrum(n: int, dtype=np.float64):
    """(name, eigenvalues) of all of them that the dtype can hold."""
    for name, build in SPECTRA.items():
        if dtype == np.float64 or name not in BEYOND_FLOAT32:
            yield name, build(n)
    yield from SMALL.items()
