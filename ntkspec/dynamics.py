"""Gradient descent of a kernel model in closed form."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ntkspec import checks, planning, progress
from ntkspec.lanczos import Lanczos
from ntkspec.networks import TwoLayer
from ntkspec.operators import Dense, KernelOperator, as_symmetric

# Up to this size the dense eigenproblem is solved, in about a second.
DENSE_SIZE = 1500
# A Krylov basis grows until its error bound is this small against |y| and |u_t|, until it fills this part of the free
# memory, or until it holds this many vectors.
KRYLOV_TOLERANCE = {"d": 1e-10, "f": 1e-5}
KRYLOV_MEMORY_SHARE = 0.25
KRYLOV_MOST = 3000


@dataclass(frozen=True)
class Trajectory:
    """Outputs over training: ``train`` (steps, n) and ``test`` (steps, n') or None, at the recorded ``steps``.

    method : how it was computed. error : for each step a bound on |u - train| / sqrt(n), the root mean square
    truncation error of the training outputs (an estimate where eta lambda_max > n); rounding comes on top.
    network : the trained network of real training.
    """

    steps: np.ndarray
    train: np.ndarray
    test: np.ndarray | None
    method: str
    error: np.ndarray
    network: TwoLayer | None = None


def largest_stable_rate(norm: float, n: int) -> float:
    """2 n / lambda_max: gradient descent on (1/2n) |f - y|² diverges for a larger learning rate (inf for norm 0)."""
    return 2 * n / norm if norm > 0 else math.inf


def predict_gd(
    kernel: KernelOperator, y, *, eta: float, steps, kernel_test: KernelOperator | None = None
) -> Trajectory:
    r"""Full-batch gradient descent u <- u - (eta/n) K (u - y) from u = 0, in closed form.

    .. math:: u_t = y - (I - \eta K / n)^t y, \qquad f_t = K_* g_t(K) y, \qquad
              g_t(\lambda) = (1 - (1 - \eta\lambda/n)^t) / \lambda

    kernel : (n, n), symmetric. y : (n,). kernel_test : (n', n), test points against training points, or None.
    steps : whole numbers >= 0 in any order, any size. Unequal rates: ``predict_gd(eta1*K1 + eta2*K2, y, eta=1, ...)``.
    Method: the k x k problem of the features where K = F Fᵀ is thin (the linear models: k = d + 2), else the dense
    eigenproblem up to n = 1500, else a Krylov basis from y, whose error bound is returned for each step.
    A rate past the largest stable one is followed all the same, with a RuntimeWarning that names the threshold.
    Cost: O(n k²), O(n³), or p products and 4 n p² flops. Raises ValueError for input that does not fit.
    """
    kernel = as_symmetric(kernel)
    n = kernel.shape[0]
    y = checks.as_vector(y, "y", n).astype(kernel.dtype, copy=False)
    eta, steps = checks.learning_rate(eta, "eta"), checks.as_steps(steps)
    if kernel_test is not None and kernel_test.shape[1] != n:
        raise ValueError(f"kernel_test has shape {kernel_test.shape}, but (n', {n}) is needed: test against training")
    solve = _choose(kernel, kernel_test)
    return solve(kernel, kernel_test, y, eta, steps)


def _choose(kernel, kernel_test):
    if _shared_factors(kernel, kernel_test) is not None:
        return _predict_thin
    return _predict_dense if kernel.shape[0] <= DENSE_SIZE else _predict_krylov


def _shared_factors(kernel, kernel_test):
    """(F, F*) where K = F Fᵀ is thin and the test kernel is F* Fᵀ with the same F, else None."""
    factors = kernel.thin_factors()
    if factors is None or factors[0].shape[1] >= kernel.shape[0]:
        return None
    if kernel_test is None:
        return factors[0], None
    test_factors = kernel_test.thin_factors()
    if test_factors is None or not np.array_equal(test_factors[1], factors[1]):
        return None
    return factors[0], test_factors[0]


# ------------------------------------------------------------------------------------------- one eigenmode over time
def learned(x, steps):
    """1 - (1 - x)^t for each t in steps (rows) and x = eta lambda / n (columns), without cancellation for small x."""
    x, t = np.asarray(x, dtype=np.float64), np.asarray(steps, dtype=np.float64)[:, None]
    with np.errstate(all="ignore"):
        slow = -np.expm1(t * np.log1p(-np.minimum(x, 0.5)))
        sign = np.where(np.asarray(steps)[:, None] % 2 == 1, np.sign(1 - x), 1.0)
        fast = 1 - np.where(t == 0, 1.0, sign * np.exp(t * np.log(abs(1 - x))))
    return np.where(x < 0.5, slow, fast)


def _warn_if_negative(rate: float, smallest: float, steps) -> None:
    """Warn where a negative eigenvalue, of the kernel or of its rounding, changes its mode by more than 1 %."""
    growth = rate * max(0.0, -smallest) * float(np.max(steps))
    if growth > 0.01:
        warnings.warn(
            f"the kernel has the eigenvalue {smallest:.3g} < 0, whose part of y grows by exp({growth:.3g}) over the "
            f"steps; where it comes from rounding, use float64 or fewer steps",
            RuntimeWarning,
            stacklevel=5,
        )


def gain(x, steps):
    """(1 - (1 - x)^t) / x, and t at x = 0."""
    x = np.asarray(x, dtype=np.float64)
    safe = np.where(x == 0, 1.0, x)
    return np.where(x == 0, np.asarray(steps, dtype=np.float64)[:, None], learned(x, steps) / safe)


class UnstableRateWarning(RuntimeWarning):
    """The learning rate is past the largest stable one."""


def warn_if_unstable(eta: float, norm: float, n: int, name: str = "learning rate") -> None:
    """Warn where gradient descent with rate eta and a kernel of that norm diverges; the threshold is named."""
    if eta * norm > 2 * n:
        warnings.warn(
            f"{name} {eta:.6g} is past the largest stable one, 2 n / lambda_max = {2 * n / norm:.6g}: "
            f"gradient descent on the kernel model diverges",
            UnstableRateWarning,
            stacklevel=5,
        )


# -------------------------------------------------------------------------------------------------- the three methods
# Past the largest stable rate outputs grow to infinity; that is followed, and was warned of.
_UNSTABLE = np.errstate(over="ignore", invalid="ignore")


@_UNSTABLE
def _predict_thin(kernel, kernel_test, y, eta, steps):
    F, F_test = _shared_factors(kernel, kernel_test)
    rate, run, shares = eta / len(y), kernel.engine.run, kernel.engine.shares(len(y))
    gram, target = map(sum, zip(*run(lambda share: _normal_equations(F[share], y[share]), shares), strict=True))
    values, V = eigh(gram)
    warn_if_unstable(eta, float(values[-1]), len(y))
    coefficients = (rate * gain(rate * values, steps) * (V.T @ target)) @ V.T

    def outputs(features):
        rows = kernel.engine.shares(len(features))
        return np.hstack(run(_UNSTABLE(lambda share: (coefficients @ features[share].T).astype(kernel.dtype)), rows))

    test = None if F_test is None else outputs(F_test)
    return Trajectory(steps, outputs(F), test, f"features ({F.shape[1]})", np.zeros(len(steps)))


def _normal_equations(F, y):
    """Fᵀ F and Fᵀ y in float64: many steps amplify what rounding leaves in the directions of small eigenvalues."""
    F = F.astype(np.float64, copy=False)
    return F.T @ F, F.T @ y.astype(np.float64, copy=False)


@_UNSTABLE
def _predict_dense(kernel, kernel_test, y, eta, steps):
    rate = eta / len(y)
    values, V = eigh(_float64_matrix(kernel))
    warn_if_unstable(eta, float(values[-1]), len(y))
    _warn_if_negative(rate, float(values[0]), steps)
    target = V.T @ y
    train = ((learned(rate * values, steps) * target) @ V.T).astype(kernel.dtype)
    test = None
    if kernel_test is not None:
        test = _test_outputs(kernel_test, (rate * gain(rate * values, steps) * target) @ V.T)
    return Trajectory(steps, train, test, "dense eigenproblem", np.zeros(len(steps)))


def _test_outputs(kernel_test, dual):
    """K_* alpha for each row alpha of ``dual``; NaN where alpha is past the square root of the largest number."""
    outputs = np.full((len(dual), kernel_test.shape[0]), np.nan, kernel_test.dtype)
    followed = (abs(dual) < np.finfo(kernel_test.dtype).max ** 0.5).all(axis=1)
    if followed.any():
        outputs[followed] = (kernel_test @ dual[followed].astype(kernel_test.dtype).T).T
    return outputs


def _float64_matrix(kernel):
    """The matrix in float64, from the features where there are some: then its null space is one to 1e-16."""
    factors = kernel.thin_factors()
    if factors is None:
        return kernel.to_dense(np.float64)
    F = factors[0].astype(np.float64, copy=False)
    return F @ F.T


@_UNSTABLE
def _predict_krylov(kernel, kernel_test, y, eta, steps):
    rate = eta / len(y)
    size = float(np.linalg.norm(y))
    if size == 0:
        test = None if kernel_test is None else np.zeros((len(steps), kernel_test.shape[0]), kernel.dtype)
        return Trajectory(
            steps, np.zeros((len(steps), len(y)), kernel.dtype), test, "zero labels", np.zeros(len(steps))
        )
    lanczos, error = _krylov_basis(kernel, y, rate, steps)
    theta, S = lanczos.ritz()
    warn_if_unstable(eta, float(theta[-1]), len(y))
    _warn_if_negative(rate, float(theta[0]), steps)
    basis, weights = lanczos.vectors, lanczos.start_factor[0, 0] * S[0]
    train = (((weights * learned(rate * theta, steps)) @ S.T) @ basis).astype(kernel.dtype)
    test = None
    if kernel_test is not None:
        basis_test = Dense(kernel_test @ basis.T.astype(kernel.dtype), symmetric=False)
        test = _test_outputs(basis_test, (weights * rate * gain(rate * theta, steps)) @ S.T)
    return Trajectory(steps, train, test, f"Krylov ({lanczos.products})", size * error / math.sqrt(len(y)))


def _krylov_basis(kernel, y, rate, steps):
    r"""A basis from y, and for each step a bound on the error of the outputs relative to |y|.

    The residual y - u_t of the Krylov model misses, in each step s, rate beta_k q_{k+1} (e_kᵀ (I - rate T)^s e_1), and
    every later step shrinks what was missed. With rate T's diagonal at most 1, (I - rate T)^s has entries of constant
    sign, so the sum over s < t is rate beta_k |e_kᵀ g_t(T) e_1|, g_t = gain: a bound while rate lambda_max <= 1.
    """
    kernel, _ = planning.prepare(kernel, 300, block=1)
    n, tolerance = kernel.shape[0], KRYLOV_TOLERANCE[kernel.dtype.char]
    fitting = int(KRYLOV_MEMORY_SHARE * kernel.engine.free_memory() / (8 * n))
    most = min(n, KRYLOV_MOST, max(50, fitting))
    lanczos = Lanczos(kernel)
    lanczos.begin(y)
    with kernel.engine.one_blas_thread(), progress.bar(text="prediction (products)") as bar:
        while True:
            before = lanczos.products
            lanczos.extend(min(10 + before // 10, most - before))
            bar.update(lanczos.products - before)
            theta, S = lanczos.ritz()
            last = (lanczos.coupling @ S).sum(axis=0)  # beta_k times the last row of S; nothing where exhausted
            error = rate * abs(gain(rate * theta, steps) @ (last * S[0]))
            size = np.linalg.norm(learned(rate * theta, steps) * S[0], axis=1)
            # Past the largest stable rate the outputs grow; where they overflow there is nothing to be accurate about.
            open_ = np.isfinite(size) & ~(error <= tolerance * np.maximum(1, size))
            if not open_.any() or lanczos.exhausted:
                return lanczos, error
            if lanczos.products >= most:
                warnings.warn(
                    f"the prediction reaches an error of {error[open_].max():.1e} |y| with a basis of {most} vectors, "
                    f"instead of {tolerance:.0e}; ask for fewer steps or a smaller learning rate",
                    RuntimeWarning,
                    stacklevel=5,
                )
                return lanczos, error
