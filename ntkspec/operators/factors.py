"""Two factors that meet in a product F Gᵀ."""

from typing import Any

from ntkspec import checks
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array


def paired_factors(F: Any, G: Any, name: str) -> tuple[Array, Array, Engine]:
    """Check two factors that meet in a product ``F Gᵀ``; G = None stands for F itself."""
    F = checks.as_matrix(F, name)
    G = F if G is None or G is F else checks.as_matrix(G, name, columns=F.shape[1])
    if F.dtype != G.dtype:
        raise TypeError(f"{name} came as {F.dtype} and {G.dtype}; convert one of them")
    return F, G, engine_of(F, G)


def summing_depth(blocks: list[slice]) -> float:
    """Roundings on the longest path of a sum over rows that is done block by block; workers' sums come last."""
    return len(blocks) + max(block.stop - block.start for block in blocks) + 64.0
