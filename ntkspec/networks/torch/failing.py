"""What a module's code raises at points that were not tried at first, told with the number of the point."""

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

import torch

from ntkspec.networks.points import count, parts, rows
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.program import Program
from ntkspec.operators.tiles import slices

# Points of a pass that looks for the one at which the module fails.
TOGETHER = 32


@contextlib.contextmanager
def told_by_point(function: ModuleFunction, points: Any, name: str = "") -> Iterator[None]:
    """Passes through a module at ``points``: ValueError with the first of them at which its code raises something."""
    try:
        yield
    except Exception as error:
        number = _first_failing(function, points) if _of_the_module(error) else None
        if number is None:
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"the module raised {type(error).__name__} ({reason}) at point {number}"
            f"{name and f' of {name}'} (counted from 0)"
            f"{integers(function, rows(points, slice(number, number + 1)))}; leave it out, or let the module take it"
        ) from error


def integers(function: ModuleFunction, points: Any) -> str:
    """Which whole numbers points hold, and which the embeddings of a module take; nothing where there are none."""
    whole = [part for part in parts(points) if not part.is_floating_point() and part.dtype != torch.bool]
    sizes = [part.num_embeddings for part in function.program.module.modules() if isinstance(part, torch.nn.Embedding)]
    if not (whole and sizes):
        return ""
    least, most = min(int(part.min()) for part in whole), max(int(part.max()) for part in whole)
    return f", integers from {least} to {most}, where an embedding of the module takes 0 to {min(sizes) - 1}"


def _of_the_module(error: Exception) -> bool:
    return any(frame.f_code is Program.__call__.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _first_failing(function: ModuleFunction, points: Any) -> int | None:
    """None where each point passes alone."""
    for block in slices(count(points), TOGETHER):
        if _passes(function, rows(points, block)):
            continue
        for number in range(block.start, block.stop):
            if not _passes(function, rows(points, slice(number, number + 1))):
                return number
    return None


def _passes(function: ModuleFunction, points: Any) -> bool:
    try:
        with function.undisturbed(), torch.no_grad():
            function.outputs(points)
    except Exception:
        return False
    return True
