"""Gradient descent of networks that are not the package's own: several outputs, points of any form, their expansion."""

import copy
from functools import partial

import numpy as np
import pytest

import ntkspec as ns
from conftest import Interrupt
from ntkspec import storage
from ntkspec.dynamics.batches import Batches
from ntkspec.experiments.results import Copies
from ntkspec.networks import IndependentOutputs
from ntkspec.training import accuracy
from several_outputs import Perceptron

# PyTorch's forward derivatives warn of what they import themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

STEPS = [0, 1, 2, 30]


def setting(n=12, d=3, width=7, K=4, seed=0, flat=False):
    """(network, X, y): outputs of size one that are not zero at the start, and y like them."""
    rng, net = np.random.default_rng(seed), Perceptron.random(d, width, K, seed=seed, flat=flat)
    net = net.with_weights([net.A, net.B / width**0.5])
    y = rng.uniform(-1, 1, (n, K))
    return net, rng.standard_normal((n, d)), y[:, 0] if flat else y


def sgd(net, X, y, eta, *, read=lambda outputs: outputs, batches=None):
    """The outputs at STEPS, and the weights, of PyTorch's own autograd and optimizer on the same function."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; gradients are compared with its autograd")
    A, B = (torch.tensor(W, requires_grad=True) for W in net.weights)
    X, y, found = torch.tensor(X), torch.tensor(y), []
    optimizer = torch.optim.SGD([A, B], lr=eta)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            with torch.no_grad():
                found.append(read(torch.tanh(X @ A.T) @ B.T).numpy().copy())
        rows = slice(None) if batches is None else batches.rows(step)
        optimizer.zero_grad()
        loss = ((read(torch.tanh(X[rows] @ A.T) @ B.T) - y[rows]) ** 2).sum() / (2 * len(y[rows]))
        loss.backward()
        last = [W.detach().numpy().copy() for W in (A, B)]
        optimizer.step()
    return np.array(found), last


# --------------------------------------------------------------------------------------------- against PyTorch's own
@pytest.mark.parametrize("batch", [None, 5])
def test_all_outputs_train_as_by_autograd(batch):
    net, X, y = setting()
    before = [W.copy() for W in net.weights]
    outputs, weights = sgd(net, X, y, 0.3, batches=batch and Batches(len(X), batch, 4))
    found = ns.train_gd(net, X, y, eta=0.3, steps=STEPS, X_test=X[::-1], batch=batch, seed=4)
    assert found.train.shape == (4, 12, 4)
    assert np.abs(found.train - outputs).max() <= 1e-10
    assert np.abs(found.test - outputs[:, ::-1]).max() <= 1e-10
    for mine, own, start in zip(found.network.weights, weights, before, strict=True):
        assert np.abs(mine - own).max() <= 1e-10
        assert np.abs(mine - start).max() > 1e-3
    assert all(np.array_equal(*pair) for pair in zip(net.weights, before, strict=True))


@pytest.mark.parametrize(("chosen", "weights"), [(2, [0, 0, 1, 0]), ([0.5, -1.0, 0.0, 2.0], [0.5, -1.0, 0.0, 2.0])])
def test_one_function_of_the_outputs_trains_alone(chosen, weights):
    net, X, y = setting()
    of = np.array(weights, float)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; gradients are compared with its autograd")
    outputs, last = sgd(net, X, y[:, 0], 0.1, read=lambda f: f @ torch.tensor(of))
    found = ns.train_gd(net, X, y[:, 0], eta=0.1, steps=STEPS, X_test=X[:3], outputs=chosen)
    assert found.train.shape == (4, 12)
    assert np.abs(found.train - outputs).max() <= 1e-10
    assert np.abs(found.test - outputs[:, :3]).max() <= 1e-10
    assert found.network(X).shape == (12, 4), "the network has all its outputs"
    assert all(np.abs(mine - own).max() <= 1e-10 for mine, own in zip(found.network.weights, last, strict=True))


def test_one_output_is_one_with_or_without_an_axis():
    flat, X, y = setting(K=1, flat=True)
    column = Perceptron(flat.A, flat.B)
    whole = ns.train_gd(flat, X, y, eta=0.2, steps=STEPS)
    for net, labels in ((column, y), (column, y[:, None]), (flat, y[:, None])):
        found = ns.train_gd(net, X, labels, eta=0.2, steps=STEPS, X_test=X[:2])
        assert found.train.shape == (4, *labels.shape)
        assert found.train.reshape(4, -1) == pytest.approx(whole.train, abs=1e-13)
        assert found.test.reshape(4, -1) == pytest.approx(whole.train[:, :2], abs=1e-13)


# -------------------------------------------------------------------------------------------- predicted against real
def test_one_step_is_the_kernel_step_up_to_second_order():
    net, X, y = setting()
    theta, start, etas = ns.ntk(net, X, outputs="full").to_dense(), net(X), np.array([0.2, 0.1, 0.05, 0.025])
    errors = []
    for eta in etas:
        predicted = start.ravel() - eta / len(X) * theta @ (start - y).ravel()
        errors.append(np.abs(ns.train_gd(net, X, y, eta=eta, steps=[1]).train[0].ravel() - predicted).max())
    slopes = np.diff(np.log(errors)) / np.diff(np.log(etas))
    assert ((slopes > 1.9) & (slopes < 2.1)).all()


def test_wide_networks_follow_their_expansion_and_narrow_ones_leave_it():
    distances, (_, X, y) = [], setting()
    for width in (8, 1024):
        net = ns.TwoLayer.random(3, width, "erf", seed=1)
        predicted = ns.predict_gd(ns.ntk(net, X), y[:, 0], eta=0.5, steps=[0, 1, 300], start=net(X)).train
        real, linear = (
            ns.train_gd(one, X, y[:, 0], eta=0.5, steps=[0, 1, 300]).train for one in (net, ns.linearize(net))
        )
        assert np.array_equal(real[0], linear[0])
        assert np.abs(linear - predicted).max() < 1e-10
        distances.append(np.abs(real - linear).max(axis=1)[1:])
    assert (distances[0] > 10 * distances[1]).all()
    assert distances[0][1] > 0.1 > 0.01 > distances[1][1]


NETWORKS = {
    "two layers": lambda: ns.TwoLayer.random(3, 8, "erf", second="normal"),
    "fully connected": lambda: ns.FullyConnected.random(3, [5, 4], "tanh"),
    "convolutional": lambda: ns.Convolutional.random((3, 1), [3, 2], "erf", filter_size=2),
    "a user's": lambda: setting(K=1, flat=True)[0],
    "a user's of several outputs": lambda: setting()[0],
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_expansion_trains_as_its_kernel_predicts(kind):
    net, (_, X, y) = NETWORKS[kind](), setting()
    y = y if net.n_outputs else y[:, 0]
    linear, (X, new) = ns.linearize(net), (X[:9], X[9:])
    found = ns.train_gd(linear, X, y[:9], eta=0.4, steps=STEPS, X_test=new)
    theta, theta_new = ns.ntk(net, X, outputs="full"), ns.ntk(net, new, X, outputs="full")
    predicted = ns.predict_gd(theta, y[:9], eta=0.4, steps=STEPS, kernel_test=theta_new, start=(net(X), net(new)))
    assert np.abs(found.train - predicted.train).max() <= 1e-10
    assert np.abs(found.test - predicted.test).max() <= 1e-10
    assert np.abs(found.network(new) - found.test[-1]).max() <= 1e-12
    assert np.array_equal(ns.ntk(found.network, X, outputs="full").to_dense(), theta.to_dense())
    again = ns.linearize(found.network)
    assert np.abs(again(X) - found.train[-1]).max() <= 1e-12


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_expansion_is_the_tangent(kind):
    """Its outputs differ from those of the network by the second order of the step; both have one gradient."""
    net, (_, X, _) = NETWORKS[kind](), setting()
    linear, rng = ns.linearize(net), np.random.default_rng(1)
    direction = [rng.standard_normal(W.shape) for W in net.weights]
    apart = []
    for size in (1e-2, 1e-3):
        moved = [W + size * t for W, t in zip(net.weights, direction, strict=True)]
        apart.append(np.abs(net.with_weights(moved)(X) - linear.with_weights(moved)(X)).max())
    assert 60 < apart[0] / apart[1] < 160
    ones = [one.value_and_vjp(X, lambda rows, f: np.ones_like(f)) for one in (net, linear)]
    assert np.array_equal(ones[0][0], ones[1][0])
    assert all(np.array_equal(*pair) for pair in zip(ones[0][1], ones[1][1], strict=True))


@pytest.mark.parametrize("kind", ["two layers", "fully connected"])
def test_expansions_and_functions_of_outputs_train_on_a_card(kind, gpu):
    net, (_, X, y) = NETWORKS[kind](), setting()
    there, how = net.to("gpu"), {"eta": 0.3, "steps": STEPS, "watch": ns.weight_movement}
    for make, more in ((ns.linearize, {}), (lambda one: one, {"outputs": [2.0]}), (ns.linearize, {"batch": 5})):
        here, found = (
            ns.train_gd(make(one), points, labels, X_test=points[:2], **how, **more)
            for one, points, labels in ((net, X, y[:, 0]), (there, gpu.xp.asarray(X), gpu.xp.asarray(y[:, 0])))
        )
        assert type(found.train) is gpu.xp.ndarray
        assert np.abs(gpu.to_host(found.train) - here.train).max() <= 1e-11
        assert np.abs(gpu.to_host(found.test) - here.test).max() <= 1e-11
        assert set(found.watched) == set(here.watched)
        signs = np.sign(y[:, 0])
        assert np.array_equal(accuracy(found.train, gpu.xp.asarray(signs)), accuracy(here.train, signs))


def test_an_expansion_stays_where_the_network_was():
    """Weights that a user's own loop changes in place."""
    net, X, _ = setting()
    linear, before = ns.linearize(net), net(X)
    net.A += 1.0
    assert np.array_equal(linear(X), before)
    with pytest.raises(TypeError, match="linearize of a str is not available"):
        ns.linearize("net")


