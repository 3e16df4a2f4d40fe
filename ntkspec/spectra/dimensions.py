r"""How many directions a positive semidefinite kernel has: its condition number and three notions of dimension.

With eigenvalues lambda_i, T = tr K and p_i = lambda_i / T: the effective rank T / \|K\| counts against the largest, the
participation ratio T² / \|K\|_F² = 1 / sum p_i² and the exponential of the spectral entropy - sum p_i log p_i (the
effective rank of Roy and Vetterli, EUSIPCO 2007) count all. Each of the three is n for the identity and 1 for rank one.
"""

import math
from dataclasses import replace

import numpy as np

from ntkspec import checks, progress
from ntkspec.operators import KernelOperator, Work, as_symmetric, planning, with_entries
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.planning import Plan
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import FailureBudget, prove
from ntkspec.spectra.densities import DENSE_SIZE
from ntkspec.spectra.eigenpairs import dense_spectrum, eigsh
from ntkspec.spectra.gauss_rules import jacobi_matrices, radau_rule, rule
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.norms import frobenius_norm, spectral_norm
from ntkspec.spectra.results import Diagnostics, Estimate, Spectrum, collect
from ntkspec.spectra.traces import quadratic_interval, stochastic_is_sooner, trace

# What the forecast of a condition number assumes.
EXPECTED_PRODUCTS = 400
# Nats below which an entropy is zero.
NEGLIGIBLE = 1e-9
# Where only products are known: the trace is taken from probes for a relative width of this or more.
PROBED = 0.01
# Pairs that the entropy takes out, steps of Lanczos with each probe of the rest, and probes of the first attempt and at
# most.
PAIRS, STEPS, FIRST_PROBES, MOST_PROBES = 64, 30, 4, 128


def effective_rank(
    operator: MatrixLike, *, rtol: float = 1e-3, failure_probability: float = 1e-6, seed: int = 0
) -> Estimate:
    r"""The effective rank tr K / \|K\| of a positive semidefinite kernel, from 1 to n; 0 of the zero kernel.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric and positive semidefinite. Anything that :func:`ntkspec.operators.wrap` takes.
    rtol : float, default 1e-3
        Largest width of the interval of the spectral norm, relative to its upper end.
    failure_probability : float, default 1e-6
        The interval may miss the true value with at most this probability, over the random numbers drawn from ``seed``,
        whatever the kernel is.
    seed : int, default 0
        Seed of the random start vectors. The same seed gives the same result, bit by bit, on one machine.

    Returns
    -------
    Estimate
        ``value`` is the effective rank, without a unit. ``lower`` and ``upper`` are the ends of the interval,
        ``failure_probability`` the probability that it misses the true value, ``products`` the number of products
        with single vectors, ``converged`` whether the interval is as narrow as asked for, ``plan`` how products
        were computed, ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or has a negative eigenvalue that rounding does not explain.

    Notes
    -----
    The interval is that of the spectral norm and of the trace. Cost: that of :func:`ntkspec.spectral_norm` and
    :func:`ntkspec.trace`; where only products are known, the n products of the trace form a small matrix (n up to
    1500), with which all else is computed. For rtol >= 0.01 the trace is then taken from random probes, to that
    accuracy, where these are sooner.

    References
    ----------
    P. L. Bartlett, P. M. Long, G. Lugosi, A. Tsigler, Benign overfitting in linear regression, PNAS 117, 2020: r_0.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> round(float(ns.effective_rank(np.eye(5))), 6)
    5.0
    """
    checks.accuracy(rtol, failure_probability, seed)
    operator, plan = _with_diagonal(as_symmetric(operator), rtol)
    total = _trace(operator, rtol, failure_probability / 2, seed)
    left = failure_probability - total.failure_probability
    norm = spectral_norm(operator, rtol=rtol, failure_probability=left, seed=seed)
    return _counted(effective_rank_of(total, norm), plan)


def _with_diagonal(operator: KernelOperator, rtol: float) -> tuple[KernelOperator, Plan | None]:
    """The operator and None; a small one of which only products are known is formed by the n that its trace takes,
    where probes do not give that as accurately as is asked for."""
    plan = planning.columns(operator)
    if plan is None or operator.shape[0] > DENSE_SIZE or _probed(operator, rtol):
        return operator, None
    return with_entries(operator), plan


