"""What a Krylov space excludes: the bound for every eigenvector, its level sets, and how often it may fail."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

import ntkspec as ns
from adversarial import SPECTRA, matrix_with, operator_with
from ntkspec import progress
from ntkspec.operators import Dense, wrap
from ntkspec.spectra.certificates import (
    BLOCKS,
    TELLING_STEPS,
    FailureBudget,
    expected_products,
    forecast,
    overlap_bounds,
    overlap_quantile,
    prove,
    spectrum_bounds,
)
from ntkspec.spectra.deflation import LockedPairs
from ntkspec.spectra.lanczos import Lanczos


def started(operator, block, seed=0, steps=6):
    lanczos = Lanczos(operator)
    lanczos.begin_random(seed, block)
    lanczos.extend(steps)
    return lanczos


def outside(values, theta):
    """Indices of the eigenvalues outside the Ritz values."""
    gap = 1e-9 * abs(theta).max()
    return np.flatnonzero((values > theta[-1] + gap) | (values < theta[0] - gap))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(SPECTRA)),
    st.sampled_from([1, 2, 3, 6]),
    st.integers(1, 8),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 1e-9, 1e-4]),
)
def test_no_eigenvector_overlaps_the_start_by_more_than_the_bound(name, block, steps, seed, noise):
    """The inequality of the theorem itself, for every eigenpair outside, with products that are wrong by ``noise``."""
    matrix = matrix_with(SPECTRA[name](60), seed)
    size, rng = np.linalg.norm(matrix, 2), np.random.default_rng(seed)
    wrong = noise * size * np.linalg.qr(rng.standard_normal((60, 60)))[0]
    operator = wrap(lambda v: (matrix + (wrong + wrong.T) / 2) @ v, 60, error=max(noise, 1e-15))
    lanczos = started(operator, block, seed, steps)
    values, vectors = np.linalg.eigh(matrix)
    start = lanczos.basis.rows[: lanczos.start.shape[1]]
    for i in outside(values, lanczos.ritz()[0]):
        overlap = np.linalg.norm(start @ vectors[:, i])
        assert overlap <= math.hypot(*overlap_bounds(lanczos, values[i])) * (1 + 1e-6) + 1e-13


def test_for_a_single_vector_it_is_the_bound_of_van_dorsselaer_hochstenbach_and_van_der_vorst():
    """prod beta_j / prod |lambda - theta_i|, with 60 digits; 1.03 is the price of the rounding term."""
    lanczos = started(operator_with(np.linspace(-1, 2, 80)), 1, steps=14)
    betas = [mpmath.mpf(lanczos._T[j + 1, j]) for j in range(14)]
    for value in (2.1, 2.5, -1.3, 7.0):
        with mpmath.workdps(60):
            matrix = mpmath.matrix(lanczos.T.tolist())
            exact = mpmath.fprod(betas) / abs(mpmath.det(value * mpmath.eye(14) - matrix))
        found, _ = overlap_bounds(lanczos, value)
        assert found == pytest.approx(float(exact) * math.sqrt(1 + 1 / 16), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_the_level_is_crossed_at_the_ends_and_nowhere_beyond(block):
    operator = operator_with(np.linspace(-1, 2, 120))
    lanczos, n = started(operator, block, steps=9), 120
    for probability in (0.3, 1e-3, 1e-6):
        level, ends = overlap_quantile(n, block, probability), spectrum_bounds(lanczos, probability)
        for end, sign in zip(ends, (-1, 1), strict=True):
            assert 0.8 * level < math.hypot(*overlap_bounds(lanczos, end)) < level
            beyond = [math.hypot(*overlap_bounds(lanczos, end + sign * step)) for step in np.geomspace(1e-7, 1e3, 200)]
            assert max(beyond) < level


class Given(Lanczos):
    """A relation that was not computed: T, start coordinates and off-diagonal block as given."""

    def __init__(self, T, start, coupling):
        self.size, self.residual_width, self.pairs, self.error = len(T), len(coupling), LockedPairs(), 0.0
        self._ritz = None
        self._T = np.block([[T, coupling.T], [coupling, np.zeros((len(coupling),) * 2)]])
        self.start, self.n = start, 1000


def test_a_bound_that_is_not_monotone_is_followed_to_its_outermost_crossing():
    """Three blocks of two whose couplings are nearly of rank one: e_1 (x D^-1 y) e_1, with x D^-1 y = 0 at lambda = 3.

    There the norm is small, and beyond it grows again before it falls.
    """
    x, y, tiny = np.array([1.0, 1.0]), np.array([1.0, -0.5]), 1e-9
    first = np.outer(x, [1.0, 0.0]) + tiny * np.array([[0.0, 1.0], [0.0, -1.0]])
    second = np.outer([1.0, 0.0], y) + tiny * np.array([[0.0, 0.0], [1.0, 2.0]])
    middle = np.diag([0.0, 1.5])
    zero = np.zeros((2, 2))
    T = np.block([[-4 * np.eye(2), first.T, zero], [first, middle, second.T], [zero, second, -4 * np.eye(2)]])
    lanczos = Given(T, np.eye(6)[:, :2], np.hstack([zero, zero, np.eye(2)]))
    top = np.linalg.eigvalsh(T)[-1]
    # Fine where the bound crosses the level.
    grid = np.r_[np.linspace(top + 1e-3, top + 4, 4000), np.linspace(top + 4.01, 60, 1000)]
    sizes = np.array([overlap_bounds(lanczos, value)[0] for value in grid])
    rises = np.flatnonzero(np.diff(sizes) > 0)
    assert len(rises), "the example must not be monotone"
    level = sizes[rises[len(rises) // 2]]
    probability = float(beta.cdf(level**2, 1, (1000 - 2) / 2))
    assert overlap_quantile(1000, 2, probability) == pytest.approx(level)
    outermost = grid[np.flatnonzero(sizes >= level)[-1]]
    assert grid[np.flatnonzero(sizes < level)[0]] < outermost - 0.01, "the level is crossed more than once"
    assert outermost - 2e-3 < spectrum_bounds(lanczos, probability)[1] < top + 1.2 * (outermost - top)


@pytest.mark.parametrize(("n", "block"), [(5, 1), (50, 2), (400, 4), (3, 3)])
def test_the_quantile_is_that_of_a_uniform_subspace(n, block):
    rng = np.random.default_rng(n)
    starts = [np.linalg.qr(rng.standard_normal((n, block)))[0] for _ in range(4000)]
    for probability in (0.5, 0.05):
        level = overlap_quantile(n, block, probability)
        below = sum(np.linalg.norm(start[0]) < level * (1 - 1e-12) for start in starts)
        wanted = 0.0 if block == n else probability
        assert binomtest(below, 4000, wanted or 1e-300).pvalue > 1e-4 if wanted else below == 0
    assert overlap_quantile(n, block, 1e-6) <= overlap_quantile(n, block, 1e-3) <= 1


@pytest.mark.parametrize("block", BLOCKS)
def test_the_quantile_holds_where_beta_is_far_in_its_tail(block):
    """P(|Q_1ᵀ z|² < t²) by mpmath's incomplete beta function."""
    level = overlap_quantile(100_000, block, 1e-6)
    found = mpmath.betainc(block / 2, (100_000 - block) / 2, 0, mpmath.mpf(level) ** 2, regularized=True)
    assert float(found) == pytest.approx(1e-6, rel=1e-9)