# ------------------------------------------------------------------------------------------ one network for each class
@pytest.mark.parametrize("how", [{}, {"batch": 5}, {"subtract_start": True}])
def test_labels_of_several_columns_train_a_copy_for_each(how):
    net, (_, X, y) = ns.TwoLayer.random(3, 6, "erf", second="normal"), setting()
    rates = {"eta1": 0.3, "eta2": 0.7, "steps": STEPS}
    whole = ns.train_gd(net, X, y, X_test=X[:5], watch=[ns.weight_movement, ns.kernel_drift], **rates, **how)
    alone = [ns.train_gd(net, X, labels, X_test=X[:5], **rates, **how) for labels in y.T]
    assert np.array_equal(whole.train, np.stack([one.train for one in alone], axis=2))
    assert np.array_equal(whole.test, np.stack([one.test for one in alone], axis=2))
    for mine, one in zip(whole.network.networks, alone, strict=True):
        assert np.array_equal(mine.W, one.network.W)
    assert np.array_equal(whole.network(X), np.stack([one.network(X) for one in alone], axis=1))
    assert whole.watched["weight movement 0"].shape == (4,)
    assert whole.watched["kernel drift"][-1] > 0


def test_copies_are_predicted_together_and_one_by_one():
    """At the start by one kernel of points; later, when they differ, by their kernel of all outputs."""
    net, (_, X, y) = ns.TwoLayer.random(3, 6, "erf", second="normal"), setting()
    half = ns.train_gd(net, X, y, eta=1.0, steps=[30]).network
    start, linear = half(X), ns.train_gd(ns.linearize(half), X, y, eta=0.3, steps=STEPS).train
    together = ns.predict_gd(ns.ntk(half, X, outputs="full"), y, eta=0.3, steps=STEPS, start=start).train
    assert np.abs(together - linear).max() <= 1e-10
    alone = ns.predict_gd(ns.ntk(half, X, outputs=2), y[:, 2], eta=0.3, steps=STEPS, start=start[:, 2]).train
    assert np.abs(together[:, :, 2] - alone).max() <= 1e-10


