"""Alignment, energies and angles against their definitions."""

import mpmath
import numpy as np
import pytest
import scipy.linalg

import ntkspec as ns
from adversarial import matrix_with
from ntkspec.operators import Dense, Gram, wrap

rng = np.random.default_rng(0)
F, y = rng.standard_normal((200, 5)), rng.choice([-1.0, 1.0], 200) + 0.2


def frobenius_cosine(K, y):
    T = np.outer(y, y)
    return (K * T).sum() / (np.linalg.norm(K) * np.linalg.norm(T))


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("build", [lambda: Gram(F), lambda: Gram(F) - 3 * Gram(F[:, :1].copy()), lambda: wrap(F @ F.T)])
def test_alignment_is_the_cosine_of_kernel_and_labels(build, centered):
    operator, H = build(), np.eye(200) - centered / 200
    exact = frobenius_cosine(H @ operator.to_dense() @ H, H @ y)
    found = ns.kernel_target_alignment(operator, y, centered=centered)
    assert found.value == pytest.approx(exact, rel=1e-11)
    assert found.lower - 1e-12 <= exact <= found.upper + 1e-12
    assert -1 <= found.value <= 1


def exact_alignment(F, y, *, centered):
    """In 60 digits, of the kernel F Fᵀ."""
    with mpmath.workdps(60):
        F, y = mpmath.matrix(F.astype(float).tolist()), mpmath.matrix(y.astype(float).tolist())
        n = F.rows
        if centered:
            F -= mpmath.ones(n) * F / n
            y -= mpmath.ones(n) * y / n
        inner, labels = F.T * F, F.T * y
        return (labels.T * labels)[0] / (mpmath.mnorm(inner, "f") * (y.T * y)[0])


SPREADS = {
    "2 + 1e-6": (2, 1e-6),
    "2 + 1e-12": (2, 1e-12),
    "1e6 + 1": (1e6, 1),
    "1e200": (0, 1e200),
    "1e-200": (0, 1e-200),
}


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("mean", "spread"), SPREADS.values(), ids=SPREADS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_interval_of_an_alignment_holds_the_rounding_of_centring(mean, spread, dtype, centered):
    """Labels with a large mean, huge and tiny ones, and features whose own mean is a thousand times their spread."""
    for seed in range(4):
        random = np.random.default_rng(seed)
        points = (random.standard_normal((15, 3)) + np.array([0, 1e3, -5])).astype(dtype)
        labels = mean + spread * random.standard_normal(15)
        if dtype == np.float32 and spread in (1e-6, 1):
            labels = labels.astype(np.float32)
        exact = exact_alignment(points, labels, centered=centered)
        found = ns.kernel_target_alignment(Gram(points), labels, centered=centered)
        assert mpmath.mpf(found.lower) <= exact <= mpmath.mpf(found.upper)
        assert found.lower <= found.value <= found.upper
        assert found.upper - found.lower < (1e-7 if dtype == np.float64 else 2 if centered else 1e-6)


def test_labels_that_the_kernel_is_made_of_are_aligned():
    assert float(ns.kernel_target_alignment(Gram(y[:, None]), 3 * y)) == pytest.approx(1)
    assert float(ns.kernel_target_alignment(-1 * Gram(y[:, None]), y)) == pytest.approx(-1)
    assert float(ns.kernel_target_alignment(Gram(np.ones((200, 1))), y, centered=True)) == 0.0
    shifted = Gram(np.column_stack([y - y.mean(), np.full(200, 7.0)]))
    assert float(ns.kernel_target_alignment(shifted, y, centered=True)) == pytest.approx(1)


def test_the_interval_of_an_alignment_is_that_of_the_frobenius_norm():
    values = np.r_[np.linspace(5, 6, 10), np.ones(2990)]
    labels = rng.standard_normal(3000)
    found = ns.kernel_target_alignment(wrap(lambda v: values * v, 3000), labels, rtol=0.2)
    exact = labels @ (values * labels) / (np.linalg.norm(values) * labels @ labels)
    assert found.lower < exact < found.upper
    assert 0.02 < (found.upper - found.lower) / exact < 0.25


def test_label_energy_is_the_square_of_the_overlaps_and_adds_up():
    matrix = matrix_with(np.linspace(-1, 2, 200))
    everything = ns.label_energy(ns.eigsh(matrix, 200), y)
    assert everything.sum() == pytest.approx(1)
    leading = ns.eigsh(matrix, 7, which="LA")
    assert ns.label_energy(leading, y) == pytest.approx([(v @ y) ** 2 / (y @ y) for v in leading.vectors.T])
    assert ns.label_energy(leading, 5 * leading.vectors[:, 2]) == pytest.approx(np.eye(7)[2], abs=1e-12)


def rotated(angles):
    """The span of the first unit vectors, each turned by an angle towards a unit vector of its own."""
    k = len(angles)
    V = np.zeros((60, k))
    V[np.arange(k), np.arange(k)], V[10 + np.arange(k), np.arange(k)] = np.cos(angles), np.sin(angles)
    return V


