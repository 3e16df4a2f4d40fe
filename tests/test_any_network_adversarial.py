"""Modules made to go wrong: each gives the kernel of the definition, or a refusal that names the cure."""

import copy
import random
import warnings

import numpy as np
import pytest

import ntkspec as ns
from networks import EXAMPLES, gradients, kernel_of, made, mlp, resnet, signals, tokens, torch, transformer

nn, F, checkpoint = torch.nn, torch.nn.functional, torch.utils.checkpoint.checkpoint


def check(module, points, *, points2=None, **how):
    """The kernel is that of the definition: its matrix, products and diagonal for all outputs, and their mean."""
    expected, mean = (kernel_of(module, points, outputs, points2, **how) for outputs in ("full", "mean"))
    net = ns.from_torch(module, **how)
    theta = ns.ntk(net, points, points2, outputs="full")
    scale = abs(expected).max()
    V = np.random.default_rng(0).standard_normal((expected.shape[1], 3))
    np.testing.assert_allclose(theta.to_dense(), expected, rtol=1e-10, atol=1e-10 * scale)
    fresh = ns.ntk(net, points, points2, outputs="full")
    np.testing.assert_allclose(fresh @ V, expected @ V, rtol=1e-9, atol=1e-10 * scale * len(expected))
    found = ns.ntk(net, points, points2).to_dense()
    np.testing.assert_allclose(found, mean, rtol=1e-10, atol=1e-10 * scale)
    if points2 is None:
        np.testing.assert_allclose(fresh.diagonal(), expected.diagonal(), rtol=1e-10)


def refused(module, points, cure, **how):
    """A refusal, as the network is made or when it meets the points, whose message names the cure."""
    before = state(module)
    with pytest.raises((ValueError, TypeError), match=cure) as error:
        ns.ntk(ns.from_torch(module, **how), points).to_dense()
    assert "\n" not in str(error.value)
    assert state(module) == before


def state(module):
    """What must be as it was: values, gradients, flags, modes and hooks, by name."""
    tensors = {name: _bytes(tensor) for name, tensor in module.state_dict().items()}
    flags = {
        name: (weight.requires_grad, weight.grad is None, id(weight)) for name, weight in module.named_parameters()
    }
    hooks = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_parameters",
        "_buffers",
    )
    modes = {
        name: (part.training, *(tuple(map(str, getattr(part, kind))) for kind in hooks))
        for name, part in module.named_modules()
    }
    generator = torch.get_rng_state().numpy().tobytes()
    return tensors, flags, modes, generator, torch.is_grad_enabled(), torch.get_default_dtype()


def _bytes(tensor):
    """Its values, where it has any."""
    if tensor.is_meta or isinstance(tensor, nn.UninitializedParameter):
        return str(tensor.dtype)
    return tensor.detach().clone().view(torch.uint8).numpy().tobytes() if tensor.ndim else tensor.item()


def function(forward, *, width=5, outputs=2, inputs=4, seed=0):
    """A module of two linear layers, ``one`` and ``two``, with this forward(self, x)."""

    class Custom(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(inputs, width), nn.Linear(width, outputs)

    Custom.forward = forward
    return made(Custom, seed=seed)


X = signals(5, 4)


# ------------------------------------------------------------------------------------------------------------- refusals


class Doubled(nn.Module):
    """Twice the outputs of another module, in its own words."""

    def __init__(self, module, change):
        super().__init__()
        self.module, self.change = module, change

    def forward(self, x):
        return self.change(self.module(x))


NORMS = {
    "1d": (nn.BatchNorm1d, (5,)),
    "2d": (nn.BatchNorm2d, (5, 3, 3)),
    "no statistics": (lambda k: nn.BatchNorm1d(k, track_running_stats=False), (5,)),
}


def test_dropout_left_on():
    module = made(nn.Sequential, nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 2))
    check(module, X)
    refused(module.train(), X, r"eval\(\)")


