"""The GPU engine: CuPy arrays, CUDA kernels, one stream. It offers what
:mod:`ntkspec.engines.contract` says.

Matrix products are cuBLAS's, in the dtype of their arrays; TF32, which keeps ten bits, is never used. Sums have one
order, so that results are the same from run to run on one GPU.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import cupy as xp
import numpy as np

from ntkspec import progress as progress_bars
from ntkspec.engines import host
from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.gpu import bits, functions, linalg, lookups, pairs, patches, symmetric, terms, tiles, training
from ntkspec.engines.gpu.streaming import fill_tiles, link_rate, spare_tiles
from ntkspec.engines.rates import Rates
from ntkspec.engines.terms import HadamardTerm

__all__ = [
    "LEAST_TILE",
    "PAIRS",
    "STRIP",
    "TILE",
    "bits",
    "blocks",
    "fill_tiles",
    "free_memory",
    "functions",
    "last_cache",
    "linalg",
    "lookups",
    "most_memory",
    "name",
    "one_blas_thread",
    "pairs",
    "patches",
    "rates",
    "run",
    "shares",
    "spare_memory",
    "spare_tiles",
    "symmetric",
    "terms",
    "tiles",
    "to_host",
    "training",
    "used_memory",
    "workers",
    "xp",
]

# Switches that give products fewer digits than their dtype has.
for _switch in (
    "CUPY_TF32",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_EMULATE_DOUBLE_PRECISION",
):
    if os.environ.get(_switch, "0") not in ("", "0"):
        raise ImportError(f"{_switch} is set, but products would lose digits, in TF32 from the fourth on; unset it")

name = "gpu"
# Rows and columns of a tile: 64 MB in float32, products that fill the GPU, and passes that dwarf their launch.
TILE = LEAST_TILE = 4096
# Rows of a tile, and pairs of patches, that are computed together where an entry has many intermediates.
STRIP, PAIRS = 1024, 2**24
# Numbers of a row block's intermediates, and rows at most: sums over a block enter the bounds on rounding.
_NUMBERS, _ROWS = 2**27, 2**15


# ---------------------------------------------------------------------------------------------- memory and threads
def free_memory() -> int:
    """Bytes that can be allocated on the GPU now: what the driver has left, and what CuPy's pool keeps unused."""
    return int(xp.cuda.runtime.memGetInfo()[0] + xp.get_default_memory_pool().free_bytes())


def used_memory() -> int:
    """Bytes of the GPU that this process's arrays take now."""
    return int(xp.get_default_memory_pool().used_bytes())


def most_memory() -> int:
    """The same: a GPU counts no more."""
    return used_memory()


def last_cache() -> int:
    """0: matrices are read from memory."""
    return 0


def spare_memory() -> int:
    """Bytes of the host's memory where tiles can lie that the GPU has no room for."""
    return host.free_memory()


def to_host(array: Array) -> Array:
    """A NumPy array with the same entries: waits for the GPU, and copies."""
    return xp.asnumpy(array)


def workers() -> int:
    """One: the GPU shares out the work itself."""
    return 1


def one_blas_thread() -> contextlib.AbstractContextManager[None]:
    """Nothing to hold: BLAS runs on the GPU."""
    return contextlib.nullcontext()


def run(task: Callable[[Any], Any], items: Iterable[Any], *, progress: str = "") -> list[Any]:
    """``[task(item) for item in items]``, one after the other on the current stream.

    ``progress`` names a bar that appears when the work takes longer than a second.
    """
    items = list(items)
    return [task(item) for item in (progress_bars.bar(items, text=progress) if progress and len(items) > 1 else items)]


def shares(n: int, flops: float = math.inf) -> list[slice]:
    """All of ``range(n)``, for the one worker."""
    return [slice(0, n)]


def blocks(share: slice, width: int, numbers: int = _NUMBERS, least: int = 256) -> list[slice]:
    """Row blocks of a share whose intermediates, ``width`` numbers a row, fit well into the GPU's memory.

    ``numbers`` is what suits a core's cache, and counts only where it is larger than what suits the GPU.
    """
    step = min(_ROWS, max(least, max(numbers, _NUMBERS) // max(1, width)))
    return [slice(a, min(a + step, share.stop)) for a in range(share.start, share.stop, step)]


# ------------------------------------------------------------------------------------------------------------ rates
def rates(dtype: DTypeLike, *, memory: bool = True) -> Rates:
    """The rates of this GPU for a dtype, measured once in about 0.1 s, those of its memory among them."""
    return _measured(np.dtype(dtype).char)


@cache
def _measured(dtype: str) -> Rates:
    size = TILE
    tile = xp.sin(xp.arange(size * size, dtype=dtype)).reshape(size, size)
    words = xp.full((size, 64), 2**62 - 1, xp.uint64)
    blocks, vectors = xp.ones((10, size, size), dtype), xp.ones((2, 4 * size))

    def rate(amount, task, *arguments):
        return amount / min(_seconds(task, *arguments) for _ in range(4))

    read = rate(float(blocks.nbytes), symmetric.triangle_product, blocks, 0, 10, vectors, xp.zeros_like(vectors))
    return Rates(
        flops=rate(2.0 * size**3, xp.matmul, tile, tile.T),
        words=rate(64.0 * size**2, bits.count_common, words, words, dtype),
        entries=rate(float(size) ** 2, terms.write, tile.copy(), [HadamardTerm(1.0, tile, tile.copy())], False),
        bytes=read,
        cached=read,
        copied=link_rate(),
    )


def _seconds(function, *arguments) -> float:
    start, end = xp.cuda.Event(), xp.cuda.Event()
    start.record()
    function(*arguments)
    end.record()
    end.synchronize()
    return max(xp.cuda.get_elapsed_time(start, end), 1e-6) / 1e3
