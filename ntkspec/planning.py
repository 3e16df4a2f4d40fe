"""Dense or factored: which form of a kernel answers a number of products sooner, and whether it fits."""

from dataclasses import dataclass, replace

import numpy as np

from ntkspec import checks
from ntkspec.operators import KernelOperator, Triangle, Work, form

METHODS = ("dense", "factored")
# A stored matrix that was not asked for by name takes at most this part of the free memory.
MEMORY_SHARE = 0.7
# Work that takes longer than this at nominal rates is worth measuring the machine's own (0.2 s, once).
WORTH_MEASURING = 1.0


@dataclass(frozen=True)
class Plan:
    """How products with a kernel will be computed, and the forecast.

    method : "dense" (one triangle is formed and stored) or "factored" (products with the factors).
    bytes : of the stored triangle, 0 where factored. build : seconds to form it. each : seconds for one product.
    products : how many are expected. reason : why this method. ``str(plan)`` says all of it.
    """

    method: str
    bytes: int
    build: float
    each: float
    products: int
    reason: str

    @property
    def seconds(self) -> float:
        """The forecast for everything."""
        return self.build + self.products * self.each

    def __str__(self) -> str:
        stored = f", {self.bytes / 1e9:.3g} GB, formed in {self.build:.2g} s" if self.bytes else ""
        time = f"about {self.seconds:.2g} s for {self.products} products of {self.each:.2g} s"
        return f"{self.method} ({self.reason}){stored}: {time}"


def plan(operator: KernelOperator, products: int = 48, *, method: str | None = None, block: int = 2) -> Plan:
    """Choose the form of a symmetric kernel that answers about ``products`` products with float64 vectors sooner.

    Dense forms one triangle, n² / 2 entries, and reads it once for every ``block`` of vectors; factored costs
    ``product_work`` for each vector, at the rate of float64.
    The seconds are those of this machine: its rates are measured where the work is worth it. ``method`` overrides the
    choice. Raises ValueError with numbers where the triangle that ``method`` asks for does not fit.
    """
    if method is not None:
        checks.one_of(method, "method", METHODS)
    n = operator.shape[0]
    tiles, side, _ = Triangle.layout(n, operator.engine.TILE)
    size = tiles * side**2 * operator.dtype.itemsize
    # Beside each block of products, Lanczos reads its basis (half of it on average) four times.
    basis = Work(bytes=16.0 * products * n / block)
    build = tiles * side**2 * operator.tile_work
    each, by_factors = Work(bytes=float(size) / block) + basis, _in_float64(operator) + basis
    seconds = clock(operator, build + products * each, products * by_factors)
    if operator.stored:
        return Plan("dense", 0, 0.0, seconds(by_factors), products, "already stored")
    factored = Plan("factored", 0, 0.0, seconds(by_factors), products, "as asked for")
    dense = Plan("dense", size, seconds(build), seconds(each), products, "as asked for")
    free = operator.engine.free_memory()
    if method == "dense":
        _require(size, free, operator)
        return dense
    if method == "factored":
        return factored
    if factored.seconds <= dense.seconds:
        return _because(factored, f"sooner than the {dense.seconds:.2g} s of a stored matrix")
    if size > MEMORY_SHARE * free:
        return _because(factored, f"one triangle would take {size / 1e9:.3g} of {free / 1e9:.3g} GB that are free")
    return _because(dense, f"sooner than the {factored.seconds:.2g} s of factored products")


def prepare(
    operator: KernelOperator, products: int, *, method: str | None = None, block: int = 2
) -> tuple[KernelOperator, Plan]:
    """The operator itself, or its stored triangle where :func:`plan` finds that better; and the plan."""
    chosen = plan(operator, products, method=method, block=block)
    return (form(operator) if chosen.bytes else operator), chosen


def _in_float64(operator) -> Work:
    """A product with a float64 vector: twice the flops of one in float32, and twice the bytes of what is copied."""
    work = operator.product_work
    return 2 * work if operator.dtype == np.float32 and not operator.stored else work


def clock(operator, *works):
    """Work to seconds: at nominal rates where all choices are small, else at the rates measured on this machine."""
    if min(work.nominal_seconds for work in works) < WORTH_MEASURING:
        return lambda work: work.nominal_seconds
    rates = operator.engine.rates(operator.dtype.char)
    return lambda work: work.seconds(rates)


def _because(chosen: Plan, reason: str) -> Plan:
    return replace(chosen, reason=reason)


def _require(size: int, free: int, operator) -> None:
    if size > free:
        raise ValueError(
            f"dense kernel of n = {operator.shape[0]:,} in {operator.dtype} needs {size / 1e9:.3g} GB as one triangle; "
            f"{free / 1e9:.3g} GB are free; use method='factored', or save_kernel to keep it on disk"
        )
