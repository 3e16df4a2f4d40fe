"""Exponents of laws that are known, their intervals' coverage, and the two-term law."""

import numpy as np
import pytest

from ntkspec.experiments.power_laws import TwoTerms, fit_power_law, fit_two_terms, never_rises

D = np.array([32, 48, 72, 108, 162, 243])


def noisy(exponent, spread, seed, seeds=5, bend=0.0):
    """y = 3 d^exponent, times a factor of each seed's own and noise."""
    rng = np.random.default_rng(seed)
    d, cluster = np.tile(D, seeds), np.repeat(np.arange(seeds), len(D))
    own = np.exp(spread * rng.standard_normal(seeds))[cluster] * np.exp(spread * rng.standard_normal(len(d)))
    return d, 3.0 * d.astype(float) ** exponent * own * (1 + bend / d), cluster


def test_an_exact_law_is_found():
    law = fit_power_law(*noisy(-0.7, 0.0, 0))
    assert law.exponent == pytest.approx(-0.7)
    assert law.constant == pytest.approx(3)
    assert (law.lower, law.upper) == pytest.approx((-0.7, -0.7))
    assert law.local == pytest.approx(np.full(5, -0.7))


@pytest.mark.parametrize(("count", "least"), [(60, 54), pytest.param(200, 185, marks=pytest.mark.slow)])
def test_intervals_hold_the_exponent_about_as_often_as_stated(count, least):
    inside = 0
    for seed in range(count):
        law = fit_power_law(*noisy(-0.5, 0.1, seed))
        inside += law.lower <= -0.5 <= law.upper
    assert inside >= least


def test_a_factor_of_a_whole_seed_does_not_narrow_the_interval():
    """Seeds are resampled as a whole: points of one seed are not independent."""
    d, y, seeds = noisy(-0.5, 0.0, 0)
    tilted = y * d ** np.array([0.2, -0.2, 0.1, -0.1, 0.0])[seeds]
    law = fit_power_law(d, tilted, seeds)
    assert law.upper - law.lower > 0.2
    assert law.exponent == pytest.approx(-0.5)


def test_points_that_are_seeds_of_their_own_have_an_interval():
    """No seed has a slope; whole seeds, here points, are resampled all the same."""
    d, y, _ = noisy(-0.5, 0.2, 3)
    law = fit_power_law(d, y, np.arange(len(d)))
    assert law.lower < law.exponent < law.upper
    assert 0.02 < law.upper - law.lower < 0.6


def test_local_slopes_show_a_bend():
    law = fit_power_law(*noisy(-0.5, 0.0, 0, bend=50.0))
    assert (np.diff(law.local) > 0).all()


def test_too_few_points_and_impossible_ones_are_refused():
    d, y, seeds = noisy(-0.5, 0.0, 0)
    few = np.isin(d, D[:2])
    with pytest.raises(ValueError, match="2 values of x and 5 seeds"):
        fit_power_law(d[few], y[few], seeds[few])
    with pytest.raises(ValueError, match="6 values of x and 1 seeds"):
        fit_power_law(d[:6], y[:6], seeds[:6])
    for bad in (0.0, -1.0, np.nan, np.inf):
        y[3] = bad
        with pytest.raises(ValueError, match="finite numbers > 0"):
            fit_power_law(d, y, seeds)


def test_two_terms_are_found_again():
    d = np.tile(D, 3).astype(float)
    n, width = d**1.5, np.repeat([200.0, 1000.0, 8000.0], len(D))
    truth = TwoTerms(0.3, 0.8, 2.5, 0.0)
    found = fit_two_terms(truth(n, d, width), n=n, d=d, width=width, floor=0.3)
    assert (found.constant, found.kappa) == pytest.approx((0.8, 2.5), rel=1e-4)
    assert found.error < 1e-6
    assert TwoTerms(5.0, 0.8, 2.5, 0.0)(1000, 100, 1e9) == 5.0


def test_never_rises_is_the_sign_of_the_median_slope():
    assert never_rises([1, 2, 3, 4], [4, 3, 2, 1])
    assert never_rises([1, 2, 3, 4], [1, 1, 1, 1])
    assert not never_rises([1, 2, 3, 4], [1, 2, 3, 0.5])
