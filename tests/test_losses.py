"""Losses by their definitions, and training of kernel models with them: plain loops, limits, and SciPy's minimizer."""

import warnings
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import scipy.optimize

import ntkspec as ns
from ntkspec.dynamics import GradientDescent, UnstableRateWarning, prediction, warn_if_unstable
from ntkspec.dynamics.batches import Batches
from ntkspec.operators import Dense, Gram, wrap

SQUARED, LOGISTIC, CROSS = (ns.loss(name) for name in ("squared", "logistic", "cross-entropy"))
HUBER = ns.Huber(0.3)
LOSSES = [SQUARED, LOGISTIC, CROSS, HUBER]


def labels(loss, n, K=None, seed=0):
    rng = np.random.default_rng(seed)
    if loss is CROSS:
        return rng.dirichlet(np.ones(K or 3), n)
    shape = (n,) if K is None else (n, K)
    return rng.choice([-1.0, 1.0], shape) if loss is LOGISTIC else rng.standard_normal(shape)


# ---------------------------------------------------------------------------------------------------------- the losses
def exact(loss, u, y):
    """The loss of one point in high precision."""
    u, y = [mpmath.mpf(float(v)) for v in np.ravel(u)], [mpmath.mpf(float(v)) for v in np.ravel(y)]
    pairs = list(zip(u, y, strict=True))
    if loss is CROSS:
        total = mpmath.log(sum(mpmath.exp(v) for v in u))
        return sum(b * (total - a) for a, b in pairs)
    if loss is LOGISTIC:
        return sum(mpmath.log(1 + mpmath.exp(-a * b)) for a, b in pairs)
    if loss is SQUARED:
        return sum((a - b) ** 2 / 2 for a, b in pairs)
    delta = mpmath.mpf(loss.delta)
    sizes = [abs(a - b) for a, b in pairs]
    return sum(s**2 / 2 if s <= delta else delta * s - delta**2 / 2 for s in sizes)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0, 600.0])
def test_values_and_derivatives_are_those_of_the_definition(loss, scale):
    for K in (None, 3):
        if loss is CROSS and K is None:
            continue
        y = labels(loss, 8, K)
        u = scale * np.random.default_rng(1).standard_normal(y.shape)
        values, slopes = loss.values(u, y), loss.derivative(u, y)
        assert values.shape == (8,)
        assert slopes.shape == u.shape
        with mpmath.workdps(700):  # exp(600) beside 1
            for i in range(8):
                assert values[i] == pytest.approx(float(exact(loss, u[i], y[i])), rel=2e-14, abs=1e-14 * scale)
        with mpmath.workdps(60):
            for place in np.ndindex(u.shape):
                at, label = mpmath.mpf(float(u[place])), mpmath.mpf(float(y[place]))
                if loss is CROSS:
                    powers = mpmath.fsum(mpmath.exp(mpmath.mpf(float(v))) for v in u[place[0]])
                    slope = mpmath.exp(at) / powers * mpmath.fsum(map(float, y[place[0]])) - label
                elif loss is LOGISTIC:
                    slope = -label / (1 + mpmath.exp(label * at))
                else:
                    slope = at - label if loss is SQUARED else np.clip(float(at - label), -loss.delta, loss.delta)
                kept = {"rel": 1e-12} if loss is LOGISTIC else {"rel": 1e-12, "abs": 1e-14}
                assert slopes[place] == pytest.approx(float(slope), **kept)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_means_are_over_points_of_every_step_and_keep_what_is_not_known(loss):
    y = labels(loss, 5, 3)
    u = np.random.default_rng(2).standard_normal((4, 5, 3))
    u[3, 0, 0] = np.nan
    found = loss.mean(u, y)
    assert found.shape == (4,)
    assert found[:3] == pytest.approx(
        [float(sum(exact(loss, *pair) for pair in zip(one, y, strict=True)) / 5) for one in u[:3]]
    )
    assert np.isnan(found[3])
    assert float(loss.mean(u[0], y)) == found[0]
    with pytest.raises(ValueError, match="has to be their last axes"):
        loss.mean(u[:, :4], y)


