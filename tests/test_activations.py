"""phi, phi' and the Gaussian constants."""

import math
import re

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.activations.functions import NAMES, _quadrature
from ntkspec.experiments.analyze import AnalyzeTask
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.two_layer_runs import Setting

NAMED = [*((name, {}) for name in NAMES), ("leaky_relu", {"negative_slope": -0.3}), ("elu", {"alpha": 2.5})]
IDS = [f"{name}{params or ''}" for name, params in NAMED]
FIELDS = ("zeta", "vartheta0", "vartheta1", "vartheta2")

MP = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "leaky_relu": lambda z: z if z >= 0 else z / 100,
    "abs": abs,
    "erf": mpmath.erf,
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "elu": lambda z: z if z >= 0 else mpmath.expm1(z),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
}


def mp_constants(phi):
    """By integration by parts from phi alone: zeta = E g phi, vartheta1 = E (g²-1) phi, vartheta2 = E He-combination.

    E p(g) phi'(g) = E (g p - p') phi, so vartheta2 = E (g⁴/2 - g² - 3g²/2 + 1) phi.
    """
    with mpmath.workdps(30):
        points = [-13, -6, -3, 0, 3, 6, 13]

        def expect(p):
            return mpmath.quad(lambda g: p(g) * phi(g) * mpmath.npdf(g), points)

        weights = (lambda g: g, lambda g: 1, lambda g: g**2 - 1, lambda g: g**4 / 2 - 5 * g**2 / 2 + 1)
        return [float(expect(p)) for p in weights]


@pytest.mark.parametrize("name", NAMES)
def test_constants_agree_with_mpmath_from_phi_alone(name):
    constants = ns.activation(name).constants
    assert [getattr(constants, field) for field in FIELDS] == pytest.approx(mp_constants(MP[name]), abs=1e-13)


@pytest.mark.parametrize(("name", "params"), NAMED, ids=IDS)
def test_quadrature_agrees_with_the_closed_form(name, params):
    act = ns.activation(name, **params)
    numeric = _quadrature(act)
    for field in FIELDS:
        assert abs(getattr(numeric, field) - getattr(act.constants, field)) <= 1e-13
    assert numeric.error <= 1e-12


def leaky_constants(a):
    """Half of each constant comes from either side of 0."""
    kink = (1 - a) / mpmath.sqrt(2 * mpmath.pi)
    return (1 + a) / 2, kink, kink, mpmath.mpf(0)


def elu_constants(alpha):
    """With r = E[exp(g); g < 0]: phi = alpha (exp - 1) and phi' = alpha exp there."""
    r, half = mpmath.exp(0.5) * mpmath.ncdf(-1), 1 / mpmath.sqrt(2 * mpmath.pi)
    return (
        mpmath.mpf(0.5) + alpha * r,
        half + alpha * (r - mpmath.mpf(0.5)),
        half + alpha * (r - half),
        alpha * (r - half / 2),
    )


PARAMETERS = [100.0, 1e6, -1e6, -3.7e9, 1e12, 0.3, -1e-8, 1.0 + 1e-12]


@pytest.mark.parametrize("value", PARAMETERS)
@pytest.mark.parametrize(
    ("name", "key", "exact"),
    [("leaky_relu", "negative_slope", leaky_constants), ("elu", "alpha", elu_constants)],
    ids=["leaky_relu", "elu"],
)
def test_the_error_of_constants_holds_for_parameters_of_any_size(name, key, exact, value):
    act = ns.activation(name, **{key: value})
    for constants in (act.constants, _quadrature(act)):
        with mpmath.workdps(60):
            for field, truth in zip(FIELDS, exact(mpmath.mpf(value)), strict=True):
                assert abs(mpmath.mpf(getattr(constants, field)) - truth) <= constants.error
        assert constants.error <= 1e-13 * max(1, abs(value))


