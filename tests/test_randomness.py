"""Random starts depend neither on the data nor on one another: a certificate rests on that."""

import itertools

import numpy as np
import pytest

import ntkspec as ns
from adversarial import drawn
from ntkspec.operators import Gram, wrap
from ntkspec.randomness import PURPOSES, stream
from ntkspec.spectra.certificates import FailureBudget


def first_numbers(source):
    return tuple(np.random.default_rng(source).standard_normal(4))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_no_two_streams_begin_alike(seed):
    ours = [stream(seed, purpose, *numbers) for purpose in PURPOSES for numbers in ((), (0,), (1,), (1, 0), (1, 4))]
    theirs = [seed, *([seed, *rest] for rest in ((0,), (1,), (2,), (3,), (1, 0), (0, 0), (1, 0, 0), (0, 0, 0, 0, 1)))]
    known = [first_numbers(source) for source in ours]
    assert len(set(known)) == len(known)
    assert set(known).isdisjoint(first_numbers(source) for source in theirs)


def test_a_data_set_of_the_same_seed_does_not_know_the_start():
    """K is the projector on what is orthogonal to the data, whose norm is 1: the data as a start would never see it."""
    for seed in range(20):
        X = ns.datasets.gaussian(200, 3, seed=seed).X
        start = drawn(Gram(X), stream(seed, "proof", 1), 2)
        cosines = np.abs(np.corrcoef(np.column_stack([X, start]).T)[:3, 3:])
        assert cosines.max() < 0.4


@pytest.mark.parametrize(("probability", "most"), [(0.3, 0.3), (0.05, 0.05)])
def test_norms_of_kernels_that_are_made_of_the_data_are_missed_as_seldom_as_stated(probability, most):
    """The data set and the proof have one seed; the extreme eigenvector is orthogonal to the data."""
    misses, runs = 0, 150
    for seed in range(runs):
        x = ns.datasets.gaussian(101, 1, seed=seed).X[:, 0]
        rng = np.random.default_rng(10_000 + seed)
        z = rng.standard_normal(101)
        z -= (z @ x) / (x @ x) * x
        z /= np.linalg.norm(z)
        K = np.diag(np.linspace(-1, 1, 101)) * 0.9
        K = K - np.outer(z, z @ K) - np.outer(K @ z - (z @ K @ z) * z, z) + np.outer(z, z)
        truth = np.linalg.norm((K + K.T) / 2, 2)
        misses += ns.spectral_norm((K + K.T) / 2, rtol=0.3, failure_probability=probability, seed=seed).upper < truth
    assert misses <= most * runs


def test_probes_of_the_entropy_do_not_lie_in_the_eigenspaces_that_were_found():
    """Eigenvalues 0 and 1, both 800-fold: the 64 locked vectors must not hold what the probes see of 1."""
    half = wrap(np.diag(np.r_[np.zeros(800), np.ones(800)]))
    for seed in range(3):
        estimate = ns.spectral_entropy(half, seed=seed)
        assert estimate.lower <= np.log(800) <= estimate.upper


def test_attempts_draw_different_starts():
    budget, starts = FailureBudget(1e-6, 0), []
    for _ in range(3):
        _, number = budget.attempt()
        starts.append(first_numbers(stream(budget.seed, "proof", number)))
    assert all(one != other for one, other in itertools.combinations(starts, 2))
