"""Norms as intervals, against dense eigenvalues, on spectra that break others."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import ntkspec as ns
from adversarial import SPECTRA, every_spectrum, matrix_with, operator_with
from ntkspec.operators import Dense, EntrywiseOperator, Gram, KernelOperator, Rounding, form, wrap
from ntkspec.spectra import certificates, norms

N = 130
CASES = [(name, dtype) for dtype in (np.float64, np.float32) for name, _ in every_spectrum(N, dtype)]


def spectrum(name, dtype):
    return dict(every_spectrum(N, dtype))[name]


def as_dense(matrix):
    return Dense(matrix, symmetric=True)


def as_triangle(matrix):
    return form(Dense(matrix, symmetric=True))


def as_function(matrix):
    return wrap(lambda v: matrix @ v, len(matrix), dtype=matrix.dtype)


def as_difference(matrix):
    """2 K - K, from an array and from products."""
    return 2 * as_dense(matrix) - as_function(matrix)


FORMS = [as_dense, as_triangle, as_function, as_difference]


@pytest.mark.parametrize("build", FORMS)
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_the_interval_holds_the_spectral_norm_and_closes(name, dtype, build):
    matrix = matrix_with(spectrum(name, dtype), 3, dtype)
    exact = np.abs(np.linalg.eigvalsh(matrix.astype(np.float64))).max()
    with np.errstate(over="ignore"):
        estimate = ns.spectral_norm(build(matrix), seed=1, method="factored")
    assert estimate.lower <= exact * (1 + 1e-14) + 1e-300
    assert exact <= estimate.upper * (1 + 1e-14)
    assert estimate.lower <= estimate.value == float(estimate) <= estimate.upper
    assert estimate.converged
    assert estimate.upper - estimate.lower <= 1e-3 * estimate.upper


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10, 10).map(lambda value: round(value, 9)), min_size=1, max_size=40), st.integers(0, 10**6))
def test_the_interval_holds_for_random_spectra(values, seed):
    operator = operator_with(values, seed)
    estimate = ns.spectral_norm(operator, seed=seed, rtol=1e-2)
    exact = np.abs(np.linalg.eigvalsh(operator.matrix)).max()
    assert estimate.lower <= exact + 1e-14
    assert exact <= estimate.upper + 1e-14


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", ["outlier and four clusters", "outlier and four others"])
@pytest.mark.parametrize("factor", [1.0, -1.0, 1000.0])
@pytest.mark.parametrize("count", [200, pytest.param(600, marks=pytest.mark.slow)])
def test_the_failure_probability_is_kept_and_used_up_where_the_bound_is_sharp(name, factor, count):
    """After few products only the start's overlap decides: 30 % means up to 30 %, and not far less."""
    operator = operator_with(factor * SPECTRA[name](201))
    norm = np.abs(np.linalg.eigvalsh(operator.matrix)).max()
    estimates = [ns.spectral_norm(operator, rtol=0.5, failure_probability=0.3, seed=seed) for seed in range(count)]
    misses = sum(estimate.upper < norm * (1 - 1e-9) for estimate in estimates)
    assert count / 10 <= misses <= binom.ppf(1 - 1e-6, count, 0.3)


