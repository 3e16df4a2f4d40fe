"""Layer factors: products, tiles and squares against the gradients of each point, and what they are read from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.networks.outputs import choice_of
from ntkspec.operators import JacobianGram

torch = pytest.importorskip("torch", reason="layer factors are those of PyTorch's modules, which are not installed")
nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:.*jit.script:DeprecationWarning")

from ntkspec.networks.torch.factors import jacobian  # noqa: E402
from ntkspec.networks.torch.jacobian import AutogradJacobian  # noqa: E402


def factors(module, X, outputs="mean"):
    """(the side of a kernel, the outputs' choice) of a module at X."""
    net = ns.from_torch(module)
    at = net.as_points(X)
    choice = choice_of(outputs, net.n_outputs)
    return net.kernel(at, outputs=choice).left, choice


def of(side, choice):
    return JacobianGram(side, stacked=choice.stacked, scale=choice.scale)


def dense(module, X, choice):
    """The kernel by the definition, from one backward pass for each point and output."""
    trained, J = list(module.parameters()), []
    for x in torch.as_tensor(X):
        f = module(x[None].clone()).reshape(-1)
        rows = [torch.autograd.grad(one, trained, retain_graph=True, materialize_grads=True) for one in f]
        J.append(torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]))
    J = torch.stack(J) if choice.weights is None else torch.as_tensor(choice.weights) @ torch.stack(J)
    if choice.stacked:
        return choice.scale * (J.flatten(0, 1) @ J.flatten(0, 1).T).numpy()
    return choice.scale * torch.einsum("irp,jrp->ij", J, J).numpy()


def close(found, true):
    np.testing.assert_allclose(found, true, rtol=0, atol=1e-10 * np.abs(true).max())


def check(module, X, outputs=("full", "mean"), without=()):
    """All that a kernel asks of its side; ``without`` names the parameters that have no factors."""
    module = module.double().eval()
    for chosen in outputs:
        side, choice = factors(module, X, chosen)
        assert sorted(set(side.names) - set(side.factored)) == sorted(without), side.describe()
        kernel, true = of(side, choice), dense(module, X, choice)
        close(kernel.to_dense(), true)
        close(kernel.diagonal(), true.diagonal())
        V = np.random.default_rng(0).standard_normal((len(true), 3))
        close(kernel._matmat(V), true @ V)
        close(kernel.tile(np.array([0, len(true) - 2]), slice(1, len(true) - 1)), true[[0, -2], 1:-1])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


