"""Ensembles of infinitely wide networks against plain recursions in high precision, their limits, and wide networks."""

import mpmath
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.dynamics import UnstableRateWarning
from ntkspec.engines import engine_of
from ntkspec.operators import Gram, wrap

rng = np.random.default_rng(0)
N, M = 10, 3
X, X_TEST, Y = rng.standard_normal((N, 4)), rng.standard_normal((M, 4)), rng.standard_normal((N, 2))
POINTS = (X,), (X_TEST, X), (X_TEST,)
THETA, THETA_CROSS, _ = (ns.expected_ntk("relu", *points) for points in POINTS)
K, K_CROSS, K_TEST = (ns.expected_nngp("relu", *points) for points in POINTS)
BOTH = {"ntk_cross": THETA_CROSS, "nngp_cross": K_CROSS, "nngp_test": K_TEST}
LAST = {"nngp_cross": K_CROSS, "nngp_test": K_TEST}
ETA = 1.5


def maps(theta, cross, rate, law, step):
    """E_t and A_t of u_t = y - E_t (y - u_0) and f_t = f_0 + A_t (y - u_0), by the recursion of each step."""
    identity = mpmath.eye(theta.rows)
    if law == "flow":
        E = mpmath.expm(-rate * step * theta)
        return E, cross * theta**-1 * (identity - E)
    momentum = getattr(law, "momentum", 0.0)
    E = before = identity
    A = of_before = mpmath.zeros(cross.rows, theta.rows)
    for _ in range(step):
        moved, of_moved = momentum * (E - before) - rate * theta * E, momentum * (A - of_before) + rate * cross * E
        before, of_before, E, A = E, A, E + moved, A + of_moved
    return E, A


def exact(kernels, law, step):
    """(mean, covariance) on the training and on the test points in 40 digits."""
    with mpmath.workdps(40):
        theta, cross, K, K_cross, K_test = (mpmath.matrix(np.asarray(one.to_dense()).tolist()) for one in kernels)
        y = mpmath.matrix(Y.tolist())
        E, A = maps(theta, cross, mpmath.mpf(ETA) / N, law, step)
        both = A * K_cross.T
        found = (y - E * y, E * K * E), (A * y, K_test - both - both.T + A * K * A.T)
        return [[np.array(one.tolist(), dtype=float) for one in pair] for pair in found]


@pytest.mark.parametrize("covariance", [True, False])
@pytest.mark.parametrize("law", ["gd", "flow", ns.HeavyBall(0.5)], ids=["descent", "flow", "heavy ball"])
@pytest.mark.parametrize("ntk", [THETA, None], ids=["all layers", "last layer"])
def test_means_and_covariances_are_those_of_the_recursion(ntk, law, covariance):
    kernels = (THETA, THETA_CROSS, K, K_CROSS, K_TEST) if ntk else (K, K_CROSS, K, K_CROSS, K_TEST)
    steps, given = [40, 0, 3], BOTH if ntk else LAST
    found = ns.ensemble(ntk, K, Y, eta=ETA, steps=steps, law=law, train=True, covariance=covariance, **given)
    assert found.steps.tolist() == steps
    for k, step in enumerate(steps):
        for part, (mean, wanted) in zip((found.train, found.test), exact(kernels, law, step), strict=True):
            np.testing.assert_allclose(part.mean[k], mean, atol=1e-13)
            np.testing.assert_allclose(part.variance[k], wanted.diagonal(), atol=1e-13)
            if covariance:
                np.testing.assert_allclose(part.covariance[k], wanted, atol=1e-13)
                np.testing.assert_array_equal(part.covariance[k], part.covariance[k].T)
            else:
                assert part.covariance is None


@pytest.mark.parametrize("ntk", [THETA, None], ids=["all layers", "last layer"])
def test_it_starts_as_the_prior_and_ends_on_the_labels(ntk):
    found = ns.ensemble(ntk, K, Y[:, 0], eta=ETA, steps=[0, np.inf], train=True, **(BOTH if ntk else LAST))
    for part, prior in ((found.train, K), (found.test, K_TEST)):
        mean, covariance = part
        assert not mean[0].any()
        np.testing.assert_allclose(covariance[0], prior.to_dense(), atol=1e-14)
    np.testing.assert_allclose(found.train.mean[1], Y[:, 0], atol=1e-12)
    assert abs(found.train.covariance[1]).max() < 1e-12


def test_the_limit_of_the_last_layer_is_the_posterior_and_of_late_steps():
    found = ns.ensemble(None, K, Y, eta=ETA, steps=None, **LAST).test
    mean, covariance = ns.posterior(K, K_CROSS, K_TEST, Y)
    np.testing.assert_allclose(found.mean[0], mean, atol=1e-8)
    np.testing.assert_allclose(found.covariance[0], covariance, atol=1e-8)
    for ntk, given in ((THETA, BOTH), (None, LAST)):
        late = ns.ensemble(ntk, K, Y, eta=ETA, steps=[np.inf, 10**7], **given).test
        np.testing.assert_allclose(late.mean[1], late.mean[0], atol=1e-11)
        np.testing.assert_allclose(late.covariance[1], late.covariance[0], atol=1e-11)


