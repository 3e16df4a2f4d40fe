"""Extreme eigenpairs, with residuals, multiplicities, and a bound on all the eigenvalues that are not among them."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ntkspec import checks, progress
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators import KernelOperator, as_symmetric, planning, with_entries
from ntkspec.operators.adapters import MatrixLike
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import FailureBudget, Outcome, Sought, fitting_basis, forecast, prove, prove_found
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.results import Diagnostics, Spectrum, collect, sign
from ntkspec.storage import checkpointed, target

# Up to this size the dense eigenproblem is solved: it takes some 50 ms and finds everything.
DENSE_SIZE = 600
WHICH = ("LM", "LA", "SA", "BE")
# What is left out is bounded to this part of its norm.
RESOLUTION = 1e-3
# The basis holds this many vectors, or six for each pair, before it is restarted.
LEAST_BASIS, PER_PAIR = 512, 6
# Vectors in the block from which pairs are sought: a product of four reads a stored matrix once, and the overlap of so
# many with any two eigenvectors is large enough for one run to find the pairs and to prove that none is missed.
BLOCK = 4
# Restarts after which the pairs that have not converged are given as they are.
MOST_RESTARTS = 50


def eigsh(
    operator: MatrixLike,
    k: int,
    *,
    which: str = "LM",
    rtol: float = 1e-6,
    failure_probability: float = 1e-6,
    seed: int = 0,
    v0: ArrayLike | None = None,
    method: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Spectrum:
    r"""The k extreme eigenpairs of a symmetric kernel, none missed.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric. Anything that :func:`ntkspec.operators.wrap` takes.
    k : int
        How many pairs, from 1 to n.
    which : {"LM", "LA", "SA", "BE"}, default "LM"
        Largest magnitude (descending), largest (descending), smallest (ascending), or both ends (the larger half of k
        from the top, descending, then the rest from the bottom, ascending).
    rtol : float, default 1e-6
        Every residual \|K z - value z\|, which bounds the error of the value, is at most rtol \|value\| or rounding.
    failure_probability : float, default 1e-6
        An eigenvalue beyond those returned may be missed with at most this probability at each end, over the random
        numbers drawn from ``seed``, whatever the kernel is.
    seed : int, default 0
        Seed of the random start vectors. The same seed gives the same result, bit by bit, on one machine.
    v0 : array, shape (n,) or (n, b), or None, default None
        Start of the first run; None draws a Gaussian block.
    method : {"dense", "factored", "streamed"} or None, default None
        How products are computed: with one stored triangle of the matrix ("dense", n² / 2 entries), from the factors
        ("factored", n numbers a product), or with a triangle in the host's memory that a GPU reads ("streamed"). None
        takes the fastest one that fits, by the forecast of :func:`ntkspec.plan`.
    checkpoint : path or None, default None
        A file that keeps the products, 8 n bytes each. The same call continues after an interruption and gives the
        result that it would have given without one, bit by bit. :func:`ntkspec.cluster.kernel` says what it holds of a
        kernel on a cluster.

    Returns
    -------
    Spectrum
        ``values`` (k,), ``vectors`` (n, k), ``residuals`` (k,), ``multiplicities`` (k,), ``others``, between which
        every other eigenvalue lies, ``failure_probability`` of that statement, ``products`` with single vectors,
        ``converged`` (all residuals small, none missed by more than 0.1 % of the norm), ``method`` and ``evidence``.

    Raises
    ------
    ValueError
        Where ``k``, ``which`` or ``v0`` does not fit, the kernel is not symmetric, or a product holds NaN or infinity.

    Notes
    -----
    Block Lanczos from a random block of four vectors finds the pairs, and the same Krylov space proves that nothing
    more extreme is left, except with the failure probability (``ntkspec.spectra.certificates``). Where it cannot, as
    after a thick restart, from ``v0``, or for values with more copies than the block can tell, the pairs are locked,
    and a run from a new random block on what is left proves it. What that finds instead, such as a further copy of a
    multiple eigenvalue, is taken in, and the proof starts again.

    Up to n = 600 the dense eigenproblem is solved, 9 n³ flops; where only products are known, up to n = 20 k + 100,
    which is what Lanczos is expected to take. Cost: products, 4 n k b flops of orthogonalization for k vectors in
    blocks of b, and 8 n (basis + k) bytes for a basis of at most max(512, 6 k) vectors.

    References
    ----------
    J. L. M. van Dorsselaer, M. E. Hochstenbach, H. A. van der Vorst, Computing probabilistic bounds for extreme
    eigenvalues of symmetric matrices with the Lanczos method, SIAM J. Matrix Anal. Appl. 22, 2001.

    K. Wu, H. Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl.
    22, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> spectrum = ns.eigsh(np.diag([1.0, 3.0, 2.0, 3.0]), 3, which="LA")
    >>> spectrum.values.round(6).tolist(), spectrum.multiplicities.tolist()
    ([3.0, 3.0, 2.0], [2, 2, 1])
    >>> low, high = spectrum.others
    >>> low <= 1 <= high < 1.001
    True
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
        return _Search(operator, Wanted(k, which, rtol), FailureBudget(failure_probability, seed), bar).run(v0)


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

    def choose(self, values: ArrayLike) -> np.ndarray:
        """Indices of the wanted ones among the values, the most extreme first; all where there are fewer than k."""
        values, k = np.asarray(values), min(self.k, len(values))
        if self.which == "BE":
            down, low = np.argsort(-values, kind="stable"), k // 2
            return np.concatenate([down[: k - low], down[len(values) - low :][::-1]])
        key = {"LM": -abs(values), "LA": -values, "SA": values}[self.which]
        return np.argsort(key, kind="stable")[:k]

    def ends(self, chosen: np.ndarray) -> tuple[float, float]:
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
    matrix = operator.to_dense(np.float64)
    checks.all_finite(matrix, "the kernel")
    values, vectors = engine.linalg.eigh(matrix)
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
    evidence = _dense_diagnostics(operator, values, vectors, rounding)
    each = operator.rows_per_point
    return Spectrum(found, Z, residuals, counts, others, 0.0, products, True, "dense eigh", evidence, each)


