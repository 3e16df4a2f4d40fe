"""Closed forms against the plain loop, against each other, and far out in time."""

import math
import warnings

import numpy as np
import pytest

import naive
import ntkspec as ns
from ntkspec.dynamics import UnstableRateWarning, krylov, prediction, stable_rate
from ntkspec.dynamics.laws import law_of
from ntkspec.dynamics.problem import Problem
from ntkspec.kernels import weighted_linear_kernel
from ntkspec.operators import Dense, Gram
from ntkspec.spectra import norms
from ntkspec.spectra.lanczos import Lanczos

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
        monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    return request.param


@pytest.mark.covering(2)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 3), (30, 4), (5, 40)])
@pytest.mark.parametrize("name", ["erf", "relu", "softplus"])
def test_ntk_dynamics_agree_with_the_plain_loop(shape, name, method):
    X, X_test, y, net = setting(*shape, name=name)
    kernel, kernel_test = ns.ntk(net, X), ns.ntk(net, X_test, X)
    K, K_test = kernel.to_dense(), kernel_test.to_dense()
    eta = 0.7 * stable_rate(np.linalg.norm(K, 2), len(y))
    train, test = naive.kernel_descent(K, K_test, y, eta, STEPS)
    found = ns.predict_gd(kernel, y, eta=eta, steps=STEPS, kernel_test=kernel_test)
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10 * max(1, np.abs(test).max()))
    assert found.steps.tolist() == STEPS
    assert not found.train[0].any()


@pytest.mark.covering(2)
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
    eta = 0.7 * stable_rate(np.linalg.norm(features, 2) ** 2, len(y))
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
    monkeypatch.setattr(prediction, "_shared_factors", lambda *kernels: None)
    dense = ns.predict_gd(kernel, y, eta=1.5, steps=STEPS, kernel_test=kernel_test)
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
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
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    monkeypatch.setitem(krylov.TOLERANCE, "d", 1e-3)
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


@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy")
def test_an_unstable_rate_is_followed_with_a_warning_that_names_the_threshold(method):
    X, _, y, net = setting(25, 3)
    K = ns.ntk(net, X).to_dense()
    threshold = stable_rate(np.linalg.norm(K, 2), 25)
    ns.predict_gd(ns.ntk(net, X), y, eta=0.999 * threshold, steps=[5])
    with pytest.warns(UnstableRateWarning, match=f"largest stable one, 2 n / lambda_max = {threshold:.6g}"):
        found = ns.predict_gd(ns.ntk(net, X), y, eta=1.001 * threshold, steps=[1, 30])
    train, _ = naive.kernel_descent(K, K[:1], y, 1.001 * threshold, [1, 30])
    assert found.train == pytest.approx(train, rel=1e-8)


def test_a_krylov_prediction_past_the_stable_rate_ends():
    """Outputs grow to infinity; the basis need not grow with them."""
    X, X_test, y, net = setting(1700, 6, m=20)
    kernel = ns.ntk(net, X)
    eta = 1.5 * stable_rate(float(ns.spectral_norm(kernel)), 1700)
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
    assert shuffled.train == pytest.approx(forward.train[[2, 0, 1]], rel=1e-13, abs=1e-15)


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
    for steps in ([1.5], None, [0, None], np.array(["1"], object)):
        with pytest.raises(ValueError, match="whole numbers"):
            ns.predict_gd(kernel, y, eta=1, steps=steps)
    with pytest.raises(ValueError, match=r"kernel_test has shape \(10, 4\)"):
        ns.predict_gd(kernel, y, eta=1, steps=[1], kernel_test=ns.ntk(net, X, X_test))
    with pytest.raises(ValueError, match="not square"):
        ns.predict_gd(ns.ntk(net, X_test, X), y, eta=1, steps=[1])
    with pytest.raises(ValueError, match="row 2"):
        ns.predict_gd(kernel, np.where(np.arange(10) == 2, np.nan, y), eta=1, steps=[1])


