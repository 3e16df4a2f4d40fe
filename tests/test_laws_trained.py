"""Training by laws other than plain gradient descent: on every network, against a plain loop, and as predicted."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

import ntkspec as ns
from conftest import Interrupt
from ntkspec.dynamics import stable_rate
from ntkspec.networks import IndependentOutputs
from several_outputs import Perceptron

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

STEPS = [0, 1, 2, 3, 25]
LAWS = [ns.HeavyBall(0.8), ns.Nesterov(0.8)]


def perceptron(K, flat=False):
    net = Perceptron.random(3, 7, K, seed=0, flat=flat)
    return net.with_weights([net.A, net.B / 7**0.5])


def of_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)
    return ns.from_torch(torch.nn.Sequential(*layers).double())


def of_jax():
    jax = pytest.importorskip("jax", reason="jax is not installed")
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        params = {"a": jax.numpy.asarray(rng.standard_normal((3, 6))), "b": jax.numpy.asarray(rng.standard_normal(6))}
        return ns.from_jax(lambda p, x: jax.numpy.tanh(x @ p["a"]) @ p["b"] / 6**0.5, params)


NETWORKS = {
    "two layers": lambda: ns.TwoLayer.random(3, 8, "erf", second="normal"),
    "fully connected": lambda: ns.FullyConnected.random(3, [5, 4], "tanh"),
    "convolutional": lambda: ns.Convolutional.random((3, 1), [3, 2], "erf", filter_size=2),
    "copies": lambda: IndependentOutputs([ns.TwoLayer.random(3, 8, "erf", seed=seed) for seed in (0, 1)]),
    "a user's": lambda: perceptron(1, flat=True),
    "a user's of several outputs": lambda: perceptron(2),
    "torch": of_torch,
    "jax": of_jax,
}


def data(net, n=12):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, rng.uniform(-1, 1, net(X).shape)


def loop(law, weights, gradient):
    """The weights after each of so many steps, from the definitions of the two laws, from rates times gradients."""
    now, last, z = weights, weights, weights
    while True:
        yield now
        down = gradient(now)
        if isinstance(law, ns.HeavyBall):
            parts = zip(now, down, last, strict=True)
            now, last = [w - g + law.momentum * (w - before) for w, g, before in parts], now
        else:
            before, z = z, [w - g for w, g in zip(now, down, strict=True)]
            now = [one + law.momentum * (one - two) for one, two in zip(z, before, strict=True)]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("kind", NETWORKS)
def test_momentum_trains_every_network_as_the_plain_loop(kind, law):
    net, eta = NETWORKS[kind](), 0.3
    X, y = data(net)
    points = net.as_points(X)

    def gradient(weights):
        _, total = net.with_weights(weights).value_and_vjp(points, lambda rows, f: f - y[rows])
        return [eta / len(X) * own for own in total]

    nets = [net.with_weights(weights) for weights in islice(loop(law, net.weights, gradient), STEPS[-1] + 1)]
    found = ns.train_gd(net, X, y, eta=eta, steps=STEPS, X_test=X[:5] / 2, law=law)
    for k, step in enumerate(STEPS):
        assert np.abs(found.train[k] - nets[step](X)).max() <= 1e-11
        assert np.abs(found.test[k] - nets[step](X[:5] / 2)).max() <= 1e-11
    assert all(np.abs(a - b).max() <= 1e-11 for a, b in zip(found.network.weights, nets[-1].weights, strict=True))
    assert found.method == f"training by {law}"


@pytest.mark.parametrize("kind", ["two layers", "copies"])
def test_layers_keep_rates_of_their_own(kind):
    """Where one function of several outputs trains as well."""
    net, law = NETWORKS[kind](), ns.HeavyBall(0.8)
    X, y = data(net)
    choice = {"outputs": [1.0, -1.0]} if net.n_outputs else {}
    y = y[:, 0] if choice else y
    still = [W.copy() for W in net.weights]
    for rates, moved in (({"eta1": 0.3, "eta2": 0.0}, 0), ({"eta1": 0.0, "eta2": 0.3}, 1)):
        found = ns.train_gd(net, X, y, steps=[9], law=law, **rates, **choice)
        for k, (before, after) in enumerate(zip(still, found.network.weights, strict=True)):
            assert np.array_equal(before, after) == (k % 2 != moved)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_expansion_trains_as_its_kernel_predicts(kind, law):
    net = NETWORKS[kind]()
    X, y = data(net)
    new, theta = X[:4] / 2, ns.ntk(net, X, outputs="full")
    eta = 0.6 * stable_rate(float(ns.spectral_norm(theta)), len(X), law)
    how = {"eta": eta, "steps": [*STEPS, 200], "law": law}
    found = ns.train_gd(ns.linearize(net), X, y, X_test=new, **how)
    theta_new = ns.ntk(net, new, X, outputs="full")
    predicted = ns.predict_gd(theta, y, kernel_test=theta_new, start=(net(X), net(new)), **how)
    assert np.abs(found.train - predicted.train).max() <= 1e-10
    assert np.abs(found.test - predicted.test).max() <= 1e-10


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_torch_takes_the_same_steps(momentum):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; its optimizer takes the steps")
    net = perceptron(2)
    X, y = data(net)
    for law in (ns.HeavyBall(momentum), ns.Nesterov(momentum)):
        weights = [torch.tensor(W, requires_grad=True) for W in net.weights]
        ahead = isinstance(law, ns.Nesterov) and momentum > 0
        optimizer = torch.optim.SGD(weights, lr=0.2, momentum=momentum, nesterov=ahead)
        for _ in range(20):
            optimizer.zero_grad()
            outputs = torch.tanh(torch.tensor(X) @ weights[0].T) @ weights[1].T
            (((outputs - torch.tensor(y)) ** 2).sum() / (2 * len(X))).backward()
            optimizer.step()
        found = ns.train_gd(net, X, y, eta=0.2, steps=[20], law=law).network
        assert all(np.abs(a - b.detach().numpy()).max() < 1e-12 for a, b in zip(found.weights, weights, strict=True))


def test_no_momentum_is_gradient_descent_and_single_precision_is_kept():
    net = NETWORKS["two layers"]()
    X, y = data(net)
    plain = ns.train_gd(net, X, y, eta=0.3, steps=STEPS)
    for law in (ns.HeavyBall(0), ns.Nesterov(np.float64(0))):
        assert np.array_equal(ns.train_gd(net, X, y, eta=0.3, steps=STEPS, law=law).train, plain.train)
    small, law = ns.TwoLayer(net.W.astype(np.float32), net.v.astype(np.float32), "erf"), ns.Nesterov(np.float64(0.9))
    found = ns.train_gd(small, X.astype(np.float32), y, eta=0.3, steps=STEPS, law=law)
    exact = ns.train_gd(net, X, y, eta=0.3, steps=STEPS, law=law)
    assert found.train.dtype == found.network.W.dtype == np.float32
    assert np.abs(found.train - exact.train).max() < 1e-5


# --------------------------------------------------------------------------------------------------------- checkpoints
@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("kind", ["two layers", "fully connected", "copies", "a user's of several outputs", "torch"])
def test_an_interrupted_run_ends_with_the_same_bits(kind, law, batch, tmp_path):
    net = NETWORKS[kind]()
    X, y = data(net)
    how = {"eta": 0.3, "steps": [0, 1, 4, 9, 12], "X_test": X[:4], "batch": batch, "law": law}

    def watched(call):
        return Interrupt(call, value=lambda now: float(now(X[:1]).sum()))

    whole = ns.train_gd(net, X, y, watch=watched(0), **how)
    for call in (3, 2):
        with pytest.raises(KeyboardInterrupt):
            ns.train_gd(net, X, y, watch=watched(call), checkpoint=tmp_path / "run.h5", **how)
    found = ns.train_gd(net, X, y, watch=watched(0), checkpoint=tmp_path / "run.h5", **how)
    assert np.array_equal(found.train, whole.train)
    assert np.array_equal(found.test, whole.test)
    assert all(np.array_equal(*pair) for pair in zip(found.network.weights, whole.network.weights, strict=True))


def test_a_checkpoint_of_another_law_is_refused(tmp_path):
    net = NETWORKS["two layers"]()
    X, y = data(net)
    how = {"eta": 0.3, "steps": [0, 3], "checkpoint": tmp_path / "run.h5"}
    ns.train_gd(net, X, y, law=ns.HeavyBall(0.8), **how)
    for other in ("gd", ns.HeavyBall(0.9), ns.Nesterov(0.8), Damped(0.8), Damped(0.8, 2)):
        with pytest.raises(ValueError, match="checkpoint of another run"):
            ns.train_gd(net, X, y, law=other, **how)


# ---------------------------------------------------------------------------------------------------- laws of one's own
@dataclass(frozen=True)
class Damped:
    """Heavy ball in two memories, of which the second counts the steps."""

    momentum: float
    slots: int = 2

    def move(self, descent, memory, step):
        last, count = memory
        assert (count == step).all()
        move = self.momentum * last - descent
        return move, [move, count + 1][: self.slots]


def test_a_law_of_ones_own_trains():
    net = NETWORKS["a user's of several outputs"]()
    X, y = data(net)
    one, other = (ns.train_gd(net, X, y, eta=0.3, steps=STEPS, law=law) for law in (Damped(0.8), ns.HeavyBall(0.8)))
    assert np.array_equal(one.train, other.train)


class Wrong:
    slots = 1

    def __init__(self, found):
        self.found = found

    def move(self, descent, memory, step):
        return self.found(descent)


def test_laws_that_cannot_train_are_told_before():
    net = NETWORKS["two layers"]()
    X, y = data(net)
    with pytest.raises(ValueError, match=r"law='flow' has no steps: .* Take law='gd' with a tenth of eta"):
        ns.train_gd(net, X, y, eta=0.3, steps=[1], law="flow")
    for wrong in ("adam", 3, None, ns.HeavyBall):
        with pytest.raises(
            ValueError, match=r"law=.*, but 'gd', 'flow', ntkspec.HeavyBall\(momentum\) or .* is needed"
        ):
            ns.train_gd(net, X, y, eta=0.3, steps=[1], law=wrong)
    for found in (lambda g: (g, []), lambda g: (g[:1], [g]), lambda g: (g, [0.0]), lambda g: (g, [g, g])):
        with pytest.raises(TypeError, match=r"move of Wrong has to return \(move, kept\): .* slots=1 such arrays"):
            ns.train_gd(net, X, y, eta=0.3, steps=[1], law=Wrong(found))
