"""Lanczos and the norms against dense eigenvalues, on spectra that break others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec import norms, spectra
from ntkspec.operators import Dense, Gram
from ntkspec.spectra import Lanczos, random_start


def with_spectrum(values, seed=0, dtype=np.float64):
    """A dense symmetric operator with these eigenvalues in a random basis."""
    values = np.asarray(values, dtype=np.float64)
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    matrix = (Q * values) @ Q.T
    return Dense(((matrix + matrix.T) / 2).astype(dtype), symmetric=True)


rng = np.random.default_rng(7)
SPECTRA = {
    "identity": np.ones(60),
    "zero": np.zeros(40),
    "rank one": np.r_[5.0, np.zeros(59)],
    "negative rank one": np.r_[-5.0, np.zeros(59)],
    "two clusters": np.r_[np.full(30, 2.0), np.full(30, -1.0)],
    "plus and minus": np.r_[np.linspace(1, 3, 30), -np.linspace(1, 3, 30)],
    "geometric": 0.7 ** np.arange(80),
    "outlier": np.r_[1 + 1e-6, np.linspace(-1, 1, 99)],
    "semicircle": np.cos(np.linspace(0, np.pi, 150)),
    "Marchenko-Pastur": np.linalg.eigvalsh(np.cov(rng.standard_normal((60, 90)))),
    "one": np.array([-4.0]),
    "two": np.array([1.0, -2.0]),
    "three": np.array([1.0, 1.0, -2.0]),
}
each_spectrum = pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA.keys())


@each_spectrum
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_interval_holds_the_spectral_norm(values, dtype, seed):
    operator = with_spectrum(values, seed, dtype)
    exact = np.abs(np.linalg.eigvalsh(operator.matrix.astype(np.float64))).max(initial=0)
    estimate = ns.spectral_norm(operator, seed=seed)
    rounding = 50 * np.finfo(dtype).eps * exact
    assert estimate.lower - rounding <= exact <= estimate.upper + rounding
    assert estimate.lower == estimate.value == float(estimate)
    assert estimate.converged
    assert estimate.upper - estimate.lower <= 1e-3 * estimate.upper
    assert estimate.products <= len(values)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40), st.integers(0, 10**6))
def test_the_interval_holds_for_random_spectra(values, seed):
    estimate = ns.spectral_norm(with_spectrum(values, seed), seed=seed, rtol=1e-2)
    exact = np.abs(values).max()
    assert estimate.lower <= exact + 1e-12
    assert exact <= estimate.upper + 1e-12


def test_misses_stay_below_the_stated_probability():
    """At failure probability 5 % and a loose interval, over 2,000 starts: the count stays within 4 sigma of 5 %."""
    operator = with_spectrum(np.r_[1.0, np.linspace(-0.97, 0.97, 199)])
    estimates = [ns.spectral_norm(operator, rtol=0.2, failure_probability=0.05, seed=seed) for seed in range(2000)]
    misses = sum(estimate.upper < 1.0 for estimate in estimates)
    assert misses <= 2000 * 0.05 + 4 * (2000 * 0.05 * 0.95) ** 0.5
    assert all(estimate.lower <= 1 + 1e-12 for estimate in estimates)


@pytest.mark.parametrize("factor", [1.0, -1.0, 1000.0])
def test_the_failure_probability_is_used_up_where_the_bound_is_sharp(factor):
    """Four clusters below an outlier: after few products only the start's overlap decides, and 30 % means 30 %."""
    operator = with_spectrum(factor * np.r_[1.0, np.repeat([0.9, 0.5, 0.2, -0.3], 50)])
    norm = np.abs(np.linalg.eigvalsh(operator.matrix)).max()
    estimates = [ns.spectral_norm(operator, rtol=0.5, failure_probability=0.3, seed=seed) for seed in range(600)]
    misses = sum(estimate.upper < norm * (1 - 1e-9) for estimate in estimates) / 600
    assert 0.2 < misses < 0.3 + 4 * (0.3 * 0.7 / 600) ** 0.5


