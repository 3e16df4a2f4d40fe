"""One eigenmode over time, for each law, against high precision and against its own recurrence."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.dynamics import GradientDescent, GradientFlow
from ntkspec.dynamics.laws import law_of

GD, FLOW = GradientDescent(), GradientFlow()


def exact_residual(law, x, t):
    """e_t in high precision: from the roots, not from the package's sums."""
    x = mpmath.mpf(x)
    if t == 0:
        return mpmath.mpf(1)
    if law == GD:
        return (1 - x) ** t
    if law == FLOW:
        return mpmath.exp(-x * t)
    m = mpmath.mpf(law.momentum)
    ahead = isinstance(law, ns.Nesterov)
    middle, product, first = (1 + m - x, m, 1 - x) if not ahead else ((1 + m) * (1 - x), m * (1 - x), 1 - (1 + m) * x)
    spread = mpmath.sqrt(mpmath.mpc(middle**2 - 4 * product))
    one, two = (middle + spread) / 2, (middle - spread) / 2
    if abs(spread) < mpmath.mpf(10) ** -40:
        return mpmath.re(one**t + t * one ** (t - 1) * (first - one))
    share = (first - two) / spread
    return mpmath.re(share * one**t + (1 - share) * two**t)


WITH_MOMENTUM = [law(momentum) for law in (ns.HeavyBall, ns.Nesterov) for momentum in (0.0, 0.5, 0.9, 0.99, 0.999)]
LAWS = [GD, FLOW, *WITH_MOMENTUM]


@pytest.mark.parametrize("law", LAWS, ids=str)
@settings(max_examples=150, deadline=None)
@given(
    part=st.floats(1e-20, 0.9995) | st.floats(-20, 0).map(lambda e: 10**e),
    t=st.integers(0, 10**15) | st.integers(0, 300),
)
def test_a_stable_mode_agrees_with_high_precision(law, part, t):
    x = 0.9995 * part * min(law.limit, 20.0)
    with mpmath.workdps(120):
        residual = exact_residual(law, x, t)
        learned = float(1 - residual)
        gain = float((1 - residual) / mpmath.mpf(x))
    # An ulp of x moves e_t by as much at the unstable end.
    lost = 1e-13 * law.amplification * min(law.amplification, 5)
    assert law.learned([x], [t])[0, 0] == pytest.approx(learned, rel=lost, abs=lost)
    assert law.gain([x], [t])[0, 0] == pytest.approx(gain, rel=10 * lost, abs=lost)
    assert law.residual([x], [t])[0, 0] == pytest.approx(float(residual), rel=lost, abs=lost)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_tiny_modes_keep_their_relative_accuracy(law):
    """learned is about x t times a constant: nothing may be lost against 1."""
    for x in (1e-18, 1e-14, 1e-9):
        for t in (1, 2, 10, 1000):
            with mpmath.workdps(80):
                exact = float(1 - exact_residual(law, x, t))
            assert law.learned([x], [t])[0, 0] == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("x", [-0.3, -1e-3, 0.0, 1e-3, 0.5, 1.0, 1.9, 2.5, 3.7, 4.5])
