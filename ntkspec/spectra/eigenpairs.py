"""Extreme eigenpairs, with residuals, multiplicities, and a bound on all the eigenvalues that are not among them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ntkspec import checks, progress
from ntkspec.engines import engine_of
from ntkspec.operators import KernelOperator, as_symmetric, planning, with_entries
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import Chance, Outcome, fitting_basis, prove
from ntkspec.spectra.lanczos import Lanczos, random_start
from ntkspec.spectra.results import WEYL, Evidence, collect, sign
from ntkspec.spectra.showing import few
from ntkspec.storage import checkpointed, target

# Up to this size the dense eigenproblem is solved: it takes some 50 ms and finds everything.
DENSE_SIZE = 600
WHICH = ("LM", "LA", "SA", "BE")
# What is left out is bounded to this part of its norm.
RESOLUTION = 1e-3
# The basis holds this many vectors, or six for each pair, before it is restarted.
LEAST_BASIS, PER_PAIR = 256, 6
# Restarts after which the pairs that have not converged are given as they are.
MOST_RESTARTS = 50


@dataclass(frozen=True, repr=False)
class Spectrum:
    r"""Extreme eigenpairs of a symmetric kernel.

    values : (k,). vectors : (n, k) as columns, orthonormal, float64, on the kernel's device. residuals : (k,), bounds
    on |K z - value z| with the rounding of the kernel inside; an eigenvalue lies within it of each value.
    multiplicities : (k,), how many of the values cannot be told from this one, itself included. others : (low, high),
    between which every other eigenvalue lies, except with ``failure_probability`` for each end; (inf, -inf) where there
    are no others. products : with single vectors. converged : all residuals are small enough, and what ``others``
    leaves open beyond the last value is at most 0.1 % of the norm. evidence : of the run that gave ``others``.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    multiplicities: np.ndarray
    others: tuple[float, float]
    failure_probability: float
    products: int
    converged: bool
    method: str
    evidence: Evidence

    def __iter__(self):
        """``values, vectors = eigsh(...)``, as of SciPy's."""
        return iter((self.values, self.vectors))

    def __repr__(self) -> str:
        n, k = self.vectors.shape
        state = f"{self.method}, {self.products} products{'' if self.converged else ', not converged'}"
        return (
            f"Spectrum of {k} eigenpairs of {n} points, {few(self.values)}\n"
            f"residuals up to {max(self.residuals, default=0.0):.2g}; all other eigenvalues in [{self.others[0]:.5g}, "
            f"{self.others[1]:.5g}]; {state}"
        )


def eigsh(
    operator: KernelOperator,
    k: int,
    *,
    which: str = "LM",
    rtol: float = 1e-6,
    failure_probability: float = 1e-6,
    seed=0,
    v0=None,
    method: str | None = None,
    checkpoint=None,
) -> Spectrum:
    """The k extreme eigenpairs of a symmetric kernel, none missed.

    which : "LM" largest magnitude (descending), "LA" largest (descending), "SA" smallest (ascending), or "BE" both ends
    (the larger half of k from the top, descending, then the rest from the bottom, ascending).
    rtol : every residual |K z - value z|, which bounds the error of the value, is at most rtol |value| or rounding.
    Block Lanczos with thick restart; the pairs are then locked, and a second run from a random block on what is left
    proves that nothing more extreme is left, except with the failure probability. What it finds instead (a further copy
    of a multiple eigenvalue, something that the first start could not see) is taken in, and the proof starts again.
    v0 : start vector (n,) or block (n, b) of the first run; None draws a Gaussian block. Up to n = 600 the dense
    eigenproblem is solved (where only products are known, up to n = 20 k + 100: what Lanczos is expected to take).
    method, checkpoint : as for :func:`ntkspec.spectral_norm`.
    Cost: products, and 8 n (basis + k) bytes for a basis of at most max(256, 6 k) vectors.
    Raises ValueError for k, which and v0 that do not fit, and for a kernel that is not symmetric or gives NaN.
    """
    checks.accuracy(rtol, failure_probability, seed)
    checkpoint = None if checkpoint is None else target(checkpoint)
    operator = as_symmetric(operator)
    n = operator.shape[0]
    if checks.whole_number(k, "k", 1) > n:
        raise ValueError(f"k={k}, but a kernel of {n} points has {n} eigenpairs")
    checks.one_of(which, "which", WHICH)
    if v0 is not None:
        v0 = _checked_start(v0, n)
    products = 20 * k + 100
    if planning.whole(operator, DENSE_SIZE, products):
        return dense_spectrum(operator, k, which)
    operator, plan = planning.prepare(operator, products, method=method)
    bar = progress.bar(text=f"eigenpairs, {plan.method} (products)")
    with operator.engine.one_blas_thread(), bar, checkpointed(operator, checkpoint) as operator:
        return _Search(operator, Wanted(k, which, rtol), Chance(failure_probability, seed), bar).run(v0)


