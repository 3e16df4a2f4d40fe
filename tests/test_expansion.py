"""The linear model of deep networks: Taylor coefficients against 60 digits and other routes, and its kernels."""

import itertools

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.activations.functions import NAMES
from ntkspec.kernels.expansion import expand, taylor
from ntkspec.kernels.linear_cnn import _next_layer, patches_of
from test_expected import CLOSED, SERIES, textbook

RELU_WITHOUT_ITS_NAME = ns.Activation(
    lambda z: np.maximum(z, 0), lambda z: (z >= 0).astype(z.dtype), "rectifier", kinks=[0.0]
)


def coefficients(expansion):
    """Coefficients of 1, t, t², t t', c, c²."""
    p = expansion.norms
    mixed = [float((p[:, i] * p[:, j]).sum()) for i, j in ((0, 0), (0, 1), (0, 2), (1, 1))]
    return np.array([*mixed, expansion.data, expansion.square])


def recursion(name, weights, s, u, c):
    """h(s, s', c) in the precision of mpmath."""
    a, b, tangent = s * s, u * u, weights[0] * c
    for weight in weights[1:]:
        value, slope = textbook(name, a, b, c)
        tangent = weight * value + slope * tangent
        a, b, c = textbook(name, a, a, a)[0], textbook(name, b, b, b)[0], value
    return tangent


def differences(h, step):
    """The same coefficients, by central differences of h at (1, 1, 0)."""
    zero, plus, minus = h(1, 1, 0), h(1 + step, 1, 0), h(1 - step, 1, 0)
    corners = sum(i * j * h(1 + i * step, 1 + j * step, 0) for i in (1, -1) for j in (1, -1))
    up, down = h(1, 1, step), h(1, 1, -step)
    return [
        zero,
        (plus - minus) / (2 * step),
        (plus - 2 * zero + minus) / (2 * step**2),
        corners / (4 * step**2),
        (up - down) / (2 * step),
        (up - 2 * zero + down) / (2 * step**2),
    ]


# ------------------------------------------------------------------------------------------------------- Taylor series
@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("weights", [(1, 1, 1), (0.5, 0, 2, 1), (1, 1, 1, 1, 1)])
def test_coefficients_are_the_derivatives_of_the_recursion(name, weights):
    with mp.workdps(60):
        # asin(1) of rounded arguments has an imaginary part of rounding.
        h = lambda s, u, c: mp.re(recursion(name, weights, mp.mpf(s), mp.mpf(u), mp.mpf(c)))  # noqa: E731
        expected = [float(part) for part in differences(h, mp.mpf(10) ** -15)]
    found = expand(ns.activation(name), weights)
    assert coefficients(found) == pytest.approx(expected, rel=1e-12, abs=1e-14)
    assert np.abs(coefficients(found) - expected).max() <= 4 * found.error


