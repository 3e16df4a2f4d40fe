"""Arrays of every kind come in as plain ones at the door of every public function, or are refused."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import ntkspec as ns
from ntkspec import checks
from ntkspec.engines import as_array

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass is not")

rng = np.random.default_rng(0)
# Multiples of 1/8: every dtype of the containers holds them exactly.
X = np.round(8 * rng.standard_normal((24, 4))) / 8
X2 = np.round(8 * rng.standard_normal((5, 4))) / 8
W = np.round(8 * rng.standard_normal((6, 4))) / 8
y, v = np.sign(rng.standard_normal(24)), np.sign(rng.standard_normal(6))
F = np.round(8 * rng.standard_normal((24, 24))) / 8
K = F + F.T


class SpeaksArray:
    """As JAX's arrays on the CPU, and those of other libraries."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


class SpeaksDLPack:
    """As arrays of the array API standard."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class Unit(np.ndarray):
    """A subclass whose products mean something else."""

    def __mul__(self, other):
        raise AssertionError("* with the meaning of a subclass")

    __matmul__ = __rmul__ = __rmatmul__ = __mul__


def _fields(array):
    names = [f"column {k}" for k in range(array.shape[-1])]
    return np.array([tuple(row) for row in array], dtype=[(name, float) for name in names])


def _frame(array):
    columns = [f"column {k}" for k in range(array.shape[1])]
    return pd.DataFrame(array, columns=columns, index=rng.permutation(len(array)))


def _series(array):
    return pd.Series(array, index=rng.permutation(len(array)))


def _tensor(array):
    torch = pytest.importorskip("torch")
    return torch.tensor(array, requires_grad=True)


def _tensors(array):
    return list(_tensor(array))


OF_ANY = {
    "list": np.ndarray.tolist,
    "masked": lambda array: np.ma.masked_invalid(array),
    "subclass": lambda array: array.view(Unit),
    "big-endian": lambda array: array.astype(">f8"),
    "half": lambda array: array.astype(">f2"),
    "tensor": _tensor,
    "tensors": _tensors,
    "__array__": SpeaksArray,
    "DLPack": SpeaksDLPack,
}
OF_MATRICES = OF_ANY | {
    "matrix": np.matrix,
    "matrix of half": lambda array: np.matrix(array, np.float16),
    "structured": _fields,
    "record": lambda array: _fields(array).view(np.recarray),
    "sparse": scipy.sparse.csr_matrix,
    "sparse array": scipy.sparse.coo_array,
    "table": _frame,
    "nullable table": lambda array: _frame(array).convert_dtypes(),
}
OF_VECTORS = OF_ANY | {"series": _series, "nullable series": lambda array: _series(array).convert_dtypes()}

NET, DEEP = ns.TwoLayer(W, v, "gelu"), ns.FullyConnected.paired(4, [4, 4], "relu")


def _outputs(trajectory):
    return np.concatenate([part.ravel() for part in (trajectory.train, trajectory.test) if part is not None])


# Each from a conversion of matrices and one of vectors to numbers.
CALLS = {
    "trace_ratio": lambda m, _: ns.trace_ratio(m(X)),
    "TwoLayer": lambda m, c: ns.TwoLayer(m(W), c(v), "gelu")(m(X)),
    "FullyConnected": lambda m, _: ns.FullyConnected([m(W), m(W[:1].repeat(6, 1)[:, :6])], "erf")(m(X)),
    "jvp": lambda m, _: DEEP.jvp(m(X), [m(P) for P in DEEP.parameters]),
    "vjp": lambda m, c: np.concatenate([part.ravel() for part in DEEP.vjp(m(X), c(y))]),
    "ntk": lambda m, _: ns.ntk(NET, m(X), m(X2)).to_dense(),
    "deep ntk": lambda m, _: ns.ntk(DEEP, m(X)).to_dense(),
    "linear_kernel": lambda m, _: ns.linear_kernel("gelu", m(X), m(X2)).to_dense(),
    "cnn_linear_kernel": lambda m, _: ns.cnn_linear_kernel("relu", m(X), filter_size=2).to_dense(),
    "expected_ntk": lambda m, _: ns.expected_ntk("relu", m(X), m(X2)).to_dense(),
    "expected_nngp": lambda m, _: ns.expected_nngp("erf", m(X)).to_dense(),
    "expected_cnn_ntk": lambda m, _: ns.expected_cnn_ntk("relu", m(X), filter_size=2).to_dense(),
    "gap": lambda m, _: float(ns.spectral_norm(ns.ntk(NET, m(X)) - ns.linear_kernel("gelu", m(X)))),
    "gap_budget": lambda m, _: float(ns.gap_budget(NET, m(X)).gap.spectral),
    "product": lambda m, c: np.column_stack([ns.ntk(NET, X) @ m(F), ns.ntk(NET, X) @ c(y)]),
    "Diagonal": lambda _, c: ns.operators.Diagonal(c(y)).to_dense(),
    "train_gd": lambda m, c: _outputs(ns.train_gd(NET, m(X), c(y), eta=0.1, steps=c(np.arange(3.0)), X_test=m(X2))),
    "predict_gd": lambda m, c: _outputs(ns.predict_gd(K, c(y), eta=0.1, steps=[1], start=c(y))),
    "learning_modes": lambda m, c: ns.learning_modes(F @ F.T, c(y), eta=0.1, k=3).energies,
    "kernel_target_alignment": lambda m, c: float(ns.kernel_target_alignment(K, c(y))),
    "label_energy": lambda m, c: ns.label_energy(ns.eigsh(K, 2), c(y)),
    "cumulative": lambda m, c: ns.spectral_density(K).cumulative(c(y))[0],
    "Dataset": lambda m, c: ns.datasets.gaussian(5, 4, covariance=c(np.ones(4))).X,
}
OF_KERNELS = {
    "spectral_norm": lambda m: float(ns.spectral_norm(m(K))),
    "frobenius_norm": lambda m: float(ns.frobenius_norm(m(K))),
    "trace": lambda m: float(ns.trace(m(K))),
    "eigsh": lambda m: ns.eigsh(m(K), 3).values,
    "spectral_density": lambda m: ns.spectral_density(m(K)).values,
    "predict_gd": lambda m: ns.predict_gd(m(K), y, eta=0.01, steps=[3], kernel_test=m(F)).test,
}


def _same(found, plain):
    """Up to the order of sums: a table's memory runs along its columns."""
    return np.allclose(found, plain, rtol=1e-11, atol=1e-13 * np.abs(plain).max())


