"""Two kernels on the same points: their cosine, and what it lacks of one."""

from dataclasses import dataclass, replace

from ntkspec import checks
from ntkspec.operators import KernelOperator, as_symmetric, wrap
from ntkspec.operators.adapters import MatrixLike
from ntkspec.spectra.alignments import PROBED, centred
from ntkspec.spectra.intervals import Interval
from ntkspec.spectra.norms import frobenius_norm
from ntkspec.spectra.results import Estimate


class NoDirection(ValueError):
    """A kernel is zero, or constant where a constant does not count."""


def kernel_distance(
    first: MatrixLike,
    second: MatrixLike,
    *,
    rtol: float | None = None,
    failure_probability: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    r"""The distance of two kernels on the same points, from 0 to 2: what their cosine lacks of one.

    .. math:: S = 1 - \frac{\langle K_1, K_2 \rangle_F}{\|K_1\|_F \|K_2\|_F}
              = \frac{1}{2} \left\| \frac{K_1}{\|K_1\|_F} - \frac{K_2}{\|K_2\|_F} \right\|_F^2

    It is 0 where one kernel is a positive multiple of the other, and at most 1 where both are positive semidefinite.

    Parameters
    ----------
    first, second : KernelOperator, array, sparse matrix or LinearOperator
        The kernels, both (n, n'), of the same dtype, neither of them zero. Anything that
        :func:`ntkspec.operators.wrap` takes; a test kernel too.
    rtol : float or None, default None
        0 asks for exact Frobenius norms; a positive number allows intervals of that relative width from random probes
        (:func:`ntkspec.frobenius_norm`), where that is forecast to be faster. None is 0, and 0.05 where only products
        are known.
    failure_probability : float, default 1e-6
        An interval from probes may miss the true value with at most this probability, over the random numbers drawn
        from ``seed``, whatever the kernels are. Without probes it never fails.
    seed : int, default 0
        Seed of the random probes. The same seed gives the same result.

    Returns
    -------
    Estimate
        ``value`` is the distance. ``lower`` and ``upper`` are the ends of the interval, ``failure_probability`` the
        probability that it misses the true value, ``products`` the number of products with single vectors,
        ``converged`` whether the three norms are as accurate as asked for.

    Raises
    ------
    ValueError
        Where the shapes differ, or a kernel is zero; TypeError where the dtypes differ.

    Notes
    -----
    The second form is computed: kernels that nearly agree lose no digits. The interval holds the rounding of the
    norms. Cost: three Frobenius norms, of both kernels and of their scaled difference; each forms every tile once, or
    takes products where only those are known.

    References
    ----------
    S. Fort, G. K. Dziugaite, M. Paul, S. Kharaghani, D. M. Roy, S. Ganguli, Deep learning versus kernel learning,
    NeurIPS 2020, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> K = np.diag([3.0, 4.0])
    >>> float(ns.kernel_distance(K, 7 * K)) < 1e-15
    True
    >>> round(float(ns.kernel_distance(K, np.diag([4.0, 3.0]))), 12)
    0.04
    """
    how = _How(rtol, failure_probability, seed)
    return _distance(*_on_the_same_points(wrap(first), wrap(second)), how=how)


def kernel_alignment(
    first: MatrixLike,
    second: MatrixLike,
    *,
    centered: bool = True,
    rtol: float | None = None,
    failure_probability: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    r"""The alignment of two kernels on the same points, a cosine from -1 to 1 (from 0 for semidefinite kernels).

    .. math:: A = \frac{\langle H K_1 H, H K_2 H \rangle_F}{\|H K_1 H\|_F \|H K_2 H\|_F}, \qquad
              H = I - \frac{1}{n} 1 1^T

    Also called centered kernel alignment (CKA).

    Parameters
    ----------
    first, second : KernelOperator, array, sparse matrix or LinearOperator
        The kernels, both (n, n), symmetric, of the same dtype. Anything that :func:`ntkspec.operators.wrap` takes.
    centered : bool, default True
        False takes H = I: a constant in the kernels then counts, and kernels with positive entries look alike. Of
        kernels with a row for each output, H takes out a constant of each output.
    rtol : float or None, default None
        As :func:`kernel_distance`.
    failure_probability : float, default 1e-6
        An interval from probes may miss the true value with at most this probability, over the random numbers drawn
        from ``seed``, whatever the kernels are. Without probes it never fails.
    seed : int, default 0
        Seed of the random probes. The same seed gives the same result.

    Returns
    -------
    Estimate
        ``value`` is the alignment. ``lower`` and ``upper`` are the ends of the interval, ``failure_probability`` the
        probability that it misses the true value, ``products`` the number of products with single vectors,
        ``converged`` whether the three norms are as accurate as asked for.

    Raises
    ------
    ValueError
        Where a kernel is not symmetric, the shapes differ, or a kernel is zero (constant, if ``centered``); TypeError
        where the dtypes differ.

    Notes
    -----
    One minus :func:`kernel_distance` of the centered kernels; the interval holds the rounding of what centering
    subtracts. Cost: a product and a Frobenius norm of each kernel, and the Frobenius norm of a difference.

    References
    ----------
    C. Cortes, M. Mohri, A. Rostamizadeh, Algorithms for learning kernels based on centered alignment, JMLR 13, 2012.

    S. Kornblith, M. Norouzi, H. Lee, G. Hinton, Similarity of neural network representations revisited, ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> K = X @ X.T
    >>> round(float(ns.kernel_alignment(K, K + 100.0)), 12)     # a constant kernel is taken out
    1.0
    """
    one, other = _on_the_same_points(as_symmetric(first), as_symmetric(second))
    how = _How(rtol, failure_probability, seed)
    if not centered:
        return 1 - _distance(one, other, how=how)
    (one, error), (other, second_error) = centred(one), centred(other)
    distance = 1 - _distance(one, other, how=how, errors=(error, second_error))
    return replace(distance, products=distance.products + 2 * one.rows_per_point)


@dataclass(frozen=True)
class _How:
    """How accurately Frobenius norms are computed."""

    rtol: float | None
    failure_probability: float
    seed: int

    def norm(self, kernel: KernelOperator, entrywise: bool) -> Estimate:
        """One of three; rtol is None: exact, and from probes where a kernel has no entries."""
        rtol = (0.0 if entrywise else PROBED) if self.rtol is None else self.rtol
        return frobenius_norm(kernel, rtol=rtol, failure_probability=self.failure_probability / 3, seed=self.seed)


def _on_the_same_points(first: KernelOperator, second: KernelOperator) -> tuple[KernelOperator, KernelOperator]:
    if first.shape != second.shape:
        raise ValueError(f"kernels of shapes {first.shape} and {second.shape} are not on the same points")
    if first.dtype != second.dtype:
        raise TypeError(f"the kernels are of {first.dtype} and {second.dtype}; build both from data of one dtype")
    return first, second


def _distance(
    first: KernelOperator, second: KernelOperator, *, how: _How, errors: tuple[float, float] = (0.0, 0.0)
) -> Estimate:
    """errors : bounds on those of the kernels in Frobenius norm."""
    checks.accuracy(how.rtol or 0.0, how.failure_probability, how.seed, exact=True)
    entrywise = first.entrywise and second.entrywise
    norms = [how.norm(kernel, entrywise) for kernel in (first, second)]
    for name, norm, error in zip(("first", "second"), norms, errors, strict=True):
        if norm.value <= error:
            raise NoDirection(f"the {name} kernel is zero{' but for a constant' if error else ''}; it has no direction")
    scale = norms[0].value / norms[1].value
    apart = how.norm(first - scale * second, entrywise)
    # In units of the norm of the first kernel, which the second one is scaled to.
    one, other = (_within(norm, error, norm.value) for norm, error in zip(norms, errors, strict=True))
    between = _within(apart, errors[0] + scale * errors[1], norms[0].value)
    interval = (between.power(2) + -(one + -other).power(2)) * (one * other * Interval(2.0, 2.0)).inverse()
    lower, upper = (min(max(end, 0.0), 2.0) for end in (interval.lower, interval.upper))
    value = min(max((apart.value / norms[0].value) ** 2 / 2, lower), upper)
    parts = (*norms, apart)
    return Estimate(
        value,
        lower,
        upper,
        sum(part.failure_probability for part in parts),
        sum(part.products for part in parts),
        all(part.converged for part in parts),
        apart.plan,
    )


def _within(norm: Estimate, error: float, unit: float) -> Interval:
    """The norm of what is off by the error, in a unit."""
    return Interval(max(0.0, norm.lower - error), norm.upper + error) * Interval(unit, unit).inverse()
