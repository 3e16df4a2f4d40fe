"""Eigenmodes under training: times, energies, and when linear learning is finished."""

import math

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.operators import Dense, Gram


def test_times_and_energies_of_a_diagonal_kernel():
    values, y = np.array([4.0, 2.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 1.0])
    modes = ns.learning_modes(Dense(np.diag(values), symmetric=True), y, eta=0.4)
    assert modes.values == pytest.approx(values[:3])
    assert modes.e_folds == pytest.approx([-1 / math.log(1 - 0.1 * v) for v in (4, 2, 1)])
    assert modes.energies == pytest.approx([1 / 3, 0, 1 / 3], abs=1e-12)  # a third is never learned
    assert modes.complete
    flow = ns.learning_modes(Dense(np.diag(values), symmetric=True), y, eta=0.4, law="flow")
    assert flow.e_folds == pytest.approx([2.5, 5, 10])


@pytest.mark.parametrize("law", ["gd", "flow", ns.HeavyBall(0.5), ns.Nesterov(0.5)], ids=str)
def test_steps_to_learn_is_where_the_linear_residual_falls_below_the_part(law):
    data = ns.datasets.gaussian(300, 10, seed=3)
    linear = ns.linear_kernel("erf", data.X)
    modes = ns.learning_modes(linear, data.y, eta=0.3, law=law)
    assert modes.complete
    assert len(modes.values) == 10
    last = modes.steps_to_learn(0.99)
    limit = ns.predict_gd(linear, data.y, eta=0.3, steps=[10**9], law=law).train[0]
    around = ns.predict_gd(linear, data.y, eta=0.3, steps=[last - 1, last], law=law).train
    left = np.square(around - limit).sum(axis=1) / np.square(limit).sum()
    assert left[1] <= 0.01 * (1 + 1e-6)
    assert left[0] > 0.01 * (1 - 1e-6)


@pytest.mark.parametrize("momentum", [0.9, 0.99, 0.999])
def test_the_heavy_ball_has_learned_for_good(momentum):
    """One mode that swings: from that step on the residual's square stays below the part, and not for long before."""
    law = ns.HeavyBall(momentum)
    last = ns.learning_modes(Dense(np.diag([1.0, 0.0]), symmetric=True), np.ones(2), eta=0.2, law=law).steps_to_learn()
    left = law.residual([0.1], range(60_000))[:, 0] ** 2
    assert (left[int(last) :] <= 0.01).all()
    assert np.flatnonzero(left > 0.01)[-1] > 0.9 * last - 30


def test_slow_modes_are_learned_late():
    modes = ns.learning_modes(Dense(np.diag([1.0, 0.0]), symmetric=True), np.array([1.0, 0.0]), eta=2e-12)
    assert modes.steps_to_learn(0.99) == pytest.approx(math.log(10) / 1e-12, rel=1e-9)


def test_what_takes_for_ever_or_is_nothing_ends():
    slowest = ns.learning_modes(Dense(np.diag([1.0, 1e-15]), symmetric=True), np.ones(2), eta=1.0)
    assert slowest.steps_to_learn(0.99) > 1e15
    assert ns.learning_modes(0 * Gram(np.ones((4, 1))), np.ones(4), eta=1.0).steps_to_learn() == math.inf
    orthogonal = ns.learning_modes(Gram(np.ones((4, 1))), np.array([1.0, -1.0, 1.0, -1.0]), eta=1.0)
    assert orthogonal.steps_to_learn() == math.inf


@pytest.mark.parametrize("dense", [False, True])
def test_modes_that_are_not_there_are_left_out_in_every_form(dense):
    F, y = np.random.default_rng(0).standard_normal((40, 3)), np.random.default_rng(1).standard_normal(40)
    kernel = Dense(F @ F.T, symmetric=True) if dense else Gram(F)
    modes = ns.learning_modes(kernel, y, eta=1.0, k=40)
    assert len(modes.values) == 3
    assert modes.complete
    assert modes.energies.sum() < 0.9
    assert np.isfinite(modes.steps_to_learn())
    assert ns.learning_modes(Gram(F), y, eta=1.0, k=3).complete


