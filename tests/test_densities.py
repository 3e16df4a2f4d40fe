"""Spectral densities against all eigenvalues: bounds without chance, intervals with it, and exact limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import ntkspec as ns
from adversarial import SPECTRA, drawn, matrix_with, operator_with
from ntkspec.operators import wrap
from ntkspec.randomness import stream
from ntkspec.spectra import densities
from ntkspec.spectra.gauss_rules import jacobi_matrices, share_below
from ntkspec.spectra.lanczos import Lanczos


@pytest.fixture
def probing(monkeypatch):
    monkeypatch.setattr(densities, "DENSE_SIZE", 0)


def shares(values, edges):
    return np.diff(np.searchsorted(np.sort(values), edges, side="right")) / len(values)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(set(SPECTRA) - {"huge", "tiny"})),
    st.integers(1, 12),
    st.integers(1, 4),
    st.floats(-1.2, 1.2),
    st.integers(0, 10**6),
)
def test_the_share_of_a_probe_never_leaves_its_bounds(name, steps, block, place, seed):
    """For single vectors and for the columns of a block, at any x, after any number of steps: no chance is in this."""
    operator = operator_with(SPECTRA[name](70), seed)
    lanczos = Lanczos(operator)
    start = drawn(operator, seed, block)
    lanczos.begin(start)
    lanczos.extend(steps)
    values, vectors = np.linalg.eigh(operator.matrix)
    x = place * abs(values).max() + 1e-7
    for (alpha, beta, k, size), g in zip(jacobi_matrices(lanczos, steps), start.T, strict=True):
        assert size == pytest.approx(g @ g)
        exact = float(((vectors.T @ g)[values <= x] ** 2).sum() / size)
        low, high = share_below(alpha[:k], beta[:k], x)
        assert low - 1e-9 <= exact <= high + 1e-9
        assert -1e-12 <= low <= high <= 1 + 1e-12


def test_the_jacobi_matrices_of_a_block_are_those_of_its_columns():
    operator = operator_with(np.linspace(-1, 2, 300))
    lanczos, start = Lanczos(operator), drawn(operator, 3, 3)
    lanczos.begin(start)
    lanczos.extend(12)
    for (alpha, beta, k, _), g in zip(jacobi_matrices(lanczos, 12), start.T, strict=True):
        single = Lanczos(operator)
        single.begin(g)
        single.extend(12)
        assert k == 12
        assert alpha == pytest.approx(np.diag(single.T), abs=1e-11)
        assert beta[:-1] == pytest.approx(np.abs(np.diag(single.T, 1)), abs=1e-11)
        assert beta[-1] == pytest.approx(abs(single.off_diagonal[0, -1]), abs=1e-11)


@pytest.mark.parametrize("name", sorted(set(SPECTRA) - {"zero", "identity", "minus identity"}))
def test_histograms_hold_the_counts(name, probing):
    operator = operator_with(SPECTRA[name](400))
    values = np.linalg.eigvalsh(operator.matrix)
    density = ns.spectral_density(operator, steps=30, seed=2)
    assert density.lowest <= values[0]
    assert values[-1] <= density.highest
    for edges in (25, np.linspace(values[0] - 0.1, values[-1] + 0.1, 14) + 1e-7 * abs(values).max()):
        histogram = density.histogram(edges, failure_probability=1e-4)
        exact = shares(values, histogram.edges)
        assert (histogram.lower <= exact + 1e-12).all()
        assert (exact <= histogram.upper + 1e-12).all()
        assert (histogram.lower <= histogram.mass).all()
        assert (histogram.mass <= histogram.upper).all()


def test_the_intervals_of_shares_fail_as_often_as_they_say(probing):
    """Two clusters are resolved exactly after two steps: only chance is left. 600 runs at 20 %, one probe each."""
    operator = operator_with(SPECTRA["two clusters"](60))
    found = [
        ns.spectral_density(operator, probes=1, steps=4, seed=seed).cumulative(0.5, failure_probability=0.2)
        for seed in range(600)
    ]
    misses = sum(not low[0] <= 0.5 <= high[0] for _, low, high in found)
    assert 60 <= misses <= binom.ppf(1 - 1e-6, 600, 0.2)


def test_more_probes_and_more_steps_narrow_the_intervals(probing):
    operator = operator_with(SPECTRA["semicircle"](600))

    def width(**options):
        histogram = ns.spectral_density(operator, **options).histogram(10)
        return float((histogram.upper - histogram.lower).mean())

    assert width(probes=16, steps=60) < 0.75 * width(probes=2, steps=60)
    assert width(probes=4, steps=60) < 0.75 * width(probes=4, steps=15)


def test_a_smoothed_density_is_within_its_error(probing):
    operator = operator_with(SPECTRA["Marchenko-Pastur"](500))
    values = np.linalg.eigvalsh(operator.matrix)
    misses, points = 0, 0
    for seed in range(10):
        smoothed = ns.spectral_density(operator, steps=40, probes=4, seed=seed).smoothed(50)
        kernel = np.exp(-(((values[:, None] - smoothed.x) / smoothed.width) ** 2) / 2)
        exact = kernel.mean(axis=0) / (smoothed.width * np.sqrt(2 * np.pi))
        misses += (np.abs(smoothed.density - exact) > smoothed.error).sum()
        points += 50
    assert misses <= 0.06 * points
    assert smoothed.error.max() < 0.5 * smoothed.density.max()
    assert 0.4 < smoothed.width / (2 * (values[-1] - values[0]) / 40) < 2


@pytest.mark.covering(1)
@pytest.mark.parametrize("probes", [1, 2])
@pytest.mark.parametrize("name", ["two clusters", "outlier and four clusters", "five times the largest", "rank one"])
def test_the_bars_of_a_smoothed_density_hold_with_one_or_two_probes(name, probes, probing):
    """Spectra that a few steps resolve exactly: only chance is left. At most 5 % miss, at each of the places."""
    operator = operator_with(SPECTRA[name](120))
    values, runs = np.linalg.eigvalsh(operator.matrix), 100
    width = 0.05 * np.ptp(values)
    places = np.r_[np.unique(values.round(6)), values.min() + 0.3 * np.ptp(values), values.max() + 4 * width]
    exact = np.exp(-(((values[:, None] - places) / width) ** 2) / 2).mean(axis=0) / (width * np.sqrt(2 * np.pi))
    misses = np.zeros(len(places))
    for seed in range(runs):
        found = ns.spectral_density(operator, probes=probes, steps=12, seed=seed).smoothed(places, width=width)
        misses += abs(found.density - exact) > found.error
    assert (misses <= binom.ppf(1 - 1e-6, runs, 0.05)).all()
    assert misses.mean() <= 0.05 * runs


def test_the_truncation_bound_is_one(probing):
    """One probe, few steps, a narrow kernel: the rule against the probe's own measure."""
    operator = operator_with(np.linspace(0, 1, 300))
    values, vectors = np.linalg.eigh(operator.matrix)
    density = ns.spectral_density(operator, steps=10, probes=1, seed=0)
    g = vectors.T @ drawn(operator, stream(0, "density", 0), 1)[:, 0]
    for width in (0.02, 0.05, 0.1, 0.2, 0.4):
        for at in (0.0, 0.3, 0.77):
            exact = float((g**2 / (g @ g)) @ np.exp(-(((values - at) / width) ** 2) / 2))
            found = density.mean(lambda x, at=at, width=width: np.exp(-(((x - at) / width) ** 2) / 2))
            assert abs(found - exact) <= density._truncation(width) + 1e-12
    assert density._truncation(0.4) < 0.01 < density._truncation(0.05)


