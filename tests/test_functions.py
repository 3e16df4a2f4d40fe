"""The activations of the CPU engine against mpmath: values, derivatives, special values, memory."""

import math
import warnings

import mpmath
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.activations.functions import NAMES
from ntkspec.engines import cpu


def logistic(z):
    return 1 / (1 + mpmath.exp(-z))


def below(z):
    """P(g < z); mpmath overflows far out, where it is zero for every purpose."""
    return mpmath.ncdf(max(z, -(10**6)))


# name of the engine's function: its parameters, phi and phi'
EXACT = {
    "piecewise_linear": ((0.01,), lambda z: z if z >= 0 else 0.01 * z, lambda z: 1 if z >= 0 else mpmath.mpf(0.01)),
    "erf": ((), mpmath.erf, lambda z: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-z * z)),
    "tanh": ((), mpmath.tanh, lambda z: mpmath.sech(z) ** 2),
    "sigmoid": ((), logistic, lambda z: logistic(z) * logistic(-z)),
    "softplus": ((), lambda z: max(z, 0) + mpmath.log1p(mpmath.exp(-abs(z))), logistic),
    "gelu": ((), lambda z: z * below(z), lambda z: below(z) + z * mpmath.npdf(z)),
    "silu": ((), lambda z: z * logistic(z), lambda z: logistic(z) * (1 + z * logistic(-z))),
    "elu": ((2.5,), lambda z: z if z >= 0 else 2.5 * mpmath.expm1(z), lambda z: 1 if z >= 0 else 2.5 * mpmath.exp(z)),
    "sin": ((), mpmath.sin, mpmath.cos),
    "cos": ((), mpmath.cos, lambda z: -mpmath.sin(z)),
}
# Their derivatives cross zero: an ulp is at least that of 1 there.
CROSSING = ("gelu", "silu", "sin", "cos")
ULPS = {np.float32: 2, np.float64: 4}
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_function = pytest.mark.parametrize("name", EXACT)


def computed(name, z, parameters=None):
    value, slope = np.full_like(z, 7), np.full_like(z, 7)
    getattr(cpu.functions, name)(z, value, slope, *(EXACT[name][0] if parameters is None else parameters))
    return value, slope


