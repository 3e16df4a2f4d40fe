"""PyTorch modules as networks: selection, points, derivatives of every kind, precision, and what kernels keep."""

import copy
import pickle
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

import ntkspec as ns
from networks import EXAMPLES, gradients, kernel_of, made, mlp, signals, tokens, torch
from ntkspec.networks.torch import blocks, differentiating, ways
from ntkspec.networks.torch import jacobian as by_autograd
from ntkspec.networks.torch import sides as home
from ntkspec.networks.torch.rounding import estimated

nn, F = torch.nn, torch.nn.functional
X = signals(7, 4)
PUSHES = [differentiating.push_forward, differentiating.push_twice_backward, differentiating.push_by_points]
GRADIENTS = [differentiating.gradients_together, differentiating.gradients_by_points]


@pytest.fixture
def autograd_alone(monkeypatch):
    """Kernels through autograd, without layer factors."""

    def jacobian_at(function, facts, points, names, weights):
        directions = None if weights is None else torch.as_tensor(weights).to(function.dtype)
        return by_autograd.AutogradJacobian(function, facts, points, names, directions)

    monkeypatch.setattr(home, "jacobian_at", jacobian_at)


def close(found, expected, eps=1e-10):
    np.testing.assert_allclose(found, expected, rtol=eps, atol=eps * abs(expected).max())


# -------------------------------------------------------------------------------------------------------- by autograd
@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        *(("MLP", kind) for kind in ("full", "trace", "mean", "sum", 1, "weights")),
        *(pytest.param(name, "full", marks=pytest.mark.slow) for name in EXAMPLES if name != "MLP"),
    ],
)
def test_kernels_by_autograd_are_those_of_the_definition(autograd_alone, name, outputs):
    module, points = EXAMPLES[name].module(), EXAMPLES[name].points()
    K = module(points).shape[1]
    chosen = np.linspace(-1, 2, K) if outputs == "weights" else outputs
    theta, expected = ns.ntk(ns.from_torch(module), points, outputs=chosen), kernel_of(module, points, chosen)
    close(theta.to_dense(), expected)
    close(theta.diagonal(), expected.diagonal())
    close(theta._matmat(np.eye(len(expected))), expected)


def test_layers_add_up_and_rectangles_fit(autograd_alone):
    module, other = mlp(4), signals(3, 4, seed=5)
    net = ns.from_torch(module)
    names = list(net.parameters)
    parts = [ns.ntk(net, X, other, layer=name, outputs="full").to_dense() for name in names]
    close(sum(parts), kernel_of(module, X, "full", other))
    close(ns.ntk(net, X, other, outputs="full").T.to_dense(), sum(parts).T)
    some = ["*.bias", "readout.weight"]
    close(ns.ntk(net, X, layer=some).to_dense(), kernel_of(module, X, names=some))


@pytest.mark.parametrize("way", PUSHES)
@pytest.mark.parametrize("name", ["MLP", "ResNet", "transformer with a head", "GRU"])
def test_every_way_forward_is_the_adjoint(autograd_alone, monkeypatch, name, way):
    module, points = EXAMPLES[name].module(), EXAMPLES[name].points()
    monkeypatch.setattr(ways, "PASSES", {way: 1.0})
    expected = kernel_of(module, points, "full")
    close(ns.ntk(ns.from_torch(module), points, outputs="full")._matmat(np.eye(len(expected))), expected)


@pytest.mark.parametrize("way", GRADIENTS)
@pytest.mark.parametrize("name", ["MLP", "ResNet", "transformer"])
def test_both_ways_to_gradients_of_points(name, way):
    module, points = EXAMPLES[name].module(), EXAMPLES[name].points()
    net = ns.from_torch(module)
    side = ns.ntk(net, points, outputs="full").left
    found = way(side.function, side.at, side.names, None)
    close(torch.cat([found[one].flatten(2) for one in net.names], dim=2).numpy(), gradients(module, points))


