"""The first-layer NTK by torch.func, rows through explicit Jacobians and products through vjp and jvp; and full-batch
gradient descent, eager or compiled, its gradient by autograd or written by hand.

Arrays are NumPy float32 in and out; torch (requirements-torch.txt) is imported only where it is used.
"""

import math
from functools import cache

import numpy as np

JACOBIAN_BYTES = 2**29


def ntk_rows(X, W, v, activation: str, rows: int):
    """The first rows of Theta_1, (rows, n): Jacobians of two row blocks at a time, contracted over W."""
    from torch.func import jacrev, vmap

    network, W, X = _network(v, activation, W.shape), _tensor(W), _tensor(X)
    jacobians = vmap(jacrev(network), (None, 0))
    block = max(1, JACOBIAN_BYTES // (4 * W.numel()))
    rows = min(rows, len(X))
    ntk = np.empty((rows, len(X)), np.float32)
    for i in range(0, rows, block):
        height = min(block, rows - i)
        left = jacobians(W, X[i : i + height]).flatten(1)
        for j in range(0, len(X), block):
            right = jacobians(W, X[j : j + block]).flatten(1)
            ntk[i : i + height, j : j + block] = (left @ right.T).numpy()
    return ntk


def ntk_vector_product(X, W, v, activation: str, u):
    """Theta_1 @ u: a vjp and then a jvp of the network on all rows; no Jacobian is formed."""
    from torch.func import jvp, vjp

    network, W, X = _network(v, activation, W.shape), _tensor(W), _tensor(X)

    def outputs(W):
        return network(W, X)

    gradient = vjp(outputs, W)[1](_tensor(u))
    return jvp(outputs, (W,), gradient)[1].numpy()


def train(X, y, W, v, activation: str, eta: float, steps: int, *, by_hand: bool, mode: str | None):
    """The weights after so many steps on both layers."""
    X, y, W, v = (_tensor(array) for array in (X, y, W, v))
    W, v = descend(training_step(activation, eta, by_hand, mode), (W, v), (X, y), steps)
    return W.numpy(), v.numpy()


def descend(step, weights, data, steps: int):
    """The weights (W, v), on their device, after so many calls of :func:`training_step`'s function."""
    for _ in range(steps):
        weights = step(*weights, *data)
    return weights


@cache
def training_step(activation: str, eta: float, by_hand: bool, mode: str | None):
    """The function (W, v, X, y) -> (W, v), eager (None) or in a mode of torch.compile; kept, to be compiled once."""
    import torch

    phi, slope = {
        "erf": (torch.erf, lambda z: 2 / math.sqrt(math.pi) * torch.exp(-z * z)),
        "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
    }[activation]

    def autograd(W, v, X, y):
        (m, d), W, v = W.shape, W.detach().requires_grad_(), v.detach().requires_grad_()
        loss = ((phi(X @ (W.T / math.sqrt(d))) @ v / math.sqrt(m) - y) ** 2).mean() / 2
        gradient_W, gradient_v = torch.autograd.grad(loss, (W, v))
        return (W - eta * gradient_W).detach(), (v - eta * gradient_v).detach()

    def hand(W, v, X, y):
        (m, d), n = W.shape, len(y)
        U = X @ (W.T / math.sqrt(d))
        value = phi(U)
        residual = (value @ v / math.sqrt(m) - y) / (n * math.sqrt(m))
        gradient_W = slope(U).T @ (residual[:, None] * X) * (v[:, None] / math.sqrt(d))
        return W - eta * gradient_W, v - eta * (value.T @ residual)

    step = hand if by_hand else autograd
    if mode is None:
        return step
    compiled = torch.compile(step, mode=mode)
    return _replayed(compiled) if mode == "reduce-overhead" else compiled


def _replayed(compiled):
    """A step by CUDA graphs, which write each result to the memory of the one before: it is copied."""
    import torch

    def step(*arrays):
        torch.compiler.cudagraph_mark_step_begin()
        return tuple(array.clone() for array in compiled(*arrays))

    return step


def why_not_compiled() -> str | None:
    """Why torch.compile does not work here (no C++ compiler, say), found by trying; None where it does."""
    import torch

    try:
        torch.compile(lambda x: torch.sin(x) + 1)(torch.ones(64))
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return None


def _network(v, activation: str, shape):
    """f(W, x) = v . phi(W x / sqrt d) / sqrt m, for one input or a batch of rows."""
    import torch

    phi, (m, d) = {"relu": torch.relu, "erf": torch.erf}[activation], shape
    readout = _tensor(v) / math.sqrt(m)

    def network(W, x):
        return phi(x @ W.T / math.sqrt(d)) @ readout

    return network


def _tensor(array):
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
