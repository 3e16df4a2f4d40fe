"""The parts of the gap add up, are what their names say, and have the sizes that are predicted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.theory.budget import PARTS, gap_parts

LAYERS = ["first", "second", "both"]


def setting(act="erf", n=200, d=12, width=40, seed=0):
    data = ns.datasets.gaussian(n, d, seed=seed)
    return ns.TwoLayer.symmetric(d, width, act, seed=seed), data.X


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(LAYERS), st.sampled_from(["erf", "relu", "tanh", "gelu", "abs"]), st.integers(1, 30))
def test_the_parts_add_up_to_the_gap(layer, act, n):
    net, X = setting(act, n=n)
    parts = {name: part.to_dense() for name, part in gap_parts(net, X, layer=layer, trace_ratio=1.0).items()}
    total = sum(parts[name] for name in PARTS)
    assert np.abs(total - parts["gap"]).max() <= 1e-12 * (1 + np.abs(parts["gap"]).max())
    assert np.array_equal(parts["diagonal"], np.diag(np.diag(parts["diagonal"])))
    assert np.abs(np.diag(parts["remainder"])).max() <= 1e-13 * (1 + np.abs(parts["diagonal"]).max())


def test_the_fluctuation_averages_to_zero():
    X = ns.datasets.gaussian(30, 6, seed=0).X
    draws = [
        gap_parts(ns.TwoLayer.symmetric(6, 200, "relu", seed=seed), X, layer="both", trace_ratio=1.0)["fluctuation"]
        for seed in range(200)
    ]
    matrices = np.array([draw.to_dense() for draw in draws])
    spread = matrices.std(axis=0) / 200**0.5
    assert (np.abs(matrices.mean(axis=0)) <= 5.5 * spread + 1e-14).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_the_norms_are_those_of_the_matrices(layer):
    net, X = setting("softplus")
    budget = ns.gap_budget(net, X, layer=layer, trace_ratio=1.0)
    parts = gap_parts(net, X, layer=layer, trace_ratio=1.0)
    for name in ("gap", *PARTS):
        part, matrix = getattr(budget, name), parts[name].to_dense()
        assert part.spectral.lower <= np.linalg.norm(matrix, 2) <= part.spectral.upper
        assert part.frobenius.lower <= np.linalg.norm(matrix) * (1 + 1e-14)
        assert np.linalg.norm(matrix) <= part.frobenius.upper * (1 + 1e-14)
    sizes = {name: float(getattr(budget, name).spectral) for name in PARTS}
    assert sizes[budget.dominant] == max(sizes.values())
    assert budget.remedy


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("act", ["erf", "relu"])
def test_predicted_sizes_are_of_the_measured_order(act, layer):
    """Leading-order theory: within a factor of 2.5 (fluctuations of single draws included)."""
    net, X = setting(act, n=1200, d=60, width=400)
    budget = ns.gap_budget(net, X, layer=layer, trace_ratio=1.0)
    for name in ("fluctuation", "diagonal"):
        part = getattr(budget, name)
        assert 0.4 < float(part.spectral) / part.predicted_spectral < 2.5, name
        assert 0.4 < float(part.frobenius) / part.predicted_frobenius < 2.5, name
    if layer == "first":
        assert 0.4 < float(budget.remainder.spectral) / budget.remainder.predicted_spectral < 2.5
        assert 0.8 < float(budget.remainder.frobenius) / budget.remainder.predicted_frobenius < 1.25


def test_each_remedy_shrinks_its_part():
    """Width shrinks F as m^-1/2 and nothing else; equal norms remove most of R for erf."""
    X = ns.datasets.gaussian(600, 30, seed=1).X
    narrow, wide = (
        ns.gap_budget(ns.TwoLayer.symmetric(30, m, "erf", seed=2), X, layer="first", trace_ratio=1.0)
        for m in (64, 1024)
    )
    assert float(narrow.fluctuation.spectral) / float(wide.fluctuation.spectral) == pytest.approx(4, rel=0.35)
    assert float(narrow.diagonal.spectral) == float(wide.diagonal.spectral)
    assert float(narrow.remainder.spectral) == pytest.approx(float(wide.remainder.spectral), rel=2e-3)
    on_sphere = X / np.linalg.norm(X, axis=1, keepdims=True) * 30**0.5
    net = ns.TwoLayer.symmetric(30, 64, "erf", seed=2)
    equal = ns.gap_budget(net, on_sphere, layer="first", trace_ratio=1.0)
    assert float(equal.remainder.spectral) < float(narrow.remainder.spectral) / 3


def test_a_gap_that_is_zero_has_no_culprit():
    net, X = setting("identity")
    budget = ns.gap_budget(net, X, layer="first", trace_ratio=1.0)
    assert budget.dominant == "none"
    assert "zero to rounding" in budget.remedy


def test_what_vanishes_at_leading_order_is_not_predicted():
    net, X = setting("erf")
    equal = X / np.linalg.norm(X, axis=1, keepdims=True) * 12**0.5
    assert np.isnan(ns.gap_budget(net, equal, layer="first", trace_ratio=1.0).remainder.predicted_spectral)
    net, X = setting("cos", n=900, d=30, width=200)
    part = ns.gap_budget(net, X, layer="first", trace_ratio=1.0).fluctuation
    assert 0.3 < float(part.spectral) / part.predicted_spectral < 3


def test_bad_input_is_refused():
    net, X = setting()
    with pytest.raises(ValueError, match="layer='third'"):
        ns.gap_budget(net, X, layer="third")
    with pytest.raises(ValueError, match="columns"):
        ns.gap_budget(net, X[:, :5])
    with pytest.raises(TypeError, match="budget of a FullyConnected"):
        ns.gap_budget(ns.FullyConnected.random(X.shape[1], 4, "erf"), X)
