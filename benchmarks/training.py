"""Real gradient descent, both layers, per step: against NumPy as a user would write it, and PyTorch and jax, eager or
compiled, their gradients by autograd or by hand."""

import importlib.util
import math
import os
from functools import partial

import numpy as np
import scipy.special

import ntkspec as ns
from benchmarks import torch_peer
from benchmarks.common import PEER_PYTHON, Case, Timed, elsewhere
from ntkspec.operators import Work

# Learning rates: with more inputs and neurons a weight moves less in a step, and its rounding should stay below that.
ETA, ETA_WIDE = 0.3, 3.0


def cases(quick: bool):
    """erf and ReLU in the setting of Figure 1, and ReLU with more inputs and neurons.

    So many steps that the outputs at the last one, which ours gives beside the weights, count little.
    """
    sizes, steps = ((2000, 20, 64), 5) if quick else ((20000, 50, 256), 100)
    torch_ways = _torch_ways(quick)
    for name in ("erf", "relu"):
        yield _training(name, sizes, steps, ETA, torch_ways)
    yield _training("relu", (2000, 64, 128) if quick else (20000, 256, 1024), 25, ETA_WIDE, torch_ways)


def _torch_ways(quick: bool) -> dict:
    """The mode of torch.compile of each way that works here; None is eager, the only quick one."""
    if not importlib.util.find_spec("torch"):
        return {}
    if quick:
        return {"PyTorch": None}
    if reason := torch_peer.why_not_compiled():
        print(f"left out: torch.compile, {reason}")
        return {"PyTorch": None}
    return {"PyTorch": None, "torch.compile": "default"}


def _training(name, sizes, steps, eta, torch_ways) -> Case:
    n, d, m = sizes
    data = ns.datasets.gaussian(n, d, dtype=np.float32)
    net = ns.TwoLayer.symmetric(d, m, name, dtype=np.float32)

    def ours():
        trained = ns.train_gd(net, data.X, data.y, eta1=eta, eta2=eta, steps=[steps]).network
        return trained.W, trained.v

    return Case(
        name=f"training step, {name}, n={n} d={d} m={m} float32",
        ours=ours,
        peers=_peers(name, net, data, steps, eta, torch_ways),
        tolerance=3e-4,
        floor=Work(flops=4.0 * n * d * m * steps),
        dtype="float32",
        # The weights move by less than 1 % of the largest one.
        compare=lambda weights: (weights[0] - net.W, weights[1] - net.v),
        parts=steps,
    )


def _peers(name, net, data, steps, eta, torch_ways) -> dict:
    setting = {"X": data.X, "y": data.y, "W": net.W, "v": net.v, "activation": name, "eta": eta, "steps": steps}
    peers = {"NumPy": lambda: _numpy(name, net, data, steps, eta)}
    for by_hand, gradient in ((False, "autograd"), (True, "by hand")):
        for way, mode in torch_ways.items():
            peers[f"{way} {gradient}"] = partial(torch_peer.train, **setting, by_hand=by_hand, mode=mode)
        if os.environ.get(PEER_PYTHON):
            peers[f"jax.jit {gradient}"] = partial(_jax, setting | {"by_hand": by_hand})
    return peers


def _jax(setting) -> Timed:
    result = elsewhere("jax_peer.py", **setting, repeats=5)
    return Timed((result["W"], result["v"]), float(result["seconds"]))


PHI = {
    "erf": (scipy.special.erf, lambda z: np.float32(2 / math.sqrt(math.pi)) * np.exp(-z * z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z >= 0).astype(np.float32)),
}


def _numpy(name, net, data, steps, eta):
    (phi, slope), W, v = PHI[name], net.W, net.v
    (m, d), n = W.shape, len(data.y)
    for _ in range(steps):
        U = data.X @ W.T / np.float32(math.sqrt(d))
        value = phi(U)
        residual = value @ v / np.float32(math.sqrt(m)) - data.y
        gradient_W = ((residual[:, None] * slope(U)) * v).T @ data.X / np.float32(n * math.sqrt(m * d))
        gradient_v = value.T @ residual / np.float32(n * math.sqrt(m))
        W, v = W - np.float32(eta) * gradient_W, v - np.float32(eta) * gradient_v
    return W, v