def sample(dtype, points=1200):
    """Dense over [-12, 12], on both sides of where branches meet, and from the smallest to the largest numbers."""
    limits = np.finfo(dtype)
    meet = [0.7, 1, 9.34, 9.38, 18.7, 26.6, 26.63, 37.6, 39, 87.4, 104, 708.4, 745.2, 760, 1400]
    meet += [k * math.log(2) / 2 for k in range(1, 30)]
    sizes = np.concatenate(
        [
            np.random.default_rng(0).uniform(0, 12, points),
            np.random.default_rng(1).uniform(0, 1.5, points // 3),
            np.geomspace(12, 1500, 60),
            np.geomspace(1e3, limits.max / 2, 20),
            np.geomspace(limits.smallest_subnormal, 1, 60),
        ]
    ).astype(dtype)
    near = [np.nextafter(dtype(point), dtype(side)) for point in meet for side in (0, np.inf)]
    sizes = np.concatenate([sizes, near])
    return np.concatenate([sizes, -sizes])


def excess(found, exact, least):
    """Largest error, as a multiple of what is allowed: a few ulp, of ``least`` at least, or the smallest normal."""
    limits = np.finfo(found.dtype)
    worst = 0.0
    for number, truth in zip(found, exact, strict=True):
        ulp = float(np.spacing(found.dtype.type(max(abs(truth), least))))
        allowed = max(ULPS[found.dtype.type] * ulp, float(limits.smallest_normal))
        worst = max(worst, float(abs(mpmath.mpf(float(number)) - truth) / allowed))
    return worst


@every_function
@both_dtypes
@pytest.mark.parametrize("points", [300, pytest.param(1200, marks=pytest.mark.slow)])
def test_value_and_derivative_are_exact_to_a_few_ulp(name, dtype, points):
    z = sample(dtype, points)
    value, slope = computed(name, z)
    with mpmath.workdps(40):
        points = [mpmath.mpf(float(x)) for x in z]
        assert excess(value, [EXACT[name][1](x) for x in points], 0) <= 1
        assert excess(slope, [EXACT[name][2](x) for x in points], name in CROSSING) <= 1


@every_function
def test_float32_agrees_with_float64_over_all_numbers(name):
    """A quarter of a million of all bit patterns, and as many of [-12, 12]."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2**32, 2**18, dtype=np.uint32).view(np.float32)
    z = np.concatenate([z[np.isfinite(z)], rng.uniform(-12, 12, 2**18).astype(np.float32)])
    results = zip(computed(name, z), computed(name, z.astype(np.float64)), (0, name in CROSSING), strict=True)
    for single, double, least in results:
        ulp = np.spacing(np.maximum(np.abs(double), least).astype(np.float32)).astype(float)
        allowed = np.maximum(2 * ulp, float(np.finfo(np.float32).smallest_normal))
        assert (np.abs(single - double) <= allowed).all()


@pytest.mark.parametrize(
    ("name", "parameters", "values", "slopes"),
    [
        ("piecewise_linear", (1.0,), (math.inf, -math.inf), (1, 1)),
        ("piecewise_linear", (0.5,), (math.inf, -math.inf), (1, 0.5)),
        ("piecewise_linear", (0.0,), (math.inf, 0), (1, 0)),
        ("piecewise_linear", (-1.0,), (math.inf, math.inf), (1, -1)),
        ("erf", (), (1, -1), (0, 0)),
        ("tanh", (), (1, -1), (0, 0)),
        ("sigmoid", (), (1, 0), (0, 0)),
        ("softplus", (), (math.inf, 0), (1, 0)),
        ("gelu", (), (math.inf, 0), (1, 0)),
        ("silu", (), (math.inf, 0), (1, 0)),
        ("elu", (1.5,), (math.inf, -1.5), (1, 0)),
        ("elu", (1e30,), (math.inf, -np.float32(1e30)), (1, 0)),
    ],
)
@both_dtypes
def test_infinity_gives_the_limit_and_nan_stays(name, parameters, values, slopes, dtype):
    z = np.array([math.inf, -math.inf, math.nan], dtype)
    value, slope = computed(name, z, parameters)
    assert value[:2] == pytest.approx(values, rel=1e-7, abs=0)
    assert slope[:2].tolist() == list(slopes)
    assert np.isnan(value[2])
    assert np.isnan(slope[2]) or name == "piecewise_linear"


@pytest.mark.parametrize("name", ["sin", "cos"])
@both_dtypes
def test_waves_have_no_limit(name, dtype):
    with np.errstate(invalid="ignore"):
        results = computed(name, np.array([math.inf, -math.inf, math.nan], dtype))
    assert np.isnan(results).all()


@pytest.mark.parametrize("name", [name for name in EXACT if name not in ("sigmoid", "softplus", "cos")])
@both_dtypes
def test_zero_keeps_its_sign(name, dtype):
    value, slope = computed(name, np.array([0.0, -0.0], dtype))
    assert value.tolist() == [0, 0]
    assert np.signbit(value).tolist() == [False, True]
    assert slope == pytest.approx([float(EXACT[name][2](mpmath.mpf(0)))] * 2, rel=1e-7)


@every_function
@both_dtypes
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 3, 11), (130,)])
def test_nothing_but_the_given_arrays_is_written(name, dtype, shape):
    """The results depend on no neighbour, wherever an entry falls in a vector."""
    size = math.prod(shape)
    numbers = np.linspace(-4, 4, size + 6, dtype=dtype)
    memory = np.full((2, size + 6), np.nan, dtype)
    z, value, slope = (array[3 : 3 + size].reshape(shape) for array in (numbers, *memory))
    before = numbers.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(cpu.functions, name)(z, value, slope, *EXACT[name][0]) is None
    assert np.array_equal(numbers, before)
    assert np.isnan(memory[:, :3]).all()
    assert np.isnan(memory[:, 3 + size :]).all()
    alone = [computed(name, number.reshape(1)) for number in z.reshape(-1)]
    assert np.array_equal(memory[:, 3 : 3 + size], np.array(alone, dtype).reshape(size, 2).T)


# ------------------------------------------------------------------------------------------------- through Activation
@pytest.mark.parametrize("name", NAMES)
@both_dtypes
def test_fill_writes_what_value_and_derivative_return(name, dtype):
    act, z = ns.activation(name), np.linspace(-3, 3, 60, dtype=dtype).reshape(6, 10)
    value, slope = np.full_like(z, np.nan), np.full_like(z, np.nan)
    act.fill(z, value, slope)
    assert np.array_equal((value, slope), act.value_and_derivative(z))
    z.setflags(write=False)
    assert np.array_equal((value[::2, ::3], slope[::2, ::3]), act.value_and_derivative(z[::2, ::3]))
    assert np.array_equal((value.T, slope.T), act.value_and_derivative(z.T))
    assert [part.shape for part in act.value_and_derivative(dtype(0.5))] == [(), ()]
    assert act.value_and_derivative([0, 1])[0].dtype == np.float64


@both_dtypes
def test_fill_takes_a_users_own_functions(dtype):
    act = ns.Activation(lambda z: 3.0 * z, lambda z: 3, name="triple")
    z = np.arange(6, dtype=dtype).reshape(2, 3)
    value, slope = np.empty_like(z), np.empty_like(z)
    act.fill(z, value, slope)
    assert np.array_equal(value, 3 * z)
    assert (slope == 3).all()
    wrong = ns.Activation(lambda z: np.zeros(7), np.cos)
    with pytest.raises(ValueError, match="'custom' does not return arrays of the shape of its argument"):
        wrong.fill(z, value, slope)


@pytest.mark.parametrize("act", [ns.activation("relu"), ns.Activation(np.sin, np.cos)], ids=["named", "own"])
@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ((np.ones(4), np.ones(4), np.ones(5)), r"\(4,\) float64; \(4,\) float64; \(5,\) float64, but C-contiguous"),
        ((np.ones(4), np.ones(4, np.float32), np.ones(4)), r"\(4,\) float64; \(4,\) float32; \(4,\) float64"),
        ((np.ones(4), np.ones(8)[::2], np.ones(4)), r"; \(4,\) float64 not contiguous; "),
        ((np.ones(8)[::2], np.ones(4), np.ones(4)), r"are \(4,\) float64 not contiguous; "),
        ([np.ones(4, int)] * 3, "int64; .* of dtype float32 or float64"),
        ([np.ones(4, ">f8")] * 3, "of dtype float32 or float64"),
    ],
)
def test_fill_refuses_arrays_that_do_not_fit(act, arrays, reason):
    with pytest.raises(ValueError, match=reason):
        act.fill(*arrays)
