"""Where training of a kernel model ends: kernel regression, and the posterior of a Gaussian process."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.dynamics.arguments import checked_square, checked_test
from ntkspec.dynamics.conjugate_residuals import Solutions, solve
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.objects.notebook import Columned, Row, Shown, Table
from ntkspec.operators import KernelOperator, as_symmetric, planning
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.layout import labels_of
from ntkspec.operators.rounding import HALF_ULP
from ntkspec.spectra.norms import spectral_norm

# Residuals relative to their right-hand sides, and products with one column that are planned for.
RTOL, EXPECTED = 1e-8, 50


@dataclass(frozen=True, eq=False)
class Posterior(Shown, Columned):
    """Mean and covariance on test points, with bounds on their errors; it unpacks as ``mean, covariance``.

    Attributes
    ----------
    mean : array, shape (n',) or (n', K)
        The mean on the test points, of each column of labels.
    covariance : array, shape (n', n') or (n' K, n' K), or None
        The covariance of the test outputs; None where no kernel of the test points was given.
    error : ndarray, shape (n',) or (n', K)
        Bounds on the absolute errors of ``mean``; inf where the smallest eigenvalue of K + noise I is not known to be
        positive.
    covariance_error : ndarray of the shape of ``covariance``, or None
        The same for ``covariance``.
    smallest : float
        The lower bound on the smallest eigenvalue of K + noise I that the errors rest on.
    failure_probability : float
        The probability with which ``smallest`` may fail, over the random start it was found from; 0.0 where the kernel
        is positive semidefinite by construction.
    residual : float
        The largest residual, relative to its right-hand side.
    products : int
        How many products of the kernel with single vectors were computed.
    converged : bool
        Whether all residuals are as small as asked for with ``rtol``.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> found = ns.posterior(np.eye(2), np.array([[0.5, 0.0]]), np.eye(1), [1.0, -1.0], noise=1.0)
    >>> float(found.mean[0]), round(float(found.variance[0]), 12)
    (0.25, 0.875)
    """

    mean: Array
    covariance: Array | None
    error: np.ndarray
    covariance_error: np.ndarray | None
    smallest: float
    failure_probability: float
    residual: float
    products: int
    converged: bool

    def __iter__(self) -> Iterator[Array | None]:
        """``mean, covariance = ns.posterior(...)``."""
        yield self.mean
        yield self.covariance

    @property
    def variance(self) -> Array:
        """The diagonal of the covariance. Raises ValueError where there is none."""
        if self.covariance is None:
            raise ValueError("there is no covariance: pass kernel_test, the kernel of the test points")
        return self.covariance.diagonal()

    def _shown(self) -> Table:
        rows = [
            Row("mean", " x ".join(map(str, self.mean.shape)), f"errors up to {_largest(self.error):.2g}"),
            Row("residual", f"{self.residual:.2g}", f"of {self.products:,} products"),
        ]
        if self.covariance is not None:
            shape, most = " x ".join(map(str, self.covariance.shape)), _largest(self.covariance_error)
            rows.insert(1, Row("covariance", shape, f"errors up to {most:.2g}"))
        return Table("Posterior" if self.converged else "Posterior, not converged", rows)

    def _columns(self) -> dict[str, Any]:
        """A row for each test point and output."""
        mean = engine_of(self.mean).to_host(self.mean)
        indices = dict(zip(("point", "output"), np.indices(mean.shape).reshape(mean.ndim, -1), strict=False))
        return indices | {"mean": mean.ravel(), "error": self.error.ravel()}


def _largest(errors: np.ndarray | None) -> float:
    return 0.0 if errors is None else float(np.max(errors, initial=0.0))


def posterior(
    kernel: MatrixLike,
    kernel_cross: MatrixLike,
    kernel_test: MatrixLike | None,
    y: ArrayLike,
    *,
    noise: float = 0.0,
    rtol: float = RTOL,
    seed: int = 0,
) -> Posterior:
    r"""Kernel regression and its uncertainty: the posterior of a Gaussian process with this kernel.

    .. math:: \mu = K_* (K + \sigma^2 I)^{-1} y, \qquad \Sigma = K_{**} - K_* (K + \sigma^2 I)^{-1} K_*^T

    With :func:`ntkspec.expected_nngp` it is the posterior of an infinitely wide network whose last layer is trained, or
    which is Bayesian; with an NTK and without noise the mean is where gradient descent from zero outputs ends. In
    kernel regression with the loss (1/2n) \|f - y\|² + (c/2) \|f\|², in the norm of the kernel, ``noise`` is n c.

    Parameters
    ----------
    kernel : KernelOperator, array, sparse matrix or LinearOperator
        K on the n training points, (n, n), symmetric; or (n K, n K) with a row for each of K outputs. Anything that
        :func:`ntkspec.operators.wrap` takes.
    kernel_cross : KernelOperator, array, sparse matrix or LinearOperator
        K_*, test against training points, (n', n), as ``ns.ntk(net, X_test, X)`` gives.
    kernel_test : KernelOperator, array, sparse matrix, LinearOperator or None
        K_** on the test points, (n', n'), symmetric; None leaves out the covariance, which takes a solution for each
        test point.
    y : array, shape (n,) or (n, K)
        Labels, finite, on the kernel's device. Of a kernel of points each column has a mean of its own, and all have
        one covariance.
    noise : float, default 0.0
        sigma², the variance of the noise of labels, or the ridge; at least 0.
    rtol : float, default 1e-8
        Iterations end where the residual is this small, relative to its right-hand side.
    seed : int, default 0
        Seed of the random start from which the smallest eigenvalue is bounded. The same seed gives the same result.

    Returns
    -------
    Posterior
        ``mean`` and ``covariance``, into which it unpacks, with bounds on their errors, ``error`` and
        ``covariance_error``; ``residual``, ``products``, ``converged``. Arrays are float64.

    Raises
    ------
    ValueError
        Where a kernel is not symmetric, shapes do not fit, ``noise`` is negative, or the solutions do not fit into
        memory.

    Warns
    -----
    RuntimeWarning
        Where a residual stays above what ``rtol`` asks for.

    Notes
    -----
    With the computed solutions s of the rows k of K_*, and a of y, and their residuals rho and r, each result is
    corrected by what the residuals tell, k·a + s·r, so that its error is at most
    \|rho\| \|r\| / smallest, of second order. Without ``kernel_test`` it is \|k\| \|r\| / smallest. ``smallest`` is
    ``noise`` where K is positive semidefinite by construction and ``noise`` is positive, else a bound on the smallest
    eigenvalue by Lanczos. The bounds hold rounding of the products in float64; that of the kernels' own entries is not
    in them. The number of products grows as the root of the condition number: noise helps. Cost: a product for each
    column and iteration, and 24 n (n' + K) bytes.

    References
    ----------
    C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, eqs. (2.25) and (2.26).

    E. Stiefel, Relaxationsmethoden bester Strategie zur Lösung linearer Gleichungssysteme, Comment. Math. Helv. 29,
    1955: conjugate residuals.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> data = ns.datasets.gaussian(200, 5, n_test=20)
    >>> K = ns.expected_nngp("relu", data.X)
    >>> cross, test = ns.expected_nngp("relu", data.X_test, data.X), ns.expected_nngp("relu", data.X_test)
    >>> mean, covariance = found = ns.posterior(K, cross, test, data.y, noise=0.1)
    >>> mean.shape, covariance.shape, found.converged, bool(found.error.max() < 1e-9)
    ((20,), (20, 20), True, True)
    """
    kernel = as_symmetric(kernel)
    y, layout = labels_of(y, kernel)
    cross = checked_test(kernel_cross, kernel, name="kernel_cross")
    if cross is None:
        raise ValueError("kernel_cross is None, but the kernel of test against training points is needed")
    test, noise = checked_square(kernel_test, cross, name="kernel_test", of="kernel_cross"), _checked_noise(noise)
    checks.accuracy(rtol, 1e-6, seed)
    labels, n_test, engine = layout.vectors(y).T.astype(np.float64), cross.shape[0], kernel.engine
    columns = labels.shape[1] + (0 if test is None else n_test)
    needed = 8.0 * kernel.shape[0] * (3 * columns + n_test)
    checks.memory(needed, engine, f"solutions for {n_test:,} test points", "take fewer test points at a time")
    prepared, _ = planning.prepare(kernel, EXPECTED * columns, block=columns)
    smallest, failure_probability, products = _smallest(prepared, noise, seed)
    rows = cross.to_dense(np.float64)
    sides = [labels] if test is None else [labels, engine.xp.ascontiguousarray(rows.T)]
    solutions = [solve(prepared, side, noise=noise, rtol=rtol) for side in sides]
    residual = max(_relative(one, side, engine) for one, side in zip(solutions, sides, strict=True))
    converged = all(one.converged for one in solutions)
    if not converged:
        told = f"a residual of {residual:.2g} of its right-hand side is left, above {rtol=:.2g}"
        warnings.warn(f"{told}; noise > 0 makes the problem better conditioned", RuntimeWarning, stacklevel=2)
    of_labels, of_rows = solutions[0], solutions[-1] if test is not None else None
    mean, error = _products(rows, of_labels, of_rows, smallest)
    covariance, covariance_error = None, None
    if test is not None:
        explained, covariance_error = _products(rows, solutions[-1], of_rows, smallest)
        covariance = test.to_dense(np.float64) - (explained + explained.T) / 2
        covariance_error += HALF_ULP * abs(engine.to_host(covariance))
    products += sum(one.products for one in solutions)
    mean, error = _outputs(mean, layout), _outputs(error, layout)
    return Posterior(
        mean, covariance, error, covariance_error, smallest, failure_probability, residual, products, converged
    )


def _products(rows: Array, right: Solutions, left: Solutions | None, smallest: float) -> tuple[Array, np.ndarray]:
    """Rows times (K + noise I)⁻¹ B for the solutions of B, and bounds on the errors.

    left : the solutions of the rows, by which the products are corrected.
    """
    engine = engine_of(rows)
    norms, lengths = (engine.to_host(engine.xp.linalg.norm(*one)) for one in ((rows, None, 1), (right.X, None, 0)))
    found, of_left = rows @ right.X, norms
    if left is not None:
        found, of_left = found + left.X.T @ right.residuals, left.sizes
    rounded = 2 * (rows.shape[1] + 2) * HALF_ULP * np.outer(norms, lengths)  # corrections are no larger
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = np.outer(of_left, right.sizes) / smallest
    return found, rounded + np.where(np.isnan(left_out), 0.0, left_out)


def _checked_noise(noise: Any) -> float:
    needed = "a finite number of at least 0 is needed: the variance of the labels' noise"
    return checks.not_negative(noise, "noise", needed)


def _smallest(kernel: KernelOperator, noise: float, seed: int) -> tuple[float, float, int]:
    """A lower bound on the eigenvalues of K + noise I that is > 0, or 0; its failure probability and products."""
    if kernel.semidefinite and noise > kernel.storage_error:
        return noise - kernel.storage_error, 0.0, 0
    norm = spectral_norm(kernel, seed=seed)
    if norm.evidence is None:
        return 0.0, norm.failure_probability, norm.products
    return max(0.0, noise + norm.evidence.lowest), norm.evidence.failure_probability, norm.products


def _relative(found: Solutions, wanted: Array, engine: Any) -> float:
    """The largest residual against its right-hand side."""
    sizes = engine.to_host(engine.xp.linalg.norm(wanted, axis=0))
    return float(np.max(found.sizes[sizes > 0] / sizes[sizes > 0], initial=0.0))


def _outputs(columns: Any, layout: Any) -> Any:
    """Of test points (n', b) for b vectors: (n',), or (n', K)."""
    if layout.outputs is None:
        return columns[:, 0]
    return columns.reshape(-1, layout.outputs) if layout.stacked else columns
