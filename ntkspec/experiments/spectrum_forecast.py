"""What a spectrum will take, in seconds and bytes, before the kernel is formed."""

import time
from dataclasses import dataclass

from ntkspec.engines import named
from ntkspec.experiments.forecast import Forecast, Step, passes_of
from ntkspec.operators import KernelOperator, planning
from ntkspec.operators.base import points_of
from ntkspec.operators.planning import Plan
from ntkspec.operators.work import Work
from ntkspec.spectra import densities, eigenpairs
from ntkspec.spectra.norms import EXPECTED_PRODUCTS

# Passes forward of a product through a framework, products of a Frobenius norm from probes, and flops of all
# eigenpairs, in n cubed.
PASSES, PROBED, ALL_PAIRS = 5.0, 100, 9.0
# Points on which products through a framework are timed.
FEW = 64
# Vectors of a basis before it is restarted, and start vectors of the density that are multiplied together.
BASIS, TOGETHER = 256, 4


@dataclass(frozen=True)
class Sizes:
    """How much of a spectrum is asked for: leading pairs, and probes of so many steps for the density."""

    pairs: int
    probes: int
    steps: int

    @property
    def products(self) -> int:
        """About how many products it takes."""
        return self.probes * self.steps + 30 * self.pairs + 100

    @property
    def of_pairs(self) -> int:
        """The products of the leading pairs."""
        return 20 * self.pairs + 100


def spectrum_forecast(
    operator: KernelOperator,
    other: KernelOperator | None,
    sizes: Sizes,
    *,
    method: str | None = None,
    few: KernelOperator | None = None,
    again: bool = False,
) -> Forecast:
    """The forecast for a kernel, and for the pairs of the ``other`` one that it is compared with, if any.

    few : the kernel of at most FEW of the points, where a framework makes it: its passes are timed there. again : the
    difference from a linear kernel that is not known yet is formed beside it.
    """
    if operator.spread:
        return _of_spread(operator, other, sizes)
    n, engine = operator.shape[0], operator.engine
    plan, step, timed = planning.plan(operator, sizes.products, method=method), Step(0.0), None
    if few is not None:
        step, each = _timed(few, operator)
        timed = each if plan.method == "factored" else None
    own = passes_of(operator, points_of(operator), checks=True)
    of_other = None if other is None else planning.plan(other, sizes.of_pairs)
    of_norm, of_pairs = (_of_products(operator, plan, count, timed) for count in (EXPECTED_PRODUCTS, sizes.of_pairs))
    of_density = _of_products(operator, plan, sizes.probes * sizes.steps, timed, together=TOGETHER * sizes.steps)
    of_probes = _of_products(operator, plan, PROBED, timed)
    seconds = {
        "kernel": (2 if again else 1) * plan.build + step.of(own, points_of(operator)),
        "spectral norm": of_norm,
        "Frobenius norm": 0.0 if plan.bytes else 2 * min(_of_entries(operator), of_probes),  # of the alignment, too
        "eigenpairs": _or_all(operator, plan, of_pairs, sizes.of_pairs, eigenpairs.DENSE_SIZE),
        "density": _or_all(operator, plan, of_density, sizes.probes * sizes.steps, densities.DENSE_SIZE),
    }
    kept = (2 if again else 1) * plan.bytes + own.kept + own.passing + 8.0 * n * min(n, max(256, 6 * sizes.pairs))
    if other is not None and of_other is not None:
        pairs = _or_all(other, of_other, sizes.of_pairs * of_other.each, sizes.of_pairs, eigenpairs.DENSE_SIZE)
        seconds["eigenpairs of the other kernel"] = of_other.build + pairs
        kept += of_other.bytes
    if n <= densities.DENSE_SIZE:
        kept += 24.0 * n * n
    return Forecast(seconds, max(engine.used_memory() + kept, engine.most_memory()), plan)


def _of_spread(operator: KernelOperator, other: KernelOperator | None, sizes: Sizes) -> Forecast:
    """Products on workers; in this machine's memory one part of the eigenvectors, as it is written, twice."""
    plan = planning.plan(operator, sizes.products)
    seconds = {
        "spectral norm": EXPECTED_PRODUCTS * plan.each,
        "Frobenius norm": 2 * min(_of_entries(operator), PROBED * plan.each),
        "eigenpairs": sizes.of_pairs * plan.each,
        "density": sizes.probes * sizes.steps * plan.each,
    }
    if other is not None:
        seconds["eigenpairs of the other kernel"] = planning.plan(other, sizes.of_pairs).seconds
    here, rows = named("cpu"), max(operator.rows_of_parts)  # type: ignore[attr-defined]
    return Forecast(seconds, max(here.used_memory() + 16.0 * rows * sizes.pairs, here.most_memory()), plan)


def _of_products(
    operator: KernelOperator, plan: Plan, products: int, timed: float | None, *, together: int = BASIS
) -> float:
    """Seconds of products as they are planned beside a basis of so many vectors, or as one of them was timed."""
    if timed is not None:
        return products * timed
    basis = min(products, together)
    own = planning.plan(operator, basis, method=plan.method, block=2 if together == BASIS else TOGETHER)
    return products * own.each


def _of_entries(operator: KernelOperator) -> float:
    work = 0.5 * operator.shape[0] ** 2 * operator.cost.entry
    return planning.clock(operator, work)(work)


def _or_all(operator: KernelOperator, plan: Plan, seconds: float, products: int, most: int) -> float:
    """Those of products, or of all eigenpairs where up to ``most`` points are done at once."""
    n = operator.shape[0]
    if n > most or not (plan.bytes or planning.whole(operator, most, products)):
        return seconds
    work = Work(flops=ALL_PAIRS * n**3) + (0.0 if plan.bytes else 0.5 * n * n) * operator.cost.entry
    return planning.clock(operator, work)(work)


def _timed(few: KernelOperator, operator: KernelOperator) -> tuple[Step, float]:
    """A step of training, as forecasts count passes of a framework, and a product with all points, from two products
    with few points. The first one makes what is kept of passes, or compiles what has to be compiled."""
    own, n, times = passes_of(few, points_of(few), checks=False), points_of(operator), []
    ones = few.engine.xp.ones(few.shape[1], few.dtype)
    few.cost  # noqa: B018 (what is found out once about a network)
    for _ in range(2):
        start = time.perf_counter()
        few._multiplied(ones[:, None])
        times.append(time.perf_counter() - start)
    beside, each = max(0.0, times[0] - times[1]), times[1] * n / points_of(few)
    if own.kept and not own.programs:
        return Step(3 * n * beside / own.forward), each
    functions = 1 if getattr(few, "stacked", True) else getattr(few, "functions", 1)
    return Step(3 * each / (PASSES * functions), beside / 2), each