def test_copies_go_on_from_where_they_are():
    net, (_, X, y) = ns.FullyConnected.random(3, [5, 4], "erf"), setting()
    whole = ns.train_gd(net, X, y, eta=0.5, steps=[9])
    half = ns.train_gd(net, X, y, eta=0.5, steps=[4]).network
    found = ns.train_gd(half, X, y, eta=0.5, steps=[5])
    assert np.array_equal(found.train, whole.train)
    assert repr(half) == "IndependentOutputs(4 of FullyConnected(d=3, widths=[5, 4], activation='erf'))"


def test_independent_outputs_are_a_network_of_several():
    """Outputs, both directions of the derivative and kernels, against the networks one by one."""
    nets, (_, X, u) = [ns.TwoLayer.random(3, 6, "erf", seed=k) for k in range(4)], setting()
    net = IndependentOutputs(nets)
    outputs, gradient = net.value_and_vjp(X, lambda rows, f: u[rows] * f)
    tangents = [np.random.default_rng(k).standard_normal(W.shape) for k, W in enumerate(net.weights)]
    inner = sum((own * t).sum() for own, t in zip(gradient, tangents, strict=True))
    assert inner == pytest.approx((u * outputs * net.jvp(X, tangents)).sum(), rel=1e-12)
    kernels = [ns.ntk(one, X).to_dense() for one in nets]
    assert ns.ntk(net, X).to_dense() == pytest.approx(sum(kernels) / 4, abs=1e-14)
    assert ns.ntk(net, X, outputs="trace").to_dense() == pytest.approx(sum(kernels), abs=1e-14)
    assert ns.ntk(net, X, outputs=2).to_dense() == pytest.approx(kernels[2], abs=1e-14)
    assert ns.ntk(net, X, outputs=[0, 2.0, 0, 1.0]).to_dense() == pytest.approx(4 * kernels[1] + kernels[3], abs=1e-14)
    full = np.zeros((12, 4, 12, 4))
    full[:, range(4), :, range(4)] = kernels
    assert ns.ntk(net, X, outputs="full").to_dense() == pytest.approx(full.reshape(48, 48), abs=1e-14)
    with pytest.raises(ValueError, match="of one output each are needed"):
        IndependentOutputs([setting()[0]])