def test_means_are_those_of_predict_gd():
    how = {"eta": ETA, "steps": [0, 2, 700], "law": "flow"}
    found = ns.ensemble(THETA, K, Y, ntk_cross=THETA_CROSS, train=True, **how)
    run = ns.predict_gd(THETA, Y, kernel_test=THETA_CROSS, **how)
    np.testing.assert_allclose(found.train.mean, run.train, atol=1e-13)
    np.testing.assert_allclose(found.test.mean, run.test, atol=1e-13)
    assert found.test.variance is found.test.covariance is None


def test_nothing_is_learned_where_the_kernel_is_zero():
    """Four features of ten points: what the labels and the prior have beside them stays, at any step and at the end."""
    F = rng.standard_normal((N, 4))
    outside = np.eye(N) - F @ np.linalg.pinv(F)
    found = ns.ensemble(Gram(F), K, Y, eta=0.5, steps=[10**15, np.inf], ntk_cross=Gram(X_TEST, F), train=True)
    assert found.still == 6
    for k in range(2):
        np.testing.assert_allclose(found.train.mean[k], Y - outside @ Y, atol=1e-12)
        np.testing.assert_allclose(found.train.covariance[k], outside @ K.to_dense() @ outside, atol=1e-12)
        np.testing.assert_allclose(found.test.mean[k], X_TEST @ np.linalg.pinv(F) @ Y, atol=1e-11)


def test_rows_for_each_output_are_one_problem():
    """Of one kernel for two outputs, Theta ⊗ I, each output is trained on its own."""
    wide = {name: np.kron(kernel.to_dense(), np.eye(2)) for name, kernel in BOTH.items()}
    both = [wrap(np.kron(one.to_dense(), np.eye(2)), rows_per_point=2) for one in (THETA, K)]
    how = {"eta": ETA, "steps": [5], "train": True}
    found, alone = ns.ensemble(*both, Y, **how, **wide), ns.ensemble(THETA, K, Y, **how, **BOTH)
    for part, single in ((found.train, alone.train), (found.test, alone.test)):
        np.testing.assert_allclose(part.mean, single.mean, atol=1e-13)
        np.testing.assert_allclose(part.covariance[0], np.kron(single.covariance[0], np.eye(2)), atol=1e-13)
        np.testing.assert_allclose(part.variance[0], np.repeat(single.variance[0], 2), atol=1e-13)
    table = found.to_dataframe().set_index(["part", "point", "output"])["variance"]
    assert table["test", 2, 1] == pytest.approx(alone.test.variance[0, 2])


def test_single_precision_is_kept_and_computed_in_double():
    def single(kernel):
        return kernel.to_dense().astype(np.float32)

    given = {name: single(kernel) for name, kernel in BOTH.items()}
    found = ns.ensemble(single(THETA), single(K), Y, eta=ETA, steps=[30, np.inf], train=True, **given)
    wanted = ns.ensemble(THETA, K, Y, eta=ETA, steps=[30, np.inf], train=True, **BOTH)
    for part, exactly in ((found.train, wanted.train), (found.test, wanted.test)):
        for name in ("mean", "variance", "covariance"):
            assert getattr(part, name).dtype == np.float32
            np.testing.assert_allclose(getattr(part, name), getattr(exactly, name), atol=1e-4)


def test_its_table_has_a_row_for_each_step_point_and_output():
    found = ns.ensemble(THETA, K, Y, eta=ETA, steps=[2, np.inf], train=True, **BOTH)
    table = found.to_dataframe().set_index(["step", "part", "point", "output"])
    assert len(table) == 2 * 2 * (N + M)
    assert table["mean"][np.inf, "test", 1, 1] == found.test.mean[1, 1, 1]
    assert table["variance"][2, "train", 4, 0] == found.train.variance[0, 4]
    without = ns.ensemble(THETA, K, Y[:, 0], eta=ETA, steps=2, ntk_cross=THETA_CROSS)
    assert without.to_dataframe()["variance"].isna().all()
    assert repr(without) == f"Ensemble of infinitely wide networks: {M} test outputs at steps [2]"


