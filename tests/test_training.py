"""Real gradient descent against the plain loop, PyTorch, and the kernel it starts from."""

import numpy as np
import pytest

import naive
import ntkspec as ns

STEPS = [0, 1, 2, 5, 12]


def setting(n, d, m, name="erf", symmetric=False, dtype=np.float64):
    rng = np.random.default_rng([n, d, m])
    X, y = rng.standard_normal((n, d)).astype(dtype), rng.uniform(-1, 1, n).astype(dtype)
    make = ns.TwoLayer.symmetric if symmetric else ns.TwoLayer.random
    return make(d, m, name, second="normal", dtype=dtype), X, y


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 3), (9, 1, 2), (11, 3, 6)])
@pytest.mark.parametrize("name", ["erf", "relu", "silu"])
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.3), (0.4, 0.1)])
def test_training_agrees_with_the_plain_loop(shape, name, rates):
    net, X, y = setting(*shape, name=name)
    before = net.W.copy(), net.v.copy()
    act = (net.activation, net.activation.derivative)
    outputs, W, v = naive.network_descent(net.W, net.v, act, (X, y), rates, STEPS)
    found = ns.train_gd(net, X, y, eta1=rates[0], eta2=rates[1], steps=STEPS, X_test=X[::-1])
    assert found.train == pytest.approx(outputs, abs=1e-10)
    assert found.test == pytest.approx(outputs[:, ::-1], abs=1e-10)
    assert np.abs(found.network.W - W).max() <= 1e-10
    assert np.abs(found.network.v - v).max() <= 1e-10
    assert np.array_equal(net.W, before[0])
    assert np.array_equal(net.v, before[1])


def test_layers_that_are_not_trained_do_not_move():
    net, X, y = setting(10, 3, 4)
    assert np.array_equal(ns.train_gd(net, X, y, eta1=0, eta2=1, steps=[5]).network.W, net.W)
    assert np.array_equal(ns.train_gd(net, X, y, eta1=1, eta2=0, steps=[5]).network.v, net.v)


def test_many_blocks_of_rows_agree_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the plain loop above needs no PyTorch")
    net, X, y = setting(5000, 4, 200, "gelu")
    W, v = (torch.tensor(array, requires_grad=True) for array in (net.W, net.v))
    for _ in range(3):
        outputs = torch.nn.functional.gelu(torch.tensor(X) @ W.T / 2) @ v / 200**0.5
        (((outputs - torch.tensor(y)) ** 2).sum() / 10000).backward()
        with torch.no_grad():
            for parameter, rate in ((W, 0.7), (v, 0.2)):
                parameter -= rate * parameter.grad
                parameter.grad = None
    found = ns.train_gd(net, X, y, eta1=0.7, eta2=0.2, steps=[3])
    assert np.abs(found.network.W - W.detach().numpy()).max() <= 1e-10
    assert np.abs(found.network.v - v.detach().numpy()).max() <= 1e-10


@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.3)])
def test_one_step_from_equation_3_is_the_kernel_step_up_to_eta_cubed(rates):
    """The second-order terms of paired neurons cancel; without pairs the error is of second order."""
    net, X, y = setting(30, 4, 10, "tanh", symmetric=True)
    theta1, theta2 = (ns.ntk(net, X, layer=layer) for layer in ("first", "second"))

    def error(net, eta):
        eta1, eta2 = eta * rates[0], eta * rates[1]
        step = (eta1 * theta1 + eta2 * theta2) @ y / 30
        found = ns.train_gd(net, X, y, eta1=eta1, eta2=eta2, steps=[1]).train[0]
        return np.abs(found - step).max()

    etas = np.array([0.4, 0.2, 0.1, 0.05])
    errors = np.array([error(net, eta) for eta in etas])
    if rates[0] == 0:
        assert errors.max() < 1e-14
        return
    slopes = np.diff(np.log(errors)) / np.diff(np.log(etas))
    assert (slopes > 2.8).all()
    assert (slopes < 3.3).all()


def test_a_wide_network_follows_its_kernel():
    """The distance from the frozen kernel's prediction falls like 1/sqrt m or faster."""
    distances = []
    for m in (64, 1024, 16384):
        net = ns.TwoLayer.symmetric(5, m, "erf", seed=3)
        _, X, y = setting(40, 5, 2)
        found = ns.train_gd(net, X, y, eta1=1.0, eta2=1.0, steps=[100])
        predicted = ns.predict_gd(ns.ntk(net, X), y, eta=1.0, steps=[100])
        distances.append(float(np.linalg.norm(found.train - predicted.train)))
    assert distances[1] < distances[0] / 2.5
    assert distances[2] < distances[1] / 2.5


def test_steps_may_come_in_any_order_and_repeat():
    net, X, y = setting(20, 3, 4)
    found = ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[7, 0, 7, 3], X_test=X[:2])
    sorted_ = ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[0, 3, 7], X_test=X[:2])
    assert np.array_equal(found.train, sorted_.train[[2, 0, 2, 1]])
    assert np.array_equal(found.test, sorted_.test[[2, 0, 2, 1]])


def test_float32_is_kept_and_agrees_with_float64():
    net, X, y = setting(3000, 5, 32, symmetric=True, dtype=np.float32)
    found = ns.train_gd(net, X, y, eta1=1, eta2=1, steps=STEPS)
    double = ns.TwoLayer(net.W.astype(float), net.v.astype(float), "erf")
    exact = ns.train_gd(double, X.astype(float), y.astype(float), eta1=1, eta2=1, steps=STEPS)
    assert found.train.dtype == found.network.W.dtype == np.float32
    assert np.abs(found.train - exact.train).max() < 1e-5


def test_divergence_stops_with_a_warning_and_nan_records():
    net, X, y = setting(20, 3, 4, "relu")
    with pytest.warns(RuntimeWarning, match="training diverged: outputs are no longer finite at step"):
        found = ns.train_gd(net, X, y, eta1=1e6, eta2=1e6, steps=[0, 1, 500], X_test=X[:3])
    assert np.isfinite(found.train[:2]).all()
    assert np.isnan(found.train[2]).all()
    assert np.isnan(found.test[2]).all()


def test_bad_input_is_refused():
    net, X, y = setting(10, 3, 4)
    with pytest.raises(TypeError, match="net is a str"):
        ns.train_gd("net", X, y, eta1=1, eta2=1, steps=[1])
    with pytest.raises(ValueError, match="X_test has 2 columns, but 3"):
        ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[1], X_test=X[:, :2])
    with pytest.raises(ValueError, match="eta2=-1"):
        ns.train_gd(net, X, y, eta1=1, eta2=-1, steps=[1])
    with pytest.raises(ValueError, match=r"y has shape \(9,\)"):
        ns.train_gd(net, X, y[:9], eta1=1, eta2=1, steps=[1])
