"""What is held of factors that are used again and again: gradients where these are smaller, one matrix for a layer."""

from dataclasses import replace
from typing import TypeGuard

import torch

from ntkspec.networks.torch.factors.capture import Factors
from ntkspec.networks.torch.factors.outer import Outer
from ntkspec.networks.torch.factors.per_point import PerPoint
from ntkspec.networks.torch.factors.readings import Factor


def larger_than_gradient(uses: list[Factor], functions: int) -> bool:
    """Whether the factors of so many functions, of an only use at several positions, are larger than the gradients."""
    if len(uses) != 1 or isinstance(uses[0], PerPoint) or _sees_one_row(uses) or not _plain(uses[0]):
        return False
    inputs, g = uses[0].tensors
    return functions * uses[0].view.size < inputs[0].numel() + functions * g[0, 0].numel()


def held(uses: list[Factor]) -> list[Factor]:
    """The gradients, where they are smaller than factors: these cost as much as one product, and save those to come."""
    return formed(uses) if uses and larger_than_gradient(uses, uses[0].tensors[-1].shape[1]) else uses


def formed(uses: list[Factor]) -> list[Factor]:
    """The gradients of an only use."""
    one = uses[0]
    return uses if isinstance(one, PerPoint) else [PerPoint(one.gradients(slice(0, one.rows)).flatten(2), one.view)]


def biases(sample: Factors) -> dict[str, str]:
    """Biases of layers that see one row for each point, by name, and the weights whose output gradients they share."""
    weights = {own[0].g.data_ptr(): name for name, own in sample.items() if _sees_one_row(own)}
    found = {}
    for name, own in sample.items():
        if len(own) == 1 and isinstance(own[0], PerPoint) and _plain(own[0]):
            weight = weights.get(own[0].G.data_ptr(), "")
            (layer,) = sample[weight] if weight else own
            if isinstance(layer, Outer) and torch.equal(layer.g[:, :, 0], own[0].G):
                found[name] = weight
    return found


def with_bias(uses: list[Factor]) -> list[Factor]:
    """The factors of weight and bias side by side: <(a, 1), (a', 1)> <g, g'> has one Gram matrix of the g."""
    assert _sees_one_row(uses)
    one = uses[0]
    a = torch.cat([one.a, one.a.new_ones(1).expand(*one.a.shape[:2], 1)], dim=2)
    return [Outer(a, one.g, replace(one.view, shape=(one.g.shape[3], a.shape[2]), start=0, swapped=False))]


def _sees_one_row(uses: list[Factor]) -> TypeGuard[list[Outer]]:
    return len(uses) == 1 and isinstance(uses[0], Outer) and uses[0].g.shape[2] == 1 and _plain(uses[0])


def _plain(one: Factor) -> bool:
    return one.view.index is None and one.view.scale is None
