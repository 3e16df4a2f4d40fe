"""Distance and alignment of two kernels against their definitions."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.operators import Gram, wrap

rng = np.random.default_rng(0)
F, G = rng.standard_normal((120, 6)), rng.standard_normal((120, 4))
KERNELS = {
    "grams": (Gram(F), Gram(G)),
    "nearly the same": (Gram(F), Gram(F) + 1e-7 * Gram(G)),
    "opposite": (Gram(F), -2 * Gram(F)),
    "rectangular": (Gram(F, G[:, :3] @ rng.standard_normal((3, 6))), Gram(F + 1, G[:, [0, 1, 2, 3, 0, 1]])),
    "networks": tuple(ns.ntk(ns.TwoLayer.symmetric(6, 40, act, seed=1), F) for act in ("erf", "relu")),
    "one point": (wrap(np.array([[2.0]])), wrap(np.array([[-3.0]]))),
}


def cosine(one, other):
    """In 40 digits."""
    with mpmath.workdps(40):

        def dot(a, b):
            return mpmath.fsum(mpmath.mpf(x) * mpmath.mpf(y) for x, y in zip(a.flat, b.flat, strict=True))

        return dot(one, other) / mpmath.sqrt(dot(one, one) * dot(other, other))


@pytest.mark.parametrize("name", KERNELS)
def test_the_distance_is_what_the_cosine_lacks_of_one(name):
    one, other = KERNELS[name]
    found, exact = ns.kernel_distance(one, other), float(1 - cosine(one.to_dense(), other.to_dense()))
    assert found.value == pytest.approx(exact, rel=1e-7, abs=1e-25)
    assert found.lower <= exact * (1 + 1e-12) <= found.upper * (1 + 1e-11) + 1e-25
    assert (found.failure_probability, found.converged) == (0.0, True)
    assert found.upper - found.lower <= 1e-9


@pytest.mark.parametrize("name", [name for name in KERNELS if name not in ("rectangular", "one point")])
def test_the_alignment_is_the_cosine_of_centered_kernels(name):
    one, other = KERNELS[name]
    H = np.eye(120) - 1 / 120
    for centered, shift in ((True, H), (False, np.eye(120))):
        found = ns.kernel_alignment(one, other, centered=centered)
        exact = float(cosine(shift @ one.to_dense() @ shift, shift @ other.to_dense() @ shift))
        assert found.value == pytest.approx(exact, abs=1e-12)
        assert found.lower - 1e-13 <= exact <= found.upper + 1e-13
        assert found.upper - found.lower < 1e-9


def test_outputs_are_centered_each():
    A = rng.standard_normal((60, 5))
    U = np.kron(np.ones((20, 1)), np.eye(3)) / 20**0.5
    H = np.eye(60) - U @ U.T
    full = wrap(A @ A.T, rows_per_point=3)
    found = ns.kernel_alignment(full, wrap(A @ A.T + 5 * U @ U.T, rows_per_point=3))
    assert found.value == pytest.approx(1, abs=1e-12)
    found = ns.kernel_alignment(full, wrap(np.diag(np.arange(60.0)), rows_per_point=3))
    assert found.value == pytest.approx(float(cosine(H @ A @ A.T @ H, H @ np.diag(np.arange(60.0)) @ H)), rel=1e-10)


def test_a_large_constant_costs_no_digits_that_the_interval_does_not_lack():
    for dtype in (np.float64, np.float32):
        one, other = ((M @ M.T + 1e4).astype(dtype) for M in (F, G))
        found = ns.kernel_alignment(one, other)
        H = np.eye(120) - 1 / 120
        exact = float(cosine(H @ one.astype(np.float64) @ H, H @ other.astype(np.float64) @ H))
        assert found.lower <= exact <= found.upper


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.sampled_from([np.float32, np.float64]), st.floats(-12, 12))
def test_the_distance_knows_no_scale_and_no_order(n, k, dtype, exponent):
    random = np.random.default_rng(n + 13 * k)
    one, other = (Gram(random.standard_normal((n, k)).astype(dtype)) for _ in range(2))
    exact = float(1 - cosine(*(kernel.to_dense(np.float64) for kernel in (one, other))))
    for pair in ((one, other), (other, one), (10.0**exponent * one, other), (one, 10.0**exponent * other)):
        found = ns.kernel_distance(*pair)
        assert found.lower <= exact + 1e-15
        assert exact <= found.upper + 1e-15
        assert found.upper - found.lower < (1e-4 if dtype == np.float32 else 1e-12)
    assert float(ns.kernel_distance(one, 3 * one)) < 1e-12


def test_probes_keep_their_intervals():
    """Kernels that only products are known of, at a size at which probes are sooner."""
    a, b = 1 + np.arange(3000.0) / 3000, np.ones(3000)
    exact = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
    found = ns.kernel_distance(wrap(lambda v: a * v, 3000), wrap(lambda v: b * v, 3000), rtol=0.2)
    assert 0 < found.failure_probability <= 1e-6
    assert found.products < 3000
    assert found.lower <= exact <= found.upper


def test_bad_input_is_refused_with_the_reason():
    K = np.eye(5)
    with pytest.raises(ValueError, match=r"shapes \(5, 5\) and \(4, 4\) are not on the same points"):
        ns.kernel_distance(K, np.eye(4))
    with pytest.raises(TypeError, match="float64 and float32; build both from data of one dtype"):
        ns.kernel_distance(K, K.astype(np.float32))
    for call in (ns.kernel_distance, ns.kernel_alignment):
        with pytest.raises(ValueError, match="the second kernel is zero"):
            call(K, 0 * K)
    with pytest.raises(ValueError, match="the first kernel is zero but for a constant"):
        ns.kernel_alignment(np.ones((5, 5)), K)
    with pytest.raises(ValueError, match="symmetric"):
        ns.kernel_alignment(K, np.triu(np.ones((5, 5))))
    with pytest.raises(ValueError, match="rtol"):
        ns.kernel_distance(K, K, rtol=-1.0)
    with pytest.raises(ValueError, match="NaN"):
        ns.kernel_distance(K, np.full((5, 5), np.nan))