def _checked_start(v0, n: int):
    v0 = checks.as_floats(v0, "v0")
    if v0.ndim not in (1, 2) or len(v0) != n:
        raise ValueError(f"v0 has shape {v0.shape}, but ({n},) or ({n}, b) is needed")
    if not engine_of(v0).xp.isfinite(v0).all() or not v0.any():
        raise ValueError("v0 holds NaN or infinity, or is zero; a start vector is finite and not zero")
    return v0


@dataclass(frozen=True)
class Wanted:
    """Which k values are asked for, and how accurately."""

    k: int
    which: str
    rtol: float

    def choose(self, values):
        """Indices of the wanted ones among the values, the most extreme first; all where there are fewer than k."""
        values, k = np.asarray(values), min(self.k, len(values))
        if self.which == "BE":
            down, low = np.argsort(-values, kind="stable"), k // 2
            return np.concatenate([down[: k - low], down[len(values) - low :][::-1]])
        key = {"LM": -abs(values), "LA": -values, "SA": values}[self.which]
        return np.argsort(key, kind="stable")[:k]

    def ends(self, chosen) -> tuple[float, float]:
        """(low, high): beyond them lies what is wanted, given the k chosen values; infinite where an end is not."""
        if self.which == "LM":
            last = float(abs(chosen).min())
            return -last, last
        if self.which == "BE":
            high, low = chosen[: self.k - self.k // 2], chosen[self.k - self.k // 2 :]
            return float(low.max()) if len(low) else -math.inf, float(high.min())
        return (-math.inf, float(chosen.min())) if self.which == "LA" else (float(chosen.max()), math.inf)


def dense_spectrum(operator: KernelOperator, k: int, which: str) -> Spectrum:
    """The k extreme eigenpairs from all of them. Cost: 9 n³ flops, 2 n² numbers; n products without entries."""
    products = k if operator.entrywise else operator.shape[0]
    operator = with_entries(operator)
    engine, xp = operator.engine, operator.engine.xp
    values, vectors = engine.eigh(operator.to_dense(np.float64))
    values, wanted = engine.to_host(values), Wanted(k, which, 0.0)
    chosen = wanted.choose(values)
    rest = np.delete(values, chosen)
    solving = (4 * len(values) + 32) * 2.0**-53 * float(abs(values).max())
    rounding = solving + operator.rounding.forming_error_bound + operator.storage_error
    found, Z = values[chosen], vectors[:, xp.asarray(chosen)]
    residuals = engine.to_host(xp.linalg.norm(operator @ Z - Z * xp.asarray(found), axis=0))
    residuals = residuals + operator.rounding.matvec_error_bound + operator.storage_error
    others = (float(rest[0]) - rounding, float(rest[-1]) + rounding) if len(rest) else (math.inf, -math.inf)
    counts = _multiplicities(found, np.full(k, rounding))
    evidence = _dense_evidence(operator, values, vectors, rounding)
    return Spectrum(found, Z, residuals, counts, others, 0.0, products, True, "dense eigh", evidence)


def _dense_evidence(operator, values, vectors, rounding: float) -> Evidence:
    ends, xp = (float(values[0]), float(values[-1])), operator.engine.xp
    return Evidence(
        products=0,
        block=0,
        basis=len(values),
        asymmetry=2 * operator.storage_error,
        orthogonality_loss=float(xp.linalg.norm(vectors.T @ vectors - xp.eye(len(values)))),
        rounding=rounding - operator.storage_error,
        stored=operator.storage_error,
        smallest=ends[0],
        largest=ends[1],
        lowest=ends[0] - rounding,
        highest=ends[1] + rounding,
        failure_probability=0.0,
        rounding_share=1.0,
        semidefinite=sign(operator.semidefinite, ends[0], ends[0] - rounding, rounding),
    )


def _multiplicities(values, errors):
    """For each value the size of its cluster: neighbours whose intervals value ± error touch."""
    order = np.argsort(values)
    apart = np.diff(values[order]) > errors[order][1:] + errors[order][:-1]
    cluster = np.concatenate([[0], np.cumsum(apart)])
    counts = np.empty(len(values), dtype=np.int64)
    counts[order] = np.bincount(cluster)[cluster]
    return counts


def converge(lanczos: Lanczos, wanted: Wanted, choose: Callable, bar, *, most_restarts: int | None = None):
    """Extend and restart until the chosen Ritz pairs have small residuals, and lock them.

    choose : from Ritz values to indices. Returns (values, residuals, whether they are small enough).
    """
    restarts, block, limit = 0, max(1, lanczos.frontier), MOST_RESTARTS if most_restarts is None else most_restarts
    most = max(fitting_basis(lanczos, max(LEAST_BASIS, PER_PAIR * wanted.k)), 2 * wanted.k + 4 * block)
    while True:
        before = lanczos.products
        lanczos.extend(max(1, min(lanczos.size, most - lanczos.size) // (8 * block)))
        bar.update(lanczos.products - before)
        theta, S = lanczos.ritz()
        chosen = choose(theta)
        residuals = lanczos.residuals(S[:, chosen]) + lanczos.error
        small = residuals <= np.maximum(wanted.rtol * abs(theta[chosen]), 4 * lanczos.error)
        settled = lanczos.exhausted or (bool(small.all()) and len(theta) > len(chosen))
        if settled or restarts == limit:
            lanczos.lock(S[:, chosen])
            return theta[chosen], residuals, settled
        if lanczos.size + lanczos.frontier > most:
            kept = np.sort(replace(wanted, k=len(chosen) + (most - len(chosen)) // 3).choose(theta))
            lanczos.restart(theta[kept], S[:, kept])
            restarts += 1


class _Search:
    """Runs of Lanczos, each on what the locked vectors leave over, until a proof holds that nothing is missed."""

    def __init__(self, operator, wanted: Wanted, chance, bar):
        self.lanczos, self.wanted, self.chance, self.bar = Lanczos(operator), wanted, chance, bar
        self.values, self.residuals, self.converged = np.zeros(0), np.zeros(0), True
        self.block = 4 if wanted.k >= 4 and operator.stored else 2

    def run(self, v0) -> Spectrum:
        """Find, prove, and find what the proof stumbled over."""
        lanczos, outcome, start = self.lanczos, None, v0
        while len(self.values) < self.wanted.k:
            lanczos.begin(self._start() if start is None else start)
            self._converge(replace(self.wanted, k=self.wanted.k - len(self.values)).choose)
            start = None
        while lanczos.locked < lanczos.basis.shape[1]:
            outcome = prove(lanczos, self._aim, self.chance, self.bar)
            if outcome.reason != "stopped":
                break
            self._converge(self._beyond)
        return self._spectrum(outcome)

    def _start(self):
        start = stream(self.chance.seed, "search", self.lanczos.products)
        return random_start(self.lanczos.operator, start, self.block)

    def _converge(self, choose) -> None:
        """Find and lock the chosen pairs of what is left."""
        values, residuals, settled = converge(self.lanczos, self.wanted, choose, self.bar)
        self.converged &= settled
        # What was locked before couples to these vectors as far as it has not converged.
        self.residuals = np.append(self.residuals, residuals + np.linalg.norm(self.residuals))
        self.values = np.append(self.values, values)

    def _ends(self, theta):
        """The ends beyond which everything is found, and the tolerance within which a value is no news there."""
        low, high = self.wanted.ends(self.values[self.wanted.choose(self.values)])
        size = max(abs(self.values).max(), abs(theta).max())
        return low, high, max(self.wanted.rtol * size, 4 * self.lanczos.error)

    def _aim(self, theta):
        """What the proof is to exclude; None where a Ritz value shows that something was missed."""
        if len(self._beyond(theta)):
            return None
        low, high, tolerance = self._ends(theta)
        room = max(RESOLUTION * float(abs(theta).max()), tolerance)
        return min(low, theta[0] - room), max(high, theta[-1] + room)

    def _beyond(self, theta):
        low, high, tolerance = self._ends(theta)
        return np.flatnonzero((theta < low - tolerance) | (theta > high + tolerance))

    def _spectrum(self, outcome: Outcome | None) -> Spectrum:
        lanczos, chosen = self.lanczos, self.wanted.choose(self.values)
        values, vectors = self.values[chosen], lanczos.basis[lanczos.engine.xp.asarray(chosen)].T
        residuals = self.residuals[chosen] + lanczos.operator.storage_error
        found, coupling = (self.values, self.residuals), WEYL * float(np.linalg.norm(self.residuals))
        rest = np.delete(self.values, chosen)
        bounds = (math.inf, -math.inf) if outcome is None else (outcome.lowest, outcome.highest)
        evidence = collect(lanczos, bounds, self.chance.probability, found)
        slack = coupling + evidence.stored
        others = float(min([bounds[0], *rest]) - slack), float(max([bounds[1], *rest]) + slack)
        if lanczos.operator.semidefinite and outcome is not None:
            others = max(others[0], evidence.lowest), others[1]
        low, high = self.wanted.ends(values)
        missed = max(low - others[0], others[1] - high)
        allowed = 1.1 * RESOLUTION * max(abs(values).max(), lanczos.scale) + 4 * lanczos.error
        converged = self.converged and missed <= allowed
        return Spectrum(
            *(values, vectors, residuals, _multiplicities(values, residuals), others, self.chance.probability),
            *(lanczos.products, bool(converged), "Lanczos", evidence),
        )
