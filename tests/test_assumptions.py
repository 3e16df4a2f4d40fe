"""Moments and the summary of the data against explicit loops."""

import math

import numpy as np
import pytest

import naive
import ntkspec as ns
from ntkspec.kernels.moments import NotCentredWarning
from ntkspec.theory.assumptions import summarize


@pytest.mark.parametrize("shape", [(2, 1), (2, 5), (9, 3), (4, 12), (50, 7)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_trace_ratio_agrees_with_the_double_loop(shape, dtype):
    X = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    assert ns.trace_ratio(X) == pytest.approx(
        naive.trace_ratio(X.astype(float)), rel=1e-5 if dtype == np.float32 else 1e-12
    )


def test_trace_ratio_is_unbiased_where_the_plain_estimate_is_not():
    """d = 40, n = 60, variances with Tr[Sigma²]/d = 1.5: the mean over 400 draws within 4 standard errors."""
    variances = np.r_[np.full(20, 1 + math.sqrt(0.5)), np.full(20, 1 - math.sqrt(0.5))]
    draws = [np.random.default_rng(seed).standard_normal((60, 40)) * np.sqrt(variances) for seed in range(400)]
    ours = np.array([ns.trace_ratio(X) for X in draws])
    plain = np.mean([np.linalg.norm(X.T @ X / 60) ** 2 / 40 for X in draws])
    assert abs(ours.mean() - 1.5) < 4 * ours.std() / 20
    assert plain > 2


@pytest.mark.parametrize("shape", [(9, 1), (9, 3), (8, 12)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_trace_ratio_of_points_that_are_not_centred_is_about_their_mean(shape, dtype):
    X = (np.random.default_rng(0).standard_normal(shape) + 1000).astype(dtype)
    with pytest.warns(NotCentredWarning, match=r"its mean has size (999\.|1000|1e\+03)"):
        found = ns.trace_ratio(X)
    assert found == pytest.approx(naive.trace_ratio_about_the_mean(X.astype(float) - 1000), rel=1e-8)


def test_trace_ratio_does_not_see_where_the_points_lie():
    """n = 1500, d = 40: shifted by 5, a set keeps its Tr[Sigma²]/d to the chance of the mean that is estimated."""
    X = np.random.default_rng(0).standard_normal((1500, 40))
    with pytest.warns(NotCentredWarning):
        moved = ns.trace_ratio(X + 5)
    assert type(moved) is type(ns.trace_ratio(X)) is float
    assert moved == pytest.approx(ns.trace_ratio(X), rel=3 / 1500)


@pytest.mark.parametrize("n", [4, 20, 300])
@pytest.mark.parametrize("variances", [np.ones(30), np.r_[30.0, np.zeros(29)], 30 / np.arange(1, 31) ** 2])
def test_centred_samples_are_not_taken_for_points_with_a_mean(n, variances):
    """Of 200 sets of any covariance not one: chance would take one set in 10,000."""
    for seed in range(200):
        ns.trace_ratio(np.random.default_rng(seed).standard_normal((n, 30)) * np.sqrt(variances))


def test_entries_whose_fourth_power_overflows_are_refused():
    with pytest.raises(ValueError, match=r"overflows: entries reach .*e\+100; scale X"):
        ns.trace_ratio(np.random.default_rng(0).standard_normal((9, 3)) * 1e100)


@pytest.mark.parametrize("k", [-240, -201, -199, 3, 201, 240])
def test_powers_of_two_scale_the_estimate_exactly_or_are_refused(k):
    X = np.random.default_rng(0).standard_normal((9, 3))
    assert ns.trace_ratio(np.ldexp(X, k)) == math.ldexp(ns.trace_ratio(X), 4 * k)
    for far in (-280, 300):
        with pytest.raises(ValueError, match=r"(under|over)flows: entries reach .*scale X"):
            ns.trace_ratio(np.ldexp(X, far))


def test_one_point_has_no_trace_ratio():
    with pytest.raises(ValueError, match="at least two data points"):
        ns.trace_ratio(np.ones((1, 3)))


@pytest.mark.parametrize("shape", [(1, 4), (6, 1), (30, 5), (5, 30), (1100, 3)])
def test_the_summary_agrees_with_plain_numpy(shape):
    X = np.random.default_rng(1).standard_normal(shape) + 0.3
    n, d = shape
    summary = summarize(X)
    centred = X - X.mean(axis=0)
    covariance = centred.T @ centred / n
    gram, sizes = X @ X.T, (X**2).sum(axis=1) / d
    assert summary.mean_size == pytest.approx(np.linalg.norm(X.mean(axis=0)) / math.sqrt(d))
    assert summary.trace_over_d == pytest.approx(np.trace(covariance) / d, abs=1e-12)
    assert summary.covariance_norm == pytest.approx(np.linalg.norm(covariance, 2), rel=1e-6, abs=1e-12)
    assert summary.gram_norm == pytest.approx(np.linalg.norm(gram, 2) / n, rel=1e-6)
    assert (summary.norm_min, summary.norm_max) == pytest.approx((sizes.min(), sizes.max()))
    assert summary.norm_spread == pytest.approx(sizes.std(), abs=1e-12)
    off = np.abs(gram - np.diag(np.diag(gram))).max() / d
    assert summary.largest_overlap == pytest.approx(off, rel=1e-12)
    assert summary.concentration == pytest.approx(math.sqrt(math.log(n) / d))
    variances = X.var(axis=0)
    assert summary.largest_feature == (variances.argmax() if n > 1 else 0)
    assert summary.largest_share == pytest.approx(variances.max() / variances.sum() if n > 1 else 0)
    assert summary.duplicates == 0
    if n == 1:
        assert math.isnan(summary.trace_ratio)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_points_that_equal_an_earlier_one_are_counted(dtype):
    """Also those that differ in the sign of a zero, or lie apart in memory."""
    X = np.random.default_rng(0).standard_normal((40, 6)).astype(dtype)
    X[7, 2], X[20] = 0.0, X[3]
    X[21], X[30] = X[3], X[7]
    X[30, 2] = -0.0
    assert summarize(X).duplicates == 3
    assert summarize(np.asfortranarray(X)).duplicates == 3
    assert summarize(np.ones((5, 2), dtype)).duplicates == 4


def test_claim_3_1_on_gaussian_data():
    """n = 4000, d = 100: norms and overlaps within 6 sqrt(log n / d), ‖X Xᵀ‖/n within the Marchenko-Pastur edge."""
    summary = summarize(ns.datasets.gaussian(4000, 100, seed=2).X)
    assert max(1 - summary.norm_min, summary.norm_max - 1, summary.largest_overlap) < 6 * summary.concentration
    assert summary.gram_norm == pytest.approx((1 + math.sqrt(100 / 4000)) ** 2, rel=0.03)
    assert summary.trace_ratio == pytest.approx(1, abs=0.02)


def test_one_feature_that_is_not_centred_counts_where_many_share_the_variance():
    X = np.random.default_rng(0).standard_normal((100, 50))
    X[:, 0] += 2.0  # 1/n sum <x, x'>² would say (50 + 2 * 4 + 16) / 50 for 1
    with pytest.warns(NotCentredWarning):
        assert ns.trace_ratio(X) == pytest.approx(1, abs=0.15)
    assert not summarize(X).mean_is_zero
    assert summarize(X - X.mean(axis=0)).mean_is_zero
