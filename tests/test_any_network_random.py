"""Random networks against the definition: depth, widths, operations, tied weights, frozen parameters, outputs."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import ntkspec as ns
from networks import kernel_of, made, signals, torch

nn, F = torch.nn, torch.nn.functional
ACTIVATIONS = (torch.tanh, F.gelu, torch.relu_, torch.sigmoid_, lambda x: F.silu(x, inplace=True), lambda x: x.mul_(2))


class Wrap(nn.Module):
    """Modules and a function of them and the signal (n, T, C)."""

    def __init__(self, call, *modules):
        super().__init__()
        self.call, self.parts = call, nn.ModuleList(modules)

    def forward(self, x):
        return self.call(x, *self.parts)


def channels_first(x, part):
    return part(x.transpose(1, 2)).transpose(1, 2)


def as_image(x, part):
    """Each signal as a one-channel image, T x C."""
    return part(x[:, None]).mean(1)


def attention(x, qkv):
    q, k, v = qkv(x).chunk(3, -1)
    return x + F.scaled_dot_product_attention(q, k, v)


def linear(draw, C):
    after = draw(st.integers(1, 4))
    return nn.Linear(C, after, bias=draw(st.booleans())), after


def convolution(draw, C):
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if C % g == 0]))
    after, dilation, bias = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.booleans())
    layer = nn.Conv1d(C, after, 3, padding=dilation, dilation=dilation, groups=groups, bias=bias)
    return Wrap(channels_first, layer), after


def image(draw, C):
    layer = nn.Conv2d(1, 2, (2, 1), stride=(draw(st.integers(1, 2)), 1), padding=(1, 0), bias=draw(st.booleans()))
    return Wrap(as_image, layer), C


def norm(draw, C):
    kinds = (
        nn.LayerNorm(C),
        nn.LayerNorm(C, elementwise_affine=False),
        nn.RMSNorm(C),
        Wrap(channels_first, nn.BatchNorm1d(C)),
        Wrap(channels_first, nn.GroupNorm(1, C)),
    )
    return draw(st.sampled_from(kinds)), C


def activation(draw, C):
    chosen = draw(st.sampled_from(ACTIVATIONS))
    return Wrap(lambda x: chosen(x + 0)), C


def mixing(draw, C):
    return Wrap(attention, nn.Linear(C, 3 * C)), C


def tied(draw, C):
    """One layer twice, once transposed."""
    return Wrap(lambda x, part: F.linear(torch.tanh(part(x)), part.weight.T) + part.bias.sum(), nn.Linear(C, 2)), C


def recurrent(draw, C):
    kind, after = draw(st.sampled_from([nn.GRU, nn.LSTM, nn.RNN])), draw(st.integers(1, 3))
    return Wrap(lambda x, cell: cell(x)[0], kind(C, after, batch_first=True)), after


KINDS = (linear, convolution, image, norm, activation, mixing, tied, recurrent)


@st.composite
def network(draw):
    """A module on signals (n, 3, 2), with some parameters frozen, one or more outputs, and some used twice."""
    C, layers = 2, []
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5)):
        layer, C = kind(draw, C)
        layers += [layer] * (draw(st.integers(1, 2)) if _keeps(layer, C) else 1)
    outputs = draw(st.integers(0, 3))
    head = nn.Linear(3 * C, outputs or 1)
    module = made(lambda: nn.Sequential(*layers, _Flat(), head, *([nn.Flatten(0)] if outputs == 0 else [])))
    weights = list(module.parameters())
    for weight in weights[: draw(st.integers(0, len(weights) - 1))]:
        weight.requires_grad_(draw(st.booleans()))
    return module


class _Flat(nn.Module):
    """(n, T, C) to three positions."""

    def forward(self, x):
        return F.adaptive_avg_pool1d(x.transpose(1, 2), 3).flatten(1)


def _keeps(layer, C) -> bool:
    """Whether the layer can be applied to what it returns."""
    with torch.random.fork_rng(devices=[]):
        try:
            return layer(torch.randn(1, 3, C)).shape[2] == C
        except RuntimeError:
            return False


@settings(max_examples=15, deadline=None, derandomize=True)
@given(network(), st.data())
def test_random_networks_have_the_kernel_of_the_definition(module, data):
    X, X2 = signals(3, 3, 2), signals(2, 3, 2, seed=2)
    K = module(X)[0].numel()
    outputs = data.draw(st.sampled_from(["full", "trace", "mean", "sum", K - 1, np.arange(1.0, K + 1)]))
    names = [name for name, weight in module.named_parameters() if weight.requires_grad]
    layer = data.draw(st.sampled_from(["all", names[0], [names[-1], names[0]]]))
    points2 = data.draw(st.sampled_from([None, X2]))
    expected = kernel_of(module, X, outputs, points2, names="*" if layer == "all" else layer)
    theta = ns.ntk(ns.from_torch(module), X, points2, layer=layer, outputs=outputs)
    every = expected if layer == "all" else kernel_of(module, X, outputs, points2)
    # Gradients below 1e-12 of the largest are rounding, as behind the norm of one channel, whose output is constant.
    scale = max(1e-10 * abs(expected).max(), 1e-24 * abs(every).max()) or 1e-10
    V = np.random.default_rng(0).standard_normal((expected.shape[1], 2))
    np.testing.assert_allclose(theta @ V, expected @ V, rtol=1e-9, atol=10 * scale)
    np.testing.assert_allclose(theta.to_dense(), expected, rtol=1e-10, atol=scale)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(network(), st.data())
def test_many_random_networks(module, data):
    test_random_networks_have_the_kernel_of_the_definition.hypothesis.inner_test(module, data)
