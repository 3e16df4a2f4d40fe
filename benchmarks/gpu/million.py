"""A million points: products with Theta_1 of ReLU through its factors, its slopes kept as bits, and a spectral norm."""

import numpy as np

import ntkspec as ns
from benchmarks.gpu import plain_cupy
from benchmarks.gpu.device import Device, Row
from benchmarks.gpu.gap import said

# Rows of a product that are compared with the CPU, and points that the vector of that product lives on.
ROWS, SUPPORT = 50, 5000


class Setting:
    """Gaussian points, drawn on the GPU, and independent neurons, so that nothing is halved."""

    def __init__(self, device: Device):
        self.device, self.sizes = device, (1000, 16, 32) if device.quick else (1_000_000, 784, 4096)
        self.n, self.d, self.m = self.sizes
        self.X = device.normal(self.n, self.d, seed=0)
        self.net = ns.TwoLayer.random(self.d, self.m, "relu", dtype=np.float32)
        self.there = self.net.to("gpu")

    def theta(self):
        """Theta_1 as an operator."""
        return ns.ntk(self.there, self.X, layer="first")

    def gap(self, engine: str = "gpu"):
        """Theta_1 - Theta^lin1 as an operator."""
        net, X = (self.there, self.X) if engine == "gpu" else (self.net, self.device.engine.to_host(self.X))
        return ns.ntk(net, X, layer="first") - ns.linear_kernel("relu", X, layer="first", trace_ratio=1.0)

    def check_product(self, dtype: str) -> None:
        """Some rows of a product with a vector that is zero but for a few points, against the CPU in float64."""
        rng = np.random.default_rng(1)
        rows, points = (np.sort(rng.choice(self.n, min(self.n // 2, many), replace=False)) for many in (ROWS, SUPPORT))
        u = np.zeros((self.n, 1), dtype)
        u[points, 0] = rng.standard_normal(len(points))
        left, right = (
            self.device.engine.to_host(self.X[self.device.on(some)]).astype(float) for some in (rows, points)
        )
        exact = ns.ntk(self.net, left, right, layer="first") @ u[points].astype(float)
        found = self.theta()._matmat(self.device.on(u))[self.device.on(rows)]
        self.device.agree(f"factored product, {dtype}", found, exact, 1e-4)

    def __str__(self) -> str:
        return f"relu, n={self.n} d={self.d} m={self.m}"


def cases(device: Device):
    """Products with float32 and float64 vectors, and the spectral norm of the difference with its certificate."""
    setting = Setting(device)
    for dtype in ("float32", "float64"):
        yield _product(device, setting, dtype)
    yield _norm(device, setting)


def _product(device: Device, setting: Setting, dtype: str) -> Row:
    u = device.on(np.random.default_rng(2).standard_normal(setting.n).astype(dtype))
    ours = device.way(lambda theta: theta._matmat(u[:, None]), prepare=setting.theta)

    def factors():
        D = plain_cupy.relu_slopes(device.xp, setting.X, setting.there.W, dtype)
        return D, setting.X.astype(dtype, copy=False)

    peers = device.tried("plain CuPy", lambda DX: plain_cupy.first_layer_product(*DX, u), prepare=factors)
    for way in peers.values():
        device.agree("product of plain CuPy", way.answer, ours.answer[:, 0], 1e-3)
    setting.check_product(dtype)
    floor = 4.0 * setting.n * setting.m * setting.d / getattr(device.limits, dtype)
    target = None if device.quick else floor / 0.7
    return Row(f"factored product, {setting}, vectors {dtype}", ours, floor, peers, target)


def _norm(device: Device, setting: Setting) -> Row:
    ours = device.way(lambda: ns.spectral_norm(setting.gap(), method="factored"), once=True)
    norm = ours.answer
    assert norm.converged, norm
    if device.quick:
        expected = ns.spectral_norm(setting.gap("cpu"), method="factored")
        device.agree("interval", (norm.lower, norm.upper), (expected.lower, expected.upper), 1e-5)
    zeta, nu = setting.net.activation.constants.zeta, setting.net.activation.constants.nu(1.0)
    peers = device.tried(
        f"plain CuPy, {plain_cupy.LANCZOS_STEPS} float32 products, no interval",
        lambda: plain_cupy.factored_gap_norm(device.xp, setting.X, setting.there.W, zeta, nu),
        once=True,
    )
    for way in peers.values():
        device.agree("norm of plain CuPy", way.answer, norm.value, 5e-3)
    floor = norm.products * 4.0 * setting.n * setting.m * setting.d / device.limits.float64
    return Row(
        f"gap factored, spectral norm, {setting}",
        ours,
        floor,
        peers,
        target=None if device.quick else 60.0,
        note=said(norm),
    )
