"""Every operator against its own dense matrix; an operator enters the registry and inherits all tests."""

import contextlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

import house
from conftest import STAND_IN
from ntkspec import engines, storage
from ntkspec.operators import (
    Bits,
    Dense,
    Diagonal,
    EntrywiseOperator,
    GradientsAt,
    Gram,
    GramFunction,
    HadamardGram,
    JacobianGram,
    KernelOperator,
    form,
    wrap,
)
from ntkspec.operators import tiles as geometry
from ntkspec.operators.interleaved import Interleaved
from ntkspec.operators.patches import Patches, PatchGram
from ntkspec.operators.rescaled import Rescaled
from ntkspec.operators.transposed import Transposed
from several_outputs import WrittenJacobian, full_kernel

SIZES = [
    (1, 1, 1),
    (1, 3, 2),
    (5, 1, 4),
    (40, 3, 7),
    (3, 9, 2),
    (66, 2, 301),
    (1100, 4, 6),
]  # n, d, m; 1100 is not a whole tile


HOME = []


@pytest.fixture(autouse=True)
def home(engine):
    """Operators of this file are built on each engine in turn."""
    HOME[:] = [engine]
    return engine


def on(array):
    return engines.moved(array, HOME[0])


def off(array):
    return HOME[0].to_host(array)


