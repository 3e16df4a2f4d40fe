"""Intervals contain exact results, and estimates compute as numbers that carry them."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec import Estimate
from ntkspec.spectra.intervals import Interval

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def pairs(draw, numbers=FLOATS):
    """An interval, and an exact number inside."""
    lower, upper = sorted(draw(st.tuples(numbers, numbers)))
    part = Fraction(draw(st.integers(0, 64)), 64)
    return Interval(lower, upper), Fraction(lower) + part * (Fraction(upper) - Fraction(lower))


def holds(interval: Interval, exact: Fraction) -> bool:
    above = interval.lower == -math.inf or Fraction(interval.lower) <= exact
    return above and (interval.upper == math.inf or exact <= Fraction(interval.upper))


@given(pairs(), pairs())
def test_exact_results_of_points_lie_inside(one, other):
    (A, a), (B, b) = one, other
    assert holds(A + B, a + b)
    assert holds(A * B, a * b)
    assert holds(-A, -a)
    assert holds(abs(A), abs(a))
    if b:
        assert holds(B.inverse(), 1 / b)
        assert holds(A * B.inverse(), a / b)


@given(pairs(st.floats(-1e100, 1e100)), st.integers(-6, 7))
def test_exact_powers_of_points_lie_inside(one, exponent):
    A, a = one
    if a or exponent >= 0:
        assert holds(A.power(exponent), a**exponent)


@given(pairs(st.floats(0, allow_infinity=False)), st.sampled_from([0.5, 0.25, 1.5]))
def test_roots_of_points_lie_inside(one, exponent):
    """r is at least the root of a where r^4 >= a^(4 exponent)."""
    A, a = one
    root, target = A.power(exponent), a ** int(4 * exponent)
    assert root.lower <= 0 or Fraction(root.lower) ** 4 <= target
    assert root.upper == math.inf or Fraction(root.upper) ** 4 >= target


@given(st.one_of(st.integers(), st.fractions(), FLOATS))
def test_every_real_number_lies_in_its_interval(number):
    try:
        interval = Interval.of(number)
    except OverflowError:
        return
    assert holds(interval, Fraction(number))
    assert interval.upper - interval.lower <= 2 * math.ulp(float(number)) * (1 + 1e-15)


def test_intervals_are_no_wider_than_rounding():
    A, B = Interval(1.0, 2.0), Interval(3.0, 5.0)
    expected = {
        A + B: (4, 7),
        A * -B: (-10, -3),
        A * B.inverse(): (1 / 5, 2 / 3),
        A.power(2): (1, 4),
        Interval(-3.0, 2.0).power(2): (0, 9),
        Interval(-3.0, 2.0).power(3): (-27, 8),
        Interval(4.0, 9.0).power(0.5): (2, 3),
        Interval(4.0, 9.0).power(-0.5): (1 / 3, 1 / 2),
    }
    for found, ends in expected.items():
        assert (found.lower, found.upper) == pytest.approx(ends, rel=1e-15, abs=0)
    assert Interval(0.0, 2.0) * Interval(3.0, math.inf) == Interval(0.0, math.inf)
    assert Interval(0.0, 2.0).inverse().upper == math.inf
    assert Interval(0.0, 2.0).inverse().lower == pytest.approx(0.5)
    assert Interval(-2.0, 0.0).inverse().lower == -math.inf
    assert Interval(-1.0, 2.0).inverse() == Interval(-math.inf, math.inf)
    with pytest.raises(ValueError, match=r"the power 0.5 of an interval that begins at -1 < 0 is not real"):
        Interval(-1.0, 4.0).power(0.5)


# ----------------------------------------------------------------------------------------------------------- estimates
NORM = Estimate(2.0, 1.75, 2.25, 1e-6, 40, True)
OTHER = Estimate(4.0, 3.5, 4.25, 2e-6, 10, False)


def ends(estimate):
    return estimate.value, estimate.lower, estimate.upper


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (NORM + OTHER, (6, 5.25, 6.5)),
        (NORM - OTHER, (-2, -2.5, -1.25)),
        (NORM * OTHER, (8, 1.75 * 3.5, 2.25 * 4.25)),
        (NORM / OTHER, (0.5, 1.75 / 4.25, 2.25 / 3.5)),
        (NORM / NORM, (1, 1.75 / 2.25, 2.25 / 1.75)),
        (1 + NORM, (3, 2.75, 3.25)),
        (NORM - Fraction(1, 2), (1.5, 1.25, 1.75)),
        (10 - NORM, (8, 7.75, 8.25)),
        (3 / OTHER, (0.75, 3 / 4.25, 3 / 3.5)),
        (np.float64(3) * NORM, (6, 5.25, 6.75)),
        (np.float32(3) / OTHER, (0.75, 3 / 4.25, 3 / 3.5)),
        (np.int64(1) - NORM, (-1, -1.25, -0.75)),
        (-NORM, (-2, -2.25, -1.75)),
        (abs(-NORM), (2, 1.75, 2.25)),
        (abs(NORM - 2), (0, 0, 0.25)),
        (NORM**2, (4, 1.75**2, 2.25**2)),
        (OTHER**0.5, (2, 3.5**0.5, 4.25**0.5)),
        (NORM / (OTHER - 3.75), (8, -math.inf, math.inf)),
        (sum([NORM, OTHER]), (6, 5.25, 6.5)),
    ],
)
def test_arithmetic_carries_the_interval(found, expected):
    assert isinstance(found, Estimate)
    assert ends(found) == pytest.approx(expected, rel=1e-14, abs=1e-15)
    assert found.lower <= expected[1]
    assert expected[2] <= found.upper


def test_what_an_interval_rests_on_adds_up():
    both = NORM * OTHER
    assert both.failure_probability == pytest.approx(3e-6)
    assert both.products == 50
    assert not both.converged
    assert (2 * NORM).converged
    assert (2 * NORM).failure_probability == 1e-6
    assert (replace(NORM, failure_probability=0.7) + replace(NORM, failure_probability=0.6)).failure_probability == 1
    with pytest.raises(ZeroDivisionError):
        NORM / 0
    with pytest.raises(ValueError, match="is not real"):
        (NORM - 2) ** 0.5
    with pytest.raises(TypeError):
        NORM + "1"


def test_an_estimate_is_its_value_where_a_number_is_needed():
    assert f"{NORM:.3f} {OTHER:8.1e}" == "2.000  4.0e+00"
    assert f"{NORM}" == str(NORM) == "2 in [1.75, 2.25] except with probability 1e-06 (40 products)"
    assert repr(NORM) == f"Estimate({NORM})"
    assert (round(NORM / 3, 2), round(NORM), int(OTHER), float(NORM)) == (0.67, 2, 4, 2.0)
    assert 1 < NORM < 3
    assert np.float64(1) < NORM <= np.float32(2)
    assert NORM < OTHER
    assert max(NORM, OTHER) is OTHER
    assert NORM == 2
    assert hash(NORM) == hash(2.0)
    assert NORM != OTHER
    assert NORM != "2"
    assert not NORM - 2
    assert math.sqrt(OTHER) == np.sqrt(OTHER) == 2
    assert pytest.approx(2) == NORM
    assert np.mean([NORM, OTHER]) == 3


def test_what_is_exact_is_printed_without_an_interval():
    exact = ns.frobenius_norm(np.diag([3.0, 4.0]))
    assert exact.lower < exact.upper
    assert f"{exact}" == "5 (exact up to rounding)"
    assert str(replace(exact, products=2)) == "5 (exact up to rounding, 2 products)"
    for wider in ({"upper": 5.001}, {"failure_probability": 1e-6}, {"converged": False}):
        assert " in [5, 5" in str(replace(exact, **wider))


def test_arithmetic_says_what_it_is():
    for name in ("neg", "pos", "abs", "add", "mul", "truediv", "pow", "sub", "rsub", "rtruediv"):
        assert getattr(ns.Estimate, f"__{name}__").__doc__


def test_arrays_take_the_value():
    values = np.array([2.0, 6.0])
    assert np.array_equal(values / NORM, [1, 3])
    assert np.array_equal(NORM * values, [4, 12])
    assert np.array_equal(np.array([NORM, OTHER]), [2, 4])
    assert np.array_equal(values > NORM, [False, True])
    assert (values / NORM).dtype == np.float64


def test_an_estimate_scales_a_kernel_and_sets_a_rate():
    matrix = np.diag([1.0, 4.0])
    norm = ns.spectral_norm(matrix)
    scaled = ns.operators.wrap(matrix) / norm
    assert scaled.to_dense() == pytest.approx(matrix / 4)
    assert (norm * ns.operators.wrap(matrix)).to_dense() == pytest.approx(4 * matrix)
    found = ns.predict_gd(matrix, [1.0, 1.0], eta=1 / norm, steps=[1])
    assert found.train == pytest.approx(ns.predict_gd(matrix, [1.0, 1.0], eta=0.25, steps=[1]).train)