def test_a_smaller_failure_probability_widens_the_interval():
    operator = with_spectrum(np.linspace(-1, 1, 300))
    lanczos_widths = [
        ns.spectral_norm(operator, rtol=0.3, failure_probability=p).products for p in (0.5, 1e-2, 1e-6, 1e-12)
    ]
    assert lanczos_widths == sorted(lanczos_widths)
    assert lanczos_widths[0] < lanczos_widths[-1]


@each_spectrum
@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
def test_eigsh_finds_the_extreme_pairs_with_multiplicity(values, which):
    operator = with_spectrum(values)
    k = min(5, len(values))
    key = {"LM": -np.abs(values), "LA": -values, "SA": values}[which]
    spectrum = ns.eigsh(operator, k, which=which)
    expected = values[np.argsort(key, kind="stable")[:k]]
    found = spectrum.values
    if which == "LM":
        expected, found = np.abs(expected), np.abs(found)
    assert found == pytest.approx(expected, abs=1e-9)
    residual = operator.matrix @ spectrum.vectors - spectrum.vectors * spectrum.values
    assert np.abs(residual).max() < 1e-9
    assert np.abs(spectrum.vectors.T @ spectrum.vectors - np.eye(k)).max() < 1e-9


@each_spectrum
def test_lanczos_finds_what_dense_finds(values, monkeypatch):
    """Without the dense method: simple eigenvalues exactly, invariant subspaces exhausted and restarted."""
    monkeypatch.setattr(spectra, "DENSE_SIZE", 0)
    k = min(3, len(values))
    spectrum = ns.eigsh(with_spectrum(values), k, which="LA", rtol=1e-9)
    expected = np.sort(values)[::-1][:k]
    assert spectrum.converged
    assert spectrum.values == pytest.approx(expected, abs=1e-7)
    assert (spectrum.residuals <= 1e-9 * max(1, np.abs(values).max())).all()


def test_lanczos_keeps_its_relation_and_its_orthogonality():
    operator = with_spectrum(np.r_[10.0, np.linspace(-1, 1, 199)])
    lanczos = Lanczos(operator, random_start(operator, 0))
    lanczos.extend(60)
    Q, k = lanczos.vectors(), lanczos.products
    T = np.diag(lanczos.alpha) + np.diag(lanczos.beta[:-1], 1) + np.diag(lanczos.beta[:-1], -1)
    rest = operator.matrix @ Q.T - Q.T @ T
    assert np.abs(Q @ Q.T - np.eye(k)).max() < 1e-14 * k
    assert np.abs(rest[:, :-1]).max() < 1e-12
    assert np.linalg.norm(rest[:, -1]) == pytest.approx(lanczos.beta[-1], rel=1e-10)


def test_a_start_inside_an_invariant_subspace_is_exhausted_and_says_so():
    operator = Dense(np.diag([3.0, 2.0, 1.0, 0.0]), symmetric=True)
    lanczos = Lanczos(operator, np.array([1.0, 1.0, 0.0, 0.0]))
    lanczos.extend(10)
    assert lanczos.exhausted
    assert lanczos.ritz()[0] == pytest.approx([2, 3])
    assert lanczos.restart(np.array([1.0, 1.0, 1.0, 1.0]))
    lanczos.extend(10)
    assert lanczos.ritz()[0] == pytest.approx([0, 1, 2, 3])
    assert not lanczos.restart(np.ones(4))


