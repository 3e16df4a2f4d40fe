"""Where only products are known, no function makes n of them unless it says so, and results are those of the matrix."""

import warnings

import numpy as np
import pytest
import scipy.sparse.linalg

import ntkspec as ns
from ntkspec.operators import Cost, Dense, KernelOperator, Work, with_entries, wrap
from ntkspec.operators.base import ManyProductsWarning

N = 800
rng = np.random.default_rng(0)
F = rng.standard_normal((N, N))
# Eigenvalues that fall from 1 as 1 / k, as those of a kernel do.
Q = np.linalg.qr(F)[0]
A = (Q / np.arange(1, N + 1)) @ Q.T
A = (A + A.T) / 2
y = np.sign(rng.standard_normal(N))
VALUES = 1 / np.arange(1.0, N + 1)
FROBENIUS = float(np.linalg.norm(VALUES))


class Counted:
    """The matrix as a function that counts its products."""

    def __init__(self, matrix=A):
        self.matrix, self.products = matrix, 0

    def __call__(self, v):
        self.products += 1
        return self.matrix @ v

    @property
    def operator(self):
        return wrap(self, len(self.matrix))


# What looking for symmetry and measuring a product takes.
LOOKING = 6


def density(K):
    found = ns.spectral_density(K, probes=2, steps=30)
    _, lower, upper = found.cumulative([0.0101])
    assert lower[0] <= 701 / N <= upper[0]  # of 1/k from k = 100 on
    assert found.highest >= 1


def alignment(K):
    found = ns.kernel_target_alignment(K, y)
    assert found.upper - found.lower <= 0.06 * found.upper
    assert found.lower <= float(y @ A @ y) / N / FROBENIUS <= found.upper


def frobenius(K):
    found = ns.frobenius_norm(K, rtol=0.1)
    assert found.lower <= FROBENIUS <= found.upper
    assert found.plan.method == "stochastic"


def rank(K):
    found = ns.effective_rank(K, rtol=0.1)
    assert found.lower <= VALUES.sum() <= found.upper
    assert found.failure_probability == 1e-6


def ratio(K):
    found = ns.participation_ratio(K, rtol=0.1)
    assert found.lower <= VALUES.sum() ** 2 / FROBENIUS**2 <= found.upper


def prediction(K):
    found = ns.predict_gd(K, y, eta=100.0, steps=[1, 30], kernel_test=A[:3])
    exact = ns.predict_gd(A, y, eta=100.0, steps=[1, 30], kernel_test=A[:3])
    assert found.method.startswith("Krylov")
    assert found.train == pytest.approx(exact.train, abs=1e-8)
    assert found.test == pytest.approx(exact.test, abs=1e-8)
    assert (np.abs(found.test - exact.test).max(axis=1) <= found.error_test + 1e-12).all()


def pairs(K):
    assert ns.eigsh(K, 3).values == pytest.approx([1, 1 / 2, 1 / 3], abs=1e-6)


def norm(K):
    found = ns.spectral_norm(K)
    assert found.lower <= 1 <= found.upper


def modes(K):
    assert ns.learning_modes(K, y, eta=0.1, k=2).values == pytest.approx([1, 1 / 2], abs=1e-6)


def rate(K):
    assert float(ns.largest_stable_rate(K)) == pytest.approx(2 * N, rel=2e-3)


@pytest.mark.parametrize(
    ("function", "most"),
    [
        (density, 2 * 30),
        (alignment, N / 2),
        (frobenius, N / 2),
        (rank, N / 2),
        (ratio, N / 2),
        (prediction, 100),
        (pairs, 200),
        (norm, 120),
        (modes, 200),
        (rate, 120),
    ],
)
def test_far_fewer_than_n_products_are_made(function, most):
    counted = Counted()
    function(counted.operator)
    assert 0 < counted.products <= most + LOOKING


