"""Certified norms and eigenpairs of a dense matrix against SciPy's ARPACK, and the products that certificates take."""

import numpy as np
import scipy.sparse.linalg

import ntkspec as ns
from benchmarks.common import Case
from benchmarks.kernel_gap import Setting
from ntkspec.engines import cpu
from ntkspec.operators import Work


def cases(quick: bool):
    """Theta_1 - Theta^lin1 of ReLU and erf as an array: the norm, and ten pairs."""
    sizes = (700, 32, 128) if quick else (8192, 128, 2048)
    for name in ("relu", "erf"):
        matrix = Setting(name, *sizes).gap().to_dense()
        yield _norm(name, matrix)
        yield _pairs(name, matrix, 10)


def products_at_4096() -> dict[str, list[int]]:
    """Products until the interval of width 1e-3 closes, n = 4096, d = 128, m = 2048, for five seeds."""
    found = {}
    for name in ("relu", "erf"):
        gap = Setting(name, 4096, 128, 2048).gap()
        norms = [ns.spectral_norm(gap, seed=seed) for seed in range(5)]
        assert all(norm.converged for norm in norms)
        found[name] = [norm.products for norm in norms]
    return found


def _norm(name: str, matrix) -> Case:
    """Both are right to 1e-3; ours comes with the proof, SciPy's with luck."""

    def arpack():
        values = scipy.sparse.linalg.eigsh(matrix, k=1, tol=1e-3, return_eigenvectors=False)
        return (abs(float(values[0])),)

    return Case(
        name=f"norm of a dense matrix, {name}, n={len(matrix)} float32",
        ours=lambda: (float(ns.spectral_norm(matrix)),),
        peers={"SciPy eigsh, k=1": arpack},
        tolerance=1e-3,
        floor=_floor(matrix, ns.spectral_norm(matrix).products / 2),
        dtype="float32",
    )


def _pairs(name: str, matrix, k: int) -> Case:
    def arpack():
        values, vectors = scipy.sparse.linalg.eigsh(matrix, k=k, tol=1e-6)
        return (values[np.argsort(-abs(values))],), vectors

    def ours():
        found = ns.eigsh(matrix, k)
        assert found.converged
        return (found.values,), found.vectors

    return Case(
        name=f"{k} eigenpairs of a dense matrix, {name}, n={len(matrix)}",
        ours=ours,
        peers={f"SciPy eigsh, k={k}, tol=1e-6": arpack},
        tolerance=2e-5,
        floor=_floor(matrix, ns.eigsh(matrix, k).products / 4),
        dtype="float32",
        compare=lambda answer: answer[0],
    )


def _floor(matrix, passes: float) -> Work:
    """The matrix once, and one triangle for each block of products."""
    size = float(matrix.nbytes)
    return Work.of_reading(size, cpu.last_cache()) + passes * Work.of_reading(size / 2, cpu.last_cache())
