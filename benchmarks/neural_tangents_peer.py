"""Both norms of Theta_1 - Theta^lin1 by neural-tangents' Jacobian contraction, in an environment of its own.

`python neural_tangents_peer.py SETTING.npz RESULT.npz`, with the packages of requirements-neural-tangents.txt.

SETTING.npz: X (n, d), W (m, d), v (m,) in float32, activation ("relu" or "erf"), zeta, nu, repeats; optionally rows.
RESULT.npz: norms (spectral, Frobenius), seconds (best of the repeats, without compilation), versions, corner (the first
8 x 8 entries of the difference), scaled, block (rows of a Jacobian).

Where rows < n, only the first rows of the NTK are computed: norms are NaN, scaled is True, and seconds is their time
times n / rows, which is the whole contraction without the subtraction and the norms. Make rows a multiple of block: the
Jacobians are computed again for each pair of blocks, and with fewer rows they take more of the time.
All pairs of row blocks are computed, as in nt.batch; using the symmetry would save up to half of the contraction.
"""

import math
import sys
import time

import jax
import neural_tangents as nt
import numpy as np
import scipy
import scipy.sparse.linalg

ACTIVATIONS = {"relu": jax.nn.relu, "erf": jax.scipy.special.erf}
JACOBIAN_BYTES = 2**29


def main(setting_path: str, result_path: str) -> None:
    """Read the setting, measure, write the result."""
    with np.load(setting_path) as file:
        setting = dict(file)
    X, W, v = setting["X"], setting["W"], setting["v"]
    n, rows = len(X), min(int(setting.get("rows", len(X))), len(X))
    zeta, nu = float(setting["zeta"]), float(setting["nu"])
    kernel = block_kernel(v, str(setting["activation"]), W.shape)
    block = max(1, min(n, JACOBIAN_BYTES // W.nbytes))
    W = jax.device_put(W)
    warm_up(kernel, X, W, rows, block)

    seconds, norms, gap = [], (math.nan, math.nan), None
    for _ in range(int(setting["repeats"])):
        start = time.perf_counter()
        ntk = ntk_rows(kernel, X, W, rows, block)
        if rows < n:
            seconds.append((time.perf_counter() - start) * n / rows)
            gap = subtract_linear(ntk, X, zeta, nu)
        else:
            gap = subtract_linear(ntk, X, zeta, nu)
            norms = both_norms(gap)
            seconds.append(time.perf_counter() - start)
    np.savez(
        result_path,
        norms=np.array(norms),
        seconds=min(seconds),
        versions=f"neural-tangents {nt.__version__}, jax {jax.__version__}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}",
        corner=gap[:8, :8],
        scaled=rows < n,
        block=block,
    )


def block_kernel(v, activation: str, shape):
    """The compiled kernel(x1, x2, W) of two row blocks, of the gradients in W only."""
    phi, (m, d) = ACTIVATIONS[activation], shape
    readout = v / np.float32(math.sqrt(m))

    def network(W, x):
        return phi(x @ W.T / np.float32(math.sqrt(d))) @ readout

    contraction = nt.NtkImplementation.JACOBIAN_CONTRACTION
    return jax.jit(nt.empirical_ntk_fn(network, trace_axes=(), vmap_axes=0, implementation=contraction))


def blocks(count: int, size: int):
    """Slices of at most `size` rows."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def ntk_rows(kernel, X, W, rows: int, block: int):
    """The first rows of the NTK, (rows, n), one pair of row blocks at a time."""
    ntk = np.empty((rows, len(X)), np.float32)
    for i in blocks(rows, block):
        for j in blocks(len(X), block):
            ntk[i, j] = kernel(X[i], X[j], W)
    return ntk


def warm_up(kernel, X, W, rows: int, block: int) -> None:
    """Compile for each pair of shapes that `ntk_rows` meets."""
    for height in {i.stop - i.start for i in blocks(rows, block)}:
        for width in {j.stop - j.start for j in blocks(len(X), block)}:
            kernel(X[:height], X[:width], W).block_until_ready()


def subtract_linear(ntk, X, zeta: float, nu: float):
    """The rows of the NTK minus those of (zeta^2 X X^T + nu^2) / d."""
    d = X.shape[1]
    return ntk - np.float32(zeta**2 / d) * (X[: len(ntk)] @ X.T) - np.float32(nu**2 / d)


def both_norms(gap):
    """Spectral and Frobenius norm."""
    values = scipy.sparse.linalg.eigsh(gap, k=1, tol=1e-3, return_eigenvectors=False)
    return abs(float(values[0])), float(np.linalg.norm(gap))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python neural_tangents_peer.py SETTING.npz RESULT.npz")
    main(*sys.argv[1:])