def test_trajectories_keep_their_copies_in_files(tmp_path):
    (net, X, y), path = setting(), tmp_path / "run.h5"
    run = ns.train_gd(ns.Convolutional.random((3, 1), 2, "relu", filter_size=2), X, y, eta=0.1, steps=[0, 3])
    ns.save_result(run, path)
    found = ns.load_result(path)
    assert np.array_equal(found.train, run.train)
    assert np.array_equal(found.network(X), run.network(X))
    for networks in (3, [], [2.0]):
        storage.write(path, Copies(networks), kind="result")
        with pytest.raises(ValueError, match=r"run.h5 holds no network$"):
            ns.load_result(path)
    with pytest.raises(TypeError, match=r"a Perceptron is code, .*; save dataclasses.replace\(result, network=None\)"):
        ns.save_result(ns.train_gd(net, X, y, eta=0.1, steps=[1]), path)


# ---------------------------------------------------------------------------------------------- points of any form
class Tagger:
    """f(x) = tanh(x + E[tag]) Bᵀ on points {"x": (n, d), "tag": (n,) whole numbers}, or tuples of these."""

    n_outputs, dtype, flops = 2, np.dtype(float), 1.0

    def __init__(self, E, B):
        self.weights = [E, B]

    def with_weights(self, weights):
        other = copy.copy(self)
        other.weights = list(weights)
        return other

    def as_points(self, points, name="X"):
        return points

    def _parts(self, points):
        x, tags = (points["x"], points["tag"]) if isinstance(points, dict) else points
        return np.tanh(x + self.weights[0][tags]), tags

    def __call__(self, points):
        return self._parts(points)[0] @ self.weights[1].T

    def value_and_vjp(self, points, cotangent):
        hidden, tags = self._parts(points)
        outputs = hidden @ self.weights[1].T
        given, of_E = cotangent(slice(0, len(tags)), outputs), np.zeros_like(self.weights[0])
        np.add.at(of_E, tags, (given @ self.weights[1]) * (1 - hidden**2))
        return outputs, [of_E, given.T @ hidden]

    def kernel(self, points, points2=None, *, layer, outputs):
        raise NotImplementedError