def test_thin_modes_are_those_of_the_matrix():
    F, y = np.random.default_rng(0).standard_normal((40, 3)), np.random.default_rng(1).standard_normal(40)
    modes = ns.learning_modes(Gram(F), y, eta=1.0)
    values, V = np.linalg.eigh(F @ F.T)
    assert modes.values == pytest.approx(values[::-1][:3])
    assert modes.energies == pytest.approx(np.square(V.T @ y)[::-1][:3] / (y @ y))
    few = ns.learning_modes(Gram(F), y, eta=1.0, k=2)
    assert (len(few.values), few.complete, modes.complete) == (2, False, True)


def test_repeated_features_leave_no_empty_modes():
    F = np.random.default_rng(0).standard_normal((40, 2))
    modes = ns.learning_modes(Gram(np.hstack([F, F])), np.ones(40), eta=1.0)
    assert len(modes.values) == 2


def test_leading_modes_of_a_large_kernel():
    data = ns.datasets.gaussian(400, 8, seed=1)
    theta = ns.ntk(ns.TwoLayer.symmetric(8, 64, "relu"), data.X)
    modes = ns.learning_modes(theta, data.y, eta=0.1, k=12)
    values, V = np.linalg.eigh(theta.to_dense())
    assert modes.values == pytest.approx(values[::-1][:12], rel=1e-6)
    assert modes.energies.sum() == pytest.approx(np.square(V.T @ data.y)[::-1][:12].sum() / 400, rel=1e-4)
    assert not modes.complete


def test_what_carries_the_labels():
    y = np.array([1.0, 3.0, 0.0, 2.0])
    modes = ns.learning_modes(Dense(np.diag([4.0, 3.0, 2.0, 1.0]), symmetric=True), y, eta=0.1)
    assert modes.carrying(0.6).tolist() == [1]
    assert modes.carrying(0.9).tolist() == [1, 3]
    assert modes.carrying(0.999).tolist() == [1, 3, 0]


def test_growing_and_resting_modes():
    modes = ns.learning_modes(Dense(np.diag([4.0, 1.0, 0.0]), symmetric=True), np.ones(3), eta=3.0)
    assert modes.e_folds[0] < 0
    assert len(modes.values) == 2
    assert modes.steps_to_learn() == math.inf


def test_bad_input_is_refused():
    kernel = Gram(np.ones((4, 1)))
    with pytest.raises(ValueError, match="labels are zero"):
        ns.learning_modes(kernel, np.zeros(4), eta=1)
    with pytest.raises(ValueError, match="k=0"):
        ns.learning_modes(kernel, np.ones(4), eta=1, k=0)
    with pytest.raises(ValueError, match=r"part=1\.5"):
        ns.learning_modes(kernel, np.ones(4), eta=1).steps_to_learn(1.5)


def test_rounding_of_features_that_depend_on_each_other_makes_no_mode():
    """Twelve columns of rank two; what learns has their two eigenvalues, however many steps are taken."""
    rng = np.random.default_rng(4)
    F, y = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 12)), rng.standard_normal(30)
    modes = ns.learning_modes(Gram(F), y, eta=0.1)
    assert modes.values == pytest.approx(np.linalg.svd(F)[1][:2] ** 2, rel=1e-12)
    assert modes.complete


def test_all_modes_of_more_features_than_points_are_there():
    F, labels = np.random.default_rng(0).standard_normal((25, 40)), np.random.default_rng(1).standard_normal(25)
    modes = ns.learning_modes(ns.operators.Gram(F), labels, eta=0.1)
    assert modes.complete
    assert modes.values == pytest.approx(np.linalg.eigvalsh(F @ F.T)[::-1])
    assert modes.energies.sum() == pytest.approx(1)
