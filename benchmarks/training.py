"""One step of real gradient descent, both layers, against NumPy and PyTorch as a user would write it."""

import importlib.util
import math

import numpy as np
import scipy.special

import ntkspec as ns
from benchmarks.common import Case
from ntkspec.operators import Work


def cases(quick: bool):
    """erf and ReLU in the setting of Figure 1."""
    n, d, m, steps = (2000, 20, 64, 5) if quick else (20000, 50, 256, 20)
    for name in ("erf", "relu"):
        yield _training(name, (n, d, m), steps)


def _training(name, sizes, steps) -> Case:
    n, d, m = sizes
    data = ns.datasets.gaussian(n, d, dtype=np.float32)
    net = ns.TwoLayer.symmetric(d, m, name, dtype=np.float32)

    def ours():
        trained = ns.train_gd(net, data.X, data.y, eta1=0.3, eta2=0.3, steps=[steps]).network
        return trained.W, trained.v

    peers = {"NumPy": lambda: _numpy(name, net, data, steps)}
    if importlib.util.find_spec("torch"):
        peers["PyTorch eager"] = lambda: _torch(name, net, data, steps)
    return Case(
        name=f"training, {name}, n={n} d={d} m={m} float32, {steps} steps",
        ours=ours,
        peers=peers,
        tolerance=1e-4,
        floor=Work(flops=4.0 * n * d * m * steps),
        dtype="float32",
    )


PHI = {
    "erf": (scipy.special.erf, lambda z: np.float32(2 / math.sqrt(math.pi)) * np.exp(-z * z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z >= 0).astype(np.float32)),
}


def _numpy(name, net, data, steps):
    (phi, slope), W, v = PHI[name], net.W, net.v
    (m, d), n = W.shape, len(data.y)
    for _ in range(steps):
        U = data.X @ W.T / np.float32(math.sqrt(d))
        value = phi(U)
        residual = value @ v / np.float32(math.sqrt(m)) - data.y
        gradient_W = ((residual[:, None] * slope(U)) * v).T @ data.X / np.float32(n * math.sqrt(m * d))
        gradient_v = value.T @ residual / np.float32(n * math.sqrt(m))
        W, v = W - np.float32(0.3) * gradient_W, v - np.float32(0.3) * gradient_v
    return W, v


def _torch(name, net, data, steps):
    import torch

    phi = {"erf": torch.erf, "relu": torch.relu}[name]
    X, y = torch.tensor(data.X), torch.tensor(data.y)
    W, v = (torch.tensor(array, requires_grad=True) for array in (net.W, net.v))
    m, d = W.shape
    for _ in range(steps):
        loss = ((phi(X @ W.T / math.sqrt(d)) @ v / math.sqrt(m) - y) ** 2).mean() / 2
        gradients = torch.autograd.grad(loss, (W, v))
        W, v = (
            (parameter - 0.3 * gradient).detach().requires_grad_()
            for parameter, gradient in zip((W, v), gradients, strict=True)
        )
    return W.detach().numpy(), v.detach().numpy()
