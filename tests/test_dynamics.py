"""Closed forms against the plain loop, against each other, and far out in time."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import ntkspec as ns
from ntkspec import dynamics
from ntkspec.dynamics import UnstableRateWarning, gain, largest_stable_rate, learned
from ntkspec.kernels import weighted_linear_kernel
from ntkspec.operators import Dense, Gram

STEPS = [0, 1, 2, 3, 7, 20, 50, 121]


def setting(n, d, m=6, name="erf", n_test=4):
    rng = np.random.default_rng([n, d])
    X, X_test, y = rng.standard_normal((n, d)), rng.standard_normal((n_test, d)), rng.choice([-1.0, 1.0], n)
    net = ns.TwoLayer.random(d, m, name, second="normal")
    return X, X_test, y, net


@pytest.fixture(params=["dense", "krylov"])
def method(request, monkeypatch):
    """Both general methods on one problem."""
    if request.param == "krylov":
        monkeypatch.setattr(dynamics, "DENSE_SIZE", 0)
    return request.param


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 3), (30, 4), (5, 40)])
@pytest.mark.parametrize("name", ["erf", "relu", "softplus"])
def test_ntk_dynamics_agree_with_the_plain_loop(shape, name, method):
    X, X_test, y, net = setting(*shape, name=name)
    kernel, kernel_test = ns.ntk(net, X), ns.ntk(net, X_test, X)
    K, K_test = kernel.to_dense(), kernel_test.to_dense()
    eta = 0.7 * largest_stable_rate(np.linalg.norm(K, 2), len(y))
    train, test = naive.kernel_descent(K, K_test, y, eta, STEPS)
    found = ns.predict_gd(kernel, y, eta=eta, steps=STEPS, kernel_test=kernel_test)
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10 * max(1, np.abs(test).max()))
    assert found.steps.tolist() == STEPS
    assert not found.train[0].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 3), (30, 4), (5, 40)])
@pytest.mark.parametrize("name", ["erf", "relu", "softplus"])
@pytest.mark.parametrize("layer", ["first", "second", "both"])
def test_linear_dynamics_agree_with_descent_on_the_parameters(shape, name, layer):
    """Equations (6) and (10), with the features of equations (5), (9) and (11)."""
    X, X_test, y, _ = setting(*shape)
    constants = ns.activation(name).constants
    thetas = (constants.vartheta0, constants.vartheta1, constants.vartheta2)
    psi = {
        "first": lambda x: naive.psi_first(x, constants.zeta, constants.nu(1.3)),
        "second": lambda x: naive.psi_second(x, constants.zeta, constants.nu(1.3), thetas),
        "both": lambda x: naive.psi_both(x, constants.zeta, constants.nu(1.3), thetas),
    }[layer]
    features, test_features = (np.array([psi(x) for x in points]) for points in (X, X_test))
    eta = 0.7 * largest_stable_rate(np.linalg.norm(features, 2) ** 2, len(y))
    train, test = naive.linear_model_descent(features, test_features, y, eta, STEPS)
    found = ns.predict_gd(
        ns.linear_kernel(name, X, layer=layer, trace_ratio=1.3),
        y,
        eta=eta,
        steps=STEPS,
        kernel_test=ns.linear_kernel(name, X_test, X, layer=layer, trace_ratio=1.3),
    )
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10 * max(1, np.abs(test).max()))


def test_the_three_methods_agree(monkeypatch):
    X, X_test, y, _ = setting(60, 5)
    kernel, kernel_test = ns.linear_kernel("relu", X), ns.linear_kernel("relu", X_test, X)
    thin = ns.predict_gd(kernel, y, eta=1.5, steps=STEPS, kernel_test=kernel_test)
    monkeypatch.setattr(dynamics, "_shared_factors", lambda *kernels: None)
    dense = ns.predict_gd(kernel, y, eta=1.5, steps=STEPS, kernel_test=kernel_test)
    monkeypatch.setattr(dynamics, "DENSE_SIZE", 0)
    krylov = ns.predict_gd(kernel, y, eta=1.5, steps=STEPS, kernel_test=kernel_test)
    assert (thin.method, dense.method) == ("features (7)", "dense eigenproblem")
    assert krylov.method.startswith("Krylov")
    for other in (dense, krylov):
        assert other.train == pytest.approx(thin.train, abs=1e-10)
        assert other.test == pytest.approx(thin.test, abs=1e-9)


def test_a_test_kernel_of_other_features_is_not_taken_for_a_thin_one():
    X, X_test, y, _ = setting(30, 3)
    kernel, other = ns.linear_kernel("relu", X, trace_ratio=1), ns.linear_kernel("relu", X_test, X, trace_ratio=2)
    found = ns.predict_gd(kernel, y, eta=1, steps=STEPS, kernel_test=other)
    train, test = naive.kernel_descent(kernel.to_dense(), other.to_dense(), y, 1, STEPS)
    assert found.method == "dense eigenproblem"
    assert found.test == pytest.approx(test, abs=1e-10)
    assert found.train == pytest.approx(train, abs=1e-10)


def test_unequal_rates_are_a_weighted_kernel():
    X, X_test, y, net = setting(20, 3)
    eta1, eta2 = 0.8, 0.1
    weighted, weighted_test = (
        eta1 * ns.ntk(net, A, B, layer="first") + eta2 * ns.ntk(net, A, B, layer="second")
        for A, B in ((X, None), (X_test, X))
    )
    train, test = naive.kernel_descent(weighted.to_dense(), weighted_test.to_dense(), y, 1.0, STEPS)
    found = ns.predict_gd(weighted, y, eta=1.0, steps=STEPS, kernel_test=weighted_test)
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10)
    act = ns.activation("relu")
    one, two = (ns.linear_kernel(act, X, layer=layer) for layer in ("first", "second"))
    weighted = weighted_linear_kernel(act, X, weights=(eta1, eta2), trace_ratio=ns.trace_ratio(X))
    assert weighted.to_dense() == pytest.approx((eta1 * one + eta2 * two).to_dense(), abs=1e-14)


def test_the_krylov_error_bound_holds_and_is_not_idle(monkeypatch):
    """Stopped early on purpose: the true error stays below the bound and within a factor of 100 of it."""
    monkeypatch.setattr(dynamics, "DENSE_SIZE", 0)
    monkeypatch.setitem(dynamics.KRYLOV_TOLERANCE, "d", 1e-3)
    rng = np.random.default_rng(3)
    Q, _ = np.linalg.qr(rng.standard_normal((300, 300)))
    K, y = (Q * np.linspace(0, 1, 300) ** 3) @ Q.T, rng.choice([-1.0, 1.0], 300)
    steps = [1, 10, 100, 1000, 5000]
    found = ns.predict_gd(Dense((K + K.T) / 2, symmetric=True), y, eta=290.0, steps=steps)
    exact, _ = naive.kernel_descent(K, K[:1], y, 290.0, steps)
    error = np.sqrt(np.mean((found.train - exact) ** 2, axis=1))
    assert (error <= found.error + 1e-12).all()
    assert error.max() > 1e-7
    assert found.error.max() <= 100 * error.max()


@pytest.mark.parametrize("t", [10**6, 10**9])
def test_late_times_are_stable_on_singular_kernels(t, method):
    """Rank 3 on 40 points: the learnt part is the projection of y, whatever rounding does in the null space."""
    F = np.random.default_rng(0).standard_normal((40, 3))
    y = np.random.default_rng(1).choice([-1.0, 1.0], 40)
    projection = F @ np.linalg.lstsq(F, y, rcond=None)[0]
    found = ns.predict_gd(Dense(F @ F.T, symmetric=True), y, eta=0.5, steps=[t])
    assert found.train[0] == pytest.approx(projection, abs=1e-6)
    thin = ns.predict_gd(Gram(F), y, eta=0.5, steps=[t], kernel_test=Gram(F[:5], F))
    assert thin.train[0] == pytest.approx(projection, abs=1e-10)
    assert thin.test[0] == pytest.approx(projection[:5], abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-15, 1.999), st.integers(0, 10**6))
def test_one_mode_over_time_agrees_with_high_precision(x, t):
    with mpmath.workdps(60):
        exact = 1 - (1 - mpmath.mpf(x)) ** t
        relative = float(exact / mpmath.mpf(x)) if t else 0.0
    assert learned([x], [t])[0, 0] == pytest.approx(float(exact), rel=1e-9, abs=1e-13)
    assert gain([x], [t])[0, 0] == pytest.approx(relative, rel=1e-9, abs=1e-13)


def test_modes_at_the_ends():
    assert gain([0.0], [0, 1, 10**9])[:, 0].tolist() == [0, 1, 10**9]
    assert learned([1.0], [0, 1, 2])[:, 0].tolist() == [0, 1, 1]
    assert learned([2.0], [0, 1, 2, 10**9])[:, 0].tolist() == [0, 2, 0, 0]
    assert learned([-1e-3], [2])[0, 0] == pytest.approx(1 - 1.001**2)
    assert math.isinf(learned([3.0], [10**6])[0, 0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy")
def test_an_unstable_rate_is_followed_with_a_warning_that_names_the_threshold(method):
    X, _, y, net = setting(25, 3)
    K = ns.ntk(net, X).to_dense()
    threshold = largest_stable_rate(np.linalg.norm(K, 2), 25)
    ns.predict_gd(ns.ntk(net, X), y, eta=0.999 * threshold, steps=[5])
    with pytest.warns(UnstableRateWarning, match=f"largest stable one, 2 n / lambda_max = {threshold:.6g}"):
        found = ns.predict_gd(ns.ntk(net, X), y, eta=1.001 * threshold, steps=[1, 30])
    train, _ = naive.kernel_descent(K, K[:1], y, 1.001 * threshold, [1, 30])
    assert found.train == pytest.approx(train, rel=1e-8)


def test_a_krylov_prediction_past_the_stable_rate_ends():
    """Outputs grow to infinity; the basis need not grow with them."""
    X, X_test, y, net = setting(1700, 6, m=20)
    kernel = ns.ntk(net, X)
    eta = 1.5 * largest_stable_rate(float(ns.spectral_norm(kernel)), 1700)
    with pytest.warns(UnstableRateWarning):
        found = ns.predict_gd(kernel, y, eta=eta, steps=[0, 1, 30, 3000], kernel_test=ns.ntk(net, X_test, X))
    assert int(found.method.strip("Krylov ()")) < 200
    train, test = naive.kernel_descent(kernel.to_dense(), ns.ntk(net, X_test, X).to_dense(), y, eta, [0, 1, 30])
    assert found.train[:3] == pytest.approx(train, rel=1e-6, abs=1e-8)
    assert found.test[:3] == pytest.approx(test, rel=1e-5, abs=1e-5)
    assert np.isnan(found.test[3]).all()


def test_a_negative_eigenvalue_that_shows_is_warned_of():
    kernel = Dense(np.diag([1.0, -0.01]), symmetric=True)
    with pytest.warns(RuntimeWarning, match=r"the kernel has the eigenvalue -0.01 < 0, whose part of y grows by exp"):
        found = ns.predict_gd(kernel, np.ones(2), eta=1.0, steps=[1000])
    assert found.train[0] == pytest.approx([1, 1 - 1.005**1000])


def test_zero_labels_and_zero_kernels_stay_zero(method):
    X, X_test, _, net = setting(12, 3)
    found = ns.predict_gd(ns.ntk(net, X), np.zeros(12), eta=1, steps=[0, 9], kernel_test=ns.ntk(net, X_test, X))
    assert not found.train.any()
    assert not found.test.any()
    found = ns.predict_gd(Dense(np.zeros((12, 12)), symmetric=True), np.ones(12), eta=1, steps=[0, 9])
    assert not found.train.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_float32_agrees_with_float64(dtype, method):
    X, X_test, y, net = setting(200, 5, m=30)
    small = ns.TwoLayer(net.W.astype(dtype), net.v.astype(dtype), "erf")
    kernel, kernel_test = ns.ntk(small, X.astype(dtype)), ns.ntk(small, X_test.astype(dtype), X.astype(dtype))
    found = ns.predict_gd(kernel, y.astype(dtype), eta=1.0, steps=STEPS, kernel_test=kernel_test)
    train, test = naive.kernel_descent(ns.ntk(net, X).to_dense(), ns.ntk(net, X_test, X).to_dense(), y, 1.0, STEPS)
    tolerance = 1e-10 if dtype == np.float64 else 1e-3
    assert found.train.dtype == found.test.dtype == dtype
    assert found.train == pytest.approx(train, abs=tolerance)
    assert found.test == pytest.approx(test, abs=tolerance)


def test_steps_come_back_in_the_order_given():
    X, _, y, net = setting(10, 3)
    forward, shuffled = (ns.predict_gd(ns.ntk(net, X), y, eta=1, steps=steps) for steps in ([0, 3, 9], [9, 0, 3]))
    assert np.array_equal(shuffled.train, forward.train[[2, 0, 1]])


def test_bad_input_is_refused():
    X, X_test, y, net = setting(10, 3)
    kernel = ns.ntk(net, X)
    with pytest.raises(ValueError, match=r"y has shape \(9,\), but \(10,\)"):
        ns.predict_gd(kernel, y[:9], eta=1, steps=[1])
    with pytest.raises(ValueError, match="eta=nan"):
        ns.predict_gd(kernel, y, eta=math.nan, steps=[1])
    with pytest.raises(ValueError, match="eta=-1"):
        ns.predict_gd(kernel, y, eta=-1, steps=[1])
    with pytest.raises(ValueError, match="steps holds -1"):
        ns.predict_gd(kernel, y, eta=1, steps=[-1])
    with pytest.raises(ValueError, match="whole numbers"):
        ns.predict_gd(kernel, y, eta=1, steps=[1.5])
    with pytest.raises(ValueError, match=r"kernel_test has shape \(10, 4\)"):
        ns.predict_gd(kernel, y, eta=1, steps=[1], kernel_test=ns.ntk(net, X, X_test))
    with pytest.raises(ValueError, match="not symmetric"):
        ns.predict_gd(ns.ntk(net, X_test, X), y, eta=1, steps=[1])
    with pytest.raises(ValueError, match="row 2"):
        ns.predict_gd(kernel, np.where(np.arange(10) == 2, np.nan, y), eta=1, steps=[1])
