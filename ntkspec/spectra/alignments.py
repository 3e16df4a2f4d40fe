"""Vectors against kernels: alignment, position, energy in each eigenvector, and angles between leading eigenspaces."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import ArrayLike
from ntkspec.objects.notebook import Columned, Row, Shown, Table
from ntkspec.operators import KernelOperator, as_symmetric
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.base import points_of
from ntkspec.operators.gram import gram_of
from ntkspec.operators.layout import labels_for, labels_of
from ntkspec.operators.rounding import HALF_ULP
from ntkspec.spectra.norms import frobenius_norm, spectral_norm
from ntkspec.spectra.results import Estimate, Spectrum

# Width of the interval of the Frobenius norm where only products are known and nothing else is asked for.
PROBED = 0.05


def kernel_target_alignment(
    operator: MatrixLike,
    y: ArrayLike,
    *,
    centered: bool = False,
    rtol: float | None = None,
    failure_probability: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    r"""The alignment of a kernel with labels, a cosine from -1 to 1 (from 0 where K is positive semidefinite).

    .. math:: A = \frac{\langle K, y y^T \rangle_F}{\|K\|_F \|y y^T\|_F}

    Of labels y (n, K) a kernel of points is compared with y yᵀ (n, n), the sum over outputs; a kernel with a row for
    each output with that of all labels as one vector (n K,).

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric; or (n K, n K) with a row for each of K outputs, as ``outputs="full"`` of
        :func:`ntkspec.ntk` gives. Anything that :func:`ntkspec.operators.wrap` takes.
    y : array, shape (n,) or (n, K)
        Labels, finite and not all zero (not all constant, if ``centered``). A kernel (n K, n K) needs (n, K).
    centered : bool, default False
        Take H K H and H y with H = I - 1 1ᵀ / n, so that a constant in kernel or labels does not count; of K outputs
        a constant of each.
    rtol : float or None, default None
        0 asks for the exact Frobenius norm; a positive number allows an interval of that relative width from random
        probes (:func:`ntkspec.frobenius_norm`), where that is forecast to be faster. None is 0, and 0.05 where only
        products are known.
    failure_probability : float, default 1e-6
        An interval from probes may miss the true value with at most this probability, over the random numbers drawn
        from ``seed``, whatever the kernel is. Without probes it never fails.
    seed : int, default 0
        Seed of the random probes. The same seed gives the same result.

    Returns
    -------
    Estimate
        ``value`` is the alignment. ``lower`` and ``upper`` are the ends of the interval, ``failure_probability``
        the probability that it misses the true value, ``products`` the number of products with single vectors,
        ``converged`` whether the interval is as narrow as asked for, ``plan`` how products were computed,
        ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or the labels have another length, NaN, or nothing that varies.

    Notes
    -----
    The interval is that of the Frobenius norm, with the rounding of the product and of what centring subtracts from
    labels and kernel. Cost: one product (two if centered) and the Frobenius norm; where only products are known that
    takes n of them for rtol = 0, or where n is small.

    References
    ----------
    N. Cristianini, J. Shawe-Taylor, A. Elisseeff, J. Kandola, On kernel-target alignment, NIPS 2001.

    C. Cortes, M. Mohri, A. Rostamizadeh, Algorithms for learning kernels based on centered alignment, JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> y = np.array([1.0, -1.0, 1.0])
    >>> round(float(ns.kernel_target_alignment(np.outer(y, y), y)), 6)
    1.0
    """
    operator = as_symmetric(operator)
    rtol = (0.0 if operator.entrywise else PROBED) if rtol is None else rtol
    checks.accuracy(rtol, failure_probability, seed, exact=True)
    y, layout = labels_of(y, operator)
    n, y = operator.shape[0], _in_range(y)
    moved = centring = 0.0
    if centered:
        (y, moved), (operator, centring) = _centred_labels(y), centred(operator)
    vectors = layout.vectors(y)
    size, spread = _frobenius_of_squares(vectors)
    if not size > 0:
        raise ValueError(f"the labels are {'constant' if centered else 'zero'}; an alignment needs labels that vary")
    overlap = _quadratic_forms(operator, vectors) / size
    norm = frobenius_norm(operator, rtol=rtol, failure_probability=failure_probability, seed=seed)
    low, high = max(0.0, norm.lower - centring), norm.upper + centring
    # A relative change r of y changes yᵀK y by 2 r ‖K‖ |y|² and |y|² by 2 r; both are sums of n terms as well.
    rounded = 4 * moved + 2 * (n + len(vectors) ** 2 - 1) * HALF_ULP
    slack = spread * (operator.rounding.matvec_error_bound + operator.storage_error + centring + rounded * high)
    lower = _cosine(overlap - slack, high if overlap > slack else low)
    upper = _cosine(overlap + slack, low if overlap > -slack else high)
    count = norm.products + len(vectors) + (operator.rows_per_point if centered else 0)
    closed = norm.converged and upper - lower < 2
    rest = norm.failure_probability, count, closed, norm.plan, norm.evidence
    return Estimate(float(np.clip(_cosine(overlap, norm.value), lower, upper)), lower, upper, *rest)


def spectral_position(
    operator: MatrixLike,
    r: ArrayLike,
    *,
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    r"""Where in the spectrum of a kernel a vector lies: 1 for a leading eigenvector, 0 for the null space.

    .. math:: P = \frac{r^T K r}{\|r\|^2 \|K\|}

    The mean of lambda / max abs(lambda) over the eigenvectors, each with the part of r in it as its weight. Of the
    residual of training it falls as the leading modes are learned.

    Parameters
    ----------
    operator : KernelOperator, array, sparse matrix or LinearOperator
        The kernel, (n, n), symmetric; or (n K, n K) with a row for each of K outputs. Anything that
        :func:`ntkspec.operators.wrap` takes.
    r : array, shape (n,) or (n, K)
        A vector, such as labels less outputs; finite and not zero. Of a kernel of points all columns are taken
        together; a kernel (n K, n K) needs (n, K).
    rtol : float, default 1e-3
        Relative width of the interval of the spectral norm (:func:`ntkspec.spectral_norm`).
    failure_probability : float, default 1e-6
        The interval may miss the true value with at most this probability, over the random start drawn from ``seed``,
        whatever the kernel is.
    seed : int, default 0
        Seed of the random start. The same seed gives the same result.

    Returns
    -------
    Estimate
        ``value`` is the position, from 0 to 1 where K is positive semidefinite, from -1 otherwise. ``lower`` and
        ``upper`` are the ends of the interval, ``failure_probability`` the probability that it misses the true value,
        ``products`` the number of products with single vectors, ``converged`` whether the norm is as accurate as asked
        for, ``plan`` how products were computed, ``evidence`` the numerical diagnostics.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, or the vector has another length, NaN, or is zero.

    Notes
    -----
    The interval is that of the spectral norm, with the rounding of the product. Cost: one product and a spectral norm.

    References
    ----------
    A Rayleigh quotient, see G. H. Golub, C. F. Van Loan, Matrix Computations, 4th ed., 2013, section 8.2.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> K = np.diag([4.0, 2.0, 0.0])
    >>> positions = [ns.spectral_position(K, r) for r in np.eye(3)]
    >>> [round(float(position), 2) for position in positions]
    [1.0, 0.5, 0.0]
    """
    operator = as_symmetric(operator)
    checks.accuracy(rtol, failure_probability, seed)
    quotient = _RayleighQuotient.of(operator, r)
    norm = spectral_norm(operator, rtol=rtol, failure_probability=failure_probability, seed=seed)
    return quotient.over(norm)


def spectral_position_of(operator: KernelOperator, r: ArrayLike, norm: Estimate) -> Estimate:
    """:func:`spectral_position` where the spectral norm of the kernel is known."""
    return _RayleighQuotient.of(operator, r).over(norm)


@dataclass(frozen=True)
class _RayleighQuotient:
    """rᵀ K r / |r|² of ``vectors`` in all, and how far rounding may move it where |K| is 1 (``rounded``) or any."""

    value: float
    vectors: int
    error: float
    rounded: float
    semidefinite: bool

    @classmethod
    def of(cls, operator: KernelOperator, r: ArrayLike) -> "_RayleighQuotient":
        """Of one product; ValueError for a vector that is zero."""
        r, layout = labels_of(r, operator)
        vectors = layout.vectors(_in_range(r))
        size = float((vectors * vectors).sum())
        if not size > 0:
            raise ValueError("the vector is zero, which lies nowhere in the spectrum")
        value = _quadratic_forms(operator, vectors) / size
        error = operator.rounding.matvec_error_bound + operator.storage_error
        return cls(value, len(vectors), error, 2 * vectors.size * HALF_ULP, operator.semidefinite)

    def over(self, norm: Estimate) -> Estimate:
        """Over the norm, from -1 to 1, from 0 where the kernel is semidefinite."""
        slack = self.error + self.rounded * norm.upper
        low, high = self.value - slack, self.value + slack
        lower = _cosine(low, norm.upper if low > 0 else norm.lower)
        upper = _cosine(high, norm.lower if high > 0 else norm.upper)
        if self.semidefinite:
            lower, upper = max(0.0, lower), max(0.0, upper)
        rest = norm.failure_probability, norm.products + self.vectors, norm.converged, norm.plan, norm.evidence
        return Estimate(float(np.clip(_cosine(self.value, norm.value), lower, upper)), lower, upper, *rest)


def _in_range(y):
    """y in float64, times the power of two that brings the largest |y| to 1/2 to 1: squares neither overflow nor
    vanish, and nothing is rounded."""
    y, xp = y.astype(np.float64), engine_of(y).xp
    return xp.ldexp(y, -int(xp.frexp(abs(y).max())[1]))


def _centred_labels(y):
    """y less its mean, and a bound on the relative error of that in norm.

    The first mean is off by the rounding of large numbers; a second one, of what is left, by that of small ones.
    """
    once = y - y.mean(axis=0)
    twice = once - once.mean(axis=0)
    before, size = (float(part.ravel() @ part.ravel()) ** 0.5 for part in (once, twice))
    return twice, (len(y) + 4) * HALF_ULP * before / size if size else 0.0


def _cosine(overlap: float, norm: float) -> float:
    """overlap / norm, which is a cosine: from -1 to 1, the nearer one where the norm may be zero."""
    if overlap == 0 or abs(overlap) >= norm:
        return float(np.sign(overlap))
    return overlap / norm


def centred(operator: KernelOperator) -> tuple[KernelOperator, float]:
    """H K H = K - r 1ᵀ - 1 rᵀ with r the row means less half of their mean; as squares of a thin factor each.

    Also a bound on its error in Frobenius norm: r is rounded as a product, as a mean, and to the kernel's dtype.
    """
    if operator.rows_per_point > 1:
        return _centred_outputs(operator)
    n, dtype = operator.shape[0], operator.dtype
    means = operator @ operator.engine.xp.full(n, 1 / n)
    r = means - means.mean() / 2
    scale = math.sqrt(float(r @ r) / n)
    if scale == 0:
        return operator, 2 * operator.rounding.matvec_error_bound
    more, less = (gram_of((r / scale + sign)[:, None].astype(dtype)) for sign in (1, -1))
    error = 2 * operator.rounding.matvec_error_bound + 2 * n * scale * (
        (n + 4) * HALF_ULP + 2 * float(np.finfo(dtype).eps)
    )
    return operator - (scale / 2) * more + (scale / 2) * less, error


def _centred_outputs(operator):
    """The same for K outputs: H = I - U Uᵀ / n with U = 1 ⊗ I_K, and r of K columns, r Uᵀ in the place of r 1ᵀ."""
    n, K, dtype, xp = points_of(operator), operator.rows_per_point, operator.dtype, operator.engine.xp
    U = (xp.ones((n, 1, 1)) * xp.eye(K)).reshape(n * K, K)
    means = operator @ (U / n)
    r = means - U @ (U.T @ means) / (2 * n)
    scale = float(xp.linalg.norm(r)) / math.sqrt(n * K)
    error = 2 * math.sqrt(K) * operator.rounding.matvec_error_bound
    if scale == 0:
        return operator, error
    more, less = (gram_of((r / scale + sign * U).astype(dtype)) for sign in (1, -1))
    rounded = 2 * n * K * scale * ((n + 4) * HALF_ULP + 2 * float(np.finfo(dtype).eps))
    return operator - (scale / 2) * more + (scale / 2) * less, error + rounded


def _frobenius_of_squares(vectors) -> tuple[float, float]:
    """|Y Yᵀ|_F of vectors, the rows of Yᵀ, and the sum of their squares over it, 1 for one vector."""
    squares = [float(vector @ vector) for vector in vectors]
    size = squares[0] if len(squares) == 1 else float(engine_of(vectors).xp.linalg.norm(vectors @ vectors.T))
    return size, sum(squares) / size if size else 1.0


def _quadratic_forms(operator, vectors) -> float:
    """The sum of vᵀ K v over vectors, which are multiplied together."""
    if len(vectors) == 1:
        return float(vectors[0] @ (operator @ vectors[0]))
    return float((vectors.T * (operator @ vectors.T)).sum())


def label_energy(spectrum: Spectrum, y: ArrayLike) -> np.ndarray:
    r"""The part of \|y\|² in each eigenvector of a kernel.

    Parameters
    ----------
    spectrum : Spectrum
        Eigenpairs from :func:`ntkspec.eigsh`.
    y : array, shape (n,) or (n, K)
        Labels, finite and not all zero. Of a kernel with a row for each of K outputs (n, K), one vector; of a kernel of
        points the squares of all columns are taken together.

    Returns
    -------
    ndarray, shape (k,), float64
        Parts from 0 to 1, in the order of the eigenvectors. What their sum lacks of 1 lies in the eigenvectors left
        out.

    Raises
    ------
    TypeError
        Where something else than a Spectrum comes.
    ValueError
        Where the labels have another length, hold NaN, or are zero.

    Notes
    -----
    Eigenvectors of values that cannot be told apart share their part in an arbitrary way; only its sum means something.
    Cost: 2 n k flops.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> spectrum = ns.eigsh(np.diag([3.0, 2.0, 1.0]), 2)
    >>> ns.label_energy(spectrum, np.array([0.0, 1.0, 1.0])).round(6).tolist()
    [0.0, 0.5]
    """
    if not isinstance(spectrum, Spectrum):
        raise TypeError(f"a {type(spectrum).__name__} came, but the eigenpairs of ntkspec.eigsh are needed")
    y, layout = labels_for(y, len(spectrum.vectors), spectrum.rows_per_point)
    if not y.any():
        raise ValueError("the labels are zero; their energy needs labels that are not")
    engine, vectors = engine_of(y, spectrum.vectors), layout.vectors(_in_range(y))
    squares = sum(np.square(engine.to_host(spectrum.vectors.T @ vector)) for vector in vectors)
    return np.asarray(squares / sum(float(vector @ vector) for vector in vectors))


@dataclass(frozen=True)
class Angles(Shown, Columned):
    """Principal angles between two spaces.

    Attributes
    ----------
    angles : ndarray, shape (min(k, k'),), float64
        In radians, from 0 to pi/2, ascending.
    error : float
        How far each is at most from the angle between the exact eigenspaces, in radians.
    """

    angles: np.ndarray
    error: float

    def _shown(self) -> Table:
        degrees = np.degrees(self.angles)
        named = {
            "smallest": degrees[:1],
            "median": [np.median(degrees)] if len(degrees) else [],
            "largest": degrees[-1:],
        }
        rows = [Row(name, f"{angle:.4g} degrees") for name, angles in named.items() for angle in angles]
        error = Row("error", f"{np.degrees(self.error):.2g} degrees", "of each angle at most")
        return Table(f"{len(degrees)} principal angles", [*rows, error])

    def _columns(self) -> dict[str, Any]:
        """A row for each angle."""
        return {"angle": self.angles}


def subspace_angles(one: Spectrum, other: Spectrum) -> Angles:
    r"""The principal angles between the eigenspaces of two spectra, such as those of Theta and Theta^lin.

    Parameters
    ----------
    one, other : Spectrum
        Eigenpairs from :func:`ntkspec.eigsh`, of kernels on the same n points.

    Returns
    -------
    Angles
        ``angles``, (min(k, k'),) in radians, ascending, and ``error``, a bound on the distance of each from the exact
        one.

    Raises
    ------
    ValueError
        Where the two have eigenvectors of different lengths.

    Notes
    -----
    Each computed space is turned against the exact eigenspace by at most arcsin(\|R\|_F / gap), with the residuals R
    and the gap between its values and the bound on all others; the error is the sum of both. It is pi/2, nothing is
    known, where a gap is closed: the last value then cannot be told from one that was left out, and which eigenvectors
    lead is not determined. Cost: O(n k²) flops on the host.

    References
    ----------
    C. Davis, W. M. Kahan, The rotation of eigenvectors by a perturbation. III, SIAM J. Numer. Anal. 7, 1970.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> one, other = (ns.eigsh(np.diag(values), 1) for values in ([3.0, 1.0], [1.0, 3.0]))
    >>> found = ns.subspace_angles(one, other)
    >>> bool(abs(found.angles[0] - np.pi / 2) <= found.error + 1e-12)
    True
    """
    if one.vectors.shape[0] != other.vectors.shape[0]:
        raise ValueError(f"eigenvectors of {len(one.vectors)} and {len(other.vectors)} points; both need the same")
    vectors = (engine_of(side.vectors).to_host(side.vectors) for side in (one, other))
    angles = np.sort(scipy.linalg.subspace_angles(*vectors))
    return Angles(angles, min(math.pi / 2, _rotation_bound(one) + _rotation_bound(other)))


def _rotation_bound(spectrum: Spectrum) -> float:
    """A bound on the largest angle between the computed and the exact eigenspace."""
    low, high = spectrum.others
    if low > high:
        return 0.0  # nothing is left out
    outside = np.maximum(spectrum.values - high, low - spectrum.values)
    gap, residual = float(outside.min()), float(np.linalg.norm(spectrum.residuals))
    return math.asin(residual / gap) if gap > residual else math.pi / 2
