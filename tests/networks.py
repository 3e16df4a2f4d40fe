"""Examples of users' networks, and their kernel by one backward pass for each point and output: the definition, written
without importing the package."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from benchmarks.torch_networks import (  # noqa: E402
    MLP,
    Recurrent,
    ResNet,
    Transformer,
    made,
    mlp,
    recurrent,
    resnet,
    resnet18,
    signals,
    tokens,
    transformer,
)

__all__ = [
    "EXAMPLES",
    "MLP",
    "Recurrent",
    "ResNet",
    "Transformer",
    "gradients",
    "kernel_of",
    "made",
    "mlp",
    "recurrent",
    "resnet",
    "resnet18",
    "signals",
    "tokens",
    "transformer",
]


@dataclass(frozen=True)
class Example:
    """A small network and points for it: functions that make new ones, in float64."""

    module: Callable
    points: Callable


EXAMPLES = {
    "MLP": Example(mlp, lambda: signals(6, 6)),
    "ResNet": Example(resnet, lambda: signals(5, 3, 6, 6)),
    "transformer": Example(transformer, tokens),
    "transformer with a head": Example(lambda: transformer(outputs=2), tokens),
    "LSTM": Example(recurrent, lambda: signals(5, 4, 3)),
    "GRU": Example(lambda: recurrent("GRU"), lambda: signals(5, 4, 3)),
}


# ---------------------------------------------------------------------------------------------------------- definition


def gradients(module, points, *, forward=None, names="*") -> np.ndarray:
    """d f_k(x_i) / d theta in float64, (n, K, P): a forward pass of each point alone and a backward pass per output.

    names : a glob, or globs, on the names of parameters; frozen parameters are constants.
    """
    double = copy.deepcopy(module).double()
    globs = [names] if isinstance(names, str) else names
    weights = [
        weight
        for name, weight in double.named_parameters()
        if weight.requires_grad and any(fnmatchcase(name, glob) for glob in globs)
    ]
    rows = []
    for i in range(_count(points)):
        point = _each(points, lambda part, i=i: _double(part[i : i + 1]))
        outputs = (double(point) if forward is None else forward(double, point)).reshape(-1)
        backward = (torch.autograd.grad(f, weights, retain_graph=True, allow_unused=True) for f in outputs)
        rows.append([_flat(gradient, weights) for gradient in backward])
    return np.array(rows)


def kernel_of(module, points, outputs="mean", points2=None, *, forward=None, names="*") -> np.ndarray:
    """The NTK of these outputs: "full" (n K, n K) point-major, "trace", "mean", "sum", a number, or weights (K,)."""
    J = gradients(module, points, forward=forward, names=names)
    J2 = J if points2 is None else gradients(module, points2, forward=forward, names=names)
    (n, K, P), n2 = J.shape, len(J2)
    if isinstance(outputs, str) and outputs == "full":
        return J.reshape(n * K, P) @ J2.reshape(n2 * K, P).T
    if isinstance(outputs, str) and outputs in ("trace", "mean"):
        return sum(J[:, k] @ J2[:, k].T for k in range(K)) / (K if outputs == "mean" else 1)
    weights = np.full(K, 1 / math.sqrt(K)) if isinstance(outputs, str) and outputs == "sum" else outputs
    if np.ndim(weights) == 0:
        weights = np.eye(K)[weights]
    return np.einsum("k,ikp->ip", weights, J) @ np.einsum("k,ikp->ip", weights, J2).T


def _flat(gradient, weights) -> np.ndarray:
    """One vector, zero where an output does not depend on a parameter."""
    whole = [torch.zeros_like(w) if g is None else g.to_dense() for g, w in zip(gradient, weights, strict=True)]
    return torch.cat([part.reshape(-1) for part in whole]).numpy()


def _each(points, function):
    if isinstance(points, dict):
        return {name: function(part) for name, part in points.items()}
    return type(points)(map(function, points)) if isinstance(points, tuple | list) else function(points)


def _count(points) -> int:
    parts = points.values() if isinstance(points, dict) else points
    return len(next(iter(parts))) if isinstance(points, dict | tuple | list) else len(points)


def _double(part):
    tensor = torch.as_tensor(part)
    return tensor.double() if tensor.is_floating_point() else tensor
