"""The GPU engine: CuPy arrays, CUDA kernels, one stream. It offers the names of :mod:`ntkspec.engines.cpu`.

Matrix products are cuBLAS's, in the dtype of their arrays; TF32, which keeps ten bits, is never used. Sums have one
order, so that results are the same from run to run on one card.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterable
from functools import cache

import cupy as xp

from ntkspec import progress as progress_bars
from ntkspec.engines import host
from ntkspec.engines.gpu.bits import count_common, count_ones, empty_bits, gram_of_bits, pack_bits, unpack_bits
from ntkspec.engines.gpu.compiling import THREADS, grid_of, kernel, launch
from ntkspec.engines.gpu.functions import cos, elu, erf, gelu, piecewise_linear, sigmoid, silu, sin, softplus, tanh
from ntkspec.engines.gpu.pairs import hermite_moments, pair_moments, power_series
from ntkspec.engines.gpu.patches import circular_sums, position_products, window_gaps
from ntkspec.engines.gpu.rows import row_products
from ntkspec.engines.gpu.streaming import fill_tiles, link_rate, spare_tiles
from ntkspec.engines.gpu.symmetric import squares_and_defect, symmetric_product, triangle_product
from ntkspec.engines.gpu.terms import add_parts, add_scaled, write_parts
from ntkspec.engines.gpu.training import fused_steps
from ntkspec.engines.rates import Rates
from ntkspec.engines.terms import HadamardTerm

__all__ = [
    "PAIRS",
    "STRIP",
    "TILE",
    "Rates",
    "add_parts",
    "add_scaled",
    "blocks",
    "circular_sums",
    "copy_transposed",
    "cos",
    "count_common",
    "count_ones",
    "eigh",
    "elu",
    "empty_bits",
    "erf",
    "fill_tiles",
    "free_memory",
    "fused_steps",
    "gelu",
    "gram_of_bits",
    "hermite_moments",
    "largest_entry",
    "most_memory",
    "name",
    "one_blas_thread",
    "pack_bits",
    "pair_moments",
    "piecewise_linear",
    "position_products",
    "power_series",
    "rates",
    "row_products",
    "run",
    "shares",
    "sigmoid",
    "silu",
    "sin",
    "softplus",
    "spare_memory",
    "spare_tiles",
    "squares_and_defect",
    "sum_of_squares",
    "symmetric_product",
    "tanh",
    "to_host",
    "triangle_product",
    "unpack_bits",
    "used_memory",
    "window_gaps",
    "workers",
    "write_parts",
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
# Rows and columns of a tile: 64 MB in float32, products that fill the card, and passes that dwarf their launch.
TILE = 4096
# Rows of a tile, and pairs of patches, that are computed together where an entry has many intermediates.
STRIP, PAIRS = 1024, 2**24
# Numbers of a row block's intermediates, and rows at most: sums over a block enter the bounds on rounding.
_NUMBERS, _ROWS = 2**27, 2**15
# cuSOLVER has counted the entries of its workspace in 32 bits; above this, some versions fail or return nonsense.
_LARGEST_EIGENPROBLEM = 32_000


# ---------------------------------------------------------------------------------------------- memory and threads
def free_memory() -> int:
    """Bytes that can be allocated on the card now: what the driver has left, and what CuPy's pool keeps unused."""
    return int(xp.cuda.runtime.memGetInfo()[0] + xp.get_default_memory_pool().free_bytes())


def used_memory() -> int:
    """Bytes of the card that this process's arrays take now."""
    return int(xp.get_default_memory_pool().used_bytes())


def most_memory() -> int:
    """The same: a card counts no more."""
    return used_memory()


def spare_memory() -> int:
    """Bytes of the host's memory where tiles can lie that the card has no room for."""
    return host.free_memory()


def to_host(array):
    """A NumPy array with the same entries: waits for the card, and copies."""
    return xp.asnumpy(array)


