"""A user's phi and phi' are looked at once: right ones pass, whatever their kinks, and wrong ones are refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import ntkspec as ns

X = np.random.default_rng(0).standard_normal((20, 3))


def in_single(function):
    """As functions of a library that computes in float32 only."""
    return lambda z: function(z.astype(np.float32)).astype(np.float64)


def normal(z):
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


GRID = np.arange(-9, 9, 0.01)

RIGHT = {
    "two hidden kinks": (lambda z: np.clip(z, -1, 1), lambda z: abs(z) < 1),
    "a kink far out": (lambda z: np.clip(z, 0, 6), lambda z: (z > 0) & (z < 6)),
    "selu": (lambda z: np.where(z > 0, z, 1.67 * np.expm1(z)), lambda z: np.where(z > 0, 1, 1.67 * np.exp(z))),
    "a kink every 1/100": (
        lambda z: np.interp(z, GRID, np.sin(GRID)),
        lambda z: np.diff(np.sin(GRID))[np.clip(np.searchsorted(GRID, z) - 1, 0, len(GRID) - 2)] / 0.01,
    ),
    "a triangle wave": (lambda z: np.arcsin(np.sin(3 * z)), lambda z: 3 * np.sign(np.cos(3 * z))),
    "a root": (lambda z: np.sqrt(abs(z)), lambda z: np.sign(z) / (2 * np.sqrt(abs(z)))),
    "fast": (lambda z: np.sin(3e4 * z), lambda z: 3e4 * np.cos(3e4 * z)),
    "steep": (lambda z: np.tanh(1e3 * z), lambda z: 1e3 / np.cosh(np.clip(1e3 * z, -300, 300)) ** 2),
    "growing": (lambda z: np.exp(z * z / 2), lambda z: z * np.exp(z * z / 2)),
    "tiny": (lambda z: 1e-200 * np.arctan(z), lambda z: 1e-200 / (1 + z * z)),
    "huge": (lambda z: 1e200 * np.arctan(z), lambda z: 1e200 / (1 + z * z)),
    "far from zero": (lambda z: 1e6 + z, lambda z: 1),
    "a number": (lambda z: 3, lambda z: 0),
    "lists": (lambda z: (z * z).tolist(), lambda z: (2 * z).tolist()),
    "single tanh": (in_single(np.tanh), in_single(lambda z: 1 - np.tanh(z) ** 2)),
    "single silu": (in_single(lambda z: z * sigmoid(z)), in_single(lambda z: sigmoid(z) * (1 + z * sigmoid(-z)))),
    "float32 results": (lambda z: np.sin(z).astype("f"), lambda z: np.cos(z).astype("f")),
    "a tail that cancels": (
        lambda z: 0.5 * z * (1 + np.tanh(0.8 * z + 0.04 * z**3)),
        lambda z: (
            0.5 * (1 + np.tanh(0.8 * z + 0.04 * z**3))
            + 0.5 * z * (0.8 + 0.12 * z**2) / np.cosh(0.8 * z + 0.04 * z**3) ** 2
        ),
    ),
    "single gelu": (
        in_single(lambda z: z * (1 + special.erf(z / 2**0.5)) / 2),
        in_single(lambda z: (1 + special.erf(z / 2**0.5)) / 2 + z * normal(z)),
    ),
    "single tanhshrink": (in_single(lambda z: z - np.tanh(z)), in_single(lambda z: np.tanh(z) ** 2)),
    "underflow": (
        lambda z: z * special.expit(100 * z),
        lambda z: special.expit(100 * z) * (1 + 100 * z * special.expit(-100 * z)),
    ),
    "naive underflow": (
        lambda z: z / (1 + np.exp(-100 * z)),
        lambda z: (1 + 100 * z * special.expit(-100 * z)) / (1 + np.exp(-100 * z)),
    ),
    "in place": (lambda z: np.tanh(z, out=z), lambda z: np.subtract(1, np.tanh(z) ** 2, out=z)),
}
WRONG = {
    "of the output": (np.tanh, lambda z: 1 - z**2, "the derivative does not belong to phi: near z = -0"),
    "a factor": (lambda z: z**2, lambda z: z, r"near z = .*, but phi rises by"),
    "half a line": (lambda z: np.maximum(z, 0), np.ones_like, "it is 1, but phi rises by 0 for each unit"),
    "a sign": (np.cos, np.sin, "does not belong"),
    "elsewhere": (lambda z: np.clip(z, -1, 1), lambda z: abs(z) < 2, "near z = -?1.* it is 1, but phi rises by 0"),
    "degrees": (lambda z: np.sin(np.deg2rad(z)), lambda z: np.cos(np.deg2rad(z)), "phi rises by 0.0174533"),
    "one percent of a term": (
        lambda z: z * special.ndtr(z),
        lambda z: special.ndtr(z) + 0.99 * z * normal(z),
        "does not belong",
    ),
    "straight through": (np.round, np.ones_like, "does not belong"),
    "jump": (np.sign, np.zeros_like, "phi jumps near z = -?[0-9.]+e-1"),
    "small jump": (lambda z: np.tanh(z) + 1e-3 * (z > 0.3), lambda z: 1 - np.tanh(z) ** 2, "phi jumps near z = 0.3"),
    "not finite": (np.log, lambda z: 1 / z, "phi is not finite at z = -"),
    "infinite slope": (np.cbrt, lambda z: np.where(abs(z) < 1, np.inf, 1), "its derivative is not finite"),
    "softmax": (special.softmax, special.softmax, "phi does not act entry by entry"),
    "centred": (lambda z: z - z.mean(), lambda z: 1, "phi does not act entry by entry"),
    "chance": (lambda z: z * np.random.default_rng().integers(0, 2, z.shape), lambda z: 1, "or chance, change it"),
    "a tail cut off": (np.exp, lambda z: np.where(z < -1, 0, np.exp(z)), "does not belong"),
    "one number": (lambda z: z if z > 0 else 0, lambda z: 1, "phi does not take a NumPy array: ValueError"),
    "a slip": (np.sin, lambda z: cosine(z), "its derivative does not take a NumPy array: NameError"),  # noqa: F821
    "scalars only": (math.tanh, lambda z: 1 - math.tanh(z) ** 2, "phi does not take a NumPy array: TypeError"),
    "complex": (np.emath.sqrt, lambda z: 1, "returns complex128, but real numbers are needed"),
    "shape": (lambda z: np.zeros(7), np.cos, "does not return arrays of the shape of its argument"),
    "masked": (lambda z: np.ma.masked_less(z, 0), lambda z: 1, "returns is a masked array"),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_right_derivatives_pass_and_kinks_need_no_name(kind):
    fn, derivative = RIGHT[kind]
    act = ns.Activation(fn, derivative, name=kind)
    assert ns.activation(act) is act


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_functions_are_refused_with_the_reason(kind):
    fn, derivative, reason = WRONG[kind]
    with pytest.raises((ValueError, TypeError), match=reason):
        ns.activation(ns.Activation(fn, derivative, name=kind))


DOORS = {
    "TwoLayer": lambda act: ns.TwoLayer.random(3, 8, act),
    "FullyConnected": lambda act: ns.FullyConnected.random(3, [4, 4], act),
    "Convolutional": lambda act: ns.Convolutional.random((3, 1), [2], act, filter_size=2),
    "expected_ntk": lambda act: ns.expected_ntk(act, X),
    "expected_nngp": lambda act: ns.expected_nngp(act, X),
    "expected_cnn_ntk": lambda act: ns.expected_cnn_ntk(act, X, filter_size=2),
    "linear_kernel": lambda act: ns.linear_kernel(act, X),
    "cnn_linear_kernel": lambda act: ns.cnn_linear_kernel(act, X, filter_size=2),
    "linear_expansion": lambda act: ns.linear_expansion(act),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_looks_before_it_computes(door):
    wrong = ns.Activation(np.tanh, lambda z: 1 - z**2, name="mine")
    with pytest.raises(
        ValueError, match=r"^activation 'mine' cannot be used: the derivative does not belong to phi"
    ) as said:
        DOORS[door](wrong)
    assert "\n" not in str(said.value)


def test_it_is_looked_at_once():
    calls = []

    def counted(z):
        calls.append(z.size)
        return np.arctan(z)

    act = ns.Activation(counted, lambda z: 1 / (1 + z * z))
    ns.activation(act)
    count, entries = len(calls), sum(calls)
    assert entries < 40_000
    ns.activation(act)
    ns.TwoLayer.random(3, 8, act)
    assert len(calls) == count


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0.1, 20), st.floats(-3, 3)), min_size=1, max_size=4), st.data())
def test_sums_of_sines_with_kinks_pass_and_a_change_of_one_part_in_a_thousand_does_not(parts, data):
    kink = data.draw(st.floats(-5, 5))
    slope = sum(abs(a * w) for a, w, _ in parts)

    def phi(z):
        return sum(a * np.sin(w * z + p) for a, w, p in parts) + abs(z - kink)

    def derivative(z):
        return sum(a * w * np.cos(w * z + p) for a, w, p in parts) + np.sign(z - kink)

    ns.activation(ns.Activation(phi, derivative))
    with pytest.raises(ValueError, match="does not belong"):
        ns.activation(ns.Activation(phi, lambda z: derivative(z) + 1e-3 * (1 + slope)))


def test_results_do_not_share_memory_that_a_function_reuses():
    room = np.empty(5)

    def into(z):
        return np.multiply(z, z, out=room[: z.size].reshape(z.shape)) if z.size <= 5 else z * z

    def twice(z):
        return np.multiply(2, z, out=room[: z.size].reshape(z.shape)) if z.size <= 5 else 2 * z

    z = np.arange(5.0)
    value, slope = ns.Activation(into, twice).value_and_derivative(z)
    assert np.array_equal(value, z * z)
    assert np.array_equal(slope, 2 * z)


def test_kinks_are_finite_numbers():
    with pytest.raises(ValueError, match="but finite numbers are needed"):
        ns.Activation(np.abs, np.sign, kinks=[np.nan])