@pytest.mark.parametrize("name", [*SERIES, "gelu"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_coefficients_are_the_derivatives_of_the_expected_kernel(name, layers):
    def h(s, u, c):
        cosine = c / (s * u)
        X = np.array([[s, 0.0], [u * cosine, u * np.sqrt(1 - cosine**2)]]) * np.sqrt(2)
        return float(ns.expected_ntk(name, X[:1], X[1:], hidden_layers=layers).to_dense()[0, 0])

    # Central differences with the step halved: the error of the second order is taken out.
    coarse, fine = (np.array(differences(h, step)) for step in (2e-2, 1e-2))
    found = coefficients(expand(ns.activation(name), [1.0] * (layers + 1)))
    # With one hidden layer psi has the square of its last coordinate, which is of a higher order where vartheta0 = 0.
    assert found == pytest.approx((4 * fine - coarse) / 3, abs=3e-6)


def test_known_coefficients_of_erf():
    slopes = [0.848826363156775, 0.840352351100971, 0.869990720352166, 0.916766993727844, 0.973487305738189]
    rest = [0.185142725974507, 0.258253862370479, 0.311625631109575, 0.361034341355579, 0.411121027731691]
    for layers in range(1, 6):
        found = ns.linear_expansion("erf", hidden_layers=layers)
        assert found.data == pytest.approx(slopes[layers - 1], abs=1e-14)
        assert found.identity(1.0, 10) == pytest.approx(rest[layers - 1], abs=1e-14)
        assert found.proportional


def test_known_coefficients_of_relu():
    constant = [0.159154943091895, 0.171427159070736, 0.132548513350323, 0.089399406075648, 0.0560061239638935]
    slope = [0.5, 0.239528266062657, 0.114071634673347, 0.0544673799839311, 0.0261288103416892]
    square = [0.238732414637843, 0.15388921804498, 0.0831363658218677, 0.0426071188806694, 0.0213852161329499]
    for layers, known in enumerate(zip(constant, slope, square, strict=True), 1):
        found = ns.linear_expansion("relu", hidden_layers=layers)
        assert (found.data, found.square) == pytest.approx(known[1:], abs=1e-14)
        # h(s, s', 0) = H(0) s s', exactly.
        assert found.norms == pytest.approx(np.sqrt(known[0]) * np.array([[1, 1, 0]]), abs=1e-14)


@pytest.mark.parametrize("layers", [2, 5, 12])
def test_two_routes_to_the_coefficients_of_relu(layers):
    """Closed forms of a homogeneous activation, and Hermite series that know nothing of it."""
    closed, series = (expand(act, [1.0] * (layers + 1)) for act in (ns.activation("relu"), RELU_WITHOUT_ITS_NAME))
    assert np.abs(coefficients(series) - coefficients(closed)).max() < 1e-13 + series.error
    assert series.equal == pytest.approx(closed.equal, rel=1e-13)
    assert len(closed.norms) == 1


@pytest.mark.parametrize("name", NAMES)
def test_one_hidden_layer_by_the_general_recursion(name):
    """The features of equation (11), from constants of their own, belong to the same Taylor coefficients."""
    from ntkspec.kernels import expansion

    act = ns.activation(name)
    for weights in ((1.0, 0.0), (0.0, 1.0), (0.7, 0.2)):
        general = expansion._expansion(*expansion.taylor(act, weights))
        assert coefficients(general) == pytest.approx(coefficients(expand(act, weights)), abs=1e-12)
        assert general.equal == pytest.approx(expand(act, weights).equal, rel=1e-13)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 6), st.data())
