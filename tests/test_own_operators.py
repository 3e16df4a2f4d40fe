"""A user's own operators of ten lines: one that knows its product, one that knows its entries, with every tool."""

import pickle

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.operators import EntrywiseOperator, KernelOperator, Rounding, to_scipy

N = 90
x = np.sort(np.random.default_rng(0).uniform(0, 9, N))


class Smoother(KernelOperator):
    """x ↦ D D x with the second differences D: known through its product only."""

    symmetric = semidefinite = True

    def __init__(self, n):
        self.shape, self.dtype = (n, n), np.dtype(float)

    def _matmat(self, V):
        once = 2 * V - np.roll(V, 1, axis=0) - np.roll(V, -1, axis=0)
        return 2 * once - np.roll(once, 1, axis=0) - np.roll(once, -1, axis=0) + V


class Laplace(EntrywiseOperator):
    """exp(-|x - x'|): known through its entries."""

    symmetric = semidefinite = True

    def __init__(self, x):
        self.x, self.shape, self.dtype = x, (len(x), len(x)), x.dtype

    def _tile(self, rows, cols, dtype):
        return np.exp(-abs(self.x[rows, None] - self.x[cols]).astype(dtype))


BUILD = {
    "product": lambda: Smoother(N),
    "entries": lambda: Laplace(x),
    "entries in float32": lambda: Laplace(x.astype(np.float32)),
}


@pytest.fixture(params=BUILD)
def own(request):
    return BUILD[request.param]()


@pytest.fixture
def matrix(own):
    if isinstance(own, Smoother):
        return own._matmat(np.eye(N))
    wide = own.x.astype(float)
    return np.exp(-abs(wide[:, None] - wide))


def inside(estimate, exact):
    """The interval holds the exact number, and is no wider than asked for."""
    assert estimate.lower <= exact * (1 + 1e-14)
    assert exact * (1 - 1e-14) <= estimate.upper
    assert estimate.converged


def test_it_is_its_matrix(own, matrix):
    tolerance = 20 * np.finfo(own.dtype).eps * abs(matrix).max()
    V = np.random.default_rng(1).standard_normal((N, 3)).astype(own.dtype)
    for found, exact in (
        (own.to_dense(), matrix),
        (own @ np.eye(N), matrix),
        (own.tile(slice(7, 30), slice(50, 90)), matrix[7:30, 50:90]),
        (own.tile(np.array([3, 80, 5]), slice(0, 40)), matrix[[3, 80, 5], :40]),
        (own.diagonal(), np.diag(matrix)),
        (own.T.to_dense(), matrix),
        ((own - 0.5 * own + np.eye(N, dtype=own.dtype)).to_dense(), matrix / 2 + np.eye(N)),
    ):
        assert np.abs(found - exact).max() <= tolerance
    for found in (own @ V, to_scipy(own) @ V, (V.T @ own).T):
        assert np.abs(found - matrix @ V).max() <= N * tolerance
    again = pickle.loads(pickle.dumps(own))
    assert np.array_equal(again @ V, own @ V)


def test_norms_trace_and_dimensions_are_certified(own, matrix):
    values = np.linalg.eigvalsh(matrix)
    inside(ns.spectral_norm(own), values[-1])
    inside(ns.spectral_norm(own, method="factored", rtol=1e-4), values[-1])
    inside(ns.spectral_norm(own - own.diagonal().mean() * ns.operators.identity(N, dtype=own.dtype)), max(
        abs(values - float(own.diagonal().mean()))
    ))  # fmt: skip
    inside(ns.frobenius_norm(own), np.linalg.norm(matrix))
    inside(ns.trace(own), np.trace(matrix))
    inside(ns.effective_rank(own), np.trace(matrix) / values[-1])
    inside(ns.participation_ratio(own), np.trace(matrix) ** 2 / (values**2).sum())
    inside(ns.condition_number(own, rtol=0.3), values[-1] / values[0])
    p = values / values.sum()
    inside(ns.spectral_entropy(own), -(p * np.log(p)).sum())