def tagged(n=11):
    rng = np.random.default_rng(0)
    points = {"x": rng.standard_normal((n, 3)), "tag": rng.integers(0, 5, n)}
    return Tagger(rng.standard_normal((5, 3)), rng.standard_normal((2, 3))), points, rng.uniform(-1, 1, (n, 2))


@pytest.mark.parametrize("form", [dict, tuple])
def test_points_may_be_tuples_and_dicts(form, tmp_path):
    net, points, y = tagged()
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; gradients are compared with its autograd")
    x, tags = torch.tensor(points["x"]), torch.tensor(points["tag"])
    E, B = (torch.tensor(W, requires_grad=True) for W in net.weights)
    order = Batches(11, 4, 0)
    for step in range(7):
        rows = order.rows(step)
        loss = ((torch.tanh(x[rows] + E[tags[rows]]) @ B.T - torch.tensor(y[rows])) ** 2).sum() / (2 * len(rows))
        for W, gradient in zip((E, B), torch.autograd.grad(loss, [E, B]), strict=True):
            W.data -= 0.3 * gradient
    given = points if form is dict else tuple(points.values())
    few = {name: part[:3] for name, part in points.items()} if form is dict else tuple(part[:3] for part in given)
    how = {"eta": 0.3, "steps": [0, 7], "X_test": few, "batch": 4, "checkpoint": tmp_path / "run.h5"}
    found = ns.train_gd(net, given, y, **how)
    for mine, own in zip(found.network.weights, (E, B), strict=True):
        assert np.abs(mine - own.detach().numpy()).max() <= 1e-10
    assert found.test == pytest.approx(found.train[:, :3], abs=1e-14)
    assert np.array_equal(ns.train_gd(net, given, y, **how).train, found.train)
    other = {name: part[::-1] for name, part in points.items()} if form is dict else tuple(p[::-1] for p in given)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(net, other, y, **how)


# --------------------------------------------------------------------------------------------------------- checkpoints
@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("kind", ["a user's", "expansion", "copies"])
def test_an_interrupted_run_ends_with_the_same_bits(kind, batch, tmp_path):
    net, X, y = setting()
    net = {"a user's": net, "expansion": ns.linearize(net), "copies": ns.TwoLayer.random(3, 6, "erf")}[kind]
    how = {"eta": 0.3, "steps": [0, 1, 4, 9, 12], "X_test": X[:4], "batch": batch}

    def watched(call):
        return Interrupt(call, value=lambda now: float(now(X[:1]).sum()))

    whole = ns.train_gd(net, X, y, watch=watched(0), **how)
    for call in (3, 2):
        with pytest.raises(KeyboardInterrupt):
            ns.train_gd(net, X, y, watch=watched(call), checkpoint=tmp_path / "run.h5", **how)
    found = ns.train_gd(net, X, y, watch=watched(0), checkpoint=tmp_path / "run.h5", **how)
    for one, other in ((found.train, whole.train), (found.test, whole.test)):
        assert np.array_equal(one, other)
    assert all(np.array_equal(*pair) for pair in zip(found.network.weights, whole.network.weights, strict=True))
    assert np.array_equal(found.watched["output"], whole.watched["output"])


class Sine(Perceptron):
    """Another function of the same weights, which says nothing of it."""

    def __call__(self, points):
        return np.sin(points @ self.A.T) @ self.B.T

    def __repr__(self):
        return f"{Perceptron.__module__}.Perceptron object at {id(self):#x}"


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    net, X, y = setting()
    how = {"eta": 0.1, "steps": [0, 3], "checkpoint": tmp_path / "run.h5"}
    ns.train_gd(net, X, y, **how)
    for other in (Sine(net.A, net.B), net.with_weights([net.A, net.B + 1e-9]), ns.linearize(net)):
        with pytest.raises(ValueError, match="checkpoint of another run"):
            ns.train_gd(other, X, y, **how)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(net, X, y[:, 0], outputs=0, **how)
    ns.train_gd(copy.deepcopy(net), X, y, **how)


