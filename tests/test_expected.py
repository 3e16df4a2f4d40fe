"""Expected kernels against 150 digits, the trapezoidal rule in two dimensions, and wide random networks."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import ntkspec as ns
from ntkspec.activations import hermite
from ntkspec.activations.functions import NAMES
from ntkspec.engines import cpu

CLOSED = ["identity", "relu", "leaky_relu", "abs", "erf", "gelu", "sin", "cos"]
SERIES = ["tanh", "sigmoid", "softplus", "silu"]
LAYERS = ["first", "second", "both"]


# ---------------------------------------------------------------------------------------------- closed forms, digits
def textbook(name, a, b, c):
    """E phi(u) phi(v) and its derivative in c, as printed in the literature, in the precision of mpmath."""
    if name in ("relu", "leaky_relu", "abs", "identity"):
        slope = {"relu": 0, "leaky_relu": mp.mpf(0.01), "abs": -1, "identity": 1}[name]
        p, q, rho = mp.mpf(1 + slope) / 2, mp.mpf(1 - slope) / 2, c / mp.sqrt(a * b)
        arc = mp.asin(rho)
        value = p**2 * c + q**2 * 2 / mp.pi * mp.sqrt(a * b) * (mp.sqrt(1 - rho**2) + rho * arc)
        return value, p**2 + q**2 * 2 / mp.pi * arc
    if name == "erf":
        product = (1 + 2 * a) * (1 + 2 * b)
        return 2 / mp.pi * mp.asin(2 * c / mp.sqrt(product)), 4 / mp.pi / mp.sqrt(product - 4 * c * c)
    if name == "gelu":
        P = (1 + a) * (1 + b)
        D, arc = P - c * c, mp.asin(c / mp.sqrt(P))
        bump = a * b + c * c * (1 - a * b) / P
        value = c / 4 + c * arc / (2 * mp.pi) + bump / (2 * mp.pi * mp.sqrt(D))
        slope = mp.mpf(1) / 4 + arc / (2 * mp.pi) + (c + 2 * c * (1 - a * b) / P) / (2 * mp.pi * mp.sqrt(D))
        return value, slope + c * bump / (2 * mp.pi * D ** mp.mpf(1.5))
    pair = mp.exp(-(a + b) / 2) * mp.sinh(c), mp.exp(-(a + b) / 2) * mp.cosh(c)
    return pair if name == "sin" else pair[::-1]


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_accurate_at_every_angle_and_norm(name):
    """1e-12 of the value, for norms from 1e-3 to 1e3 and angles down to 1e-15, except where it passes through zero."""
    dual = ns.activation(name).dual
    with mp.workdps(150):
        for norm in (1e-3, 0.1, 1.0, 3.0, 30.0, 1e3):
            for other in (norm, norm * 1.0001, norm / 2, 1.0):
                for part in (0.0, 1e-30, 1e-16, 1e-9, 1e-3, 0.1, 0.5, 0.999):
                    for sign in (1, -1):
                        check_moments(name, dual, (norm**2, other**2, part, sign))


def check_moments(name, dual, setting):
    square, other, part, sign = setting
    a, b = mp.mpf(square), mp.mpf(other)
    gap = mp.mpf(square * other * part)
    c = sign * mp.sqrt(max(a * b - gap, 0))
    with np.errstate(under="ignore"):
        found = dual(np, *(np.array([float(part)]) for part in (a, b, c, gap)))
    expected = textbook(name, a, b, c)
    one, two = textbook(name, a, a, a), textbook(name, b, b, b)
    for k in range(2):
        # A moment that passes through zero (GELU, abs) is held against the ends of the segment.
        scale = max(abs(expected[k]), 1e-3 * mp.sqrt(abs(one[k] * two[k])))
        if scale > 1e-290:
            assert abs(mp.mpf(float(found[k][0])) - expected[k]) <= 1e-12 * scale, (name, k, *setting)


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_nearly_opposite_inputs_keep_their_relative_accuracy(name):
    """K of ReLU falls like the cube of the angle to pi: not a digit is lost, although K is 1e-45 of its largest."""
    dual = ns.activation(name).dual
    with mp.workdps(150):
        for part in (1e-30, 1e-20, 1e-8, 1e-4, 1e-2, 0.06, 0.07):
            a = mp.mpf(1)
            c = -mp.sqrt(1 - mp.mpf(part))
            found = dual(np, *(np.array([float(x)]) for x in (a, a, c, part)))
            for k in range(2):
                expected = textbook(name, a, a, c)[k]
                assert abs(mp.mpf(float(found[k][0])) - expected) <= 1e-14 * abs(expected)


@pytest.mark.parametrize("name", CLOSED)
def test_the_second_moment_is_the_derivative_of_the_first(name):
    """Price's theorem, by central differences in c."""
    dual, (a, b, c, h) = ns.activation(name).dual, (1.3, 0.8, 0.4, 1e-5)
    value = [float(dual(np, *map(np.array, (a, b, x, a * b - x * x)))[0]) for x in (c - h, c + h)]
    slope = float(dual(np, *map(np.array, (a, b, c, a * b - c * c)))[1])
    assert (value[1] - value[0]) / (2 * h) == pytest.approx(slope, rel=1e-8)


