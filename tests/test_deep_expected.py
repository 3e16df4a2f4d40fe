"""Kernels of infinite width and any depth against 60 digits, slow recursions, and each other."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import ntkspec as ns
from ntkspec.activations import duals
from ntkspec.activations.functions import NAMES
from test_expected import CLOSED, SERIES, hard_inputs, relative, textbook

RELU_WITHOUT_ITS_NAME = ns.Activation(
    lambda z: np.maximum(z, 0), lambda z: (z >= 0).astype(z.dtype), "rectifier", kinks=[0.0]
)


def fan(norms, angles):
    """Points in the plane at every norm ‖x‖/sqrt d and angle."""
    return np.array([[r * 2**0.5 * np.cos(t), r * 2**0.5 * np.sin(t)] for r in norms for t in angles])


def worst(found, expected):
    """Error against sqrt(K_ii K_jj), of numbers of mpmath."""
    roots = [mp.sqrt(expected[i, i]) for i in range(len(expected))]
    return max(
        float(abs(mp.mpf(float(found[i, j])) - expected[i, j]) / (roots[i] * roots[j]))
        for i in range(len(expected))
        for j in range(len(expected))
        if expected[i, j] != 0
    )


# ----------------------------------------------------------------------------------------------- independent values
@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_keep_their_accuracy_through_four_levels(name):
    """1e-13 of sqrt(K_ii K_jj) for norms 0.1 to 10 and angles down to 1e-8, at either end."""
    X = fan([0.1, 1.0, 10.0], [0.0, 1e-8, 1e-5, 0.5, 2.5, np.pi - 1e-8])
    with mp.workdps(60):
        parts = naive.deep_expected(lambda a, b, c: textbook(name, a, b, c), X, 4, mp.mpf)
        for layer, expected in [*enumerate(parts), ("all", sum(parts))]:
            operator = ns.expected_ntk(name, X, layer=layer, hidden_layers=4)
            # An inner product of floats is itself known to an ulp of the norms.
            assert worst(operator.to_dense(), expected) < min(1e-13, operator.function.error)
            assert worst(np.diag(operator.diagonal()), np.diag(np.diag(expected))) < 1e-14


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.9, 1.0, -0.5, -1.0])
@pytest.mark.parametrize("angle", [1e-8, 1e-3, 1.5, 1.6, 3.0, np.pi - 1e-8])
def test_distances_of_piecewise_linear_kernels_from_their_bounds(slope, angle):
    """E P - K and E P + K relative to themselves, at any angle: abs comes back to its bound at opposite inputs."""
    dual = duals.PiecewiseLinear(slope)
    c, gap = (np.array([[value]]) for value in (np.cos(angle), np.sin(angle) ** 2))
    value, _, *found = dual.with_distances(np, np.ones((1, 1)), np.ones(1), c, gap)
    with mp.workdps(60):
        s, root, c, P = mp.mpf(slope), mp.sqrt(gap[0, 0]), mp.mpf(c[0, 0]), mp.sqrt(mp.mpf(c[0, 0]) ** 2 + gap[0, 0])
        equal, psi = (1 + s**2) / 2, mp.atan2(root, c)
        K = equal * c + (1 - s) ** 2 / (2 * mp.pi) * (root - psi * c)
        for distance, expected in zip(found, (equal * P - K, equal * P + K), strict=True):
            assert abs(distance[0, 0] - expected) < 1e-15 * expected
    assert value[0, 0] == pytest.approx(float(K), abs=1e-15)


def test_erf_at_norm_sqrt_d():
    """h(1, 1, 1) for L = 1..5, as h_c(1, 1, 0) and the rest in 15 digits."""
    linear = [0.848826363156775, 0.840352351100971, 0.869990720352166, 0.916766993727844, 0.973487305738189]
    rest = [0.185142725974507, 0.258253862370479, 0.311625631109575, 0.361034341355579, 0.411121027731691]
    for hidden_layers, total in enumerate(np.add(linear, rest), 1):
        found = ns.expected_ntk("erf", np.ones((1, 3)), hidden_layers=hidden_layers)
        assert found.diagonal()[0] == pytest.approx(total, rel=2e-15)


@pytest.mark.parametrize("name", [*SERIES[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in SERIES[2:])])
def test_series_agree_with_the_trapezoidal_rule(name):
    X, act = hard_inputs()[:9], ns.activation(name)
    parts = naive.deep_expected(naive.trapezoidal_moments(act, act.derivative), X, 3)
    for layer, expected in [*enumerate(parts), ("all", sum(parts))]:
        found = ns.expected_ntk(name, X, layer=layer, hidden_layers=3)
        assert relative(found.to_dense(), expected) < 1e-12
        assert np.abs(found.diagonal() - np.diag(expected)).max() <= 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("layer", ["all", *(pytest.param(layer, marks=pytest.mark.slow) for layer in (0, 1, 3))])
def test_a_kink_that_is_integrated_keeps_the_angle_through_the_levels(layer):
    """ReLU as a user's function: series where they suffice, integrals and their gaps near rho = 1."""
    X = fan([0.5, 1.0], [0.0, 1e-8, 1e-4, 0.02, 1.0, 3.0])
    found, expected = (ns.expected_ntk(act, X, layer=layer, hidden_layers=3) for act in (RELU_WITHOUT_ITS_NAME, "relu"))
    assert relative(found.to_dense(), expected.to_dense()) < 1e-12
    assert found.function.error < 1e-10