def test_dropout_that_no_mode_turns_off():
    refused(function(lambda self, x: self.two(F.dropout(self.one(x), 0.5))), X, "random|twice|determin")


def test_random_operations():
    refused(function(lambda self, x: self.two(self.one(x + 0.1 * torch.randn_like(x)))), X, "random|twice|determin")


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand([]).item()])
def test_random_numbers_that_seldom_matter(draw):
    def left_out(self, x):
        return self.two(x[:, :3] + (draw() > 0.1) * torch.tanh(self.one(x)))

    refused(function(left_out, width=3), X, "random")
    check(function(lambda self, x: self.two(self.one(x) + 0.0 * draw())), X)


@pytest.mark.parametrize("kind", NORMS)
def test_batch_statistics(kind):
    make, shape = NORMS[kind]
    module = made(nn.Sequential, make(5), nn.Flatten(), nn.Linear(int(np.prod(shape)), 2)).train()
    refused(module, signals(6, *shape), "eval|batch|points")


def test_batch_norm_in_evaluation_mode_is_fine():
    check(made(nn.Sequential, nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)), X)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda z: z - z.mean(0),
        lambda z: z / z.norm(),
        lambda z: z.softmax(0),
        lambda z: z.roll(1, 0),
        lambda z: z.flip(0),
        lambda z: z * (z[:, :1] == z[:, 0].max()),
        lambda z: z * (z[:, :1] == z[0, 0]),
        lambda z: z / len(z),
    ],
)
def test_outputs_that_depend_on_the_batch(mixed):
    refused(Doubled(mlp(4), mixed), X, "point|batch")


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        (lambda z: z.sum(), "forward"),
        (lambda z: z[:, :, None].repeat(1, 1, 2), "forward"),
        (lambda z: torch.cat([z, z]), "forward|point"),
        (lambda z: z[:2], "forward|point"),
        (lambda z: z.argmax(1), "float|integer|int64|whole"),
        (lambda z: (z > 0).double(), "gradient|reach|depend|parameter"),
        (lambda z: z.detach(), "gradient|reach|depend|parameter"),
        (lambda z: z.to(torch.complex128), "complex"),
        (lambda z: (z, z), "forward"),
        (lambda z: {"logits": z}, "forward"),
        (lambda z: z.numpy(force=True), "forward"),
        (lambda z: None, "forward"),
        (lambda z: z[:, :0], "output"),
        (lambda z: z * torch.nan, "nan|NaN|finite"),
    ],
)
def test_outputs_of_a_wrong_form(change, cure):
    refused(Doubled(mlp(4), change), X, cure)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_parameter_that_is_not_finite_is_named(bad):
    module = mlp(4)
    with torch.no_grad():
        module.hidden[1].weight[2, 3] = bad
    refused(module, X, r"hidden\.1\.weight")


def test_a_mask_with_infinity_is_no_fault():
    def attend(self, x):
        one = self.one(x)
        return self.two((one @ one.mT + self.mask).softmax(-1) @ one).mean(1)

    module = function(attend, width=3)
    module.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1).double())
    check(module, signals(5, 4, 4))
    module.mask[0, 0] = torch.nan
    refused(module, signals(5, 4, 4), "NaN or infinity in mask")


def test_points_that_are_not_finite_are_counted():
    points = X.clone()
    points[3, 1] = torch.nan
    refused(mlp(4), points, "nan|NaN|finite")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    refused(mlp(4).to(dtype), X.to(dtype), r"float\(\)|double\(\)|float32|float64")


def test_parameters_of_two_dtypes():
    module = function(lambda self, x: self.two(self.one(x.float()).double()))
    module.one.float()
    refused(module, X, "float32.*float64|float64.*float32")


def test_an_empty_batch():
    refused(mlp(4), X[:0], "point")


def test_frozen_altogether():
    refused(mlp(4).requires_grad_(False), X, "requires_grad|parameter")


def test_no_parameters():
    refused(nn.Sequential(nn.Flatten()), X, "parameter")


