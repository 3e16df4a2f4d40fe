"""How the loops of the CPU engine are compiled: single-threaded, without the GIL, cached on disk where possible."""

import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

Loop = TypeVar("Loop", bound=Callable[..., Any])

# NUMBA_DISABLE_JIT=1 runs all loops in Python, to be debugged.
_IN_PYTHON = bool(numba.config.DISABLE_JIT)  # type: ignore[attr-defined]
# `contract` lets a * b + c round once; NaN and infinity keep their meaning.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

# A fork waits until other threads have compiled what they compile: the child could never take their lock.
os.register_at_fork(
    before=global_compiler_lock.acquire,
    after_in_parent=global_compiler_lock.release,
    after_in_child=global_compiler_lock.release,
)


def compiled(loop: Loop) -> Loop:
    """A compiled loop; cached on disk, or with a warning where no folder for the cache can be written to."""
    return _compile(loop, {})


def compiled_with(**options: Any) -> Callable[[Loop], Loop]:
    """:func:`compiled` with Numba's options."""
    return lambda loop: _compile(loop, options)


def _compile(loop: Any, options: dict[str, Any]) -> Any:
    if _IN_PYTHON:  # as compiled: no warnings of single numbers
        return np.errstate(all="ignore")(loop)
    try:
        return numba.njit(cache=True, **(_OPTIONS | options))(loop)
    except RuntimeError:
        _say_once(str(Path(__file__).parent))
        return numba.njit(**(_OPTIONS | options))(loop)


@cache
def _say_once(folder: str) -> None:
    warnings.warn(
        f"compiled loops are not kept, as neither {folder} nor the cache folder of the user can be written to, so that "
        f"each start compiles them again, which takes a minute; set NUMBA_CACHE_DIR to a folder that can be",
        RuntimeWarning,
        stacklevel=4,
    )


def in_llvm(twin: Callable) -> Callable:
    """Decorates what writes instructions for LLVM; ``twin`` is the same function in Python, for NUMBA_DISABLE_JIT=1."""
    return (lambda build: twin) if _IN_PYTHON else intrinsic


def _nothing() -> None:
    """What it computes."""


@in_llvm(_nothing)
def wide_vectors(typingctx: Any) -> Any:
    """Said in a loop: its vectors are as wide as the registers. Of those of 512 bits LLVM takes half by itself, which
    is right for a few instructions among others, and not for long arithmetic. Results stay the same."""

    def build(context, builder, signature, arguments):
        builder.function.attributes.update(('"prefer-vector-width"="512"', "noinline"))
        return context.get_dummy_value()

    return types.void(), build


inlined = numba.njit(inline="always")
