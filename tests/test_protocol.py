"""Built-in networks and a user's own answer the same questions."""

import pickle

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.networks.architecture import architecture_of
from ntkspec.networks.outputs import choice_of
from ntkspec.networks.protocol import as_network
from several_outputs import Perceptron

BUILT_IN = {
    "two layers": lambda d: ns.TwoLayer.random(d, 5, "erf", seed=1, second="normal"),
    "two layers, paired": lambda d: ns.TwoLayer.symmetric(d, 6, "softplus", seed=1),
    "fully connected": lambda d: ns.FullyConnected.random(d, [4, 3], "tanh", seed=2),
    "fully connected, paired": lambda d: ns.FullyConnected.paired(d, [4, 6], "erf", seed=2),
    "convolutional": lambda d: ns.Convolutional.random((d, 1), [3, 2], "erf", filter_size=2, seed=3),
}
NETWORKS = BUILT_IN | {"a user's": lambda d: Perceptron.random(d, 4, 1, flat=True)}


def gradients(net, X):
    """(n, P): the gradient of each output, by the network's own vjp."""
    rows = []
    for x in net.as_points(X):
        _, found = net.value_and_vjp(x[None], lambda rows, outputs: np.ones_like(outputs))
        rows.append(np.concatenate([part.ravel() for part in found]))
    return np.array(rows)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_vjp_is_the_derivative_of_the_outputs(kind):
    net, rng = NETWORKS[kind](4), np.random.default_rng(0)
    X, u = rng.standard_normal((7, 4)), rng.standard_normal(7)
    outputs, found = net.value_and_vjp(net.as_points(X), lambda rows, outputs: u[rows] * outputs)
    assert np.allclose(outputs, net(X), atol=1e-14)
    assert [part.shape for part in found] == [W.shape for W in net.weights]
    direction, step = [rng.standard_normal(W.shape) for W in net.weights], 1e-5
    ahead, behind = (
        net.with_weights([W + side * t for W, t in zip(net.weights, direction, strict=True)])(X)
        for side in (step, -step)
    )
    moved = (ahead - behind) / (2 * step)
    inner = sum((own * t).sum() for own, t in zip(found, direction, strict=True))
    assert inner == pytest.approx((u * outputs) @ moved, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_kernel_is_the_gram_matrix_of_the_gradients(kind):
    net, (X, X2) = NETWORKS[kind](4), (np.random.default_rng(seed).standard_normal((6, 4)) for seed in (1, 2))
    left, right = gradients(net, X), gradients(net, X2)
    assert np.allclose(ns.ntk(net, X).to_dense(), left @ left.T, rtol=0, atol=1e-10 * np.square(left).sum())
    assert np.allclose(ns.ntk(net, X, X2).to_dense(), left @ right.T, rtol=0, atol=1e-10 * np.square(left).sum())
    assert ns.ntk(net, X).points == 6


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_of_one_output_has_one_kernel(kind):
    net, X = NETWORKS[kind](4), np.random.default_rng(1).standard_normal((5, 4))
    kernel = ns.ntk(net, X)
    for outputs in ("full", "trace", "sum", 0, [1.0]):
        same = ns.ntk(net, X, outputs=outputs)
        assert same.shape == (5, 5)
        assert np.array_equal(same.to_dense(), kernel.to_dense())
    assert np.allclose(ns.ntk(net, X, outputs=[-3.0]).to_dense(), 9 * kernel.to_dense(), rtol=1e-14)
    with pytest.raises(ValueError, match="outputs=1, but the network has 1, counted from 0 to 0"):
        ns.ntk(net, X, outputs=1)
    with pytest.raises(ValueError, match="outputs='max', but one of 'full', 'trace', 'mean', 'sum' is needed"):
        ns.ntk(net, X, outputs="max")


def test_a_network_of_several_outputs_has_many():
    net, (X, X2) = Perceptron.random(3, 4, 5), (np.random.default_rng(seed).standard_normal((6, 3)) for seed in (1, 2))
    J, J2 = net.jacobian(X), net.jacobian(X2)
    full = np.einsum("ikp,jlp->ikjl", J, J2)
    weights = np.array([1.0, -2.0, 0.0, 3.0, 0.5])
    expected = {
        "full": full.reshape(30, 30),
        "trace": np.einsum("ikjk->ij", full),
        "mean": np.einsum("ikjk->ij", full) / 5,
        "sum": np.einsum("ikjl->ij", full) / 5,
        2: full[:, 2, :, 2],
    }
    for outputs, matrix in expected.items():
        found = ns.ntk(net, X, X2, outputs=outputs)
        assert np.allclose(found.to_dense(), matrix, atol=1e-12)
        assert np.allclose(found @ np.eye(len(matrix)), matrix, atol=1e-12)
        assert found.points == 6
    of_weights = np.einsum("ikjl,k,l->ij", full, weights, weights)
    assert np.allclose(ns.ntk(net, X, X2, outputs=weights).to_dense(), of_weights, atol=1e-12)
    assert np.allclose(ns.ntk(net, X, X2).to_dense(), expected["mean"], atol=1e-12)
    parts = [ns.ntk(net, X, outputs="full", layer=layer).to_dense() for layer in "AB"]
    assert np.allclose(sum(parts), ns.ntk(net, X, outputs="full").to_dense(), atol=1e-12)


def test_choices_of_outputs_say_what_they_mean():
    assert [choice_of(kind, 3).definition for kind in ("full", "mean", "sum", 1)] == [
        "kernel of all 3 outputs, a row for each point and output",
        "mean of the kernels of 3 outputs",
        "kernel of the sum of 3 outputs, / 3",
        "kernel of output 1",
    ]
    assert choice_of([0.0, 1.0, 1.0], 3).directions(3) == 1
    assert choice_of("full", 3).directions(3) == 3
    with pytest.raises(ValueError, match="outputs holds weights that are all zero"):
        choice_of([0.0, 0.0], 2)
    with pytest.raises(ValueError, match=r"outputs has shape \(3,\), but \(2,\) is needed: one number for each output"):
        choice_of([0.0, 0.0, 1.0], 2)


@pytest.mark.parametrize("given", ["erf", np.eye(2), ns.TwoLayer, None])
def test_what_is_no_network_is_refused(given):
    with pytest.raises(
        TypeError, match=rf"ntk of a {type(given).__name__} is not available; pass TwoLayer, .*from_jax"
    ):
        ns.ntk(given, np.eye(2))


@pytest.mark.parametrize("kind", BUILT_IN)
def test_theory_knows_the_built_in_networks_alone(kind):
    net = BUILT_IN[kind](4)
    assert architecture_of(net, "the linear kernel", "").activation is net.activation
    assert as_network(net, "training") is net
    with pytest.raises(TypeError, match="the linear kernel of a Perceptron is not known"):
        ns.linear_kernel(Perceptron.random(4, 3, 1), np.eye(4))


@pytest.mark.parametrize("kind", BUILT_IN)
def test_points_are_checked_and_come_in_the_dtype_of_the_outputs(kind):
    net, X = BUILT_IN[kind](4), np.ones((3, 4), np.float32)
    assert net.as_points(X).dtype == net(X).dtype == np.float64
    assert net.n_outputs is None
    assert net.flops > 0
    with pytest.raises(ValueError, match="X2 has 3 columns, but 4 are needed to fit the network"):
        ns.ntk(net, X, X[:, :3])
    again = pickle.loads(pickle.dumps(ns.ntk(net, X)))
    assert np.array_equal(again.to_dense(), ns.ntk(net, X).to_dense())
