"""Training by other laws and on other losses: on every network, against a plain loop, and as predicted."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

import ntkspec as ns
from conftest import Interrupt
from ntkspec.dynamics import stable_rate
from ntkspec.dynamics.batches import Batches
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


# -------------------------------------------------------------------------------------------------------------- losses
HINGE = ns.Loss(
    lambda u, y: np.maximum(0, 1 - u * y) ** 2 / 2, lambda u, y: -y * np.maximum(0, 1 - u * y), name="squared hinge"
)


def trained_on(loss, net, n=12):
    """(X, y) with labels of the loss; of one output columns, which copies of the network learn."""
    X, y = data(net, n)
    if loss == "cross-entropy":
        return X, np.random.default_rng(1).dirichlet(np.ones(2), n)
    return X, y if isinstance(loss, ns.Huber) else np.sign(y)


@pytest.mark.parametrize("how", [{}, {"batch": 5}, {"subtract_start": True}], ids=str)
@pytest.mark.parametrize("loss", ["logistic", "cross-entropy", ns.Huber(0.2), HINGE], ids=str)
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_loss_trains_every_network_as_the_plain_loop(kind, loss, how):
    net, eta = NETWORKS[kind](), 0.7
    X, y = trained_on(loss, net)
    whole = net if net(X).shape == y.shape else IndependentOutputs([net, net])
    zero = whole(X) if "subtract_start" in how else 0 * whole(X)
    weights, outputs, derivative = whole.weights, [], ns.loss(loss).derivative
    batches = Batches(len(X), how.get("batch", len(X)), 3)
    for step in range(STEPS[-1] + 1):
        now = whole.with_weights(weights)
        outputs.append(now(X) - zero)
        rows = batches.rows(step) if "batch" in how else np.arange(len(X))
        there, labels = whole.as_points(X[rows]), y[rows]

        def slope(part, f, labels=labels, start=zero[rows]):
            return derivative(f - start[part], labels[part])

        _, gradient = now.value_and_vjp(there, slope)
        weights = [W - eta / len(rows) * own for W, own in zip(weights, gradient, strict=True)]
    found = ns.train_gd(net, X, y, eta=eta, steps=STEPS, loss=loss, seed=3, X_test=X[:4], **how)
    assert np.abs(found.train - np.array(outputs)[STEPS]).max() <= 1e-11
    assert np.abs(found.test - found.train[:, :4]).max() <= 1e-12
    assert ns.loss(loss).mean(found.train, y)[-1] < ns.loss(loss).mean(found.train, y)[0]


@pytest.mark.parametrize("loss", ["logistic", "cross-entropy", ns.Huber(0.2), HINGE], ids=str)
@pytest.mark.parametrize("law", ["gd", *LAWS], ids=str)
@pytest.mark.parametrize("kind", [kind for kind in NETWORKS if kind not in ("torch", "jax")])
def test_an_expansion_trains_on_every_loss_as_its_kernel_predicts(kind, law, loss):
    net = NETWORKS[kind]()
    X, y = trained_on(loss, net)
    if net(X).shape != y.shape:
        net = IndependentOutputs([net, net])
    new, theta = X[:4] / 2, ns.ntk(net, X, outputs="full")
    how = {"eta": 0.4, "steps": [*STEPS, 60], "law": law, "loss": loss}
    found = ns.train_gd(ns.linearize(net), X, y, X_test=new, **how)
    theta_new = ns.ntk(net, new, X, outputs="full")
    predicted = ns.predict_gd(theta, y, kernel_test=theta_new, start=(net(X), net(new)), **how)
    assert np.abs(found.train - predicted.train).max() <= 1e-10
    assert np.abs(found.test - predicted.test).max() <= 1e-10


@pytest.mark.parametrize("law", ["gd", ns.Nesterov(0.8)], ids=str)
@pytest.mark.parametrize("kind", NETWORKS)
def test_batches_and_rates_that_change_are_trained_as_predicted(kind, law):
    net = NETWORKS[kind]()
    X, y = data(net)
    table = 0.5 / np.sqrt(1 + np.arange(STEPS[-1]))
    how = {"eta": table, "steps": STEPS, "law": law, "batch": 5, "seed": 2}
    found = ns.train_gd(ns.linearize(net), X, y, **how)
    predicted = ns.predict_gd(ns.ntk(net, X, outputs="full"), y, start=net(X), **how)
    assert np.abs(found.train - predicted.train).max() <= 1e-10
    same = ns.train_gd(ns.linearize(net), X, y, **(how | {"eta": lambda step: table[step]}))
    assert np.array_equal(found.train, same.train)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_ridge_is_trained_as_predicted(kind, loss):
    net = NETWORKS[kind]()
    X, y = trained_on(loss, net)
    if net(X).shape != y.shape:
        net = IndependentOutputs([net, net])
    how = {"eta": 0.4, "steps": [*STEPS, 60], "law": ns.HeavyBall(0.5), "loss": loss, "ridge": 0.3}
    found = ns.train_gd(ns.linearize(net), X, y, **how)
    predicted = ns.predict_gd(ns.ntk(net, X, outputs="full"), y, start=net(X), **how)
    assert np.abs(found.train - predicted.train).max() <= 1e-10
    free = ns.train_gd(net, X, y, **(how | {"ridge": 0.0})).network.weights
    held = ns.train_gd(net, X, y, **how).network.weights
    apart = [sum(((a - b) ** 2).sum() for a, b in zip(one, net.weights, strict=True)) for one in (free, held)]
    assert apart[1] < 0.5 * apart[0]


@pytest.mark.parametrize("kind", NETWORKS)
def test_decay_towards_zero_is_trained_as_predicted(kind):
    net = NETWORKS[kind]()
    X, y = data(net)
    how = {"eta": 0.4, "steps": [*STEPS, 60], "law": ns.Nesterov(0.5), "weight_decay": 0.3, "ridge": 0.1, "batch": 5}
    tangent = ns.linearize(net)
    origin = tangent.with_weights([0 * W for W in tangent.weights])(X)
    found = ns.train_gd(tangent, X, y, **how)
    predicted = ns.predict_gd(ns.ntk(net, X, outputs="full"), y, start=net(X), origin=origin, **how)
    assert np.abs(found.train - predicted.train).max() <= 1e-10
    silent = ns.train_gd(net, X, net(X), eta=0.4, steps=[1], weight_decay=0.3).network
    for W, before in zip(silent.weights, net.weights, strict=True):
        assert np.abs(W - (1 - 0.4 * 0.3) * before).max() <= 1e-12


def test_a_ridge_that_does_not_fit_is_told():
    net = NETWORKS["two layers"]()
    X, y = data(net)
    for wrong in (-1.0, "a", np.inf, None, True):
        with pytest.raises(ValueError, match=r"ridge=.*, but a finite number >= 0 is needed"):
            ns.train_gd(net, X, y, eta=0.3, steps=[1], ridge=wrong)
        with pytest.raises(ValueError, match=r"ridge=.*, but a finite number >= 0 is needed"):
            ns.predict_gd(np.eye(12), y, eta=0.3, steps=[1], ridge=wrong)
        with pytest.raises(ValueError, match=r"weight_decay=.*, but a finite number >= 0 is needed"):
            ns.train_gd(net, X, y, eta=0.3, steps=[1], weight_decay=wrong)


def test_layers_take_schedules_of_their_own():
    net = NETWORKS["two layers"]()
    X, y = data(net)
    still = ns.train_gd(net, X, y, eta1=lambda step: float(step >= 3), eta2=0.3, steps=[3]).network
    assert np.array_equal(still.W, net.W)
    one = ns.train_gd(net, X, y, eta1=[0.3] * 9, eta2=0.3, steps=[9]).train
    assert np.array_equal(one, ns.train_gd(net, X, y, eta=0.3, steps=[9]).train)


def test_torch_minimizes_the_same_cross_entropy():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; its loss and autograd take the steps")
    net = perceptron(3)
    X, classes = data(net)[0], np.arange(12) % 3
    weights = [torch.tensor(W, requires_grad=True) for W in net.weights]
    optimizer = torch.optim.SGD(weights, lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        outputs = torch.tanh(torch.tensor(X) @ weights[0].T) @ weights[1].T
        loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(classes))
        loss.backward()
        optimizer.step()
    found = ns.train_gd(net, X, np.eye(3)[classes], eta=0.5, steps=[19, 20], loss="cross-entropy")
    mine = found.network.weights
    assert all(np.abs(a - b.detach().numpy()).max() < 1e-12 for a, b in zip(mine, weights, strict=True))
    assert ns.loss("cross-entropy").mean(found.train[0], np.eye(3)[classes]) == pytest.approx(loss.item(), rel=1e-12)
    assert found.method == "gradient descent, cross-entropy loss"


def test_labels_that_are_none_of_the_loss_are_told_before():
    net = NETWORKS["two layers"]()
    X, y = data(net)
    with pytest.raises(ValueError, match="labels of the logistic loss are 1 and -1"):
        ns.train_gd(net, X, y, eta=0.3, steps=[1], loss="logistic")
    with pytest.raises(ValueError, match=r"labels of the cross-entropy are \(n, K\)"):
        ns.train_gd(net, X, np.sign(y), eta=0.3, steps=[1], loss="cross-entropy")
    with pytest.raises(ValueError, match="loss='mse', but 'squared'"):
        ns.train_gd(net, X, y, eta=0.3, steps=[1], loss="mse")


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


@pytest.mark.parametrize("loss", ["cross-entropy", HINGE], ids=str)
def test_an_interrupted_run_on_another_loss_ends_with_the_same_bits(loss, tmp_path):
    net = NETWORKS["two layers"]()
    X, y = trained_on(loss, net)
    how = {"eta": 0.3, "steps": [0, 1, 4, 9, 12], "law": ns.Nesterov(0.9), "loss": loss}
    whole = ns.train_gd(net, X, y, watch=Interrupt(0, value=lambda now: 0.0), **how)
    with pytest.raises(KeyboardInterrupt):
        ns.train_gd(net, X, y, watch=Interrupt(3, value=lambda now: 0.0), checkpoint=tmp_path / "run.h5", **how)
    how |= {"watch": Interrupt(0, value=lambda now: 0.0), "checkpoint": tmp_path / "run.h5"}
    assert np.array_equal(ns.train_gd(net, X, y, **how).train, whole.train)
    other = ns.Loss(HINGE.value, lambda u, y: HINGE.slope(u, y) * 1.0, name="squared hinge")
    for wrong in ("squared", ns.Huber(1.0), *([other] if loss is HINGE else [])):
        with pytest.raises(ValueError, match="checkpoint of another run"):
            ns.train_gd(net, X, y, **(how | {"loss": wrong}))


def test_checkpoints_know_rates_that_change(tmp_path):
    net = NETWORKS["two layers"]()
    X, y = data(net)
    how = {"steps": [0, 1, 4, 9], "law": ns.HeavyBall(0.9), "checkpoint": tmp_path / "run.h5"}

    def rate(step):
        return 0.3 / (1 + step)

    whole = ns.train_gd(net, X, y, eta=rate, **(how | {"checkpoint": None}))
    ns.train_gd(net, X, y, eta=rate, **(how | {"steps": [0, 1, 4]}))
    assert np.array_equal(ns.train_gd(net, X, y, eta=rate, **how).train, whole.train)
    for other in (0.3, lambda step: 0.3 / (2 + step), [rate(step) for step in range(9)]):
        with pytest.raises(ValueError, match="checkpoint of another run"):
            ns.train_gd(net, X, y, eta=other, **how)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(net, X, y, eta=rate, ridge=0.1, **how)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(net, X, y, eta=rate, weight_decay=0.1, **how)


def test_a_checkpoint_of_another_law_is_refused(tmp_path):
    net = NETWORKS["two layers"]()
    X, y = data(net)
    how = {"eta": 0.3, "steps": [0, 3], "checkpoint": tmp_path / "run.h5"}
    ns.train_gd(net, X, y, law=ns.HeavyBall(0.8), **how)
    for other in ("gd", ns.HeavyBall(0.9), ns.Nesterov(0.8), Damped(0.8), Damped(0.8, 2)):
        with pytest.raises(ValueError, match="checkpoint of another run"):
            ns.train_gd(net, X, y, law=other, **how)


def test_a_checkpoint_of_a_loss_with_another_number_inside_is_refused(tmp_path):
    def pinball(part):
        def value(u, y):
            return np.where(u < y, part * (y - u), (1 - part) * (u - y))

        return ns.Loss(value, lambda u, y: np.where(u < y, -part, 1 - part), name="pinball")

    net = NETWORKS["two layers"]()
    X, y = data(net)
    how = {"eta": 0.3, "steps": [0, 3], "checkpoint": tmp_path / "run.h5"}
    one, again = (ns.train_gd(net, X, y, loss=pinball(0.3), **how).train for _ in range(2))
    assert np.array_equal(one, again)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(net, X, y, loss=pinball(0.4), **how)


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


class InPlace:
    """Heavy ball that writes into what it is given."""

    slots = 1

    def move(self, descent, memory, step):
        memory[0] *= 0.8
        memory[0] -= descent
        descent[...] = np.nan
        return memory[0], memory


def test_a_law_that_writes_into_what_it_is_given_trains_and_goes_on(tmp_path):
    net = NETWORKS["two layers"]()
    X, y = data(net)
    how = {"eta": 0.3, "steps": [0, 2, 5, 9]}
    whole = ns.train_gd(net, X, y, law=ns.HeavyBall(0.8), **how)
    how |= {"law": InPlace(), "checkpoint": tmp_path / "run.h5"}
    with pytest.raises(KeyboardInterrupt):
        ns.train_gd(net, X, y, watch=Interrupt(2, value=lambda now: 0.0), **how)
    again = ns.train_gd(net, X, y, watch=Interrupt(0, value=lambda now: 0.0), **how)
    assert again.train == pytest.approx(whole.train)
    K = ns.ntk(net, X).to_dense()
    one, other = (ns.predict_gd(K, y, eta=0.3, steps=[7], law=law) for law in (InPlace(), ns.HeavyBall(0.8)))
    assert one.train == pytest.approx(other.train)


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
    pairs = (lambda g: (g, []), lambda g: (g[:1], [g]), lambda g: (g, [0.0]), lambda g: (g, [g, g]), lambda g: (g, g))
    others = (lambda g: None, lambda g: g, lambda g: (g, [g], 0), lambda g: (g, None), lambda g: (g * 1j, [g]))
    for found in pairs + others:
        with pytest.raises(TypeError, match=r"move of Wrong has to return \(move, kept\): .* slots=1 such arrays"):
            ns.train_gd(net, X, y, eta=0.3, steps=[1], law=Wrong(found))


def test_a_move_that_is_no_function_is_told():
    wrong = type("Wrong", (), {"slots": 0, "move": 3})()
    net = NETWORKS["two layers"]()
    X, y = data(net)
    for call in (lambda: ns.train_gd(net, X, y, eta=0.3, steps=[1], law=wrong),
                 lambda: ns.predict_gd(np.eye(12), y, eta=0.3, steps=[1], law=wrong)):  # fmt: skip
        with pytest.raises(TypeError, match=r"move of Wrong is a int, but a function of \(descent, memory, step\)"):
            call()
