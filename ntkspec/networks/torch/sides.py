"""One side of a kernel: the gradients of a module's outputs at points, in the form that multiplies fastest."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ntkspec.networks.protocol import Points
from ntkspec.networks.sharing import SharedSides
from ntkspec.networks.torch.factors.jacobian import FactoredJacobian
from ntkspec.networks.torch.facts import Facts
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.jacobian import AutogradJacobian
from ntkspec.networks.torch.tensors import tensor_of


def jacobian_at(
    function: ModuleFunction, facts: Facts, points: Any, names: Sequence[str], weights: np.ndarray | None
) -> AutogradJacobian:
    """The gradients of the functions ``weights`` (R, K) times outputs, or of all outputs, in the named parameters."""
    directions = None if weights is None else tensor_of(weights).to(function.device, function.dtype)
    return FactoredJacobian(function, facts, points, names, directions)


def sides_at(
    shared: SharedSides,
    function: ModuleFunction,
    names: Sequence[str],
    weights: np.ndarray | None,
    each: Iterable[tuple[Points, Facts]],
) -> list[AutogradJacobian]:
    """The sides of one kernel, at points and what is known of those: those of kernels before where there are any.

    Factors of all are read in one way, that of the columns.
    """
    what = tuple(names), None if weights is None else weights.tobytes()
    places = [(points, facts, shared.content(points)) for points, facts in each]
    known = [shared.find(what, content) for *_, content in places]
    first = next((side for side in reversed(known) if side is not None), None)
    if first is None:
        points, facts, content = places[-1]
        first = shared.keep(what, content, jacobian_at(function, facts, points, names, weights))
    found = []
    for points, facts, content in places:
        side, likewise = shared.find(what, content), (*what, id(first.probed))
        if side is None or side.probed is not first.probed:
            side = shared.find(likewise, content)
        if side is None:
            side = shared.keep(likewise, content, first.elsewhere(points, facts))
            side.lasts = False
        found.append(side)
    found[-1].lasts = True  # the columns; rows of their own are used once
    return found
