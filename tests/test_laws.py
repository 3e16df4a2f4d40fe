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
    if law == GD:
        return (1 - x) ** t
    if law == FLOW:
        return mpmath.exp(-x * t)
    m = mpmath.mpf(law.momentum)
    spread = mpmath.sqrt(mpmath.mpc((1 + m - x) ** 2 - 4 * m))
    one, two = (1 + m - x + spread) / 2, (1 + m - x - spread) / 2
    if abs(spread) < mpmath.mpf(10) ** -40:
        return mpmath.re(one**t + t * one ** (t - 1) * ((1 - x) - one))
    share = ((1 - x) - two) / spread
    return mpmath.re(share * one**t + (1 - share) * two**t)


LAWS = [GD, FLOW, ns.HeavyBall(0.0), ns.HeavyBall(0.5), ns.HeavyBall(0.9), ns.HeavyBall(0.99)]


@pytest.mark.parametrize("law", LAWS, ids=str)
@settings(max_examples=150, deadline=None)
@given(part=st.floats(1e-16, 0.9995), t=st.integers(0, 10**9) | st.integers(0, 300))
def test_a_stable_mode_agrees_with_high_precision(law, part, t):
    x = part * min(law.limit, 20.0)
    with mpmath.workdps(80):
        residual = exact_residual(law, x, t)
        learned = float(1 - residual)
        gain = float((1 - residual) / mpmath.mpf(x))
    assert law.learned([x], [t])[0, 0] == pytest.approx(learned, rel=1e-11, abs=1e-12 * law.amplification)
    assert law.gain([x], [t])[0, 0] == pytest.approx(gain, rel=1e-9, abs=1e-12 * law.amplification)
    assert law.residual([x], [t])[0, 0] == pytest.approx(float(residual), rel=1e-6, abs=1e-11 * law.amplification)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_tiny_modes_keep_their_relative_accuracy(law):
    """learned is about x t times a constant: nothing may be lost against 1."""
    for x in (1e-18, 1e-14, 1e-9):
        for t in (1, 2, 10, 1000):
            with mpmath.workdps(80):
                exact = float(1 - exact_residual(law, x, t))
            assert law.learned([x], [t])[0, 0] == pytest.approx(exact, rel=1e-11)


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
    """x = (1 -+ sqrt m)², where the two roots meet, and next to it."""
    law = ns.HeavyBall(momentum)
    for edge in ((1 - math.sqrt(momentum)) ** 2, (1 + math.sqrt(momentum)) ** 2):
        for x in (edge * (1 - 1e-12), edge, edge * (1 + 1e-12)):
            with mpmath.workdps(80):
                exact = [float(exact_residual(law, x, t)) for t in range(30)]
            assert law.residual([x], range(30))[:, 0] == pytest.approx(exact, rel=1e-7, abs=1e-9)


def test_a_ball_without_momentum_is_gradient_descent():
    x, t = np.linspace(-0.5, 3, 36), [0, 1, 2, 7, 50]
    for what in ("learned", "gain", "residual"):
        assert getattr(ns.HeavyBall(0), what)(x, t) == pytest.approx(getattr(GD, what)(x, t), rel=1e-12, abs=1e-13)
    assert ns.HeavyBall(0).decay(x) == pytest.approx(GD.decay(x), rel=1e-12)


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
def test_decay_is_that_of_late_steps(law):
    real = [1e-6, 1e-3, 0.002] if isinstance(law, ns.HeavyBall) and law.momentum > 0.5 else [1e-6, 0.01, 0.05]
    for x in real:
        late = law.residual([x], [4000, 4001])[:, 0]
        if late[1] > 1e-200 and law != ns.HeavyBall(0.99):
            assert -math.log(late[1] / late[0]) == pytest.approx(law.decay(x), rel=1e-6)
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


def test_laws_by_name_and_bad_ones():
    assert law_of("gd") == GD
    assert law_of("flow") == FLOW
    assert law_of(ns.HeavyBall(0.5)).momentum == 0.5
    for wrong in (1.0, -0.1, "a", float("nan")):
        with pytest.raises(ValueError, match="momentum"):
            ns.HeavyBall(wrong)
    for wrong in ("sgd", 3, None):
        with pytest.raises(ValueError, match=r"'gd', 'flow' or ntkspec\.HeavyBall"):
            law_of(wrong)
