"""What an installation has, for bug reports and for finding out why something is slow or missing."""

import os
import time
from collections.abc import Callable, Iterator

import numpy as np

from ntkspec import datasets
from ntkspec.engines import engine_of
from ntkspec.provenance import provenance

GEMM_SIZE = 2000


def findings() -> Iterator[tuple[str, str]]:
    """(what, what was found) pairs; takes about a second for the speed of BLAS."""
    made_with = provenance("ntkspec doctor")
    engine = engine_of()
    yield "python", made_with["python"]
    yield from made_with["versions"].items()
    yield "machine", made_with["machine"]
    yield "worker threads", f"{engine.workers()} of {made_with['cores']} cores"
    yield "free memory", f"{engine.free_memory() / 1e9:.1f} GB"
    for dtype in ("float32", "float64"):
        yield f"BLAS {dtype}", f"{_gemm_rate(dtype) / 1e9:.0f} GFLOP/s"
    yield "GPU", "not used by this version"
    yield "NTKSPEC_DATA", os.environ.get("NTKSPEC_DATA", "not set")
    yield "mnist", _found(datasets.mnist)
    yield "cifar10", _found(datasets.cifar10, ("cat", "horse"))


def _gemm_rate(dtype: str) -> float:
    A = np.random.default_rng(0).standard_normal((GEMM_SIZE, GEMM_SIZE)).astype(dtype)
    A @ A
    start = time.perf_counter()
    A @ A
    return 2 * GEMM_SIZE**3 / (time.perf_counter() - start)


def _found(load: Callable, classes=(4, 9)) -> str:
    try:
        data = load(classes, n=10, n_test=10)
    except (OSError, ValueError) as error:
        return f"no: {str(error).split(':')[0]}"
    return f"yes: {data.name.split(' 4 vs')[0].split(' cat vs')[0]}"
