"""A smooth activation, whose Gram matrices are products of floats: Theta of both layers, formed as one triangle."""

import numpy as np

import ntkspec as ns
from benchmarks.gpu import plain_cupy
from benchmarks.gpu.device import Device, Row
from ntkspec.operators import form


def cases(device: Device):
    """erf and independent neurons, so that nothing is halved."""
    n, d, m = (300, 16, 32) if device.quick else (20_000, 784, 4096)
    X, net = device.normal(n, d, seed=0), ns.TwoLayer.random(d, m, "erf", dtype=np.float32)
    there = net.to("gpu")
    ours = device.way(lambda: form(ns.ntk(there, X)))
    rows, cols = slice(0, 50), slice(n - 60, n)
    first, last = (device.engine.to_host(X[part]).astype(float) for part in (rows, cols))
    block = ours.answer.tile(rows, cols)
    device.agree("Theta, erf", block, ns.ntk(net, first, last).to_dense(), 3e-5)
    peers = device.tried("plain CuPy", lambda: plain_cupy.erf_ntk(device.xp, X, there.W))
    for way in peers.values():
        device.agree("Theta of plain CuPy", way.answer[rows, cols], block, 3e-5)
    flops = float(n) * n * (2 * m + d) + 2.0 * n * m * d
    yield Row(f"Theta formed, both layers, erf, n={n} d={d} m={m}", ours, flops / device.limits.float32, peers)