def test_layers_add_up(name, layers, data):
    weights = [data.draw(st.sampled_from([0.0, 0.25, 1.0, 3.0])) for _ in range(layers + 1)]
    act, units = ns.activation(name), np.eye(layers + 1)
    parts = sum(w * coefficients(expand(act, unit)) for w, unit in zip(weights, units, strict=True))
    assert coefficients(expand(act, weights)) == pytest.approx(parts, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_diagonal_at_norm_sqrt_d(name, layers):
    found = ns.linear_expansion(name, hidden_layers=layers)
    exact = ns.expected_ntk(name, np.ones((1, 3)), hidden_layers=layers).diagonal()[0]
    assert found.equal == pytest.approx(exact, rel=1e-12)
    linear = ns.linear_kernel(name, np.ones((1, 3)), hidden_layers=layers, trace_ratio=1.2).diagonal()[0]
    assert found.identity(1.2, 3) == pytest.approx(exact - linear, abs=1e-12)


@pytest.mark.parametrize("layers", [26, 50, 100])
def test_features_of_very_deep_networks_are_kept(layers):
    """h falls as 2^-L, and the features with it: what counts as zero is relative."""
    for name in ("relu", "gelu"):
        X = np.random.default_rng(0).standard_normal((60, 20))
        theta = ns.expected_ntk(name, X, hidden_layers=layers)
        gap = theta - ns.linear_kernel(name, X, hidden_layers=layers, trace_ratio=1.0)
        assert np.linalg.norm(gap.to_dense(), 2) < 0.2 * np.linalg.norm(theta.to_dense(), 2)


def test_features_of_small_activations_are_kept():
    """h of a relu times 1/100 is 10^(-4 L) times as large in every coefficient, and c^2 as well."""
    small = ns.Activation(lambda z: 0.01 * np.maximum(z, 0), lambda z: 0.01 * (z >= 0), "small", kinks=[0.0])
    one, other = (ns.linear_expansion(act, layer=4, hidden_layers=4) for act in (small, "relu"))
    assert coefficients(one) * 1e16 == pytest.approx(coefficients(other), abs=1e-12)


@pytest.mark.parametrize("layer", ["first", "second", "both"])
@pytest.mark.parametrize("slope", [1e6, -1e6, 1e12, -37.5, 1e-9])
def test_the_error_of_coefficients_grows_with_the_activation(slope, layer):
    """Leaky ReLU, whose coefficients are rational but for vartheta = (1 - a)/sqrt(2 pi)."""
    first, second = {"first": (1, 0), "second": (0, 1), "both": (1, 1)}[layer]
    found = ns.linear_expansion(ns.activation("leaky_relu", negative_slope=slope), layer=layer)
    with mp.workdps(50):
        a = mp.mpf(slope)
        square = (1 - a) ** 2 / (2 * mp.pi)
        exact = [
            (first + second) * ((1 + a) / 2) ** 2,
            (first + mp.mpf(second) / 2) * square,
            (first + second) * (1 + a * a) / 2,
        ]
        for value, truth in zip((found.data, found.square, found.equal), exact, strict=True):
            assert abs(mp.mpf(value) - truth) <= found.error
        if second:
            assert abs(mp.mpf(float(found.norms[0, 0])) ** 2 - square) <= found.error
    assert found.error <= 1e-14 * max(1, slope**2)


@pytest.mark.parametrize(
    ("X", "options", "reason"),
    [
        (np.full((2, 3), 1e25, np.float32), {"trace_ratio": 1.0}, "or pass them as float64"),
        (np.ones((2, 3), np.float32), {"trace_ratio": 1e60}, "beyond the range of float32"),
        (np.full((2, 3), 1e90), {"trace_ratio": 1.0}, "beyond the range of float64"),
        (np.ones((2, 3)), {"trace_ratio": np.inf}, "a finite number >= 0"),
    ],
)
def test_features_beyond_the_range_of_their_dtype_are_refused(X, options, reason):
    with pytest.raises(ValueError, match=reason):
        ns.linear_kernel("softplus", X, **options)


def test_variances_beyond_float64_are_refused():
    with pytest.raises(ValueError, match="take fewer hidden layers"):
        ns.linear_expansion("relu", hidden_layers=400)
    with pytest.raises(ValueError, match="take fewer hidden layers"):
        ns.linear_expansion("gelu", hidden_layers=400)


def test_almost_parallel_inputs_under_a_kink_are_refused():
    with pytest.raises(ValueError, match="take fewer hidden layers"):
        ns.linear_expansion(RELU_WITHOUT_ITS_NAME, hidden_layers=60)
    assert ns.linear_expansion("relu", hidden_layers=60).error < 1e-13


def test_hidden_structure_is_not_overlooked():
    """The coefficients of cos 9 z have their weight near degree 81, where the first 64 terms see nothing."""
    wiggly = ns.Activation(lambda z: 3 + z + np.cos(9 * z), lambda z: 1 - 9 * np.sin(9 * z), "wiggly")
    found = ns.linear_expansion(wiggly, layer=2, hidden_layers=2)
    orthogonal = np.eye(2) * np.sqrt(2)
    exact = ns.expected_nngp(wiggly, orthogonal, hidden_layers=2).to_dense()[0, 1]
    assert np.square(found.norms[:, 0]).sum() == pytest.approx(exact, rel=1e-12)


# ------------------------------------------------------------------------------------------------------------- kernels
@pytest.mark.parametrize("name", ["relu", "gelu", "cos", "erf"])
@pytest.mark.parametrize("layer", ["all", 0, 2])
def test_the_kernel_is_the_sum_of_its_features(name, layer):
    X, Z = np.random.default_rng(0).standard_normal((2, 7, 5))
    found = ns.linear_expansion(name, layer=layer, hidden_layers=2)
    ratio = ns.trace_ratio(Z)
    t, u = (np.linalg.norm(points, axis=1) / 5**0.5 - 1 for points in (X, Z))
    expected = found.data * X @ Z.T / 5 + found.square * ratio / 5
    for i, j in itertools.product(range(7), repeat=2):
        expected[i, j] += sum(np.polyval(p[::-1], t[i]) * np.polyval(p[::-1], u[j]) for p in found.norms)
    kernel = ns.linear_kernel(name, X, Z, layer=layer, hidden_layers=2)
    assert kernel.to_dense() == pytest.approx(expected, abs=1e-13)
    assert kernel.low_rank_factors()[0].shape[1] <= 5 + 3


@pytest.mark.parametrize("name", ["relu", "gelu", "softplus"])
def test_every_feature_is_needed(name):
    """Without the features of the norms the distance is many times as large."""
    X = ns.datasets.gaussian(1500, 60, seed=0).X
    kernel = ns.expected_ntk(name, X, hidden_layers=3)
    linear, expansion = (
        ns.linear_kernel(name, X, hidden_layers=3, trace_ratio=1.0),
        ns.linear_expansion(name, hidden_layers=3),
    )
    inputs_and_constant = (expansion.data / 60) * ns.operators.Gram(X) + ns.operators.Gram(
        np.full((1500, 1), float(np.sqrt((expansion.norms[:, 0] ** 2).sum() + expansion.square / 60)))
    )
    gap, without = ns.spectral_norm(kernel - linear), ns.spectral_norm(kernel - inputs_and_constant)
    assert gap.upper < without.lower / 3
    assert gap.upper < 0.5 * ns.spectral_norm(linear).lower


@pytest.mark.parametrize("name", ["erf", "gelu", "relu"])
def test_the_distance_falls_with_d_at_n_proportional_to_d(name):
    sizes = []
    for d in (40, 160):
        X = ns.datasets.gaussian(4 * d, d, seed=1).X
        gap = ns.expected_ntk(name, X, hidden_layers=3) - ns.linear_kernel(name, X, hidden_layers=3, trace_ratio=1.0)
        gap = gap - ns.operators.Diagonal(gap.diagonal())
        sizes.append(float(ns.spectral_norm(gap)))
    assert sizes[1] < 0.75 * sizes[0]


def test_one_point_needs_no_moments_where_they_have_no_part():
    X = np.ones((1, 4))
    assert ns.linear_kernel("erf", X, hidden_layers=3).to_dense() == pytest.approx(0.869990720352166, abs=1e-14)
    with pytest.raises(ValueError, match="pass trace_ratio"):
        ns.linear_kernel("relu", X, hidden_layers=3)


def test_networks_give_their_linear_kernel():
    X, Z = np.random.default_rng(1).standard_normal((2, 9, 6))
    deep = ns.FullyConnected.random(6, [8, 8, 8], "gelu")
    expected = ns.linear_kernel("gelu", X, Z, hidden_layers=3).to_dense()
    assert np.array_equal(ns.linear_kernel(deep, X, Z).to_dense(), expected)
    two = ns.TwoLayer.symmetric(6, 8, "relu")
    assert np.array_equal(ns.linear_kernel(two, X).to_dense(), ns.linear_kernel("relu", X).to_dense())
    assert ns.linear_kernel(deep, X.astype(np.float32)).dtype == ns.ntk(deep, X.astype(np.float32)).dtype == np.float64
    with pytest.raises(ValueError, match="6 are needed"):
        ns.linear_kernel(deep, X[:, :5])
    conv = ns.Convolutional.random((6, 1), [4], "relu", filter_size=3)
    expected = ns.cnn_linear_kernel("relu", X, Z, filter_size=3).to_dense()
    assert np.array_equal(ns.linear_kernel(conv, X, Z).to_dense(), expected)
    with pytest.raises(ValueError, match="all layers"):
        ns.linear_kernel(conv, X, layer=0)
    with pytest.raises(ValueError, match="counted from 0"):
        ns.linear_kernel(deep, X, layer=4)
    with pytest.raises(ValueError, match="'second' names the last layer"):
        ns.linear_kernel(deep, X, layer="second")


# ----------------------------------------------------------------------------------------------- convolutional networks
@pytest.mark.parametrize("name", NAMES)
def test_one_window_is_the_fully_connected_network(name):
    X, Z = np.random.default_rng(2).standard_normal((2, 8, 6))
    found = ns.cnn_linear_kernel(name, X, Z, filter_size=6).to_dense()
    assert found == pytest.approx(ns.linear_kernel(name, X, Z).to_dense(), abs=1e-13)


def means(patches, field):
    """The mean over the patch at each position, for a field (..., P)."""
    return field[..., patches.places].mean(axis=-1)


def fields(patches, X):
    """t_i of every position, (n, P)."""
    images = X.reshape(len(X), patches.positions, patches.channels)[:, patches.places]
    return np.sqrt(np.square(images).mean(axis=(2, 3))) - 1


@pytest.mark.parametrize("name", ["relu", "gelu", "cos", "erf"])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_expansion_in_fields_misses_what_is_of_the_third_order(name, depth):
    """Two images of two channels that are orthogonal at every pixel but for a small angle."""
    rng, shape = np.random.default_rng(5), (3, 5, 2)
    alpha, beta, gamma = rng.standard_normal((3, 15))
    patches = patches_of(np.ones((1, 30)), 2, shape)
    jet, _, _ = taylor(ns.activation(name), [1.0] * (depth + 1), averaged=_next_layer)
    errors = []
    for step in (2e-2, 1e-2):
        angle, sizes = step * gamma, 2**0.5 * (1 + step * np.array([alpha, beta]))
        x = np.stack([sizes[0], 0 * angle], axis=1)
        z = sizes[1][:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        t, u = fields(patches, np.array([x.ravel(), z.ravel()]))
        variables, c = [], means(patches, (x * z).mean(axis=1))
        for _ in range(depth):
            variables += [t, u, c]
            t, u, c = (means(patches, field) for field in (t, u, c))
        v = np.array(variables)
        model = (jet.value + jet.linear @ v + np.einsum("vp,vw,wp->p", v, jet.quadratic, v)).mean()
        pair = ns.expected_cnn_ntk(
            name, x.reshape(1, -1), z.reshape(1, -1), filter_size=2, shape=shape, hidden_layers=depth
        )
        errors.append(abs(model - pair.to_dense()[0, 0]))
    assert errors[0] < 1e-3
    assert errors[1] < errors[0] / 6


@pytest.mark.parametrize("name", ["relu", "gelu", "cos"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_features_of_patches_by_loops(name, depth):
    X, shape = np.random.default_rng(3).standard_normal((5, 24)), (3, 4, 2)
    patches, n = patches_of(X, (2, 3), shape), 5
    jet, _, _ = taylor(ns.activation(name), [1.0] * (depth + 1), averaged=_next_layer)
    layers, overlaps = [fields(patches, X)], [means(patches, (X[:, None] * X).reshape(n, n, 12, 2).mean(axis=3))]
    for _ in range(depth - 1):
        layers.append(means(patches, layers[-1]))
        overlaps.append(means(patches, overlaps[-1]))
    t, h0, h_t = layers[0].mean(axis=1), jet.value, jet.linear[0::3].sum()
    m, rest = h0 + h_t * t, -np.outer(t, t) * h_t**2 / h0
    off, bias = ~np.eye(n, dtype=bool), 0.0
    for a, b in itertools.product(range(depth), repeat=2):
        m = m + jet.quadratic[3 * a, 3 * b] * (layers[a] * layers[b]).mean(axis=1)
        rest = rest + 2 * jet.quadratic[3 * a, 3 * b + 1] * layers[a] @ layers[b].T / 12
        bias += jet.quadratic[3 * a + 2, 3 * b + 2] * (overlaps[a] * overlaps[b]).mean(axis=2)[off].mean()
    expected = jet.linear[2::3].sum() * X @ X.T / 24 + np.outer(m, m) / h0 + rest + bias
    found = ns.cnn_linear_kernel(name, X, filter_size=(2, 3), shape=shape, hidden_layers=depth)
    assert found.to_dense() == pytest.approx(expected, abs=1e-12)
    assert found.low_rank_factors()[0].shape == (5, 24 + 12 + 2)


def test_deep_patches_of_all_pixels_are_the_fully_connected_network():
    X, Z = np.random.default_rng(2).standard_normal((2, 8, 6))
    found = ns.cnn_linear_kernel("gelu", X, Z, filter_size=6, hidden_layers=3).to_dense()
    assert found == pytest.approx(ns.linear_kernel("gelu", X, Z, hidden_layers=3).to_dense(), abs=1e-13)


@pytest.mark.parametrize("depth", [1, 3])
def test_relu_patches_are_close_to_their_linear_model(depth):
    X, patches = ns.datasets.gaussian(300, 64, seed=0).X, {"filter_size": 32, "hidden_layers": depth}
    kernel, linear = (f("relu", X, **patches) for f in (ns.expected_cnn_ntk, ns.cnn_linear_kernel))
    assert ns.spectral_norm(kernel - linear).upper < 0.1 * ns.spectral_norm(kernel).lower


def test_deep_convolutional_networks_with_an_odd_activation():
    X = np.random.default_rng(4).standard_normal((6, 8))
    found = ns.cnn_linear_kernel("tanh", X, filter_size=3, hidden_layers=3).to_dense()
    assert found == pytest.approx(ns.linear_expansion("tanh", hidden_layers=3).data * X @ X.T / 8, rel=1e-13)
    with pytest.raises(ValueError, match="at least two data points"):
        ns.cnn_linear_kernel("relu", X[:1], filter_size=3, hidden_layers=2)