def test_means_over_no_points_are_refused():
    with pytest.raises(ValueError, match=r"y has shape \(0,\), but a mean over points needs one point or more"):
        ns.loss("squared").mean(np.zeros((2, 0)), np.zeros(0))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_single_precision_stays(loss):
    y = labels(loss, 5, 3).astype(np.float32)
    u = np.random.default_rng(2).standard_normal((5, 3)).astype(np.float32)
    assert loss.values(u, y).dtype == loss.derivative(u, y).dtype == np.float32


# ------------------------------------------------------------------------------------------------ kernels step by step
@dataclass(frozen=True)
class Averaged:
    """A law of one's own: steps along a running mean of the gradients."""

    slots: int = 1

    def move(self, descent, memory, step):
        mean = 0.8 * memory[0] + 0.2 * descent
        return -mean, [mean]


LAWS = ["gd", ns.HeavyBall(0.7), ns.Nesterov(0.7), Averaged()]


def loop(K, K_test, y, *, loss, law, eta, steps, start, batches=None, ridge=0.0):
    """Dual coefficients in extended precision, point-major where there are several outputs."""
    real = np.longdouble
    K, K_test = K.astype(real), K_test.astype(real)
    (u0, f0), w, z, mean = start, np.zeros(y.shape, real), np.zeros(y.shape, real), np.zeros(y.shape, real)
    last, train, test = w, {}, {}
    for t in range(max(steps) + 1):
        u, f = u0 + (K @ w.ravel()).reshape(y.shape), f0 + (K_test @ w.ravel()).reshape(-1, *y.shape[1:])
        train[t], test[t] = u, f
        rows, rate = slice(None) if batches is None else batches.rows(t), eta(t) if callable(eta) else eta
        down = rate * ridge * w
        down[rows] += rate / len(y[rows]) * loss.derivative(u[rows], y[rows])
        if isinstance(law, ns.HeavyBall):
            w, last = w - down + law.momentum * (w - last), w
        elif isinstance(law, ns.Nesterov):
            before, z = z, w - down
            w = z + law.momentum * (z - before)
        elif law == "gd":
            w = w - down
        else:
            mean = 0.8 * mean + 0.2 * down
            w = w - mean
    return [np.array([part[t] for t in steps], np.float64) for part in (train, test)]


STEPS = [40, 0, 1, 7, 40]


def kernels(n=11, n_test=3, K=None, thin=False, seed=3):
    """(K, K_*) of all outputs, dense, or of few features."""
    rng, rows = np.random.default_rng(seed), K or 1
    F = rng.standard_normal(((n + n_test) * rows, 4 if thin else 40))
    whole = F @ F.T / F.shape[1]
    return whole[: n * rows, : n * rows], whole[n * rows :, : n * rows]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("form", ["points", "several outputs on a kernel of points", "all outputs together"])
def test_predictions_agree_with_the_plain_loop(form, loss, law):
    several = form != "points" or loss is CROSS
    y, stacked = labels(loss, 11, 3 if several else None), form == "all outputs together"
    K, K_test = kernels(K=3 if stacked else None)
    given = (wrap(K, rows_per_point=3), wrap(K_test, symmetric=False, rows_per_point=3)) if stacked else (K, K_test)
    whole = (K, K_test) if stacked or not several else (np.kron(K, np.eye(3)), np.kron(K_test, np.eye(3)))
    rng = np.random.default_rng(4)
    start = tuple(rng.standard_normal((m, *y.shape[1:])) for m in (11, 3))
    how = {"loss": loss, "law": law, "eta": 0.9, "steps": STEPS, "start": start}
    train, test = loop(*whole, y, **how)
    found = ns.predict_gd(given[0], y, kernel_test=given[1], **how)
    assert np.abs(found.train - train).max() <= 1e-12
    assert np.abs(found.test - test).max() <= 1e-12
    assert not found.error.any()
    assert found.steps.tolist() == STEPS


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("loss", [SQUARED, LOGISTIC], ids=str)
def test_a_ridge_agrees_with_the_plain_loop(loss, law):
    y, (K, K_test) = labels(loss, 11), kernels()
    how = {"loss": loss, "law": law, "steps": STEPS, "eta": 0.7, "ridge": 0.05, "start": (0.1 * y, np.ones(3))}
    train, test = loop(K, K_test, y, **how)
    found = ns.predict_gd(K, y, kernel_test=K_test, **how)
    assert np.abs(found.train - train).max() <= 1e-12
    assert np.abs(found.test - test).max() <= 1e-12