def test_norms_of_kernels_agree_with_dense_linear_algebra():
    net = ns.TwoLayer.symmetric(10, 40, "relu", seed=2)
    X = np.random.default_rng(0).standard_normal((700, 10))
    gap = ns.ntk(net, X) - ns.linear_kernel("relu", X)
    matrix = gap.to_dense()
    assert float(ns.spectral_norm(gap, rtol=1e-8)) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-8)
    assert float(ns.frobenius_norm(gap)) == pytest.approx(np.linalg.norm(matrix), rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_frobenius_norm_is_exact_on_rectangles_and_duplicates(dtype):
    F, G = (np.random.default_rng(seed).standard_normal((n, 4)).astype(dtype) for seed, n in ((0, 700), (1, 530)))
    F[1] = F[0]
    estimate = ns.frobenius_norm(Gram(F, G))
    assert float(estimate) == pytest.approx(np.linalg.norm(F.astype(float) @ G.T.astype(float)), rel=1e-6)
    assert (estimate.lower, estimate.upper, estimate.failure_probability) == (estimate.value, estimate.value, 0.0)


class NotANumber(Dense):
    """Gives NaN from the third product on."""

    count = 0

    def factored_product(self, V):
        self.count += 1
        return super().factored_product(V) * (np.nan if self.count > 2 else 1)


def test_bad_operators_are_refused():
    with pytest.raises(ValueError, match="not symmetric by construction"):
        ns.spectral_norm(Dense(np.eye(3)))
    with pytest.raises(ValueError, match=r"shape \(3, 4\)"):
        ns.eigsh(Gram(np.ones((3, 1)), np.ones((4, 1))), 1)
    with pytest.raises(TypeError, match="a kernel operator is needed, not ndarray"):
        ns.spectral_norm(np.eye(3))
    with pytest.raises(ValueError, match="product 3 with the kernel holds NaN or infinity"):
        ns.spectral_norm(NotANumber(np.diag(np.arange(50.0)), symmetric=True))
    with pytest.raises(ValueError, match="k=4, but a kernel of 3 points has 3"):
        ns.eigsh(Dense(np.eye(3), symmetric=True), 4)
    with pytest.raises(ValueError, match="which='XX'"):
        ns.eigsh(Dense(np.eye(3), symmetric=True), 1, which="XX")
    with pytest.raises(ValueError, match="failure_probability=0"):
        ns.spectral_norm(Dense(np.eye(3), symmetric=True), failure_probability=0)


def test_the_forecast_of_products_is_right_from_an_early_stage():
    """Slack grows by the same amount with each product once Lanczos has found the outer eigenvalues."""
    assert norms._forecast({4: -30.0, 8: -25.0}) is None
    assert norms._forecast({4: -30.0, 8: -26.0, 12: -22.0, 16: -18.0}) == 34
    X, seen, real = np.random.default_rng(0).standard_normal((1600, 60)), [], norms._forecast
    net = ns.TwoLayer.symmetric(60, 256, "erf")
    gap = ns.ntk(net, X, layer="first") - ns.linear_kernel("erf", X, layer="first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norms, "_forecast", lambda slacks: seen.append(real(slacks)) or seen[-1])
        products = ns.spectral_norm(gap).products
    early = [total for total in seen[: len(seen) // 2] if total]
    assert early
    assert all(products / 2 <= total <= 2 * products for total in early)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [5, 600, 1100])
def test_the_frobenius_norm_is_the_same_with_and_without_the_formed_matrix(n, dtype):
    X = np.random.default_rng(0).standard_normal((n, 7)).astype(dtype)
    net = ns.TwoLayer.symmetric(7, 60, "relu", dtype=dtype)
    one, other = (ns.ntk(net, X) - ns.linear_kernel("relu", X, trace_ratio=1.0) for _ in range(2))
    ns.spectral_norm(one, method="dense")
    assert one.squares is not None
    assert other.squares is None
    exact = np.linalg.norm(other.to_dense().astype(np.float64))
    assert float(ns.frobenius_norm(one)) == pytest.approx(exact, rel=50 * float(np.finfo(dtype).eps))
    assert float(ns.frobenius_norm(other)) == pytest.approx(exact, rel=50 * float(np.finfo(dtype).eps))
