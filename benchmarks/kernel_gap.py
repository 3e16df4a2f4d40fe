"""Theta_1 - Theta^lin1: its matrix and both norms, against NumPy and SciPy as an expert would write it, neural-tangents
and PyTorch; the Gram matrix of bits against BLAS; and products that never form the matrix."""

import importlib.util
import math
import os

import numpy as np
import scipy.sparse.linalg
from scipy.linalg.blas import ssyrk

import ntkspec as ns
from benchmarks import torch_peer
from benchmarks.common import PEER_PYTHON, Case, Timed, elsewhere
from ntkspec.engines import cpu
from ntkspec.operators import Triangle, Work
from ntkspec.operators.tiles import places


def cases(quick: bool):
    """ReLU and erf at one size; bits; a product and rows of the first-layer NTK."""
    sizes = (600, 32, 128) if quick else (4096, 128, 2048)
    for name in ("relu", "erf"):
        yield _norms(name, *sizes)
    yield _matrix(*sizes)
    yield _bit_gram(*((600, 700) if quick else (4096, 4096)))
    for name, vector in (("relu", "float32"), ("relu", "float64"), ("erf", "float32")):
        yield _product(name, vector, *((3000, 64, 128) if quick else (200_000, 256, 1024)))
    if importlib.util.find_spec("torch"):
        yield _rows(*((600, 32, 128, 64) if quick else (4096, 128, 2048, 512)))


class Setting:
    """A network as in equation (3), Gaussian data, and the constants of the activation."""

    def __init__(self, name, n, d, m):
        self.name, self.sizes = name, (n, d, m)
        self.X = np.random.default_rng(1).standard_normal((n, d)).astype(np.float32)
        self.net = ns.TwoLayer.symmetric(d, m, name, dtype=np.float32)
        self.act = self.net.activation
        self.zeta, self.nu = self.act.constants.zeta, self.act.constants.nu(1.0)

    def gap(self):
        """Theta_1 - Theta^lin1 as an operator."""
        theta = ns.ntk(self.net, self.X, layer="first")
        return theta - ns.linear_kernel(self.act, self.X, layer="first", trace_ratio=1.0)

    def slopes(self):
        """phi'(X Wᵀ / sqrt d) of all m neurons."""
        return self.act.derivative(self.X @ self.net.W.T / np.float32(math.sqrt(self.X.shape[1])))

    def numpy_gap(self):
        """The matrix, as an expert would write it."""
        _, d, m = self.sizes
        D, gram = self.slopes(), self.X @ self.X.T / np.float32(d)
        return (D @ D.T / np.float32(m)) * gram - np.float32(self.zeta**2) * gram - np.float32(self.nu**2 / d)


def _norms(name, n, d, m) -> Case:
    setting = Setting(name, n, d, m)
    triangle = 4.0 * math.prod(Triangle.layout(n, cpu.TILE))

    def ours():
        gap = setting.gap()
        return float(ns.spectral_norm(gap)), float(ns.frobenius_norm(gap))

    def expert():
        gap = setting.numpy_gap()
        values = scipy.sparse.linalg.eigsh(gap, k=1, tol=1e-3, return_eigenvectors=False)
        return abs(float(values[0])), float(np.linalg.norm(gap))

    products = ns.spectral_norm(setting.gap()).products
    peers = {"NumPy + SciPy eigsh": expert}
    if os.environ.get(PEER_PYTHON):
        peers["neural-tangents"] = lambda: _neural_tangents(setting)
    return Case(
        name=f"both norms, {name}, n={n} d={d} m={m} float32",
        ours=ours,
        peers=peers,
        tolerance=2e-3,
        floor=_gram_floor(name, n, d, m) + (products + 1) * Work.of_reading(triangle, cpu.last_cache()),
        dtype="float32",
    )


def _gram_floor(name, n, d, m) -> Work:
    """One triangle of X Xᵀ and of the Gram matrix of half the slopes, and half the neurons' inputs."""
    slopes = Work(words=m / 128) if name == "relu" else Work(flops=float(m))
    return n * n / 2 * (slopes + Work(flops=2.0 * d)) + Work(flops=float(n * d * m))


def _neural_tangents(setting) -> Timed:
    constants = {"zeta": setting.zeta, "nu": setting.nu, "activation": setting.name, "repeats": 1}
    arrays = {"X": setting.X, "W": setting.net.W, "v": setting.net.v}
    result = elsewhere("neural_tangents_peer.py", **arrays, **constants)
    return Timed(tuple(result["norms"]), float(result["seconds"]))


def _matrix(n, d, m) -> Case:
    setting = Setting("relu", n, d, m)
    return Case(
        name=f"matrix of the difference, relu, n={n} d={d} m={m}",
        ours=lambda: (setting.gap().to_dense(),),
        peers={"NumPy": lambda: (setting.numpy_gap(),)},
        tolerance=1e-5,
        floor=_gram_floor("relu", n, d, m) + Work.of_reading(4.0 * n * n, cpu.last_cache()),
        dtype="float32",
    )


