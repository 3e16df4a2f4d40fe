"""The statements' right-hand sides, and the inequality between trajectories on random kernels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
from ntkspec.theory import bounds


def test_bounds_are_those_of_the_paper():
    assert bounds.gap_bound(1000, 100, 0.25) == pytest.approx(1000 / 100**1.25)
    assert bounds.frobenius_lower_bound(1000, 100) == 10
    assert bounds.horizon(50, 0.5, 2.0) == pytest.approx(2 * 50 * math.log(50) / 0.5)
    assert bounds.concentration(1000, 100) == pytest.approx(math.sqrt(math.log(1000) / 100))
    assert bounds.test_discrepancy_bound(400, 16, 0.25, math.e) == pytest.approx(0.5 + 1 / 20)
    assert bounds.least_width(16, 0.25) == pytest.approx(32)
    assert bounds.least_width(16, 0.25, layer="second") == pytest.approx(32)
    assert bounds.least_width(16, 0.25, layer="second", centred=False) == pytest.approx(512)
    assert bounds.largest_rate(1000, 64) == 64
    assert bounds.largest_rate(1000, 64, layer="second") == pytest.approx(64 / math.log(1000))
    assert bounds.largest_rate(1000, 64, layer="both", centred=False) == 1


@pytest.mark.parametrize("bound", [bounds.least_width, bounds.largest_rate])
def test_layers_that_there_are_not_are_refused(bound):
    """A misspelt "first" was taken for the second layer."""
    assert bound(16, 2, layer="all", centred=False) == bound(16, 2, layer="both", centred=False)
    with pytest.raises(ValueError, match="layer='frist'"):
        bound(16, 2, layer="frist")


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 30), st.integers(0, 999), st.floats(0.0, 2.0))
def test_trajectories_of_close_kernels_are_as_close_as_stated(n, steps, seed, apart):
    """(1/sqrt n) ‖u_t - u'_t‖ <= (eta t/n) ‖K - K'‖ rms(y), for two semidefinite kernels and a stable rate."""
    rng = np.random.default_rng(seed)
    F, G = rng.standard_normal((2, n, n))
    K = F @ F.T / n
    other = (F + apart * G) @ (F + apart * G).T / n
    eta = 0.9 * n / max(np.linalg.norm(K, 2), np.linalg.norm(other, 2))
    y = rng.standard_normal(n)
    one, two = (naive.kernel_descent(matrix, matrix, y, eta, [steps])[0][0] for matrix in (K, other))
    gap, rms = np.linalg.norm(K - other, 2), math.sqrt(float(y @ y) / n)
    found = np.linalg.norm(one - two) / math.sqrt(n)
    assert found <= bounds.trajectory_bound(gap, rms, eta, steps, n) * (1 + 1e-9) + 1e-14
