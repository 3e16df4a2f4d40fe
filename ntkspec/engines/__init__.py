"""The engines: each owns an array module and the loops that pay to be compiled.

An engine is a module that offers what :class:`Engine` says. The arrays decide which one computes;
code above this package asks :func:`engine_of` once and passes the engine along. Arrays with an entry for each point
live where the engine computes; steps, rates and the small problems of Lanczos are NumPy arrays on either.
"""

from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array, ArrayElsewhere
from ntkspec.engines.containers import as_array, library
from ntkspec.engines.contract import Engine

__all__ = ["Engine", "OnEngine", "as_array", "engine_of", "moved", "named"]


def engine_of(*arrays: Any) -> Engine:
    """The engine that the arrays live on.

    Raises TypeError for arrays of two devices; nothing is copied between devices in silence.
    """
    plain = {type(array) for array in arrays} == {np.ndarray}  # the most frequent ones, in every step of training
    if not plain and (own := {id(array.engine): array.engine for array in arrays if isinstance(array, ArrayElsewhere)}):
        if len(own) > 1:
            raise TypeError("arrays whose rows lie on workers in different parts came together")
        return own.popitem()[1]
    on_gpu = [] if plain else [library(array) == "cupy" for array in arrays]
    if not any(on_gpu):
        from ntkspec.engines import cpu

        return cpu
    if not all(on_gpu):
        raise TypeError(
            f"arrays of {' and '.join(sorted({library(array) for array in arrays}))} came together, but one device "
            f"computes; move all of them with cupy.asarray(array) or cupy.asnumpy(array)"
        )
    from ntkspec.engines import gpu

    return gpu


def named(name: str) -> Engine:
    """The engine "cpu" or "gpu". Raises ValueError, with the reason, where there is none."""
    if name == "cpu":
        return engine_of()
    if name != "gpu":
        raise ValueError(f"engine {name!r} is unknown; use 'cpu' or 'gpu'")
    try:
        from ntkspec.engines import gpu

        gpu.free_memory()
    except ModuleNotFoundError as error:
        how = "python -m pip install 'ntkspec[cuda12]' (or [cuda13])"
        raise ValueError(f"the GPU engine needs CuPy: {error}; {how}") from None
    except ImportError as error:  # CuPy without CUDA's libraries, or switches that it must not have
        first = next((line.strip() for line in str(error).splitlines() if line.strip(" =-")), "it does not load")
        raise ValueError(f"the GPU engine does not load: {first}") from None
    except RuntimeError as error:  # CuPy's errors of the driver
        raise ValueError(f"the GPU engine needs a CUDA GPU: {error}") from None
    return gpu


def moved(array: Array, engine: Engine) -> Array:
    """The array on the device of an engine; copied where it lies on another."""
    own = engine_of(array)
    return array if own is engine else engine.xp.asarray(own.to_host(array))


class OnEngine:
    """An object that keeps its ``engine``: a module, which goes into pickles and copies by its name."""

    engine: Engine

    def __getstate__(self) -> dict:
        return self.__dict__ | {"engine": self.engine.name}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state | {"engine": named(state["engine"])}
