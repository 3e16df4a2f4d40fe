"""Eigenpairs against dense eigenvalues, on spectra that break others: none missed, by any method, from any start."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from adversarial import SMALL, SPECTRA, every_spectrum, matrix_with
from ntkspec.operators import Dense, Gram, form, wrap
from ntkspec.spectra import eigenpairs
from ntkspec.spectra.eigenpairs import Wanted

N = 110
CASES = [(name, dtype) for dtype in (np.float64, np.float32) for name, _ in every_spectrum(N, dtype)]


@pytest.fixture(params=["dense eigh", "Lanczos"])
def solver(request, monkeypatch):
    if request.param == "Lanczos":
        monkeypatch.setattr(eigenpairs, "DENSE_SIZE", 0)
    return request.param


@pytest.fixture
def lanczos_only(monkeypatch):
    monkeypatch.setattr(eigenpairs, "DENSE_SIZE", 0)


def check(spectrum, matrix, which, k):
    """Values, vectors, residuals, multiplicities and ``others`` against every eigenvalue of the matrix."""
    matrix = matrix.astype(np.float64)
    values, size = np.linalg.eigvalsh(matrix), np.linalg.norm(matrix, 2)
    expected, found = values[Wanted(k, which, 0.0).choose(values)], spectrum.values
    if which == "LM":
        expected, found = abs(expected), abs(found)
    assert np.abs(found - expected).max() <= 2e-6 * size
    Z = spectrum.vectors
    assert np.abs(Z.T @ Z - np.eye(k)).max() < 1e-10
    residuals = np.linalg.norm(matrix @ Z - Z * spectrum.values, axis=0)
    assert (residuals <= spectrum.residuals + 1e-13 * size).all()
    assert spectrum.converged
    low, high = spectrum.others
    beyond = (values < low - 1e-13 * size) | (values > high + 1e-13 * size)
    assert beyond.sum() <= k
    rest = np.delete(values, Wanted(k, which, 0.0).choose(values))
    if len(rest) and which != "LM":  # equal magnitudes: either sign may be the one that is left
        assert low <= rest[0] + 2e-6 * size
        assert high >= rest[-1] - 2e-6 * size


def order_of(which, values):
    """What the order of the values says."""
    if which == "BE":
        half = -(-len(values) // 2)
        return np.diff(values[:half]) <= 0, np.diff(values[half:]) >= 0
    return (np.diff({"LM": -abs(values), "LA": -values, "SA": values}[which]) >= 0,)


@pytest.mark.covering(2)
@pytest.mark.parametrize("which", eigenpairs.WHICH)
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_the_extreme_pairs_are_found_with_every_multiplicity(name, dtype, which, solver):
    matrix = matrix_with(dict(every_spectrum(N, dtype))[name], 2, dtype)
    k = min(6, len(matrix))
    spectrum = ns.eigsh(Dense(matrix, symmetric=True), k, which=which, seed=1)
    assert spectrum.method == ("dense eigh" if solver == "dense eigh" else "Lanczos")
    check(spectrum, matrix, which, k)
    assert all(part.all() for part in order_of(which, spectrum.values))


@pytest.mark.parametrize(
    "build", [form, lambda A: wrap(lambda v: A.matrix @ v, A.shape[0])], ids=["triangle", "function"]
)
@pytest.mark.parametrize("name", SPECTRA)
def test_stored_triangles_and_functions_have_the_same_pairs(name, build, lanczos_only):
    matrix = matrix_with(SPECTRA[name](N), 4)
    check(ns.eigsh(build(Dense(matrix)), 3, which="LA"), matrix, "LA", 3)


@pytest.mark.parametrize("which", eigenpairs.WHICH)
@pytest.mark.parametrize("block", [1, 3])
def test_a_start_that_is_orthogonal_to_the_answer_does_not_hide_it(which, block, lanczos_only):
    """The start is exactly zero on the extreme eigenvectors: its Krylov space never sees them."""
    values = np.r_[np.linspace(-1, 1, 116), 3.0, 3.0, 4.0, -5.0]
    v0 = np.random.default_rng(0).standard_normal((120, block))
    v0[-4:] = 0
    spectrum = ns.eigsh(Dense(np.diag(values)), 4, which=which, v0=v0)
    check(spectrum, np.diag(values), which, 4)
    assert {"LM": -5.0, "LA": 4.0, "SA": -5.0, "BE": 4.0}[which] == pytest.approx(spectrum.values[0])


def test_a_start_that_is_an_eigenvector_is_only_one(lanczos_only):
    values = np.r_[5.0, 5.0, 5.0, np.linspace(-1, 1, 97)]
    spectrum = ns.eigsh(Dense(np.diag(values)), 3, which="LA", v0=np.eye(100)[0])
    assert spectrum.values == pytest.approx([5, 5, 5])
    assert spectrum.multiplicities.tolist() == [3, 3, 3]
    assert spectrum.others[1] < 5


@pytest.mark.parametrize("copies", [1, 2, 3, 7, 20])
def test_multiplicities_are_counted_also_beyond_the_block(copies, solver):
    values = np.r_[np.full(copies, 2.0), 1.9, np.linspace(-1, 1, 120)]
    spectrum = ns.eigsh(Dense(matrix_with(values)), copies + 1, which="LA")
    assert spectrum.multiplicities.tolist() == [copies] * copies + [1]
    assert spectrum.others[1] < 1.9


def test_what_a_cut_through_a_cluster_leaves_is_in_the_bound(solver):
    """Three of ten copies: the others reach up to the same value, and the result says so."""
    spectrum = ns.eigsh(Dense(matrix_with(np.r_[np.full(10, 2.0), np.linspace(-1, 1, 120)])), 3, which="LA")
    assert spectrum.converged
    assert 2 - 1e-9 <= spectrum.others[1] <= 2 * 1.0012


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=40), st.integers(0, 10**6), st.sampled_from(eigenpairs.WHICH))
def test_random_multiplicities_are_all_found(values, seed, which):
    matrix, k = matrix_with(values, seed), max(1, len(values) // 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eigenpairs, "DENSE_SIZE", 0)
        check(ns.eigsh(Dense(matrix), k, which=which, seed=seed), matrix, which, k)


def test_restarts_bound_the_basis_and_find_the_same(lanczos_only, monkeypatch):
    monkeypatch.setattr(eigenpairs, "LEAST_BASIS", 24)
    monkeypatch.setattr(eigenpairs, "PER_PAIR", 1)
    matrix = matrix_with(np.linspace(0, 1, 300) ** 2)
    check(ns.eigsh(Dense(matrix), 4, which="LA"), matrix, "LA", 4)


def test_pairs_that_do_not_converge_are_said_to_be_so(lanczos_only, monkeypatch):
    monkeypatch.setattr(eigenpairs, "MOST_RESTARTS", 0)
    monkeypatch.setattr(eigenpairs, "LEAST_BASIS", 12)
    monkeypatch.setattr(eigenpairs, "PER_PAIR", 1)
    matrix = matrix_with(np.linspace(-1, 1, 300))
    spectrum = ns.eigsh(Dense(matrix), 2, which="LA")
    assert not spectrum.converged
    residuals = np.linalg.norm(matrix @ spectrum.vectors - spectrum.vectors * spectrum.values, axis=0)
    assert (residuals <= spectrum.residuals).all()
    assert spectrum.residuals.max() > 1e-6


@pytest.mark.parametrize("method", ["dense", "factored"])
def test_kernels_in_either_form(method):
    X = np.random.default_rng(0).standard_normal((800, 12)).astype(np.float32)
    theta = ns.ntk(ns.TwoLayer.symmetric(12, 60, "relu", dtype=np.float32), X)
    spectrum = ns.eigsh(theta, 13, which="LA", method=method)
    exact = np.hstack([theta.tile(slice(0, 800), slice(a, a + 400), np.float64) for a in (0, 400)])
    if method == "dense":
        exact = form(theta).to_dense()
    check(spectrum, exact, "LA", 13)
    assert spectrum.evidence.semidefinite == "yes, by construction"
    assert spectrum.evidence.products == spectrum.products


def test_the_evidence_of_pairs_spans_the_whole_spectrum(solver):
    values = np.r_[np.linspace(-1, 1, 100), -3.0, 7.0]
    evidence = ns.eigsh(Dense(matrix_with(values)), 2).evidence
    assert (evidence.smallest, evidence.largest) == pytest.approx((-3, 7))
    assert evidence.lowest <= -3 <= 7 <= evidence.highest
    assert evidence.semidefinite == "no"


def test_every_eigenpair_can_be_asked_for(solver):
    for name, values in SMALL.items():
        spectrum = ns.eigsh(Dense(matrix_with(values)), len(values), which="LA")
        assert spectrum.values == pytest.approx(np.sort(values)[::-1], abs=1e-12), name
        assert spectrum.others[0] > spectrum.others[1], "nothing is left"


def test_bad_input_is_refused():
    eye = Dense(np.eye(3))
    with pytest.raises(ValueError, match="which is not square"):
        ns.eigsh(Gram(np.ones((3, 1)), np.ones((4, 1))), 1)
    with pytest.raises(ValueError, match="k=4, but a kernel of 3 points has 3"):
        ns.eigsh(eye, 4)
    with pytest.raises(ValueError, match="k=0"):
        ns.eigsh(eye, 0)
    with pytest.raises(ValueError, match="which='XX'"):
        ns.eigsh(eye, 1, which="XX")
    with pytest.raises(ValueError, match=r"v0 has shape \(4,\), but \(3,\) or \(3, b\) is needed"):
        ns.eigsh(eye, 1, v0=np.ones(4))
    with pytest.raises(ValueError, match="v0 holds NaN or infinity, or is zero"):
        ns.eigsh(eye, 1, v0=np.zeros(3))
    with pytest.raises(ValueError, match="product 1 with the kernel holds NaN"):
        ns.eigsh(wrap(lambda v: v * np.nan, 700), 1)
