"""Layer factors compared with autograd before they are used."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ntkspec.networks.torch.factors.capture import Factors

# How far products may be apart, in eps of the sums of absolute values that they are computed from.
ALLOWED = 1e3


def disagreements(
    factors: Factors, outputs: Tensor, parameters: Mapping[str, Tensor], weights: Tensor
) -> dict[str, str]:
    """For parameters whose factors, of the functions ``weights`` (R, K), give other products than autograd: why not."""
    n, R = len(outputs), len(weights)
    generator = torch.Generator().manual_seed(1)
    U = torch.randn(n, R, 1, generator=generator, dtype=torch.float64).to(outputs)
    leaves = {name: parameters[name] for name in factors}
    cotangent = (U[..., 0] @ weights).detach()
    right = torch.autograd.grad([outputs], list(leaves.values()), [cotangent], retain_graph=True, allow_unused=True)
    allowed, found = ALLOWED * torch.finfo(outputs.dtype).eps, {}
    for (name, leaf), expected in zip(leaves.items(), right, strict=True):
        pulled, bound = leaf.new_zeros(1, leaf.numel()), leaf.new_zeros(1, leaf.numel())
        for one in factors[name]:
            one.view.add(pulled, one.pull(U))
            one.view.absolute().add(bound, one.absolute().pull(U.abs()))
        true = torch.zeros_like(pulled) if expected is None else expected.detach().reshape(1, -1)
        pushed = sum((U * one.push(one.view.of(pulled))).sum() for one in factors[name])
        square, size = pulled.square().sum(), bound.norm()
        if not ((pulled - true).norm() <= allowed * size and abs(pushed - square) <= allowed * size**2):
            found[name] = "its factors disagree with autograd"
    return found
