"""Kernels among arrays: as matrices of NumPy's, and in sums with arrays."""

import numpy as np
import pytest
import scipy.sparse

import ntkspec as ns
from ntkspec.operators import Dense, Gram, KernelOperator, identity


def test_numpy_takes_a_kernel_for_its_matrix():
    X = np.random.default_rng(0).standard_normal((30, 4))
    theta = ns.ntk(ns.TwoLayer.symmetric(4, 8, "erf"), X)
    dense = theta.to_dense()
    assert np.array_equal(np.asarray(theta), dense)
    assert np.asarray(theta, np.float32).dtype == np.float32
    assert np.linalg.eigvalsh(theta) == pytest.approx(np.linalg.eigvalsh(dense))
    assert np.trace(theta) == pytest.approx(float(ns.trace(theta)))
    own = Dense(dense)
    assert np.asarray(own) is dense
    assert not np.shares_memory(np.array(own), dense)


def test_a_kernel_on_a_gpu_is_no_matrix_of_numpys(gpu):
    with pytest.raises(TypeError, match="this kernel is on the GPU; take"):
        np.asarray(Gram(gpu.xp.ones((3, 2))))


def test_arrays_are_added_to_kernels():
    rng = np.random.default_rng(1)
    F, R = rng.standard_normal((2, 20, 20))
    K, kernel = F @ F.T, Gram(F)
    combined = [
        (kernel + R, K + R),
        (R + kernel, K + R),
        (kernel - R, K - R),
        (R - kernel, R - K),
        (R.tolist() - kernel, R - K),
        (kernel + scipy.sparse.eye_array(20), K + np.eye(20)),
        (kernel + 0.1 * identity(20), K + 0.1 * np.eye(20)),
        (0.1 * identity(20) + kernel - R, K - R + 0.1 * np.eye(20)),
        (sum([kernel, kernel]), 2 * K),
        (kernel - 0, K),
        (0 - kernel, -K),
    ]
    for found, expected in combined:
        assert isinstance(found, KernelOperator)
        assert found.to_dense() == pytest.approx(expected, abs=1e-12)
        assert found @ R == pytest.approx(expected @ R, abs=1e-11)
        assert found.symmetric == np.allclose(expected, expected.T)
    shifted = ns.spectral_norm(kernel + 0.1 * identity(20))
    assert shifted.lower <= np.linalg.norm(K, 2) + 0.1 <= shifted.upper


def test_what_cannot_be_added_to_a_kernel_is_refused():
    kernel = Gram(np.eye(5))
    for wrong in (lambda: kernel + 0.1, lambda: 0.1 + kernel, lambda: kernel - 2, lambda: np.float64(1) - kernel):
        with pytest.raises(TypeError, match=r"ntkspec.operators.identity\(5\), or an array of shape \(5, 5\)"):
            wrong()
    with pytest.raises(ValueError, match=r"shape \(5, 5\) and an array of shape \(5,\) cannot be added"):
        kernel + np.ones(5)
    with pytest.raises(
        TypeError, match="an array of float64 is added to a kernel of float32, which rounds its numbers"
    ):
        Gram(np.eye(5, dtype=np.float32)) + np.full((5, 5), 0.1)
    exact = Gram(np.eye(5, dtype=np.float32)) + np.eye(5)
    assert exact.dtype == np.float32
    assert np.array_equal(exact.to_dense(), 2 * np.eye(5))
    for wrong in (lambda: kernel * np.eye(5), lambda: np.eye(5) * kernel, lambda: kernel * kernel):
        with pytest.raises(TypeError, match=r"with \* could be two products; use \* with a number, @ with vectors"):
            wrong()
    with pytest.raises(TypeError, match="dtype="):
        identity(3, dtype=np.float16)


@pytest.mark.filterwarnings("ignore:the matrix subclass is not")
def test_star_never_takes_the_meaning_of_a_matrix():
    kernel, matrix = Gram(np.eye(5)), np.matrix(np.ones((5, 5)))
    for product in (lambda: kernel * matrix, lambda: matrix * kernel):
        with pytest.raises(TypeError, match="a kernel times a matrix"):
            product()
    assert type(kernel @ matrix) is np.ndarray
