"""Results of spectral computations: estimates with intervals, eigenpairs, and the diagnostics that they rest on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.objects.words import counted
from ntkspec.operators.planning import Plan
from ntkspec.spectra.certificates import rounding_share
from ntkspec.spectra.intervals import Interval
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.overlaps import Relation
from ntkspec.spectra.showing import few


@dataclass(frozen=True)
class Diagnostics:
    r"""What an interval rests on. All sizes are absolute, in the unit of the eigenvalues.

    Attributes
    ----------
    products : int
        Products with single vectors, in blocks of ``block``.
    block, basis : int
        Vectors of a block, and of the Krylov basis at the end.
    asymmetry : float
        Largest \|<q, K p> - <K q, p>\| that was met.
    orthogonality_loss : float
        \|Q Qᵀ - I\| in Frobenius norm.
    rounding : float
        Bound on the error of the Lanczos relation, from products, Gram-Schmidt and asymmetry together.
    stored : float
        Distance of the matrix that was multiplied with from the kernel: its entries were rounded to float32, which is
        estimated from a sample of rows.
    smallest, largest : float
        Extreme Ritz values, which eigenvalues reach up to rounding.
    lowest, highest : float
        No eigenvalue lies outside them, each except with ``failure_probability``.
    failure_probability : float
        The probability, over the random start, with which one of the two ends may fail.
    rounding_share : float
        The part of the outer bounds that rounding makes up, from 0 to 1; the random start makes up the rest.
    semidefinite : str
        "yes, by construction", "yes, to rounding", "no" or "cannot tell".
    """

    products: int
    block: int
    basis: int
    asymmetry: float
    orthogonality_loss: float
    rounding: float
    stored: float
    smallest: float
    largest: float
    lowest: float
    highest: float
    failure_probability: float
    rounding_share: float
    semidefinite: str

    # The name that files of results know it by.
    stored_as = "Evidence"

    def __str__(self) -> str:
        verdict = f"{self.semidefinite}; smallest Ritz value {self.smallest:.6g}, no eigenvalue below {self.lowest:.6g}"
        if self.semidefinite == "cannot tell":
            verdict += (
                f": an eigenvalue between {self.lowest:.3g} and 0 was neither found nor excluded; a smaller rtol takes "
                f"more products and narrows that"
            )
        return "\n".join(
            [
                f"products: {self.products} in blocks of {self.block}; basis of {self.basis} vectors",
                f"eigenvalues outside [{self.lowest:.8g}, {self.highest:.8g}]: none (each end holds except with "
                f"probability {self.failure_probability:.0e}); extreme values found: [{self.smallest:.8g}, "
                f"{self.largest:.8g}]",
                f"outer bounds: {1 - self.rounding_share:.2%} random start, {self.rounding_share:.2%} rounding",
                f"rounding of products and basis: {self.rounding:.2e}; of the stored matrix: {self.stored:.2e}",
                f"symmetry defect: {self.asymmetry:.2e}; loss of orthogonality: {self.orthogonality_loss:.2e}",
                f"positive semidefinite: {verdict}",
            ]
        )


@dataclass(frozen=True, eq=False, repr=False)
class Estimate(Shown, Columned):
    """A number with an interval that contains the true value, except with a stated probability.

    It is a number where one is needed: ``float()``, ``round()``, formats such as ``f"{norm:.3f}"``, comparisons (``==``
    as well) and NumPy take its value. ``+``, ``-``, ``*``, ``/`` and ``**`` with numbers and other estimates give an
    estimate.

    Attributes
    ----------
    value : float
        The number itself, inside the interval.
    lower, upper : float
        The ends of the interval: lower <= true value <= upper, with rounding inside. They may be infinite.
    failure_probability : float
        The probability with which the interval may miss the true value, over the random numbers of the call and
        whatever the kernel is; 0.0 where no random numbers enter.
    products : int
        How many products of the kernel with single vectors were computed.
    converged : bool
        Whether the interval is as narrow as was asked for with ``rtol``. It holds in either case.
    plan : Plan or None
        How the products were computed, with the forecast of time and memory.
    evidence : Diagnostics or None
        What the interval rests on: rounding, symmetry, orthogonality, and the extreme Ritz values. ``print`` shows it.

    Notes
    -----
    The interval of a result of arithmetic holds the result for all numbers inside the intervals of its parts, rounded
    outwards, and reaches to infinity where a divisor may be zero. It fails with at most the sum of the failure
    probabilities; products add up, and it has converged where all parts have. An array and an estimate give an array,
    computed with the value.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> norm = ns.spectral_norm(np.diag([3.0, 4.0]))
    >>> f"{norm:.3f}", norm > 3.9
    ('4.000', True)
    >>> ratio = norm / 2
    >>> ratio.lower <= 2 <= ratio.upper
    True
    """

    value: float
    lower: float
    upper: float
    failure_probability: float
    products: int
    converged: bool
    plan: Plan | None = None
    evidence: Diagnostics | None = None

    # NumPy's scalars leave arithmetic to the estimate; its arrays, with priority 0, do not.
    __array_priority__ = -1.0

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __round__(self, digits: int | None = None) -> float:
        return round(float(self), digits)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(float(self), dtype)

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: Any) -> bool:
        return float(self) == other if isinstance(other, Real) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        return float(self) < float(other) if isinstance(other, Real) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return float(self) <= float(other) if isinstance(other, Real) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return float(self) > float(other) if isinstance(other, Real) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return float(self) >= float(other) if isinstance(other, Real) else NotImplemented

    # ------------------------------------------------------------------------------------------------------ arithmetic
    def __neg__(self) -> "Estimate":
        """The value with the other sign, and its interval."""
        return self._mapped(-float(self), -self.interval)

    def __pos__(self) -> "Estimate":
        """The estimate itself."""
        return self

    def __abs__(self) -> "Estimate":
        """Its size; the interval begins at 0 where both signs are possible."""
        return self._mapped(abs(float(self)), abs(self.interval))

    def __add__(self, other: "float | Estimate") -> "Estimate":
        """The sum, with the interval of all sums."""
        if not isinstance(other, Real):
            return NotImplemented
        other = _estimate(other)
        return self._with(other, float(self) + float(other), self.interval + other.interval)

    def __mul__(self, other: "float | Estimate") -> "Estimate":
        """The product, with the interval of all products."""
        if not isinstance(other, Real):
            return NotImplemented
        other = _estimate(other)
        return self._with(other, float(self) * float(other), self.interval * other.interval)

    def __truediv__(self, other: "float | Estimate") -> "Estimate":
        """The quotient, with the interval of all quotients. ZeroDivisionError where the value of ``other`` is 0."""
        if not isinstance(other, Real):
            return NotImplemented
        other = _estimate(other)
        return self._with(other, float(self) / float(other), self.interval * other.interval.inverse())

    def __pow__(self, exponent: float) -> "Estimate":
        """A power; ``estimate**0.5`` is the root. Raises ValueError for a root of what may be negative."""
        if isinstance(exponent, Estimate) or not isinstance(exponent, Real):
            return NotImplemented
        interval = self.interval.power(float(exponent))
        return self._mapped(float(self) ** float(exponent), interval)

    def __sub__(self, other: "float | Estimate") -> "Estimate":
        """The difference, with the interval of all differences."""
        return self + -other if isinstance(other, Real) else NotImplemented

    def __rsub__(self, other: "float | Estimate") -> "Estimate":
        """A number less the estimate."""
        return -self + other

    def __rtruediv__(self, other: "float | Estimate") -> "Estimate":
        """A number divided by the estimate."""
        return _estimate(other) / self if isinstance(other, Real) else NotImplemented

    __radd__, __rmul__ = __add__, __mul__

    @property
    def interval(self) -> Interval:
        """From lower to upper."""
        return Interval(float(self.lower), float(self.upper))

    def _mapped(self, value: float, interval: Interval) -> "Estimate":
        rest = self.failure_probability, self.products, self.converged
        return Estimate(value, interval.lower, interval.upper, *rest)

    def _with(self, other: "Estimate", value: float, interval: Interval) -> "Estimate":
        failure_probability = min(1.0, self.failure_probability + other.failure_probability)
        rest = failure_probability, self.products + other.products, self.converged and other.converged
        return Estimate(value, interval.lower, interval.upper, *rest)

    # ------------------------------------------------------------------------------------------------------------ text
    def __format__(self, how: str) -> str:
        return format(float(self), how) if how else str(self)

    def __str__(self) -> str:
        value, lower, upper = (f"{number:.8g}" for number in (self.value, self.lower, self.upper))
        if not self.failure_probability and self.converged and lower == value == upper:
            products = f", {counted(self.products, 'product')}" if self.products else ""
            return f"{value} (exact up to rounding{products})"
        unless = f" except with probability {self.failure_probability:.0e}" if self.failure_probability else ""
        still = "" if self.converged else ", wider than asked for"
        return f"{value} in [{lower}, {upper}]{unless} ({counted(self.products, 'product')}{still})"

    def __repr__(self) -> str:
        return f"Estimate({self})"

    def _shown(self) -> Table:
        may_fail = f"may miss the true value with probability {self.failure_probability:.0e}"
        plan = [] if self.plan is None else [Row("products by", self.plan.method, self.plan.reason)]
        return Table(
            f"{self.value:.8g}",
            [
                Row("interval", f"[{self.lower:.8g}, {self.upper:.8g}]", may_fail if self.failure_probability else ""),
                Row("closed", "yes" if self.converged else "no", "whether it is as narrow as was asked for"),
                Row("products", f"{self.products:,}", "of the kernel with single vectors"),
                *plan,
            ],
        )

    def _columns(self) -> dict[str, Any]:
        names = ("value", "lower", "upper", "failure_probability", "products", "converged")
        return {name: [getattr(self, name)] for name in names}


Real.register(Estimate)


def _estimate(number: Real) -> Estimate:
    """A number as an estimate that is exact."""
    if isinstance(number, Estimate):
        return number
    known = Interval.of(number)
    return Estimate(float(number), known.lower, known.upper, 0.0, 0, True)


@dataclass(frozen=True, repr=False)
class Spectrum(Shown, Columned, Drawn):
    r"""Extreme eigenpairs of a symmetric kernel, and a bound on all the eigenvalues that are not among them.

    ``values, vectors = eigsh(...)`` unpacks the first two, in the manner of SciPy.

    Attributes
    ----------
    values : ndarray, shape (k,), float64
        The eigenvalues, in the order of ``which`` in :func:`ntkspec.eigsh`.
    vectors : array, shape (n, k), float64
        Orthonormal eigenvectors as columns, on the kernel's device.
    residuals : ndarray, shape (k,), float64
        Bounds on \|K z - value z\| with the rounding of the kernel inside. An eigenvalue lies within it of each value.
    multiplicities : ndarray, shape (k,), int64
        How many of the values cannot be told from this one, itself included.
    others : tuple of two floats
        (low, high), the bound on the rest: every eigenvalue that is not among ``values`` lies between them, except with
        ``failure_probability`` for each end. (inf, -inf) where there are no others.
    failure_probability : float
        The probability, over the random start vectors and whatever the kernel is, with which each end of ``others`` may
        fail; 0.0 where all eigenvalues were computed.
    products : int
        How many products of the kernel with single vectors were computed.
    converged : bool
        Whether all residuals are small enough, and what ``others`` leaves open beyond the last value is at most 0.1 %
        of the norm.
    method : str
        "Lanczos" or "dense eigh".
    evidence : Diagnostics
        The numerical diagnostics of the run that gave ``others``.
    rows_per_point : int, default 1
        K where the kernel has a row for each of K outputs.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> values, vectors = ns.eigsh(np.diag([1.0, 3.0, 2.0]), 2)
    >>> values.round(6).tolist(), vectors.shape
    ([3.0, 2.0], (3, 2))
    """

    values: np.ndarray
    vectors: Array
    residuals: np.ndarray
    multiplicities: np.ndarray
    others: tuple[float, float]
    failure_probability: float
    products: int
    converged: bool
    method: str
    evidence: Diagnostics
    rows_per_point: int = 1

    def __iter__(self) -> Iterator[Array]:
        """``values, vectors = eigsh(...)``, as of SciPy's."""
        return iter((self.values, self.vectors))

    def __repr__(self) -> str:
        n, k = len(self.vectors) // self.rows_per_point, self.vectors.shape[1]
        state = f"{self.method}, {counted(self.products, 'product')}{'' if self.converged else ', not converged'}"
        return (
            f"Spectrum of {k} eigenpairs of {n} points, {few(self.values)}\n"
            f"residuals up to {max(self.residuals, default=0.0):.2g}; all other eigenvalues in [{self.others[0]:.5g}, "
            f"{self.others[1]:.5g}]; {state}"
        )

    def _shown(self) -> Table:
        n, (low, high) = len(self.vectors) // self.rows_per_point, self.others
        may_fail = f"; each end may fail with probability {self.failure_probability:.0e}"
        return Table(
            f"Spectrum: {self.vectors.shape[1]} eigenpairs of {n:,} points",
            [
                Row("eigenvalues", few(self.values)),
                Row("residuals", f"up to {max(self.residuals, default=0.0):.2g}", "an eigenvalue is as near to each"),
                Row(
                    "all others",
                    f"in [{low:.5g}, {high:.5g}]" if low <= high else "none",
                    f"proved{may_fail if self.failure_probability else ''}",
                ),
                Row("method", self.method, f"{self.products:,} products with single vectors"),
                Row("converged", "yes" if self.converged else "no"),
            ],
        )

    def _columns(self) -> dict[str, Any]:
        return {"value": self.values, "residual": self.residuals, "multiplicity": self.multiplicities}


