"""What a kernel's own rounding does to results that look exact: everything is held against the kernel in float64."""

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.operators import Dense, Gram, form, wrap


def kernels(n=400):
    X = ns.datasets.gaussian(n, 20, seed=3).X.astype(np.float32)
    net = ns.TwoLayer.symmetric(20, 100, "erf", seed=1, dtype=np.float32)
    theta = ns.ntk(net, X)
    return theta, theta.to_dense(np.float64)


def test_small_float32_kernels_are_solved_in_float64():
    theta, truth = kernels()
    values = np.linalg.eigvalsh(truth)
    spectrum = ns.eigsh(theta, 3)
    assert spectrum.others[0] <= values[0]
    assert values[-4] <= spectrum.others[1]
    assert (np.abs(spectrum.values - values[:-4:-1]) <= spectrum.residuals).all()
    condition = ns.condition_number(theta)
    assert condition.lower <= values[-1] / values[0] <= condition.upper
    assert condition.upper - condition.lower <= 1e-6 * condition.upper
    p = values / values.sum()
    entropy = ns.spectral_entropy(theta)
    assert entropy.lower <= -(p * np.log(p)).sum() <= entropy.upper
    assert entropy.upper - entropy.lower < 1e-6


def test_norms_and_alignments_of_float32_kernels_hold_those_of_the_kernel():
    theta, truth = kernels(900)
    y = np.random.default_rng(0).choice([-1.0, 1.0], 900)
    norm = ns.frobenius_norm(theta)
    assert norm.lower <= np.linalg.norm(truth) <= norm.upper
    assert norm.upper > norm.lower
    for centered in (False, True):
        H = np.eye(900) - centered / 900
        A, z = H @ truth @ H, H @ y
        expected = z @ A @ z / (np.linalg.norm(A) * (z @ z))
        found = ns.kernel_target_alignment(theta, y, centered=centered)
        assert found.lower <= expected <= found.upper
        assert found.upper - found.lower < 1e-4


@pytest.mark.parametrize("constant", [1e3, 1e7, 1e12])
def test_a_large_constant_does_not_cancel_a_centered_alignment(constant):
    rng = np.random.default_rng(1)
    F, y = rng.standard_normal((300, 300)), rng.choice([-1.0, 1.0], 300)
    A = F @ F.T / 300
    exact = ns.kernel_target_alignment(A, y, centered=True)
    found = ns.kernel_target_alignment(A + constant, y, centered=True)
    assert found.lower <= exact.value <= found.upper
    if constant < 1e10:
        assert float(found) == pytest.approx(float(exact), abs=1e-5)


def test_a_stored_matrix_widens_residuals_and_angles():
    """Two forms of one kernel: eigenpairs and angles must agree within what they claim."""
    theta, truth = kernels(900)
    pairs = [ns.eigsh(theta, 4, rtol=1e-10, method=method) for method in ("dense", "factored")]
    for spectrum in pairs:
        actual = np.linalg.norm(truth @ spectrum.vectors - spectrum.vectors * spectrum.values, axis=0)
        assert (actual <= spectrum.residuals).all()
    angles = ns.subspace_angles(*pairs)
    assert angles.angles.max() <= angles.error


def test_distances_add_up_over_sums_and_formed_matrices():
    A = np.random.default_rng(0).standard_normal((60, 60)).astype(np.float32)
    A = A + A.T
    A[3, 5] += 3e-5
    one = Dense(A)
    assert one.symmetric
    assert one.storage_error > 0
    assert (2.0 * one - 3.0 * one).storage_error == pytest.approx(5 * one.storage_error)
    assert form(1.0 * one).storage_error >= one.storage_error
    norm = ns.spectral_norm(1.0 * one, method="dense", rtol=1e-7)
    assert norm.lower <= np.linalg.norm((A.astype(float) + A.T) / 2, 2) <= norm.upper


def test_rows_whose_entries_cancel_are_seen_by_the_estimate_of_rounding():
    """One large row in both terms: the diagonal of the difference is small where its rounding is largest."""
    rng = np.random.default_rng(2)
    F = rng.standard_normal((500, 30)).astype(np.float32)
    F[7] *= 3000
    G = F.copy()
    G[7] = rng.permutation(F[7])
    gap = Gram(F) - Gram(G)
    actual = np.linalg.norm(gap.to_dense().astype(np.float64) - gap.to_dense(np.float64))
    assert 0.5 * actual <= gap.formed_error <= 50 * actual


def test_an_estimate_of_rounding_is_doubled():
    """All rows alike: the estimate itself is nearly exact, so that twice of it is nearly twice the distance."""
    X = np.random.default_rng(0).standard_normal((600, 40)).astype(np.float32)
    operator = Gram(X)
    actual = np.linalg.norm(operator.to_dense().astype(np.float64) - operator.to_dense(np.float64))
    assert operator.formed_error == pytest.approx(2 * actual, rel=0.3)


# ------------------------------------------------------------------------------------------- products with an error
def off(error, n=500):
    """The identity whose products are too large by a relative error, which is said."""
    return wrap(lambda v: (1 + error) * v, n, error=error)


