"""The engines: each owns an array module and the loops that pay to be compiled.

An engine is a module with the names of :mod:`ntkspec.engines.cpu`. The arrays decide which one computes;
code above this package asks :func:`engine_of` once and passes the engine along.
"""

from types import ModuleType


def engine_of(*arrays) -> ModuleType:
    """The engine that the arrays live on.

    Raises TypeError for arrays of a device that no engine serves; nothing is copied between devices in silence.
    """
    for array in arrays:
        if type(array).__module__.split(".")[0] == "cupy":
            raise TypeError(
                "a CuPy array came, but ntkspec computes on the CPU only so far; pass cupy.asnumpy(array) instead"
            )
    from ntkspec.engines import cpu

    return cpu
