"""One side of a kernel: the gradients of a module's outputs at points, in the form that multiplies fastest."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkspec.networks.torch.factors.jacobian import FactoredJacobian
from ntkspec.networks.torch.facts import Facts
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.tensors import tensor_of


def jacobian_at(
    function: ModuleFunction, facts: Facts, points: Any, names: Sequence[str], weights: np.ndarray | None
) -> FactoredJacobian:
    """The gradients of the functions ``weights`` (R, K) times outputs, or of all outputs, in the named parameters."""
    directions = None if weights is None else tensor_of(weights).to(function.device, function.dtype)
    return FactoredJacobian(function, facts, points, names, directions)