def test_eigenpairs_density_and_alignments(own, matrix):
    values = np.linalg.eigvalsh(matrix)
    found = ns.eigsh(own, 3)
    assert np.abs(found.values - values[::-1][:3]).max() <= found.residuals.max() + 1e-12 * values[-1]
    assert found.converged
    density = ns.spectral_density(own)
    assert density.mean(lambda value: value) == pytest.approx(values.mean(), rel=1e-6)
    y = np.sin(x)
    alignment = ns.kernel_target_alignment(own, y)
    assert alignment.lower <= y @ matrix @ y / (np.linalg.norm(matrix) * (y @ y)) <= alignment.upper
    assert ns.label_energy(found, y).sum() <= 1


def test_training_is_predicted(own, matrix):
    y, steps = np.sin(x), [0, 1, 10]
    found = ns.predict_gd(own, y, eta=0.1, steps=steps)
    exact = np.zeros(N)
    for step in range(11):
        if step in steps:
            assert np.abs(found.train[steps.index(step)] - exact).max() <= 100 * np.finfo(own.dtype).eps
        exact = exact - 0.1 / N * matrix @ (exact - y)
    assert ns.learning_modes(own, y, eta=0.1, k=2).values[0] == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-5)


def test_it_is_planned_formed_and_saved(own, matrix, tmp_path):
    assert ns.plan(own, 5).seconds > 0
    assert ns.plan(own, method="dense").bytes > 0
    stored = ns.save_kernel(own, tmp_path / "kernel.h5")
    allowed = 1e-14 * np.linalg.norm(matrix) + stored.storage_error
    assert np.linalg.norm(ns.load_kernel(tmp_path / "kernel.h5").to_dense() - matrix) <= allowed
    assert stored.storage_error <= 1e-5 * np.linalg.norm(matrix)


def test_checkpoints_go_on(own, tmp_path):
    norm = ns.spectral_norm(own, method="factored", checkpoint=tmp_path / "products")
    again = ns.spectral_norm(own, method="factored", checkpoint=tmp_path / "products")
    assert (again.value, again.lower, again.upper) == (norm.value, norm.lower, norm.upper)


def test_what_it_says_of_cost_and_rounding_is_believed():
    class Said(Laplace):
        cost = ns.operators.Cost(ns.operators.Work(flops=1e12), own=ns.operators.Work(entries=1e9))
        rounding = Rounding.relative(1e-3, 10.0, N)

    assert ns.plan(Said(x), 7, method="factored").each >= 5
    assert ns.spectral_norm(Said(x), method="factored", rtol=0.5).evidence.rounding >= 1e-2


def test_a_rectangle_needs_the_product_of_its_transpose():
    class Shift(KernelOperator):
        def __init__(self, n):
            self.shape, self.dtype = (n, n + 1), np.dtype(float)

        def _matmat(self, V):
            return V[1:] - V[:-1]

    class Both(Shift):
        def _rmatmat(self, V):
            return np.concatenate([-V[:1], V[:-1] - V[1:], V[-1:]])

    matrix = np.diff(np.eye(N + 1), axis=0)
    inside(ns.frobenius_norm(Shift(N)), np.linalg.norm(matrix))
    with pytest.raises(TypeError, match=r"Shift is not symmetric .* a method _rmatmat\(self, V\) that returns K.T @ V"):
        Shift(N).T @ np.ones(N)
    both = Both(N)
    assert np.array_equal(both.T.to_dense(), matrix.T)
    assert np.array_equal(to_scipy(both).T @ np.eye(N), matrix.T)
    assert both.T.T is both
    with pytest.raises(ValueError, match="a symmetric kernel is needed"):
        ns.spectral_norm(both)