def test_larger_blocks_are_taken_where_products_are_inaccurate():
    A = matrix_with(np.linspace(-1, 1, 300))
    blocks = {}
    for error in (1e-14, 1e-6, 1e-5):
        lanczos = Lanczos(wrap(lambda v: A @ v, 300, error=error))
        with progress.bar() as bar:
            outcome = prove(lanczos, lambda theta: (theta[0] - 1e-3, theta[-1] + 1e-3), FailureBudget(1e-6, 0), bar)
        blocks[error] = lanczos.start.shape[1]
        assert outcome.lowest <= -1
        assert outcome.highest >= 1
    assert blocks[1e-14] == 2
    assert blocks[1e-6] in (4, 8)
    assert blocks[1e-5] == 8


def test_an_aim_that_is_given_up_stops():
    lanczos = Lanczos(Dense(np.diag(np.arange(300.0))))
    with progress.bar() as bar:
        outcome = prove(lanczos, lambda theta: None if theta[-1] > 200 else (-1e3, 1e3), FailureBudget(1e-6, 0), bar)
    assert outcome.reason == "stopped"
    assert outcome.highest == math.inf


def test_attempts_share_the_failure_probability():
    budget = FailureBudget(1e-6, 7)
    parts = [budget.attempt() for _ in range(20_000)]
    total = sum(probability for probability, _ in parts)
    assert 0.9999e-6 < total <= 1e-6
    assert parts[0][0] > 0.6e-6
    assert [number for _, number in parts] == list(range(1, 20_001))


def test_the_forecast_extrapolates_the_slack():
    """Slack grows by the same amount with each product once Lanczos has found the outer eigenvalues."""
    assert forecast({4: -30.0, 8: -25.0}) is None
    assert forecast({4: -30.0, 8: -26.0, 12: -22.0, 16: -18.0}) == 34
    assert forecast({8: -20.0, 16: -20.0}) is None


