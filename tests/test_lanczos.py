"""The Lanczos relation, its error bound, breakdowns, restarts and locked vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from adversarial import SPECTRA, drawn, matrix_with, operator_with
from ntkspec.operators import Dense, Gram, HadamardGram, wrap
from ntkspec.spectra.lanczos import Lanczos

EIGENVALUES = st.floats(-10, 10).map(lambda value: round(value, 9))


def started(operator, block=1, seed=0):
    lanczos = Lanczos(operator)
    lanczos.begin_random(seed, block)
    return lanczos


def exact_matrix(operator):
    """The matrix in longer precision than the products."""
    return np.asarray(operator.to_dense(), dtype=np.longdouble)


def violation(lanczos, K):
    """|K Q - Q T - Q' C| and |Q Qᵀ - I| of basis, residual block and locked vectors together, in long double."""
    first, last = lanczos.locked, lanczos.locked + lanczos.size
    rows = lanczos.basis.rows[: last + lanczos.residual_width].astype(np.longdouble)
    Q, locked = rows[first:last].T, rows[:first].T
    rest = K @ Q - Q @ lanczos.T - rows[last:].T @ lanczos.off_diagonal
    rest -= locked @ (locked.T @ rest)
    return float(np.sqrt((rest**2).sum())), float(abs(rows @ rows.T - np.eye(len(rows))).max())


@pytest.mark.parametrize("block", [1, 2, 5])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_relation_holds_within_its_error_and_the_basis_is_orthonormal(name, block):
    operator = operator_with(SPECTRA[name](90), seed=1)
    lanczos, size = started(operator, block), abs(SPECTRA[name](90)).max()
    K = exact_matrix(operator)
    for _ in range(7):
        lanczos.extend(2)
        relation, orthogonality = violation(lanczos, K)
        assert relation <= lanczos.error
        assert lanczos.error <= 1e-10 * size
        assert orthogonality <= 1e-13
        assert np.array_equal(lanczos.T, lanczos.T.T)
        assert lanczos.orthogonality_loss() <= 1e-12
    assert lanczos.products <= 90


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_factored_float32_kernel_is_multiplied_in_float64(dtype):
    """The relation holds to float64 rounding for the exact matrix of float32 factors, in factored and stored form."""
    rng = np.random.default_rng(0)
    D, X, E = (rng.standard_normal((300, k)).astype(dtype) for k in (40, 9, 2))
    operator = HadamardGram(D, X) / 7 - 0.3 * Gram(X) + Gram(E)
    D, X, E = (factor.astype(np.longdouble) for factor in (D, X, E))
    K = (D @ D.T) * (X @ X.T) / np.longdouble(7) - np.longdouble(0.3) * X @ X.T + E @ E.T
    lanczos = started(operator, 2)
    lanczos.extend(20)
    relation, _ = violation(lanczos, K)
    assert relation <= lanczos.error <= 1e-9 * lanczos.scale


@settings(max_examples=60, deadline=None)
@given(st.lists(EIGENVALUES, min_size=1, max_size=30), st.integers(1, 4), st.integers(0, 10**6))
def test_the_relation_holds_for_any_spectrum_and_block(values, block, seed):
    operator = operator_with(values, seed)
    lanczos = started(operator, min(block, len(values)), seed)
    lanczos.extend(12)
    relation, orthogonality = violation(lanczos, exact_matrix(operator))
    assert relation <= lanczos.error
    assert orthogonality <= 1e-12


def test_an_invariant_start_is_exhausted_and_its_ritz_values_are_eigenvalues():
    lanczos = Lanczos(Dense(np.diag([3.0, 2.0, 1.0, 0.0])))
    lanczos.begin(np.array([1.0, 1.0, 0.0, 0.0]))
    lanczos.extend(10)
    assert lanczos.exhausted
    assert not lanczos.complete
    assert lanczos.ritz()[0] == pytest.approx([2, 3], abs=1e-14)


@pytest.mark.parametrize(("name", "dimension"), [("identity", 3), ("two clusters", 6), ("zero", 3), ("rank one", 4)])
def test_a_block_is_exhausted_after_as_many_products_as_the_minimal_polynomial_has_degrees(name, dimension):
    lanczos = started(operator_with(SPECTRA[name](60)), 3)
    lanczos.extend(20)
    assert lanczos.exhausted
    assert lanczos.size == dimension


def test_directions_that_vanish_make_the_block_narrower():
    """e_1 is an eigenvector, the second start vector is not."""
    matrix = np.diag(np.r_[5.0, np.linspace(0, 1, 30)])
    lanczos = Lanczos(Dense(matrix))
    lanczos.begin(np.column_stack([np.eye(31)[0], np.r_[0.0, np.ones(30)]]))
    lanczos.extend(1)
    assert lanczos.residual_width == 1
    lanczos.extend(40)
    assert lanczos.exhausted
    assert lanczos.complete
    assert lanczos.ritz()[0] == pytest.approx(np.sort(np.diag(matrix)), abs=1e-12)