@pytest.mark.parametrize("law", ["gd", ns.Nesterov(0.9), "flow"], ids=str)
@pytest.mark.parametrize("thin", [False, True])
def test_a_ridge_ends_at_kernel_ridge_regression(thin, law):
    y, (K, K_test) = labels(SQUARED, 11), kernels(thin=thin)
    found = ns.predict_gd(K, y, kernel_test=K_test, eta=1.0, steps=[1500], ridge=0.05, law=law)
    mean = ns.posterior(K, K_test, None, y, noise=11 * 0.05).mean
    assert np.abs(found.test[0] - mean).max() <= 1e-9


def decaying(F, F_test, y, origin, w, *, loss, law, eta, steps, ridge, weight_decay):
    """The weights themselves, outputs origin + F w, with decay towards the start and towards zero."""
    begin, moves = w, law if hasattr(law, "move") else GradientDescent()
    memory = [np.zeros_like(w)] * moves.slots
    train, test = {}, {}
    for step in range(max(steps) + 1):
        train[step], test[step] = origin[0] + F @ w, origin[1] + F_test @ w
        slope = F.T @ loss.derivative(train[step], y) / len(y)
        way, memory = moves.move(eta * (slope + ridge * (w - begin) + weight_decay * w), memory, step)
        w = w + way
    return [np.array([part[t] for t in steps]) for part in (train, test)]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("loss", [SQUARED, CROSS], ids=str)
@pytest.mark.parametrize("thin", [True, False])
def test_decay_towards_zero_agrees_with_a_loop_over_the_weights(thin, loss, law):
    y, rng = labels(loss, 11, 3 if loss is CROSS else None), np.random.default_rng(7)
    F, F_test = rng.standard_normal((11, 4 if thin else 20)) / 3, rng.standard_normal((3, 4 if thin else 20)) / 3
    w = rng.standard_normal((F.shape[1], *y.shape[1:]))
    origin = tuple(rng.standard_normal((m, *y.shape[1:])) for m in (11, 3))
    given = (Gram(F), Gram(F_test, F)) if thin else (F @ F.T, F_test @ F.T)
    how = {"loss": loss, "law": law, "eta": 0.7, "steps": STEPS, "weight_decay": 0.2}
    for ridge, zero in ((0.0, origin), (0.1, origin), (0.0, None)):
        known = (0 * origin[0], 0 * origin[1]) if zero is None else zero
        train, test = decaying(F, F_test, y, known, w, ridge=ridge, **how)
        start = known[0] + F @ w, known[1] + F_test @ w
        found = ns.predict_gd(given[0], y, kernel_test=given[1], start=start, origin=zero, ridge=ridge, **how)
        assert np.abs(found.train - train).max() <= 1e-12
        assert np.abs(found.test - test).max() <= 1e-12


@pytest.mark.parametrize("law", ["gd", ns.Nesterov(0.9), "flow"], ids=str)
def test_decay_towards_zero_ends_at_kernel_ridge_regression_around_the_origin(law):
    y, (K, K_test), rng = labels(SQUARED, 11), kernels(), np.random.default_rng(8)
    start, origin = ((rng.standard_normal(11), rng.standard_normal(3)) for _ in range(2))
    how = {"eta": 1.0, "weight_decay": 0.05, "law": law, "kernel_test": K_test, "start": start, "origin": origin}
    found = ns.predict_gd(K, y, steps=[0, 1500], **how)
    mean = origin[1] + ns.posterior(K, K_test, None, y - origin[0], noise=11 * 0.05).mean
    assert np.abs(found.test[1] - mean).max() <= 1e-9
    assert np.abs(found.test[0] - start[1]).max() <= 1e-12
    whole = ns.predict_gd(K, y, steps=[20], ridge=0.05, **(how | {"weight_decay": 0.0, "origin": None}))
    same = ns.predict_gd(K, y, steps=[20], **(how | {"origin": start}))
    assert np.abs(whole.train - same.train).max() <= 1e-9
    with pytest.raises(ValueError, match="origin has shape"):
        ns.predict_gd(K, y, steps=[1], **(how | {"origin": (y[:3], y[:3])}))


