"""Means over batches and their spread, against all sequences of batches that there are."""

import itertools

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.dynamics import GradientDescent
from ntkspec.operators import Gram, wrap

N, BATCH, STEPS, TESTS = 4, 2, 3, 3


def all_runs(K, K_test, y, start, eta, law, ridge):
    """Outputs (runs, n...) at the end of every sequence of batches, on training and test points; K acts on points."""
    train, test = [], []
    for batches in itertools.product(itertools.combinations(range(N), BATCH), repeat=STEPS):
        c = np.zeros(y.shape)
        memory = [0 * c] * law.slots
        for step, batch in enumerate(batches):
            slope = np.zeros(y.shape)
            rows = list(batch)
            slope[rows] = (start[0] + K(c) - y)[rows] / BATCH
            way, memory = law.move(eta(step) * (slope + ridge * c), memory, step)
            c = c + way
        train.append(start[0] + K(c))
        test.append(start[1] + K_test(c))
    return np.array(train), np.array(test)


def spread(runs):
    """The mean over points of E |u - E u|²."""
    return ((runs - runs.mean(axis=0)) ** 2).mean(axis=0).reshape(runs.shape[1], -1).sum(axis=1).mean()


@pytest.mark.parametrize("law", [GradientDescent(), ns.HeavyBall(0.6), ns.Nesterov(0.7)], ids=repr)
@pytest.mark.parametrize("features", [2, None])
@pytest.mark.parametrize(("outputs", "stacked"), [(None, False), (2, False), (2, True)])
def test_mean_and_spread_are_those_of_all_sequences_of_batches(law, features, outputs, stacked):
    rng = np.random.default_rng(1)
    rows = outputs if stacked else 1
    F, F_test = (rng.standard_normal((points * rows, features or N * rows)) for points in (N, TESTS))
    K, K_test = (F @ F.T, F_test @ F.T)
    shape = () if outputs is None else (outputs,)
    y, start = rng.standard_normal((N, *shape)), tuple(rng.standard_normal((n, *shape)) for n in (N, TESTS))

    def product(matrix):
        def of(c):
            return (matrix @ c.ravel()).reshape(-1, outputs) if stacked else matrix @ c

        return of

    def eta(step):
        return 0.3 / (1 + step)

    given = (Gram(F), Gram(F_test, F)) if features and not stacked else (
        wrap(K, rows_per_point=rows), wrap(K_test, symmetric=False, rows_per_point=rows))  # fmt: skip
    for ridge in (0.0, 0.4):
        train, test = all_runs(product(K), product(K_test), y, start, eta, law, ridge)
        how = {"law": law, "start": start, "ridge": ridge, "batch": BATCH, "seed": None, "kernel_test": given[1]}
        found = ns.predict_gd(given[0], y, eta=eta, steps=[STEPS, 0], **how)
        np.testing.assert_allclose(found.train[0], train.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(found.test[0], test.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(found.spread, [spread(train), 0], atol=1e-12)
        np.testing.assert_allclose(found.spread_test, [spread(test), 0], atol=1e-12)
        loss = ns.loss("squared").mean(found.train, y) + found.spread / 2
        np.testing.assert_allclose(loss[0], ns.loss("squared").mean(train, y).mean())


def test_the_mean_is_training_on_all_points_and_all_points_have_no_spread():
    K, y = np.diag([3.0, 1.0, 0.5]), np.array([1.0, -1.0, 2.0])
    whole = ns.predict_gd(K, y, eta=0.5, steps=[0, 7, 10**6])
    late = ns.predict_gd(K, y, eta=0.5, steps=[0, 7], batch=3, seed=None)
    np.testing.assert_allclose(late.train, whole.train[:2], atol=1e-14)
    np.testing.assert_allclose(late.spread, 0, atol=1e-14)
    one = ns.predict_gd(K, y, eta=0.5, steps=[0, 7], batch=1, seed=None)
    assert one.spread[1] > 0
    assert one.method == "dense eigenproblem, mean over batches of 1"
    assert whole.spread is None


def test_large_kernels_without_features_have_the_mean_alone():
    F = np.random.default_rng(0).standard_normal((1001, 1001)) / 30
    found = ns.predict_gd(F @ F.T, np.ones(1001), eta=0.1, steps=[1], batch=10, seed=None)
    assert found.spread is None
    assert found.train.shape == (1, 1001)
    with pytest.raises(ValueError, match=r"the noise of batches over 10+ steps, one by one, would take"):
        ns.predict_gd(np.eye(3), np.ones(3), eta=0.1, steps=[10**15], batch=2, seed=None)


def test_decay_towards_an_origin_adds_no_noise_of_its_own():
    rng = np.random.default_rng(2)
    F, y, w = rng.standard_normal((N, 3)), rng.standard_normal(N), rng.standard_normal(3)
    how = {"eta": 0.2, "batch": BATCH, "start": F @ w, "weight_decay": 0.3}
    found = ns.predict_gd(Gram(F), y, steps=[STEPS], seed=None, **how)
    runs = []
    for batches in itertools.product(itertools.combinations(range(N), BATCH), repeat=STEPS):
        v = w
        for batch in batches:
            rows = list(batch)
            v = v - 0.2 * (F[rows].T @ (F[rows] @ v - y[rows]) / BATCH + 0.3 * v)
        runs.append(F @ v)
    np.testing.assert_allclose(found.train[0], np.mean(runs, axis=0), atol=1e-12)
    assert found.spread[0] == pytest.approx(spread(np.array(runs)), abs=1e-12)


def test_means_that_are_not_known_are_refused():
    with pytest.raises(ValueError, match=r"seed=None is the mean .* loss='logistic' came; pass a seed"):
        ns.predict_gd(np.eye(2), [1.0, -1.0], eta=0.1, steps=[1], loss="logistic", batch=1, seed=None)
    with pytest.raises(ValueError, match="seed=-1"):
        ns.predict_gd(np.eye(2), [1.0, -1.0], eta=0.1, steps=[1], batch=1, seed=-1)


@pytest.mark.parametrize("seed", [0, None])
def test_a_batch_beyond_the_points_is_refused(seed):
    with pytest.raises(ValueError, match="batch=3, but there are 2 training points"):
        ns.predict_gd(np.eye(2), [1.0, -1.0], eta=0.1, steps=[1], batch=3, seed=seed)
    net = ns.TwoLayer.random(2, 4, "erf")
    with pytest.raises(ValueError, match="batch=3, but there are 2 training points"):
        ns.train_gd(net, np.eye(2), [1.0, -1.0], eta=0.1, steps=1, batch=3)