def _trace(operator: KernelOperator, rtol: float, failure_probability: float, seed: int) -> Estimate:
    """The exact trace, or where only products are known one that is as accurate as is asked for."""
    allowed = rtol if _probed(operator, rtol) else 0.0
    return trace(operator, rtol=allowed, failure_probability=failure_probability, seed=seed)


def _probed(operator: KernelOperator, rtol: float) -> bool:
    return not operator.entrywise and rtol >= PROBED and stochastic_is_sooner(operator, Work())[0]


def _counted(estimate: Estimate, plan: Plan | None) -> Estimate:
    """With the products that formed the matrix, which all others were made with."""
    return estimate if plan is None else replace(estimate, products=plan.products, plan=plan)


def effective_rank_of(total: Estimate, norm: Estimate) -> Estimate:
    """The effective rank from a trace and a spectral norm that are known."""
    _require_semidefinite(norm.evidence, "the effective rank")
    return _ratio(total, norm, 1)


def participation_ratio(
    operator: MatrixLike, *, rtol: float = 0.0, failure_probability: float = 1e-6, seed: int = 0
) -> Estimate:
    r"""The participation ratio (tr K)² / \|K\|_F² of a positive semidefinite kernel, from 1 to n; 0 of the zero kernel.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric and positive semidefinite. Anything that :func:`ntkspec.operators.wrap` takes.
    rtol : float, default 0.0
        0 asks for the exact Frobenius norm; a positive number allows an interval of that relative width from random
        probes, and where only products are known, from 0.01 on, one of the trace.
    failure_probability : float, default 1e-6
        An interval from probes may miss the true value with at most this probability, over the random numbers drawn
        from ``seed``, whatever the kernel is. It also holds for the check that the kernel is semidefinite.
    seed : int, default 0
        Seed of the random start vectors and probes. The same seed gives the same result, bit by bit, on one machine.

    Returns
    -------
    Estimate
        ``value`` is the participation ratio, without a unit. ``lower`` and ``upper`` are the ends of the interval,
        ``failure_probability`` the probability that it misses the true value, ``products`` the number of products
        with single vectors, ``converged`` whether the interval is as narrow as asked for, ``plan`` how products
        were computed, ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or has a negative eigenvalue that rounding does not explain.

    Notes
    -----
    With eigenvalues lambda_i and p_i = lambda_i / tr K it is 1 / sum p_i². Where K is not semidefinite by construction,
    its spectral norm is measured too, to a tenth, to see whether it is. Cost: that of :func:`ntkspec.frobenius_norm`
    and :func:`ntkspec.trace`, and where needed of that check.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> round(float(ns.participation_ratio(np.eye(5))), 6)
    5.0
    """
    checks.accuracy(rtol, failure_probability, seed, exact=True)
    operator, plan = _with_diagonal(as_symmetric(operator), rtol)
    if not operator.semidefinite:
        rough = spectral_norm(operator, rtol=0.1, failure_probability=failure_probability, seed=seed)
        _require_semidefinite(rough.evidence, "a participation ratio")
    total = _trace(operator, rtol, failure_probability / 2, seed)
    left = failure_probability - total.failure_probability
    norm = frobenius_norm(operator, rtol=rtol, failure_probability=left, seed=seed)
    return _counted(participation_ratio_of(total, norm), plan)


def participation_ratio_of(total: Estimate, norm: Estimate) -> Estimate:
    """The participation ratio from a trace and a Frobenius norm that are known."""
    if total.value < 0:
        raise ValueError(f"a participation ratio needs a positive semidefinite kernel; its trace is {total.value:.4g}")
    return _ratio(total, norm, 2)


def _ratio(total: Estimate, size: Estimate, power: int) -> Estimate:
    """(total / size)^power; 0 for the zero kernel."""
    value = lower = upper = 0.0
    if total.value > 0:
        parts = (total.value, size.value), (max(0.0, total.lower), size.upper), (total.upper, size.lower)
        value, lower, upper = ((one / other) ** power if other > 0 else math.inf for one, other in parts)
    failure, products = total.failure_probability + size.failure_probability, total.products + size.products
    closed = total.converged and size.converged
    return Estimate(value, lower, upper, failure, products, closed, size.plan, size.evidence)