def test_flows_of_years_are_refused_and_those_that_are_not_stiff_are_followed():
    with pytest.raises(ValueError, match=r"gradient flow to time 1e\+25 would take .* years"):
        ns.predict_gd(np.eye(3), np.ones(3), eta=1.0, steps=[1e25], law="flow", ridge=0.1)
    signs = np.array([1.0, -1.0])
    far = ns.predict_gd(np.eye(2), signs, eta=1.0, steps=[1e9], law="flow", loss="logistic")
    # du/dt = 1/2 / (1 + exp(u)) from 0: u + exp(u) - 1 = t / 2.
    np.testing.assert_allclose(far.train[0] * signs + np.exp(far.train[0] * signs) - 1, 0.5e9, rtol=1e-6)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("loss", [SQUARED, CROSS], ids=str)
def test_rates_that_change_and_batches_agree_with_the_plain_loop(loss, law):
    y, (K, K_test) = labels(loss, 11), kernels()
    whole = (np.kron(K, np.eye(3)), np.kron(K_test, np.eye(3))) if loss is CROSS else (K, K_test)
    zeros = np.zeros(y.shape), np.zeros((3, *y.shape[1:]))
    how = {"loss": loss, "law": law, "steps": STEPS}

    def rate(step):
        return 0.9 / (1 + 0.1 * step)

    table = [rate(step) for step in range(40)]
    for batch in (None, 4):
        batches = None if batch is None else Batches(11, batch, 7)
        train, test = loop(*whole, y, eta=rate, start=zeros, batches=batches, **how)
        for eta in (rate, table, np.array([*table, 0.0])):
            found = ns.predict_gd(K, y, kernel_test=K_test, eta=eta, batch=batch, seed=7, **how)
            assert np.abs(found.train - train).max() <= 1e-12
            assert np.abs(found.test - test).max() <= 1e-12


@pytest.mark.parametrize("loss", [LOGISTIC, CROSS], ids=str)
def test_a_linear_model_is_followed_in_its_features(loss):
    """d + 2 numbers instead of n, and the same outputs."""
    data = ns.datasets.gaussian(60, 5, n_test=7, seed=1)
    y = labels(loss, 60)
    pair = ns.linear_kernel("relu", data.X), ns.linear_kernel("relu", data.X_test, data.X)
    how = {"loss": loss, "law": ns.Nesterov(0.9), "eta": 1.0, "steps": [0, 3, 300]}
    thin = ns.predict_gd(pair[0], y, kernel_test=pair[1], **how)
    whole = ns.predict_gd(pair[0].to_dense(), y, kernel_test=pair[1].to_dense(), **how)
    assert thin.method.startswith("recursion in features (7)")
    assert whole.method.startswith("recursion in function space")
    assert np.abs(thin.train - whole.train).max() <= 1e-10
    assert np.abs(thin.test - whole.test).max() <= 1e-10


def test_steps_of_the_squared_loss_are_its_closed_form():
    K, K_test = kernels()
    y = labels(SQUARED, 11)
    same = ns.Loss(lambda u, y: (u - y) ** 2 / 2, lambda u, y: u - y, name="squares")
    for law in ("gd", ns.HeavyBall(0.9), ns.Nesterov(0.9), "flow"):
        how = {"law": law, "eta": 0.5, "steps": [0, 1, 10, 200], "kernel_test": K_test}
        closed, steps = ns.predict_gd(K, y, **how), ns.predict_gd(K, y, loss=same, **how)
        assert np.abs(closed.train - steps.train).max() <= 1e-10
        assert np.abs(closed.test - steps.test).max() <= 1e-9
        assert "Loss(squares) loss" in steps.method
        if law == "flow":
            error = np.sqrt(np.mean((closed.train - steps.train) ** 2, axis=1))
            assert (error <= steps.error + 1e-14).all()
            assert (abs(closed.test - steps.test).max(axis=1) <= steps.error_test + 1e-13).all()