def test_nesterov_follows_its_recurrence(momentum, x):
    law, w, z, found = ns.Nesterov(momentum), 1.0, 1.0, []
    for _ in range(40):
        found.append(w)
        z, before = w - x * w, z
        w = z + momentum * (z - before)
    size = np.maximum(1, np.abs(found))
    assert (abs(law.residual([x], range(40))[:, 0] - found) <= 1e-11 * size).all()
    assert (abs(law.learned([x], range(40))[:, 0] - (1 - np.array(found))) <= 1e-11 * size).all()
    if x:
        gains = (1 - np.array(found)) / x
        assert (abs(law.gain([x], range(40))[:, 0] - gains) <= 1e-11 * size / abs(x)).all()


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("x", [-0.3, -1e-3, 0.0, 1e-3, 0.5, 1.0, 1.9, 2.5, 3.7, 4.5])
def test_the_heavy_ball_follows_its_recurrence(momentum, x):
    law, e, before, found = ns.HeavyBall(momentum), 1.0, 1.0, []
    for _ in range(40):
        found.append(e)
        e, before = (1 + momentum - x) * e - momentum * before, e
    assert law.residual([x], range(40))[:, 0] == pytest.approx(found, rel=1e-9, abs=1e-12)
    assert law.learned([x], range(40))[:, 0] == pytest.approx(1 - np.array(found), rel=1e-9, abs=1e-12)
    if x:
        assert law.gain([x], range(40))[:, 0] == pytest.approx((1 - np.array(found)) / x, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("momentum", [0.25, 0.5, 0.9])
def test_double_roots(momentum):
    """x = (1 -+ sqrt m)², where the two roots meet, and next to it; of Nesterov ((1 - m)/(1 + m))² and 1."""
    ball, ahead = ns.HeavyBall(momentum), ns.Nesterov(momentum)
    for law, edge in (
        (ball, (1 - math.sqrt(momentum)) ** 2),
        (ball, (1 + math.sqrt(momentum)) ** 2),
        (ahead, ((1 - momentum) / (1 + momentum)) ** 2),
        (ahead, 1.0),
    ):
        for x in (edge * (1 - 1e-12), edge, edge * (1 + 1e-12)):
            with mpmath.workdps(80):
                exact = [float(exact_residual(law, x, t)) for t in range(30)]
            assert law.residual([x], range(30))[:, 0] == pytest.approx(exact, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("momentum", [0.25, 0.9, 0.99, 0.999, 0.99999])
@pytest.mark.parametrize("part", [0.0, 1e-15, 1e-12, 1e-8, 1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("kind", [ns.HeavyBall, ns.Nesterov])
def test_no_digit_is_lost_near_the_double_root(kind, momentum, part):
    """learned and gain relative to themselves, on both sides of the edge, from the first step to the last."""
    law = kind(momentum)
    edge = (1 - math.sqrt(momentum)) ** 2 if kind is ns.HeavyBall else ((1 - momentum) / (1 + momentum)) ** 2
    times = [1, 2, 3, 10, *(max(4, int(part / (1 - momentum))) for part in (0.3, 0.49, 0.51, 1, 2.1, 7, 40))]
    for x in (edge * (1 - part), edge * (1 + part)):
        with mpmath.workdps(80):
            exact = [1 - exact_residual(law, x, t) for t in times]
            gains = [float(one / mpmath.mpf(x)) for one in exact]
        assert law.learned([x], times)[:, 0] == pytest.approx([float(one) for one in exact], rel=4e-15)
        assert law.gain([x], times)[:, 0] == pytest.approx(gains, rel=4e-15)
        residuals = [float(1 - one) for one in exact]
        assert law.residual([x], times)[:, 0] == pytest.approx(residuals, rel=1e-12, abs=4e-15)


def test_a_ball_without_momentum_is_gradient_descent():
    x, t = np.linspace(-0.5, 3, 36), [0, 1, 2, 7, 50]
    for law in (ns.HeavyBall(0), ns.Nesterov(0)):
        for what in ("learned", "gain", "residual"):
            assert getattr(law, what)(x, t) == pytest.approx(getattr(GD, what)(x, t), rel=1e-12, abs=1e-13)
        assert law.decay(x) == pytest.approx(GD.decay(x), rel=1e-12)


def test_slow_descent_is_the_flow():
    for x in (1e-6, 1e-4):
        assert GD.learned([x], [10_000])[0, 0] == pytest.approx(FLOW.learned([x], [10_000])[0, 0], rel=x)


def test_modes_at_the_ends():
    for law in (GD, FLOW):
        assert law.gain([0.0], [0, 1, 10**9])[:, 0].tolist() == [0, 1, 10**9]
    assert GD.learned([1.0], [0, 1, 2])[:, 0].tolist() == [0, 1, 1]
    assert GD.learned([2.0], [0, 1, 2, 10**9])[:, 0].tolist() == [0, 2, 0, 0]
    assert GD.learned([-1e-3], [2])[0, 0] == pytest.approx(1 - 1.001**2)
    assert math.isinf(GD.learned([3.0], [10**6])[0, 0])
    assert ns.HeavyBall(0.5).gain([0.0], [0, 1, 2])[:, 0].tolist() == [0, 1, 2.5]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_decay_is_that_of_the_slowest_root(law):
    limit = min(law.limit, 2.0)
    for x in (1e-18, 1e-6, 1e-3, 0.1 * limit, 0.4 * limit, 0.9 * limit):
        with mpmath.workdps(60):
            m, q = mpmath.mpf(getattr(law, "momentum", 0.0)), 1 - mpmath.mpf(x)
            middle, product = ((1 + m) * q, m * q) if isinstance(law, ns.Nesterov) else (m + q, m)
            spread = mpmath.sqrt(mpmath.mpc(middle**2 - 4 * product))
            roots = [abs(middle + sign * spread) / 2 for sign in (1, -1)]
            exact = x if law == FLOW else float(-mpmath.log(max(roots)))
        assert law.decay(x) == pytest.approx(exact, rel=1e-12)
    growing = law.limit * 1.5 if math.isfinite(law.limit) else -1.0
    assert law.decay(growing) < 0
    assert law.decay(-0.1) < 0


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_amplification_bounds_what_a_missed_step_becomes(momentum):
    """The impulse response of the stable recurrence, over a grid of x: at most 1 / (1 - momentum), and reached."""
    law, largest = ns.HeavyBall(momentum), 0.0
    for x in np.linspace(0, law.limit, 401):
        response, before = 1.0, 0.0
        for _ in range(300):
            largest = max(largest, abs(response))
            response, before = (1 + momentum - x) * response - momentum * before, response
    assert largest <= law.amplification * (1 + 1e-9)
    assert largest >= 0.999 * law.amplification
    law, largest = ns.Nesterov(momentum), 0.0
    for x in np.linspace(0, law.limit, 401):
        z, before = 1.0, 0.0
        for _ in range(300):
            w = z + momentum * (z - before)
            largest = max(largest, abs(w))
            z, before = w - x * w, z
    assert largest <= law.amplification * (1 + 1e-9)
    assert largest >= 0.999 * law.amplification


def test_decay_of_the_heavy_ball_in_closed_form():
    assert ns.HeavyBall(0.9).decay(1.0) == pytest.approx(-math.log(0.9) / 2)
    assert ns.HeavyBall(0.9).decay(1e-18) == pytest.approx(1e-17, rel=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_envelope_holds_from_each_step_on_and_is_touched(law):
    for x in (1e-3, 0.02, 0.3 * min(law.limit, 2.0), 0.8 * min(law.limit, 2.0)):
        size = abs(law.residual([x], range(400))[:, 0])
        after = np.maximum.accumulate(size[::-1])[::-1]
        envelope = law.envelope([x], range(400))[:, 0]
        assert (after <= envelope * (1 + 1e-9) + 1e-14).all()
        if envelope[0] < 1e3:
            assert envelope[1] <= 40 * law.amplification * max(after[1], 1e-3)


def test_momentum_close_to_one_at_rest():
    """gain(0, 2) = 2 + momentum: no digits are left by the plain quotient."""
    for momentum in (0.999, 1 - 1e-9):
        assert ns.HeavyBall(momentum).gain([0.0], [2])[0, 0] == pytest.approx(2 + momentum, rel=1e-6)
        assert ns.Nesterov(momentum).gain([0.0], [1])[0, 0] == pytest.approx(1 + momentum, rel=1e-6)


def test_laws_by_name_and_bad_ones():
    assert law_of("gd") == GD
    assert law_of("flow") == FLOW
    assert law_of(ns.HeavyBall(0.5)).momentum == 0.5
    for wrong in (1.0, -0.1, "a", float("nan")):
        for law in (ns.HeavyBall, ns.Nesterov):
            with pytest.raises(ValueError, match="momentum"):
                law(wrong)
    for wrong in ("sgd", 3, None):
        with pytest.raises(ValueError, match=r"'gd', 'flow', ntkspec\.HeavyBall\(momentum\) or ntkspec\.Nesterov"):
            law_of(wrong)