def condition_number(
    operator: MatrixLike,
    *,
    rtol: float = 0.1,
    failure_probability: float = 1e-6,
    seed: int = 0,
    method: str | None = None,
) -> Estimate:
    """The condition number lambda_max / lambda_min of a positive semidefinite kernel, as an interval.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric and positive semidefinite. Anything that :func:`ntkspec.operators.wrap` takes.
    rtol : float, default 0.1
        Largest width of the interval, relative to its upper end.
    failure_probability : float, default 1e-6
        The interval may miss the true value with at most this probability, over the random numbers drawn from ``seed``,
        whatever the kernel is.
    seed : int, default 0
        Seed of the random start vectors. The same seed gives the same result, bit by bit, on one machine.
    method : {"dense", "factored", "streamed"} or None, default None
        How products are computed: with one stored triangle of the matrix ("dense", n² / 2 entries), from the factors
        ("factored", n numbers a product), or with a triangle in the host's memory that a GPU reads ("streamed"). None
        takes the fastest one that fits, by the forecast of :func:`ntkspec.plan`.

    Returns
    -------
    Estimate
        ``value`` is the ratio of the extreme Ritz values, inf where the smallest is zero to rounding. ``lower`` and
        ``upper`` are the ends of the interval, ``failure_probability`` the probability that it misses the true
        value, ``products`` the number of products with single vectors, ``converged`` whether the interval is as
        narrow as asked for, ``plan`` how products were computed, ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or has a negative eigenvalue that rounding does not explain.

    Notes
    -----
    Both ends of the spectrum are bounded in one run of block Lanczos, each with half of the failure probability. Where
    the bound on the smallest eigenvalue does not leave zero within 512 vectors, ``upper`` is infinite and ``converged``
    is False: products cannot say more. Up to n = 1500 all eigenvalues are computed, 9 n³ flops. Cost beyond: at most
    512 products and as many vectors of 8 n bytes.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> round(float(ns.condition_number(np.diag([1.0, 2.0, 10.0]))), 6)
    10.0
    """
    checks.accuracy(rtol, failure_probability, seed)
    operator = as_symmetric(operator)
    if planning.whole(operator, DENSE_SIZE, EXPECTED_PRODUCTS):
        spectrum = dense_spectrum(operator, operator.shape[0], "LA")
        ends, evidence, plan, products = spectrum.values[[-1, 0]], spectrum.evidence, None, spectrum.products
    else:
        operator, plan = planning.prepare(operator, EXPECTED_PRODUCTS, method=method)
        with operator.engine.one_blas_thread(), progress.bar(text="condition number (products)") as bar:
            # Both ends enter, and each may fail.
            lanczos, budget = Lanczos(operator), FailureBudget(failure_probability / 2, seed)
            outcome = prove(lanczos, lambda theta: _relative_ends(theta, rtol), budget, bar)
            bounds = (outcome.lowest, outcome.highest) if outcome.reason != "stopped" else (-math.inf, math.inf)
            ends, products = np.linalg.eigvalsh(lanczos.T)[[0, -1]], lanczos.products
            evidence = collect(lanczos, bounds, failure_probability)
    _require_semidefinite(evidence, "the condition number")
    slack = evidence.rounding + evidence.stored
    smallest, largest = max(evidence.lowest, 0.0), evidence.highest
    ends = [float(end) for end in ends]
    value = ends[1] / ends[0] if ends[0] > slack else math.inf
    lower = max(1.0, (ends[1] - slack) / (ends[0] + slack)) if ends[0] + slack > 0 else 1.0
    upper = largest / smallest if smallest > 0 else math.inf
    closed = upper < math.inf and upper - lower <= 1.01 * rtol * upper
    return Estimate(value, lower, upper, evidence.failure_probability, products, bool(closed), plan, evidence)


def _relative_ends(theta, rtol: float):
    """Half of the interval for either end; None where the smallest Ritz value is not positive."""
    if theta[0] <= 0:
        return None
    return theta[0] * (1 - rtol / 2), theta[-1] * (1 + rtol / 2)


