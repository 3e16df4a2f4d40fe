"""How the loops of the CPU engine are compiled: single-threaded, without the GIL, cached on disk where possible."""

from functools import partial
from typing import Any

import numba

# `contract` lets a * b + c round once; NaN and infinity keep their meaning.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def compiled(loop=None, **options):
    """A compiled loop; cached on disk unless no folder for the cache can be written to."""
    if loop is None:
        return partial(compiled, **options)
    try:
        return numba.njit(cache=True, **(_OPTIONS | options))(loop)
    except RuntimeError:
        return numba.njit(**(_OPTIONS | options))(loop)


inlined = numba.njit(inline="always")
