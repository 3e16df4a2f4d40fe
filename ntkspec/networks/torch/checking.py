"""What a module has to fulfil, tried on a few points at the first look: each failure names its cure."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ntkspec.networks.points import count, parts, rows
from ntkspec.networks.torch.differentiating import pull
from ntkspec.networks.torch.facts import Facts
from ntkspec.networks.torch.failing import integers
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.points import changed, copied, shapes
from ntkspec.networks.torch.surroundings import NARROW, random_numbers, same_random_numbers
from ntkspec.networks.torch.ways import inner, random_vectors

# Points that are tried; steps of a difference quotient, and how far it may be from the derivative, relatively. Within
# the smallest step few of the many ReLUs that are near zero in a new network change sides.
TRIED, STEPS, SMALLEST, QUOTIENT_ERROR = 3, (1e-6, 1e-4, 1e-3), 1e-8, 1e-3
# Passes that have to give the same outputs: of any module, and of one that draws random numbers.
FEW_PASSES, PASSES = 2, 100
FORWARD = "give from_torch a forward=lambda module, points: ... that returns what is needed"


def examined(function: ModuleFunction, points: Any, names: Sequence[str]) -> Facts:
    """What is known of the module after a few points. Raises TypeError and ValueError."""
    some = _sample(points)
    one = rows(some, slice(0, 1))  # float64 takes many times as long
    with same_random_numbers(), function.undisturbed():
        first = _first_outputs(function, some)
        n_outputs = None if first.ndim == 1 else first.shape[1]
        _check_deterministic(function, some, first)
        _check_without_memory(function, some, first)
        _check_independent(function, some, first)
        unreached, kept = _graph(function, some, names)
        flops = _flops(function, one)
        reached = [name for name in names if name not in unreached]
        precise, reason, rough = _in_float64(function, one)
        exact = function if reason else precise
        _check_quotient(exact, exact.points(one), reached, n_outputs or 1, rough=rough or bool(reason))
        del precise, exact
        function.release()
    return Facts(n_outputs, flops, kept, tuple(unreached), reason, rough)


def _sample(points: Any) -> Any:
    """A few points; of a single one also a changed copy, since what mixes points shows with two."""
    n = count(points)
    if n == 1:
        return changed(points)
    return rows(points, torch.linspace(0, n - 1, min(n, TRIED)).long())


# -------------------------------------------------------------------------------------------------------------- outputs
def _outputs(function: ModuleFunction, points: Any) -> torch.Tensor:
    """What the module returns, where it is an array (n,) or (n, K) of floats."""
    try:
        found = function.raw(points)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"the module raised {type(error).__name__} ({reason}) for points of shape {shapes(points)}"
            f"{integers(function, points)}, parameters of {_short(function.dtype)}; give points as it takes them, "
            f"or {FORWARD}"
        ) from error
    n = count(points)
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"the module returns a {type(found).__name__}, but a tensor is needed; {FORWARD}")
    if found.is_complex() or not found.is_floating_point():
        advice = "take the numbers before argmax, rounding or comparison" if not found.is_complex() else "take .real"
        raise TypeError(f"the outputs are {_short(found.dtype)}, which have no gradient; {advice}: {FORWARD}")
    if found.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"the outputs are {_short(found.dtype)}, whose rounding hides the kernel; leave out .half(), .bfloat16() "
            f"or autocast in forward"
        )
    if found.ndim not in (1, 2) or len(found) != n or found.numel() == 0:
        raise ValueError(
            f"the outputs have shape {tuple(found.shape)} for {n} points, but ({n},) or ({n}, K) is needed, a row "
            f"for each point; {FORWARD}"
        )
    if not torch.isfinite(found).all():
        raise ValueError("the outputs hold NaN or infinity; look at the parameters, and at the scale of the points")
    return found.detach()


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_deterministic(function: ModuleFunction, points: Any, first: torch.Tensor) -> None:
    """Two more passes; many, where they draw random numbers, which may seldom matter, as in stochastic depth."""
    drawn = False
    for seed in range(1, 1 + PASSES):
        if seed > FEW_PASSES and not drawn:
            return
        torch.manual_seed(seed)
        before = random_numbers(function.device)
        found = function.raw(points).detach()
        drawn = drawn or random_numbers(function.device) != before
        if not torch.equal(found, first):
            raise ValueError(
                f"two passes through the module give different outputs: something in it is random"
                f"{_in_training(function, 'Drop', 'Stochastic')}; call module.eval(), or leave out what draws random "
                f"numbers"
            )


def _check_without_memory(function: ModuleFunction, points: Any, first: torch.Tensor) -> None:
    """A second pass with the buffers that one left: in ``raw`` each pass gets them as they were at the start."""
    with function.running() as program:
        program(copied(points, slice(None)))
        moved = [name for name, now in program.module.named_buffers() if _differs(now, function.state.get(name))]
        second = program(copied(points, slice(None))) if moved else first
    if _differs(second, first):
        raise ValueError(
            f"two passes through the module give different outputs: each changes its buffers {', '.join(moved[:4])}; "
            f"call module.eval(), or leave out what remembers earlier passes"
        )


def _differs(now: torch.Tensor, before: torch.Tensor | None) -> bool:
    return before is None or now.dtype != before.dtype or not torch.equal(now, before)


def _in_training(function: ModuleFunction, *kinds: str) -> str:
    """The parts of these kinds that are in training mode."""
    found = [
        f"{type(part).__name__} {name}".strip()
        for name, part in function.program.module.named_modules()
        if part.training and any(kind in type(part).__name__ for kind in kinds)
    ]
    return f" ({', '.join(found[:4])} {'is' if len(found) == 1 else 'are'} in training mode)" if found else ""


def _first_outputs(function: ModuleFunction, points: Any) -> torch.Tensor:
    """Those of a pass, which must not change the parameters."""
    before = {name: tensor.clone() for name, tensor in function.state.items() if name not in function.buffers}
    found = _outputs(function, points)
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, function.state[name])]
    for name in moved:
        function.state[name].copy_(before[name])
    if moved:
        raise ValueError(
            f"a pass through the module changes its parameters in place: {', '.join(moved[:4])}; do that outside of "
            f"forward, and leave out max_norm of embeddings"
        )
    return found


def _check_independent(function: ModuleFunction, points: Any, first: torch.Tensor) -> None:
    """Each point alone, and all in reverse order, have the outputs ``first`` up to rounding."""
    together, backwards = first.reshape(len(first), -1), torch.arange(count(points) - 1, -1, -1)
    allowed = torch.finfo(function.dtype).eps ** 0.5 * float(together.abs().max())
    try:
        alone = torch.cat([function.outputs(rows(points, slice(k, k + 1))).detach() for k in range(count(points))])
        turned = function.outputs(rows(points, backwards)).detach()[backwards]
        same = all(
            one.shape == together.shape and float((one - together).abs().max()) <= allowed for one in (alone, turned)
        )
    except (ValueError, RuntimeError):  # batch normalization in training mode refuses a single point
        same = False
    if not same:
        raise ValueError(
            f"the output of a point changes with the other points of its batch, so that it has no gradient of its own"
            f"{_in_training(function, 'BatchNorm')}; call module.eval(), or leave out what mixes points"
        )


# ------------------------------------------------------------------------------------------------------------- float64
class _Watched(TorchDispatchMode):
    """The flops of what runs within, as torch counts them, and whether an operation gives floats of less than 64 bits.

    torch's own counter does the same, after seconds in which it loads the compiler.
    """

    flops, in_float32 = 0.0, False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        count_flops = flop_registry.get(func._overloadpacket)
        if count_flops is not None:
            self.flops += count_flops(*args, **(kwargs or {}), out_val=found)
        self.in_float32 |= any(
            isinstance(one, torch.Tensor) and one.dtype in NARROW
            for one in (found if isinstance(found, tuple | list) else [found])
        )
        return found


def _flops(function: ModuleFunction, points: Any) -> float:
    with _Watched() as watched:
        function.raw(points)
    return max(1.0, watched.flops / count(points))


def _in_float64(function: ModuleFunction, points: Any) -> tuple[ModuleFunction, str, bool]:
    """(the function in float64, why it does not run, whether some of it stays in float32)."""
    precise = function.in_dtype(torch.float64)
    try:
        with precise.undisturbed(), _Watched() as watched:
            found = precise.raw(precise.points(points))
            return precise, "", watched.in_float32 or found.dtype != torch.float64
    except Exception as error:
        return precise, str(error).partition("\n")[0], True


# --------------------------------------------------------------------------------------------------------------- graph
def _graph(function: ModuleFunction, points: Any, names: Sequence[str]) -> tuple[list[str], float]:
    """(parameters that no output reaches, bytes that a backward pass keeps for each point)."""
    storages: dict[int, int] = {}
    own = {tensor.untyped_storage().data_ptr() for tensor in function.state.values()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with _passing("forward"), hooks, function.recorded(points, names) as (outputs, leaves):
        _check_leaves(function, points, outputs, leaves)
        found = _gradients(outputs, leaves)
    unreached = [name for name, gradient in zip(names, found, strict=True) if gradient is None]
    bad = [n for n, g in zip(names, found, strict=True) if g is not None and not torch.isfinite(g.to_dense()).all()]
    if bad:
        raise ValueError(
            f"the gradients in {', '.join(bad[:4])} hold NaN or infinity, as those of sqrt, norm and log at zero do; "
            f"keep their arguments away from zero"
        )
    if len(unreached) == len(names):
        raise ValueError(
            f"the outputs depend on none of the {len(names)} parameters; leave out torch.no_grad and .detach() in "
            f"forward, and let a forward of your own call the module that it is given"
        )
    kept = sum(size for place, size in storages.items() if place not in own)
    return unreached, kept / count(points) + sum(p.element_size() * p[0].numel() for p in parts(points))


def _gradients(outputs: torch.Tensor, leaves: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor | None]:
    """Of the sum of all outputs; None where they do not depend on a leaf."""
    if not outputs.requires_grad:
        return [None] * len(leaves)
    with _passing("backward"):
        return torch.autograd.grad(outputs.sum(), list(leaves.values()), allow_unused=True)


@contextlib.contextmanager
def _passing(way: str) -> Iterator[None]:
    """What a pass with gradients raises, told with its cure."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"a pass {way} through the module raised {type(error).__name__} ({reason}); mend the module until "
            f"torch.autograd.grad of its outputs works"
        ) from error


