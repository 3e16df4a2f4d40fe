"""Dense or factored, what it takes, and what does not fit."""

from types import SimpleNamespace

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import checks
from ntkspec.engines import cpu
from ntkspec.operators import Cost, Dense, EntrywiseOperator, Gram, HadamardGram, Rounding, Triangle, Work, planning


def hadamard(n, d, m, dtype=np.float32):
    rng = np.random.default_rng(0)
    return HadamardGram(rng.standard_normal((n, m)).astype(dtype), rng.standard_normal((n, d)).astype(dtype))


def test_wide_networks_are_formed_and_narrow_ones_are_not():
    assert planning.plan(hadamard(1000, 300, 500), 100).method == "dense"
    assert planning.plan(hadamard(3000, 4, 8), 100).method == "factored"
    assert planning.plan(hadamard(3000, 300, 500), 1).method == "factored"
    assert ns.plan(hadamard(1000, 300, 500)).products == 48


def test_a_dense_plan_forecasts_one_triangle():
    """n = 1000 makes two rows of tiles of 504: three tiles."""
    plan = planning.plan(hadamard(1000, 300, 500), 100)
    assert plan.bytes == 3 * 504**2 * 4
    assert plan.seconds == plan.build + 100 * plan.each
    assert str(plan).startswith("dense (faster than the")
    assert "GB, formed in" in str(plan)


def test_both_forms_multiply_alike():
    operator = hadamard(700, 100, 200)
    stored, plan = planning.prepare(operator, 1000)
    assert isinstance(stored, Triangle)
    assert stored.blocks.nbytes == plan.bytes
    V = np.random.default_rng(0).standard_normal((700, 2)).astype(np.float32)
    exact = ((operator.D @ operator.D.T) * (operator.X @ operator.X.T)).astype(float) @ V
    assert np.abs(stored @ V - exact).max() < 1e-5 * np.abs(exact).max()
    assert np.abs(operator @ V - exact).max() < 1e-5 * np.abs(exact).max()
    again, plan = planning.prepare(stored, 1000)
    assert again is stored
    assert (plan.method, plan.reason, plan.bytes) == ("dense", "already stored", 0)
    dense = Dense(np.eye(4), symmetric=True)
    assert planning.prepare(dense, 1000)[0] is dense


@pytest.mark.parametrize("method", ["dense", "factored"])
def test_the_choice_can_be_overridden(method):
    operator = hadamard(600, 4, 8, np.float64)
    prepared, plan = planning.prepare(operator, 60, method=method)
    assert plan.method == method
    assert plan.reason == "as asked for"
    assert isinstance(prepared, Triangle) == (method == "dense")
    exact = np.linalg.norm((operator.D @ operator.D.T) * (operator.X @ operator.X.T), 2)
    estimate = ns.spectral_norm(operator, method=method)
    assert estimate.plan.method == method
    assert estimate.lower <= exact * (1 + 1e-12)
    assert exact <= estimate.upper * (1 + 1e-12)
    with pytest.raises(ValueError, match="method='sparse', but one of 'dense', 'factored', 'streamed' is needed"):
        ns.plan(operator, method="sparse")


def with_free_memory(operator, free):
    """The operator on a machine with that much free memory."""
    own = {"rates": cpu.rates, "TILE": cpu.TILE, "last_cache": cpu.last_cache}
    operator.engine = SimpleNamespace(free_memory=lambda: free, spare_memory=lambda: 0, **own)
    return operator


def test_a_matrix_that_does_not_fit_is_left_factored_and_says_so():
    plan = planning.plan(with_free_memory(hadamard(1000, 300, 500), 4_000_000), 100)
    assert plan.method == "factored"
    assert plan.reason == "one triangle would take 0.00305 of 0.004 GB that are free"


def test_a_matrix_that_was_asked_for_and_does_not_fit_is_refused_with_numbers():
    """n = 200,000 in float32: 391 rows of tiles, 76,636 tiles of 1 MiB; nothing of it is touched."""
    X = np.broadcast_to(np.float32(1), (200_000, 1))
    operator = with_free_memory(Gram(X), 21e9)
    wanted = (
        r"dense kernel of n = 200,000 in float32 needs 80\.4 GB as one triangle; 21 GB are free; use method='factored'"
    )
    with pytest.raises(ValueError, match=wanted):
        planning.plan(operator, method="dense")
    with pytest.raises(ValueError, match=r"matrix 200000 x 200000 in float32 needs 160\.0 GB, but 21\.0 GB are free"):
        operator.to_dense()