# ----------------------------------------------------------------------------------------------------- consistency
@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
def test_one_hidden_layer_is_the_two_layer_kernel(name):
    X = hard_inputs()
    first, second, both = (ns.expected_ntk(name, X, layer=layer).to_dense() for layer in ("first", "second", "both"))
    assert np.array_equal(ns.expected_ntk(name, X, layer=0).to_dense(), first)
    assert np.array_equal(ns.expected_ntk(name, X, layer=1).to_dense(), second)
    assert np.array_equal(ns.expected_nngp(name, X).to_dense(), second)
    assert np.array_equal(ns.expected_ntk(name, X, hidden_layers=1).to_dense(), both)


@pytest.mark.parametrize("name", ["abs", "gelu", "sigmoid", "elu"])
def test_layers_add_up(name):
    X = hard_inputs()
    parts = [ns.expected_ntk(name, X, layer=layer, hidden_layers=3) for layer in range(4)]
    both = ns.expected_ntk(name, X, hidden_layers=3)
    assert np.allclose(sum(parts[1:], parts[0]).to_dense(), both.to_dense(), rtol=1e-14, atol=0)
    assert np.allclose(sum(part.diagonal() for part in parts), both.diagonal(), rtol=1e-14, atol=0)
    assert np.array_equal(ns.expected_ntk(name, X, layer="first", hidden_layers=3).to_dense(), parts[0].to_dense())
    assert np.array_equal(ns.expected_nngp(name, X, hidden_layers=3).to_dense(), parts[3].to_dense())


@pytest.mark.parametrize("name", ["leaky_relu", "erf", "softplus", "elu"])
def test_equal_opposite_and_zero_inputs(name):
    """Rows 0 and 1 of the inputs are equal, 2 is opposite, 4 is zero."""
    X = hard_inputs()
    operator = ns.expected_ntk(name, X, hidden_layers=4)
    matrix, diagonal = operator.to_dense(), operator.diagonal()
    assert np.array_equal(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), diagonal, rtol=4e-14)
    assert matrix[0, 1] == pytest.approx(diagonal[0], rel=4e-14)
    assert np.isfinite(matrix).all()
    if name == "erf":
        assert matrix[0, 2] == -matrix[0, 1]
        assert not matrix[4].any()
    if name == "softplus":
        alone = ns.expected_ntk(name, np.zeros((1, 2)), hidden_layers=4)
        assert matrix[4, 4] == pytest.approx(float(alone.to_dense()[0, 0]), rel=1e-13)


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_test_points_products_and_transposes(name):
    X = hard_inputs()
    whole, part = ns.expected_ntk(name, X, hidden_layers=3), ns.expected_ntk(name, X[:5], X, hidden_layers=3)
    assert part.shape == (5, 14)
    assert relative(np.vstack([part.to_dense(), whole.to_dense()[5:]]), whole.to_dense()) < 1e-13
    V = np.random.default_rng(1).standard_normal((14, 3))
    assert np.allclose(part @ V, whole.to_dense()[:5] @ V, rtol=1e-12, atol=1e-12)
    assert np.allclose(part.T.to_dense(), part.to_dense().T, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["relu", "erf", "tanh", "elu"])