def test_parameters_that_are_not_there_yet():
    refused(nn.Sequential(nn.LazyLinear(3)), X.float(), "[Ll]azy|initiali|forward")


def test_parameters_without_values():
    refused(nn.Linear(4, 2, device="meta"), X.float(), "meta")


def test_no_module_at_all():
    for wrong in (lambda x: x, "net", None, nn.Linear, mlp(4).state_dict()):
        with pytest.raises(TypeError, match=r"nn\.Module"):
            ns.from_torch(wrong)


def test_points_of_another_size_say_what_the_module_said():
    with pytest.raises((ValueError, TypeError), match=r"mat1|shape"):
        ns.ntk(ns.from_torch(mlp(4)), signals(5, 3))


@pytest.mark.parametrize("layer", ["nothing.*", ["readout.weight", "nothing"], "", 7])
def test_layers_that_match_no_parameter(layer):
    with pytest.raises((ValueError, TypeError), match=r"readout|parameter"):
        ns.ntk(ns.from_torch(mlp(4)), X, layer=layer)


@pytest.mark.parametrize("outputs", ["all", 3, -1, [1.0, 2.0], [0.0, 0.0, 0.0], 1.5, None])
def test_outputs_that_are_not_there(outputs):
    with pytest.raises((ValueError, TypeError), match="outputs"):
        ns.ntk(ns.from_torch(mlp(4)), X, outputs=outputs)


def test_gradients_that_are_not_finite():
    """sqrt at 0: outputs are fine, derivatives are not."""
    refused(function(lambda self, x: self.two(torch.sqrt(0 * self.one(x)))), X, "nan|NaN|finite|inf")


@pytest.mark.parametrize("use", [lambda theta: theta.to_dense(), lambda theta: theta @ np.ones(9), ns.frobenius_norm])
def test_one_point_whose_gradients_are_not_finite(use):
    """Not among those that are tried first."""
    points = signals(9, 4)
    points[1] = 0.0
    module = function(lambda self, x: self.two((x @ self.one.weight.T).norm(dim=1, keepdim=True).sqrt().expand(-1, 5)))
    with pytest.raises(ValueError, match="gradients at points 1 "):
        use(ns.ntk(ns.from_torch(module), points))


# -------------------------------------------------------------------------------------------------------- right answers


INPLACE = {
    "relu_": torch.relu_,
    "leaky_relu_": lambda z: F.leaky_relu_(z, 0.2),
    "sigmoid_": torch.sigmoid_,
    "tanh_": torch.tanh_,
    "elu": lambda z: F.elu(z, inplace=True),
    "silu": lambda z: F.silu(z, inplace=True),
    "mul_": lambda z: z.mul_(3),
    "exp_": torch.exp_,
    "add_": lambda z: z.add_(1.5),
    "clamp_": lambda z: z.clamp_(-0.5, 0.5),
}
LAYERS = {
    "Linear": (lambda: nn.Linear(4, 6), lambda: signals(4, 4)),
    "Linear over positions": (lambda: nn.Linear(4, 2), lambda: signals(4, 3, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 2), lambda: signals(4, 2, 4)),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=1, groups=2), lambda: signals(4, 2, 4, 4)),
    "dilated": (lambda: nn.Conv2d(2, 2, 2, dilation=2, padding=(1, 2)), lambda: signals(4, 2, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 2, 2, stride=2), lambda: signals(4, 2, 2, 2)),
    "circular": (lambda: nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"), lambda: signals(4, 2, 4)),
    "BatchNorm": (lambda: nn.BatchNorm2d(2), lambda: signals(4, 2, 3, 3)),
    "LayerNorm": (lambda: nn.LayerNorm((3, 4)), lambda: signals(4, 3, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), lambda: signals(4, 4, 3)),
    "InstanceNorm": (lambda: nn.InstanceNorm1d(3, affine=True), lambda: signals(4, 3, 5)),
    "RMSNorm": (lambda: nn.RMSNorm(4), lambda: signals(4, 3, 4)),
    "Embedding": (lambda: nn.Embedding(7, 3), lambda: tokens(4, 4, 7)),
    "padded Embedding": (lambda: nn.Embedding(7, 3, padding_idx=2), lambda: tokens(4, 4, 7)),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(7, 3), lambda: tokens(4, 4, 7)),
    "Bilinear": (lambda: Pairs(), lambda: signals(4, 4)),
    "PReLU": (lambda: nn.PReLU(3), lambda: signals(4, 3, 2)),
}  # fmt: skip