@pytest.mark.parametrize("name", ["outlier", "semicircle", "kernel-like", "five times the largest", "near clusters"])
@pytest.mark.parametrize("count", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_misses_stay_below_the_stated_probability(name, count):
    operator = operator_with(SPECTRA[name](100))
    norm = np.abs(np.linalg.eigvalsh(operator.matrix)).max()
    estimates = [ns.spectral_norm(operator, rtol=0.3, failure_probability=0.05, seed=seed) for seed in range(count)]
    misses = sum(estimate.upper < norm * (1 - 1e-12) for estimate in estimates)
    assert misses <= binom.ppf(1 - 1e-6, count, 0.05)
    assert all(estimate.lower <= norm * (1 + 1e-12) for estimate in estimates)


def test_a_smaller_failure_probability_takes_more_products():
    operator = operator_with(np.linspace(-1, 1, 300))
    products = [ns.spectral_norm(operator, rtol=0.1, failure_probability=p).products for p in (0.5, 1e-2, 1e-6, 1e-12)]
    assert products == sorted(products)
    assert products[0] < products[-1]


def gaps(dtype=np.float32, activation="erf", n=900):
    X = np.random.default_rng(0).standard_normal((n, 20)).astype(dtype)
    net = ns.TwoLayer.symmetric(20, 100, activation, seed=2, dtype=dtype)
    return ns.ntk(net, X) - ns.linear_kernel(activation, X, trace_ratio=1.0)


@pytest.mark.parametrize("activation", ["erf", "relu", "leaky_relu"])
@pytest.mark.parametrize("method", ["dense", "factored"])
def test_float32_kernels_have_the_norm_of_their_exact_matrix(method, activation):
    """The truth is the kernel of the float32 factors in exact arithmetic; forming it in float32 is in the interval."""
    gap = gaps(np.float32, activation)
    exact = np.linalg.norm(
        np.hstack([gap.tile(slice(0, 900), slice(a, a + 300), np.float64) for a in (0, 300, 600)]), 2
    )
    estimate = ns.spectral_norm(gap, method=method, rtol=1e-4)
    assert estimate.lower <= exact <= estimate.upper
    assert abs(estimate.value - exact) <= (1e-9 if method == "factored" else 1e-6) * exact
    assert (estimate.evidence.stored > 0) == (method == "dense")
    assert estimate.evidence.stored < 1e-4 * exact


def test_the_distance_of_a_stored_matrix_is_estimated_well():
    """Twice the Frobenius norm of what rounding to float32 did, within a factor of two."""
    gap = gaps()
    stored = form(gap)
    precise = np.hstack([gap.tile(slice(0, 900), slice(a, a + 300), np.float64) for a in (0, 300, 600)])
    exact = np.linalg.norm(stored.to_dense() - precise)
    assert exact <= stored.storage_error <= 4 * exact
    assert form(gaps(np.float64)).storage_error < 1e-10 * np.linalg.norm(precise)


@given(st.floats(1e-6, 0.5), st.floats(0, 0.44), st.floats(0.1, 10))
def test_an_interval_leaves_room_for_the_distance_of_the_stored_matrix(rtol, part, size):
    """A norm of ``size`` is proved so closely that the interval is as narrow as asked for with the distance on both
    sides."""
    distance = part * rtol / (1 - rtol) * size
    low, high = norms.target_interval(distance, rtol)(np.array([-size / 2, size]))
    assert -low == high > size
    assert (high + distance) - (size - distance) <= rtol * (high + 2 * distance) * (1 + 1e-9)


def test_a_matrix_that_is_too_inaccurate_for_the_interval_says_so():
    operator = operator_with(np.linspace(-1, 1, 200))
    operator.storage_error = 0.01
    estimate = ns.spectral_norm(operator)
    assert not estimate.converged
    assert estimate.lower <= 0.99
    assert 1.01 <= estimate.upper <= 1.0121
    assert estimate.evidence.stored == 0.01


def test_a_basis_that_is_full_says_so(monkeypatch):
    monkeypatch.setattr(certificates, "LARGEST_BASIS", 20)
    estimate = ns.spectral_norm(operator_with(np.linspace(-1, 1, 300)))
    assert not estimate.converged
    assert estimate.evidence.basis == 20
    assert estimate.lower < 1 < estimate.upper < 2


def test_what_has_converged_is_locked_where_the_basis_is_full(monkeypatch):
    """1,000 eigenvalues up to 1 and eight beyond: 48 vectors do not close the interval at once."""
    monkeypatch.setattr(certificates, "LARGEST_BASIS", 48)
    values = np.r_[np.linspace(-1, 1, 1000), np.linspace(1.2, 1.21, 8)]
    estimate = ns.spectral_norm(operator_with(values), rtol=1e-5)
    assert estimate.converged
    assert estimate.evidence.basis <= 48
    assert estimate.products > 96
    assert estimate.lower <= 1.21 <= estimate.upper <= 1.2100122


def test_norms_of_kernels_agree_with_dense_linear_algebra():
    gap = gaps(np.float64, "relu", 700)
    matrix = gap.to_dense()
    tight = ns.spectral_norm(gap, rtol=1e-8)
    assert float(tight) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-10)
    assert tight.converged
    assert float(ns.frobenius_norm(gap)) == pytest.approx(np.linalg.norm(matrix), rel=1e-13)