# --------------------------------------------------------------------------------------------------- what is refused
def test_rates_outputs_and_labels_that_do_not_fit_are_told():
    (net, X, y), deep = setting(), ns.FullyConnected.random(3, [4], "erf")
    train = partial(ns.train_gd, X=X, steps=[1])
    for wrong in ({"eta1": 1.0}, {"eta1": 1.0, "eta2": 2.0}, {}):
        for one, labels in ((net, y), (deep, y), (deep, y[:, 0])):
            with pytest.raises(ValueError, match=rf"a {type(one).__name__} trains with one rate .*; pass eta$"):
                train(one, y=labels, **wrong)
    with pytest.raises(ValueError, match=r"y has shape \(12,\), but \(12, 4\) is needed, .*eye\(4\).*; outputs=, a n"):
        train(net, y=y[:, 0], eta=1.0)
    with pytest.raises(ValueError, match="y has 3 columns, but 4 are needed to fit the outputs of the network"):
        train(net, y=y[:, :3], eta=1.0)
    with pytest.raises(ValueError, match=r"y has shape \(12, 4\), but \(12,\) is needed"):
        train(net, y=y, eta=1.0, outputs=1)
    with pytest.raises(ValueError, match="outputs='mean', but training takes 'full'"):
        train(net, y=y, eta=1.0, outputs="mean")
    with pytest.raises(ValueError, match="outputs=4, but the network has 4, counted from 0 to 3"):
        train(net, y=y[:, 0], eta=1.0, outputs=4)
    with pytest.raises(ValueError, match=r"y has shape \(7,\), but \(12,\) is needed"):
        train(deep, y=np.ones(7), eta=1.0)
    with pytest.raises(ValueError, match="y holds 12 entries that are NaN or infinite"):
        train(net, y=np.where(np.arange(4) == 2, np.nan, y), eta=1.0)


def test_divergence_is_told_and_the_last_finite_network_is_there():
    net, X, y = setting()
    for one in (net, ns.linearize(net), ns.FullyConnected.random(3, [5], "relu")):
        with pytest.warns(RuntimeWarning, match="training diverged: outputs are no longer finite at step"):
            found = ns.train_gd(one, X, y, eta=1e5, steps=[0, 1, 400])
        assert np.isfinite(found.train[:2]).all()
        assert np.isnan(found.train[2]).all()
        assert np.isfinite(found.network(X)).all()


def test_outputs_less_those_at_the_start():
    net, X, y = setting()
    found = ns.train_gd(net, X, y, eta=0.3, steps=STEPS, X_test=X[:3], subtract_start=True)
    shifted = ns.train_gd(net, X, y + net(X), eta=0.3, steps=STEPS)
    assert not found.train[0].any()
    assert found.train == pytest.approx(shifted.train - net(X), abs=1e-14)
    assert found.test == pytest.approx(found.train[:, :3], abs=1e-14)


# -------------------------------------------------------------------------------------------------------------- metrics
def test_weights_move_by_name_and_as_matrices():
    class Named(Perceptron):
        @property
        def parameters(self):
            return {"hidden.weight": self.A, "filters": self.B}

    rng = np.random.default_rng(0)
    net = Named(rng.standard_normal((3, 4)), rng.standard_normal((2, 3, 5)))
    now = net.with_weights([net.A + 1.0, net.B + rng.standard_normal((2, 3, 5))])
    found = ns.weight_movement(net, now)
    assert found["weight movement hidden.weight"] == pytest.approx(12**0.5)
    assert found["weight movement filters"] == pytest.approx(np.linalg.norm((now.B - net.B).reshape(2, 15), 2))
    with pytest.raises(ValueError, match="one network, twice, is needed"):
        ns.weight_movement(net, net.with_weights([net.A[:2], net.B]))
    with pytest.raises(TypeError, match="one network, twice, is needed"):
        ns.weight_movement(net, Perceptron(net.A, net.B))
    with pytest.raises(TypeError, match="weight movement of a str is not available"):
        ns.weight_movement("net", "net")


def test_kernel_drift_of_several_outputs():
    net, X, y = setting()
    now = ns.train_gd(net, X, y, eta=0.3, steps=[20], watch=ns.kernel_drift).network
    for outputs in ("mean", "full", 1):
        drift = (ns.ntk(now, X, outputs=outputs) - ns.ntk(net, X, outputs=outputs)).to_dense()
        found = ns.kernel_drift(net, now, X, outputs=outputs)
        exact = np.linalg.norm(drift, 2)
        assert found["kernel drift lower"] <= exact * (1 + 1e-9)
        assert exact <= found["kernel drift upper"] * (1 + 1e-9)