class Pairs(nn.Module):
    """A bilinear layer of a point with itself."""

    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(4, 4, 3)

    def forward(self, x):
        return self.bilinear(x, x)


class After(nn.Module):
    """A layer, an in-place operation, and a readout."""

    def __init__(self, layer, change, size: int):
        super().__init__()
        self.layer, self.change, self.readout = layer, change, nn.Linear(size, 2)

    def forward(self, x):
        return self.readout(self.change(self.layer(x)).flatten(1))


@pytest.mark.covering(1)
@pytest.mark.parametrize("change", INPLACE)
@pytest.mark.parametrize("layer", LAYERS)
def test_in_place_after_every_kind_of_layer(layer, change):
    make, points = LAYERS[layer]
    size = (
        make()(points().to(torch.get_default_dtype()) if points().is_floating_point() else points()).flatten(1).shape[1]
    )
    check(made(After, make(), INPLACE[change], size), points())


def test_an_input_that_is_changed_in_place():
    points = X.clone()
    module = function(lambda self, x: self.two(torch.tanh(self.one(x.mul_(2)))))
    pristine = function(lambda self, x: self.two(torch.tanh(self.one(x * 2))))
    try:
        kernel = ns.ntk(ns.from_torch(module), points, outputs="full").to_dense()
    except ValueError as error:
        assert "in place" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(kernel, kernel_of(pristine, X, "full"), rtol=1e-10)
    assert bool((points == X).all())


TIED = {
    "in a loop": lambda self, x: self.two(torch.tanh(self.one(torch.tanh(self.one(x))))),
    "two paths": lambda self, x: self.two(torch.tanh(self.one(x)) * self.one(x.flip(1))),
    "transposed": lambda self, x: self.two(F.linear(torch.tanh(self.one(x)), self.one.weight.T)),
    "a view": lambda self, x: self.two(self.one(x) + x @ self.one.weight.view(4, 4)),
    "a part": lambda self, x: self.two(self.one(x) + F.pad(x[:, :2] @ self.one.weight[:2, :2], (0, 2))),
    "a norm": lambda self, x: self.two(torch.tanh(self.one(x) / self.one.weight.norm())),
    "the bias alone": lambda self, x: self.two(torch.tanh(self.one(x) + self.one.bias + x * self.one.bias)),
    "weight and weight": lambda self, x: self.two(F.linear(x, self.one.weight @ self.one.weight)),
    "as a filter": lambda self, x: self.two(
        F.linear(x, self.one.weight) + F.conv1d(x[:, None], self.one.weight[:, None, :3], padding=1).mean(1)
    ),
    "in place of each other": lambda self, x: self.two(self.one(x).relu_().mul(2).add_(self.one(x))),
}


@pytest.mark.parametrize("way", TIED)
def test_a_parameter_used_twice(way):
    check(function(TIED[way], width=4), X)


def test_tied_embeddings():
    check(transformer(), tokens(3))
    check(transformer(), tokens(4), points2=tokens(3, seed=2))


def test_a_derivative_that_is_zero_up_to_rounding():
    """What normalizes over one feature forgets it; the mean of the positions has no factors."""
    module = made(
        nn.Sequential, nn.Linear(2, 1, bias=False), nn.LayerNorm(1), nn.AdaptiveAvgPool2d((3, 1)), nn.Flatten(),
        nn.Linear(3, 1),
    )  # fmt: skip
    theta = ns.ntk(ns.from_torch(module), signals(3, 3, 2), outputs="full", layer="0.weight")
    assert abs(theta @ np.ones(3)).max() <= 1e-20
    check(module, signals(3, 3, 2))


