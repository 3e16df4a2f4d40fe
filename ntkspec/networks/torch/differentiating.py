"""Derivatives of a module's outputs in its parameters by autograd, for a block of points.

Functions g_r are the outputs, or weighted sums of them: ``directions`` (R, K), None for the outputs themselves.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ntkspec.networks.points import count, rows
from ntkspec.networks.torch.function import ModuleFunction

# A vector of parameters, by name.
Vector: TypeAlias = Mapping[str, torch.Tensor]


def pull(
    function: ModuleFunction, points: Any, names: Sequence[str], cotangents: Sequence[torch.Tensor]
) -> Iterator[dict[str, torch.Tensor]]:
    """Jᵀ u for each cotangent u of the outputs (b, K): one pass forward, and one backward each, when it is asked for.

    The last one frees the activations.
    """
    with function.recorded(points, names) as (outputs, leaves):
        for left, given in zip(range(len(cotangents) - 1, -1, -1), cotangents, strict=True):
            yield pulled(outputs, leaves, given, retain_graph=left > 0)


def pulled(
    outputs: torch.Tensor,
    leaves: Mapping[str, torch.Tensor],
    cotangent: torch.Tensor,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> dict[str, torch.Tensor]:
    """Jᵀ u from a recorded pass."""
    if not leaves or not outputs.requires_grad:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    inner = (outputs * cotangent).sum()  # grad_outputs would load seconds of symbolic algebra
    found = torch.autograd.grad(
        inner, list(leaves.values()), retain_graph=retain_graph, create_graph=create_graph, allow_unused=True
    )
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient.to_dense()
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
    }


# --------------------------------------------------------------------------------------------------------------- push
def push_forward(
    function: ModuleFunction, points: Any, vectors: Sequence[Vector], directions: torch.Tensor | None
) -> torch.Tensor:
    """J v for each vector, (b, R, k), by forward-mode differentiation. Cost: some two passes forward each.

    Attention is a matrix product and a softmax: its fused kernels have no forward mode.
    """
    found = []
    with function.undisturbed(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")  # of what it loads
        for vector in vectors:
            weights = {name: function.state[name] for name in vector}
            both = torch.func.jvp(lambda given: function.outputs(points, given), (weights,), (dict(vector),))
            found.append(_turned(both[1].detach(), directions))
    return torch.stack(found, dim=2)


def push_twice_backward(
    function: ModuleFunction, points: Any, vectors: Sequence[Vector], directions: torch.Tensor | None
) -> torch.Tensor:
    """The same as the gradient of <Jᵀ u, v> in u: one pass forward, one backward, and one through both each."""
    found = []
    names = list(vectors[0])
    with sdpa_kernel(SDPBackend.MATH), function.recorded(points, names) as (outputs, leaves):
        u = torch.zeros_like(outputs, requires_grad=True)
        gradient = pulled(outputs, leaves, u, create_graph=True)
        for vector in vectors:
            inner = _inner(gradient, vector)
            (moved,) = torch.autograd.grad(inner, u, retain_graph=True)
            found.append(_turned(moved, directions))
    return torch.stack(found, dim=2)


def push_by_points(
    function: ModuleFunction, points: Any, vectors: Sequence[Vector], directions: torch.Tensor | None
) -> torch.Tensor:
    """The same from the gradients of each point: first-order passes alone, R backward for each point."""
    found = []
    for k in range(count(points)):
        own = _of_one(function, rows(points, slice(k, k + 1)), list(vectors[0]), directions)
        found.append([torch.stack([_inner(g, v) for v in vectors]) for g in own])
    return torch.stack([torch.stack(of_point) for of_point in found])


def _inner(gradient: Vector, vector: Vector) -> torch.Tensor:
    return torch.stack([(gradient[name] * vector[name]).sum() for name in vector]).sum()


# -------------------------------------------------------------------------------------------------- gradients of points
def gradients_by_points(
    function: ModuleFunction, points: Any, names: Sequence[str], directions: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """The gradients of each point and function, one pass forward for each point: (b, R, ...) for each parameter."""
    each = [_of_one(function, rows(points, slice(k, k + 1)), names, directions) for k in range(count(points))]
    return {name: torch.stack([torch.stack([g[name] for g in own]) for own in each]) for name in names}


def gradients_together(
    function: ModuleFunction, points: Any, names: Sequence[str], directions: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """The same by torch.func.vmap over points: (b, R, ...) for each parameter."""

    def of_point(point):
        def values(weights):
            return _turned(function.outputs(_lifted(point), weights), directions)[0]

        return torch.func.jacrev(values)({name: function.state[name] for name in names})

    with function.undisturbed(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
        found = torch.func.vmap(of_point, randomness="error")(points)
        return {name: found[name].detach() for name in names}


def _lifted(point):
    """A batch of one point."""
    if isinstance(point, dict):
        return {key: part[None] for key, part in point.items()}
    return tuple(part[None] for part in point) if isinstance(point, tuple) else point[None]


def _of_one(function, point, names, directions) -> list[dict[str, torch.Tensor]]:
    """Those of a batch of one point, a dict for each function."""
    with function.recorded(point, names) as (outputs, leaves):
        turned = torch.eye(outputs.shape[1]).to(outputs) if directions is None else directions
        return [pulled(outputs, leaves, row[None], retain_graph=True) for row in turned]


def _turned(outputs: torch.Tensor, directions: torch.Tensor | None) -> torch.Tensor:
    """(b, K) to (b, R)."""
    return outputs if directions is None else outputs @ directions.T
