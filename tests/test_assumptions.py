"""Moments and the summary of the data against explicit loops."""

import math

import numpy as np
import pytest

import naive
import ntkspec as ns
from ntkspec.assumptions import summarize


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
    if n == 1:
        assert math.isnan(summary.trace_ratio)


def test_claim_3_1_on_gaussian_data():
    """n = 4000, d = 100: norms and overlaps within 6 sqrt(log n / d), ‖X Xᵀ‖/n within the Marchenko-Pastur edge."""
    summary = summarize(ns.datasets.gaussian(4000, 100, seed=2).X)
    assert max(1 - summary.norm_min, summary.norm_max - 1, summary.largest_overlap) < 6 * summary.concentration
    assert summary.gram_norm == pytest.approx((1 + math.sqrt(100 / 4000)) ** 2, rel=0.03)
    assert summary.trace_ratio == pytest.approx(1, abs=0.02)