@pytest.mark.parametrize("factor", [1.0, 37.0, 1e6, 1e30])
def test_the_error_of_quadrature_grows_with_the_function(factor):
    """He_5, whose constants all vanish, and softplus, whose do not."""
    zero = ns.Activation(
        lambda z: factor * (z**5 - 10 * z**3 + 15 * z), lambda z: factor * (5 * z**4 - 30 * z**2 + 15)
    ).constants
    assert max(abs(getattr(zero, field)) for field in FIELDS) <= zero.error <= 1e-12 * factor
    soft = ns.Activation(lambda z: factor * np.logaddexp(0, z), lambda z: factor / (1 + np.exp(-z))).constants
    with mpmath.workdps(30):
        exact = [mpmath.mpf(factor) * one for one in exact_softplus()]
    for field, truth in zip(FIELDS, exact, strict=True):
        assert abs(mpmath.mpf(getattr(soft, field)) - truth) <= soft.error
    assert soft.error <= 1e-14 * factor


def exact_softplus():
    """From phi' and phi, each by its own integral."""
    slope, points = (lambda g: 1 / (1 + mpmath.exp(-g))), [-14, -6, -3, 0, 3, 6, 14]
    weights = (lambda g: slope(g), lambda g: mpmath.log1p(mpmath.exp(g)), lambda g: g * slope(g))
    rest = lambda g: (g**3 / 2 - g) * slope(g)  # noqa: E731
    return [mpmath.quad(lambda g, w=w: w(g) * mpmath.npdf(g), points) for w in (*weights, rest)]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("leaky_relu", {"negative_slope": 1e300}),
        ("elu", {"alpha": np.nan}),
        ("elu", {"alpha": -np.inf}),
        ("elu", {"alpha": "1"}),
        ("leaky_relu", {"negative_slope": None}),
    ],
)
def test_parameters_beyond_the_range_are_refused(name, params):
    with pytest.raises(ValueError, match="but a number from"):
        ns.activation(name, **params)


def test_printed_digits_of_the_theory_notes():
    """Constants to 30 digits from high-precision integration, independent of this package."""
    assert ns.activation("tanh").constants.zeta == pytest.approx(0.605705509602158825583540227556, abs=1e-13)
    assert ns.activation("sigmoid").constants.zeta == pytest.approx(0.206620964141907037262350828718, abs=1e-13)
    assert ns.activation("softplus").constants.vartheta0 == pytest.approx(0.806059183347439784528228831504, abs=1e-13)
    assert ns.activation("silu").constants.vartheta2 == pytest.approx(0.0828197408682811138642048632368, abs=1e-13)
    assert ns.activation("erf").constants.zeta == pytest.approx(2 / math.sqrt(3 * math.pi), abs=1e-15)
    assert ns.activation("relu").constants.nu(4.0) == pytest.approx(2 / math.sqrt(2 * math.pi), abs=1e-15)