@pytest.mark.parametrize("block", [1, 2, 4])
def test_the_recurrence_of_a_full_interval_tells_the_products_that_are_left(block):
    """Of Chebyshev's nodes the coefficients are 0 and 1/2: the overlap falls by exp(arccosh(end)) with each block."""
    n, end, slack = 300, 1.1, -20.0
    nodes = Dense(np.diag(np.cos(np.pi * (np.arange(n) + 0.5) / n)))
    lanczos = started(nodes, block, steps=TELLING_STEPS)
    left = expected_products(lanczos, (-end, end), slack) - lanczos.products
    assert left == pytest.approx(-slack / math.acosh(end) * block, rel=0.1, abs=block)
    one_sided = expected_products(lanczos, (-math.inf, end), slack) - lanczos.products
    assert one_sided == pytest.approx(left, rel=0.1, abs=block)


def test_nothing_is_forecast_from_few_steps_or_for_an_end_inside_the_spectrum():
    operator = Dense(np.diag(np.linspace(-1, 1, 200)))
    assert expected_products(started(operator, 2, steps=TELLING_STEPS - 1), (-1.1, 1.1), -5.0) == 0
    assert expected_products(started(operator, 2, steps=TELLING_STEPS), (-1.1, 0.3), -5.0) == 0
    narrower = started(Dense(np.diag([1.0] * 150 + list(range(2, 30)))), 3, steps=30)
    assert expected_products(narrower, (-1.0, 31.0), -5.0) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_forecast_of_a_proof_is_right_to_a_half_before_the_long_part(seed):
    said = []

    class Watched(progress.Bar):
        def expect(self, total):
            said.append(total)

    lanczos = Lanczos(operator_with(np.random.default_rng(seed).standard_normal(700)))
    outcome = prove(
        lanczos, lambda theta: (1.005 * theta[0], 1.005 * theta[-1]), FailureBudget(1e-6, seed), Watched(disable=True)
    )
    telling = said[3:]
    assert outcome.reason == "excluded"
    assert telling
    assert max(max(total / lanczos.products, lanczos.products / total) for total in telling) < 1.5


@pytest.mark.parametrize("name", sorted(SPECTRA))
def test_ends_next_to_converged_values_are_below_the_level(name):
    """Two crossings next to a converged Ritz value are computed as complex; the end must lie beyond both."""
    operator = operator_with(SPECTRA[name](150))
    for seed in range(3):
        lanczos = Lanczos(operator)
        lanczos.begin_random([seed, 9], 2)
        for _ in range(12):
            lanczos.extend(3)
            if lanczos.complete or (lanczos.exhausted and lanczos.error == 0):
                break
            ends, level = spectrum_bounds(lanczos, 1e-6), overlap_quantile(150, len(lanczos.start.T), 1e-6)
            for end in ends:
                assert np.hypot(*overlap_bounds(lanczos, end)) <= level


def test_rounding_widens_the_bounds_by_what_it_can_hide():
    """With F of norm f, |z_1| <= (1 + 1/w²)^(1/2) w f |E^T (λ - T)^-1|: beyond the end that is the level."""
    operator = operator_with(np.linspace(0, 1, 200))
    lanczos = Lanczos(operator)
    lanczos.begin_random(3, 2)
    lanczos.extend(25)
    level, before = overlap_quantile(200, 2, 1e-6), spectrum_bounds(lanczos, 1e-6)
    lanczos.error = 1e-5
    after = spectrum_bounds(lanczos, 1e-6)
    assert after[1] > before[1] + 1e-5
    inverse = np.linalg.inv(after[1] * np.eye(lanczos.size) - lanczos.T) @ lanczos.start
    rounding = np.sqrt(17 / 16) * 4 * 1e-5 * np.linalg.norm(inverse, 2)
    exact = np.sqrt(17 / 16) * np.linalg.norm(lanczos.off_diagonal @ inverse, 2)
    assert 0.9 * level < np.hypot(rounding, exact) <= level
    assert overlap_bounds(lanczos, after[1])[1] == pytest.approx(rounding)


@pytest.mark.parametrize("scale", [1e-145, 1e-100, 1.0, 1e100, 1e145])
def test_bounds_scale_with_the_kernel(scale):
    A = np.diag(np.r_[2.0, np.linspace(-1, 1, 299)])
    estimate = ns.spectral_norm(wrap(lambda v: scale * (A @ v), 300))
    assert estimate.converged
    assert estimate.lower <= 2 * scale <= estimate.upper


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e160, 1e200])
def test_products_whose_squares_are_not_held_are_refused(scale):
    A = np.diag(np.r_[2.0, np.linspace(-1, 1, 299)])
    with pytest.raises(ValueError, match="scale it"):
        ns.spectral_norm(wrap(lambda v: scale * (A @ v), 300))