def _require_semidefinite(evidence: Diagnostics | None, what: str) -> None:
    if evidence is not None and evidence.semidefinite == "no":
        raise ValueError(
            f"{what} needs a positive semidefinite kernel, but this one has an eigenvalue of {evidence.smallest:.4g} "
            f"or below, and rounding explains {-(evidence.rounding + evidence.stored):.1e} only"
        )


def spectral_entropy(
    operator: MatrixLike,
    *,
    rtol: float = 0.1,
    failure_probability: float = 1e-6,
    seed: int = 0,
    method: str | None = None,
) -> Estimate:
    """The spectral entropy - sum p_i log p_i with p_i = lambda_i / tr K, in nats, of a positive semidefinite kernel.

    It is 0 for a kernel of rank one and log n for the identity; its exponential is a notion of effective rank.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric and positive semidefinite. Anything that :func:`ntkspec.operators.wrap` takes.
    rtol : float, default 0.1
        Largest width of the interval, relative to its upper end.
    failure_probability : float, default 1e-6
        The interval may miss the true value with at most this probability, over the random numbers drawn from ``seed``,
        whatever the kernel is.
    seed : int, default 0
        Seed of the random start vectors and probes. The same seed gives the same result, bit by bit, on one machine.
    method : {"dense", "factored", "streamed"} or None, default None
        How products are computed: with one stored triangle of the matrix ("dense", n² / 2 entries), from the factors
        ("factored", n numbers a product), or with a triangle in the host's memory that a GPU reads ("streamed"). None
        takes the fastest one that fits, by the forecast of :func:`ntkspec.plan`.

    Returns
    -------
    Estimate
        ``value`` is the entropy in nats, from 0 to log n. ``lower`` and ``upper`` are the ends of the interval,
        ``failure_probability`` the probability that it misses the true value, ``products`` the number of products
        with single vectors, ``converged`` whether the interval is as narrow as asked for, ``plan`` how products
        were computed, ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or has a negative eigenvalue that rounding does not explain.

    Notes
    -----
    Up to n = 1500 from all eigenvalues, 9 n³ flops. Beyond, the leading 64 eigenpairs count exactly, and of the rest, M
    = f(P K P) with f(x) = - (x/T) log (x/T) and T = tr K, Gaussian probes g give gᵀ M g between the rules of Gauss and
    Gauss-Radau (node at 0), whose errors have opposite signs, as the derivatives of f do. The trace of M is then in the
    interval of ``ntkspec.spectra.traces.quadratic_interval``. Probes double, up to 128, until the interval is
    narrow enough. Cost: the pairs, and 30 products with each probe.

    References
    ----------
    O. Roy, M. Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007.

    G. H. Golub, G. Meurant, Matrices, Moments and Quadrature with Applications, Princeton University Press, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> entropy = ns.spectral_entropy(np.eye(5))
    >>> round(float(np.exp(float(entropy))), 6)
    5.0
    """
    checks.accuracy(rtol, failure_probability, seed)
    operator, columns = _with_diagonal(as_symmetric(operator), 0.0)
    n = operator.shape[0]
    # A relative error of the trace changes the entropy S by S + 1 times as much.
    total = _trace(operator, rtol / 8, failure_probability / 4, seed)
    if n <= DENSE_SIZE and not operator.spread:
        spectrum = dense_spectrum(operator, n, "LA")
        _require_semidefinite(spectrum.evidence, "the spectral entropy")
        value = float(_entropy(spectrum.values, total.value).sum())
        ends = _widened((value, value), n, total, spectrum.evidence.rounding + spectrum.evidence.stored)
        return _counted(Estimate(value, *ends, 0.0, spectrum.products, True, None, spectrum.evidence), columns)
    operator, plan = planning.prepare(operator, 600, method=method)
    left = failure_probability / 2 - total.failure_probability
    pairs = eigsh(operator, min(PAIRS, n), which="LA", failure_probability=left, seed=seed)
    _require_semidefinite(pairs.evidence, "the spectral entropy")
    known = float(_entropy(pairs.values, total.value).sum())
    budget, rest = FailureBudget(failure_probability / 2, seed), _EntropyProbes(operator, pairs, total.value)
    moved = rest.lanczos.pairs.off_diagonal_norm + operator.storage_error
    with operator.engine.one_blas_thread(), progress.bar(text="spectral entropy (products)") as bar:
        while True:
            probability, number = budget.attempt()
            rest.probe(max(FIRST_PROBES, rest.count), seed, attempt=number, bar=bar)
            ends = tuple(known + end for end in rest.interval(probability))
            low, high = _widened(ends, n, total, moved + 2 * rest.negative)
            closed = high - low <= rtol * high + NEGLIGIBLE
            if closed or rest.count >= MOST_PROBES:
                break
    products = total.products + pairs.products + rest.lanczos.products
    value = float(np.clip(known + (rest.below + rest.above) / (2 * rest.count), low, high))
    return Estimate(value, low, high, failure_probability, products, closed, plan, pairs.evidence)


