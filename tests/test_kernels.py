"""The NTK against its definition, autograd and PyTorch; the linear kernels against their features."""

import math

import autograd.numpy as anp
import autograd.scipy.special as asp
import numpy as np
import pytest
from autograd import grad, jacobian
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import ntkspec as ns

# A light, independent autograd: phi in its own words.
PHI = {
    "identity": lambda z: z,
    "relu": lambda z: anp.maximum(z, 0.0),
    "leaky_relu": lambda z: anp.where(z >= 0, z, 0.01 * z),
    "abs": anp.abs,
    "erf": asp.erf,
    "tanh": anp.tanh,
    "sigmoid": lambda z: 1 / (1 + anp.exp(-z)),
    "softplus": lambda z: anp.logaddexp(z, 0.0),
    "gelu": lambda z: z * (1 + asp.erf(z / math.sqrt(2))) / 2,
    "silu": lambda z: z / (1 + anp.exp(-z)),
    "elu": lambda z: anp.where(z >= 0, z, anp.exp(anp.minimum(z, 0.0)) - 1),
    "sin": anp.sin,
    "cos": anp.cos,
}
SHAPES = [(1, 1, 1), (1, 3, 2), (5, 1, 4), (7, 4, 1), (6, 3, 5), (4, 9, 8)]  # n, d, m


def output(W, v, X, phi):
    m, d = W.shape
    return anp.dot(phi(anp.dot(X, W.T) / math.sqrt(d)), v) / math.sqrt(m)


def autograd_kernels(net, X, X2):
    """Theta_1 and Theta_2 as inner products of Jacobians."""
    kernels = []
    for argument in (0, 1):
        of = jacobian(lambda W, v, X: output(W, v, X, PHI[net.activation.name.split("(")[0]]), argument)
        one, other = (of(net.W, net.v, points).reshape(len(points), -1) for points in (X, X2))
        kernels.append(one @ other.T)
    return kernels


def setting(n, d, m, name, seed=0, second="normal"):
    rng = np.random.default_rng([seed, 1])
    return ns.TwoLayer.random(d, m, name, seed=seed, second=second), rng.standard_normal((n, d))


@pytest.mark.parametrize("name", list(PHI))
@pytest.mark.parametrize("shape", SHAPES)
def test_ntk_agrees_with_autograd(name, shape):
    net, X = setting(*shape, name)
    X2 = np.random.default_rng(9).standard_normal((3, shape[1]))
    for points in (X, X2):
        first, second = autograd_kernels(net, X, points)
        other = None if points is X else points
        for layer, exact in (("first", first), ("second", second), ("both", first + second)):
            found = ns.ntk(net, X, other, layer=layer)
            assert np.abs(found.to_dense() - exact).max() <= 1e-10 * max(1, np.abs(exact).max())
            assert np.abs(found @ np.eye(exact.shape[1]) - exact).max() <= 1e-10 * max(1, np.abs(exact).max())


@pytest.mark.parametrize("name", ["erf", "relu", "gelu"])
def test_ntk_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the autograd test above needs no PyTorch")
    phi = {"erf": torch.erf, "relu": torch.relu, "gelu": torch.nn.functional.gelu}[name]
    net, X = setting(6, 4, 10, name)
    W, v, points = (torch.tensor(array) for array in (net.W, net.v, X))

    def one(W, v, x):
        return phi(x @ W.T / 2.0) @ v / math.sqrt(10)

    jacobians = torch.func.vmap(torch.func.jacrev(one, (0, 1)), (None, None, 0))(W, v, points)
    for layer, jacobian_ in zip(("first", "second"), jacobians, strict=True):
        flat = jacobian_.reshape(6, -1).numpy()
        assert np.abs(ns.ntk(net, X, layer=layer).to_dense() - flat @ flat.T).max() <= 1e-10


@pytest.mark.parametrize("second", ["rademacher", "normal"])
@pytest.mark.parametrize("name", ["relu", "erf"])
def test_paired_neurons_give_the_kernel_of_all_of_them(name, second):
    net = ns.TwoLayer.symmetric(3, 8, name, second=second)
    X = np.random.default_rng(1).standard_normal((5, 3))
    act = net.activation
    first = naive.theta_first(net.W, net.v, lambda u: float(act.derivative(u)), X, X)
    second_kernel = naive.theta_second(net.W, lambda u: float(act(u)), X, X)
    assert np.abs(ns.ntk(net, X, layer="first").to_dense() - first).max() <= 1e-12
    assert np.abs(ns.ntk(net, X, layer="second").to_dense() - second_kernel).max() <= 1e-12
    assert net.kernel_neurons()[0].shape == (4, 3)


def test_neurons_that_are_no_longer_paired_are_all_used():
    net = ns.TwoLayer.symmetric(3, 8, "erf")
    net.W[1, 0] += 0.5
    X = np.random.default_rng(1).standard_normal((5, 3))
    exact = naive.theta_first(net.W, net.v, lambda u: float(net.activation.derivative(u)), X, X)
    assert np.abs(ns.ntk(net, X, layer="first").to_dense() - exact).max() <= 1e-12


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 6), st.sampled_from(list(PHI)), st.integers(0, 99))
def test_the_ntk_is_symmetric_and_positive_semidefinite(n, d, m, name, seed):
    net, X = setting(n, d, m, name, seed)
    matrix = ns.ntk(net, X).to_dense()
    assert np.array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.trace(matrix)