def test_growing_modes_are_told_and_have_no_limit():
    with pytest.warns(UnstableRateWarning, match="learning rate 2 is past"):
        grown = ns.ensemble(np.diag([4.0, 1.0]), np.eye(2), [1.0, 1.0], eta=2.0, steps=[3])
    assert grown.train.mean[0, 0] == pytest.approx(1 - (1 - 4.0) ** 3)
    with pytest.raises(ValueError, match="eigenvalue 4 does not shrink at this learning rate, so that training has no"):
        ns.ensemble(np.diag([4.0, 1.0]), np.eye(2), [1.0, 1.0], eta=2.0, steps=[np.inf])
    with pytest.warns(RuntimeWarning, match="the kernel has the eigenvalue -0.5 < 0, whose part of y grows"):
        ns.ensemble(np.diag([1.0, -0.5]), np.eye(2), [1.0, 1.0], eta=1.0, steps=[3], law="flow")
    with pytest.raises(ValueError, match=r"eigenvalue -0.5 does not shrink"):
        ns.ensemble(np.diag([1.0, -0.5]), np.eye(2), [1.0, 1.0], eta=1.0, steps=None, law="flow")


def test_a_rate_of_zero_and_a_kernel_of_zero_learn_nothing():
    for theta, eta in ((np.eye(2), 0.0), (np.zeros((2, 2)), 1.0)):
        found = ns.ensemble(theta, 2 * np.eye(2), [1.0, 1.0], eta=eta, steps=[7, np.inf])
        assert not found.train.mean.any()
        assert found.train.variance.tolist() == [[2.0, 2.0]] * 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nngp": np.eye(4)}, r"nngp has shape \(4, 4\), but ntk \(3, 3\)"),
        ({"ntk": np.triu(np.ones((3, 3)))}, "symmetric"),
        ({"ntk": None}, "ntk_cross came without ntk"),
        ({"ntk_cross": None}, "nngp_cross came without ntk_cross"),
        ({"nngp_cross": None}, "nngp_test came without nngp_cross"),
        ({"ntk_cross": np.ones((2, 4))}, r"ntk_cross has shape \(2, 4\), but \(n', 3\) is needed"),
        ({"nngp_cross": np.ones((3, 3)), "nngp_test": None}, r"nngp_cross has shape \(3, 3\), but ntk_cross \(2, 3\)"),
        ({"nngp_test": np.eye(3)}, r"nngp_test has shape \(3, 3\), but nngp_cross has 2 rows"),
        ({"y": np.ones(4)}, r"\(3,\)"),
        ({"eta": -1.0}, "eta"),
        ({"law": "sgd"}, "law='sgd'"),
        ({"steps": [np.nan, np.inf]}, "steps"),
        ({"steps": [0.5, np.inf]}, "whole numbers"),
        ({"steps": [-np.inf, np.inf], "law": "flow"}, "times >= 0"),
        ({"steps": []}, "steps"),
    ],
)
def test_bad_input_is_refused_with_the_reason(given, message):
    usual = {"ntk": np.eye(3), "nngp": np.eye(3), "y": np.ones(3), "eta": 1.0, "steps": [1]}
    usual |= {"ntk_cross": np.ones((2, 3)), "nngp_cross": np.ones((2, 3)), "nngp_test": np.eye(2)}
    with pytest.raises(ValueError, match=message):
        ns.ensemble(**usual | given)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_computed(monkeypatch):
    monkeypatch.setattr(engine_of(), "free_memory", lambda: 10_000_000)
    assert ns.ensemble(THETA, K, Y, eta=1.0, steps=[1], train=True, **BOTH).still == 0
    with pytest.raises(ValueError, match=r"10 training and 3 test points at 100000 steps needs 0.0 GB.*covariance=F"):
        ns.ensemble(THETA, K, Y, eta=1.0, steps=range(100_000), **BOTH)


@pytest.mark.slow
def test_wide_networks_from_random_weights_have_these_means_and_variances():
    runs, steps = 400, [0, 5, 60]
    outputs = []
    for seed in range(runs):
        net = ns.TwoLayer.random(4, 600, "erf", seed=seed, second="normal")
        run = ns.train_gd(net, X, Y[:, 0], eta=1.0, steps=steps, X_test=X_TEST)
        outputs.append(np.concatenate([run.train, run.test], axis=1))
    points = np.concatenate([X, X_TEST])
    theta, K = ns.expected_ntk("erf", X), ns.expected_nngp("erf", X)
    cross = {"ntk_cross": ns.expected_ntk("erf", points, X), "nngp_cross": ns.expected_nngp("erf", points, X)}
    test = ns.ensemble(theta, K, Y[:, 0], eta=1.0, steps=steps, nngp_test=ns.expected_nngp("erf", points), **cross).test
    off = abs(np.mean(outputs, axis=0) - test.mean) / np.sqrt(test.variance / runs)
    assert off.max() < 5  # 39 numbers; 600 neurons move the mean by less than its error
    ratio = np.var(outputs, axis=0) / test.variance
    assert abs(ratio - 1).max() < 5 * np.sqrt(2 / runs)