def test_the_evidence_says_what_the_interval_rests_on():
    gap = gaps()
    estimate = ns.spectral_norm(gap)
    evidence, values = estimate.evidence, np.linalg.eigvalsh(gap.to_dense().astype(np.float64))
    assert evidence.products == estimate.products
    assert evidence.semidefinite == "no"
    assert evidence.lowest <= values[0] <= evidence.smallest + 1e-5
    assert evidence.largest - 1e-5 <= values[-1] <= evidence.highest
    assert evidence.orthogonality_loss < 1e-12
    assert evidence.asymmetry < 1e-12
    assert 0 <= evidence.rounding_share < 1e-3
    for part in ("blocks of 2", "outside [", "random start", "stored matrix", "symmetry defect", "semidefinite: no"):
        assert part in str(evidence)


def test_the_sign_of_a_spectrum_is_judged_against_rounding():
    def verdict(operator, **options):
        return ns.spectral_norm(operator, **options).evidence.semidefinite

    assert verdict(Gram(np.random.default_rng(0).standard_normal((50, 60)))) == "yes, by construction"
    assert verdict(form(Gram(np.eye(3)))) == "yes, by construction"
    assert verdict(operator_with(np.r_[-0.2, np.linspace(0.1, 5, 99)]), rtol=1e-4) == "no"
    assert verdict(operator_with(np.linspace(0.5, 5, 100)), rtol=1e-4) == "yes, to rounding"
    assert verdict(operator_with(np.r_[np.zeros(3), np.linspace(2, 5, 97)]), rtol=0.5) == "cannot tell"
    assert verdict(-1 * Gram(np.ones((5, 1)))) == "no"


def test_a_sign_that_cannot_be_told_has_its_reason():
    undecided = ns.spectral_norm(operator_with(np.r_[np.zeros(3), np.linspace(2, 5, 97)]), rtol=0.5).evidence
    assert "was neither found nor excluded; a smaller rtol" in str(undecided)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_frobenius_norm_is_exact_on_rectangles_and_duplicates(dtype):
    F, G = (np.random.default_rng(seed).standard_normal((n, 4)).astype(dtype) for seed, n in ((0, 700), (1, 530)))
    F[1] = F[0]
    estimate = ns.frobenius_norm(Gram(F, G))
    assert float(estimate) == pytest.approx(np.linalg.norm(F.astype(float) @ G.T.astype(float)), rel=1e-6)
    truth = np.linalg.norm(F.astype(float) @ G.T.astype(float))
    assert estimate.lower <= truth <= estimate.upper
    assert estimate.upper - estimate.lower <= 1e4 * np.finfo(dtype).eps * truth
    assert estimate.failure_probability == 0.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [5, 600, 1100])