def test_a_module_under_two_names():
    shared = nn.Linear(4, 4)
    check(made(nn.Sequential, shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(4, 2)), X)


def test_a_parameter_that_is_never_reached_has_no_gradient():
    module = function(lambda self, x: self.one(x)[:, :2])
    check(module, X)
    assert ns.ntk(ns.from_torch(module), X, layer="two.*").to_dense().max() == 0


def test_a_parameter_that_some_points_do_not_reach():
    module = function(lambda self, x: torch.where(x[:, :1] > 0, self.two(self.one(x)), self.one(x)[:, :2]))
    check(module, X)


def test_frozen_parameters_are_constants():
    module = mlp(4)
    module.hidden[0].requires_grad_(False)
    check(module, X)


def test_detached_halfway():
    """Its gradients are not those of the function: the kernel would predict the training of another one."""
    refused(function(lambda self, x: self.two(torch.tanh(self.one(x))) + self.one(x).detach()[:, :2]), X, "detach")


def test_compiled():
    """An inner graph would be compiled for minutes: the module inside is taken."""
    check_against(torch.compile(mlp(4)), mlp(4))


def test_wrapped_by_data_parallel():
    check_against(nn.DataParallel(mlp(4)), mlp(4))


def check_against(wrapped, module):
    np.testing.assert_allclose(
        ns.ntk(ns.from_torch(wrapped), X, outputs="full").to_dense(),
        kernel_of(module, X, "full"),
        rtol=1e-10,
        atol=1e-12,
    )


def test_extended_precision_is_read_as_float64():
    found = ns.ntk(ns.from_torch(mlp(4)), X.numpy().astype(np.longdouble), outputs="full").to_dense()
    np.testing.assert_array_equal(found, ns.ntk(ns.from_torch(mlp(4)), X, outputs="full").to_dense())


