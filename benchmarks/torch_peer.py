"""The first-layer NTK by torch.func: rows through explicit Jacobians, and products through vjp and jvp.

Arrays are NumPy float32 in and out; torch (requirements-torch.txt) is imported only where it is used.
"""

import math

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
