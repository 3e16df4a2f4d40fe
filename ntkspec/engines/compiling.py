"""How the loops of the CPU engine are compiled: single-threaded, without the GIL, cached on disk where possible."""

import os
from functools import partial
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock

# `contract` lets a * b + c round once; NaN and infinity keep their meaning.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}

# A fork waits until other threads have compiled what they compile: the child could never take their lock.
os.register_at_fork(
    before=global_compiler_lock.acquire,
    after_in_parent=global_compiler_lock.release,
    after_in_child=global_compiler_lock.release,
)


def compiled(loop=None, **options):
    """A compiled loop; cached on disk unless no folder for the cache can be written to."""
    if loop is None:
        return partial(compiled, **options)
    try:
        return numba.njit(cache=True, **(_OPTIONS | options))(loop)
    except RuntimeError:
        return numba.njit(**(_OPTIONS | options))(loop)


inlined = numba.njit(inline="always")