def collect(
    lanczos: Lanczos,
    bounds: tuple[float, float],
    failure_probability: float,
    found: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Diagnostics:
    """The evidence of a run from a random block, and of the bounds that it proved on what is not locked.

    found : from Ritz values to the indices of those beside which the bounds hold.
    """
    operator, pairs = lanczos.operator, lanczos.pairs
    relation = Relation.of(lanczos)
    theta = relation.theta
    chosen = np.zeros(0, np.int64) if found is None else found(theta)
    rest, residuals = relation.without(chosen), relation.residuals()[chosen]
    distance, error, loss = operator.storage_error, lanczos.error, lanczos.orthogonality_loss()
    slack = pairs.off_diagonal_norm + float(np.linalg.norm(residuals)) + distance
    smallest, largest = float(min([*theta[:1], *pairs.values])), float(max([*theta[-1:], *pairs.values]))
    lowest, highest = float(min(bounds[0], smallest) - slack), float(max(bounds[1], largest) + slack)
    lowest = max(lowest, -slack - error) if operator.semidefinite else lowest
    return Diagnostics(
        products=lanczos.products,
        block=lanczos.start.shape[1],
        basis=lanczos.size,
        asymmetry=lanczos.asymmetry,
        orthogonality_loss=loss,
        rounding=error,
        stored=distance,
        smallest=smallest,
        largest=largest,
        lowest=lowest,
        highest=highest,
        failure_probability=failure_probability,
        rounding_share=max((rounding_share(rest, value) for value in bounds if lanczos.size), default=1.0),
        semidefinite=sign(operator.semidefinite, smallest, lowest, error + loss * abs(smallest) + slack),
    )


def sign(known: bool, smallest: float, lowest: float, rounding: float) -> str:
    """Whether a kernel is positive semidefinite, judged by its smallest Ritz value and a bound on all eigenvalues."""
    if known:
        return "yes, by construction"
    if smallest < -rounding:
        return "no"
    return "yes, to rounding" if lowest >= -2 * rounding else "cannot tell"