def test_another_default_device():
    """As of a user whose script puts new tensors elsewhere."""
    module = mlp(4)
    with torch.device("meta"):
        found = ns.ntk(ns.from_torch(module), X, outputs="full").to_dense()
    np.testing.assert_allclose(found, kernel_of(module, X, "full"), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_spectral_norm_in_training_mode(seed):
    """Its singular vectors move with each pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = made(lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 5)), nn.Linear(5, 2)), seed=seed)
    refused(module.train(), X, r"weight_u.*eval\(\)")


class Remembering(nn.Linear):
    """A layer with a buffer that each pass replaces; whether the outputs use it, or only a copy that is the same."""

    def __init__(self, used):
        super().__init__(4, 2)
        self.used = used
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("cosines", torch.zeros(2))

    def forward(self, x):
        self.passes = self.passes + 1
        self.cosines = torch.cos(torch.arange(2.0, dtype=x.dtype))  # as rotary embeddings keep theirs
        return super().forward(x) * self.cosines + self.used * 1e-3 * self.passes


def test_buffers_that_outputs_remember():
    """The derivatives are right in any one pass, so that no difference quotient tells."""
    refused(made(Remembering, True), X, r"passes, cosines; call module.eval\(\)")
    check(made(Remembering, False), X)


def test_one_point():
    check(mlp(4), X[:1])
    check(resnet(), signals(1, 3, 6, 6))


@pytest.mark.parametrize("K", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_outputs(K):
    module = made(nn.Sequential, nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, K))
    J = gradients(module, X[:3])
    theta = ns.ntk(ns.from_torch(module), X[:3])
    np.testing.assert_allclose(theta.to_dense(), np.einsum("ikp,jkp->ij", J, J) / K, rtol=1e-10)


@pytest.mark.slow
def test_the_kernel_of_a_thousand_outputs():
    module = made(nn.Sequential, nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1000))
    J = gradients(module, X[:3])
    full = ns.ntk(ns.from_torch(module), X[:3], outputs="full")
    assert (full.shape, full.points) == ((3000, 3000), 3)
    v = np.random.default_rng(0).standard_normal(3000)
    np.testing.assert_allclose(full @ v, J.reshape(3000, -1) @ (J.reshape(3000, -1).T @ v), rtol=1e-9)


def test_outputs_without_a_second_axis():
    module = function(lambda self, x: self.two(torch.tanh(self.one(x))).sum(1))
    expected = kernel_of(module, X, 0)
    for outputs in ("mean", "full", "trace", "sum", 0):
        np.testing.assert_allclose(ns.ntk(ns.from_torch(module), X, outputs=outputs).to_dense(), expected, rtol=1e-10)


def test_modes_of_the_caller_do_not_matter():
    module, expected = mlp(4), kernel_of(mlp(4), X)
    for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
        with mode:
            found = ns.ntk(ns.from_torch(module), X).to_dense()
        np.testing.assert_allclose(found, expected, rtol=1e-10)


class Scaled(torch.autograd.Function):
    """Three times its argument, by a function that has no forward derivative."""

    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient


RARE = {
    "an autograd.Function": lambda self, x: self.two(torch.tanh(Scaled.apply(self.one(x)))),
    "a checkpoint": lambda self, x: self.two(checkpoint(self.one, x, use_reentrant=False).tanh()),
    "a product inside a checkpoint": lambda self, x: self.two(
        checkpoint(lambda y: torch.tanh(self.one(y)), x, use_reentrant=False)
    ),
    "a checkpoint of the old kind": lambda self, x: self.two(
        checkpoint(self.one, x.requires_grad_(), use_reentrant=True).tanh()
    ),
    "its own derivative": lambda self, x: torch.autograd.grad(
        self.two(torch.tanh(self.one(x.requires_grad_()))).sum(), x, create_graph=True
    )[0],
    "einsum": lambda self, x: torch.einsum("ni,oi->no", torch.tanh(self.one(x)), self.two.weight) + self.two.bias,
    "a loop over points": lambda self, x: torch.stack([self.two(torch.tanh(self.one(row))) for row in x]),
    "a matrix of positions": lambda self, x: self.two(torch.tanh(self.one(x[:, None, :].expand(-1, 3, 4)))).mean(1),
    "positions first": lambda self, x: self.two(torch.tanh(self.one(x.expand(3, *x.shape)))).mean(0),
    "a matrix product from the left": lambda self, x: self.two((self.one.weight @ x.T).T.tanh() + self.one.bias),
    "a product with a constant": lambda self, x: self.two(torch.tanh(self.one(torch.ones_like(x))) * x.sum(1, True)),
    "a broadcast weight": lambda self, x: x[:, :2] * self.two.weight[:, 0] + self.one.bias[:2] * self.two.bias,
    "one number for all": lambda self, x: self.two(self.one(x)).tanh() * self.one.weight[0, 0] + self.one.bias[1],
    "no dependence on the points": lambda self, x: self.two.bias.tanh().expand(len(x), 2),
    "rows by number": lambda self, x: self.two(F.linear(self.one.weight[(x[:, 0] > 0).long()], self.one.weight)),
    "sorted": lambda self, x: self.two(torch.sort(self.one(x), dim=1).values),
    "a softmax": lambda self, x: torch.log_softmax(self.two(torch.softmax(self.one(x), 1)), 1),
    "addmm with factors": lambda self, x: torch.addmm(
        self.two.bias, torch.tanh(self.one(x)), self.two.weight.T, beta=2, alpha=3
    ),
    "baddbmm": lambda self, x: torch.baddbmm(
        self.two.bias, torch.tanh(self.one(x))[:, None], self.two.weight.T.expand(len(x), -1, -1), alpha=2
    )[:, 0],
    "a complex detour": lambda self, x: self.two(torch.fft.fft(self.one(x)).abs()),
    "an unfolding": lambda self, x: self.two(self.one(x).unfold(1, 2, 1).prod(2).sum(1, True) * self.one.bias),
}  # fmt: skip


@pytest.mark.parametrize("what", RARE)
def test_rare_operations(what):
    check(function(RARE[what]), X)


def test_weight_norm():
    module = mlp(4)
    nn.utils.parametrizations.weight_norm(module.hidden[1])
    check(module, X)


def test_spectral_norm_in_evaluation_mode():
    module = mlp(4)
    nn.utils.parametrizations.spectral_norm(module.hidden[1])
    check(module.eval(), X)


def test_multihead_attention():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.readout = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.readout(self.attention(x, x, x, need_weights=False)[0].mean(1))

    check(made(Attend), signals(4, 3, 4))


def test_transformer_encoder_of_pytorch():
    """In evaluation mode it has a fast path without gradients."""
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
    check(
        made(lambda: nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(12, 2))), signals(4, 3, 4)
    )


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_networks(kind, bidirectional):
    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = getattr(nn, kind)(3, 4, bidirectional=bidirectional)
            self.readout = nn.Linear(8 if bidirectional else 4, 2)

        def forward(self, x):
            return self.readout(self.cell(x.transpose(0, 1))[0].mean(0))

    check(made(Read), signals(4, 3, 3))


def test_renormalized_embedding_is_refused_or_left_alone():
    """Embedding(max_norm=...) writes to its weight in the pass forward."""
    module = made(lambda: nn.Sequential(nn.Embedding(7, 3, max_norm=0.5), nn.Flatten(), nn.Linear(12, 2)))
    before = state(module)
    try:
        kernel = ns.ntk(ns.from_torch(module), tokens(4, 4, 7)).to_dense()
    except ValueError as error:
        assert "max_norm" in str(error) or "in place" in str(error) or "parameter" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(kernel, kernel_of(module, tokens(4, 4, 7)), rtol=1e-10)
    assert state(module) == before


def test_sparse_gradients():
    check(made(lambda: nn.Sequential(nn.Embedding(7, 3, sparse=True), nn.Flatten(), nn.Linear(12, 2))), tokens(4, 4, 7))


def test_a_counter_in_a_buffer_stays():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return torch.tanh(self.linear(x))

    module = made(Counting)
    before = state(module)
    kernel = ns.ntk(ns.from_torch(module), X, outputs="full").to_dense()
    assert state(module) == before
    np.testing.assert_allclose(kernel, kernel_of(module, X, "full"), rtol=1e-10)


# --------------------------------------------------------------------------------------------------------------- points


FORMS = {
    "NumPy": X.numpy(),
    "NumPy, backwards": X.numpy()[:, ::-1],
    "NumPy, by columns": np.asfortranarray(X.numpy()),
    "NumPy, float32": X.numpy().astype(np.float32),
    "by columns": X.T.contiguous().T,
    "float32": X.float(),
    "every second": X[::2],
    "one point for all": X[:1].expand(5, 4),
    "with a gradient": X.clone().requires_grad_(),
    "a parameter": nn.Parameter(X.clone()),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_and_tensors_of_every_kind(form):
    """Points are the values that they hold."""
    points = FORMS[form]
    values = points.detach().numpy() if isinstance(points, torch.Tensor) else points
    values = torch.from_numpy(np.array(values, dtype=np.float64))
    found = ns.ntk(ns.from_torch(mlp(4)), points, outputs="full").to_dense()
    np.testing.assert_allclose(found, kernel_of(mlp(4), values, "full"), rtol=1e-10)


def both(module, points):
    return module(points[0] * points[1])


def named(module, points):
    return module(points["x"] * points["y"])


@pytest.mark.parametrize(("forward", "points"), [(both, (X, X + 1)), (named, {"x": X, "y": X + 1})])
def test_points_in_parts(forward, points):
    check(mlp(4), points, forward=forward)


@pytest.mark.parametrize(
    ("forward", "points"), [(both, (X, X[:3])), (named, {"x": X, "y": X[:3]}), (both, (X, 3.0)), (both, ())]
)
def test_parts_of_different_lengths(forward, points):
    refused(mlp(4), points, "first axis|points|length", forward=forward)


# ------------------------------------------------------------------------------------------------------------ untouched


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_module_is_untouched(name):
    module, points = EXAMPLES[name].module(), EXAMPLES[name].points()
    seen = []
    handle = module.register_forward_hook(lambda *_: seen.append(1))
    next(module.parameters()).grad = torch.ones_like(next(module.parameters()))
    before, gradient = state(module), next(module.parameters()).grad.clone()
    net = ns.from_torch(module)
    theta = ns.ntk(net, points, outputs="full")
    assert np.isfinite(theta @ np.ones(len(theta.to_dense()))).all()
    ns.train_gd(net, points, np.ones(net(points).shape), eta=0.01, steps=[0, 2])
    assert state(module) == before
    assert bool((next(module.parameters()).grad == gradient).all())
    handle.remove()


def test_the_module_is_untouched_after_an_exception():
    """Raised on a later pass, in the middle of the network."""
    calls = []

    def failing(self, x):
        calls.append(1)
        hidden = torch.tanh(self.one(x))
        if len(calls) > 2:
            raise RuntimeError("out of luck")
        return self.two(hidden)

    module = function(failing)
    before = state(module)
    with pytest.raises((RuntimeError, ValueError), match="out of luck"):
        ns.ntk(ns.from_torch(module), X).to_dense()
    assert state(module) == before


def test_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ns.ntk(ns.from_torch(mlp(4)), X).to_dense()


def test_later_changes_of_the_module_do_not_reach_the_kernel():
    module = mlp(4)
    net = ns.from_torch(module)
    theta, expected = ns.ntk(net, X), kernel_of(module, X)
    changed = copy.deepcopy(module)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(1.5)
    found = theta.to_dense()
    assert np.allclose(found, expected, rtol=1e-10) or np.allclose(found, kernel_of(module, X), rtol=1e-10)
    np.testing.assert_allclose(kernel_of(changed, X), expected)
    assert not np.allclose(kernel_of(module, X), expected)


def _grouped(self, x):
    """Points with large first coordinates come last, and go back to their places."""
    order = (x[:, 0] > 5).long().argsort(stable=True)
    return self.two(torch.tanh(self.one(x[order])))[order.argsort()]


@pytest.mark.parametrize("large", [[0, 10, 19], [19], [1, 3, 4]])
def test_points_that_a_module_puts_in_another_order(large):
    """Among the points that are tried first, and not."""
    points = signals(20, 4)
    points[large, 0] = 10.0
    check(function(_grouped), points)


def test_points_that_a_module_sorts():
    def sort(self, x):
        order = x[:, 0].argsort()
        return self.two(torch.tanh(self.one(x[order])))[order.argsort()]

    for ends in ([-9.0, 0.0, 9.0], [9.0, 0.0, -9.0]):
        points = signals(9, 4)
        points[[0, 4, 8], 0] = torch.tensor(ends).to(points)
        check(function(sort), points)


def test_each_layer_has_a_way_of_its_own():
    """Forward differentiation of the second layer is no sign that the first one has it."""

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.look, self.mix = nn.EmbeddingBag(10, 3, mode="max"), nn.Bilinear(3, 3, 2)

        def forward(self, x):
            return self.mix(self.look(x), self.look(x))

    module, points = made(Bag), np.arange(20).reshape(5, 4) % 9
    net = ns.from_torch(module)
    for layer in ("mix.*", "look.*"):
        V = np.ones((5, 1))
        expected = kernel_of(module, points, names=[name for name in net.names if name.startswith(layer[:-1])])
        np.testing.assert_allclose(ns.ntk(net, points, layer=layer)._matmat(V), expected @ V, rtol=1e-10)