def test_the_frobenius_norm_is_the_same_with_and_without_the_formed_matrix(n, dtype):
    X = np.random.default_rng(0).standard_normal((n, 7)).astype(dtype)
    net = ns.TwoLayer.symmetric(7, 60, "relu", dtype=dtype)
    one, other = (ns.ntk(net, X) - ns.linear_kernel("relu", X, trace_ratio=1.0) for _ in range(2))
    ns.spectral_norm(one, method="dense")
    assert one.frobenius_squared is not None
    assert other.frobenius_squared is None
    exact = np.linalg.norm(other.to_dense().astype(np.float64))
    assert float(ns.frobenius_norm(one)) == pytest.approx(exact, rel=50 * float(np.finfo(dtype).eps))
    assert float(ns.frobenius_norm(other)) == pytest.approx(exact, rel=50 * float(np.finfo(dtype).eps))


class Unchecked(EntrywiseOperator):
    """The entries of an array as they are."""

    symmetric = True

    def __init__(self, matrix):
        self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype

    def _tile(self, rows, cols, dtype):
        return self.matrix[rows, cols].astype(dtype)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    "ask",
    [
        ns.spectral_norm,
        ns.frobenius_norm,
        ns.trace,
        ns.effective_rank,
        ns.spectral_entropy,
        ns.participation_ratio,
        form,
        lambda K: ns.kernel_target_alignment(K, np.ones(9)),
        lambda K: ns.eigsh(K, 9),
        lambda K: ns.predict_gd(K, np.ones(9), eta=0.1, steps=[1]),
    ],
)
def test_a_kernel_that_is_not_finite_has_no_answer(ask, bad):
    """Entries that no check of the input has seen: those of a network that overflows, say."""
    matrix = np.ones((9, 9))
    matrix[4, 4] = bad
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"NaN or infini(ty|te)"):
        ask(Unchecked(matrix))


class Rough(KernelOperator):
    """Products off by up to 1e-4 of the norm, in a way of their own for each vector, and it says so."""

    symmetric = True

    def __init__(self, matrix):
        self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype
        self.off = 1e-4 * float(np.linalg.norm(matrix, 2))

    @property
    def rounding(self):
        return Rounding(float(np.linalg.norm(self.matrix)), self.off, self.off)

    def _matmat(self, V):
        noise = np.random.default_rng(int(1e6 * abs(V).sum())).standard_normal(V.shape)
        noise *= np.linalg.norm(V, axis=0) / np.linalg.norm(noise, axis=0)
        return self.matrix @ V + 0.5 * self.off * noise


def test_what_rounding_hides_is_given_up_soon():
    """No basis excludes what is nearer than the rounding of products; without a limit 2,712 products are taken."""
    values = np.linspace(0, 1, 900) ** 3
    for seed in range(3):
        found = ns.spectral_norm(Rough(matrix_with(values)), rtol=1e-4, method="factored", seed=seed)
        assert not found.converged
        assert found.products < 900
        assert found.lower <= 1 <= found.upper < 1.3
        assert found.evidence.rounding_share > 0.9


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"this one has shape \(3, 4\), which is not square$"):
        ns.spectral_norm(Gram(np.ones((3, 1)), np.ones((4, 1))))
    with pytest.raises(ValueError, match=r"shape \(30, 20\), which is not square$"):
        ns.spectral_norm(np.ones((30, 20)))
    with pytest.raises(ValueError, match=r"\(shape \(3, 3\)\) is not symmetric by construction"):
        ns.spectral_norm(Gram(np.ones((3, 1)), np.ones((3, 1))))
    with pytest.raises(
        ValueError, match=r"is not symmetric: \|A - A.T\| = 1.41 in Frobenius norm; pass \(A \+ A.T\) / 2"
    ):
        ns.spectral_norm(np.array([[1.0, 2.0], [3.0, 1.0]]))
    with pytest.raises(TypeError, match="a str cannot be multiplied"):
        ns.spectral_norm("kernel")
    with pytest.raises(ValueError, match="failure_probability=0"):
        ns.spectral_norm(np.eye(3), failure_probability=0)
    with pytest.raises(ValueError, match="rtol=0"):
        ns.spectral_norm(np.eye(3), rtol=0)
