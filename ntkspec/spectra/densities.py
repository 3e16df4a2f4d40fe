r"""Spectral densities by stochastic Lanczos quadrature, with error bars that hold.

For a Gaussian probe g, Lanczos from g gives the Jacobi matrix of the measure :math:`\sum_i \langle g, z_i \rangle^2
\delta_{\lambda_i}`. Two errors are kept apart. Truncation: of the share of that measure below x, the k-step rule with a
node at x gives a lower and an upper bound (Chebyshev, Markov, Stieltjes), which no spectrum can leave. Chance: the
share of r pooled probes follows the Beta(r m / 2, r (n - m) / 2) law where m of n eigenvalues lie there, whatever they
are; its quantiles make an interval of the bounds.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import betainc

from ntkspec import checks, progress
from ntkspec.engines.arrays import ArrayLike
from ntkspec.objects.lazy import cached_property
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.objects.words import counted
from ntkspec.operators import KernelOperator, as_symmetric, planning
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.planning import Plan
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import MEMORY_SHARE, spectrum_bounds
from ntkspec.spectra.eigenpairs import dense_spectrum
from ntkspec.spectra.gauss_rules import jacobi_matrices, rule, share_below
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.results import Diagnostics, collect
from ntkspec.spectra.showing import few
from ntkspec.storage import checkpointed, target

# Up to this size all eigenvalues are computed.
DENSE_SIZE = 1500
# Steps after which the bounds on the spectrum are taken: more of them narrow these, and cost time that grows as a cube.
BOUND_STEPS = 40
# Shares below this are rounding.
ROUNDING = 1e-10
# The truncation error of a smoothed density at its default width, relative to the peak of the smoothing kernel.
TRUNCATION = 0.01


@dataclass(frozen=True, repr=False)
class Histogram(Shown, Columned, Drawn):
    """Shares of the eigenvalues in bins, with intervals.

    Attributes
    ----------
    edges : ndarray, shape (bins + 1,), float64
        Bin i is (edges[i], edges[i + 1]].
    mass : ndarray, shape (bins,), float64
        Estimated share of the n eigenvalues in each bin: the estimate that is nearest in the interval, as what is seen
        at all is at least one eigenvalue.
    lower, upper : ndarray, shape (bins,), float64
        lower <= true share <= upper, for each bin except with ``failure_probability``.
    failure_probability : float
        The probability, over the random probes and whatever the kernel is, with which the interval of one bin fails.
    """

    edges: np.ndarray
    mass: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    failure_probability: float

    def __repr__(self) -> str:
        return (
            f"Histogram of {len(self.mass)} bins, edges {few(self.edges)}\nshares {few(self.mass)}, each within "
            f"lower and upper except with probability {self.failure_probability:.0e}"
        )

    def _shown(self) -> Table:
        return Table(
            f"Histogram of {len(self.mass)} bins",
            [
                Row("edges", few(self.edges)),
                Row("shares", few(self.mass), "parts of the eigenvalues, which add up to 1"),
                Row(
                    "intervals",
                    f"up to {max(self.upper - self.lower):.2g} wide",
                    f"each may fail with probability {self.failure_probability:.0e}",
                ),
            ],
        )

    def _columns(self) -> dict[str, np.ndarray]:
        bins = {"from": self.edges[:-1], "to": self.edges[1:]}
        return bins | {"mass": self.mass, "lower": self.lower, "upper": self.upper}


@dataclass(frozen=True, repr=False)
class Smoothed(Shown, Columned, Drawn):
    """The spectral density smoothed by a Gaussian, for one unit of mass.

    Attributes
    ----------
    x : ndarray, shape (points,), float64
        Where the density is given.
    density : ndarray, shape (points,), float64
        The smoothed density, in one over the unit of the eigenvalues.
    error : ndarray, shape (points,), float64
        Half a 95 % interval for each point; 0 where all eigenvalues were computed.
    width : float
        Standard deviation of the Gaussian.

    Notes
    -----
    The interval holds for any number of probes: the density of r probes, in units of the peak of the Gaussian, strays
    from the truth at most as a share of the eigenvalues of that size does, which follows the Beta law of the module. A
    bound on the truncation is added.
    """

    x: np.ndarray
    density: np.ndarray
    error: np.ndarray
    width: float

    def __repr__(self) -> str:
        return (
            f"Smoothed density at {counted(len(self.x), 'point')} {few(self.x)}, width {self.width:.4g}\n"
            f"{few(self.density)}, errors up to {max(self.error, default=0.0):.2g}"
        )

    def _shown(self) -> Table:
        return Table(
            f"Smoothed density at {counted(len(self.x), 'point')}",
            [
                Row("points", few(self.x)),
                Row("density", few(self.density), f"up to {max(self.error, default=0.0):.2g} from the truth (95 %)"),
                Row("width", f"{self.width:.4g}", "standard deviation of the Gaussian"),
            ],
        )

    def _columns(self) -> dict[str, np.ndarray]:
        return {"x": self.x, "density": self.density, "error": self.error}


@dataclass(frozen=True, repr=False)
class Density(Shown, Columned, Drawn):
    r"""The distribution of the n eigenvalues of a symmetric kernel.

    Attributes
    ----------
    n : int
        Number of eigenvalues.
    alpha, beta : ndarray, shape (probes, steps), float64
        Diagonals and off-diagonals of the probes' Jacobi matrices. beta[:, i] couples step i with the next one, also
        the last step with what was not computed.
    lengths : ndarray, shape (probes,), int64
        How many steps each probe has; fewer than asked for where its space was exhausted.
    sizes : ndarray, shape (probes,), float64
        \|g\|² of each probe g.
    values : ndarray, shape (n,), or None
        All eigenvalues, ascending, where they were computed. There are no probes then.
    lowest, highest : float
        No eigenvalue lies outside them, each except with the ``failure_probability`` of :func:`spectral_density`.
    products : int
        How many products of the kernel with single vectors were computed.
    plan : Plan
        How the products were computed, with the forecast of time and memory.
    evidence : Diagnostics
        The numerical diagnostics of the bounds ``lowest`` and ``highest``.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> density = ns.spectral_density(np.diag([1.0, 1.0, 2.0, 4.0]))
    >>> density.histogram([0.0, 1.5, 3.0, 4.5]).mass.tolist()
    [0.5, 0.25, 0.25]
    """

    n: int
    alpha: np.ndarray
    beta: np.ndarray
    lengths: np.ndarray
    sizes: np.ndarray
    values: np.ndarray | None
    lowest: float
    highest: float
    products: int
    plan: Plan
    evidence: Diagnostics

    def __repr__(self) -> str:
        how = (
            "all computed"
            if self.values is not None
            else f"from {counted(self.probes, 'probe')}, {counted(self.alpha.shape[1], 'step')}"
        )
        return (
            f"Density of {counted(self.n, 'eigenvalue')}, {how} ({counted(self.products, 'product')})\n"
            f"none outside [{self.lowest:.5g}, {self.highest:.5g}]; see histogram(), cumulative(x), smoothed()"
        )

    def _shown(self) -> Table:
        probes = counted(self.probes, "random probe") if self.values is None else "all eigenvalues"
        return Table(
            f"Density of {self.n:,} eigenvalues",
            [
                Row("range", f"[{self.lowest:.5g}, {self.highest:.5g}]", "no eigenvalue lies outside"),
                Row("from", probes, f"{self.products:,} products with single vectors"),
                Row("see", "histogram(), cumulative(x), smoothed(), mean(f)", "each with its interval"),
            ],
        )

    def _columns(self) -> dict[str, np.ndarray]:
        return self.histogram()._columns()

    @property
    def probes(self) -> int:
        """The number of probes."""
        return len(self.sizes)

    @property
    def nodes(self) -> np.ndarray:
        """Where the probes' rules have weight, ascending; all eigenvalues where they were computed."""
        if self.values is not None:
            return self.values
        return np.sort(np.concatenate([rule(alpha, beta[:-1])[0] for alpha, beta in self._matrices()]))

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """(1/n) tr f(K), the mean of a function over the eigenvalues; the function takes and returns arrays (m,)."""
        if self.values is not None:
            return float(np.mean(function(self.values)))
        rules = (rule(a, b[:-1]) for a, b in self._matrices())
        return _pooled([weights @ function(nodes) for nodes, weights in rules], self.sizes)

    def cumulative(
        self, x: ArrayLike, *, failure_probability: float = 0.05
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The share of the eigenvalues up to each x, with an interval.

        Parameters
        ----------
        x : array or float
            Places, (m,), in the unit of the eigenvalues.
        failure_probability : float, default 0.05
            The interval at each x may miss the true share with at most this probability, over the random probes.

        Returns
        -------
        share, lower, upper : ndarray, shape (m,)
            The estimated share, from 0 to 1, and the ends of its interval.

        Raises
        ------
        ValueError
            Where ``x`` holds NaN, or the probability is not between 0 and 1.
        """
        checks.probability(failure_probability, "failure_probability")
        x = np.atleast_1d(checks.as_floats(x, "x")).astype(np.float64, copy=False)
        if np.isnan(x).any():
            raise ValueError("x holds NaN; a share of the eigenvalues up to it does not exist")
        low, high = self._shares(x)
        return self._with_quantiles(self._middle(x), low, high, failure_probability)

    def histogram(self, edges: int | ArrayLike = 40, *, failure_probability: float = 0.05) -> Histogram:
        """Shares of the eigenvalues in bins, with an interval for each.

        Parameters
        ----------
        edges : int or array, default 40
            Edges of the bins, ascending, or how many equal bins from ``lowest`` to ``highest``.
        failure_probability : float, default 0.05
            The interval of each bin may miss the true share with at most this probability, over the random probes.

        Returns
        -------
        Histogram
            ``edges`` (bins + 1,), ``mass``, ``lower`` and ``upper`` (bins,), and ``failure_probability``.

        Raises
        ------
        ValueError
            Where there are fewer than two edges, or they do not ascend.
        """
        checks.probability(failure_probability, "failure_probability")
        if np.ndim(edges) == 0:
            low, high = self.lowest, self.highest
            room = 1e-12 * (abs(low) + abs(high)) + 1e-300 if high - low <= 1e-12 * (abs(low) + abs(high)) else 0.0
            edges = np.linspace(low - 1e3 * room, high + 1e3 * room, checks.whole_number(edges, "edges", 1) + 1)
        edges = checks.as_floats(edges, "edges").astype(np.float64, copy=False)
        if len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"edges={edges}, but at least two numbers that grow are needed")
        low, high = self._shares(edges)
        least, most = np.maximum(0, low[1:] - high[:-1]), np.maximum(0, high[1:] - low[:-1])
        middle = np.diff(self._middle(edges).clip(low, high)).clip(least, most)
        mass, lower, upper = self._with_quantiles(middle, least, most, failure_probability)
        return Histogram(edges, mass, lower, upper, failure_probability)

    def smoothed(self, x: int | ArrayLike = 200, *, width: float | None = None) -> Smoothed:
        """The density smoothed by a Gaussian.

        Parameters
        ----------
        x : int or array, default 200
            Points, or how many from ``lowest`` to ``highest``.
        width : float or None, default None
            Standard deviation. None takes the smallest one whose truncation error is at most 1 % of the Gaussian's
            peak, about twice the range of the spectrum over the number of steps.

        Returns
        -------
        Smoothed
            ``x``, ``density`` and ``error`` (points,), and ``width``.

        Raises
        ------
        ValueError
            Where the width is not a finite number above 0.
        """
        if np.ndim(x) == 0:
            x = np.linspace(self.lowest, self.highest, checks.whole_number(x, "x", 2))
        x = checks.as_floats(x, "x").astype(np.float64, copy=False)
        width = self._finest_width() if width is None else float(width)
        if not 0 < width < math.inf:
            raise ValueError(f"width={checks.shown(width)}, but a standard deviation is a finite number > 0")
        peak = 1 / (width * math.sqrt(2 * math.pi))
        share = np.array([self.mean(partial(_gaussian, at=at, width=width)) for at in x])
        if self.values is not None:
            return Smoothed(x, peak * share, np.zeros(len(x)), width)
        slack, law = self._truncation(width), (self.n, self.probes, 0.05 / 2, 0.0)
        lower = np.array([_smallest_share(one, *law) for one in share - slack])
        # A share that is rounding may be that of an eigenvalue which the probes hardly see.
        most = np.maximum(share + slack, 2 * ROUNDING)
        upper = 1 - np.array([_smallest_share(one, *law) for one in 1 - most])
        return Smoothed(x, peak * share, peak * np.maximum(share - lower, upper - share), width)

    # ----------------------------------------------------------------------------------------------------- one probe
    def _matrices(self):
        """The diagonal of each probe's Jacobi matrix, and what couples its steps."""
        return [(a[:k], b[:k]) for a, b, k in zip(self.alpha, self.beta, self.lengths, strict=True)]

    def _shares(self, x):
        """Bounds on the pooled share of the probes' measures up to each x, which rounding may move."""
        rounding = self.evidence.rounding + self.evidence.stored
        if self.values is not None:
            return tuple(np.searchsorted(self.values, x + e, side="right") / self.n for e in (-rounding, rounding))
        low, high = np.array([self._share_at(float(at)) for at in x]).reshape(-1, 2).T
        return np.where(x >= self.highest, 1.0, low), np.where(x < self.lowest, 0.0, high)

    def _share_at(self, at: float) -> np.ndarray:
        """The same bounds at one place, where a rule is made for each probe and end."""
        if at not in self._known:
            ends = at - (rounding := self.evidence.rounding + self.evidence.stored), at + rounding
            rules = [[share_below(a, b, end)[side] for side, end in enumerate(ends)] for a, b in self._matrices()]
            self._known[at] = _pooled(rules, self.sizes)
        return self._known[at]

    @cached_property
    def _known(self) -> dict[float, np.ndarray]:
        """These by place: figures and pages ask for the same ones."""
        return {}

    def _middle(self, x):
        """The estimated share up to each x: half of a node's weight lies below it, and between nodes it grows."""
        if self.values is not None:
            return self._shares(x)[0]
        shares = []
        for alpha, beta in self._matrices():
            nodes, weights = rule(alpha, beta[:-1])
            at = np.concatenate([[min(self.lowest, nodes[0])], nodes, [max(self.highest, nodes[-1])]])
            shares.append(np.interp(x, at, np.concatenate([[0.0], np.cumsum(weights) - weights / 2, [1.0]])))
        return _pooled(shares, self.sizes)

    def _with_quantiles(self, share, low, high, failure_probability: float):
        if self.values is not None:
            return share, low, high
        law = self.n, self.probes, failure_probability / 2
        lower = np.array([_smallest_share(value, *law) for value in low])
        upper = np.maximum(lower, 1 - np.array([_smallest_share(1 - value, *law) for value in high]))
        return share.clip(lower, upper), lower, upper

    def _truncation(self, width: float) -> float:
        """A bound on the error of the rules for a Gaussian of that width and height one.

        A rule of k nodes is exact up to degree 2 k - 1, and a function that is at most M on the ellipse with foci at
        the ends and semiaxes (rho + 1/rho, rho - 1/rho) / 2 has an error of at most 4 M / (rho^(2 k - 1) (rho - 1)).
        """
        half, k = (self.highest - self.lowest) / 2, int(self.lengths.min())
        if half == 0 or (self.beta[np.arange(self.probes), self.lengths - 1] == 0).all():
            return 0.0

        def logarithm(log_excess):
            rho = 1 + math.exp(log_excess)
            height = half * (rho - 1 / rho) / 2 / width
            return math.log(4) + height**2 / 2 - (2 * k - 1) * math.log(rho) - log_excess

        found = minimize_scalar(logarithm, bounds=(-12, 3), method="bounded")
        return min(1.0, math.exp(min(0.0, found.fun)))

    def _finest_width(self) -> float:
        size = self.highest - self.lowest or abs(self.highest) or 1.0
        if self.values is not None:
            return size / 50
        if self._truncation(1e-6 * size) <= TRUNCATION:
            return size / 50
        return brentq(lambda w: math.log(self._truncation(w) / TRUNCATION), 1e-6 * size, 10 * size, rtol=1e-3)


def _gaussian(z: np.ndarray, at: float, width: float) -> np.ndarray:
    """Of height one."""
    return np.exp(-(((z - at) / width) ** 2) / 2)


def _pooled(of_probes, sizes):
    return np.average(np.asarray(of_probes), axis=0, weights=sizes)


def _smallest_share(share: float, n: int, probes: int, probability: float, least: float | None = None) -> float:
    """The smallest true share F of n eigenvalues under which one as large as this is seen with that probability.

    The law is Beta(probes n F / 2, probes n (1 - F) / 2); what is seen at all is at least one eigenvalue, or ``least``.
    """
    least = 1 / n if least is None else max(least, 1e-9 * share)
    if share <= ROUNDING or share >= 1:
        return float(share >= 1)
    size = probes * n / 2

    def excess(F):
        return betainc(size * (1 - F), size * F, 1 - share) - probability

    return brentq(excess, least, share) if least < share and excess(least) < 0 < excess(share) else least


# ------------------------------------------------------------------------------------------------------------- probing
def spectral_density(
    operator: MatrixLike,
    *,
    probes: int = 8,
    steps: int = 100,
    failure_probability: float = 1e-6,
    seed: int = 0,
    method: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Density:
    """The spectral density of a symmetric kernel by stochastic Lanczos quadrature, with intervals that hold.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric. Anything that :func:`ntkspec.operators.wrap` takes.
    probes : int, default 8
        Number of Gaussian vectors. The error by chance falls with the root of n times their number.
    steps : int, default 100
        Products with each probe. They resolve the ends of the spectrum first.
    failure_probability : float, default 1e-6
        An eigenvalue may lie outside [lowest, highest] with at most this probability at each end, over the random
        numbers drawn from ``seed``, whatever the kernel is. The methods of the result take probabilities of their own.
    seed : int, default 0
        Seed of the random probes. The same seed gives the same result, bit by bit, on one machine.
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
    Density
        The distribution, with ``histogram``, ``cumulative``, ``smoothed`` and ``mean``. ``lowest`` and ``highest``
        bound the spectrum, ``products`` counts products with single vectors.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, ``probes`` or ``steps`` is not a whole number >= 1, or the basis does not
        fit.

    Notes
    -----
    Up to n = 1500 all eigenvalues are computed, 9 n³ flops, where forming the entries takes two seconds at most or no
    longer than the products; where only products are known, up to n = probes times steps. Cost beyond: probes
    times steps products in blocks of four (two where the matrix is not stored), and a basis of 8 n steps bytes for each
    vector of a block. Two errors are kept apart. Truncation: k steps give a lower and an upper bound on the measure of
    a probe below x, which no spectrum can leave. Chance: the share of r pooled probes follows the Beta(r m / 2, r (n -
    m) / 2) law where m of n eigenvalues lie below x, whatever they are.

    References
    ----------
    S. Ubaru, J. Chen, Y. Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, SIAM J. Matrix Anal.
    Appl. 38, 2017.

    G. H. Golub, G. Meurant, Matrices, Moments and Quadrature with Applications, Princeton University Press, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> density = ns.spectral_density(np.diag(np.arange(1.0, 101.0)))
    >>> share, lower, upper = density.cumulative([25.5, 75.5])
    >>> share.tolist()
    [0.25, 0.75]
    """
    checks.accuracy(0.0, failure_probability, seed, exact=True)
    checkpoint = None if checkpoint is None else target(checkpoint)
    operator = as_symmetric(operator)
    probes, steps = checks.whole_number(probes, "probes", 1), checks.whole_number(steps, "steps", 1)
    n = operator.shape[0]
    checks.duration(probes * steps, n, f"{probes} probes of {steps} steps", "take fewer")
    checks.memory(16.0 * probes * steps, operator.engine, f"what {probes} probes of {steps} steps find", "take fewer")
    operator, plan = planning.prepare(operator, probes * steps, method=method, block=4)
    if planning.whole(operator, DENSE_SIZE, probes * steps):
        return _dense(operator, plan)
    block = _fitting_block(operator, min(probes, 4 if operator.stored else 2), steps)
    measures, rounding = [], 0.0
    bar = progress.bar(total=probes * steps, text=f"spectral density, {plan.method} (products)")
    with operator.engine.one_blas_thread(), bar, checkpointed(operator, checkpoint) as operator:
        lanczos = Lanczos(operator)
        for first in range(0, probes, block):
            lanczos.begin_random(stream(seed, "density", first), min(block, probes - first))
            _extend(lanczos, min(steps, BOUND_STEPS), bar)
            if first == 0:
                bounds = spectrum_bounds(lanczos, failure_probability)
                evidence = collect(lanczos, bounds, failure_probability)
            _extend(lanczos, steps - BOUND_STEPS, bar)
            rounding = max(rounding, lanczos.error)
            measures += jacobi_matrices(lanczos, steps)
    evidence = replace(evidence, rounding=rounding)
    alpha, beta, lengths, sizes = (np.array(part) for part in zip(*measures, strict=True))
    ends = evidence.lowest, evidence.highest
    return Density(n, alpha, beta, lengths, sizes, None, *ends, lanczos.products, plan, evidence)


def _extend(lanczos: Lanczos, steps: int, bar) -> None:
    for done in range(0, steps, 4):
        before = lanczos.products
        lanczos.extend(min(4, steps - done))
        bar.update(lanczos.products - before)


def _fitting_block(operator: KernelOperator, block: int, steps: int) -> int:
    """Vectors at once whose basis fits into the memory; refused where not even one does."""
    fitting = int(MEMORY_SHARE * operator.engine.free_memory() / (8 * operator.shape[0] * (steps + 1)))
    if fitting < 1:
        checks.memory(8.0 * operator.shape[0] * steps / MEMORY_SHARE, operator.engine, f"{steps} steps", "take fewer")
    return min(block, fitting)


def _dense(operator, plan) -> Density:
    """All eigenvalues."""
    n = operator.shape[0]
    spectrum = dense_spectrum(operator, n, "SA")
    none, rounding = np.zeros((0, 0)), spectrum.evidence.rounding + spectrum.evidence.stored
    ends = float(spectrum.values[0]) - rounding, float(spectrum.values[-1]) + rounding
    sizes = np.zeros(0, np.int64), np.zeros(0)
    return Density(n, none, none, *sizes, spectrum.values, *ends, spectrum.products, plan, spectrum.evidence)
