"""Deep networks against plain definitions and autograd: outputs, both directions of the derivative, and the NTK."""

import itertools

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import jacobian
from autograd.scipy.special import erf
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.networks import DeepNetwork
from ntkspec.networks.layers import Patches
from ntkspec.operators import HadamardGram, JacobianGram, LinearCombination

PHI = {"erf": erf, "tanh": anp.tanh, "sin": anp.sin, "relu": lambda z: anp.where(z >= 0, z, 0.0)}


def dense(weights, phi, x):
    """One chain of a fully-connected network on one point, written out."""
    for W in weights[:-1]:
        x = phi(W @ x / anp.sqrt(W.shape[1]))
    return (weights[-1] @ x)[0] / anp.sqrt(weights[-1].shape[1])


def convolved(weights, phi, x, shape, size):
    """One chain of a convolutional network on one point: sums over the filter at each position."""
    space, image = shape[:-1], anp.reshape(x, shape)
    for W in weights[:-1]:
        c, found = image.shape[-1], []
        for position in np.ndindex(*space):
            total = 0.0
            for j, offset in enumerate(np.ndindex(*size)):
                where = tuple((p + o) % s for p, o, s in zip(position, offset, space, strict=True))
                total = total + W[:, j * c : (j + 1) * c] @ image[where]
            found.append(phi(total / anp.sqrt(W.shape[1])))
        image = anp.reshape(anp.array(found), (*space, W.shape[0]))
    return (weights[-1] @ anp.reshape(image, -1))[0] / anp.sqrt(weights[-1].shape[1])


def reference(net):
    """f(flat parameters, x) of the network, through autograd's NumPy."""
    shapes = [W.shape for W in net.parameters]
    ends = np.cumsum([0, *(W.size for W in net.parameters)])
    phi = PHI[net.activation.name]

    def chain(weights, x):
        if isinstance(net, ns.FullyConnected):
            return dense(weights, phi, x)
        return convolved(weights, phi, x, net.shape, net.filter_size)

    def function(flat, x):
        weights = [anp.reshape(flat[a:b], s) for (a, b), s in zip(itertools.pairwise(ends), shapes, strict=True)]
        if len(weights) == net.n_weights:
            return chain(weights, x)
        return (chain(weights[: net.n_weights], x) - chain(weights[net.n_weights :], x)) / np.sqrt(2)

    return function


def flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


names = st.sampled_from(sorted(PHI))


@st.composite
def networks(draw):
    """Small networks of every kind; a paired one has moved from its start, so that its chains differ."""
    name, paired, seed = draw(names), draw(st.booleans()), draw(st.integers(0, 99))
    widths = draw(st.lists(st.integers(1, 3).map(lambda w: 2 * w), min_size=1, max_size=3))
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        d = draw(st.integers(1, 4))
        make = ns.FullyConnected.paired if paired else ns.FullyConnected.random
        net = make(d, widths, name, seed=seed)
    else:
        space = draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
        shape = (*space, draw(st.integers(1, 2)))
        size = tuple(draw(st.integers(1, s)) for s in space)
        make = ns.Convolutional.paired if paired else ns.Convolutional.random
        net = make(shape, widths[:2], name, filter_size=size, seed=seed)
    moved = [W + 0.1 * rng.standard_normal(W.shape) for W in net.parameters]
    return net.with_parameters(moved)


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(1, 4))
def test_outputs_and_derivatives_agree_with_autograd(net, n):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, net.dim))
    function, parameters = reference(net), flat(net.parameters)
    J = np.array([jacobian(function)(parameters, x) for x in X])
    assert net(X) == pytest.approx(np.array([function(parameters, x) for x in X]), abs=1e-12)
    tangents = [rng.standard_normal(W.shape) for W in net.parameters]
    cotangent = rng.standard_normal(n)
    assert net.jvp(X, tangents) == pytest.approx(J @ flat(tangents), abs=1e-10)
    assert flat(net.vjp(X, cotangent)) == pytest.approx(J.T @ cotangent, abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(1, 4))
def test_the_ntk_agrees_with_autograd_layer_by_layer_and_in_every_form(net, n):
    rng = np.random.default_rng(2)
    X, X2 = rng.standard_normal((n, net.dim)), rng.standard_normal((3, net.dim))
    function, parameters = reference(net), flat(net.parameters)
    J, J2 = (np.array([jacobian(function)(parameters, x) for x in points]) for points in (X, X2))
    owner = np.concatenate([np.full(W.size, k % net.n_weights) for k, W in enumerate(net.parameters)])
    for layer in ("all", *range(net.n_weights)):
        own = np.ones(len(owner), bool) if layer == "all" else owner == layer
        K, rectangle = ns.ntk(net, X, layer=layer), ns.ntk(net, X, X2, layer=layer)
        exact, exact2 = J[:, own] @ J[:, own].T, J[:, own] @ J2[:, own].T
        assert K.to_dense() == pytest.approx(exact, abs=1e-10)
        assert K._matmat(np.eye(n)) == pytest.approx(exact, abs=1e-10)
        assert K.diagonal() == pytest.approx(np.diag(exact), abs=1e-10)
        assert rectangle.to_dense() == pytest.approx(exact2, abs=1e-10)
        assert rectangle._matmat(np.eye(3)) == pytest.approx(exact2, abs=1e-10)
        assert rectangle.T.to_dense() == pytest.approx(exact2.T, abs=1e-10)
        assert K.rounding.norm_of_absolute >= np.linalg.norm(exact, 2) * (1 - 1e-9)