def _dense_diagnostics(operator, values, vectors, rounding: float) -> Diagnostics:
    ends, xp = (float(values[0]), float(values[-1])), operator.engine.xp
    return Diagnostics(
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


def converge(
    lanczos: Lanczos,
    wanted: Wanted,
    choose: Callable[[np.ndarray], np.ndarray],
    bar: progress.Bar,
    *,
    most_restarts: int | None = None,
) -> bool:
    """Extend and restart until the chosen Ritz pairs have small residuals; returns whether they have.

    choose : from Ritz values to indices.
    """
    block = max(1, lanczos.residual_width)
    limit = MOST_RESTARTS if most_restarts is None else most_restarts
    most = max(fitting_basis(lanczos, max(LEAST_BASIS, PER_PAIR * wanted.k)), 2 * wanted.k + 4 * block)
    slacks: dict[int, float] = {}
    while True:
        before = lanczos.products
        lanczos.extend(_steps(lanczos, slacks, most, block))
        bar.update(lanczos.products - before)
        theta, S = lanczos.ritz()
        chosen = choose(theta)
        residuals = lanczos.residuals(S[:, chosen]) + lanczos.error
        allowed = np.maximum(wanted.rtol * abs(theta[chosen]), 4 * lanczos.error)
        converged = lanczos.exhausted or (bool((residuals <= allowed).all()) and len(theta) > len(chosen))
        if converged or lanczos.restarts == limit:
            return converged
        slacks[lanczos.products] = _slack(residuals, allowed)
        if lanczos.size + lanczos.residual_width > most:
            kept = np.sort(replace(wanted, k=len(chosen) + (most - len(chosen)) // 3).choose(theta))
            lanczos.restart(theta[kept], S[:, kept])


def lock(lanczos: Lanczos, choose: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put the chosen Ritz pairs behind the locked ones."""
    theta, S = lanczos.ritz()
    chosen = choose(theta)
    lanczos.lock(theta[chosen], S[:, chosen])


def _slack(residuals, allowed) -> float:
    """The logarithm by which the worst pair falls short."""
    worst = float((residuals / np.maximum(allowed, np.finfo(np.float64).tiny)).max(initial=1.0))
    return -math.log(worst)


def _steps(lanczos: Lanczos, slacks: dict[int, float], most: int, block: int) -> int:
    """Blocks until the next look at the Ritz pairs: a quarter of the basis, or half of what is forecast to be left.

    Residuals fall faster and faster, so that the forecast is late rather than early.
    """
    expected = forecast(slacks) if slacks else None
    left = lanczos.size // 4 if expected is None else min(lanczos.size, expected - lanczos.products) // 2
    return max(1, min(max(left, 2 * block), most - lanczos.size) // block)


class _Search:
    """Runs of Lanczos, each on what the locked vectors leave over, until a proof holds that nothing is missed."""

    def __init__(self, operator: KernelOperator, wanted: Wanted, budget: FailureBudget, bar: progress.Bar):
        self.lanczos, self.wanted, self.budget, self.bar = Lanczos(operator), wanted, budget, bar
        self.converged = True

    def run(self, v0: Array | None) -> Spectrum:
        """Find and prove at once; else prove, and find what the proof stumbled over."""
        lanczos, k = self.lanczos, self.wanted.k
        while lanczos.locked < k:
            given = v0 if not lanczos.locked else None
            if given is None:
                lanczos.begin_random(stream(self.budget.seed, "search", lanczos.products), BLOCK)
            else:
                lanczos.begin(given)
            choose = replace(self.wanted, k=k - lanczos.locked).choose
            spectrum = self._converge(choose, proving=given is None and not lanczos.locked)
            if spectrum is not None:
                return spectrum
        outcome = None
        while lanczos.locked < lanczos.n:
            outcome = prove(lanczos, self._target, self.budget, self.bar)
            if outcome.reason != "stopped":
                break
            self._converge(self._beyond)
        return self._spectrum(outcome, self._evidence(outcome))

    def _converge(self, choose, *, proving: bool = False) -> Spectrum | None:
        """Find and lock the chosen pairs of what is left; all of them at once with the proof, where the run has it."""
        lanczos, outcome = self.lanczos, None
        self.converged &= converge(lanczos, self.wanted, choose, self.bar)
        if proving and not (lanczos.restarts or lanczos.exhausted):
            sought = Sought(choose, self.wanted.ends, RESOLUTION)
            outcome = prove_found(lanczos, sought, self.budget.attempt()[0], self.bar)
        evidence = None if outcome is None else self._evidence(outcome, choose)
        lock(lanczos, choose)
        return None if evidence is None else self._spectrum(outcome, evidence)

    def _evidence(self, outcome: Outcome | None, choose=None) -> Diagnostics:
        bounds = (math.inf, -math.inf) if outcome is None else (outcome.lowest, outcome.highest)
        return collect(self.lanczos, bounds, self.budget.probability, choose)

    def _ends(self, theta):
        """The ends beyond which everything is found, and the tolerance within which a value is no news there."""
        found = self.lanczos.pairs.values
        low, high = self.wanted.ends(found[self.wanted.choose(found)])
        size = max(abs(found).max(), abs(theta).max())
        return low, high, max(self.wanted.rtol * size, 4 * self.lanczos.error)

    def _target(self, theta):
        """What the proof is to exclude; None where a Ritz value shows that something was missed."""
        if len(self._beyond(theta)):
            return None
        low, high, tolerance = self._ends(theta)
        room = max(RESOLUTION * float(abs(theta).max()), tolerance)
        return min(low, theta[0] - room), max(high, theta[-1] + room)

    def _beyond(self, theta):
        low, high, tolerance = self._ends(theta)
        return np.flatnonzero((theta < low - tolerance) | (theta > high + tolerance))

    def _spectrum(self, outcome: Outcome | None, evidence: Diagnostics) -> Spectrum:
        lanczos, pairs = self.lanczos, self.lanczos.pairs
        chosen = self.wanted.choose(pairs.values)
        values, vectors = pairs.values[chosen], lanczos.basis.columns(chosen)
        residuals = pairs.residuals[chosen] + lanczos.operator.storage_error
        rest = np.delete(pairs.values, chosen)
        bounds = (math.inf, -math.inf) if outcome is None else (outcome.lowest, outcome.highest)
        slack = pairs.off_diagonal_norm + evidence.stored
        others = float(min([bounds[0], *rest]) - slack), float(max([bounds[1], *rest]) + slack)
        if lanczos.operator.semidefinite and outcome is not None:
            others = max(others[0], evidence.lowest), others[1]
        low, high = self.wanted.ends(values)
        missed = max(low - others[0], others[1] - high)
        allowed = 1.1 * RESOLUTION * max(abs(values).max(), lanczos.scale) + 4 * lanczos.error
        converged = self.converged and missed <= allowed
        return Spectrum(
            *(values, vectors, residuals, _multiplicities(values, residuals), others, self.budget.probability),
            *(lanczos.products, bool(converged), "Lanczos", evidence, lanczos.operator.rows_per_point),
        )