# ------------------------------------------------------------------------------------------------ other laws and starts
MOMENTA = [0.0, 0.5, 0.9]


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (30, 4), (5, 40)])
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize(("kind", "loop"), [(ns.HeavyBall, naive.heavy_ball), (ns.Nesterov, naive.nesterov)])
def test_momentum_from_any_start_agrees_with_the_plain_loop(kind, loop, shape, momentum, method):
    X, X_test, y, net = setting(*shape)
    kernel, kernel_test = ns.ntk(net, X), ns.ntk(net, X_test, X)
    K, K_test = kernel.to_dense(), kernel_test.to_dense()
    eta = 0.7 * stable_rate(np.linalg.norm(K, 2), len(y), kind(momentum))
    start = net(X), net(X_test)
    train, test = loop(K, K_test, y, (eta, momentum, STEPS), start)
    found = ns.predict_gd(kernel, y, eta=eta, steps=STEPS, kernel_test=kernel_test, law=kind(momentum), start=start)
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10 * max(1, np.abs(test).max()))
    assert found.train[0] == pytest.approx(start[0], abs=1e-14)
    assert found.test[0] == pytest.approx(start[1], abs=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (20, 4)])
def test_the_flow_agrees_with_the_exponential_of_the_matrix(shape, method):
    X, X_test, y, net = setting(*shape)
    kernel, kernel_test = ns.ntk(net, X), ns.ntk(net, X_test, X)
    times = [0.0, 0.25, 1.0, 17.3, 200.0]
    train, test = naive.kernel_flow(kernel.to_dense(), kernel_test.to_dense(), y, 1.7, times)
    found = ns.predict_gd(kernel, y, eta=1.7, steps=times, kernel_test=kernel_test, law="flow")
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-9)
    assert found.steps.tolist() == times


@pytest.mark.parametrize("law", ["gd", "flow", ns.HeavyBall(0.9), ns.Nesterov(0.9)], ids=str)
def test_the_methods_agree_for_every_law(law, monkeypatch):
    X, X_test, y, _ = setting(60, 5)
    kernel, kernel_test = ns.linear_kernel("relu", X), ns.linear_kernel("relu", X_test, X)
    start = np.full(60, 0.1), np.full(4, 0.1)
    found = []
    for name, value in (("", None), ("_shared_factors", lambda *kernels: None), ("DENSE_SIZE", 0)):
        if name:
            monkeypatch.setattr(prediction, name, value)
        found.append(
            ns.predict_gd(kernel, y, eta=1.5, steps=[*STEPS, 10**9], kernel_test=kernel_test, law=law, start=start)
        )
    # Rounding of the kernel grows as eta t / n; momentum goes 1 / (1 - 0.9) times as far in t steps.
    late = 1e-6 if isinstance(law, str) else 1e-5
    for other in found[1:]:
        assert other.train == pytest.approx(found[0].train, abs=late)
        assert other.train[:-1] == pytest.approx(found[0].train[:-1], abs=1e-10)
        assert other.test[:-1] == pytest.approx(found[0].test[:-1], abs=1e-9)


@pytest.mark.covering(1)
@pytest.mark.parametrize("law", ["gd", "flow", ns.HeavyBall(0.5), ns.HeavyBall(0.9), ns.Nesterov(0.9)], ids=str)
@pytest.mark.parametrize("part", [0.05, 0.45, 0.95])
def test_krylov_errors_are_bounded_for_every_law(law, part, monkeypatch):
    """Stopped early on purpose, over stable rates: bounds on training and test outputs hold and are not idle."""
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    monkeypatch.setitem(krylov.TOLERANCE, "d", 1e-3)
    rng = np.random.default_rng(3)
    points = rng.standard_normal((330, 300)) * np.linspace(0.05, 1, 300) ** 2
    K = points @ points.T / 300
    K, K_test = K[:300, :300], K[300:, :300]
    y = rng.choice([-1.0, 1.0], 300)
    eta = part * min(law_limit(law), 2.0) * 300 / np.linalg.norm(K, 2)
    steps = [1, 10, 100, 1000, 30_000]
    kernels = Dense(K, symmetric=True), Dense(K_test, symmetric=False)
    found = ns.predict_gd(kernels[0], y, eta=eta, steps=steps, kernel_test=kernels[1], law=law)
    monkeypatch.setattr(prediction, "DENSE_SIZE", 1500)
    exact = ns.predict_gd(kernels[0], y, eta=eta, steps=steps, kernel_test=kernels[1], law=law)
    error = np.sqrt(np.mean((found.train - exact.train) ** 2, axis=1))
    test_error = abs(found.test - exact.test).max(axis=1)
    assert (error <= found.error + 1e-12 * law_of(law).amplification).all()
    assert (test_error <= found.error_test + 1e-10).all()
    assert found.error.max() <= 3000 * max(error.max(), 1e-12)