def test_results_do_not_depend_on_blocks(autograd_alone, monkeypatch):
    net, X = ns.from_torch(mlp(4)), signals(4, 4)
    whole = ns.ntk(net, X, outputs="full")
    expected, outputs, V = whole.to_dense(), net(X), np.ones((len(whole.to_dense()), 2))
    product = whole._matmat(V)
    for name in ("BLOCK_BYTES", "GRADIENT_BYTES", "SMALL_BYTES"):
        monkeypatch.setattr(blocks, name, 700)
    monkeypatch.setattr(by_autograd, "GRADIENT_BYTES", 20_000)
    small = ns.ntk(net, X, outputs="full")
    assert small.left._gradients_at_once < 4
    close(small.to_dense(), expected, 1e-13)
    close(small._matmat(V), product, 1e-13)
    close(small.diagonal(), expected.diagonal(), 1e-13)
    close(net(X), outputs, 1e-13)


def test_functions_in_blocks(autograd_alone, monkeypatch):
    """Many outputs: gradients of some functions of one point at a time."""
    module = made(nn.Sequential, nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 20))
    monkeypatch.setattr(by_autograd, "GRADIENT_BYTES", 12_000)
    for outputs in ("full", "mean"):
        theta = ns.ntk(ns.from_torch(module), X[:3], outputs=outputs)
        assert theta.left._functions_at_once < 20
        close(theta.to_dense(), kernel_of(module, X[:3], outputs))
        close(theta.diagonal(), kernel_of(module, X[:3], outputs).diagonal())


class Cubed(torch.autograd.Function):
    """z³, whose backward pass cannot be differentiated."""

    @staticmethod
    def forward(context, z):
        context.save_for_backward(z)
        return z**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, g):
        return 3 * context.saved_tensors[0] ** 2 * g