def test_dtype_is_that_of_data_and_network_together():
    net, X = setting(5, 3, 4, "erf")
    small = ns.TwoLayer(net.W.astype(np.float32), net.v.astype(np.float32), "erf")
    assert ns.ntk(small, X.astype(np.float32)).dtype == np.float32
    assert ns.ntk(small, X).dtype == np.float64
    exact = ns.ntk(net, X).to_dense()
    assert np.abs(ns.ntk(small, X.astype(np.float32)).to_dense() - exact).max() < 1e-5 * np.abs(exact).max()


def test_zero_points_have_zero_first_layer_kernel_and_slope_one_at_zero():
    net, X = setting(4, 3, 6, "relu")
    X[1] = 0
    assert not ns.ntk(net, X, layer="first").to_dense()[1].any()


# -------------------------------------------------------------------------------------------------------- linear model
@pytest.mark.parametrize("name", list(PHI))
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (9, 3), (3, 9)])
def test_linear_kernels_agree_with_their_features(name, shape):
    X = np.random.default_rng(3).standard_normal(shape)
    X2 = np.random.default_rng(4).standard_normal((5, shape[1]))
    constants = ns.activation(name).constants
    nu, thetas = constants.nu(1.7), (constants.vartheta0, constants.vartheta1, constants.vartheta2)
    features = {
        "first": lambda x: naive.psi_first(x, constants.zeta, nu),
        "second": lambda x: naive.psi_second(x, constants.zeta, nu, thetas),
        "both": lambda x: naive.psi_both(x, constants.zeta, nu, thetas),
    }
    for layer, psi in features.items():
        exact = np.array([[psi(x) @ psi(z) for z in X2] for x in X])
        found = ns.linear_kernel(name, X, X2, layer=layer, trace_ratio=1.7)
        assert np.abs(found.to_dense() - exact).max() <= 1e-13 * max(1, np.abs(exact).max())


def test_the_third_linear_kernel_is_the_sum_of_the_first_two():
    X = np.random.default_rng(3).standard_normal((20, 6))
    one, two, both = (ns.linear_kernel("softplus", X, layer=layer) for layer in ("first", "second", "both"))
    assert np.abs((one + two - both).to_dense()).max() <= 1e-14


def test_trace_ratio_comes_from_the_training_points():
    X, X_test = (np.random.default_rng(seed).standard_normal((30, 6)) for seed in (1, 2))
    train, test = ns.linear_kernel("relu", X), ns.linear_kernel("relu", X_test, X)
    assert np.array_equal(train.low_rank_factors()[1], test.low_rank_factors()[1])
    explicit = ns.linear_kernel("relu", X_test, X, trace_ratio=naive.trace_ratio(X))
    assert np.abs(test.to_dense() - explicit.to_dense()).max() <= 1e-14


def test_expected_entries_of_wide_networks_are_those_of_the_linear_kernel_to_first_order():
    """On the sphere, off the diagonal: |E Theta_1 - Theta^lin1| = O(1/d) entrywise while entries are O(1/sqrt d)."""
    rng = np.random.default_rng(0)
    d, X = 100, rng.standard_normal((20, 100))
    X *= math.sqrt(d) / np.linalg.norm(X, axis=1, keepdims=True)
    net = ns.TwoLayer.random(d, 40000, "erf", seed=5)
    gap = (ns.ntk(net, X) - ns.linear_kernel("erf", X)).to_dense()
    off = ~np.eye(20, dtype=bool)
    size = np.abs(ns.linear_kernel("erf", X).to_dense()[off]).max()
    assert np.abs(gap[off]).max() < 0.05 * size


def test_bad_input_is_refused():
    net, X = setting(5, 3, 4, "erf")
    with pytest.raises(ValueError, match="layer='third', but one of 'first', 'second', 'both'"):
        ns.ntk(net, X, layer="third")
    with pytest.raises(ValueError, match="X has 2 columns, but 3 are needed to fit the network"):
        ns.ntk(net, X[:, :2])
    with pytest.raises(ValueError, match="X2 has 2 columns, but 3 are needed to fit the network"):
        ns.ntk(net, X, X[:, :2])
    with pytest.raises(ValueError, match="X2 has 2 columns, but 3 are needed to fit the other input"):
        ns.expected_ntk("erf", X, X[:, :2])
    with pytest.raises(TypeError, match="ntk of a str is not available"):
        ns.ntk("erf", X)
    with pytest.raises(ValueError, match=r"X has shape \(0, 3\) and holds no data"):
        ns.ntk(net, X[:0])
    with pytest.raises(ValueError, match="row 1, column 0"):
        ns.linear_kernel("erf", np.array([[1.0, 2], [np.inf, 3]]))
    with pytest.raises(ValueError, match="at least two data points; pass trace_ratio="):
        ns.linear_kernel("relu", X[:1])
    with pytest.raises(ValueError, match="trace_ratio=-1"):
        ns.linear_kernel("relu", X, trace_ratio=-1)


def test_gradients_of_the_loss_agree_with_autograd():
    """One real step from unpaired weights moves W and v by -eta times the autograd gradient."""
    net, X = setting(7, 4, 5, "gelu")
    y = np.random.default_rng(2).standard_normal(7)

    def loss(W, v):
        return anp.sum((output(W, v, X, PHI["gelu"]) - y) ** 2) / (2 * len(y))

    after = ns.train_gd(net, X, y, eta1=0.5, eta2=0.25, steps=[1]).network
    assert np.abs((net.W - after.W) / 0.5 - grad(loss, 0)(net.W, net.v)).max() <= 1e-10
    assert np.abs((net.v - after.v) / 0.25 - grad(loss, 1)(net.W, net.v)).max() <= 1e-10