def law_limit(law):
    return 2.0 if isinstance(law, str) else law.limit


def test_what_grows_is_counted_with_its_mass(method):
    kernel = Dense(np.diag([3.0, 2.0, 1.0, -0.5]), symmetric=True)
    y = np.array([1.0, 2.0, 0.0, 2.0])
    with pytest.warns(RuntimeWarning):
        found = ns.predict_gd(kernel, y, eta=4.0, steps=[3]).stability
    assert found.largest_rate == pytest.approx(8 / 3)
    assert (found.unstable, found.negative) == (1, 1)
    assert found.unstable_mass == pytest.approx(1 / 9)
    assert found.negative_mass == pytest.approx(4 / 9)
    assert found.smallest == pytest.approx(-0.5)
    with pytest.warns(RuntimeWarning, match="eigenvalue -0.5 < 0"):
        calm = ns.predict_gd(kernel, y, eta=4.0, steps=[3], law="flow").stability
    assert (calm.unstable, calm.unstable_mass, calm.largest_rate) == (0, 0.0, math.inf)


def test_a_stable_prediction_reports_nothing_that_grows(method):
    X, _, y, net = setting(40, 4)
    found = ns.predict_gd(ns.ntk(net, X), y, eta=0.1, steps=[5]).stability
    assert (found.unstable, found.unstable_mass, found.negative_mass) == (0, 0.0, pytest.approx(0, abs=1e-12))
    thin = ns.predict_gd(ns.linear_kernel("relu", X), y, eta=0.1, steps=[5]).stability
    assert (thin.unstable, thin.negative, thin.complete) == (0, 0, True)


@pytest.mark.parametrize("features", [3, 12], ids=["thin", "wide"])
def test_the_mass_of_what_grows_is_that_of_its_eigenvectors(features):
    """Where the kernel is a product of features, as where it is a matrix: parts of y along unit vectors."""
    rng = np.random.default_rng(4)
    F, y = rng.standard_normal((9, features)) * np.geomspace(1, 4, features), rng.standard_normal(9)
    values, vectors = np.linalg.eigh(F @ F.T)
    with pytest.warns(UnstableRateWarning):
        found = ns.predict_gd(Gram(F), y, eta=2 * 9 / values[-3:-1].mean(), steps=[3]).stability
    exact = (vectors[:, -2:].T @ y) ** 2 / (y @ y)
    assert found.unstable == 2
    assert found.unstable_mass == pytest.approx(exact.sum(), rel=1e-10)


def test_the_largest_stable_rate_separates_what_converges_from_what_does_not():
    X, _, y, net = setting(60, 4)
    kernel = ns.ntk(net, X)
    for law in ("gd", ns.HeavyBall(0.9), ns.Nesterov(0.9)):
        rate = ns.largest_stable_rate(kernel, law=law)
        exact = stable_rate(np.linalg.norm(kernel.to_dense(), 2), 60, law)
        assert rate.lower <= exact <= rate.upper
        assert rate.upper / rate.lower < 1.002
        calm = ns.predict_gd(kernel, y, eta=rate.lower, steps=[10**6], law=law)
        assert abs(calm.train).max() < 10
        with pytest.warns(UnstableRateWarning, match=r"2 n|3.8 n|1.357 n"):
            wild = ns.predict_gd(kernel, y, eta=1.002 * rate.upper, steps=[10**4], law=law)
        assert abs(wild.train).max() > 1e3
    assert math.isinf(float(ns.largest_stable_rate(kernel, law="flow")))


INDEFINITE = {
    "its negative end is twice the other": np.linspace(-9, 4, 50),
    "a hundred times as large": np.r_[-100.0, np.linspace(0, 1, 199)],
    "a million times as large": np.r_[-1e6, -1e3, np.linspace(0, 0.5, 300), 1.0],
    "many large negative ones": np.r_[np.linspace(-50, -10, 30), np.linspace(-0.1, 0.3, 100), 0.31],
    "its positive end is larger": np.r_[-3.0, np.linspace(-1, 2, 60), 3.5],
}


@pytest.mark.parametrize("values", INDEFINITE.values(), ids=INDEFINITE)
@pytest.mark.parametrize("law", ["gd", ns.HeavyBall(0.8), ns.Nesterov(0.8)])
def test_the_largest_stable_rate_of_an_indefinite_kernel_is_that_of_its_positive_end(values, law):
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((len(values), len(values))))[0]
    kernel = rotation * values @ rotation.T
    rate = ns.largest_stable_rate(Dense((kernel + kernel.T) / 2, symmetric=True), law=law)
    exact = stable_rate(values.max(), len(values), law)
    assert rate.lower <= rate.value <= exact <= rate.upper
    assert rate.converged
    assert rate.upper - rate.lower <= 1.001e-3 * exact