@pytest.mark.filterwarnings("ignore:the kernel has the eigenvalue", "ignore:learning rate")
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("call", CALLS)
def test_every_function_takes_every_container(call, every):
    """Every third one in a default run, other ones for the next function."""
    function, first = CALLS[call], list(CALLS).index(call) % every
    plain = function(np.asarray, np.asarray)
    for name, convert in list(OF_MATRICES.items())[first::every]:
        found = function(convert, OF_VECTORS.get(name, OF_VECTORS["series"]))
        assert _same(found, plain), name
    assert _same(function(np.asarray, OF_VECTORS["nullable series"]), plain)


@pytest.mark.filterwarnings("ignore:the kernel has the eigenvalue", "ignore:learning rate")
@pytest.mark.parametrize("call", OF_KERNELS)
def test_a_kernel_may_come_in_every_container(call):
    function, own = OF_KERNELS[call], {"sparse", "sparse array"}  # those are multiplied as they are
    plain = function(np.asarray)
    for name, convert in OF_MATRICES.items():
        if name not in own:
            assert _same(function(convert), plain), name
    assert function(scipy.sparse.csr_array) == pytest.approx(plain, rel=1e-6)


def test_a_plain_array_is_not_copied_and_a_memory_map_stays_on_disk(tmp_path):
    assert checks.as_floats(X, "X") is X
    mapped = np.memmap(tmp_path / "X", float, "w+", shape=X.shape)
    mapped[:] = X
    found = checks.as_matrix(mapped)
    assert type(found) is np.ndarray
    assert np.shares_memory(found, mapped)
    assert np.array_equal(ns.ntk(NET, mapped).to_dense(), ns.ntk(NET, X).to_dense())


@pytest.mark.parametrize("kept", [">f4", "<f4", ">f8", "<f8"])
def test_byte_orders_keep_their_precision(kept):
    found = checks.as_floats(X.astype(kept), "X")
    assert found.dtype == np.dtype(kept[1:])
    assert found.dtype.isnative
    assert np.array_equal(found, X)


@pytest.mark.parametrize("dtype", ["f2", ">f2", "i1", ">i4", "u8", "?"])
def test_half_precision_and_whole_numbers_become_float64(dtype):
    given = (X > 0).astype(dtype)
    found = checks.as_floats(given, "X")
    assert found.dtype == np.float64
    assert np.array_equal(found, X > 0)