def test_accuracy_counts_signs_and_largest_outputs():
    rng = np.random.default_rng(0)
    outputs, classes = rng.standard_normal((5, 40, 3)), rng.integers(0, 3, 40)
    expected = [np.mean([np.argmax(row) == k for row, k in zip(step, classes, strict=True)]) for step in outputs]
    assert accuracy(outputs, np.eye(3)[classes]) == pytest.approx(expected, abs=0)
    assert accuracy(outputs, 2 * np.eye(3, dtype=int)[classes] - 1) == pytest.approx(expected, abs=0)
    signs = np.where(classes == 1, 1, -1)
    right = [np.mean(np.sign(step[:, 0]) == signs) for step in outputs]
    assert accuracy(outputs[:, :, 0], signs) == pytest.approx(right, abs=0)
    assert accuracy(np.zeros((40, 3)), np.eye(3)[classes]) == pytest.approx(1 / 3)
    assert accuracy(np.zeros(40), signs) == 0.5
    assert np.isnan(accuracy(np.array([[np.nan, 1.0], [1.0, 1.0]]), [1, -1])).tolist() == [True, False]
    assert np.isnan(accuracy(np.full((1, 2, 2), np.nan), np.eye(2))).all()
    for wrong in ([0.0, 1.0], [[1.0, 1.0], [0.0, 1.0]]):
        with pytest.raises(ValueError, match="name no class"):
            accuracy(np.ones((2, 2)) if np.ndim(wrong) == 2 else np.ones(2), wrong)
    with pytest.raises(ValueError, match=r"outputs have shape \(3, 2\), but that of y, \(3,\)"):
        accuracy(np.ones((3, 2)), np.ones(3))


# ------------------------------------------------------------------------------------------------- PyTorch modules
KINDS = ["MLP", "ResNet", "transformer", "transformer with a head", "LSTM", "GRU"]