@pytest.mark.parametrize("values", list(INDEFINITE.values())[:2], ids=list(INDEFINITE)[:2])
def test_two_runs_share_the_probability_of_failure(values, monkeypatch):
    """The norm, and what lies above its positive end: each may fail, and the sum is what is promised."""
    spent = []

    def counted(operator, *, failure_probability, **how):
        spent.append(failure_probability)
        return ns.spectral_norm(operator, failure_probability=failure_probability, **how)

    monkeypatch.setattr(norms, "spectral_norm", counted)
    rate = ns.largest_stable_rate(Dense(np.diag(values), symmetric=True), failure_probability=1e-3)
    assert rate.evidence is not None
    assert rate.failure_probability == 1e-3
    assert sum(spent) + rate.evidence.failure_probability <= 1e-3


def test_a_stable_rate_that_is_not_known_to_the_tolerance_says_so():
    """The positive eigenvalue is below the rounding of the negative one."""
    rate = ns.largest_stable_rate(Dense(np.diag(np.r_[-1e20, np.linspace(0, 1, 80)]), symmetric=True))
    assert not rate.converged
    assert rate.value == rate.lower <= 2 * 81 <= rate.upper


def test_without_an_eigenvalue_above_zero_every_rate_is_stable():
    rate = ns.largest_stable_rate(Dense(np.diag(-np.linspace(1, 9, 70)), symmetric=True))
    assert (rate.lower, rate.value, rate.upper, rate.converged) == (math.inf, math.inf, math.inf, True)


def test_bad_starts_and_laws_are_refused():
    X, X_test, y, net = setting(10, 3)
    kernel, kernel_test = ns.ntk(net, X), ns.ntk(net, X_test, X)
    with pytest.raises(ValueError, match=r"start has shape \(9,\)"):
        ns.predict_gd(kernel, y, eta=1, steps=[1], start=np.zeros(9))
    with pytest.raises(ValueError, match="start needs outputs on the training points"):
        ns.predict_gd(kernel, y, eta=1, steps=[1], start=np.zeros(10), kernel_test=kernel_test)
    with pytest.raises(ValueError, match="start needs outputs on the training points"):
        ns.predict_gd(kernel, y, eta=1, steps=[1], start=(np.zeros(10), np.zeros(4)))
    with pytest.raises(ValueError, match="start of the test points has shape"):
        ns.predict_gd(kernel, y, eta=1, steps=[1], start=(np.zeros(10), np.zeros(5)), kernel_test=kernel_test)
    with pytest.raises(ValueError, match="whole numbers"):
        ns.predict_gd(kernel, y, eta=1, steps=[0.5])
    with pytest.raises(ValueError, match="below"):
        ns.predict_gd(kernel, y, eta=1, steps=[2**63])
    for rate in (None, "a", [[1.0]], [], [-1.0], [np.nan], lambda step: -1.0):
        with pytest.raises(ValueError, match=r"eta.* learning rate"):
            ns.predict_gd(kernel, y, eta=rate, steps=[1])
    for rectangle in ([1.0, 2.0], np.zeros(10), np.zeros((3, 4))):
        with pytest.raises(ValueError, match="kernel_test has shape"):
            ns.predict_gd(kernel, y, eta=1, steps=[1], kernel_test=rectangle)
    with pytest.raises(ValueError, match="NaN"):
        ns.predict_gd(kernel, y, eta=1, steps=[1], kernel_test=np.full((3, 10), np.nan))
    for wrong in ([-1.0], [math.nan], [math.inf], [], "x"):
        with pytest.raises(ValueError, match="time"):
            ns.predict_gd(kernel, y, eta=1, steps=wrong, law="flow")