class Of(nn.Module):
    """A module of parts by name and a function of (module, points)."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.own = forward
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(torch.as_tensor(part)) if isinstance(part, np.ndarray) else part)

    def forward(self, x):
        return self.own(self, x)


# ------------------------------------------------------------------------------------------------- kinds of layers
CONVOLUTIONS = {
    "padded": ((2, 3, 3), {"padding": 1}),
    "strided": ((2, 3, (3, 2)), {"stride": (2, 1)}),
    "dilated": ((2, 3, 2), {"dilation": 2, "padding": (1, 0)}),
    "grouped": ((4, 6, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((4, 4, 3), {"groups": 4, "bias": False}),
    "pointwise": ((3, 2, 1), {}),
    "circular": ((2, 3, 3), {"padding": 1, "padding_mode": "circular"}),
    "same": ((2, 3, (1, 3)), {"padding": "same"}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_images(name):
    arguments, more = CONVOLUTIONS[name]
    conv = nn.Conv2d(*arguments, **more)
    head = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(2))
    X = numbers(4, arguments[0], 5, 6)
    head(torch.as_tensor(X).float())
    check(head, X)


def test_convolutions_of_signals_and_of_frames():
    signals = nn.Sequential(nn.Conv1d(2, 4, 3, stride=2, groups=2), nn.Tanh(), nn.Conv1d(4, 2, 1), nn.Flatten())
    check(signals, numbers(4, 2, 7))

    def forward(self, x):
        n, channels, frames, height, width = x.shape
        h = self.frame(x.transpose(1, 2).reshape(n * frames, channels, height, width))
        return self.last(torch.relu(h).reshape(n, frames, -1, height, width).transpose(1, 2)).mean((2, 3, 4))

    video = Of(forward, frame=nn.Conv2d(2, 3, 3, padding=1), last=nn.Conv3d(3, 2, (2, 1, 2)))
    check(video, numbers(4, 2, 3, 4, 4))


NORMS = {
    "batch": lambda: nn.BatchNorm2d(4),
    "group": lambda: nn.GroupNorm(2, 4),
    "layer": lambda: nn.LayerNorm((4, 3, 3)),
    "rms": lambda: nn.RMSNorm((4, 3, 3)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms(name):
    norm = NORMS[name]()
    with torch.no_grad():
        norm.weight.normal_()
        if name == "batch":
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    check(nn.Sequential(nn.Conv2d(2, 4, 1), norm, nn.Tanh(), nn.Flatten(), nn.Linear(36, 2)), numbers(4, 2, 3, 3))


def test_elementwise_parameters():
    def forward(self, x):
        h = self.prelu(x * self.scale + self.shift - self.table[self.numbers]) / 3
        h = torch.cat([self.first.expand(len(h), -1, -1), h / 2], dim=1)
        return (h * self.gate).sum(1)[:, :2] * self.one

    module = Of(
        forward, scale=numbers(3), shift=numbers(4, 1), table=numbers(5, 1), first=numbers(1, 1, 3), gate=numbers(5, 3),
        one=np.ones(()), prelu=nn.PReLU(4), numbers=torch.tensor([0, 3, 3, 1])
    )  # fmt: skip
    check(module, numbers(4, 4, 3))


def test_matrices_that_layers_compute_with():
    """Per-head matrices, scaled and masked ones, slices, transposes, vectors: all are views of their parameters."""

    def forward(self, x):
        h = torch.einsum("bthd,hde->bthe", x.reshape(len(x), 5, 2, 4), self.heads).flatten(2)
        z = torch.relu(h @ (self.table * self.mask).T / 6**0.5) @ self.table * 0.5
        return z @ self.vector + (torch.tanh(z).sum(1) @ self.table[1:3].T).sum(1, keepdim=True)

    mask = (numbers(5, 6) > 0).astype(float)
    module = Of(forward, heads=numbers(2, 4, 3), table=numbers(5, 6), vector=numbers(6), mask=torch.as_tensor(mask))
    check(module, numbers(4, 5, 8))


# ----------------------------------------------------------------------------------------------------- architectures
class Transformer(nn.Module):
    """One block on tokens, its embedding tied to its output."""

    def __init__(self, first="class", batch_first=True, width=8):
        super().__init__()
        self.first = first
        self.tokens, self.places = nn.Embedding(11, width), nn.Embedding(6, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=batch_first)
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 12), nn.Linear(12, width)
        self.start = nn.Parameter(torch.randn(1, 1, width))
        self.out = nn.Linear(width, 11, bias=False)
        self.out.weight = self.tokens.weight

    def forward(self, x):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        h = torch.cat([self.start.expand(len(h), -1, -1), h], dim=1)
        h = h if self.attention.batch_first else h.transpose(0, 1)
        z = self.norm(h)
        h = h + self.attention(z, z, z, need_weights=False)[0]
        h = h + self.down(F.gelu(self.up(h)))
        h = h if self.attention.batch_first else h.transpose(0, 1)
        return self.out(h[:, 0] if self.first == "class" else h.mean(1))


@pytest.mark.parametrize("first", ["class", "mean"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_transformers(first, batch_first):
    tokens = np.random.default_rng(1).integers(0, 11, (4, 6))
    check(Transformer(first, batch_first), tokens, ["mean", 3])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_networks(kind):
    layer = getattr(nn, kind)(3, 4, num_layers=2, batch_first=True, bidirectional=kind == "GRU")
    head = nn.Linear(8 if kind == "GRU" else 4, 2)
    check(Of(lambda self, x: self.head(self.layer(x)[0][:, -1]), layer=layer, head=head), numbers(4, 5, 3))


def test_layers_that_are_used_again():
    def forward(self, x):
        for _ in range(3):
            x = F.relu(self.conv(x), inplace=True) + x
        h = x.mean((2, 3))
        for _ in range(2):
            h = h + torch.tanh(F.linear(h, self.matrix, self.bias)) @ self.matrix
        return h

    check(Of(forward, conv=nn.Conv2d(2, 2, 3, padding=1), matrix=numbers(2, 2), bias=numbers(2)), numbers(4, 2, 4, 4))


def test_a_layer_behind_zeros_is_understood():
    """At zero initialization no gradient tells which rows of its input belong to which point."""
    zero = nn.Linear(4, 4)
    nn.init.zeros_(zero.weight)
    branch = Of(lambda self, x: self.head((x + self.zero(torch.relu(self.inner(x)))).mean(1)),
                inner=nn.Linear(4, 4), zero=zero, head=nn.Linear(4, 2))  # fmt: skip
    check(branch, numbers(4, 3, 4))


# -------------------------------------------------------------------------------------------- what has no factors
def test_what_has_no_factors_is_a_further_term():
    parts = [nn.ConvTranspose1d(2, 3, 2), nn.Tanh(), nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 2, 2))]
    names = ["0.weight", "2.parametrizations.weight.original0", "2.parametrizations.weight.original1"]
    check(nn.Sequential(*parts, nn.Flatten(), nn.Linear(8, 2)), numbers(4, 2, 4), without=names)


def test_wrong_factors_are_found(monkeypatch):
    """An operation whose backward pass is not what its name says."""
    from ntkspec.networks.torch.factors import readings

    monkeypatch.setitem(readings.READERS, "Mul", readings._entries)
    module = Of(lambda self, x: self.linear(x * self.scale), scale=numbers(3), linear=nn.Linear(3, 2))
    check(module, numbers(4, 3), without=["scale"])


def test_passes_that_differ_from_the_first_points_go_through_autograd():
    """A branch that only some points take."""
    module = Of(lambda self, x: self.linear(x) if x.sum() < 5 else self.linear(x).exp(), linear=nn.Linear(2, 2))
    X, far = numbers(8, 2) / 10, np.full((3, 2), 3.0)
    side, choice = factors(module.double(), X)
    assert side.factored == ["linear.weight", "linear.bias"]
    there = side.elsewhere(torch.as_tensor(far), side.facts)
    close(of(there, choice).to_dense(), dense(module, far, choice))
    assert there.factored == side.factored == []
    close(of(side, choice).to_dense(), dense(module, X, choice))


# --------------------------------------------------------------------------------------------- blocks and memory
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_blocks_of_points_stored_or_not(share, monkeypatch):
    """The same numbers, whatever part of the factors is stored and however many points go together."""
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    X = numbers(9, 2, 4, 4)
    for chosen in ("full", "mean"):
        side, choice = factors(module, X, chosen)
        monkeypatch.setattr(type(side), "_points_at_once", 2)
        monkeypatch.setattr(jacobian, "TILE_BYTES", 3 * side.bytes_per_point)
        side._points_stored = int(share * 9) // 2 * 2
        kernel, true = of(side, choice), dense(module, X, choice)
        close(kernel.to_dense(), true)
        close(kernel._matmat(np.eye(len(true))), true)
        close(kernel.tile(slice(3, 7), slice(0, 5)), true[3:7, :5])
        assert len(side._kept) == side._points_stored // 2


def test_passes_where_the_memory_is_short(monkeypatch):
    """A block of points has LEAST_BYTES even then; a product takes each twice, a tile those before each part again."""
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 1)).double()
    X = numbers(16, 2, 4, 4)
    side, choice = factors(module, X)
    monkeypatch.setattr(jacobian, "free_memory_now", lambda device: 0.0)
    each = side.facts.bytes + side.bytes_per_point
    monkeypatch.setattr(jacobian, "LEAST_BYTES", 2.5 * each)
    assert side._points_at_once == 2
    assert not side._points_stored
    height = side._fitting(side._part_bytes[0])
    passes, captured = [], jacobian.captured
    monkeypatch.setattr(jacobian, "captured", lambda *of: passes.append(len(of[1])) or captured(*of))
    kernel, true = of(side, choice), dense(module, X, choice)
    close(kernel._matmat(np.eye(16)), true)
    assert passes == [2] * 8 * 2
    passes.clear()
    close(kernel.to_dense(), true)
    assert sum(passes) == 16 + sum(range(0, 16, height))


def test_gradients_are_held_where_they_are_smaller():
    """Two filters at many positions; points of another size, of which factors are smaller."""
    module = nn.Sequential(nn.Conv2d(2, 3, 2, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    large, small = numbers(4, 2, 7, 7), numbers(5, 2, 2, 2)
    side, _ = factors(module, large)
    ((kept,),) = side.factors(0, slice(0, 3)).values()
    assert kept.G.shape == (4, 3, 24)
    assert side.bytes_per_point == kept.G.nbytes / 4
    there = side.elsewhere(torch.as_tensor(small), side.facts)
    f, g = (module(torch.as_tensor(X)).flatten() for X in (large, small))
    J, J2 = (
        torch.stack([torch.autograd.grad(one, module[0].weight, retain_graph=True)[0] for one in h]) for h in (f, g)
    )
    kernel = JacobianGram(side, there, stacked=True).to_dense()
    close(kernel, (J.flatten(1) @ J2.flatten(1).T).numpy())


@pytest.mark.parametrize("outputs", [1, 3])
def test_biases_go_with_their_weights(outputs):
    """Where a layer sees one row for each point; with several outputs as well."""
    from ntkspec.networks.torch.factors import held

    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Unflatten(1, (2, 3)), nn.Linear(3, 2), nn.Flatten())
    module.append(nn.Linear(4, outputs))
    side, _ = factors(module, numbers(5, 4))
    shared = {"0.bias": "0.weight", "5.bias": "5.weight"}
    assert held.biases(side._sample) == shared
    for own in (side._sample, side.factors(0, slice(0, outputs))):
        assert all(own[bias][0].G.data_ptr() == own[weight][0].g.data_ptr() for bias, weight in shared.items())
    check(module, numbers(5, 4), ["full", "mean"] if outputs > 1 else ["full"])


def test_gradients_in_pieces(monkeypatch):
    from ntkspec.networks.torch.factors import grams, positions

    monkeypatch.setattr(grams, "GRADIENTS", 40)
    monkeypatch.setattr(positions, "POSITIONS", 8)
    monkeypatch.setattr(grams, "STRIP", 2)
    check(Transformer("class"), np.random.default_rng(1).integers(0, 11, (4, 6)), ["mean"])
    check(nn.Sequential(nn.Conv2d(2, 4, 2, groups=2), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Flatten()), numbers(5, 2, 3, 3))


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (2, 0, 2), (1, 3, 2), (3, 2, 1)])
def test_inner_products_of_patches_are_sums_over_pixels(stride, padding, dilation):
    from ntkspec.networks.torch.factors import positions
    from ntkspec.networks.torch.factors.convolution import Geometry
    from ntkspec.networks.torch.factors.sides import Room

    geometry = Geometry((3, 2), (stride, 1), (padding, 1), (dilation, dilation), 1)
    shapes = (3, 2, 4, 5, 6), (2, 1, 4, 7, 6)  # points, images, channels, space
    x, x2 = (torch.from_numpy(numbers(*shape)) for shape in shapes)
    patches = [geometry.patches(t.flatten(0, 1))[:, 0].reshape(len(t), -1, 24) for t in (x, x2)]
    spaces = [geometry.convolve(t[0], t.new_zeros(1, 4, 3, 2)).shape[2:] for t in (x, x2)]
    pixels = [t.movedim((0, 2), (-2, -1)) for t in (x, x2)]
    found = positions._summed(geometry, *spaces, *pixels, Room())
    close(found.numpy(), torch.einsum("itd,jsd->tisj", *patches).numpy())


def test_forecasts_say_what_is_cheaper():
    """Stored factors multiply in fewer flops than two passes; what is not stored costs the passes again."""
    module = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 1))
    side, _ = factors(module, numbers(9, 2, 6, 6))
    stored = side.pull_work.flops
    assert stored < 0.5 * AutogradJacobian.pull_work.fget(side).flops
    side._points_stored = 0
    assert side.pull_work.flops > 2 * stored


# ------------------------------------------------------------------------------------------------ random networks
LAYERS = {
    "linear": lambda d: (nn.Linear(d, 4), 4),
    "bare": lambda d: (nn.Linear(d, 3, bias=False), 3),
    "norm": lambda d: (nn.LayerNorm(d), d),
    "tanh": lambda d: (nn.Tanh(), d),
    "relu": lambda d: (nn.ReLU(), d),
    "prelu": lambda d: (nn.PReLU(), d),
    "conv": lambda d: (Of(lambda self, x: self.conv(x.mT).mT, conv=nn.Conv1d(d, 4, 3, padding=1)), 4),
    "depthwise": lambda d: (Of(lambda self, x: self.conv(x.mT).mT, conv=nn.Conv1d(d, d, 2, groups=d, padding=1)), d),
}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(sorted(LAYERS)), max_size=5), st.booleans(), st.booleans(), st.integers(1, 4))
def test_random_networks(kinds, again, pool, K):
    torch.manual_seed(0)
    width, layers = 3, []
    for name in kinds:
        layer, width = LAYERS[name](width)
        layers.append(layer)
    tied = nn.Linear(width, width) if again else nn.Identity()

    def forward(self, x):
        h = self.tied(torch.sin(self.tied(self.body(x))))
        return self.head(h.mean(1) if pool else h[:, -1])

    check(Of(forward, body=nn.Sequential(*layers), tied=tied, head=nn.Linear(width, K)), numbers(3, 4, 3))
