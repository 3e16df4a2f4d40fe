"""Kernels of one network at the same points share what is kept of them, and only at the same points."""

import gc
import weakref

import numpy as np
import pytest

import ntkspec as ns

torch = pytest.importorskip("torch", reason="the networks are PyTorch's, which is not installed")

from networks import kernel_of, mlp, signals  # noqa: E402  (after the skip)
from ntkspec.networks.torch.factors import jacobian as factored  # noqa: E402
from ntkspec.operators import jacobian as gram  # noqa: E402

X, X_TEST = signals(9, 6), signals(5, 6) + 0.5


def close(found, true):
    np.testing.assert_allclose(found, true, rtol=0, atol=1e-10 * np.abs(true).max())


@pytest.fixture
def net():
    return ns.from_torch(mlp(outputs=3))


def test_mean_and_full_kernels_and_those_of_test_points_have_the_same_training_points(net):
    mean, full = ns.ntk(net, X), ns.ntk(net, X, outputs="full")
    test, again = ns.ntk(net, X_TEST, X, outputs="full"), ns.ntk(net, X_TEST, X.clone())
    assert mean.left is full.left is test.right is again.right
    assert test.left is again.left is not test.right
    close(mean.to_dense(), kernel_of(net.module, X))
    close(test.to_dense(), kernel_of(net.module, X_TEST, "full", X))
    close(again @ np.eye(9), kernel_of(net.module, X_TEST, points2=X))


def test_factors_of_test_points_are_stored_from_the_second_product_on(net):
    """Those of a prediction are used once."""
    kernel, V = ns.ntk(net, X_TEST, X, outputs="full"), np.eye(27)
    true = kernel_of(net.module, X_TEST, "full", X)
    close(kernel.to_dense(), true)
    close(kernel._tiled_product(V), true)
    close(kernel._matmat(V), true)
    assert kernel.right._kept
    assert not kernel.left._kept
    assert kernel.left._rows == (None, {})
    close(kernel._matmat(V), true)
    assert kernel.left._kept
    close(ns.ntk(net, X_TEST).to_dense(), kernel_of(net.module, X_TEST))


def test_other_parameters_functions_and_points_are_other_sides(net):
    first = ns.ntk(net, X)
    for other in (
        ns.ntk(net, X, layer="readout*"),
        ns.ntk(net, X, outputs=1),
        ns.ntk(net, X[:8]),
        ns.ntk(net, X.flip(0)),
        ns.ntk(net.with_weights([2 * W for W in net.weights]), X),
    ):
        assert other.left is not first.left
    with torch.no_grad():
        net.module.readout.weight.mul_(2)
    close(ns.ntk(net, X).to_dense(), kernel_of(net.module, X))
    assert ns.ntk(net, X).left is not first.left


def test_points_that_were_written_to_are_others(net):
    """The points that an array held when a kernel was made, and that it holds now, have kernels of their own."""
    given = X.numpy().copy()
    before = given.copy()
    held = ns.ntk(net, given)
    given[:] = X_TEST.numpy()[[0, 1, 2, 3, 4, 0, 1, 2, 3]]
    now = ns.ntk(net, given)
    as_before = ns.ntk(net, before)
    assert now.left is not held.left
    close(now.to_dense(), kernel_of(net.module, torch.from_numpy(given)))
    close(as_before.to_dense(), kernel_of(net.module, X))


def test_nothing_is_kept_once_no_kernel_is_left(net):
    side = weakref.ref(ns.ntk(net, X).left)
    gc.collect()
    assert side() is None


def test_kernels_of_jax_share_the_gradients_of_their_points():
    pytest.importorskip("jax", reason="JAX is not installed")
    import jax_networks as networks

    function, params, points = networks.mlp(np.random.default_rng(0))
    net = ns.from_jax(function, params)
    mean, test = ns.ntk(net, points), ns.ntk(net, points[:2] + 1.0, points.copy(), outputs="full")
    assert mean.left is test.right
    J, J_test = (np.concatenate(networks.jacobian(function, params, at), axis=2) for at in (points, points[:2] + 1.0))
    close(mean.to_dense(), np.einsum("ikp,jkp->ij", J, J) / J.shape[1])
    close(test.to_dense(), np.einsum("ikp,jlp->ikjl", J_test, J).reshape(len(J_test) * J.shape[1], -1))
    side = weakref.ref(test.right)
    del mean, test
    assert side() is None  # at once, not when garbage is next collected


def test_many_vectors_are_multiplied_some_at_a_time(net, monkeypatch):
    """Two of seven, which is as many as have room."""
    kernel = ns.ntk(net, X_TEST, X, outputs="full")
    V = np.random.default_rng(0).standard_normal((kernel.shape[1], 7))
    found, true = kernel._matmat(V), kernel_of(net.module, X_TEST, "full", X) @ V
    monkeypatch.setattr(gram, "TANGENT_BYTES", 2 * gram.COPIES * 8.0 * kernel.left.size)
    close(found, true)
    close(kernel._matmat(V), true)


def test_gradients_that_have_to_be_made_are_told_by_a_bar(net, monkeypatch):
    told = []
    monkeypatch.setattr(factored.progress, "bar", lambda items, text: told.append(text) or items)
    test = ns.ntk(net, X_TEST, X)
    test._matmat(np.ones((9, 1)))
    assert told == 2 * ["gradients (blocks of points)"]  # of training points, and of test points
    test._matmat(np.ones((9, 1)))
    assert len(told) == 2
