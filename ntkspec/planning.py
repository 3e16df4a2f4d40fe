"""Dense or factored: which form of a kernel answers a number of products sooner, and whether it fits."""

from dataclasses import dataclass

from ntkspec.operators import Dense, KernelOperator

# Reading one entry of a stored matrix takes about as long as this many gemm flops (measured on two AVX-512 cores:
# 80 GF/s against 1.3e9 float64 entries/s in a matrix-vector product; the ratio is about the same in float32).
ENTRY_IN_FLOPS = 64.0
# A stored matrix takes at most this part of the free memory.
MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Plan:
    """How the products with a kernel will be computed: ``method`` is "dense" or "factored"."""

    method: str
    bytes: int
    flops: float
    reason: str


def plan(operator: KernelOperator, products: int) -> Plan:
    """Choose the cheaper form of a symmetric kernel for about ``products`` products with single vectors.

    Dense costs n² / 2 tile_flops once and reads n² entries for each product; factored costs product_flops for each.
    """
    n, columns = operator.shape
    entries = n * columns
    build = entries * operator.tile_flops / (2 if operator.symmetric else 1)
    dense = build + products * entries * ENTRY_IN_FLOPS
    factored = products * operator.product_flops
    size, free = entries * operator.dtype.itemsize, operator.engine.free_memory()
    if factored <= dense:
        return Plan("factored", 0, factored, "fewer operations")
    if size > MEMORY_SHARE * free:
        reason = f"the matrix would take {size / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free"
        return Plan("factored", 0, factored, reason)
    return Plan("dense", size, dense, "fewer operations")


def prepare(operator: KernelOperator, products: int) -> KernelOperator:
    """The operator itself, or its stored matrix where :func:`plan` finds that cheaper."""
    if isinstance(operator, Dense) or plan(operator, products).method == "factored":
        return operator
    return Dense(operator.to_dense(), symmetric=operator.symmetric)


def require_memory(needed: float, engine, what: str) -> None:
    """Refuse, with numbers, what cannot fit into the free memory."""
    free = engine.free_memory()
    if needed > free:
        raise ValueError(
            f"{what} needs {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free; take fewer points, a smaller width "
            f"or float32"
        )
