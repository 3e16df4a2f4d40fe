"""Dense, streamed or factored: which form of a kernel answers a number of products sooner, and whether it fits."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ntkspec import checks
from ntkspec.objects.notebook import Row, Shown, Table, in_bytes
from ntkspec.objects.words import counted
from ntkspec.operators.adapters import with_entries, wrap
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.forming import form
from ntkspec.operators.triangle import Triangle, stored_product
from ntkspec.operators.work import Work

METHODS = ("dense", "factored", "streamed")
# A stored matrix that was not asked for by name takes at most this part of the free memory.
MEMORY_SHARE = 0.7
# Work that takes longer than this at nominal rates is worth measuring the machine's own (0.2 s, once).
WORTH_MEASURING = 1.0
# All entries of a small kernel are formed for exact results where that takes no more seconds than this.
SOON = 2.0


@dataclass(frozen=True)
class Plan(Shown):
    """How products with a kernel will be computed, and the forecast; ``str(plan)`` says all of it.

    Attributes
    ----------
    method : str
        "dense" (one triangle is formed and stored), "streamed" (it is formed on a GPU and stored in the host's memory,
        from where each product copies it to the GPU), "factored" (products with the factors) or what one function alone
        does: "columns" (a product for each column, where only products are known), "stochastic", "cluster".
    bytes : int
        Of the stored triangle, 0 where factored.
    build : float
        Seconds to form it.
    each : float
        Seconds for one product.
    products : int
        How many are expected.
    reason : str
        Why this method.

    Examples
    --------
    >>> from ntkspec import Plan
    >>> Plan("factored", 0, 0.0, 0.5, 4, "as asked for").seconds
    2.0
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
        time = f"about {self.seconds:.2g} s for {counted(self.products, 'product')} of {self.each:.2g} s"
        return f"{self.method} ({self.reason}){stored}: {time}"

    def _shown(self) -> Table:
        return Table(
            f"Plan: {self.method}",
            [
                Row("because", self.reason),
                Row("stores", in_bytes(self.bytes), f"formed in {self.build:.2g} s" if self.bytes else ""),
                Row(
                    "takes", f"about {self.seconds:.2g} s", f"{counted(self.products, 'product')} of {self.each:.2g} s"
                ),
            ],
        )


def plan(operator: KernelOperator, products: int = 48, *, method: str | None = None, block: int = 2) -> Plan:
    """Choose the form of a symmetric kernel that answers a number of products sooner.

    Parameters
    ----------
    operator : KernelOperator, or whatever :func:`ntkspec.operators.wrap` takes
    products : int, default 48
        How many products with float64 vectors are expected.
    method : "dense", "factored" or "streamed", optional
        Overrides the choice.
    block : int, default 2
        Vectors that are multiplied together.

    Returns
    -------
    Plan
        The method, the bytes that it stores, and a forecast in seconds of this machine.

    Raises
    ------
    ValueError
        With numbers, where the triangle that ``method`` asks for does not fit.

    Notes
    -----
    Dense forms one triangle, n² / 2 entries, and reads it once for every ``block`` of vectors; where it is larger than
    the GPU's memory it can be streamed, at the rate of the link to the host. Factored costs ``cost.product`` for each
    vector, at the rate of float64. Where only products are known, dense takes n of them and the whole matrix. The
    machine's rates are measured where the work is worth it (0.2 s, once).

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> ns.plan(ns.operators.Gram(np.ones((50, 1))), method="factored").bytes
    0
    """
    if method is not None:
        checks.one_of(method, "method", METHODS)
    operator = wrap(operator)
    if operator.spread:
        return _spread(operator, products, method)
    forms = _forms(operator, products, block)
    build, size = forms.build, forms.size
    seconds = clock(operator, build + products * forms.dense, products * forms.factored)
    if operator.stored:
        method = "streamed" if operator.cost.product.copied else "dense"
        return Plan(method, 0, 0.0, seconds(forms.factored), products, "already stored")
    plans = {
        "dense": Plan("dense", size, seconds(build), seconds(forms.dense), products, "as asked for"),
        "factored": Plan("factored", 0, 0.0, seconds(forms.factored), products, "as asked for"),
        "streamed": Plan("streamed", size, seconds(build), seconds(forms.streamed), products, "as asked for"),
    }
    if method is None:
        return _sooner(plans, operator.engine)
    if method != "factored":
        _require(plans[method], operator)
    return plans[method]


def _spread(operator: KernelOperator, products: int, method: str | None) -> Plan:
    if method not in (None, "factored"):
        raise ValueError(f"{method=}, but the points of this kernel lie on workers, which multiply with their factors")
    return Plan("cluster", 0, 0.0, operator.cost.product.nominal_seconds, products, operator.where)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Forms:
    """Bytes of the stored matrix, the work of forming it, and that of a product in each form."""

    size: int
    build: Work
    dense: Work
    streamed: Work
    factored: Work


