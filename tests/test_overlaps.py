"""Overlaps of eigenvectors with a start block: bounds on half-lines, and what they prove beside eigenvalues that were
found."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad
from scipy.stats import binomtest

import ntkspec as ns
from adversarial import SPECTRA, matrix_with, operator_with
from ntkspec.operators import Dense
from ntkspec.spectra import eigenpairs
from ntkspec.spectra.certificates import Clusters
from ntkspec.spectra.lanczos import Lanczos
from ntkspec.spectra.overlaps import Relation, overlap_quantile


@pytest.mark.parametrize(("n", "block", "vectors"), [(40, 4, 2), (40, 4, 3), (200, 2, 2), (30, 6, 4)])
def test_the_quantile_of_several_vectors_is_that_of_the_smallest_singular_value(n, block, vectors):
    """It is missed no more often than stated; and where it is small nearly as often."""
    rng, count = np.random.default_rng(n + block), 4000
    starts = np.linalg.qr(rng.standard_normal((count, n, block)))[0]
    smallest = np.linalg.svd(starts[:, :vectors], compute_uv=False)[:, -1]
    for probability in (0.3, 0.05):
        below = int((smallest < overlap_quantile(n, block, probability, vectors)).sum())
        assert binomtest(below, count, probability, alternative="greater").pvalue > 1e-4
    assert binomtest(below, count, 0.5 * probability, alternative="less").pvalue > 1e-4


def test_the_quantile_of_two_vectors_has_the_density_of_the_jacobi_ensemble():
    """Its lower tail, where the exponents are whole: (5 - 3) / 2 = 1 and (60 - 5 - 3) / 2 = 26."""
    level = overlap_quantile(60, 5, 1e-4, 2)

    def density(y, x):
        return x * (1 - x) ** 26 * y * (1 - y) ** 26 * (y - x)

    tail, whole = (dblquad(density, 0, end, lambda x: x, 1, epsabs=1e-14)[0] for end in (level**2, 1))
    assert 0.9e-4 < tail / whole <= 1e-4


def test_no_more_vectors_than_the_block_has_can_be_told():
    assert overlap_quantile(100, 3, 0.5, 4) == 0
    assert overlap_quantile(3, 3, 0.5, 2) == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 10**6), st.sampled_from([0.0, 1e-6, 1e-2]))
def test_the_bound_stays_below_the_level_beyond_its_end(block, size, seed, error):
    """For relations of any kind, on a fine grid of distances, also where the norm rises again."""
    rng = np.random.default_rng(seed)
    theta = np.sort(rng.standard_normal(size))
    relation = Relation(theta, rng.standard_normal((size, block)), rng.standard_normal((block, size)), error)
    for side in (relation, relation.mirrored()):
        for level in (1e-4, 0.1, 10.0):
            end = side.end(level)
            assert end > side.theta[-1]
            grid = end + np.r_[0, np.geomspace(1e-6, 1e6, 60)]
            assert max(math.hypot(*side.overlap_bounds(value)) for value in grid) < level
            if error == 0:
                assert side.stays_below(1.1 * level, end)
            nearer = side.theta[-1] + 0.7 * (end - side.theta[-1])
            if math.hypot(*side.overlap_bounds(nearer)) >= level:
                assert not side.stays_below(level, nearer)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(SPECTRA)),
    st.integers(2, 4),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(0, 10**6),
)
def test_neighbours_that_are_nearest_to_one_found_value_overlap_the_start_by_no_more_than_the_bound(
    name, block, steps, found, seed
):
    """The inequality of the proof itself: c + 1 eigenvectors nearest to a cluster of c values, and single ones."""
    matrix = matrix_with(SPECTRA[name](60), seed)
    lanczos = Lanczos(Dense(matrix))
    lanczos.begin_random(seed, block)
    lanczos.extend(steps)
    values, vectors = np.linalg.eigh(matrix)
    start = lanczos.basis.rows[: lanczos.start.shape[1]]
    relation = Relation.of(lanczos)
    chosen = np.arange(len(relation.theta))[-found:]
    clusters, rest = Clusters(relation, chosen), relation.without(chosen)
    labels = np.repeat(np.arange(len(clusters.first)), clusters.counts)
    limit = max(rest.theta, default=-math.inf) + 1e-9 * abs(values).max()
    beyond = np.flatnonzero(values > limit)
    overlaps = {i: math.hypot(*rest.overlap_bounds(values[i])) if len(rest.theta) else 0.0 for i in beyond}
    nearest = {i: labels[abs(clusters.values - values[i]).argmin()] for i in beyond}
    room = 1e-13 + 1e-6 * max(overlaps.values(), default=0.0)
    for c, count in enumerate(clusters.counts):
        own = [i for i in beyond if nearest[i] == c]
        for first in range(len(own) - count):
            some = own[first : first + count + 1]
            smallest = np.linalg.svd(start @ vectors[:, some], compute_uv=False)
            smallest = smallest[-1] if len(some) <= len(start) else 0.0
            most = max(overlaps[i] for i in some)
            assert smallest <= math.sqrt(len(some)) * (most + clusters.apart[c]) + room
        for i in own:
            distances = abs(values[i] - clusters.values[labels == c])
            if distances.min() > 1e-9 * abs(values).max():
                added = (clusters.weights[labels == c] / distances).sum()
                assert np.linalg.norm(start @ vectors[:, i]) <= overlaps[i] + clusters.apart[c] + added + room


def test_what_is_allowed_beside_found_values():
    """Two pairs of values and one alone: the formulas of the module's text, written out."""
    theta = np.array([0.0, 1.0, 1.0 + 1e-9, 2.0, 3.0])
    start, coupling = np.full((5, 2), 0.1), np.full((1, 5), 1e-6)
    clusters = Clusters(Relation(theta, start, coupling, 0.0), np.array([1, 2, 3, 4]))
    weight, levels = 1e-6 * math.sqrt(0.02), np.array([0.1, 0.01, 0.0, 0.0])
    assert clusters.counts.tolist() == [2, 1, 1]
    assert clusters.apart == pytest.approx(2 * weight * np.array([1 + 1 / 2, 1 + 1 + 1, 1 / 2 + 1 / 2 + 1]))
    above = [0.01 / math.sqrt(3) - clusters.apart[0], *(0.1 / math.sqrt(2) - clusters.apart[1:])]
    assert clusters.allowed(0.5, levels) == pytest.approx(min(above))
    below = 0.1 - clusters.apart[0] - weight * 2 / 0.5
    assert clusters.allowed(1.5, levels) == pytest.approx(min(below, *above[1:]))
    assert clusters.allowed(2.0, levels) < 0, "an end among found values"
    assert clusters.allowed(0.5, np.array([0.1, 0.0, 0.0, 0.0])) == -math.inf, "a block too small for a pair"


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_one_run_finds_the_pairs_and_proves_that_none_is_missed(copies, monkeypatch):
    """The basis holds every vector that was multiplied; more copies than the block tells take a further run."""
    monkeypatch.setattr(eigenpairs, "DENSE_SIZE", 0)
    values = np.r_[np.full(copies, 2.0), 1.9, np.linspace(-1, 1, 400)]
    spectrum = ns.eigsh(operator_with(values), copies + 1, which="LA")
    assert spectrum.converged
    assert spectrum.products == spectrum.evidence.basis
    assert spectrum.multiplicities.tolist() == [copies] * copies + [1]
    assert 1 < spectrum.others[1] < 1.9
    assert spectrum.others[0] == pytest.approx(-1, abs=0.1)