def test_float32_kernels_agree_with_float64(name):
    X = hard_inputs(np.float32)
    found, expected = (ns.expected_ntk(name, points, hidden_layers=3) for points in (X, X.astype(np.float64)))
    assert found.to_dense().dtype == np.float32
    assert relative(found.to_dense(), expected.to_dense()) < 4e-5
    assert relative(found.tile(slice(0, 14), slice(0, 14), np.float64), expected.to_dense()) < 1e-12


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(2, 5), st.sampled_from(NAMES), st.integers(0, 99), st.floats(-2, 1))
def test_deep_kernels_are_positive_semidefinite_and_bounded(n, hidden_layers, name, seed, exponent):
    X = 10.0**exponent * np.random.default_rng(seed).standard_normal((n, 3))
    for operator in (ns.expected_ntk(name, X, hidden_layers=hidden_layers), ns.expected_nngp(name, X, hidden_layers=2)):
        matrix = operator.to_dense()
        assert operator.semidefinite
        assert np.linalg.eigvalsh(matrix)[0] >= -1e-11 * np.trace(matrix)
        roots = np.sqrt(operator.diagonal())
        assert (np.abs(matrix) <= (1 + 1e-11) * np.outer(roots, roots) + 1e-300).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.floats(-3, 3), st.floats(0.1, 10))
def test_piecewise_linear_kernels_scale_with_the_inputs(hidden_layers, slope, factor):
    """A homogeneous activation makes a homogeneous kernel, at every depth."""
    act, X = ns.activation("leaky_relu", negative_slope=slope), hard_inputs()
    one, other = (ns.expected_ntk(act, scale * X, hidden_layers=hidden_layers).to_dense() for scale in (1, factor))
    assert relative(other, factor**2 * one) < 1e-11


def test_norms_come_with_the_error_of_every_level():
    X = hard_inputs()
    shallow, deep = (ns.expected_ntk("tanh", X, hidden_layers=count) for count in (1, 4))
    assert shallow.function.error < deep.function.error < 1e-11
    norm = ns.spectral_norm(deep)
    assert norm.lower <= np.linalg.norm(deep.to_dense(), 2) <= norm.upper
    assert deep.cost.own.entries == 4 * shallow.cost.own.entries


def test_bad_input_is_refused():
    X = hard_inputs()
    with pytest.raises(ValueError, match="hidden_layers=0"):
        ns.expected_ntk("erf", X, hidden_layers=0)
    with pytest.raises(ValueError, match=r"hidden_layers=2\.5"):
        ns.expected_nngp("erf", X, hidden_layers=2.5)
    with pytest.raises(ValueError, match=r"pass its number: 0 \(first\) to 3 \(last\)"):
        ns.expected_ntk("erf", X, layer="second", hidden_layers=3)
    with pytest.raises(ValueError, match=r"layer=4, but weight matrices are counted from 0 \(first\) to 3 \(last\)"):
        ns.expected_ntk("erf", X, layer=4, hidden_layers=3)
    with pytest.raises(ValueError, match=r"layer='both' .* pass layer='all'"):
        ns.expected_ntk("erf", X, layer="both", hidden_layers=3)
    with pytest.raises(ValueError, match="layer=-1"):
        ns.expected_ntk("erf", X, layer=-1, hidden_layers=3)
    with pytest.raises(ValueError, match="layer=True"):
        ns.expected_ntk("erf", X, layer=True)
    with pytest.raises(ValueError, match="layer='third'"):
        ns.expected_ntk("erf", X, layer="third", hidden_layers=2)