def _bit_gram(n, m) -> Case:
    """The lower triangle of D Dᵀ for zeros and ones."""
    D = (np.random.default_rng(0).standard_normal((n, m)) > 0).astype(np.float32)
    words, where = cpu.bits.empty(n, m), places(n, 512)
    cpu.bits.pack(words, D, 1.0)
    tiles, matrix = np.zeros((len(where), 512, 512), np.float32), np.zeros((n, n), np.float32, order="F")

    def count(k):
        rows, cols = where[k]
        counts = cpu.bits.count_common(words[rows], words[cols], np.float32)
        tiles[k, : counts.shape[0], : counts.shape[1]] = counts

    def ours():
        cpu.run(count, range(len(where)))
        return [
            tile[: rows.stop - rows.start, : cols.stop - cols.start]
            for tile, (rows, cols) in zip(tiles, where, strict=False)
        ]

    def blas():
        whole = ssyrk(1.0, D.T, trans=1, c=matrix, overwrite_c=1, lower=1)
        return [whole[rows, cols] for rows, cols in where]

    return Case(
        name=f"Gram matrix of bits, one triangle, n={n} m={m}",
        ours=ours,
        peers={"BLAS ssyrk": blas},
        tolerance=0.0,
        floor=n * n / 2 * Work(words=m / 64),
        dtype="float32",
        compare=lambda parts: [
            np.tril(part) if rows == cols else part for part, (rows, cols) in zip(parts, where, strict=False)
        ],
    )


def _product(name, vector, n, d, m) -> Case:
    """A network with m different neurons: nothing is halved. Inputs are exact, so that all agree on their signs.

    The floor is that of multiplications where products are those, and the lines that are looked up where they are not.
    """
    X, net = _exact_inputs(name, n, d, m)
    u = np.random.default_rng(2).standard_normal(n).astype(vector)
    theta, G = ns.ntk(net, X, layer="first"), np.ones((m, d), vector)
    D = net.activation.derivative(X @ net.W.T / np.float32(math.sqrt(d))).astype(vector)
    points = X.astype(vector)

    def expert():
        G = D.T @ (u[:, None] * points)
        return (np.einsum("nm,nm->n", D, points @ G.T) / u.dtype.type(m * d),)

    peers = {
        "NumPy": expert,
        f"its two {'sgemms' if vector == 'float32' else 'dgemms'} alone": lambda: Timed(
            (theta @ u,), _two_products(D, points, G)
        ),
    }
    if importlib.util.find_spec("torch") and vector == "float32":
        peers["torch.func vjp, jvp"] = lambda: (torch_peer.ntk_vector_product(X, net.W, net.v, name, u),)
    what = "factored product" if vector == "float32" else "factored product of float64 vectors"
    work = theta.cost.product if vector == "float32" else theta.product_in_float64
    return Case(
        name=f"{what}, {name}, n={n} d={d} m={m}",
        ours=lambda: (theta @ u,),
        peers=peers,
        tolerance=2e-4 if vector == "float32" else 1e-10,
        floor=Work(lookups=work.lookups) if work.lookups else Work(flops=4.0 * n * d * m),
        dtype=vector,
    )


def _exact_inputs(name, n, d, m):
    """Points and a network whose X Wᵀ / sqrt d float32 holds exactly, in any order of sums, and none is 0.

    d is a power of four.
    """
    rng = np.random.default_rng(1)
    X, W = (np.round(4 * rng.standard_normal(shape)).astype(np.float32) / 4 for shape in ((n, d), (m, d)))
    X[:, 0], W[:, 0] = 1, (2 * rng.integers(-32, 32, m) + 1) / np.float32(64)
    return X, ns.TwoLayer(W, rng.choice([-1, 1], m).astype(np.float32), name)


def _two_products(D, X, G) -> float:
    """Seconds of Dᵀ X and D G, the 4 n m d flops of a product, by NumPy."""
    return min(cpu._seconds(lambda: (D.T @ X, D @ G)) for _ in range(3))


def _rows(n, d, m, rows) -> Case:
    setting = Setting("erf", n, d, m)
    theta = ns.ntk(setting.net, setting.X, layer="first")
    W, v = setting.net.W, setting.net.v
    return Case(
        name=f"{rows} rows of Theta_1, erf, n={n} d={d} m={m}",
        ours=lambda: (theta.tile(slice(0, rows), slice(0, n)),),
        peers={"torch.func jacobians": lambda: (torch_peer.ntk_rows(setting.X, W, v, "erf", rows),)},
        tolerance=2e-5,
        floor=rows * n * Work(flops=float(m + 2 * d)),
        dtype="float32",
    )