@pytest.mark.parametrize("name", SPECTRA)
def test_small_matrices_have_all_their_eigenvalues(name):
    matrix = matrix_with(SPECTRA[name](80))
    values, density = np.linalg.eigvalsh(matrix), ns.spectral_density(matrix)
    assert density.values == pytest.approx(values, abs=1e-12 * abs(values).max())
    edges = np.linspace(-1.03, 2.07, 8) * (abs(values).max() or 1)
    histogram = density.histogram(edges)
    assert histogram.lower == pytest.approx(shares(values, edges), abs=1e-12)
    assert histogram.upper == pytest.approx(histogram.lower, abs=1e-12)
    assert density.mean(lambda x: x) == pytest.approx(values.mean(), abs=1e-12 * abs(values).max())
    share, low, high = density.cumulative([edges[0] - 1, edges[-1] + 10 * abs(edges[-1])])
    assert share.tolist() == low.tolist() == high.tolist() == [0, 1]
    smoothed = density.smoothed(width=0.1 * (abs(values).max() or 1))
    assert (smoothed.error == 0).all()


def test_an_invariant_space_is_exact_up_to_chance(probing):
    density = ns.spectral_density(operator_with(SPECTRA["five times the largest"](200)), steps=200, probes=2)
    _, low, high = density.cumulative(2.0, failure_probability=1e-6)
    assert low[0] < 195 / 200 < high[0]
    assert density.lengths.max() <= 200
    identity = ns.spectral_density(operator_with(np.ones(100)), steps=10, probes=2)
    assert identity.lengths.tolist() == [1, 1]
    assert identity.cumulative([0.9, 1.1])[0].tolist() == [0, 1]
    assert identity.mean(np.exp) == pytest.approx(np.e)


def test_a_density_is_the_same_for_the_same_seed_and_resumes(tmp_path, probing):
    values = np.linspace(0, 1, 500) ** 2
    one, other = (
        ns.spectral_density(wrap(lambda v: values * v, 500), steps=20, seed=5, checkpoint=path)
        for path in (None, tmp_path / "products")
    )
    again = ns.spectral_density(wrap(lambda v: values * v, 500), steps=20, seed=5, checkpoint=tmp_path / "products")
    assert np.array_equal(one.alpha, other.alpha)
    assert np.array_equal(one.alpha, again.alpha)
    assert one.products == 160


def test_bad_input_is_refused(probing):
    with pytest.raises(ValueError, match="probes=0"):
        ns.spectral_density(np.eye(3), probes=0)
    density = ns.spectral_density(np.diag(np.arange(50.0)), steps=5)
    with pytest.raises(ValueError, match="two numbers that grow"):
        density.histogram([1.0, 1.0])
    with pytest.raises(ValueError, match="failure_probability=0"):
        density.cumulative(1.0, failure_probability=0)