@pytest.mark.parametrize("loss", [LOGISTIC, CROSS, HUBER], ids=str)
@pytest.mark.parametrize("thin", [False, True])
def test_flow_is_the_limit_of_small_steps(loss, thin):
    """Differences fall with the size of the steps, and what Richardson makes of two of them is the flow."""
    data = ns.datasets.gaussian(9, 2, n_test=4, seed=1)
    pair = ns.linear_kernel("relu", data.X), ns.linear_kernel("relu", data.X_test, data.X)
    pair = pair if thin else tuple(Dense(one.to_dense(), symmetric=k == 0) for k, one in enumerate(pair))
    y = labels(loss, 9)
    times = np.array([0.0, 1.5, 12.0])
    flow = ns.predict_gd(pair[0], y, kernel_test=pair[1], eta=1.0, steps=times, law="flow", loss=loss)
    apart, found = [], []
    for parts in (400, 800):
        run = ns.predict_gd(
            pair[0], y, kernel_test=pair[1], eta=1 / parts, steps=(times * parts).astype(int), loss=loss
        )
        found.append(run)
        apart.append(np.abs(run.train - flow.train).max())
    assert 1.8 < apart[0] / apart[1] < 2.2
    for part in ("train", "test"):
        one, two, limit = (getattr(run, part) for run in (*found, flow))
        assert np.abs(2 * two - one - limit).max() <= 1e-3 * apart[1] + 1e-9
    assert flow.error.max() < 1e-7
    assert flow.error_test.max() < 1e-7
    assert flow.method.startswith("gradient flow as an ODE")


@pytest.mark.parametrize("loss", [LOGISTIC, CROSS], ids=str)
def test_training_ends_at_the_minimum_that_scipy_finds(loss):
    """Logistic and multinomial regression of the linear model, of labels that no plane separates."""
    data = ns.datasets.gaussian(80, 3, n_test=5, seed=2)
    theta, theta_test = ns.linear_kernel("relu", data.X), ns.linear_kernel("relu", data.X_test, data.X)
    y = labels(loss, 80, 3 if loss is CROSS else None)
    F, F_test = theta.low_rank_factors()[0], theta_test.low_rank_factors()[0]

    def of(w):
        u = F @ w.reshape(F.shape[1], -1).reshape(F.shape[1], *y.shape[1:])
        return float(loss.values(u, y).mean()), (F.T @ loss.derivative(u, y) / len(y)).ravel()

    start = np.zeros(F.shape[1] * (y.shape[1] if y.ndim == 2 else 1))
    least = scipy.optimize.minimize(of, start, jac=True, method="BFGS", options={"gtol": 1e-12})
    w = least.x.reshape(F.shape[1], *y.shape[1:])
    found = ns.predict_gd(theta, y, kernel_test=theta_test, eta=8.0, steps=[20_000], law=ns.Nesterov(0.9), loss=loss)
    assert np.abs(found.train[0] - F @ w).max() <= 1e-7
    assert np.abs(found.test[0] - F_test @ w).max() <= 1e-7
    assert float(loss.mean(found.train[0], y)) == pytest.approx(least.fun, rel=1e-12)


def test_single_precision_kernels_give_single_precision():
    K, K_test = kernels()
    y = labels(LOGISTIC, 11)
    small = ns.predict_gd(
        K.astype("f"), y.astype("f"), eta=1, steps=[0, 50], kernel_test=K_test.astype("f"), loss="logistic"
    )
    exactly = ns.predict_gd(K, y, eta=1, steps=[0, 50], kernel_test=K_test, loss="logistic")
    assert small.train.dtype == small.test.dtype == np.float32
    assert np.abs(small.train - exactly.train).max() < 1e-5
    assert np.abs(small.test - exactly.test).max() < 1e-5