def _widened(ends, n: int, total: Estimate, moved: float) -> tuple[float, float]:
    """An interval of the entropy, wider by what eigenvalues that moved by (moved) in Frobenius norm make of it.

    f(x) = -x log x changes by at most f(|dx|) where |dx| <= 1/2, and sum f(|dx_i|) is largest where all are equal
    (Fannes, Comm. Math. Phys. 31, 1973). A relative error e of the trace changes it by (value + 1) e.
    """
    if not total.value > 0:
        return 0.0, 0.0
    each = min(moved / (math.sqrt(n) * total.value), 1 / math.e)
    of_trace = (total.upper - total.lower) / (2 * total.value) * (ends[1] + 1)
    slack = (-n * each * math.log(each) if each > 0 else 0.0) + of_trace
    return max(0.0, ends[0] - slack), min(math.log(n), ends[1] + slack)


def _entropy(values, total: float):
    """-(x/T) log(x/T), and 0 for what is not positive: rounding of a semidefinite kernel."""
    p = np.maximum(values, 0.0) / total if total > 0 else np.zeros(len(values))
    return -p * np.log(p, out=np.zeros(len(p)), where=p > 0)


class _EntropyProbes:
    """Probes of f(P K P): sums of the Gauss rules (above) and of the Radau rules (below) over ``count`` of them.

    Rounding makes eigenvalues as small as -``negative``: the Radau rule has its node there, and f starts there.
    """

    def __init__(self, operator: KernelOperator, pairs: Spectrum, total: float):
        self.lanczos, self.total = Lanczos(operator), total
        self.lanczos.lock_pairs(pairs.values, pairs.vectors, pairs.residuals)
        self.bound = max(pairs.others[1], 0.0)
        self.count, self.above, self.below, self.negative = 0, 0.0, 0.0, 0.0

    def probe(self, count: int, seed: int, *, attempt: int, bar: progress.Bar) -> None:
        """That many further probes, in blocks of four."""
        for first in range(0, count, FIRST_PROBES):
            before = self.lanczos.products
            self.lanczos.begin_random(stream(seed, "entropy", attempt, first), FIRST_PROBES)
            self.lanczos.extend(STEPS)
            self.negative = max(self.negative, self.lanczos.error + self.lanczos.operator.storage_error)
            bar.update(self.lanczos.products - before)
            for alpha, beta, k, size in jacobi_matrices(self.lanczos, STEPS):
                nodes, weights = rule(alpha[:k], beta[: k - 1])
                self.above += size * float(weights @ _entropy(nodes + self.negative, self.total))
                nodes, weights = radau_rule(alpha[:k], beta[:k], -self.negative)
                self.below += size * float(weights @ _entropy(nodes + self.negative, self.total))
                self.count += 1

    def interval(self, failure_probability: float) -> tuple[float, float]:
        """(low, high) around tr f(P K P)."""
        means = self.below / self.count, self.above / self.count
        # f grows up to p = 1/e.
        largest = float(_entropy(np.array([min(self.bound + self.negative, self.total / math.e)]), self.total)[0])
        ends = [quadratic_interval(mean, self.count, largest, failure_probability) for mean in means]
        return ends[0][0], ends[1][1]
