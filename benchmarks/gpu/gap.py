"""Theta_1 - Theta^lin1 of MNIST, ReLU, formed as one triangle: both norms, its parts, and the same streamed."""

import math
import os
from functools import partial

import numpy as np

import ntkspec as ns
from benchmarks.gpu import plain_cupy
from benchmarks.gpu.device import Device, Row
from ntkspec.operators import form
from ntkspec.operators.tiles import places

# The norms that the CPU found for 60,000 MNIST images, ReLU, m = 4096 (docs/large.md).
MNIST_SPECTRAL, MNIST_FROBENIUS = (282.665, 282.820), 627.893


class Setting:
    """MNIST (Gaussian points of its size where it is not there) and a network as in equation (3)."""

    def __init__(self, device: Device):
        self.device = device
        self.images = bool(os.environ.get("NTKSPEC_DATA")) and not device.quick
        if self.images:
            self.data = ns.datasets.mnist(dtype=np.float32, n_test=0)
        else:
            self.data = ns.datasets.gaussian(*((300, 16) if device.quick else (60_000, 784)), dtype=np.float32)
        self.n, self.d = self.data.X.shape
        self.m = 128 if device.quick else 4096
        self.X, self.W = device.on(self.data.X), self.net("gpu").kernel_neurons()[0]
        self.triangle_bytes = 2.0 * self.n**2

    def net(self, engine: str):
        """The same weights on either engine."""
        return ns.TwoLayer.symmetric(self.d, self.m, "relu", dtype=np.float32).to(engine)

    def gap(self, engine: str = "gpu"):
        """The difference as an operator."""
        X = self.X if engine == "gpu" else self.data.X
        linear = ns.linear_kernel("relu", X, layer="first", trace_ratio=self.data.trace_ratio)
        return ns.ntk(self.net(engine), X, layer="first") - linear

    def norms(self, method: str = "dense"):
        """Spectral and Frobenius norm, both with intervals."""
        gap = self.gap()
        return ns.spectral_norm(gap, method=method), ns.frobenius_norm(gap)

    def plain(self, function):
        """A function of plain_cupy for this setting."""
        constants = self.net("cpu").activation.constants
        zeta, nu = constants.zeta, constants.nu(self.data.trace_ratio)
        return partial(function, self.device.xp, self.X, self.W, zeta, nu)

    def check(self, norms) -> None:
        """Against the CPU: its recorded interval for MNIST, its answer where that is quick."""
        spectral, frobenius = norms
        assert spectral.converged, spectral
        if self.images:
            assert max(spectral.lower, MNIST_SPECTRAL[0]) <= min(spectral.upper, MNIST_SPECTRAL[1]), spectral
            self.device.agree("Frobenius norm of MNIST", float(frobenius), MNIST_FROBENIUS, 1e-5)
        elif self.device.quick:
            gap = self.gap("cpu")
            self.device.agree("spectral norm", float(spectral), float(ns.spectral_norm(gap)), 1e-5)
            self.device.agree("Frobenius norm", float(frobenius), float(ns.frobenius_norm(gap)), 1e-5)

    def gram_floor(self) -> float:
        """Seconds of one triangle of D Dᵀ on the tensor cores, and of X Xᵀ in float32."""
        limits = self.device.limits
        return self.n**2 * (len(self.W) / limits.int8 + self.d / limits.float32)

    def passes(self, norm) -> float:
        """How often a triangle is written or read: once to form it, then for each block of two vectors."""
        return 1 + norm.products / 2

    def __str__(self) -> str:
        return f"n={self.n} d={self.d} m={self.m}"


def formed(device: Device):
    """Both norms from a stored triangle; then the Gram matrix of bits and the products with the triangle alone."""
    setting = Setting(device)
    ours = device.way(setting.norms)
    setting.check(ours.answer)
    peers = device.tried("plain CuPy, no interval", setting.plain(plain_cupy.gap_norms))
    for way in peers.values():
        for found, norm in zip(way.answer, ours.answer, strict=True):
            device.agree("norm of plain CuPy", found, float(norm), 5e-3)
    yield Row(
        f"gap formed, both norms, {setting}",
        ours,
        setting.gram_floor() + setting.passes(ours.answer[0]) * setting.triangle_bytes / device.limits.memory,
        peers,
        target=None if device.quick else 1.0,
        note=said(ours.answer[0]),
    )
    yield _gram_of_bits(device, setting)
    yield _triangle_product(device, setting)


def _gram_of_bits(device: Device, setting: Setting) -> Row:
    """One triangle of D Dᵀ, tile by tile, with unpacking and all; no tile is kept."""
    (_, theta), *_ = ns.ntk(setting.net("gpu"), setting.X, layer="first").terms
    bits, (rows, columns) = theta.D, theta.D.shape
    where = places(rows, math.ceil(rows / math.ceil(rows / device.engine.TILE)))

    def counts():
        for left, right in where:
            found = device.engine.bits.count_common(bits.words[left], bits.words[right], np.int32)
        return found

    ours = device.way(counts)
    D, last = (bits.unpacked(part, np.float32) for part in where[-1])
    device.agree("Gram matrix of bits", ours.answer, D @ last.T, 0.0)
    peers = device.tried("plain CuPy, float32", lambda D: D @ D.T, prepare=lambda: bits[:])
    floor = rows**2 * columns / device.limits.int8
    return Row(
        f"Gram matrix of bits, n={rows} m={columns}", ours, floor, peers, target=None if device.quick else floor / 0.6
    )


def _triangle_product(device: Device, setting: Setting) -> Row:
    """The formed triangle times two float64 vectors: it is read once for both halves and both vectors."""
    V = device.on(np.random.default_rng(1).standard_normal((setting.n, 2)))
    ours = device.way(lambda triangle: triangle._matmat(V), prepare=lambda: form(setting.gap()))
    peers = device.tried(
        "plain CuPy, float32",
        lambda K: K @ V.astype(np.float32),
        prepare=setting.plain(plain_cupy.gap_matrix),
    )
    for way in peers.values():
        device.agree("product of plain CuPy", way.answer, ours.answer, 1e-3)
    device.agree("product with the triangle", ours.answer, setting.gap()._matmat(V), 1e-5)
    floor = setting.triangle_bytes / device.limits.memory
    return Row(
        f"triangle times two float64 vectors, n={setting.n}",
        ours,
        floor,
        peers,
        target=None if device.quick else floor / 0.6,
    )


def streamed(device: Device):
    """The same norms with the triangle in pinned memory of the host, as for a kernel larger than the GPU's memory."""
    setting = Setting(device)
    stored, ours = device.way(setting.norms), device.way(partial(setting.norms, "streamed"), once=True)
    setting.check(ours.answer)
    for one, other in zip(ours.answer, stored.answer, strict=True):
        device.agree("norms, streamed", (one.lower, one.upper), (other.lower, other.upper), 1e-6)
    norm = ours.answer[0]
    floor = setting.gram_floor() + setting.passes(norm) * setting.triangle_bytes / device.limits.host
    yield Row(
        f"gap streamed, both norms, {setting}", ours, floor, {"ntkspec, stored on the GPU": stored}, note=said(norm)
    )


def said(norm) -> str:
    """The interval and what it took."""
    return f"spectral norm in [{norm.lower:.7g}, {norm.upper:.7g}], {norm.products} products"