def test_more_copies_than_a_block_tells_take_a_further_run(monkeypatch):
    monkeypatch.setattr(eigenpairs, "DENSE_SIZE", 0)
    spectrum = ns.eigsh(operator_with(np.r_[np.full(6, 2.0), np.linspace(-1, 1, 400)]), 6, which="LA")
    assert spectrum.multiplicities.tolist() == [6] * 6
    assert spectrum.products > spectrum.evidence.basis


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.3, 0.05])
@pytest.mark.parametrize("name", sorted(SPECTRA))
def test_eigenvalues_are_missed_no_more_often_than_stated(name, probability, monkeypatch):
    """With pairs so loose that the proof ends the run, at either end."""
    monkeypatch.setattr(eigenpairs, "DENSE_SIZE", 0)
    matrix, runs = matrix_with(SPECTRA[name](100), 1), 60
    values, k = np.linalg.eigvalsh(matrix), min(3, len(matrix))
    tolerance, missed = 1e-13 * abs(values).max(), np.zeros(2, int)
    for seed in range(runs):
        pairs = ns.eigsh(Dense(matrix), k, rtol=0.1, failure_probability=probability, seed=seed)
        low, high = pairs.others
        beyond = (values < low - tolerance).sum(), (values > high + tolerance).sum()
        found = (pairs.values < low).sum(), (pairs.values > high).sum()
        missed += [true > own for true, own in zip(beyond, found, strict=True)]
    assert binomtest(int(missed.max()), runs, probability, alternative="greater").pvalue > 1e-4