@pytest.mark.parametrize("angles", [[0.0, 0.3], [1e-9, 1e-4, 1.0, np.pi / 2], [0.5]])
def test_angles_between_leading_eigenspaces_are_those_they_were_made_with(angles):
    k = len(angles)
    one = ns.eigsh(Dense(rotated(np.zeros(k)) @ rotated(np.zeros(k)).T + 0.1 * np.eye(60)), k, which="LA")
    other = ns.eigsh(Dense(2 * rotated(angles) @ rotated(angles).T), k, which="LA")
    found = ns.subspace_angles(one, other)
    assert found.angles == pytest.approx(np.sort(angles), abs=1e-7)
    assert found.error < 1e-12


def test_the_error_of_angles_covers_loose_eigenvectors():
    matrix = matrix_with(np.r_[np.linspace(2, 3, 4), np.linspace(-1, 1, 900)])
    exact = np.linalg.eigh(matrix)[1][:, -4:]
    for rtol in (1e-1, 1e-2, 1e-4):
        loose = ns.eigsh(matrix, 4, which="LA", rtol=rtol)
        turned = scipy.linalg.subspace_angles(loose.vectors, exact).max()
        assert turned <= ns.subspace_angles(loose, loose).error
    assert ns.subspace_angles(loose, loose).error < 0.05


def test_nothing_is_known_of_an_eigenspace_that_cuts_a_cluster():
    spectrum = ns.eigsh(matrix_with(np.r_[np.full(10, 2.0), np.linspace(-1, 1, 190)]), 3, which="LA")
    assert ns.subspace_angles(spectrum, spectrum).error == np.pi / 2
    whole = ns.eigsh(matrix_with(np.r_[np.full(10, 2.0), np.linspace(-1, 1, 190)]), 10, which="LA")
    assert ns.subspace_angles(whole, whole).error < 1e-10
    complete = ns.eigsh(np.eye(5), 5)
    assert ns.subspace_angles(complete, complete).error == 0.0


def test_bad_labels_are_refused():
    spectrum = ns.eigsh(np.eye(5), 2)
    with pytest.raises(ValueError, match=r"y has shape \(4,\), but \(5,\) is needed"):
        ns.kernel_target_alignment(np.eye(5), np.ones(4))
    with pytest.raises(ValueError, match="the labels are zero"):
        ns.kernel_target_alignment(np.eye(5), np.zeros(5))
    with pytest.raises(ValueError, match="the labels are constant"):
        ns.kernel_target_alignment(np.eye(5), np.full(5, 2.0), centered=True)
    with pytest.raises(ValueError, match="the labels are zero; their energy"):
        ns.label_energy(spectrum, np.zeros(5))
    with pytest.raises(ValueError, match="eigenvectors of 5 and 4 points"):
        ns.subspace_angles(spectrum, ns.eigsh(np.eye(4), 2))


# ------------------------------------------------------------------------------------------------------------ positions
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spectrum", ["semidefinite", "both signs", "rank one"])
def test_the_position_is_the_mean_over_the_spectrum(spectrum, dtype):
    n = 90
    values = {
        "semidefinite": np.linspace(0, 3, n),
        "both signs": np.linspace(-5, 3, n),
        "rank one": np.r_[np.zeros(n - 1), 2.0],
    }[spectrum]
    matrix = matrix_with(values).astype(dtype)
    values, vectors = np.linalg.eigh(matrix.astype(np.float64))
    for r in (rng.standard_normal(n), 1e150 * vectors[:, -1], vectors[:, 0], rng.standard_normal((n, 3))):
        weights = np.square(vectors.T @ (r / abs(r).max()).reshape(n, -1)).sum(axis=1)
        exact = weights @ values / weights.sum() / abs(values).max()
        found = ns.spectral_position(matrix, r)
        assert found.lower - 1e-12 <= exact <= found.upper + 1e-12
        assert found.upper - found.lower < 3e-3
        assert found.converged


def test_the_position_of_all_outputs_is_that_of_one_vector():
    A, r = rng.standard_normal((40, 7)), rng.standard_normal((20, 2))
    one, other = ns.spectral_position(A @ A.T, r.ravel()), ns.spectral_position(wrap(A @ A.T, rows_per_point=2), r)
    assert float(other) == pytest.approx(float(one), rel=1e-12)
    assert ns.spectral_position(wrap(np.diag([3.0])), [1.0]).upper == pytest.approx(1)


def test_what_has_no_position_is_refused():
    with pytest.raises(ValueError, match="the vector is zero"):
        ns.spectral_position(np.eye(4), np.zeros(4))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        ns.spectral_position(np.eye(4), np.ones(3))
    with pytest.raises(ValueError, match="symmetric"):
        ns.spectral_position(np.triu(np.ones((4, 4))), np.ones(4))