def test_a_rectangle_of_entries_has_all_products():
    class Between(EntrywiseOperator):
        def __init__(self, one, other):
            self.one, self.other = one, other
            self.shape, self.dtype = (len(one), len(other)), one.dtype

        def _tile(self, rows, cols, dtype):
            return np.exp(-abs(self.one[rows, None] - self.other[cols]).astype(dtype))

    kernel, exact = Between(x, x[:40]), Laplace(x).to_dense()[:, :40]
    assert np.abs(kernel.T.to_dense() - exact.T).max() <= 1e-15
    assert np.abs(kernel.T @ np.eye(N) - exact.T).max() <= 1e-14
    assert np.abs(kernel._rmatmat(np.eye(N)) - exact.T).max() <= 1e-14
    for one in (kernel, Between(x.astype(np.float32), x[:40].astype(np.float32)).T):
        inside(ns.frobenius_norm(one), np.linalg.norm(exact if one is kernel else exact.T))
    assert np.array_equal(kernel.T.tile(np.array([3, 7]), slice(2, 9)), kernel.tile(slice(2, 9), slice(3, 8)).T[[0, 4]])


def test_a_class_without_a_product_or_a_tile_is_abstract():
    class Nothing(KernelOperator):
        pass

    class Neither(EntrywiseOperator):
        pass

    with pytest.raises(TypeError, match=r"abstract.*_matmat"):
        Nothing()
    with pytest.raises(TypeError, match=r"abstract.*_tile"):
        Neither()


class Told(Smoother):
    """A product that returns what a test sets."""

    def __init__(self, change):
        super().__init__(N)
        self.change = change

    def _matmat(self, V):
        return self.change(super()._matmat(V))


@pytest.mark.parametrize(
    "change",
    [np.transpose, lambda W: W[:7], lambda W: W[:, 0], np.ndarray.tolist, lambda W: W + 0j],
    ids=["transposed", "too short", "a vector", "a list", "complex"],
)
@pytest.mark.parametrize("tool", [lambda K: K @ np.ones((N, 2)), ns.spectral_norm, ns.trace, lambda K: (K + K) @ x])
def test_a_product_of_another_shape_is_refused(change, tool):
    """A transposed (k, n) would be read in another order, and one row or column be broadcast."""
    with pytest.raises(ValueError, match=r"Told\._matmat returned .*array of real numbers of shape \(90, \d+\)"):
        tool(Told(change))


def test_a_product_less_precise_than_the_operator_is_refused():
    """Its rounding would be in no interval."""
    with pytest.raises(TypeError, match="returned float32 from an operator of float64"):
        ns.spectral_norm(Told(lambda W: W.astype(np.float32)), rtol=1e-10)


@pytest.mark.parametrize("tile", [lambda K, rows, cols: K[rows, 0], lambda K, rows, cols: 1.0], ids=["row", "number"])
def test_a_tile_of_another_shape_is_refused(tile):
    class Row(Laplace):
        def _tile(self, rows, cols, dtype):
            return tile(np.exp(-abs(self.x[:, None] - self.x)), rows, cols)

    for tool in (ns.spectral_norm, ns.frobenius_norm, lambda K: K - ns.operators.identity(N) @ np.eye(N)):
        with pytest.raises(ValueError, match=r"Row\._tile returned .*array of real numbers of shape \(\d+, \d+\)"):
            np.asarray(tool(Row(x)))


@pytest.mark.parametrize(
    ("name", "value"), [("dtype", np.float64), ("dtype", "float32"), ("dtype", np.dtype(int)), ("shape", [N, N])]
)
def test_a_shape_or_dtype_that_is_none_is_named(name, value):
    for tool in (ns.spectral_norm, ns.trace, lambda K: 2.0 * K):
        own = Smoother(N)
        setattr(own, name, value)
        with pytest.raises(TypeError, match=rf"Smoother\.{name} is "):
            tool(own)


@pytest.mark.parametrize("change", [lambda W: W.astype(np.float32), lambda W: np.rint(W).astype(int)])
def test_a_product_has_the_dtype_of_operator_and_vectors(change):
    own = Told(change)
    own.dtype = np.dtype(np.float32)
    assert (own @ x).dtype == ((own + own) @ x).dtype == np.float64