# --------------------------------------------------------------------------------------------- kernels, independently
def hard_inputs(dtype=np.float64):
    """Duplicates, opposites, multiples, near duplicates, a zero row, and norms from 0.01 to 3."""
    X = np.random.default_rng(0).standard_normal((14, 12))
    X[1], X[2], X[3], X[4] = X[0], -X[0], 2 * X[0], 0
    X[5] = X[0] + 1e-5 * X[10]
    X[6] *= 3
    X[7] *= 0.1
    X[8] = 0.01 * X[6]
    return X.astype(dtype)


def relative(found, expected):
    """Error against sqrt(K_ii K_jj)."""
    roots = np.sqrt(np.diag(expected))
    return float((np.abs(found - expected) / np.maximum(np.outer(roots, roots), 1e-300))[expected != 0].max())


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", [*CLOSED, *SERIES])
@pytest.mark.parametrize("layer", LAYERS)
def test_kernels_agree_with_the_trapezoidal_rule(name, layer):
    X = hard_inputs()
    if name in ("relu", "leaky_relu", "abs"):
        # At kinks the trapezoidal rule is no reference; the definition in angles is.
        expected = naive.expected_piecewise_linear({"relu": 0.0, "leaky_relu": 0.01, "abs": -1.0}[name], X, layer)
    else:
        act = ns.activation(name)
        expected = naive.expected_kernel(act, act.derivative, X, layer)
    found = ns.expected_ntk(name, X, layer=layer)
    assert relative(found.to_dense(), expected) < 1e-13
    assert np.array_equal(found.to_dense(), found.to_dense().T)
    assert np.abs(found.diagonal() - np.diag(expected)).max() <= 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["relu", "tanh", "elu"])
def test_float32_kernels_agree_with_float64(name):
    X = hard_inputs(np.float32)
    for layer in LAYERS:
        found, expected = (ns.expected_ntk(name, points, layer=layer) for points in (X, X.astype(np.float64)))
        assert found.to_dense().dtype == np.float32
        assert relative(found.to_dense(), expected.to_dense()) < 2e-5
        assert relative(found.tile(slice(0, 14), slice(0, 14), np.float64), expected.to_dense()) < 1e-12


