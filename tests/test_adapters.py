"""Arrays, SciPy's operators and functions as operators, and operators as SciPy's."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import ntkspec as ns
from adversarial import matrix_with
from ntkspec.operators import Dense, Gram, HadamardGram, KernelOperator, Products, as_symmetric, to_scipy, wrap

rng = np.random.default_rng(0)
A = matrix_with(np.linspace(-1, 2, 60))
R = rng.standard_normal((30, 50))


def as_array(matrix):
    return wrap(matrix)


def as_list(matrix):
    return wrap(matrix.tolist())


def as_sparse(matrix):
    return wrap(scipy.sparse.csr_array(matrix))


def as_linear_operator(matrix):
    return wrap(scipy.sparse.linalg.aslinearoperator(matrix))


def as_function(matrix):
    return wrap(lambda v: matrix @ v, len(matrix))


def back_and_forth(matrix):
    return wrap(to_scipy(wrap(matrix)))


SYMMETRIC = [as_array, as_list, as_sparse, as_linear_operator, as_function, back_and_forth]


@pytest.mark.parametrize("build", SYMMETRIC)
def test_whatever_multiplies_is_an_operator(build):
    operator = build(A)
    assert isinstance(operator, KernelOperator)
    assert operator.symmetric
    assert operator.T is operator
    assert operator.to_dense() == pytest.approx(A, abs=1e-14)
    assert operator.diagonal() == pytest.approx(np.diag(A), abs=1e-14)
    V = rng.standard_normal((60, 3))
    assert operator @ V == pytest.approx(A @ V, abs=1e-13)
    assert operator @ V[:, 0] == pytest.approx(A @ V[:, 0], abs=1e-13)
    assert (2 * operator - wrap(A)).to_dense() == pytest.approx(A, abs=1e-13)
    assert (2 * operator - wrap(A)) @ V == pytest.approx(A @ V, abs=1e-13)
    assert operator.sum_of_squares() == pytest.approx((A**2).sum(), rel=1e-13)
    assert operator.tile(slice(5, 40), slice(50, 60)) == pytest.approx(A[5:40, 50:60], abs=1e-14)


@pytest.mark.parametrize("build", SYMMETRIC)
def test_the_spectral_tools_serve_matrices_that_are_no_kernels(build):
    operator = build(A)
    norm = ns.spectral_norm(operator)
    assert norm.lower <= 2 <= norm.upper
    assert float(ns.frobenius_norm(operator)) == pytest.approx(np.linalg.norm(A), rel=1e-12)
    assert ns.eigsh(operator, 2, which="SA").values == pytest.approx(np.linspace(-1, 2, 60)[:2], abs=1e-9)


def test_they_take_arrays_and_scipys_operators_directly():
    for matrix in (A, scipy.sparse.csr_array(A), to_scipy(Dense(A))):
        assert ns.spectral_norm(matrix).value == pytest.approx(2, rel=1e-3)
        assert float(ns.frobenius_norm(matrix)) == pytest.approx(np.linalg.norm(A), rel=1e-12)
        assert ns.eigsh(matrix, 1).values == pytest.approx([2])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scipy_multiplies_with_operators_from_both_sides(dtype):
    D, X, X2 = (rng.standard_normal(shape).astype(dtype) for shape in ((20, 7), (20, 3), (30, 3)))
    D2 = rng.standard_normal((30, 7)).astype(dtype)
    matrix, linear = (D @ D2.T) * (X @ X2.T), to_scipy(HadamardGram(D, X, D2, X2))
    assert linear.shape == (20, 30)
    assert linear.dtype == dtype
    V, U = rng.standard_normal((30, 4)).astype(dtype), rng.standard_normal((20, 4)).astype(dtype)
    scale = 100 * np.finfo(dtype).eps * abs(matrix).max()
    assert np.abs(linear @ V - matrix @ V).max() < 10 * scale
    assert np.abs(linear.matvec(V[:, 0]) - matrix @ V[:, 0]).max() < 10 * scale
    assert np.abs(linear.rmatmat(U) - matrix.T @ U).max() < 10 * scale
    assert np.abs(linear.T @ U - matrix.T @ U).max() < 10 * scale
    symmetric = to_scipy(Gram(D))
    assert scipy.sparse.linalg.eigsh(symmetric, 1)[0] == pytest.approx(np.linalg.norm(D, 2) ** 2, rel=1e-5)


def test_rectangles_and_their_transposes():
    for operator in (wrap(R), wrap(scipy.sparse.linalg.aslinearoperator(R)), wrap(scipy.sparse.csr_array(R))):
        assert not operator.symmetric
        assert operator.shape == (30, 50)
        assert operator.to_dense() == pytest.approx(R)
        assert operator.T.to_dense() == pytest.approx(R.T)
        assert operator.T @ np.ones(30) == pytest.approx(R.T @ np.ones(30))
        assert float(ns.frobenius_norm(operator)) == pytest.approx(np.linalg.norm(R))
        with pytest.raises(ValueError, match=r"shape \(30, 50\), which is not square"):
            as_symmetric(operator)


def test_a_matrix_is_looked_at():
    assert Dense(A).symmetric
    assert Dense(np.triu(A)).symmetric is False
    almost = A + 1e-16 * rng.standard_normal((60, 60))
    exact = almost.astype(np.longdouble)
    operator = Dense(almost)
    assert operator.symmetric
    assert operator.storage_error == pytest.approx(np.linalg.norm(almost - almost.T) / 2)
    mirrored = np.tril(exact) + np.tril(exact, -1).T
    assert np.sqrt(((mirrored - (exact + exact.T) / 2) ** 2).sum()) <= operator.storage_error * (1 + 1e-12)
    assert not Dense(A, symmetric=False).symmetric
    with pytest.raises(ValueError, match=r"said to be symmetric, but \|A - A.T\| = .* pass \(A \+ A.T\) / 2"):
        Dense(np.triu(A), symmetric=True)
    with pytest.raises(ValueError, match="said to be symmetric"):
        Dense(R, symmetric=True)
    with pytest.raises(ValueError, match="NaN or infinite, the first one"):
        Dense(np.where(np.arange(3600).reshape(60, 60) == 184, np.nan, A))
    with pytest.raises(ValueError, match=r"entries up to 1e\+200, whose squares"):
        Dense(np.diag([1e200, 1.0]))
    with pytest.raises(ValueError, match="entries up to 1e-200, whose squares float64 does not hold"):
        Dense(np.diag([1e-200, 0.0]))


@pytest.mark.covering(1)
@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 64, 65, 130, 520])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_read_one_triangle_for_any_number_of_vectors(n, dtype, monkeypatch):
    """The upper triangle may hold anything from the diagonal blocks of 64 rows on."""
    matrix = np.random.default_rng(n).standard_normal((n, n))
    matrix = (matrix + matrix.T).astype(dtype)
    operator = Dense(matrix)
    exact = matrix.astype(np.float64)
    assert operator.frobenius_squared == pytest.approx((exact**2).sum(), rel=1e-13)
    for shared in (2**18, 0):
        monkeypatch.setattr("ntkspec.operators.dense.SHARED_FROM", shared)
        for k in (1, 2, 3, 4, 5, 8, 11):
            V = np.random.default_rng(k).standard_normal((n, k))
            assert np.abs(operator @ V - exact @ V).max() <= 1e-13 * n
            single = operator @ V.astype(dtype)
            assert single.dtype == dtype
            assert np.abs(single - exact @ V).max() <= 100 * np.finfo(dtype).eps * n
    operator._rows = np.where(np.arange(n)[:, None] // 64 >= np.arange(n)[None, :] // 64, matrix, np.nan).astype(dtype)
    assert np.isfinite(operator @ np.ones(n)).all()


@pytest.mark.parametrize("layout", ["fortran", "strided", "read-only"])
def test_any_memory_layout_is_taken(layout):
    wide = np.zeros((120, 120))
    wide[::2, ::2] = A
    given = {"fortran": np.asfortranarray(A), "strided": wide[::2, ::2], "read-only": A.copy()}[layout]
    given.setflags(write=False)
    V = rng.standard_normal((60, 3))
    operator = Dense(given)
    assert operator @ V == pytest.approx(A @ V, abs=1e-12)
    assert operator.frobenius_squared == pytest.approx((A**2).sum(), rel=1e-13)
    assert operator.symmetric
    skew = np.copy(wide)
    skew[2, 4] += 1
    assert Dense(skew[::2, ::2], symmetric=False).defect == pytest.approx(2**0.5)
    assert Dense(np.asfortranarray(skew[::2, ::2]), symmetric=False).defect == pytest.approx(2**0.5)


def test_the_error_of_products_is_relative_to_the_largest():
    operator = wrap(lambda v: 3 * v, 40, error=1e-5)
    assert operator.rounding.matvec_error_bound == pytest.approx(3e-5)
    assert wrap(lambda v: v, 5, dtype=np.float32).rounding.matvec_error_bound == pytest.approx(8 * 2**-23)
    assert wrap(lambda v: 0 * v, 5).rounding.matvec_error_bound == 0.0


def test_what_cannot_multiply_is_refused():
    with pytest.raises(ValueError, match=r"pass ntkspec.operators.wrap\(function, n\)"):
        wrap(lambda v: v)
    with pytest.raises(
        TypeError, match="a set cannot be multiplied; pass an operator, an array, a SciPy LinearOperator"
    ):
        wrap({1, 2})
    with pytest.raises(TypeError, match="complex128"):
        wrap(1j * np.eye(3))
    with pytest.raises(TypeError, match="products have dtype complex128, but float32 or float64 is needed"):
        wrap(scipy.sparse.csr_array(1j * np.eye(3)))
    with pytest.raises(ValueError, match=r"shape \(30, 50\) cannot be symmetric"):
        wrap(scipy.sparse.csr_array(R), symmetric=True)
    assert isinstance(wrap(scipy.sparse.csr_array(A), symmetric=False), Products)
    with pytest.raises(ValueError, match="is not symmetric by construction"):
        ns.spectral_norm(wrap(scipy.sparse.csr_array(A), symmetric=False))
    with pytest.raises(ValueError, match="the operator is not symmetric: <q, K p> and <K q, p> differ"):
        ns.spectral_norm(scipy.sparse.csr_array(np.triu(A)))