# -------------------------------------------------------------------------------------------------- what bounds are of
@pytest.mark.parametrize(
    ("law", "part"),
    [
        *(("gd", part) for part in (0.3, 0.9, 1.05)),
        *((law, part) for law in (ns.HeavyBall(0.9), ns.Nesterov(0.9)) for part in (0.05, 0.6)),
    ],
    ids=str,
)
def test_truncation_is_the_sum_that_it_stands_for(law, part):
    """Against the explicit sum over steps, of a basis of 12 vectors."""
    rng, n, law = np.random.default_rng(1), 40, law_of(law)
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    K = (Q * np.r_[1, 0.999 * np.linspace(0.5, 1, 9), np.geomspace(1e-4, 1e-6, n - 10)]) @ Q.T
    late = [4999, 5000, 5003, 7000, 20_000] if part < 1 else [400]
    rate, steps = part * law.limit, np.array([0, 1, 2, 7, 100, *late])
    problem = Problem(Dense((K + K.T) / 2, symmetric=True), None, rng.choice([-1.0, 1.0], n), rate, law, steps)
    lanczos = Lanczos(problem.kernel)
    lanczos.begin(problem.residual)
    lanczos.extend(12)
    T, momentum = rate * lanczos.T, getattr(law, "momentum", 0.0)
    growth = max(1.0, abs(1 - np.linalg.eigvalsh(T)).max()) if momentum == 0 else 1.0
    z, total, sums = np.eye(12)[0], 0.0, []
    before = z
    for _ in range(steps.max() + 1):
        sums.append(total)
        total = total * growth + rate * np.linalg.norm(lanczos.off_diagonal) * abs(z[-1])
        if isinstance(law, ns.Nesterov):
            ahead, before = before, z - T @ z  # here ``before`` is the point that the step came to, without momentum
            z = before + momentum * (before - ahead)
        else:
            z, before = z - T @ z + momentum * (z - before), z
    exact = law.amplification * np.array(sums)[steps]
    found = krylov.truncation(lanczos, problem)
    assert found[:7] == pytest.approx(exact[:7], rel=1e-6, abs=1e-12)
    assert found == pytest.approx(exact, rel=0.1, abs=1e-12)


@pytest.mark.parametrize("first", [5000, 5001])
def test_late_terms_that_cancel_in_every_other_step_are_seen(first):
    """Modes at 2 - delta and delta with equal weights: every odd term is zero, every even one twice one of them."""
    delta = 1e-5
    x, weights, nodes = np.array([2 - delta, delta]), np.array([1.0, 1.0]), np.arange(first, first + 401, 100)
    found = krylov._sums_beyond(law_of("gd"), x, weights, nodes, total=0.0, growth=1.0)
    steps = np.arange(first, first + 400)
    terms = abs((1 - x[0]) ** steps + (1 - x[1]) ** steps)
    assert found[-1] >= terms.sum() * 0.999
    assert found[-1] <= 2.2 * terms.sum()


@pytest.mark.parametrize("momentum", [0.9, *(pytest.param(part, marks=pytest.mark.slow) for part in (0.5, 0.99))])
def test_test_errors_of_the_overdamped_heavy_ball_are_bounded(momentum, monkeypatch):
    """A fast block of ten and one slow direction behind it: what is missed early arrives late."""
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    monkeypatch.setitem(krylov.TOLERANCE, "d", 1e3)
    law, t, n = ns.HeavyBall(momentum), 100_000, 11
    slow, fast = 1.26 / (t * law.amplification), (1 - math.sqrt(momentum)) ** 2 * 0.5
    K = np.diag([fast] * 10 + [slow]) + np.diag([0.45 * fast] * 9 + [0.3 * math.sqrt(slow * fast)], 1)
    K = np.triu(K) + np.triu(K, 1).T
    values, V = np.linalg.eigh(K)
    test = math.sqrt(K.diagonal().max()) * (np.sqrt(values) * V).T
    y = np.eye(n)[0]
    found = ns.predict_gd(
        Dense(K, symmetric=True), y, eta=n, steps=[t], kernel_test=Dense(test, symmetric=False), law=law
    )
    train, outputs = naive.heavy_ball(K, test, y, (float(n), momentum, [t]), (np.zeros(n), np.zeros(n)))
    assert found.method == "Krylov (10)"
    assert np.sqrt(np.mean((found.train - train) ** 2)) <= found.error[0]
    assert abs(found.test - outputs).max() <= found.error_test[0]


@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_returned_bounds_are_below_the_tolerance(momentum, monkeypatch):
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 400))
    K, law = points @ points.T / 400, ns.HeavyBall(momentum)
    eta = 0.5 * stable_rate(np.linalg.norm(K, 2), 200, law)
    found = ns.predict_gd(Dense(K, symmetric=True), rng.choice([-1.0, 1.0], 200), eta=eta, steps=[1000], law=law)
    assert found.error[0] <= 1e-10 or found.stability.complete