class WithCubes(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.two(Cubed.apply(self.one(x)))


def test_operations_that_know_a_backward_pass_alone(autograd_alone):
    module = made(WithCubes)
    theta, expected = ns.ntk(ns.from_torch(module), X, outputs="full"), kernel_of(module, X, "full")
    close(theta._matmat(np.eye(14)), expected)
    close(theta.to_dense(), expected)
    assert ways.push_of(theta.left.function, X, theta.left.names) is differentiating.push_by_points


class Checkpointed(nn.Module):
    """Whose hidden layer runs again in every pass backward."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.two(torch.utils.checkpoint.checkpoint(lambda z: self.one(z).tanh(), x, use_reentrant=False))


def test_checkpoints_run_again_with_the_same_numbers(autograd_alone):
    module = made(Checkpointed)
    theta, expected = ns.ntk(ns.from_torch(module), X, outputs="full"), kernel_of(module, X, "full")
    close(theta._matmat(np.eye(14)), expected)
    close(theta.to_dense(), expected)


# -------------------------------------------------------------------------------------------------- the object itself
def test_derivatives_and_other_weights():
    module = mlp(4)
    net = ns.from_torch(module)
    J = gradients(module, X)
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((7, 3)), [rng.standard_normal(w.shape) for w in net.weights]
    flat = np.concatenate([part.ravel() for part in v])
    close(np.concatenate([g.ravel() for g in net.vjp(X, u)]), np.einsum("ik,ikp->p", u, J))
    close(net.jvp(X, v), J @ flat)
    before, eps = net(X), 1e-6
    moved = net.with_weights([w + eps * d for w, d in zip(net.weights, v, strict=True)])
    np.testing.assert_allclose((moved(X) - before) / eps, J @ flat, atol=1e-4 * abs(J @ flat).max())
    close(net(X), before)
    values, gradient = moved.value_and_vjp(net.as_points(X), lambda rows, f: f - u[rows])
    close(values, moved(X))
    close(np.concatenate([g.ravel() for g in gradient]), _flat(moved.vjp(X, moved(X) - u)))
    close(ns.ntk(moved, X).to_dense(), kernel_of(_loaded(module, moved), X))


def _flat(parts):
    return np.concatenate([part.ravel() for part in parts])


def _loaded(module, net):
    """A module with the parameters of a network."""
    other = copy.deepcopy(module)
    other.load_state_dict({name: torch.as_tensor(value) for name, value in net.parameters.items()}, strict=False)
    return other


def test_tied_parameters_are_one_and_keep_together():
    module = EXAMPLES["transformer"].module()
    net, points = ns.from_torch(module), EXAMPLES["transformer"].points()
    ((first, others),) = net.tied.items()
    assert others
    assert set(net.parameters) == {name for name, _ in module.named_parameters()}
    close(ns.ntk(net, points, layer=others[0]).to_dense(), kernel_of(module, points, names=first))
    assert first in repr(net)
    twice = net.with_weights([2 * w for w in net.weights])
    doubled = copy.deepcopy(module)
    with torch.no_grad():
        for weight in doubled.parameters():
            weight *= 2
    close(twice(points), doubled(points).detach().numpy())


def test_a_kernel_stays_while_the_module_trains_on():
    module = mlp(4)
    net = ns.from_torch(module)
    theta, old = ns.ntk(net, X), kernel_of(module, X)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        module(X).square().sum().backward()
        optimizer.step()
    module.train()
    close(theta._matmat(np.eye(7)), old)
    close(theta.to_dense(), old)
    close(ns.ntk(net, X).to_dense(), kernel_of(module, X))
    close(net(X), module(X).detach().numpy())
    assert ns.ntk(net, X).left.function.state is ns.ntk(net, X[:2]).left.function.state  # one copy for all kernels


def test_modes_and_settings_are_looked_at_again():
    module = made(nn.Sequential, nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2))
    net = ns.from_torch(module.train())
    with pytest.raises(ValueError, match=r"BatchNorm1d 1 is in training mode\); call module.eval\(\)"):
        net(X)
    module.eval()
    close(ns.ntk(net, X).to_dense(), kernel_of(module, X))
    module.train()
    with pytest.raises(ValueError, match="BatchNorm1d 1 is in training mode"):
        ns.ntk(net, X)


class Settings(nn.Module):
    """Its code takes numbers and functions from attributes of every kind."""

    def __init__(self):
        super().__init__()
        self.layer, self.act, self.scale, self.shift = nn.Linear(4, 2), torch.tanh, torch.tensor(2.0), np.zeros(2)
        self.sizes, self.named, self.config = [1.0], {"gain": 1.0}, types.SimpleNamespace(gain=1.0)

    def forward(self, x):
        gain = self.scale * self.sizes[0] * self.named["gain"] * self.config.gain
        return self.act(self.layer(x)) * gain + torch.from_numpy(self.shift)


@pytest.mark.parametrize(
    "change",
    [
        lambda module: setattr(module, "act", torch.sin),
        lambda module: setattr(module, "scale", torch.tensor(3.0)),
        lambda module: module.scale.fill_(3.0),
        lambda module: module.shift.fill(3.0),
        lambda module: module.sizes.append(module.sizes.pop() * 3.0),
        lambda module: module.named.update(gain=3.0),
        lambda module: vars(module.config).update(gain=3.0),
        lambda module: module.layer.register_forward_hook(lambda part, given, found: 3.0 * found),
        lambda module: setattr(module, "layer", nn.Linear(4, 2).double()),
    ],
)
def test_whatever_changed_in_a_module_is_looked_at_again(change):
    module = made(Settings)
    net = ns.from_torch(module)
    before = net(X)
    change(module)
    close(net(X), module(torch.as_tensor(X)).detach().numpy())
    close(ns.ntk(net, X).to_dense(), kernel_of(module, X))
    assert abs(net(X) - before).max() > 0.01


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.append(nn.Linear(2, 2).double()),
        lambda module: setattr(module[0], "bias", None),
        lambda module: nn.utils.parametrizations.weight_norm(module[0]),
        lambda module: module.float(),
        lambda module: module.to("meta"),
    ],
)
def test_parameters_that_are_others_now_are_refused(change):
    module = made(nn.Sequential, nn.Linear(4, 2), nn.Tanh())
    net = ns.from_torch(module)
    net(X)
    change(module)
    for use in (lambda: net(X), lambda: ns.ntk(net, X), lambda: net.parameters):
        with pytest.raises(ValueError, match="call from_torch again"):
            use()


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("readout.*", ["readout.weight", "readout.bias"]),
        (["hid*.bias", "readout.b*"], ["hidden.0.bias", "hidden.1.bias", "readout.bias"]),
        (lambda name, weight: weight.ndim > 1 and "hidden" in name, ["hidden.0.weight", "hidden.1.weight"]),
    ],
)
def test_trained_parameters_are_chosen_by_name(chosen, names):
    module = mlp(4)
    net = ns.from_torch(module, parameters=chosen)
    assert list(net.parameters) == names
    close(ns.ntk(net, X).to_dense(), kernel_of(module, X, names=names))


def test_what_is_not_there_is_told():
    with pytest.raises(
        ValueError, match=r"parameters='readout' is the name of no parameter; did you mean 'readout\.\*'"
    ):
        ns.from_torch(mlp(4), parameters="readout")
    net = ns.from_torch(mlp(4))
    with pytest.raises(ValueError, match=r"known after its first points; call net\(points\) before"):
        net.n_outputs  # noqa: B018
    net(X)
    assert (net.n_outputs, net.unreached, net.dtype) == (3, [], np.float64)
    with pytest.raises(ValueError, match=r"cotangent has shape \(7,\), but \(7, 3\) is needed"):
        net.vjp(X, np.ones(7))
    with pytest.raises(ValueError, match=r"tangents of shapes .* are needed: hidden"):
        net.jvp(X, [np.ones(3)])


def test_outputs_without_an_axis_and_with_one():
    for last, K in ((nn.Flatten(0), None), (nn.Identity(), 1)):
        module = made(nn.Sequential, nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), last)
        net = ns.from_torch(module)
        assert net(X).shape == ((7,) if K is None else (7, 1))
        assert net.n_outputs == K
        for outputs in ("full", "mean", "sum", 0):
            close(ns.ntk(net, X, outputs=outputs).to_dense(), kernel_of(module, X, outputs))


def test_flops_are_counted():
    net = ns.from_torch(made(nn.Sequential, nn.Conv2d(3, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 16, 2)))
    net(signals(3, 3, 4, 4))
    assert net.flops == 2 * (16 * 5 * 27 + 80 * 2)


@pytest.mark.parametrize("whole", [tokens(4).numpy().astype(dtype) for dtype in ("int32", "uint8")], ids=["i4", "u1"])
def test_integers_stay_integers(whole):
    module = EXAMPLES["transformer with a head"].module()
    found = ns.from_torch(module, forward=lambda net, t: net(t.long()))
    close(ns.ntk(found, whole).to_dense(), kernel_of(module, torch.as_tensor(whole.astype("int64"))))


class Several(nn.Module):
    """Of two arrays, by position or by name."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(3, 2)

    def forward(self, x, y):
        return self.a(x) * self.b(y)


def test_parts_of_points_are_arguments():
    module, x, y = made(Several), signals(5, 4), signals(5, 3)
    expected = kernel_of(module, (x, y), forward=lambda net, points: net(*points))
    for points in ((x, y), [x, y], {"y": y, "x": x}):
        close(ns.ntk(ns.from_torch(module), points).to_dense(), expected)
    with pytest.raises(ValueError, match=r"the arrays of X have \[5, 4\] points"):
        ns.ntk(ns.from_torch(module), (x, y[:4]))


class Scaled(nn.Module):
    """A number times the points, as many outputs as they have columns."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x


class Reader(nn.Module):
    """The last state of a recurrent layer, which takes an array of rank 2 for one signal."""

    def __init__(self):
        super().__init__()
        self.cell = nn.RNN(4, 3, batch_first=True)

    def forward(self, x):
        return self.cell(x)[0][..., -1, :] if x.ndim == 3 else self.cell(x)[0]


PAIR = {"x": X, "y": signals(7, 3)}


@pytest.mark.parametrize(
    ("module", "points", "others", "said"),
    [
        (lambda: mlp(4), X, signals(3, 5), r"raised RuntimeError .* points of shape \(3, 5\) of float64"),
        (lambda: mlp(4), X, signals(3, 2, 4), r"the outputs have shape \(3, 2, \d\) for 3 points"),
        (lambda: mlp(4), X, np.ones((3, 4), int), r"raised RuntimeError .* of int64"),
        (EXAMPLES["transformer"].module, tokens(4), tokens(4).double(), r"raised RuntimeError .* of float64"),
        (Several, tuple(PAIR.values()), X, r"raised TypeError .* missing 1 required positional argument: 'y'"),
        (Several, PAIR, {"x": X, "z": signals(7, 3)}, r"raised TypeError .* unexpected keyword argument 'z'"),
        (Reader, signals(5, 2, 4), signals(5, 4), r"changes with the other points"),
        (Scaled, X, signals(5, 3), r"the outputs have shape \(n, 3\) for .* but \(n, 4\) for earlier ones"),
    ],
    ids=["columns", "rank", "integers", "floats", "no tuple", "keys", "one signal", "outputs"],
)
def test_points_of_another_form_are_refused_before_any_product(module, points, others, said):
    """Also where others have come before, whose checks say nothing of these."""
    net = ns.from_torch(made(module))
    net(points)
    for pair in ([others], [points, others], [others, points]):
        with pytest.raises((ValueError, TypeError), match=said):
            ns.ntk(net, *pair)
    assert ns.ntk(net, points).points == len(net(points))


def test_points_of_several_lengths_have_kernels_with_each_other():
    module = made(nn.Sequential, nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net, small, large = ns.from_torch(module), signals(4, 1, 5, 5), signals(3, 1, 9, 9)
    close(ns.ntk(net, small, large).to_dense(), kernel_of(module, small, points2=large))
    close(ns.ntk(net, large).to_dense(), kernel_of(module, large))


def test_parameters_outside_of_the_module_are_refused():
    """Each would be a constant, or follow the module while it trains on."""
    module = mlp(4)

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.others = nn.Linear(4, 2), [nn.Linear(2, 2).double()]

        def forward(self, x):
            return self.others[0](self.one(x))

    partial = made(nn.Sequential, nn.Linear(4, 4), mlp(4))
    inner, forward = partial[0], partial[0].forward
    inner.forward = lambda x: forward(x)
    for wrong, how in ((module, {"forward": lambda _, x: module(x)}), (made(Listed), {}), (partial, {})):
        with pytest.raises(ValueError, match=r"gradients and is not among the module's parameters"):
            ns.from_torch(wrong, **how)(X)


# ------------------------------------------------------------------------------------------------------------ precision
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_estimate_of_rounding_holds(autograd_alone, name):
    module, points = EXAMPLES[name].module(), EXAMPLES[name].points()
    points = points.float() if points.is_floating_point() else points
    expected = kernel_of(copy.deepcopy(module).float(), points, "full")
    theta = ns.ntk(ns.from_torch(module.float()), points, outputs="full")
    rng = np.random.default_rng(1)
    V = np.linalg.qr(rng.standard_normal((len(expected), 4)))[0]
    bounds = theta.rounding
    assert theta.dtype == np.float32
    assert (np.linalg.norm(theta._matmat(V) - expected @ V, axis=0) <= bounds.matvec_error_bound).all()
    assert bounds.matvec_error_bound < 1e-4 * np.trace(expected)
    assert np.linalg.norm(theta.to_dense() - expected) <= theta.formed_error
    assert np.linalg.norm(theta.to_dense(np.float64) - expected) <= bounds.forming_error_bound
    np.testing.assert_allclose(bounds.norm_of_absolute, np.trace(expected), rtol=0.5)


def test_vectors_of_any_scale_are_multiplied():
    theta = ns.ntk(ns.from_torch(mlp(4).float()), X)
    v = np.linspace(1, 2, 7)
    for scale in (1e-200, 1e150):
        np.testing.assert_allclose(theta._matmat(scale * v[:, None]) / scale, theta._matmat(v[:, None]), rtol=1e-5)


CASTS = {
    "to complex": (lambda z: torch.view_as_real(z.to(torch.complex64) * z.cfloat()).sum(-1), lambda z: z * z),
    "float()": (lambda z: z.float().tanh().to(z.dtype), torch.tanh),
    "to float32 and on": (lambda z: z.to(torch.float32).sin() * 1.0, torch.sin),
    "softmax in float32": (lambda z: F.softmax(z, dim=-1, dtype=torch.float32), lambda z: z.softmax(-1)),
    "a constant": (lambda z: z + torch.ones(z.shape[1], dtype=torch.float32), lambda z: z + 1),
}


class Between(nn.Module):
    """Two linear layers, and a function between them."""

    def __init__(self, function):
        super().__init__()
        self.one, self.two, self.function = nn.Linear(4, 3), nn.Linear(3, 2), function

    def forward(self, x):
        return self.two(self.function(self.one(x)).to(self.two.weight.dtype))


@pytest.mark.parametrize("cast", CASTS)
def test_code_that_casts_is_computed_in_float64(autograd_alone, cast):
    module, precise = (made(Between, function).float() for function in CASTS[cast])
    net, points = ns.from_torch(module), X.float()
    theta = ns.ntk(net, points)
    close(theta.to_dense(np.float64), kernel_of(precise, points), 1e-12)
    assert not net.facts.rough


def test_complex_numbers_of_single_precision_make_a_module_rough():
    net = ns.from_torch(made(Between, CASTS["to complex"][0]))
    net(X)
    assert net.facts.rough


def test_settings_are_full_precision_inside_and_as_before_outside():
    seen = []

    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(4, 2)

        def forward(self, x):
            seen.append((torch.is_autocast_enabled("cpu"), torch.backends.cuda.matmul.fp32_precision))
            return self.one(x)

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            ns.ntk(ns.from_torch(made(Looking).float()), X).to_dense()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert {*seen} == {(False, "ieee")}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_of_the_caller_change_nothing(autograd_alone, mode):
    with mode():
        module, points = mlp(4), X.clone()
        net = ns.from_torch(module)
        outputs, theta = net(points), ns.ntk(net, points, outputs=[1.0, 2.0, 0.0])
        product, gradient = theta._matmat(np.eye(7)), net.vjp(points, torch.ones(7, 3))
        found = theta.to_dense(), theta.diagonal(), net.jvp(points, net.weights)
    close(outputs, mlp(4)(X).detach().numpy())
    expected, J = kernel_of(mlp(4), X, [1.0, 2.0, 0.0]), gradients(mlp(4), X)
    close(product, expected)
    close(found[0], expected)
    close(found[1], expected.diagonal())
    close(found[2], J @ _flat(net.weights))
    close(_flat(gradient), J.sum(axis=(0, 1)))


# ------------------------------------------------------------------------------------------------ processes, threads
def test_networks_and_kernels_pickle():
    module = mlp(4)
    net = ns.from_torch(module)
    theta = ns.ntk(net, X)
    for turn in (lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy):
        np.testing.assert_array_equal(turn(net)(X), net(X))
        np.testing.assert_array_equal(turn(theta).to_dense(), theta.to_dense())
        other = net.with_weights([2 * weight for weight in net.weights])
        np.testing.assert_array_equal(turn(other)(X), other(X))


def test_several_threads_have_right_answers():
    net = ns.from_torch(mlp(4))
    theta, found = ns.ntk(net, X), []
    expected = theta.to_dense()
    threads = [threading.Thread(target=lambda: found.append((net(X), theta.to_dense()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for outputs, matrix in found:
        close(outputs, net(X), 1e-14)
        close(matrix, expected, 1e-14)


def test_without_pytorch_one_line_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import ntkspec as ns; f = ns.from_torch; f(None)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = "ntkspec.from_torch needs PyTorch, which is not installed; python -m pip install 'ntkspec[torch]'"
    assert run.stderr.strip().splitlines()[-1] == f"ModuleNotFoundError: {said}"


def test_rounding_of_a_rectangle_is_that_of_its_sides(autograd_alone):
    net, other = ns.from_torch(mlp(4).float()), signals(3, 4, seed=5)
    theta = ns.ntk(net, X, other)
    assert estimated(theta.left, theta.right, theta).norm_of_absolute >= np.linalg.norm(theta.to_dense(), 2)


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_kernels_in_float64_beyond_float32_have_intervals(size):
    module = made(nn.Sequential, nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    with torch.no_grad():
        for weight in module[2].parameters():
            weight.mul_(size)
    true = np.linalg.norm(kernel_of(module, X))
    found = ns.frobenius_norm(ns.ntk(ns.from_torch(module), X))
    assert found.lower <= true <= found.upper <= found.lower * (1 + 1e-6)


@pytest.mark.parametrize("scale", [1e-16, 1e-21, 1e-25])
def test_a_kernel_below_the_smallest_numbers_of_float32_is_not_said_to_be_zero(scale):
    class Tiny(torch.nn.Linear):
        def forward(self, x):
            return scale * super().forward(x)

    module, points = made(Tiny, 4, 2), signals(5, 4)
    exact = np.linalg.norm(kernel_of(module, points, "full"), 2)
    for theta in (ns.ntk(ns.from_torch(module.float()), points, outputs="full") for _ in range(2)):
        norm = ns.spectral_norm(theta)
        assert 0 <= norm.lower <= exact <= norm.upper
        assert norm.converged == (scale > 1e-18)