def workers() -> int:
    """One: the card shares out the work itself."""
    return 1


one_blas_thread = contextlib.nullcontext


def run(task: Callable, items: Iterable, *, progress: str = "") -> list:
    """``[task(item) for item in items]``, one after the other on the current stream.

    ``progress`` names a bar that appears when the work takes longer than a second.
    """
    items = list(items)
    return [task(item) for item in (progress_bars.bar(items, text=progress) if progress and len(items) > 1 else items)]


def shares(n: int, flops: float = math.inf) -> list[slice]:
    """All of ``range(n)``, for the one worker."""
    return [slice(0, n)]


def blocks(share: slice, width: int, numbers: int = _NUMBERS, least: int = 256) -> list[slice]:
    """Row blocks of a share whose intermediates, ``width`` numbers a row, fit well into the card's memory.

    ``numbers`` is what suits a core's cache, and counts only where it is larger than what suits the card.
    """
    step = min(_ROWS, max(least, max(numbers, _NUMBERS) // max(1, width)))
    return [slice(a, min(a + step, share.stop)) for a in range(share.start, share.stop, step)]


# ------------------------------------------------------------------------------------------------------------ tiles
def sum_of_squares(tile):
    """Sum of the squared entries, accumulated in float64: an array of no dimension on the device."""
    across, down = grid_of(*tile.shape)
    sums = xp.empty(across * down)
    launch(kernel("tiles", "sum_of_squares", tile.dtype.char), (across, down), sums, tile, *tile.shape)
    return sums.sum()


def largest_entry(tile, skip):
    """Largest ``|tile[i, j]|`` with ``i != j + skip``; NaN where any entry is NaN."""
    across, down = grid_of(*tile.shape)
    largest = xp.empty(across * down * THREADS)
    launch(kernel("tiles", "largest_entry", tile.dtype.char), (across, down), largest, tile, int(skip), *tile.shape)
    return float(largest.max())


def copy_transposed(out, tile):
    """``out[:] = tile.T``."""
    out[...] = tile.T


def eigh(matrix):
    """(values, vectors as columns) of a symmetric matrix, values ascending. Cost: 9 n³ flops.

    Raises ValueError for matrices that cuSOLVER is not safe for.
    """
    if len(matrix) > _LARGEST_EIGENPROBLEM:
        raise ValueError(
            f"a dense eigenproblem of n = {len(matrix):,} came, but cuSOLVER is safe up to n = "
            f"{_LARGEST_EIGENPROBLEM:,}: it counts its workspace in 32 bits; use ntkspec.eigsh or a density instead"
        )
    return xp.linalg.eigh(matrix)


# ------------------------------------------------------------------------------------------------------------ rates
@cache
def rates(dtype) -> Rates:
    """The rates of this card for a dtype, measured once in about 0.1 s."""
    size = TILE
    tile = xp.sin(xp.arange(size * size, dtype=dtype)).reshape(size, size)
    words = xp.full((size, 64), 2**62 - 1, xp.uint64)
    blocks, vectors = xp.ones((10, size, size), dtype), xp.ones((2, 4 * size))

    def rate(amount, task, *arguments):
        return amount / min(_seconds(task, *arguments) for _ in range(4))

    return Rates(
        flops=rate(2.0 * size**3, xp.matmul, tile, tile.T),
        words=rate(64.0 * size**2, count_common, words, words, dtype),
        entries=rate(float(size) ** 2, write_parts, tile.copy(), [HadamardTerm(1.0, tile, tile.copy())], False),
        bytes=rate(float(blocks.nbytes), triangle_product, blocks, 0, 10, vectors, xp.zeros_like(vectors)),
        copied=link_rate(),
    )


def _seconds(function, *arguments) -> float:
    start, end = xp.cuda.Event(), xp.cuda.Event()
    start.record()
    function(*arguments)
    end.record()
    end.synchronize()
    return max(xp.cuda.get_elapsed_time(start, end), 1e-6) / 1e3
