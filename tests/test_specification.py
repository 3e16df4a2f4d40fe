"""Names of networks, parsed once: what they say, the size law they carry, and the networks that they build."""

import dataclasses

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.networks.specification import NetworkSpec

NAMES = ["two-layer", "fc:4x512", "fc:3xm", "fc:3xd^1.5", "fc:3xinf", "cnn:2x2*d^1.25:k3"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_parsed_and_said_again(name):
    spec = NetworkSpec.parse(name)
    assert spec.name == name
    assert NetworkSpec.parse(spec.name) == spec
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.hidden_layers = 2


def test_a_spec_says_kind_layers_law_and_filter():
    assert NetworkSpec.parse("cnn:2xd^1.5:k3") == NetworkSpec("cnn", 2, "d^1.5", 3)
    assert NetworkSpec.parse("fc:3xm") == NetworkSpec("fc", 3, "m")
    assert NetworkSpec.parse("two-layer") == NetworkSpec()
    assert [NetworkSpec.parse(name).deep for name in NAMES] == [False] + 5 * [True]


@pytest.mark.parametrize(("law", "width"), [("d^1.5", 64), ("2*d", 32), ("64", 64), ("inf", 0), ("d^1.25", 32)])
@pytest.mark.parametrize("name", ["two-layer", "fc:3xm", "cnn:1xm:k3"])
def test_widths_grow_as_their_law_says(name, law, width):
    spec = NetworkSpec.parse(name).with_width(law)
    assert spec.width_at(16) == width
    assert spec.of_any_width == NetworkSpec.parse(name)
    assert spec.label == (name.replace("xm", f"x{law}") if spec.deep else f"m = {law}")


@pytest.mark.parametrize("name", ["fc:3xm", "fc:3xd^1.5", "fc:3xinf", "two-layer", "cnn:2xd:k3"])
def test_a_network_is_built_of_numbers_only(name):
    with pytest.raises(ValueError, match="is unknown"):
        NetworkSpec.parse(name).build((9,), "erf")


def test_every_kind_is_built_with_its_options():
    draw = {"seed": 3, "dtype": np.float32}
    pairs = {
        ("two-layer", "second"): ns.TwoLayer.symmetric(9, 8, "erf", second="normal", **draw),
        ("fc:2xm", ""): ns.FullyConnected.paired(9, [8, 8], "erf", **draw),
        ("cnn:2xm:k3", ""): ns.Convolutional.paired((9, 1), [8, 8], "erf", filter_size=3, **draw),
    }
    X = np.random.default_rng(0).standard_normal((5, 9)).astype(np.float32)
    for (name, second), net in pairs.items():
        how = draw | ({"second": "normal"} if second else {})
        found = NetworkSpec.parse(name).with_width(8).build((9,), "erf", **how)
        assert type(found) is type(net)
        assert np.array_equal(ns.ntk(found, X).to_dense(), ns.ntk(net, X).to_dense())
