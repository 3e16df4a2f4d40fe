"""JAX's global settings as a computation needs them, which stay as the user has set them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.experimental
import numpy as np

# Versions of JAX have it in one place or the other.
_enable_x64: Any = getattr(jax if hasattr(jax, "enable_x64") else jax.experimental, "enable_x64")  # noqa: B009


@contextlib.contextmanager
def computing(dtype: np.dtype) -> Iterator[None]:
    """Within, this thread has float64 where ``dtype`` is that; otherwise JAX would round it to float32 in silence."""
    with _enable_x64(True) if dtype == np.float64 else contextlib.nullcontext():
        yield
