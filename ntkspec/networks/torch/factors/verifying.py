"""Layer factors compared with autograd before they are used."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ntkspec.networks.torch.differentiating import pulled
from ntkspec.networks.torch.factors.capture import Factors
from ntkspec.networks.torch.factors.sides import pull

# How far products may be apart, in eps of the sums of absolute values that they are computed from; these are taken only
# where their size, which is smaller, does not suffice.
ALLOWED = 1e3


def disagreements(
    factors: Factors, outputs: Tensor, parameters: Mapping[str, Tensor], weights: Tensor
) -> dict[str, str]:
    """For parameters whose factors, of the functions ``weights`` (R, K), give other products than autograd: why not.

    The last pass through the graph of the outputs, which frees it.
    """
    if not factors:
        return {}
    n, R = len(outputs), len(weights)
    generator = torch.Generator().manual_seed(1)
    U = torch.randn(n, R, 1, generator=generator, dtype=torch.float64).to(outputs)
    leaves = {name: parameters[name] for name in factors}
    true = pulled(outputs, leaves, U[..., 0] @ weights)
    allowed, found = ALLOWED * torch.finfo(outputs.dtype).eps, {}
    for name, leaf in leaves.items():
        ours = leaf.new_zeros(1, leaf.numel())
        pull(factors[name], U, ours)
        pushed = sum((U * one.push(one.view.of(ours))).sum() for one in factors[name])
        error, size = (ours - true.pop(name).reshape(1, -1)).norm(), ours.norm()
        apart = abs(pushed - size**2)
        if error <= allowed * size and apart <= allowed * size**2:
            continue
        bound = leaf.new_zeros(1, leaf.numel())
        for one in factors[name]:
            one.view.absolute().add(bound, one.absolute().pull(U.abs()))
        if not (error <= allowed * bound.norm() and apart <= allowed * bound.norm() ** 2):
            found[name] = "its factors disagree with autograd"
    return found