def test_a_start_block_with_equal_columns_has_one_direction():
    lanczos = Lanczos(operator_with(np.arange(20.0)))
    vector = np.random.default_rng(0).standard_normal(20)
    lanczos.begin(np.column_stack([vector, vector, -2 * vector]))
    assert lanczos.residual_width == 1
    assert np.abs(lanczos.start_factor.T @ lanczos.basis.rows[:1] - [vector, vector, -2 * vector]).max() < 1e-14


def test_a_restart_keeps_the_relation_and_the_wanted_ritz_values():
    operator = operator_with(np.linspace(-1, 1, 150))
    lanczos = started(operator, 3)
    lanczos.extend(15)
    theta, S = lanczos.ritz()
    residuals = lanczos.residuals(S)
    kept = np.r_[:4, 41:45]
    lanczos.restart(theta[kept], S[:, kept])
    assert lanczos.ritz()[0] == pytest.approx(theta[kept], abs=1e-13)
    assert lanczos.residuals(np.eye(8)) == pytest.approx(residuals[kept], rel=1e-9, abs=1e-13)
    lanczos.extend(10)
    relation, orthogonality = violation(lanczos, exact_matrix(operator))
    assert relation <= lanczos.error
    assert orthogonality < 1e-13
    assert lanczos.ritz()[0][-1] >= theta[-1] - 1e-13


def test_locked_vectors_leave_the_rest_of_the_spectrum():
    operator = operator_with(np.r_[np.linspace(-1, 1, 80), 2.0, 3.0])
    lanczos = started(operator, 2)
    lanczos.extend(30)
    theta, S = lanczos.ritz()
    assert theta[-2:] == pytest.approx([2, 3])
    lanczos.lock(theta[-2:], S[:, -2:])
    lanczos.begin_random(5, 2)
    lanczos.extend(40)
    relation, orthogonality = violation(lanczos, exact_matrix(operator))
    assert relation <= lanczos.error
    assert orthogonality < 1e-13
    assert lanczos.complete
    assert lanczos.ritz()[0] == pytest.approx(np.linspace(-1, 1, 80), abs=1e-12)


@pytest.mark.parametrize("skew", [1.0, 1e-3, 1e-5])
def test_an_operator_that_is_not_symmetric_is_refused(skew):
    A = matrix_with(np.linspace(1, 2, 50))
    A[3, 40] += skew
    with pytest.raises(ValueError, match=r"the operator is not symmetric: in product 2 <q, K p> and <K q, p> differ"):
        started(wrap(lambda v: A @ v, 50), 2).extend(5)


def test_asymmetry_below_that_is_reported_and_counted():
    A = matrix_with(np.linspace(1, 2, 50))
    A[3, 40] += 1e-11
    lanczos = started(wrap(lambda v: A @ v, 50), 2)
    lanczos.extend(10)
    assert 1e-14 < lanczos.asymmetry < 1e-11
    assert lanczos.error >= lanczos.asymmetry


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_products_that_are_not_finite_are_refused_with_their_number(bad):
    calls = []

    def product(v):
        calls.append(v)
        return np.arange(1.0, 51) * v + (bad if len(calls) == 6 else 0.0)

    with pytest.raises(ValueError, match="product 6 with the kernel holds NaN or infinity"):
        started(wrap(product, 50), 2).extend(10)


def test_results_do_not_depend_on_the_number_of_workers(monkeypatch):
    """Shares of the rows are summed: rounding only (within a block, singular vectors may be rotated)."""
    operator = operator_with(np.linspace(-1, 2, 700))
    one = started(operator, 2)
    one.extend(10)
    monkeypatch.setattr("ntkspec.spectra.basis.SHARED_FROM", 0)
    other = started(operator, 2)
    other.extend(10)
    assert np.abs(one.ritz()[0] - other.ritz()[0]).max() < 1e-12


def test_the_start_of_a_kernel_is_gaussian_and_seeded():
    operator = ns.operators.Gram(np.ones((5000, 1), np.float32))
    one, other = (drawn(operator, seed, 2) for seed in (0, 1))
    assert one.shape == (5000, 2)
    assert one.dtype == np.float64
    assert np.array_equal(one, drawn(operator, 0, 2))
    assert abs(one.mean()) < 0.05 < abs(one - other).mean()
    assert started(Gram(np.ones((3, 1))), 8).start_factor.shape == (3, 3)