def _forms(operator: KernelOperator, products: int, block: int) -> _Forms:
    n = operator.shape[0]
    tiles, side, _ = Triangle.layout(n, operator.engine.TILE)
    size, build = tiles * side**2 * operator.dtype.itemsize, tiles * side**2 * operator.cost.entry
    if not operator.entrywise:
        size, build = 8 * n * n, n * operator.cost.product
    # Beside each block of products, Lanczos reads its basis (half of it on average) four times.
    cache = operator.engine.last_cache()
    basis = 2 / block * Work.of_reading(8.0 * products * n, cache)
    here, there = (1 / block * stored_product(size, cache, streamed=streamed) + basis for streamed in (False, True))
    return _Forms(size, build, here, there, operator.product_in_float64 + basis)


def work(operator: KernelOperator, chosen: Plan, *, block: int = 2) -> Work:
    """What a plan does in all, which adds up with that of others before it becomes seconds (:func:`clock`)."""
    forms = _forms(operator, chosen.products, block)
    if not chosen.bytes:
        return chosen.products * forms.factored
    return forms.build + chosen.products * (forms.streamed if chosen.method == "streamed" else forms.dense)


def _sooner(plans: dict[str, Plan], engine) -> Plan:
    """The plan that is done first, among those that fit; and why."""
    dense, factored, streamed = (plans[method] for method in METHODS)
    size, free = dense.bytes, engine.free_memory()
    fits = size <= MEMORY_SHARE * free
    stored = dense if fits else streamed
    if factored.seconds <= stored.seconds:
        return replace(factored, reason=f"faster than the {stored.seconds:.2g} s of a stored matrix")
    too_large = f"one triangle would take {size / 1e9:.3g} of {free / 1e9:.3g} GB that are free"
    if not fits and size > MEMORY_SHARE * engine.spare_memory():
        return replace(factored, reason=too_large)
    return replace(
        stored, reason=f"faster than the {factored.seconds:.2g} s of factored products" if fits else too_large
    )


def whole(operator: KernelOperator, most: int, products: int) -> bool:
    """Whether a computation that would take so many products is done on all entries of a small kernel instead.

    Up to n = ``most``, where forming these takes SOON seconds at most, or no longer than the products; where only
    products are known they cost n, which has to be no more.
    """
    n = operator.shape[0]
    if operator.spread:
        return False
    if n > most or operator.stored:
        return n <= most
    if not operator.entrywise:
        return n <= products
    precision = 2 if operator.dtype == np.float32 else 1
    forming, multiplying = precision * n * n / 2 * operator.cost.entry, products * operator.product_in_float64
    seconds = clock(operator, forming, multiplying)
    return seconds(forming) <= max(SOON, seconds(multiplying))


def columns(operator: KernelOperator) -> Plan | None:
    """The plan of what needs all entries, or the diagonal, where only products are known; None elsewhere."""
    if operator.entrywise or operator.spread:
        return None
    n, each = operator.shape[1], operator.cost.product.nominal_seconds
    return Plan("columns", 0, 0.0, each, n, "one product for each, as only products are known")


def prepare(
    operator: KernelOperator, products: int, *, method: str | None = None, block: int = 2
) -> tuple[KernelOperator, Plan]:
    """The operator itself, or its stored triangle where :func:`plan` finds that better; and the plan."""
    chosen = plan(operator, products, method=method, block=block)
    if chosen.method == "streamed":
        engine, layout = operator.engine, Triangle.layout(operator.shape[0], operator.engine.TILE)
        return form(operator, engine.spare_tiles(layout, operator.dtype)), chosen
    if not chosen.bytes:
        return operator, chosen
    return (form(operator) if operator.entrywise else with_entries(operator)), chosen


def clock(operator: KernelOperator, *works: Work) -> Callable[[Work], float]:
    """Work to seconds: at nominal rates where all choices are small, else at the rates measured on this machine."""
    if min(work.nominal_seconds for work in works) < WORTH_MEASURING:
        return lambda work: work.nominal_seconds
    rates = operator.engine.rates(operator.dtype.char, memory=any(work.bytes for work in works))
    return lambda work: work.seconds(rates)


def _require(chosen: Plan, operator) -> None:
    engine, streamed = operator.engine, chosen.method == "streamed"
    if streamed and not engine.spare_memory():
        raise ValueError(
            "method='streamed' keeps a kernel of a GPU in the host's memory, but this kernel is the host's own; use "
            "method='dense', or save_kernel to keep it on disk"
        )
    free = engine.spare_memory() if streamed else engine.free_memory()
    if chosen.bytes > free:
        raise ValueError(
            f"{chosen.method} kernel of n = {operator.shape[0]:,} in {operator.dtype} needs {chosen.bytes / 1e9:.3g} "
            f"GB as one triangle; {free / 1e9:.3g} GB are free; use method='factored', or save_kernel to keep it on "
            f"disk"
        )