def _check_leaves(
    function: ModuleFunction, points: Any, outputs: torch.Tensor, leaves: Mapping[str, torch.Tensor]
) -> None:
    """What the outputs depend on and takes gradients: the parameters given to the module, and what a pass makes anew,
    as inputs in which the module itself differentiates."""
    foreign = _leaves(outputs, leaves)
    if not foreign:
        return
    with function.recorded(points, list(leaves)) as (again, others):
        kept = [tensor for tensor in _leaves(again, others) if any(tensor is one for one in foreign)]
    if kept:
        raise ValueError(
            f"the outputs depend on a tensor of shape {tuple(kept[0].shape)} that requires gradients and is not "
            f"among the module's parameters; keep layers in nn.ModuleList, tensors as nn.Parameter, and let a "
            f"forward of your own call the module that it is given"
        )


def _leaves(outputs: torch.Tensor, known: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """The tensors that outputs depend on and that take gradients, but for the known ones."""
    own = {id(leaf) for leaf in known.values()}
    found, waiting, seen = [], [outputs.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        tensor = getattr(node, "variable", None)
        if tensor is not None and id(tensor) not in own:
            found.append(tensor)
        waiting += [following for following, _ in node.next_functions]
    return found


# --------------------------------------------------------------------------------------------------------- derivatives
def _check_quotient(function: ModuleFunction, points: Any, names: Sequence[str], outputs: int, *, rough: bool) -> None:
    """<Jᵀ u, v> against <u, f(w + h v) - f(w - h v)> / 2 h: at one step size they have to agree."""
    v, u = random_vectors(function, names, (count(points), outputs))
    (gradient,) = pull(function, points, names, [u])
    derivative = 0.0
    for name in names:
        own = gradient.pop(name)
        v[name] *= own != 0  # what autograd takes for constant stays: padding of embeddings, detached uses
        derivative += inner(own, v[name])
    state, best = function.state, float("inf")
    for step in STEPS[1:] if rough else (*STEPS, SMALLEST):
        ends = [
            function.outputs(
                points, {name: torch.add(state[name], v[name], alpha=sign * step) for name in names}
            ).detach()
            for sign in (1, -1)
        ]
        quotient = float(((ends[0] - ends[1]) * u).sum()) / (2 * step)
        eps = torch.finfo(torch.float32 if rough else function.dtype).eps
        noise = 8 * eps * float(ends[0].norm() * u.norm()) / step
        if step == SMALLEST and noise > QUOTIENT_ERROR * abs(derivative):  # it would hide what is looked for
            continue
        apart = max(0.0, abs(quotient - derivative) - noise)
        best = min(best, apart / max(abs(derivative), abs(quotient), 1e-300))
        if best <= (10 if rough else 1) * QUOTIENT_ERROR:
            return
    raise ValueError(
        f"the derivative that autograd gives is {100 * best:.2g} % from the difference quotient of the outputs: "
        f"the module holds .detach(), rounding, or a backward that is not its derivative; leave that out, or call "
        f"module.eval() where it is in training mode"
    )