def test_work_adds_up_and_a_shared_product_counts_once():
    D, X = np.ones((5, 7)), np.ones((5, 3))
    theta, linear = HadamardGram(D, X), Gram(X)
    assert theta.cost.entry.flops == 2 * (7 + 3)
    assert (theta - linear).cost.entry.flops == 2 * (7 + 3)
    assert (theta - Gram(X.copy())).cost.entry.flops == 2 * (7 + 3 + 3)
    assert (theta - linear).cost.entry.entries == 3
    assert 2 * Work(1, 2, 3, 4, 5) + Work(1, 1, 1, 1, 1) == Work(3, 5, 7, 9, 11)
    rates = SimpleNamespace(flops=2.0, words=4.0, entries=8.0, bytes=16.0, cached=32.0, copied=64.0, lookups=128.0)
    assert Work(1, 2, 4, 8, 16, 32, 64).seconds(rates) == 3.5


@pytest.mark.parametrize(("cache", "kind"), [(8_000_000, "cached"), (2_000_000, "bytes")])
def test_a_stored_matrix_is_read_from_the_cache_that_holds_it_or_from_memory(cache, kind, monkeypatch):
    """A triangle of n = 1000 in float64: 3 tiles of 504 x 504, 6.1 MB; half of the 8 MB of the matrix is read."""
    monkeypatch.setattr(cpu, "last_cache", lambda: cache)
    operator = Gram(np.random.default_rng(0).standard_normal((1000, 3)))
    triangle, matrix = planning.form(operator), Dense(operator.to_dense())
    assert triangle.cost.product == Work(**{kind: triangle.blocks.nbytes})
    assert matrix.cost.product == Work(**{kind: matrix.matrix.nbytes / 2})
    planned = planning.work(operator, planning.plan(operator, 2, method="dense"))  # two products at once
    assert getattr(planned, kind) >= triangle.blocks.nbytes


def test_too_little_memory_is_refused_with_numbers():
    engine = SimpleNamespace(free_memory=lambda: 3e9)
    checks.memory(2e9, engine, "the analysis", "take less")
    with pytest.raises(ValueError, match=r"the analysis needs 80\.0 GB, but 3\.0 GB are free; take less"):
        checks.memory(80e9, engine, "the analysis", "take less")


class Slow(EntrywiseOperator):
    """A kernel whose entries take so long that each of them is counted, beside a product that is quick."""

    symmetric = semidefinite = True
    rounding = Rounding.relative(1e-15, 100.0, 400)

    def __init__(self, entry):
        self.matrix, self.entries = np.diag(np.arange(1.0, 401.0)), 0
        self.shape, self.dtype = self.matrix.shape, self.matrix.dtype
        self.cost = Cost(Work.lasting(1e-4), own=Work.lasting(entry))

    def _tile(self, rows, cols, dtype):
        found = self.matrix[rows, cols].astype(dtype)
        self.entries += found.size
        return found

    def _matmat(self, V):
        return self.matrix @ V


QUESTIONS = {
    "eigenpairs": lambda K: ns.eigsh(K, 2, rtol=0.1),
    "density": lambda K: ns.spectral_density(K, probes=2, steps=20),
    "prediction": lambda K: ns.predict_gd(K, np.ones(400), eta=0.1, steps=5),
    "condition number": lambda K: ns.condition_number(K, rtol=0.9),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_entries_of_a_small_kernel_are_formed_where_that_is_soon_done(question):
    slow, quick = Slow(1e-3), Slow(1e-8)
    QUESTIONS[question](slow)
    QUESTIONS[question](quick)
    assert slow.entries == 0
    assert quick.entries >= 400**2 / 2


def test_a_stored_kernel_is_taken_whole_up_to_the_size_that_is_asked_for():
    stored = ns.operators.Dense(np.eye(5))
    assert planning.whole(stored, 5, 1)
    assert not planning.whole(stored, 4, 100)