@pytest.mark.parametrize("name", sorted(PHI))
def test_one_hidden_layer_is_the_two_layer_network(name):
    deep = ns.FullyConnected.paired(4, 10, name, seed=3)
    (W, v), X = deep.parameters[:2], np.random.default_rng(0).standard_normal((9, 4))
    two = ns.TwoLayer(np.concatenate([W, W]), np.concatenate([v[0], -v[0]]), name)
    assert np.abs(deep(X)).max() < 1e-14
    for layer, number in (("first", 0), ("second", 1), ("both", "all")):
        expected = ns.ntk(two, X, layer=layer).to_dense()
        assert ns.ntk(deep, X, layer=number).to_dense() == pytest.approx(expected, abs=1e-12)
        assert ns.ntk(deep, X, layer=layer).to_dense() == pytest.approx(expected, abs=1e-12)


def test_a_filter_of_one_position_per_input_is_a_dense_network_at_each():
    """Filters as long as the input, one channel: every position sees all of it, rotated."""
    net = ns.Convolutional.random((5, 1), 6, "erf", filter_size=5, seed=1)
    X = np.random.default_rng(0).standard_normal((3, 5))
    W, V = net.parameters
    outputs = [
        sum(
            (V.reshape(5, 6)[i] * net.activation(np.roll(x, -i) @ W.T / np.sqrt(5))).sum() for i in range(5)
        ) / np.sqrt(30)
        for x in X
    ]  # fmt: skip
    assert net(X) == pytest.approx(outputs, abs=1e-13)


@pytest.mark.parametrize("size", [(2,), (3,), (2, 3), (1, 1)])
def test_patches_and_their_adjoint(size):
    """<patches x, y> = <x, patches* y>."""
    rng, layer = np.random.default_rng(0), Patches(size)
    space = (4,) if len(size) == 1 else (3, 4)
    x = rng.standard_normal((2, *space, 2))
    y, _ = layer.forward(None, x)
    other = rng.standard_normal(y.shape)
    assert np.vdot(y, other) == pytest.approx(np.vdot(x, layer.vjp(None, None, other)), abs=1e-12)


@pytest.mark.parametrize("make", [ns.FullyConnected, ns.Convolutional], ids=["dense", "convolutional"])
def test_paired_networks_start_at_zero_with_the_kernel_of_one_chain(make):
    if make is ns.FullyConnected:
        paired = make.paired(6, [8, 12], "erf", seed=2)
        single = make.random(6, [4, 6], "erf", seed=2)
    else:
        paired = make.paired((3, 2), [8, 12], "erf", filter_size=2, seed=2)
        single = make.random((3, 2), [4, 6], "erf", filter_size=2, seed=2)
    X = np.random.default_rng(0).standard_normal((7, 6))
    assert not paired(X).any()
    assert ns.ntk(paired, X).to_dense() == pytest.approx(ns.ntk(single, X).to_dense(), abs=1e-13)
    kind = JacobianGram if make is ns.Convolutional else LinearCombination
    assert isinstance(ns.ntk(paired, X), kind)