def test_a_kink_is_integrated_piece_by_piece():
    """ELU at wide, obtuse, small and zero angles."""
    X = np.array([[1.0, 0.2], [0.9, 0.25], [-0.3, 1.1], [0.9001, 0.25]])
    found = [ns.expected_ntk("elu", X, layer=layer).to_dense() for layer in ("first", "second")]
    for i, j in [(0, 1), (0, 2), (1, 3), (2, 2)]:
        first, second = naive.expected_elu(X[i], X[j])
        assert found[0][i, j] == pytest.approx(first, rel=1e-11)
        assert found[1][i, j] == pytest.approx(second, rel=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_networks_converge_at_the_root_of_the_width(name):
    """The mean square distance falls as 1/m: widths 64 and 1024, 40 seeds, against their own spread."""
    X, deviations = hard_inputs(), []
    expected = ns.expected_ntk(name, X).to_dense()
    for width in (64, 1024):
        nets = [ns.TwoLayer.random(12, width, name, seed=seed) for seed in range(40)]
        distances = [np.linalg.norm(ns.ntk(net, X).to_dense() - expected) for net in nets]
        deviations.append(math.sqrt(np.mean(np.square(distances))))
    if name == "identity":
        assert deviations[1] < deviations[0]
    assert math.log(deviations[0] / deviations[1], 16) == pytest.approx(0.5, abs=0.12)


def test_paired_networks_have_the_same_expectation():
    X = hard_inputs()
    kernels = [ns.ntk(ns.TwoLayer.symmetric(12, 64, "erf", seed=seed), X).to_dense() for seed in range(400)]
    spread = np.std(kernels, axis=0) / 20
    assert (np.abs(np.mean(kernels, axis=0) - ns.expected_ntk("erf", X).to_dense()) <= 6 * spread + 1e-12).all()


@pytest.mark.parametrize("name", ["relu", "tanh", "elu", "gelu"])
def test_test_points_against_training_points(name):
    X = hard_inputs()
    whole, part = ns.expected_ntk(name, X), ns.expected_ntk(name, X[:5], X)
    assert part.shape == (5, 14)
    assert not part.symmetric
    assert relative(np.vstack([part.to_dense(), whole.to_dense()[5:]]), whole.to_dense()) < 1e-13
    V = np.random.default_rng(1).standard_normal((14, 3))
    assert np.allclose(part @ V, whole.to_dense()[:5] @ V, rtol=1e-12, atol=1e-12)
    assert np.allclose(part.T.to_dense(), part.to_dense().T, rtol=1e-13, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(1, 4), st.sampled_from(NAMES), st.integers(0, 99), st.floats(-3, 2))
def test_expected_kernels_are_positive_semidefinite_and_bounded(n, d, name, seed, exponent):
    X = 10.0**exponent * np.random.default_rng(seed).standard_normal((n, d))
    for layer in LAYERS:
        operator = ns.expected_ntk(name, X, layer=layer)
        matrix = operator.to_dense()
        assert operator.semidefinite
        assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.trace(matrix)
        roots = np.sqrt(operator.diagonal())
        assert (np.abs(matrix) <= (1 + 1e-12) * np.outer(roots, roots) + 1e-300).all()


@pytest.mark.parametrize("act", ["tanh", "elu", "silu"])
def test_numbers_of_a_norm_do_not_depend_on_the_norms_beside_it(act):
    act = ns.activation(act)
    squares = np.array([0.0, 1e-3, *np.random.default_rng(0).uniform(0.5, 1.5, 70), 3.9, 4.1, 30.0])
    moments = hermite.Series(act, squares)
    alone = np.concatenate([moments.points(square[None]) for square in squares])
    assert (moments.points(squares) == alone).all()


def test_an_integral_agrees_with_the_series_where_both_hold():
    act, (a, b, c) = ns.activation("tanh"), (1.4, 0.9, 0.6)
    squares = np.array([a, b])
    moments = hermite.Series(act, squares)
    points = moments.points(squares)
    found = moments(cpu, points[:1], points[1:], np.array([[c]]), np.array([[a * b - c * c]]))
    integrals = hermite.pair_integrals(act, a, b, c, a * b - c * c)
    assert [float(part[0, 0]) for part in found] == pytest.approx(integrals[:2], rel=1e-13)


# ------------------------------------------------------------------------------------------------------ extreme norms
def extreme_inputs(scale, dtype):
    """Two directions, a near duplicate, a near opposite, a zero row, an equal and a longer one."""
    X = np.random.default_rng(7).standard_normal((7, 6))
    X[2] = X[0] * (1 + 1e-7) + 1e-6 * X[1]
    X[3], X[4], X[5], X[6] = -X[0] + 1e-3 * X[1], 0, X[1], 3 * X[1]
    return (scale * X).astype(dtype)


def exact_ntk(name, X):
    """S + K' c in 120 digits, from the inner products of the very numbers in X, and sqrt(K(x, x) K(x', x'))."""
    n, d = X.shape
    points = [[mp.mpf(float(entry)) for entry in row] for row in X]
    inner = [[mp.fsum(p * q for p, q in zip(x, y, strict=True)) / d for y in points] for x in points]
    # A zero row is the limit of small ones.
    least = mp.mpf(10) ** -4000
    inner = [[inner[i][j] + (least if i == j else 0) for j in range(n)] for i in range(n)]
    pairs = [[textbook(name, inner[i][i], inner[j][j], inner[i][j]) for j in range(n)] for i in range(n)]
    K = [[pairs[i][j][0] + inner[i][j] * pairs[i][j][1] for j in range(n)] for i in range(n)]
    return K, [[mp.sqrt(abs(K[i][i] * K[j][j])) for j in range(n)] for i in range(n)]


def dense(name, X):
    return ns.expected_ntk(name, X)


def convolutional(name, X):
    """Patches as long as the input: each holds all of it, and the mean over positions is the dense kernel."""
    return ns.expected_cnn_ntk(name, X, filter_size=X.shape[1])


FLOAT32 = [(1e-16, np.float32), (1e-11, np.float32), (1e5, np.float32), (1e10, np.float32), (1e14, np.float32)]
FLOAT64 = [(1e-150, float), (1e-60, float), (1e-45, float), (1e3, float), (1e7, float), (1e11, float), (1e100, float)]


@pytest.mark.covering(2)
@pytest.mark.parametrize("build", [dense, convolutional])
@pytest.mark.parametrize(("scale", "dtype"), FLOAT32 + FLOAT64)
@pytest.mark.parametrize("name", CLOSED)
def test_the_stated_error_holds_at_extreme_norms_or_the_call_says_no(name, scale, dtype, build):
    """Entry by entry against 120 digits; refused are those that have a scale of their own, with the range."""
    X = extreme_inputs(scale, dtype)
    piecewise = name in ("relu", "leaky_relu", "abs", "identity")
    if not piecewise and not 1e-48 < scale < 2e11:
        with pytest.raises(ValueError, match=r"computed from 1e-100 to 1e\+24; scale the inputs"):
            build(name, X)
        return
    operator = build(name, X)
    found, allowed = operator.to_dense(), operator.function.error + float(np.finfo(dtype).eps)
    assert found.dtype == dtype
    with mp.workdps(120):
        exact, sizes = exact_ntk(name, X)
        for i, j in np.ndindex(found.shape):
            assert abs(mp.mpf(float(found[i, j])) - exact[i][j]) <= allowed * sizes[i][j] + mp.mpf(10) ** -900
    assert operator.function.error < (1e-12 if piecewise or scale < 1e2 else 1e-3)


@pytest.mark.parametrize("build", [dense, convolutional])
def test_norms_of_all_sizes_meet_in_one_kernel(build):
    """1e-150 against 1e150, rows that overflow when squared and rows that vanish: entries of ReLU stay exact."""
    unit = extreme_inputs(1.0, float)
    powers = 2.0 ** np.array([-500, 500, 300, -300, 0, -505, 505])
    found, plain = build("relu", unit * powers[:, None]), build("relu", unit)
    expected = np.ldexp(plain.to_dense(), np.log2(np.outer(powers, powers)).astype(int))
    assert relative(found.to_dense(), expected) < 1e-15
    assert found.diagonal() == pytest.approx(np.diag(expected), rel=1e-15)
    both = ns.expected_ntk("relu", unit[:3] * powers[:3, None], unit * powers[:, None])
    assert both.T.to_dense() == pytest.approx(
        ns.expected_ntk("relu", unit).to_dense()[:, :3] * powers[:, None] * powers[:3], rel=1e-14, abs=0
    )


def test_a_rescaled_kernel_multiplies_and_has_a_norm():
    unit = extreme_inputs(1.0, float)
    found, plain = ns.expected_ntk("abs", 2.0**400 * unit), ns.expected_ntk("abs", unit).to_dense()
    V = np.random.default_rng(0).standard_normal((7, 3))
    assert (found @ V) * 2.0**-800 == pytest.approx(plain @ V, rel=1e-13)
    small = ns.expected_ntk("relu", unit * np.r_[2.0**-400, np.ones(6)][:, None])
    norm = ns.spectral_norm(small)
    exact = np.linalg.norm(ns.expected_ntk("relu", unit).to_dense()[1:, 1:], 2)
    assert norm.lower <= exact <= norm.upper
    assert small.semidefinite


@pytest.mark.parametrize(
    ("name", "X", "reason"),
    [
        ("relu", np.full((2, 3), 1e-30, np.float32), "range of float32"),
        ("relu", np.full((2, 3), 1e25, np.float32), "or pass them as float64"),
        ("relu", np.full((2, 3), 1e160), "range of float64"),
        ("abs", np.array([[1.0], [1e-200]]), "range of float64"),
        ("leaky_relu", np.full((2, 3), 1e8, np.float32), "range of float32"),
        ("tanh", np.array([[1.0], [1e-200]]), "computed from 1e-100"),
        ("tanh", np.full((2, 3), 1e8), "computed up to 1e\\+12"),
        ("gelu", np.full((2, 3), 1e200), "computed from 1e-100"),
        ("cos", np.full((2, 3), 1e-12, np.float32), "range of float32"),
    ],
)
def test_what_no_range_holds_is_refused(name, X, reason):
    act = ns.activation(name, **({"negative_slope": 1e12} if name == "leaky_relu" else {}))
    with pytest.raises(ValueError, match=reason):
        ns.expected_ntk(act, X, layer="first" if name == "cos" else "both")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_series_at_tiny_norms_is_its_first_terms(dtype):
    """tanh z = z and softplus z = log 2 + z/2 + ... up to squares that are below rounding."""
    X = extreme_inputs(1e-12, dtype)
    wide = X.astype(float)
    assert relative(ns.expected_ntk("tanh", X).to_dense(), 2 * wide @ wide.T / 6) < 2 * np.finfo(dtype).eps + 3e-14
    assert ns.expected_ntk("softplus", X).to_dense() == pytest.approx(np.full((7, 7), math.log(2) ** 2), rel=1e-7)


@pytest.mark.parametrize("place", [1.0, 2.7, 6.0])
@pytest.mark.parametrize(
    "norms", [np.r_[[0.01] * 20, 1.0, 3e4], np.r_[0.01, 1.3, [3e4] * 20], np.geomspace(0.01, 3e4, 9)]
)
def test_a_kink_that_was_not_named_is_met_by_the_norm_that_sees_it(norms, place):
    """Neither the smallest, nor the median, nor the largest norm need be that one."""
    bent = ns.Activation(
        lambda z: np.tanh(z) + np.maximum(z - place, 0), lambda z: 1 / np.cosh(np.clip(z, -300, 300)) ** 2 + (z > place)
    )
    X = norms[:, None] * np.ones(4)
    with pytest.raises(ValueError, match="name the points where phi' jumps"):
        ns.expected_ntk(bent, X)


def test_a_users_activation_is_served_and_one_without_expectations_refused():
    swish = ns.Activation(lambda z: z / (1 + np.exp(-z)), lambda z: (1 + np.exp(-z) * (1 + z)) / (1 + np.exp(-z)) ** 2)
    X = hard_inputs()
    assert relative(ns.expected_ntk(swish, X).to_dense(), ns.expected_ntk("silu", X).to_dense()) < 1e-13
    hidden = ns.Activation(lambda z: np.maximum(z, 0), lambda z: (z >= 0).astype(float))
    with pytest.raises(ValueError, match="name the points where phi' jumps"):
        ns.expected_ntk(hidden, X)
    steep = ns.Activation(np.exp, np.exp)
    exact = np.exp((np.square(X[:, None] + X[None]).sum(axis=2)) / 24)  # E exp(u + v)
    assert relative(ns.expected_ntk(steep, X, layer="second").to_dense(), exact) < 1e-11
    with pytest.raises(ValueError, match="grows too fast"):
        ns.expected_ntk(steep, 10 * X)
    with pytest.raises(ValueError, match="scale the inputs"):
        ns.expected_ntk("tanh", 1e7 * X)
    fast = ns.Activation(lambda z: np.sin(900 * z), lambda z: 900 * np.cos(900 * z))
    with pytest.raises(ValueError, match="two quadrature rules differ"):
        ns.expected_ntk(fast, X)


@pytest.mark.parametrize("name", ["erf", "tanh"])
def test_the_error_of_the_entries_is_a_distance(name):
    """|K_ij| <= sqrt(K_ii K_jj): relative errors of the entries add up to at most that of the trace."""
    operator = ns.expected_ntk(name, hard_inputs())
    trace = float(np.trace(operator.to_dense()))
    assert operator.function.error > 1e-15
    assert operator.function.error * trace <= operator.storage_error <= 1e-9 * trace
    norm = ns.spectral_norm(operator)
    assert norm.evidence.stored >= operator.function.error * trace


def test_bad_input_is_refused():
    X = hard_inputs()
    with pytest.raises(ValueError, match="layer='third'"):
        ns.expected_ntk("erf", X, layer="third")
    with pytest.raises(ValueError, match="12 are needed"):
        ns.expected_ntk("erf", X, X[:, :3])
    with pytest.raises(ValueError, match="NaN or infinite"):
        ns.expected_ntk("erf", np.array([[np.nan]]))


def test_the_gap_shares_one_product_of_the_data():
    X = np.random.default_rng(3).standard_normal((700, 20))
    net = ns.TwoLayer.symmetric(20, 64, "relu", seed=1)
    fluctuation = ns.ntk(net, X, layer="first") - ns.expected_ntk("relu", X, layer="first")
    pairs = {(id(A), id(B)) for A, B in fluctuation.cost.grams}
    assert len(pairs) == 2
    dense = ns.ntk(net, X, layer="first").to_dense() - ns.expected_ntk("relu", X, layer="first").to_dense()
    norm = ns.spectral_norm(fluctuation)
    assert norm.lower <= np.linalg.norm(dense, 2) <= norm.upper