def draw(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gram(n, d, m, dtype):
    F = draw(n, m, dtype=dtype)
    return Gram(on(F)), F @ F.T


def hadamard(n, d, m, dtype):
    D, X = draw(n, m, dtype=dtype), draw(n, d, dtype=dtype, seed=1)
    return HadamardGram(on(D), on(X)), (D @ D.T) * (X @ X.T)


def hadamard_wide_data(n, d, m, dtype):
    return hadamard(n, m + 20, d, dtype)


def packed_bits(D, values, dtype):
    words = HOME[0].bits.empty(*D.shape)
    HOME[0].bits.pack(words, on(D), values[1])
    return Bits(words, D.shape[1], values, np.dtype(dtype))


def bits(n, d, m, dtype, values=(0.0, 1.0)):
    X = draw(n, d, dtype=dtype, seed=1)
    D = np.where(draw(n, m) > 0.3, *values[::-1])
    packed = packed_bits(D, values, dtype)
    return HadamardGram(packed, on(X)), (D @ D.T * (X @ X.T)).astype(dtype)


def bits_of_leaky_slopes(n, d, m, dtype):
    return bits(n, d, m, dtype, (-0.25, 1.0))


def bits_with_weights(n, d, m, dtype):
    X, weights = draw(n, d, dtype=dtype, seed=1), draw(m, dtype=dtype, seed=2)
    D = np.where(draw(n, m) > 0.3, 1.0, 0.25)
    words = packed_bits(D, (0.25, 1.0), dtype).words
    weighted = (D * weights).astype(dtype)
    packed = Bits(words, m, (0.25, 1.0), np.dtype(dtype), on(weights))
    return HadamardGram(packed, on(X)), (weighted @ weighted.T * (X @ X.T)).astype(dtype)


def bits_between(n, d, m, dtype):
    masks, X, X2 = (draw(n, m) > 0, draw(n + 6, m, seed=4) > 0), draw(n, d, dtype=dtype), draw(n + 6, d, dtype=dtype)
    D, D2 = (np.where(mask, 1.0, 0.5) for mask in masks)
    packed, packed2 = (packed_bits(matrix, (0.5, 1.0), dtype) for matrix in (D, D2))
    return HadamardGram(packed, on(X), packed2, on(X2)), (D @ D2.T * (X @ X2.T)).astype(dtype)


def dense(n, d, m, dtype):
    A = draw(n, n, dtype=dtype)
    return Dense(on(A + A.T), symmetric=True), A + A.T


def triangle(n, d, m, dtype):
    operator, matrix = hadamard(n, d, m, dtype)
    return form(operator), matrix


def triangle_minus_gram(n, d, m, dtype):
    (one, A), (other, B) = triangle(n, d, m, dtype), gram(n, d, m, dtype)
    return one - other, A - B


def sharing(n, d, m, dtype):
    """Theta_1 - Theta^lin1: both terms hold X Xᵀ."""
    D, X, E = draw(n, m, dtype=dtype), draw(n, d, dtype=dtype, seed=1), draw(n, 2, dtype=dtype, seed=2)
    Z = on(X)
    return HadamardGram(on(D), Z) / 2 - 0.25 * Gram(Z) - Gram(on(E)), (D @ D.T) * (
        X @ X.T
    ) / 2 - 0.25 * X @ X.T - E @ E.T


def difference(n, d, m, dtype):
    (one, A), (other, B) = hadamard(n, d, m, dtype), gram(n, d, m, dtype)
    return 0.5 * one - other * 2.0, 0.5 * A - 2 * B


def gram_between(n, d, m, dtype):
    F, G = draw(n, m, dtype=dtype), draw(n + 3, m, dtype=dtype, seed=1)
    return Gram(on(F), on(G)), F @ G.T


def hadamard_between(n, d, m, dtype):
    D, X = draw(n, m, dtype=dtype), draw(n, d, dtype=dtype, seed=1)
    D2, X2 = draw(n + 2, m, dtype=dtype, seed=2), draw(n + 2, d, dtype=dtype, seed=3)
    return HadamardGram(on(D), on(X), on(D2), on(X2)), (D @ D2.T) * (X @ X2.T)


def sum_between(n, d, m, dtype):
    one, A = hadamard_between(n, d, m, dtype)
    F, G = draw(n, m, dtype=dtype), draw(n + 2, m, dtype=dtype, seed=1)
    return -(one + 3 * Gram(on(F), on(G))), -(A + 3 * F @ G.T)


class Cubic:
    """h = c + c³ + (‖x‖²/d) (‖x'‖²/d) - gap / 2, in a form that uses every argument."""

    error, levels = 1e-15, 1

    def points(self, squares):
        return HOME[0].xp.stack([squares, 2 * squares], axis=1)

    def __call__(self, engine, left, right, c, gap):
        return c + c**3 + left[:, :1] * right[:, 1] / 2 - gap / 2

    def diagonal(self, engine, points):
        a = points[:, 0]
        return a + a**3 + a**2


def cubic(a, b, c):
    return c + c**3 + a * b - (a * b - c * c) / 2


def gram_function(n, d, m, dtype):
    X = draw(n, d, dtype=dtype)
    wide = X.astype(np.float64)
    a = (wide**2).sum(axis=1) / d
    return GramFunction(Cubic(), on(X)), cubic(a[:, None], a, wide @ wide.T / d).astype(dtype)


def gram_function_between(n, d, m, dtype):
    X, X2 = draw(n, d, dtype=dtype), draw(n + 4, d, dtype=dtype, seed=1)
    wide, wide2 = X.astype(np.float64), X2.astype(np.float64)
    a, b = (wide**2).sum(axis=1) / d, (wide2**2).sum(axis=1) / d
    return GramFunction(Cubic(), on(X), on(X2)), cubic(a[:, None], b, wide @ wide2.T / d).astype(dtype)


def function_minus_gram(n, d, m, dtype):
    """Both terms hold X Xᵀ."""
    (one, A), X = gram_function(n, d, m, dtype), draw(n, d, dtype=dtype)
    return one - 2 * Gram(one.X), A - 2 * X @ X.T


def rescaled(n, d, m, dtype):
    operator, matrix = gram_function(n, d, m, dtype)
    scales = 2.0 ** (np.arange(n) % 5 - 2)
    return Rescaled(operator, [on(scales.astype(dtype))]), (scales[:, None] * matrix * scales).astype(dtype)


def diagonal(n, d, m, dtype):
    entries = draw(n, dtype=dtype)
    return Diagonal(on(entries)), np.diag(entries)


class Quadratic:
    """Gradients (x, |x|² x / d) of a function with two vectors of parameters."""

    flops, fan = 10.0, 4

    def __init__(self, d, dtype):
        self.size, self.dtype = 2 * d, np.dtype(dtype)

    def parts(self, X):
        return [lambda: X, lambda: self._bent(X)]

    def _bent(self, X):
        return X * ((X**2).sum(axis=1) / X.shape[1])[:, None]

    def vjp(self, X, cotangent):
        return [part().T @ cotangent for part in self.parts(X)]

    def jvp(self, X, tangents):
        return sum(part() @ tangent for part, tangent in zip(self.parts(X), tangents, strict=True))


def jacobian_gram(n, d, m, dtype):
    return jacobian_gram_of(draw(n, d, dtype=dtype), None, dtype)


def jacobian_gram_between(n, d, m, dtype):
    return jacobian_gram_of(draw(n, d, dtype=dtype), draw(n + 4, d, dtype=dtype, seed=1), dtype)


def jacobian_gram_of(X, X2, dtype):
    jacobian = Quadratic(X.shape[1], dtype)
    sides = [np.hstack([part() for part in jacobian.parts(side)]) for side in (X, X if X2 is None else X2)]
    given = [on(X)] if X2 is None else [on(X), on(X2)]
    return JacobianGram(*(GradientsAt(jacobian, side) for side in given)), sides[0] @ sides[1].T


def jacobian_of_all_outputs(n, d, m, dtype):
    J = draw(n, 3, d * m, dtype=dtype)
    flat = J.reshape(3 * n, -1)
    return full_kernel(on(J)), flat @ flat.T


def jacobian_between_all_outputs(n, d, m, dtype):
    J, J2 = draw(n, 3, d * m, dtype=dtype), draw(n + 2, 3, d * m, dtype=dtype, seed=1)
    return full_kernel(on(J), on(J2)), J.reshape(3 * n, -1) @ J2.reshape(3 * n + 6, -1).T


def jacobian_summed_over_outputs(n, d, m, dtype):
    J = draw(n, 3, d * m, dtype=dtype)
    flat = J.reshape(n, -1)
    return JacobianGram(WrittenJacobian(on(J)), scale=0.5), flat @ flat.T / 2


def interleaved(n, d, m, dtype):
    return interleaved_of([build(max(1, n // 2), d, m, dtype) for build in (gram, hadamard)])


def interleaved_between(n, d, m, dtype):
    return interleaved_of([gram_between(max(1, n // 2), d, m, dtype) for _ in range(3)])


def interleaved_of(pairs):
    (rows, columns), K = pairs[0][1].shape, len(pairs)
    whole = np.zeros((rows, K, columns, K), pairs[0][1].dtype)
    for k, (_, matrix) in enumerate(pairs):
        whole[:, k, :, k] = matrix
    return Interleaved([operator for operator, _ in pairs]), whole.reshape(K * rows, K * columns)


class MeanOfSquares:
    """h = the mean of c² - gap / 2 over positions."""

    error, levels, passes, pairs = 1e-15, 1, 3.0, 64

    def points(self, squares):
        return squares[None]

    def __call__(self, engine, left, right, c, gap):
        return (c**2 - gap / 2).mean(axis=0)

    def diagonal(self, engine, points):
        return (points[0] ** 2).mean(axis=1)


def patches_of(X, size):
    """(n, d, size) circular patches of one channel."""
    return np.stack([np.roll(X, -k, axis=1) for k in range(size)], axis=2).astype(float)


def patch_gram(n, d, m, dtype):
    return patch_gram_of(draw(n, d, dtype=dtype), None)


def patch_gram_between(n, d, m, dtype):
    return patch_gram_of(draw(n, d, dtype=dtype), draw(n + 4, d, dtype=dtype, seed=1))


def patch_gram_of(X, X2):
    size = min(2, X.shape[1])
    left, right = (patches_of(side, size) for side in (X, X if X2 is None else X2))
    c = np.einsum("ipq,jpq->ijp", left, right) / size
    a, b = ((side**2).sum(axis=2) / size for side in (left, right))
    matrix = (c**2 - (a[:, None] * b[None] - c**2) / 2).mean(axis=2)
    patches = Patches((X.shape[1], 1), (size,))
    return PatchGram(MeanOfSquares(), patches, on(X), None if X2 is None else on(X2)), matrix.astype(X.dtype)


def of_the_host(matrix, **how):
    if HOME[0].name != "cpu":
        pytest.skip("SciPy's operators multiply on the host")
    return wrap(aslinearoperator(matrix), **how), matrix


def products_only(n, d, m, dtype):
    return of_the_host(dense(n, d, m, dtype)[1], symmetric=True)


def products_between(n, d, m, dtype):
    return of_the_host(draw(n, n + 2, dtype=dtype))


class OfEntries(EntrywiseOperator):
    """exp(-|x - x'|), as a user writes it."""

    def __init__(self, x, x2=None):
        self.x, self.x2, self.engine = x, x if x2 is None else x2, HOME[0]
        self.symmetric, self.shape, self.dtype = x2 is None, (len(self.x), len(self.x2)), x.dtype

    def _tile(self, rows, cols, dtype):
        return HOME[0].xp.exp(-abs(self.x[rows, None].astype(dtype) - self.x2[cols].astype(dtype)))


def of_entries(n, d, m, dtype):
    x = draw(n, dtype=dtype)
    return OfEntries(on(x)), np.exp(-abs(x[:, None] - x))


def of_entries_transposed(n, d, m, dtype):
    x, x2 = draw(n, dtype=dtype), draw(n + 3, dtype=dtype, seed=1)
    return Transposed(OfEntries(on(x), on(x2))), np.exp(-abs(x2[:, None] - x))


FOLDER = []


@pytest.fixture(autouse=True)
def folder(tmp_path):
    """Where operators of this file lie; what is open in it is closed at the end."""
    with contextlib.ExitStack() as opened:
        FOLDER[:] = [tmp_path, opened]
        yield


def checkpointed(n, d, m, dtype):
    """Of quick products, as each of its columns is one."""
    operator, matrix = gram(n, d, m, dtype)
    path = FOLDER[0] / f"products {len(list(FOLDER[0].iterdir()))}"
    return FOLDER[1].enter_context(storage.checkpointed(operator, path)), matrix


def on_disk(n, d, m, dtype):
    operator, matrix = gram(n, d, m, dtype)
    return storage.save_kernel(operator, FOLDER[0] / f"kernel {len(list(FOLDER[0].iterdir()))}.h5"), matrix


SYMMETRIC = [gram, hadamard, hadamard_wide_data, bits, bits_of_leaky_slopes, dense, difference, triangle, sharing]
SYMMETRIC += [bits_with_weights]
SYMMETRIC += [triangle_minus_gram, gram_function, function_minus_gram, rescaled, diagonal, jacobian_gram, patch_gram]
SYMMETRIC += [of_entries, on_disk, jacobian_of_all_outputs, jacobian_summed_over_outputs, interleaved]
# Entries cost whole products.
PRODUCTS = [products_only, products_between, checkpointed]
BETWEEN = [gram_between, hadamard_between, bits_between, sum_between, gram_function_between, jacobian_gram_between]
BETWEEN += [patch_gram_between, of_entries_transposed, jacobian_between_all_outputs, interleaved_between]
REGISTRY = [*SYMMETRIC, *BETWEEN, *PRODUCTS]
everything = [
    pytest.mark.parametrize("build", REGISTRY),
    pytest.mark.parametrize("size", SIZES),
    pytest.mark.parametrize("dtype", [np.float64, np.float32]),
]


def over_everything(test):
    for mark in everything:
        test = mark(test)
    return test


def close(found, expected, dtype):
    assert type(found) is HOME[0].xp.ndarray
    found = off(found)
    scale = max(1.0, np.abs(expected).max())
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert np.abs(found - expected).max() <= 2000 * np.finfo(dtype).eps * scale


@pytest.mark.filterwarnings("ignore:.* only products of this")  # of all columns, which take long on a busy machine
@pytest.mark.covering(2)
@over_everything
def test_dense_tile_product_diagonal_and_transpose_agree(build, size, dtype):
    points, *others = size
    if STAND_IN and HOME[0].name == "gpu":
        points = min(points, 300)  # a GPU's tiles are larger than either, and the stand-in is slow
    operator, matrix = build(points, *others, dtype)
    close(operator.to_dense(), matrix, dtype)
    n, columns = operator.shape
    rows, cols = slice(n // 3, n), slice(columns // 2, columns)
    close(operator.tile(rows, cols), matrix[rows, cols], dtype)
    V = draw(columns, 11, dtype=dtype, seed=5)
    for product in (operator.__matmul__, operator._matmat, operator._tiled_product):
        close(product(on(V)), matrix @ V, dtype)
    close(operator @ on(V[:, 0]), matrix @ V[:, 0], dtype)
    close(operator.T.to_dense(), matrix.T, dtype)
    U = draw(n, 2, dtype=dtype, seed=6)
    close(operator.T @ on(U), matrix.T @ U, dtype)
    if n == columns:
        close(operator.diagonal(), np.diag(matrix), dtype)


def below(cls):
    return {cls}.union(*map(below, cls.__subclasses__()))


def classes_of(operator):
    return {type(operator)}.union(*(classes_of(term) for _, term in getattr(operator, "terms", [])))


def test_every_operator_of_the_package_is_in_the_registry(engine):
    if engine.name != "cpu":
        pytest.skip("the same classes")
    house.import_all()
    concrete = {cls for cls in below(KernelOperator) if not inspect.isabstract(cls)}
    # Those of a cluster have a registry of their own, in test_cluster.py.
    own = {cls for cls in concrete if cls.__module__.startswith("ntkspec.") and "cluster" not in cls.__module__}
    assert len(own) > 12
    assert own <= set().union(*(classes_of(build(5, 3, 4, np.float64)[0]) for build in REGISTRY))


@pytest.mark.parametrize("build", SYMMETRIC)
def test_symmetric_operators_know_it_and_are(build):
    operator, _ = build(600, 3, 4, np.float64)
    assert operator.symmetric
    matrix = off(operator.to_dense())
    assert np.array_equal(matrix, matrix.T)


@pytest.mark.parametrize("build", BETWEEN)
def test_operators_between_two_sets_are_not_symmetric(build):
    assert not build(5, 3, 4, np.float64)[0].symmetric


@pytest.mark.covering(2)
@pytest.mark.parametrize("build", REGISTRY)
@pytest.mark.parametrize("tile", [1, 7, 64, 5000])
def test_results_do_not_depend_on_the_tile_size(build, tile, monkeypatch):
    operator, matrix = build(30, 3, 4, np.float64)
    monkeypatch.setattr(HOME[0], "TILE", tile)
    close(operator.to_dense(), matrix, np.float64)
    close(operator._tiled_product(on(draw(operator.shape[1], 3))), matrix @ draw(operator.shape[1], 3), np.float64)


@pytest.mark.parametrize(("n", "n2"), [(1, 30), (30, 1), (9, 9), (23, 40), (24, 24)])
def test_small_matrices_of_much_work_are_cut_for_all_workers(n, n2, monkeypatch):
    monkeypatch.setattr(geometry, "WORTH_SHARING", 0.0)
    monkeypatch.setattr(HOME[0], "LEAST_TILE", 8)
    D, X = draw(n, 5), draw(n, 4, seed=1)
    D2, X2 = (D, X) if n == n2 else (draw(n2, 5, seed=2), draw(n2, 4, seed=3))
    operator = HadamardGram(on(D), on(X)) if n == n2 else HadamardGram(on(D), on(X), on(D2), on(X2))
    assert len(list(geometry.tiles(operator))) > 1
    close(operator.to_dense(), (D @ D2.T) * (X @ X2.T), np.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.floats(-5, 5), st.floats(-5, 5))
def test_algebra_is_that_of_matrices(n, d, m, a, b):
    (one, A), (other, B) = hadamard(n, d, m, np.float64), gram(n, d, m, np.float64)
    combined = a * (one - other) + (b * one + other)
    assert isinstance(combined, KernelOperator)
    expected = a * (A - B) + b * A + B
    assert np.abs(off(combined.to_dense()) - expected).max() <= 1e-11 * (1 + np.abs(expected).max() + np.abs(A).max())


@pytest.mark.parametrize("layout", ["fortran", "strided", "read-only"])
def test_any_memory_layout_is_taken(layout):
    D, X = draw(80, 12), draw(80, 6, seed=1)
    if layout == "fortran":
        given_D, given_X = np.asfortranarray(D), np.asfortranarray(X)
    elif layout == "strided":
        wide_D, wide_X = np.zeros((160, 24)), np.zeros((160, 12))
        wide_D[::2, ::2], wide_X[::2, ::2] = D, X
        given_D, given_X = wide_D[::2, ::2], wide_X[::2, ::2]
    else:
        given_D, given_X = D.copy(), X.copy()
        given_D.setflags(write=False)
        given_X.setflags(write=False)
    given_D, given_X = on(given_D), on(given_X)
    operator, expected = HadamardGram(given_D, given_X) - Gram(given_D), (D @ D.T) * (X @ X.T) - D @ D.T
    close(operator.to_dense(), expected, np.float64)
    close(operator @ on(np.eye(80))[::-1], expected[:, ::-1], np.float64)


def test_numpy_scalars_and_arrays_leave_the_algebra_to_the_operator():
    F, G = draw(5, 3), draw(4, 3, seed=1)
    operator = Gram(on(F), on(G))
    scaled = np.float32(2) * operator * np.int64(3)
    assert isinstance(scaled, KernelOperator)
    close(scaled.to_dense(), 6 * F @ G.T, np.float64)
    close(on(draw(2, 5)) @ operator, draw(2, 5) @ F @ G.T, np.float64)
    close(on(draw(5)) @ operator, draw(5) @ F @ G.T, np.float64)


def test_zero_rows_and_duplicated_rows_stay_what_they_are():
    D, X = draw(6, 4), draw(6, 3, seed=1)
    D[2] = X[2] = 0
    D[4], X[4] = D[1], X[1]
    matrix = off((HadamardGram(on(D), on(X)) + Gram(on(D))).to_dense())
    assert not matrix[2].any()
    assert np.array_equal(matrix[4], matrix[1])


def test_thin_factors_reproduce_the_kernel():
    F, G = draw(30, 3), draw(30, 4, seed=1)
    F, G = on(F), on(G)
    left, right = (2 * Gram(F) + 0.5 * Gram(G)).low_rank_factors()
    close(left @ right.T, off(2 * F @ F.T + 0.5 * G @ G.T), np.float64)
    assert (Gram(F) - Gram(G)).low_rank_factors() is None
    assert HadamardGram(F, G).low_rank_factors() is None


def made(*shape, **how):
    return on(draw(*shape, **how))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"shape \(5, 5\) cannot multiply an array of shape \(4,\)"):
        Gram(made(5, 2)) @ on(np.zeros(4))
    with pytest.raises(ValueError, match="cannot be combined"):
        Gram(made(5, 2)) + Gram(made(6, 2))
    with pytest.raises(ValueError, match="cannot be combined"):
        Gram(made(5, 2)) + Gram(made(5, 2, dtype=np.float32))
    with pytest.raises(ValueError, match="has 3 columns, but 2 are needed"):
        Gram(made(5, 2), made(5, 3))
    with pytest.raises(ValueError, match="D has 5 rows and X has 4"):
        HadamardGram(made(5, 2), made(4, 2))
    with pytest.raises(TypeError, match="float64 and float32"):
        Gram(made(5, 2), made(5, 2, dtype=np.float32))
    with pytest.raises(TypeError, match="bits on one side and as numbers on the other"):
        HadamardGram(packed_bits(np.ones((5, 2)), (0.0, 1.0), np.float64), made(5, 2), made(5, 2), made(5, 2))
    with pytest.raises(TypeError, match="D is float64 and X is float32"):
        HadamardGram(made(5, 2), made(5, 2, dtype=np.float32))
    with pytest.raises(TypeError, match="complex128"):
        Gram(on(draw(5, 2) + 1j))
    with pytest.raises(TypeError):
        Gram(made(5, 2)) + 1.0
    with pytest.raises(ValueError, match="row 3, column 1"):
        Gram(on(np.where(np.arange(10).reshape(5, 2) == 7, np.nan, 1.0)))