@pytest.mark.parametrize("width", [0.01, 0.001])
def test_probes_that_are_given_up_cost_less_than_half_of_the_exact_way_and_are_counted(width):
    values = np.arange(1.0, N + 1) ** -0.5  # of which few pairs carry little
    counted, exact = Counted(np.diag(values)), float(np.linalg.norm(values))
    found = ns.frobenius_norm(counted.operator, rtol=width)
    assert found.converged
    assert found.lower <= exact <= found.upper
    assert N < found.products <= counted.products <= found.products + LOOKING <= 1.5 * N


@pytest.mark.parametrize("values", [np.linspace(1, 2, N), np.cos(np.pi * np.linspace(0, 1, N))])
def test_no_pairs_are_looked_for_in_a_flat_spectrum(values):
    counted = Counted(np.diag(values))
    found = ns.frobenius_norm(counted.operator, rtol=0.1)
    assert found.lower <= np.linalg.norm(values) <= found.upper
    assert found.upper - found.lower <= 0.1 * found.upper
    assert found.products <= counted.products <= found.products + LOOKING <= 110


def trace(K):
    return ns.trace(K), VALUES.sum()


def exact_frobenius(K):
    return ns.frobenius_norm(K), FROBENIUS


def exact_alignment(K):
    return ns.kernel_target_alignment(K, y, rtol=0.0), float(y @ A @ y) / N / FROBENIUS


def effective_rank(K):
    return ns.effective_rank(K), VALUES.sum()


def participation(K):
    return ns.participation_ratio(K), VALUES.sum() ** 2 / FROBENIUS**2


def entropy(K):
    p = VALUES / VALUES.sum()
    return ns.spectral_entropy(K), float(-(p * np.log(p)).sum())


@pytest.mark.parametrize("function", [trace, exact_frobenius, exact_alignment, effective_rank, participation, entropy])
def test_what_needs_n_products_says_so_and_makes_them_once(function):
    counted = Counted()
    found, exact = function(counted.operator)
    assert found.plan.method == "columns"
    assert found.plan.products == N
    assert "one product for each, as only products are known" in str(found.plan)
    assert found.plan.seconds > 0
    assert N <= found.products <= counted.products <= N + LOOKING
    assert found.lower <= exact * (1 + 1e-12)
    assert exact * (1 - 1e-12) <= found.upper
    assert float(found) == pytest.approx(exact, rel=1e-3)


def test_all_entries_are_taken_where_that_is_no_more_than_lanczos_would():
    small = A[:50, :50]
    counted = Counted(small)
    found = ns.spectral_density(counted.operator)
    assert found.values == pytest.approx(np.linalg.eigvalsh(small), abs=1e-12)
    assert counted.products <= 50 + LOOKING
    counted = Counted(small)
    found = ns.eigsh(counted.operator, 2)
    assert found.products == 50
    assert counted.products <= 50 + LOOKING


def test_a_matrix_that_is_asked_for_takes_n_products():
    counted = Counted()
    plan = ns.plan(counted.operator, method="dense")
    assert plan.bytes == 8 * N * N
    assert plan.build > 0
    found = ns.spectral_norm(counted.operator, method="dense")
    assert found.plan.method == "dense"
    assert found.lower <= 1 <= found.upper
    assert counted.products <= N + 2 * LOOKING


def test_the_columns_are_watched(monkeypatch):
    seen = []

    class Bar:
        def __init__(self, items=None, *, total=None, text="", initial=0):
            self.total, self.text = total, text

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def update(self, count):
            seen.append((self.text, self.total, count))

    monkeypatch.setattr("ntkspec.progress.bar", Bar)
    ns.frobenius_norm(Counted().operator)
    assert {text for text, *_ in seen} == {"Frobenius norm (products)"}
    assert {total for _, total, _ in seen} == {N}
    assert sum(count for *_, count in seen) == N
    assert len(seen) > 10


def test_an_operator_that_takes_blocks_gets_them():
    widths = []

    def block(V):
        widths.append(V.shape[1])
        return A @ V

    linear = scipy.sparse.linalg.LinearOperator((N, N), matvec=lambda v: A @ v, matmat=block, dtype=float)
    found = ns.frobenius_norm(linear)
    assert float(found) == pytest.approx(FROBENIUS, rel=1e-12)
    assert max(widths) == 64
    assert sum(widths) <= N + LOOKING