def test_a_prediction_that_diverges_says_so_and_keeps_what_it_has():
    y = labels(SQUARED, 11)
    with pytest.warns(RuntimeWarning, match="outputs are no longer finite at step"):
        found = ns.predict_gd(kernels()[0], y, eta=1e4, steps=[0, 1, 900], law=Averaged(), kernel_test=kernels()[1])
    assert np.isfinite(found.train[:2]).all()
    assert np.isfinite(found.test[:2]).all()
    assert np.isnan(found.train[2]).all()
    assert np.isnan(found.test[2]).all()


def test_a_loss_that_rises_is_told():
    """Of one point, by hand: Huber's loss falls while eta < 2, and beyond it swings across the label."""
    for eta, rises in ((1.9, False), (2.1, True)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            ns.predict_gd(np.eye(1), [0.5], eta=eta, steps=np.arange(20), loss=ns.Huber(3.0))
        assert [one.category for one in said] == [UnstableRateWarning] * rises
        assert all("loss rises from 0.1" in str(one.message) for one in said[:1]) or not rises


def test_the_stable_rate_of_a_loss_is_that_of_its_largest_curvature():
    """From outputs of zero the logistic loss has it, and a step of twice the Newton step comes to the same loss of the
    expansion to second order."""
    n, norm, second = 4, 3.0, 1e-4
    loss = ns.loss("logistic")
    y, u = np.ones(1), np.zeros(1)
    curvature = (loss.derivative(u + second, y) - loss.derivative(u - second, y)) / (2 * second)
    threshold = 2 * n / (float(curvature[0]) * norm)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_unstable(threshold * (1 - 1e-6), norm, n, loss="logistic")
        warn_if_unstable(1e9, norm, n, loss=ns.Loss(lambda u, y: (u - y) ** 4 / 4, lambda u, y: (u - y) ** 3))
    with pytest.warns(UnstableRateWarning, match="8 n / lambda_max = 10.6667: where the logistic loss is curved most"):
        warn_if_unstable(threshold * (1 + 1e-6), norm, n, loss="logistic")


def test_matrix_free_kernels_are_multiplied_once_a_step(monkeypatch):
    """Also where the closed forms would solve an eigenproblem."""
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    data = ns.datasets.gaussian(40, 5, seed=1)
    net = ns.TwoLayer.symmetric(5, 64, "erf")
    theta = ns.ntk(net, data.X)
    y = labels(LOGISTIC, 40)
    found = ns.predict_gd(theta, y, eta=1.0, steps=[30], loss="logistic")
    assert "31 products" in found.method
    train, _ = loop(theta.to_dense(), np.zeros((1, 40)), y, loss=LOGISTIC, law="gd", eta=1.0, steps=[30], start=(0, 0))
    assert np.abs(found.train - train).max() <= 1e-12


# ----------------------------------------------------------------------------------------------------- what is refused
def test_labels_that_are_none_of_the_loss_are_told():
    K = np.eye(4)
    for y, loss, match in (
        (
            np.array([0.0, 1, 1, 0]),
            "logistic",
            r"y holds 0, but labels of the logistic loss are 1 and -1; take 2 y - 1",
        ),
        (np.ones(4), "cross-entropy", r"y has shape \(4,\), but labels of the cross-entropy are \(n, K\)"),
        (np.ones((4, 1)), "cross-entropy", "K >= 2 classes"),
        (np.ones((4, 2)), "cross-entropy", "a row of y has the sum 2"),
        (np.array([[2.0, -1.0]] * 4), "cross-entropy", "y holds -1"),
    ):
        with pytest.raises(ValueError, match=match):
            ns.predict_gd(K, y, eta=1, steps=[1], loss=loss)
    for wrong in ("mse", 3, None, ns.Huber):
        with pytest.raises(ValueError, match=r"loss=.*, but 'squared', 'logistic', 'cross-entropy', ntkspec.Huber"):
            ns.predict_gd(K, np.ones(4), eta=1, steps=[1], loss=wrong)
    for wrong in (0, -1.0, np.inf, "a", True):
        with pytest.raises(ValueError, match="a finite number above 0 is needed"):
            ns.Huber(wrong)


def test_rates_that_do_not_fit_are_told():
    how = {"steps": [0, 5], "loss": "logistic"}
    K, y = np.eye(2), np.array([1.0, -1.0])
    with pytest.raises(ValueError, match="eta has 3 learning rates, but there are 5 steps; give one for each"):
        ns.predict_gd(K, y, eta=[1.0] * 3, **how)
    with pytest.raises(ValueError, match="eta at step 2=-1, but a learning rate is a finite number >= 0"):
        ns.predict_gd(K, y, eta=lambda step: 1 - step, **how)
    for more in ({"eta": [1.0] * 9}, {"eta": 1.0, "batch": 1}):
        with pytest.raises(ValueError, match="gradient flow has no steps: it takes one learning rate, and no batches"):
            ns.predict_gd(K, y, law="flow", **more, **how)
    for batch in (0, 1.5, "a"):
        with pytest.raises(ValueError, match="batch="):
            ns.predict_gd(K, y, eta=1.0, batch=batch, **how)


def test_a_loss_of_ones_own_is_tried():
    def hinge(u, y):
        return np.maximum(0, 1 - u * y) ** 2 / 2

    def slope(u, y):
        return -y * np.maximum(0, 1 - u * y)

    assert repr(ns.Loss(hinge, slope)) == "Loss(hinge)"
    with pytest.raises(ValueError, match=r"the derivative of Loss\(hinge\) is .*, but the central difference"):
        ns.Loss(hinge, lambda u, y: 1.01 * slope(u, y))
    with pytest.raises(ValueError, match="depends on the outputs of other points"):
        ns.Loss(lambda u, y: u * u.mean(), lambda u, y: 2 * u)
    with pytest.raises(TypeError, match="value is a int, but a function"):
        ns.Loss(3, slope)
    with pytest.raises(TypeError, match=r"derivative of Loss\(hinge\) returned float64 \(\), but real numbers"):
        ns.Loss(hinge, lambda u, y: slope(u, y).sum())
    with pytest.raises(TypeError, match=r"value of Loss\(<lambda>\) returned complex128 \(6,\), but real numbers"):
        ns.Loss(lambda u, y: hinge(u, y) * 1j, slope)
    for wrong in (lambda u, y: np.subtract(u, y, out=u), lambda u, y: -np.subtract(y, u, out=y)):
        with pytest.raises(ValueError, match="writes into the outputs or labels that it is given"):
            ns.Loss(lambda u, y: (u - y) ** 2 / 2, wrong)
    with pytest.raises(ValueError, match="is NaN or infinite at outputs of size one"):
        ns.Loss(lambda u, y: np.log(u - 9), slope)
    for labels_ in (3.0, [], np.ones((2, 2, 2)), np.ones((3, 0))):
        with pytest.raises(ValueError, match=r"labels have shape .*, but \(n,\) or \(n, K\) is needed"):
            ns.Loss(hinge, slope, labels=labels_)
    mine = ns.Loss(CROSS.values, CROSS.derivative, name="mine", labels=np.eye(3))
    y, (K, _) = labels(CROSS, 11), kernels()
    one, other = (ns.predict_gd(K, y, eta=1, steps=[9], loss=loss).train for loss in (mine, "cross-entropy"))
    assert np.array_equal(one, other)


class Signs:
    """Steps of one size: no linear combination of gradients."""

    slots = 0

    def move(self, descent, memory, step):
        return -np.sign(descent), []


def test_a_law_whose_outputs_no_kernel_knows_is_refused():
    with pytest.raises(ValueError, match=r"moves of Signs are no linear combinations .* ntkspec.linearize\(net\)"):
        ns.predict_gd(np.eye(3), np.ones(3), eta=1, steps=[1], law=Signs())