def _with_gap():
    return np.ma.masked_greater(X, 1.0)


def _bfloat16():
    torch = pytest.importorskip("torch")
    return torch.tensor(X, dtype=torch.bfloat16)


def _sparse_tensor():
    return _tensor(X).detach().to_sparse()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (_with_gap, "X is a masked array, but every entry counts"),
        (lambda: [_with_gap()[k] for k in range(24)], "X is a masked array"),
        (lambda: X.astype(complex), "X has dtype complex128, but float32 or float64 is needed"),
        (lambda: X.astype(np.longdouble), "X has dtype float128|X has dtype longdouble"),
        (lambda: X.astype(str), "X has dtype <U32"),
        (lambda: X.astype("datetime64[s]"), "X has dtype datetime64"),
        (lambda: [[1.0, 2.0], [3.0]], r"X \(list\) cannot be read as an array of numbers: .*inhomogeneous"),
        (lambda: {1.0, 2.0}, "X has dtype object"),
        (lambda: pd.DataFrame({"a": [1.0], "town": ["Bern"]}), "X has the column 'town' of dtype str"),
        (lambda: pd.DataFrame({"a": [1.0], "when": pd.to_datetime(["2020-01-01"])}), "X has the column 'when'"),
        (lambda: pd.DataFrame({3: pd.Categorical(["u", "v"])}), "X has the column 3 of dtype category"),
        (lambda: pd.DataFrame({"mixed": [1.0, "x"]}), "X has the column 'mixed' of dtype object"),
        (lambda: np.zeros(3, [("a", float), ("name", "U3")]), "X has the field 'name' of dtype <U3"),
        (lambda: pytest.importorskip("torch").zeros(2, 2, dtype=pytest.importorskip("torch").complex64), "complex64"),
        (_bfloat16, r"X \(Tensor\) cannot be read as an array of numbers: .*BFloat16"),
        (_sparse_tensor, r"X is a tensor of layout torch.sparse_coo, but a dense one is needed; pass .to_dense\(\)"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_by_name(given, message):
    with pytest.raises(TypeError, match=message):
        checks.as_matrix(given())


def test_missing_values_are_told_from_numbers():
    table = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match=r"NaN or infinite, the first one .nan. in row 1, column 0"):
        checks.as_matrix(table)
    assert np.array_equal(as_array(pd.DataFrame({"a": [True, False], "b": [0.5, 2.0]}), "X"), [[1, 0.5], [0, 2]])


def test_a_sparse_matrix_that_does_not_fit_is_refused():
    empty = scipy.sparse.csr_matrix((10**8, 10**6))
    with pytest.raises(ValueError, match=r"X is a sparse matrix .* needs 8e\+05 GB with its zeros, but"):
        ns.trace_ratio(empty)


def test_labels_in_a_column_are_one_output():
    found, plain = (ns.train_gd(NET, X, labels, eta=0.1, steps=[1]).train for labels in (np.matrix(y).T, y))
    assert found.shape == (1, 24, 1)
    assert np.allclose(found[:, :, 0], plain, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["matrix", "table", "tensor", "big-endian", "sparse"])
def test_products_from_the_left_mean_the_same(kind):
    theta, V = ns.ntk(NET, X), X.T
    given = OF_MATRICES[kind](V)
    given = given.detach() if kind == "tensor" else given
    assert np.asarray(given @ theta) == pytest.approx(V @ theta.to_dense(), rel=1e-12)


def test_a_data_set_holds_plain_arrays():
    data = ns.datasets.Dataset(np.matrix(X), _series(y), _frame(X2), [1, -1, 1, -1, 1], 1.0, "own")
    for part, plain in ((data.X, X), (data.y, y), (data.X_test, X2), (data.y_test, [1, -1, 1, -1, 1])):
        assert type(part) is np.ndarray
        assert np.array_equal(part, plain)


@pytest.mark.parametrize("dtype", [float, "Float64"])
def test_tables_leave_sums_to_the_kernel(dtype):
    theta = ns.ntk(ns.TwoLayer.random(3, 8, "erf"), rng.standard_normal((4, 3)))
    entries = rng.standard_normal((4, 4))
    table, matrix = pd.DataFrame(entries).astype(dtype), theta.to_dense()
    for found, expected in (
        (table + theta, entries + matrix),
        (theta + table, entries + matrix),
        (table - theta, entries - matrix),
        (theta - table, matrix - entries),
    ):
        assert found.to_dense() == pytest.approx(expected, abs=1e-12)