def module_of(kind):
    """(module, points, y) in float64, and PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; other networks are trained above")
    from networks import EXAMPLES

    module, points = EXAMPLES[kind].module(), torch.as_tensor(EXAMPLES[kind].points())
    y = torch.as_tensor(np.random.default_rng(0).uniform(-1, 1, tuple(module(points).shape)))
    return module, points, y, torch


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("kind", [*KINDS[:2], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[2:])])
def test_modules_train_as_by_sgd(kind, batch):
    module, points, y, torch = module_of(kind)
    before, n = copy.deepcopy(module.state_dict()), len(y)
    found = ns.train_gd(ns.from_torch(module), points, y, eta=0.003, steps=[0, 20], batch=batch, seed=1)
    assert all(bool((part == before[name]).all()) for name, part in module.state_dict().items())
    optimizer, order = torch.optim.SGD(module.parameters(), lr=0.003), batch and Batches(n, batch, 1)
    for step in range(20):
        rows = order.rows(step) if order else slice(None)
        optimizer.zero_grad()
        (((module(points[rows]) - y[rows]) ** 2).sum() / (2 * len(y[rows]))).backward()
        optimizer.step()
    assert np.abs(found.train[1] - module(points).detach().numpy()).max() <= 1e-10
    for mine, own in zip(found.network.weights, module.parameters(), strict=True):
        assert np.abs(mine - own.detach().numpy()).max() <= 1e-10
    again = module_of(kind)[0]
    trained = {name: torch.tensor(W) for name, W in found.network.parameters.items()}
    assert not again.load_state_dict(trained, strict=False).unexpected_keys
    assert np.abs(ns.from_torch(again)(points) - found.train[1]).max() <= 1e-12


@pytest.mark.parametrize("kind", [*KINDS[:2], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[2:])])
def test_modules_are_linearized(kind):
    module, points, y, _ = module_of(kind)
    net, errors = ns.from_torch(module), []
    linear, start, theta = ns.linearize(net), net(points), ns.ntk(net, points, outputs="full")
    largest = 0.01 * float(ns.largest_stable_rate(theta))
    for eta in (largest, largest / 2):
        real, tangent = (ns.train_gd(one, points, y, eta=eta, steps=[1, 15]).train for one in (net, linear))
        predicted = ns.predict_gd(theta, y, eta=eta, steps=[1, 15], start=start)
        assert np.abs(tangent - predicted.train).max() <= 1e-10
        errors.append(np.abs(real[0] - predicted.train[0]).max())
    assert 3.4 < errors[0] / errors[1] < 4.6


def test_modules_of_single_precision_train_in_it():
    module, points, y, _ = module_of("MLP")
    how = {"eta": 0.1, "steps": [0, 10], "outputs": 1}
    exact = ns.train_gd(ns.from_torch(module), points, y[:, 1], **how)
    found = ns.train_gd(ns.from_torch(copy.deepcopy(module).float()), points.numpy(), y[:, 1].numpy(), **how)
    assert found.train.dtype == found.network.weights[0].dtype == np.float32
    assert exact.train.dtype == np.float64
    assert np.abs(found.train - exact.train).max() <= 1e-4


def test_a_module_of_one_output_is_trained_for_each_column():
    _, points, y, torch = module_of("MLP")
    torch.manual_seed(0)
    net, how = ns.from_torch(torch.nn.Linear(points.shape[1], 1).double()), {"eta": 0.1, "steps": [0, 10]}
    found = ns.train_gd(net, points, y, **how)
    predicted = ns.predict_gd(ns.ntk(net, points), y, start=np.repeat(net(points), 3, axis=1), **how)
    assert np.abs(found.train - predicted.train).max() <= 1e-10, "a linear network follows its kernel"
    assert found.network(points) == pytest.approx(found.train[1], abs=1e-13)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("kind", ["transformer", "LSTM"])
def test_an_interrupted_module_ends_with_the_same_bits(kind, batch, tmp_path):
    module, points, y, _ = module_of(kind)
    how, path = {"eta": 0.003, "steps": [0, 3, 8], "batch": batch}, tmp_path / "run.h5"
    whole = ns.train_gd(ns.from_torch(module), points, y, watch=Interrupt(0, value=lambda now: 0.0), **how)
    watch = Interrupt(2, value=lambda now: 0.0)
    with pytest.raises(KeyboardInterrupt):
        ns.train_gd(ns.from_torch(module), points, y, watch=watch, checkpoint=path, **how)
    found = ns.train_gd(ns.from_torch(module), points, y, watch=watch, checkpoint=path, **how)
    assert watch.calls == 4
    assert np.array_equal(found.train, whole.train)
    assert all(np.array_equal(*pair) for pair in zip(found.network.weights, whole.network.weights, strict=True))
    next(module.parameters()).data[0] += 1e-9
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(ns.from_torch(module), points, y, watch=watch, checkpoint=path, **how)


# --------------------------------------------------------------------------------------------------- functions of JAX
def test_functions_of_jax_train_and_are_linearized(tmp_path):
    jnp = pytest.importorskip("jax.numpy", reason="JAX is not installed; other networks are trained above")
    net, X, y = setting()
    same = ns.from_jax(lambda p, x: jnp.tanh(x @ p["A"].T) @ p["B"].T, {"A": net.A, "B": net.B})
    how = {"eta": 0.3, "steps": STEPS, "X_test": X[:6], "batch": 6}
    watch = Interrupt(3, value=lambda now: 0.0)
    with pytest.raises(KeyboardInterrupt):
        ns.train_gd(same, X, y, watch=watch, checkpoint=tmp_path / "run.h5", **how)
    found = ns.train_gd(same, X, y, watch=watch, checkpoint=tmp_path / "run.h5", **how)
    whole, own = (ns.train_gd(one, X, y, **how) for one in (same, net))
    assert watch.calls == 5, "the first two steps that are recorded were not repeated"
    assert np.array_equal(found.train, whole.train)
    assert np.abs(whole.train - own.train).max() <= 1e-10
    assert np.abs(whole.test - own.test).max() <= 1e-10
    linear, own_linear = (ns.train_gd(ns.linearize(one), X, y, **how).train for one in (same, net))
    assert np.abs(linear - own_linear).max() <= 1e-10
    assert sorted(ns.weight_movement(same, found.network)) == ["weight movement A", "weight movement B"]
