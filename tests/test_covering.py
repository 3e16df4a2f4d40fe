"""The cases of a test that the default run takes hold what they should, and few of them do."""

import itertools
from collections import Counter

import pytest

from covering import covering

PRODUCT = [tuple(enumerate(row)) for row in itertools.product("abcdefg", range(5), "xy", (True, False))]


@pytest.mark.parametrize("strength", [1, 2, 3, 4, 9])
def test_every_set_of_values_is_held_by_few_rows(strength):
    kept = [PRODUCT[k] for k in covering(PRODUCT, strength)]
    size = min(strength, 4)
    held, wanted = ({one for row in rows for one in itertools.combinations(row, size)} for rows in (kept, PRODUCT))
    assert held == wanted
    assert len(kept) <= {1: 7, 2: 40, 3: 80}.get(strength, len(PRODUCT))


def test_values_that_come_together_stay_together():
    rows = [(k, k, letter) for k in range(9) for letter in "ab"]
    assert {rows[k][:2] for k in covering(rows, 1)} == {(k, k) for k in range(9)}
    assert covering(rows, 2) == set(range(len(rows)))


def test_values_come_about_equally_often():
    rows = [tuple(enumerate(row)) for row in itertools.product(range(24), "abcd")]
    letters = Counter(rows[k][1] for k in covering(rows, 1))
    assert sorted(letters.values()) == [6, 6, 6, 6]


def test_one_row_is_kept():
    assert covering([()], 2) == covering([("a",)], 3) == {0}


def test_the_choice_is_always_the_same():
    assert covering(PRODUCT, 2) == covering(PRODUCT, 2)