def test_sums_with_such_an_operator_are_formed_column_by_column():
    n, part = 150, A[:150, :150]
    counted = Counted(part)
    total = counted.operator + 0.1 * ns.operators.identity(n)
    assert total.to_dense() == pytest.approx(part + 0.1 * np.eye(n), abs=1e-14)
    assert counted.products <= n + LOOKING
    formed = with_entries(total)
    assert isinstance(formed, Dense)
    assert formed.symmetric
    assert 0 < formed.storage_error < 1e-10
    assert with_entries(formed) is formed


class Slow(KernelOperator):
    """A matrix whose product is said to take seconds, and counts how often it is taken."""

    symmetric = semidefinite = True

    def __init__(self, seconds, matrix=A):
        self.matrix, self.products = matrix, 0
        self.shape, self.dtype = matrix.shape, matrix.dtype
        self.cost = Cost(Work.lasting(seconds), own=Work.lasting(seconds / 512))

    def _matmat(self, V):
        self.products += V.shape[1]
        return self.matrix @ V


def stored(K, path):
    return ns.save_kernel(K, path / "kernel.h5").to_dense()


WHOLE = {
    "trace": lambda K, path: ns.trace(K),
    "Frobenius norm": lambda K, path: ns.frobenius_norm(K),
    "alignment": lambda K, path: ns.kernel_target_alignment(K, y, rtol=0.0),
    "entropy": lambda K, path: ns.spectral_entropy(K),
    "matrix": lambda K, path: K.to_dense(),
    "array": lambda K, path: np.asarray(K),
    "file": stored,
}


@pytest.mark.parametrize("what", WHOLE)
def test_products_for_all_columns_are_announced_where_they_take_long(what, tmp_path):
    slow, quick = Slow(0.1), Slow(0.01)
    with pytest.warns(ManyProductsWarning, match=r"Slow 800 x 800 are known.* 800 of 0\.1 s, about 80 s"):
        WHOLE[what](slow, tmp_path)
    assert N <= slow.products <= N + LOOKING
    (tmp_path / "kernel.h5").unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WHOLE[what](quick, tmp_path)


@pytest.mark.parametrize("function", [density, frobenius, prediction, pairs, norm, modes, rate])
def test_what_takes_few_products_announces_nothing(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(Slow(0.1))


def test_a_file_takes_each_column_once(tmp_path):
    n = 1200  # three rows of tiles
    matrix = np.diag(np.arange(1.0, n + 1)) + 0.5
    slow = Slow(1e-4, matrix)
    assert np.abs(stored(slow, tmp_path) - matrix).max() <= 1e-12
    assert n <= slow.products <= n + LOOKING


def test_a_function_of_blocks_is_called_with_blocks():
    widths = []

    def blocks(V):
        widths.append(V.shape[1])
        return A @ V

    found = ns.frobenius_norm(wrap(blocks, N, batched=True))
    assert float(found) == pytest.approx(FROBENIUS, rel=1e-12)
    assert max(widths) == 64
    assert len(widths) <= N / 64 + LOOKING
    K = wrap(blocks, N, batched=True)
    assert K @ y == pytest.approx(A @ y)
    assert (K @ np.stack([y, 2 * y], axis=1)).shape == (N, 2)


def test_a_function_of_vectors_that_is_said_to_take_blocks_is_refused():
    def vectors(v):
        return A @ v.sum(axis=1, keepdims=True) + np.zeros_like(v)  # right for one column only

    with pytest.raises(ValueError, match="the operator is not linear"):
        ns.spectral_norm(wrap(vectors, N, batched=True))
    with pytest.raises(ValueError, match=r"returned shape \(800,\) .* for a block \(800, 2\)"):
        ns.spectral_norm(wrap(lambda V: A @ V[:, 0], N, batched=True))