def test_single_precision_stops_at_its_own_tolerance(monkeypatch):
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    X, _, y, net = setting(300, 5, m=30)
    small = ns.ntk(ns.TwoLayer(net.W.astype(np.float32), net.v.astype(np.float32), "erf"), X.astype(np.float32))
    found = ns.predict_gd(small, y.astype(np.float32), eta=1.0, steps=STEPS)
    assert 0 < found.error.max() <= 1e-5
    assert not found.stability.complete


def test_features_that_depend_on_one_another_stay_calm_for_ever():
    F = np.random.default_rng(0).standard_normal((30, 3))
    F = np.hstack([F, F[:, :1] + F[:, 1:2]])
    y = np.random.default_rng(1).choice([-1.0, 1.0], 30)
    for law in ("gd", "flow", ns.HeavyBall(0.9), ns.Nesterov(0.9)):
        found = ns.predict_gd(Gram(F), y, eta=0.3, steps=[4 * 10**18], law=law)
        assert found.train[0] == pytest.approx(F @ np.linalg.lstsq(F, y, rcond=None)[0], abs=1e-9)
        assert found.stability.smallest == 0
    single = ns.predict_gd(Gram(F[:, :3].astype(np.float32)), y.astype(np.float32), eta=0.3, steps=[10**9])
    exact = ns.predict_gd(Gram(F[:, :3]), y, eta=0.3, steps=[10**9])
    assert single.train == pytest.approx(exact.train, abs=1e-5)


@pytest.mark.parametrize("law", ["gd", "flow", ns.HeavyBall(0.9), ns.Nesterov(0.9)], ids=str)
def test_negative_eigenvalues_are_warned_of_by_how_the_law_grows(law):
    faster = 1.0 if isinstance(law, str) else law.amplification
    for growth, told in ((0.05, True), (0.005, False)):
        kernel = Dense(np.diag([1.0, -growth / 1000 / faster]), symmetric=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ns.predict_gd(kernel, np.ones(2), eta=2.0, steps=[1000], law=law)
        assert any("whose part of y grows" in str(one.message) for one in caught) == told


def test_test_kernels_may_be_plain_arrays():
    X, X_test, y, _ = setting(30, 4)
    linear, linear_test = ns.linear_kernel("relu", X), ns.linear_kernel("relu", X_test, X)
    operator, array = (
        ns.predict_gd(linear, y, eta=0.5, steps=STEPS, kernel_test=one) for one in (linear_test, linear_test.to_dense())
    )
    assert array.test == pytest.approx(operator.test, abs=1e-9)
    square = ns.linear_kernel("relu", X[::-1], X)
    assert ns.predict_gd(linear, y, eta=0.5, steps=[3], kernel_test=square.to_dense()).test == pytest.approx(
        ns.predict_gd(linear, y, eta=0.5, steps=[3]).train[:, ::-1], abs=1e-9
    )
    columns = ns.predict_gd(
        linear, y, eta=0.5, steps=[0], kernel_test=linear_test, start=(np.ones((30, 1)), np.ones((4, 1)))
    )
    assert columns.train.shape == (1, 30)  # outputs of a network whose last layer has one
    assert columns.test.shape == (1, 4)
    listed = ns.predict_gd(linear, y, eta=0.5, steps=[0], kernel_test=linear_test, start=[np.ones(30), np.ones(4)])
    assert (listed.test == 1).all()


def test_nothing_to_learn_has_a_report_in_every_form(method):
    X, _, _, net = setting(12, 3)
    found = ns.predict_gd(ns.ntk(net, X), np.zeros(12), eta=1, steps=[3]).stability
    assert (found.unstable, found.negative) == (0, 0)


@pytest.mark.parametrize("kind", [np.ndarray.tolist, lambda K: tuple(map(tuple, K)), lambda K: list(K)])
def test_the_largest_stable_rate_takes_a_matrix_of_any_kind(kind):
    kernel = np.diag([4.0, 2.0, 1.0])
    rate = ns.largest_stable_rate(kind(kernel))
    assert rate.lower <= 2 * 3 / 4 <= rate.upper


def test_the_largest_stable_rate_of_no_matrix_is_refused():
    with pytest.raises(TypeError, match="a NoneType cannot be multiplied; pass an operator"):
        ns.largest_stable_rate(None)
