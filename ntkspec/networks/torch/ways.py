"""Which way of differentiation a module knows: the first one that runs and gives the right numbers, found once."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch

from ntkspec.networks.points import rows
from ntkspec.networks.torch.differentiating import (
    Vector,
    gradients_by_points,
    gradients_together,
    pull,
    push_by_points,
    push_forward,
    push_twice_backward,
)
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.program import Program

Push: TypeAlias = Callable[[ModuleFunction, Any, Sequence[Vector], torch.Tensor | None], torch.Tensor]
Gradients: TypeAlias = Callable[[ModuleFunction, Any, Sequence[str], torch.Tensor | None], dict[str, torch.Tensor]]
# Flops of each way for a point, in passes forward; in the order in which they are tried.
PASSES: dict[Push, float] = {push_forward: 3.0, push_twice_backward: 7.0, push_by_points: 20.0}
# How far two ways may be apart, relatively: rounding of float32 in deep networks, not errors in a formula.
AGREEING = 1e-3
# What was found of programs, for derivatives in some of the parameters.
_PUSHES: WeakKeyDictionary[Program, dict[tuple[str, ...], Push]] = WeakKeyDictionary()
_GRADIENTS: WeakKeyDictionary[Program, dict[tuple[str, ...], Gradients]] = WeakKeyDictionary()


def push_of(function: ModuleFunction, points: Any, names: Sequence[str]) -> Push:
    """How J v is computed: by the first way that runs, and is the adjoint of the backward pass at two points.

    Where gradients there are not finite, and nothing can be compared, the way that every module has, this time.
    """
    known, chosen = _PUSHES.setdefault(function.program, {}), tuple(names)
    if chosen not in known:
        found = _found_push(function, rows(points, slice(0, 2)), names)
        if found is None:
            return push_by_points
        known[chosen] = found
    return known[chosen]


def _found_push(function: ModuleFunction, points: Any, names: Sequence[str]) -> Push | None:
    with function.undisturbed():
        outputs = function.outputs(points).detach()
    v, u = random_vectors(function, names, tuple(outputs.shape))
    # A derivative that is zero has rounding only, which both ways do in their own way; a norm's division by the root
    # of its eps makes it larger: half of the digits are left.
    rounding = torch.finfo(function.dtype).eps ** 0.5 * float(outputs.norm() * u.norm())
    (pulled,) = pull(function, points, names, [u])
    expected = sum(inner(pulled[name], v[name]) for name in names)
    if not math.isfinite(expected):
        return None
    for way in PASSES:
        with contextlib.suppress(RuntimeError, NotImplementedError):
            pushed = way(function, points, [v], None)[:, :, 0]
            size = float(pushed.norm() * u.norm())
            if abs(float((pushed * u).sum()) - expected) <= AGREEING * size + rounding:
                return way
    raise ValueError(
        "two passes backward through the module differ, so that its gradients are not those of one function; look for "
        "hooks and custom autograd functions that keep state"
    )


def random_vectors(
    function: ModuleFunction, names: Sequence[str], shape: tuple[int, ...]
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Of parameters, at the scale of each, and of outputs of this shape."""
    generator = torch.Generator().manual_seed(0)

    def normal(shape):
        drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")  # sooner than in float64
        return drawn.to(function.device, function.dtype)

    state = function.state
    scales = {name: float(state[name].square().mean().sqrt()) or 1.0 for name in names}
    return {name: normal(state[name].shape).mul_(scales[name]) for name in names}, normal(shape)


def inner(one: torch.Tensor, other: torch.Tensor) -> float:
    """The sum of the products of all entries."""
    return float(torch.dot(one.flatten(), other.flatten()))


def gradients(
    function: ModuleFunction, points: Any, names: Sequence[str], directions: torch.Tensor | None
) -> list[torch.Tensor]:
    """The gradients of each point and function: for each parameter an array (b, R, its size).

    By torch.func.vmap where that gives what single passes give at two points.
    """
    known, chosen = _GRADIENTS.setdefault(function.program, {}), tuple(names)
    if chosen not in known:
        known[chosen] = _found_gradients(function, rows(points, slice(0, 2)), names, directions)
    found = known[chosen](function, points, names, directions)
    return [found[name].flatten(2) for name in names]


def _found_gradients(function: ModuleFunction, points: Any, names: Sequence[str], directions: Any) -> Gradients:
    try:
        found = gradients_together(function, points, names, directions)
    except Exception:  # whatever it does not know
        return gradients_by_points
    expected = gradients_by_points(function, points, names, directions)
    allowed = AGREEING * max(float(one.norm()) for one in expected.values())
    same = all(float((found[name] - expected[name]).norm()) <= allowed for name in names)
    return gradients_together if same else gradients_by_points
