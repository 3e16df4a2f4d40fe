"""Dense or factored, and what does not fit."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from ntkspec import planning
from ntkspec.operators import Dense, HadamardGram


def hadamard(n, d, m):
    return HadamardGram(np.ones((n, m), np.float32), np.ones((n, d), np.float32))


def test_wide_networks_are_formed_and_narrow_ones_are_not():
    assert planning.plan(hadamard(1000, 300, 500), 100).method == "dense"
    assert planning.plan(hadamard(3000, 4, 8), 100).method == "factored"
    assert planning.plan(hadamard(1000, 300, 500), 1).method == "factored"
    assert planning.plan(hadamard(1000, 300, 500), 100).bytes == 4_000_000


def test_both_forms_multiply_alike():
    operator = hadamard(700, 100, 200)
    stored = planning.prepare(operator, 1000)
    assert isinstance(stored, Dense)
    assert stored.symmetric
    V = np.random.default_rng(0).standard_normal((700, 2)).astype(np.float32)
    assert stored @ V == pytest.approx(operator @ V, rel=1e-4, abs=1.0)
    assert planning.prepare(stored, 1000) is stored


def test_a_matrix_that_does_not_fit_is_left_factored_and_says_so():
    operator = hadamard(1000, 300, 500)
    operator.engine = SimpleNamespace(free_memory=lambda: 6_000_000)
    plan = planning.plan(operator, 100)
    assert plan.method == "factored"
    assert "would take 0.0 GB of 0.0 GB" in plan.reason
    assert dataclasses.is_dataclass(plan)


def test_too_little_memory_is_refused_with_numbers():
    engine = SimpleNamespace(free_memory=lambda: 3e9)
    planning.require_memory(2e9, engine, "the analysis")
    with pytest.raises(ValueError, match=r"the analysis needs 80\.0 GB, but 3\.0 GB are free; take fewer points"):
        planning.require_memory(80e9, engine, "the analysis")