def test_results_from_inaccurate_products_hold_the_truth():
    identity, n = off(1e-3), 500
    spectrum = ns.eigsh(identity, 2)
    assert (np.abs(spectrum.values - 1) <= spectrum.residuals).all()
    for estimate, truth in (
        (ns.trace(identity), n),
        (ns.trace(off(1e-3), rtol=0.05), n),
        (ns.frobenius_norm(off(1e-3)), n**0.5),
        (ns.spectral_norm(off(1e-3)), 1.0),
        (ns.spectral_norm(off(1e-3), method="dense"), 1.0),
        (ns.spectral_norm(wrap(lambda v: (1 + 1e-3) * v, n, dtype=np.float32, error=1e-3), method="dense"), 1.0),
    ):
        assert estimate.lower <= truth <= estimate.upper


def test_an_error_that_is_relative_to_the_largest_product_grows_with_it():
    """The first products are small and the later ones large: what was counted for the first must grow too."""
    from ntkspec.spectra.lanczos import Lanczos

    A = np.diag(np.r_[1e4, np.linspace(0, 1, 299)])
    operator = wrap(lambda v: A @ v, 300, error=1e-9)
    lanczos = Lanczos(operator)
    start = np.ones(300)
    start[0] = 1e-9
    lanczos.begin(start)
    lanczos.extend(12)
    assert lanczos.error >= 1e-9 * operator.rounding.norm_of_absolute * np.sqrt(12) * 0.99


# ------------------------------------------------------------------------------------------- functions that are wrong
def test_functions_are_looked_at_before_their_entries_are_believed():
    A = np.triu(np.ones((50, 50)))
    measures = [ns.trace, ns.spectral_norm, ns.condition_number, ns.spectral_entropy, ns.participation_ratio]
    for measure in (*measures, lambda K: ns.eigsh(K, 2), ns.spectral_density):
        with pytest.raises(ValueError, match="the operator is not symmetric"):
            measure(wrap(lambda v: A @ v, 50))
        with pytest.raises(ValueError, match="the operator is not linear"):
            measure(wrap(lambda v: np.maximum(v, 0), 50))


def test_a_function_may_write_into_its_argument_and_into_what_it_returned():
    A = np.diag(np.arange(1.0, 61))
    buffer = np.empty(60)

    def reusing(v):
        np.matmul(A, v, out=buffer)
        v *= 0
        return buffer

    assert float(ns.trace(wrap(reusing, 60))) == pytest.approx(60 * 61 / 2)
    assert float(ns.frobenius_norm(wrap(reusing, 60))) == pytest.approx(np.linalg.norm(A))


@pytest.mark.parametrize("at", [0, 1, 5, 40])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_product_that_is_not_finite_is_refused_everywhere(at, bad):
    def function(v):
        calls.append(None)
        product = np.arange(1.0, 101) * v
        if len(calls) == at + 1:
            product[3] = bad
        return product

    for measure in (ns.trace, ns.frobenius_norm, ns.spectral_entropy, ns.participation_ratio, ns.condition_number):
        calls: list = []
        with pytest.raises(ValueError, match="holds NaN or infinity"):
            measure(wrap(function, 100))


@pytest.mark.parametrize("rtol", [-1, np.nan, 1.0, np.inf, "a"])
def test_widths_chances_and_seeds_are_checked_before_anything_is_multiplied(rtol):
    def never(v):
        raise AssertionError("multiplied")

    measures = [ns.spectral_norm, ns.trace, ns.frobenius_norm, ns.spectral_entropy, ns.condition_number]
    for measure in (*measures, lambda K, **how: ns.eigsh(K, 2, **how), ns.effective_rank):
        with pytest.raises(ValueError, match="a relative width"):
            measure(wrap(never, 50), rtol=rtol)
        for chance in (0, 1, 2.0, 1e-300, "b"):
            with pytest.raises(ValueError, match="but a probability"):
                measure(wrap(never, 50), failure_probability=chance)
        for seed in (-1, 1.5, None, "a", 2**70):
            with pytest.raises(ValueError, match=r"seed=.*, but a whole number"):
                measure(wrap(never, 50), seed=seed)


def test_integer_sparse_matrices_are_served():
    from scipy import sparse

    path = sparse.csr_array(2 * np.eye(50, dtype=int) - np.eye(50, k=1, dtype=int) - np.eye(50, k=-1, dtype=int))
    truth = np.linalg.norm(path.toarray(), 2)
    estimate = ns.spectral_norm(path)
    assert estimate.lower <= truth <= estimate.upper


def test_degenerate_densities_are_drawn():
    for matrix in (np.zeros((5, 5)), np.eye(5), np.ones((1, 1)), 3e10 * np.eye(4)):
        density = ns.spectral_density(matrix)
        histogram = density.histogram()
        assert histogram.mass.sum() == pytest.approx(1)
        assert np.isfinite(density.smoothed().density).all()
    for width in (0, -1, np.nan):
        with pytest.raises(ValueError, match="a standard deviation"):
            density.smoothed(width=width)
    with pytest.raises(ValueError, match="x holds NaN"):
        density.cumulative(np.nan)
