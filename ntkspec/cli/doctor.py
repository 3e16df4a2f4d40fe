"""What an installation has, for bug reports and for finding out why something is slow or missing."""

import os
from collections.abc import Callable, Iterator

import numpy as np

from ntkspec import datasets
from ntkspec.engines import engine_of, named
from ntkspec.storage.provenance import provenance


def findings() -> Iterator[tuple[str, str]]:
    """(what, what was found) pairs; takes about a second to measure the machine's rates."""
    made_with = provenance("ntkspec doctor")
    engine = engine_of()
    yield "python", made_with["python"]
    yield from made_with["versions"].items()
    yield "machine", made_with["machine"]
    yield "worker threads", f"{engine.workers()} of {made_with['cores']} cores"
    yield "free memory", f"{engine.free_memory() / 1e9:.1f} GB"
    for dtype in ("float32", "float64"):
        rates = engine.rates(np.dtype(dtype).char)
        stored = f"{rates.bytes / 1e9:.0f} GB/s stored, {rates.cached / 1e9:.0f} in cache"
        yield f"products, {dtype}", f"{rates.flops / 1e9:.0f} GFLOP/s in tiles, {stored}"
    yield "products of bits", f"{rates.words / 1e9:.0f}e9 words of 64 bits/s"
    yield "bits with numbers", f"{rates.lookups / 1e9:.1f}e9 lines of 64 bytes looked up/s, float64"
    yield "GPU", _gpu()
    yield "NTKSPEC_DATA", os.environ.get("NTKSPEC_DATA", "not set")
    yield "mnist", _found(datasets.mnist)
    yield "cifar10", _found(datasets.cifar10, ("cat", "horse"))


def _gpu() -> str:
    """The GPU and its free memory, or why there is none."""
    try:
        engine = named("gpu")
    except ValueError as error:
        return f"no: {error}"
    device = engine.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"{device}, {engine.free_memory() / 1e9:.1f} GB free"


def _found(load: Callable, classes=(4, 9)) -> str:
    try:
        data = load(classes, n=10, n_test=10)
    except (OSError, ValueError) as error:
        return f"no: {str(error).split(':')[0]}"
    return f"yes: {data.name.split(' 4 vs')[0].split(' cat vs')[0]}"
