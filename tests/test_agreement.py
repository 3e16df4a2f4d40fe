import numpy as np
import pytest

from ntkspec.experiments.agreement import (
    Agreement,
    agreement,
    loss,
    mean_squared_difference,
    relative_difference,
    why_not_finite,
)

NAN, INF = np.nan, np.inf
STEPS = [0, 1, 2, 5, 10, 20]


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ([9, 0.01, 0.02, 0.03, 0.04, 0.05], (1, 20, True, True)),
        ([0, 0.50, 0.60, 0.70, 0.80, 0.90], (None, None, False, False)),
        ([0, 0.01, 0.02, 0.30, 0.40, 0.50], (1, 2, True, False)),
        ([0, 0.01, 0.30, 0.02, 0.02, 0.02], (1, 1, True, False)),
        ([0, 0.50, 0.02, 0.02, 0.30, 0.01], (2, 5, False, False)),
        ([0, 0.50, 0.40, 0.30, 0.20, 0.01], (20, 20, False, True)),
        ([0, 0.50, 0.40, 0.02, 0.02, 0.01], (5, 20, False, True)),
        ([0, 0.10, 0.10, 0.10, 0.10, 0.10], (None, None, False, False)),
        ([0, 0.01, 0.02, NAN, NAN, NAN], (1, 2, True, False)),
        ([0, 0.01, NAN, 0.01, 0.01, 0.01], (1, 1, True, False)),
        ([0, NAN, 0.01, 0.01, INF, INF], (2, 5, False, False)),
        ([0, NAN, NAN, NAN, NAN, NAN], (None, None, False, False)),
    ],
    ids=[
        *("always below", "never below", "parted", "parted and returned", "met, parted and returned"),
        *("met at the end", "met and stayed", "the threshold itself is not below"),
        *("NaN parts", "NaN in between parts", "NaN at the start", "NaN only"),
    ],
)
def test_agreement_is_the_first_unbroken_run_below_the_threshold(relative, expected):
    assert agreement(STEPS, relative, 0.1) == Agreement(0.1, *expected)


def test_step_0_says_nothing():
    assert agreement([0], [0.0], 0.1) == Agreement(0.1, None, None, False, False)


def test_agreement_without_step_0_begins_at_the_first_recorded_step():
    assert agreement([3, 4], [0.0, 1.0], 0.1) == Agreement(0.1, 3, 3, True, False)


def test_agreement_holds_plain_numbers():
    found = agreement(np.array(STEPS), np.zeros(6, dtype=np.float32), 0.1)
    assert (type(found.since), type(found.until)) == (int, int)


def test_loss_is_half_the_mean_square_of_the_residual():
    np.testing.assert_allclose(loss([[0, 0, 0, 0], [1, -1, 3, 1]], [1, -1, 1, -1]), [0.5, (0 + 0 + 4 + 4) / 8])


def test_loss_is_NaN_where_an_output_is():
    np.testing.assert_array_equal(loss([[1.0, 2.0], [NAN, 2.0]], [1.0, 2.0]), [0, NAN])


def test_mean_squared_difference_is_symmetric_and_one_number_for_each_step():
    one, other = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(mean_squared_difference(one, other), [5 / 3, 0])
    np.testing.assert_allclose(mean_squared_difference(other, one), [5 / 3, 0])


def test_squares_of_float32_outputs_do_not_overflow():
    np.testing.assert_allclose(loss(np.array([[1e30, 0]], dtype=np.float32), np.zeros(2, np.float32)), 2.5e59)


def test_relative_difference_is_relative_to_the_second():
    one, other = np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([[1.0, 1.0], [4.0, 0.0]])
    np.testing.assert_allclose(relative_difference(one, other), [2 / 2, 25 / 16])
    np.testing.assert_allclose(relative_difference(other, one), [2 / 4, 25 / 9])


def test_relative_difference_is_0_where_both_vanish_and_infinite_where_the_second_does():
    np.testing.assert_array_equal(relative_difference([[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]), [0, INF])


@pytest.mark.parametrize("one", [NAN, INF])
@pytest.mark.parametrize("other", [NAN, INF])
def test_the_relative_difference_of_diverged_outputs_is_NaN_without_a_numpy_warning(one, other):
    np.testing.assert_array_equal(relative_difference([[1.0], [one]], [[1.0], [other]]), [0, NAN])


def test_what_is_not_finite_has_its_reason():
    steps, y = np.array([0, 1, 4]), np.ones((3, 2))
    still, grown = np.zeros((3, 2)), np.array([[0.0, 0.0], [1.0, 2.0], [np.inf, 3.0]])
    for outputs, reference, reason in (
        (y, y + 1, ""),
        (y, still, "not finite: the reference is zero (first at step 0)"),
        (grown, y, "not finite: outputs overflow (first at step 4)"),
        (y, grown, "not finite: outputs overflow (first at step 4); the reference is zero (first at step 0)"),
    ):
        assert why_not_finite(steps, outputs, reference, relative_difference(outputs, reference)) == reason
