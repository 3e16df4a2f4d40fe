"""Traces and Frobenius norms from probes: intervals that hold for every spectrum."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, chi2

import ntkspec as ns
from adversarial import SPECTRA, matrix_with
from ntkspec.operators import Dense, Gram, wrap
from ntkspec.spectra import traces
from ntkspec.spectra.traces import quadratic_interval

WEIGHTS = {
    "rank one": np.array([1.0]),
    "flat": np.full(200, 0.5),
    "geometric": 0.8 ** np.arange(60),
    "one and many": np.r_[1.0, np.full(100, 0.01)],
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("probes", [1, 4, 40])
@pytest.mark.parametrize("slack", [1.0, 5.0])
@pytest.mark.parametrize("count", [800, pytest.param(4000, marks=pytest.mark.slow)])
def test_the_interval_of_a_mean_of_quadratic_forms_covers(name, probes, slack, count):
    """Many draws at 10 %: each side misses at most 5 %, also where the largest eigenvalue is known only roughly."""
    weights, rng = WEIGHTS[name], np.random.default_rng(0)
    draws = (rng.standard_normal((count, probes, len(weights))) ** 2 @ weights).mean(axis=1)
    intervals = np.array([quadratic_interval(draw, probes, slack * weights.max(), 0.1) for draw in draws])
    most = binom.ppf(1 - 1e-6, count, 0.05)
    assert (intervals[:, 0] > weights.sum()).sum() <= most
    assert (intervals[:, 1] < weights.sum()).sum() <= most
    assert (intervals[:, 0] <= draws).all()
    assert (draws <= intervals[:, 1]).all()


def test_the_interval_is_close_to_the_quantiles_of_chi_square():
    """Equal eigenvalues: r S / A degrees of freedom, and Chernoff loses less than a factor of two in width."""
    low, high = quadratic_interval(100.0, 5, 1.0, 1e-4)
    exact = [brentq(lambda S, p=p: chi2.cdf(500, 5 * S) - p, 10, 1000) for p in (1 - 5e-5, 5e-5)]
    assert low <= exact[0] < exact[1] <= high
    assert high - low < 2 * (exact[1] - exact[0])
    assert quadratic_interval(0.0, 5, 1.0, 1e-4) == (0, 0)
    assert quadratic_interval(1e-9, 1, 1.0, 1e-6)[1] > 1


def test_a_trace_is_the_sum_of_the_diagonal_in_float64():
    rng = np.random.default_rng(0)
    F = rng.standard_normal((3000, 5)).astype(np.float32)
    estimate = ns.trace(Gram(F) - 0.25 * Gram(F[:, :2].copy()))
    exact = (F.astype(float) ** 2).sum() - 0.25 * (F[:, :2].astype(float) ** 2).sum()
    assert estimate.lower <= exact <= estimate.upper
    assert estimate.upper - estimate.lower < 1e-9 * exact
    assert estimate.products == 0
    X = rng.standard_normal((400, 6)).astype(np.float32)
    for activation in ("relu", "erf"):
        theta = ns.ntk(ns.TwoLayer.symmetric(6, 30, activation, dtype=np.float32), X, layer="first")
        exact = sum(theta.tile(slice(i, i + 1), slice(i, i + 1), np.float64)[0, 0] for i in range(400))
        assert float(ns.trace(theta)) == pytest.approx(exact, rel=1e-13)
        assert float(ns.trace(theta, rtol=0.1)) == float(ns.trace(theta))


@pytest.fixture
def probing(monkeypatch):
    """Small matrices take probes as large ones do."""
    monkeypatch.setattr(traces, "PAIR_PRODUCTS", 0)


@pytest.mark.covering(1)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SPECTRA)
def test_a_trace_from_products_is_in_its_interval(name, seed, probing):
    matrix = matrix_with(SPECTRA[name](200), seed)
    operator = wrap(lambda v: matrix @ v, 200)
    estimate = ns.trace(operator, rtol=0.5, seed=seed)
    exact, size = np.trace(matrix), abs(np.linalg.eigvalsh(matrix)).sum()
    assert estimate.lower - 1e-12 * size <= exact <= estimate.upper + 1e-12 * size
    assert estimate.lower <= float(estimate) <= estimate.upper
    assert float(ns.trace(operator)) == pytest.approx(exact, abs=1e-12 * size)


@pytest.mark.covering(1)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SPECTRA)
def test_a_stochastic_frobenius_norm_is_in_its_interval(name, seed):
    matrix = matrix_with(SPECTRA[name](200), seed)
    exact = np.linalg.norm(matrix)
    estimate = ns.frobenius_norm(wrap(lambda v: matrix @ v, 200), rtol=0.3, seed=seed, method="stochastic")
    assert estimate.lower <= exact * (1 + 1e-12)
    assert exact <= estimate.upper * (1 + 1e-12)
    assert estimate.converged
    assert estimate.upper - estimate.lower <= 0.3 * estimate.upper
    assert "leading pairs and" in estimate.plan.reason or exact == 0


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_many_stochastic_norms_miss_no_more_than_they_say(count):
    """Without leading pairs that would do the work: a flat spectrum."""
    matrix = matrix_with(np.r_[np.full(100, 1.0), np.full(100, -1.0)])
    estimates = [
        ns.frobenius_norm(Dense(matrix), rtol=0.5, failure_probability=0.2, seed=seed, method="exact")
        for seed in range(2)
    ]
    assert [estimate.value for estimate in estimates] == pytest.approx([200**0.5] * 2)
    operator = wrap(lambda v: matrix @ v, 200)
    misses = 0
    for seed in range(count):
        estimate = ns.frobenius_norm(operator, rtol=0.2, failure_probability=0.2, seed=seed, method="stochastic")
        misses += not estimate.lower <= 200**0.5 <= estimate.upper
    assert misses <= binom.ppf(1 - 1e-6, count, 0.2)


def test_probes_are_taken_where_they_are_forecast_to_be_sooner():
    """n products for the exact norm of a function of 3,000 numbers, against some 200."""
    values = np.r_[np.linspace(5, 6, 10), np.ones(2990)]
    operator = wrap(lambda v: values * v, 3000)
    estimate = ns.frobenius_norm(operator, rtol=0.2)
    assert estimate.products < 1000
    assert estimate.lower <= np.linalg.norm(values) <= estimate.upper
    small = Dense(matrix_with(np.arange(50.0)))
    small.frobenius_squared = None
    assert ns.frobenius_norm(small, rtol=0.2).products == 0
    exact = ns.frobenius_norm(operator, rtol=0.2, method="exact")
    assert exact.products == 3000
    assert exact.value == pytest.approx(np.linalg.norm(values))


def test_probes_that_take_longer_than_the_exact_way_are_given_up(monkeypatch):
    monkeypatch.setattr("ntkspec.spectra.norms.stochastic_is_sooner", lambda operator, exact: (True, 0.0))
    matrix = matrix_with(np.linspace(-1, 1, 200))
    estimate = ns.frobenius_norm(wrap(lambda v: matrix @ v, 200), rtol=1e-4)
    assert estimate.failure_probability == 0.0
    assert estimate.value == pytest.approx(np.linalg.norm(matrix))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="failure_probability=2"):
        ns.trace(np.eye(3), failure_probability=2)
    with pytest.raises(ValueError, match="is not square"):
        ns.trace(np.ones((3, 4)))
    with pytest.raises(ValueError, match="needs the relative width"):
        ns.frobenius_norm(np.eye(3), method="stochastic")
    with pytest.raises(ValueError, match="method='dense'"):
        ns.frobenius_norm(np.eye(3), method="dense")