def test_wide_networks_approach_one_kernel():
    """The fluctuation of the NTK falls like 1/sqrt m."""
    X = np.random.default_rng(0).standard_normal((6, 5))
    spread = []
    for width in (16, 256):
        kernels = [ns.ntk(ns.FullyConnected.random(5, [width] * 2, "erf", seed=s), X).to_dense() for s in range(12)]
        spread.append(np.std(kernels, axis=0).mean())
    assert 2 < spread[0] / spread[1] < 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spectra_and_predictions_of_deep_kernels(dtype):
    """Every tool takes these operators; training that is short and wide follows the prediction."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 12)).astype(dtype), rng.choice([-1.0, 1.0], 60).astype(dtype)
    for net in (
        ns.FullyConnected.paired(12, [32, 32], "erf", dtype=dtype),
        ns.Convolutional.paired((6, 2), [8, 8], "erf", filter_size=3, dtype=dtype),
    ):
        theta = ns.ntk(net, X)
        exact = np.linalg.norm(theta.to_dense(np.float64), 2)
        norm = ns.spectral_norm(theta)
        tolerance = 1e-5 if dtype == np.float32 else 1e-9
        assert norm.lower <= exact * (1 + tolerance)
        assert exact <= norm.upper * (1 + tolerance)
        assert theta.dtype == theta.to_dense().dtype == (theta @ y).dtype == dtype
        predicted = ns.predict_gd(theta, y, eta=0.1, steps=[0, 10], kernel_test=ns.ntk(net, X[:4] + 1, X))
        assert predicted.test.shape == (2, 4)


def test_rows_in_many_blocks_give_the_same(monkeypatch):
    from ntkspec.networks import deep

    net = ns.FullyConnected.random(5, [7, 6], "tanh")
    X, cotangent = np.random.default_rng(0).standard_normal((900, 5)), np.random.default_rng(1).standard_normal(900)
    whole = net(X), net.vjp(X, cotangent), net.jvp(X, net.parameters)
    monkeypatch.setattr(deep, "BLOCK", 1)
    assert net(X) == pytest.approx(whole[0], abs=1e-14)
    assert flat(net.vjp(X, cotangent)) == pytest.approx(flat(whole[1]), abs=1e-12)
    assert net.jvp(X, net.parameters) == pytest.approx(whole[2], abs=1e-13)


def test_hadamard_terms_are_used_for_dense_networks():
    net = ns.FullyConnected.random(5, [4, 3], "erf")
    kinds = [type(operator) for _, operator in ns.ntk(net, np.ones((2, 5))).terms]
    assert kinds.count(HadamardGram) == 2
    assert len(kinds) == 3


def test_bad_input_is_refused():
    net = ns.FullyConnected.random(5, [4, 6], "erf")
    X = np.ones((3, 5))
    assert isinstance(net, DeepNetwork)
    with pytest.raises(ValueError, match="X has 4 columns, but 5 are needed to fit the network"):
        net(X[:, :4])
    with pytest.raises(ValueError, match="even number such as 4"):
        ns.FullyConnected.paired(5, [4, 3], "erf")
    with pytest.raises(ValueError, match="widths is empty"):
        ns.FullyConnected.random(5, [], "erf")
    for wrong in (4.0, [4, 2.5]):
        with pytest.raises(ValueError, match=r"widths=(4.0|2.5), but a whole number"):
            ns.FullyConnected.random(5, wrong, "erf")
    with pytest.raises(ValueError, match=r"filter_size=2.0, but a whole number"):
        ns.Convolutional.random((3, 1), 4, "erf", filter_size=2.0)
    with pytest.raises(ValueError, match="filter_size=4 is larger"):
        ns.Convolutional.random((3, 1), 4, "erf", filter_size=4)
    for wrong in ((3,), 3):
        with pytest.raises(ValueError, match="shape="):
            ns.Convolutional.random(wrong, 4, "erf", filter_size=2)
    with pytest.raises(ValueError, match="need 2 sizes"):
        ns.Convolutional.random((3, 3, 1), 4, "erf", filter_size=(2,))
    with pytest.raises(ValueError, match=r"from 0 \(first\) to 2 \(last\)"):
        ns.ntk(net, X, layer=3)
    with pytest.raises(ValueError, match=r"layer='both' .* pass layer='all'"):
        ns.ntk(net, X, layer="both")
    with pytest.raises(ValueError, match="layer='second'"):
        ns.ntk(net, X, layer="second")
    with pytest.raises(ValueError, match="are needed, once or"):
        ns.FullyConnected([np.ones((4, 5)), np.ones((1, 3))], "erf")
    with pytest.raises(TypeError, match="dtypes"):
        ns.FullyConnected([np.ones((4, 5)), np.ones((1, 4), np.float32)], "erf")
    with pytest.raises(ValueError, match="tangents of shapes"):
        net.jvp(X, net.parameters[:1])
    with pytest.raises(ValueError, match="cotangent has shape"):
        net.vjp(X, np.ones(2))
    with pytest.raises(TypeError, match="float32 or float64"):
        ns.FullyConnected.random(5, 4, "erf", dtype=np.float16)


def test_a_tile_of_many_columns_holds_the_activations_of_few(monkeypatch):
    net = ns.Convolutional.random((6, 2), 5, "erf", filter_size=3, seed=0)
    X = np.random.default_rng(0).standard_normal((30, 12))
    kernel, most = ns.ntk(net, X), []
    monkeypatch.setattr(kernel.engine, "TILE", 8)
    parts = kernel.left.function.parts
    kernel.left.function.parts = lambda points: most.append(len(points)) or parts(points)
    expected = kernel @ np.eye(30)
    assert kernel.tile(np.array([3, 11]), slice(2, 29)) == pytest.approx(expected[[3, 11], 2:29], abs=1e-13)
    assert max(most) == 8