@pytest.mark.parametrize(("name", "params"), NAMED, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_derivative_agrees_with_finite_differences_and_dtype_stays(name, params, dtype):
    act = ns.activation(name, **params)
    z = np.linspace(-6, 6, 241)[1::2]
    h = 1e-6
    slope = (act(z + h) - act(z - h)) / (2 * h)
    assert np.abs(slope - act.derivative(z)).max() < 1e-8
    value, derivative = act.value_and_derivative(z.astype(dtype))
    assert value.dtype == derivative.dtype == dtype
    assert np.abs(value - act(z)).max() < 20 * np.finfo(dtype).eps * 6
    assert np.array_equal(value, act(z.astype(dtype)))
    assert np.array_equal(derivative, act.derivative(z.astype(dtype)))


@pytest.mark.parametrize("name", NAMES)
def test_values_agree_with_mpmath_far_out_and_near_zero(name):
    z = np.array([-60.0, -20.0, -5.5, -1.0, -1e-3, -1e-9, 1e-12, 1e-3, 0.5, 1.0, 3.3, 5.9, 30.0, 60.0])
    exact = np.array([float(MP[name](mpmath.mpf(float(x)))) for x in z])
    assert ns.activation(name)(z) == pytest.approx(exact, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("name", ["identity", "relu", "leaky_relu", "abs"])
def test_piecewise_linear_slope_at_zero_is_one(name):
    assert ns.activation(name).derivative(np.zeros(2)).tolist() == [1.0, 1.0]


def test_case_of_assumption_3_2():
    smooth = ("identity", "erf", "tanh", "sigmoid", "softplus", "gelu", "silu", "elu", "sin", "cos")
    for name in smooth:
        assert ns.activation(name).assumption == "smooth", name
    for name in ("relu", "leaky_relu", "abs"):
        assert ns.activation(name).assumption == "piecewise linear", name
    for alpha in (0.7, 1.4, 2.0):
        assert "none: phi' jumps at z = 0" in ns.activation("elu", alpha=alpha).assumption
    hidden = ns.Activation(lambda z: np.maximum(z - 1, 0) + z, lambda z: 1 + (z > 1), name="hidden kink")
    assert "none: phi' jumps near z = 1" in hidden.assumption
    square = ns.Activation(lambda z: z**2, lambda z: 2 * z, name="square")
    assert square.assumption == "none: phi' grows without bound"


def test_the_shape_of_the_argument_is_kept():
    act = ns.activation("erf")
    assert act(np.zeros((3, 4, 5))).shape == (3, 4, 5)
    assert act(np.linspace(-1, 1, 20).reshape(4, 5)[:, ::2]).shape == (4, 3)
    assert act(np.zeros((0,))).shape == (0,)
    assert float(act(0.25)) == pytest.approx(math.erf(0.25), rel=1e-15)


def test_unknown_names_and_parameters_are_refused():
    with pytest.raises(ValueError, match="'rellu' is unknown; use one of identity"):
        ns.activation("rellu")
    with pytest.raises(TypeError, match="'erf' does not take the parameters"):
        ns.activation("erf", negative_slope=0.1)
    with pytest.raises(ValueError, match="negative_slope=inf"):
        ns.activation("leaky_relu", negative_slope=math.inf)


# ------------------------------------------------------------------------------------------- a user's own activation
def own(fn, derivative, **options):
    return ns.Activation(fn, derivative, **options)


def test_a_derivative_may_be_a_number_and_must_fit():
    act = own(lambda z: 2 * z, lambda z: 2)
    assert act.derivative(np.zeros((2, 3), np.float32)).tolist() == [[2.0] * 3] * 2
    assert act.constants.zeta == pytest.approx(2, abs=1e-13)
    with pytest.raises(ValueError, match="'custom' does not return arrays of the shape of its argument"):
        own(lambda z: np.zeros(7), np.cos)(np.zeros(3))


def test_badly_behaved_functions_are_refused_with_the_reason():
    bad = {
        "not finite": own(np.log, lambda z: 1 / z),
        "grows too fast": own(lambda z: np.exp(z**2 / 2), lambda z: z * np.exp(z**2 / 2)),
        "integration by parts": own(lambda z: z**2, lambda z: z),
        "quadrature stops": own(lambda z: 1 / z**3, lambda z: -3 / z**4),
        "name the points": own(lambda z: np.sin(3e4 * z) / 3e4, lambda z: np.cos(3e4 * z) * np.sign(np.sin(1e5 * z))),
        "phi jumps": own(np.sign, np.zeros_like),
    }
    for reason, act in bad.items():
        with pytest.raises(ValueError, match=reason):
            act.constants  # noqa: B018


smooth_parts = st.lists(st.tuples(st.floats(-2, 2), st.floats(0.2, 2), st.floats(-3, 3)), min_size=1, max_size=3)


def sines(parts):
    """sum of a sin(w z + p): smooth, with known derivative, neither odd nor even."""
    return own(
        lambda z: sum(a * np.sin(w * z + p) for a, w, p in parts),
        lambda z: sum(a * w * np.cos(w * z + p) for a, w, p in parts),
        name="sines",
    )


def vector(constants):
    return np.array([getattr(constants, field) for field in FIELDS])


@settings(max_examples=20, deadline=None)
@given(smooth_parts)
def test_constants_of_sines_agree_with_the_closed_form(parts):
    """E sin(w g + p) = e^{-w²/2} sin p, and its derivatives in p and w give the rest."""
    zeta = sum(a * w * math.exp(-w * w / 2) * math.cos(p) for a, w, p in parts)
    theta0 = sum(a * math.exp(-w * w / 2) * math.sin(p) for a, w, p in parts)
    theta1 = sum(-a * w * w * math.exp(-w * w / 2) * math.sin(p) for a, w, p in parts)
    # E g³ cos(w g + p) = e^{-w²/2} (w³ - 3 w) sin p
    theta2 = sum(a * w * math.exp(-w * w / 2) * ((w**3 - 3 * w) / 2 + w) * math.sin(p) for a, w, p in parts)
    assert vector(sines(parts).constants) == pytest.approx([zeta, theta0, theta1, theta2], abs=1e-13 * 20)


@settings(max_examples=15, deadline=None)
@given(smooth_parts, smooth_parts, st.floats(-3, 3))
def test_constants_are_linear_in_phi(one, other, factor):
    total = own(
        lambda z: sines(one)(z) + factor * sines(other)(z),
        lambda z: sines(one).derivative(z) + factor * sines(other).derivative(z),
    )
    expected = vector(sines(one).constants) + factor * vector(sines(other).constants)
    assert vector(total.constants) == pytest.approx(expected, abs=1e-11)


@settings(max_examples=6, deadline=None)
@given(smooth_parts)
def test_even_and_odd_parts_carry_their_own_constants(parts):
    """An odd phi has vartheta0 = vartheta1 = vartheta2 = 0; an even one has zeta = 0."""
    act = sines(parts)
    odd = own(lambda z: act(z) - act(-z), lambda z: act.derivative(z) + act.derivative(-z)).constants
    even = own(lambda z: act(z) + act(-z), lambda z: act.derivative(z) - act.derivative(-z)).constants
    assert (odd.vartheta0, odd.vartheta1, odd.vartheta2) == pytest.approx((0, 0, 0), abs=1e-12)
    assert even.zeta == pytest.approx(0, abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(smooth_parts, st.floats(0.3, 2))
def test_constants_are_derivatives_of_the_scaled_mean(parts, scale):
    """M(s) = E phi(s g): vartheta0 = M, vartheta1 = M', vartheta2 = M''/2 at 1, for phi(scale z) as well."""
    act = sines([(a, w * scale, p) for a, w, p in parts])

    def mean(s):
        return sum(a * math.exp(-((w * scale * s) ** 2) / 2) * math.sin(p) for a, w, p in parts)

    h = 1e-4
    constants = act.constants
    assert constants.vartheta0 == pytest.approx(mean(1), abs=1e-12)
    assert constants.vartheta1 == pytest.approx((mean(1 + h) - mean(1 - h)) / (2 * h), abs=1e-5)
    assert constants.vartheta2 == pytest.approx((mean(1 + h) - 2 * mean(1) + mean(1 - h)) / (2 * h * h), abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(smooth_parts, st.floats(-2, 2))
def test_shift_law(parts, shift):
    """phi + shift moves vartheta0 only."""
    act = sines(parts)
    moved = own(lambda z: act(z) + shift, act.derivative).constants
    assert vector(moved) - vector(act.constants) == pytest.approx([0, shift, 0, 0], abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(smooth_parts)
def test_parseval_bounds_the_constants(parts):
    """E phi'² >= c_1² + 2 c_2²: zeta = c_1 and vartheta1 = sqrt2 c_2, with E phi'² by an independent quadrature."""
    act = sines(parts)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    energy = float(weights @ act.derivative(nodes) ** 2) / math.sqrt(2 * math.pi)
    constants = act.constants
    assert constants.zeta**2 + constants.vartheta1**2 <= energy * (1 + 1e-9) + 1e-12


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 4))
def test_piecewise_linear_functions_are_homogeneous(right, left, scale):
    """phi = right z (z >= 0), left z (z < 0): closed form, and phi(scale z)/scale = phi(z) has the same constants."""
    assume(abs(right - left) > 1e-6)

    def slope(z):
        return np.where(z >= 0, right, left)

    plain = own(lambda z: slope(z) * z, slope, kinks=[0.0]).constants
    scaled = own(lambda z: slope(scale * z) * scale * z / scale, slope, kinks=[0.0]).constants
    jump = (right - left) / math.sqrt(2 * math.pi)
    assert vector(plain) == pytest.approx([(right + left) / 2, jump, jump, 0], abs=1e-13 * 10)
    assert vector(scaled) == pytest.approx(vector(plain), abs=1e-13 * 10)


@settings(max_examples=20, deadline=None)
@given(st.floats(-2.5, 2.5), st.floats(-2, 2))
def test_a_kink_away_from_zero_is_respected(kink, slope):
    """phi = slope max(z - kink, 0): zeta = slope P(g > kink), vartheta1 = slope density(kink)."""
    act = own(lambda z: slope * np.maximum(z - kink, 0), lambda z: slope * (z >= kink), kinks=[kink])
    tail, density = math.erfc(kink / math.sqrt(2)) / 2, math.exp(-kink * kink / 2) / math.sqrt(2 * math.pi)
    assert act.constants.zeta == pytest.approx(slope * tail, abs=1e-13 * 5)
    assert act.constants.vartheta1 == pytest.approx(slope * density, abs=1e-13 * 5)
    assert act.constants.vartheta0 == pytest.approx(slope * (density - kink * tail), abs=1e-13 * 5)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("ReLU", "relu"),
        ("swish", "silu"),
        ("np.tanh", "tanh"),
        ("torch.nn.GELU", "gelu"),
        ("nn.LeakyReLU()", "leaky_relu"),
        ("leaky-relu", "leaky_relu"),
        ("scipy.special.erf", "erf"),
        ("F.softplus", "softplus"),
        ("jax.nn.sigmoid", "sigmoid"),
        ("torch.nn.Identity", "identity"),
        ("np.abs", "abs"),
    ],
)
def test_names_are_taken_as_people_write_them(written, name):
    assert ns.activation(written).name == ns.activation(name).name
    assert AnalyzeTask(activation=written) == AnalyzeTask(activation=name)
    assert Grid((4,), activation=(written,)) == Grid((4,), activation=(name,))
    assert Setting(written, 2, 2, 2, 1) == Setting(name, 2, 2, 2, 1)


@pytest.mark.parametrize(("function", "name"), [(np.tanh, "tanh"), (np.sin, "sin"), (abs, "abs")])
def test_a_known_function_itself_is_told_its_name(function, name):
    for take in (ns.activation, lambda given: ns.TwoLayer.symmetric(4, 8, given)):
        with pytest.raises(TypeError, match=f"take its name, '{name}'"):
            take(function)


def test_an_unknown_function_is_told_what_it_needs():
    with pytest.raises(TypeError, match=r"ntkspec.Activation\(phi, derivative\) is needed$"):
        ns.activation(lambda z: z**3)


@pytest.mark.parametrize("written", ["jax.nn.gelu", "gelu_tanh", "flax.linen.gelu", "GELU_new"])
def test_the_gelu_by_tanh_is_not_taken_for_the_exact_one(written):
    with pytest.raises(ValueError, match="the approximation of gelu by tanh"):
        ns.activation(written)


@pytest.mark.parametrize("written", ["", "tanhh", "my.tanh", "np.", "np.np.tanh", "tan_h_"])
def test_other_names_are_refused_as_they_came(written):
    with pytest.raises(ValueError, match=f"activation {re.escape(repr(written))} is unknown"):
        ns.activation(written)
