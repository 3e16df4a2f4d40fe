"""Data sets from arrays in memory: what a file of the same content gives."""

import numpy as np
import pytest

import ntkspec as ns

X = np.random.default_rng(0).standard_normal((60, 4)) + 3
WORDS = np.where(X[:, 0] > 3, "yes", "no")


def as_table(X):
    return pytest.importorskip("pandas").DataFrame(X, columns=["age", "dose", "time", "size"], index=range(100, 160))


CONTAINERS = {"array": np.array, "list": np.ndarray.tolist, "table": as_table, "matrix": lambda X: np.ma.array(X)}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=list(CONTAINERS))
@pytest.mark.parametrize(
    "labels", [WORDS, WORDS.tolist(), WORDS.astype(object), WORDS == "yes", np.where(X[:, 0] > 3, 7, 2)]
)
def test_arrays_become_what_their_file_becomes(tmp_path, container, labels):
    np.savez(tmp_path / "points.npz", X=X, y=WORDS)
    expected = ns.datasets.load(tmp_path / "points.npz", seed=3)
    found = ns.datasets.from_arrays(container(X), labels, seed=3)
    for part in ("X", "y", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
    assert found.trace_ratio == expected.trace_ratio


def test_test_points_are_moved_and_scaled_as_the_training_points_are():
    found = ns.datasets.from_arrays(X[:40], WORDS[:40], X_test=X[40:], y_test=WORDS[40:], classes=("no", "yes"))
    scale = found.meta["scale"]
    np.testing.assert_allclose(found.X_test, (X[40:] - X[:40].mean(axis=0)) * scale, rtol=1e-12)
    assert (found.y_test == np.where(WORDS[40:] == "no", 1, -1)).all()
    with pytest.raises(ValueError, match="both X_test and y_test"):
        ns.datasets.from_arrays(X, WORDS, X_test=X)
    with pytest.raises(
        ValueError, match=r"^X of arrays has 60 points, but y has 40 labels; one label a point is needed$"
    ):
        ns.datasets.from_arrays(X, WORDS[:40])


def test_columns_of_a_table_keep_their_names():
    table = as_table(X * [1, 1000, 1, 1])
    assert ns.datasets.from_arrays(table, WORDS).meta["as_they_came"]["largest_feature"] == "dose"
    table["time"] = 4.0
    with pytest.raises(ValueError, match=r"1 of 4 features of arrays are constant over the training points \(time\)"):
        ns.datasets.from_arrays(table, WORDS)
    assert "kept: 1 of 4 features" in str(ns.datasets.from_arrays(table, WORDS, keep_constant=True))


def test_the_number_of_points_of_each_class_is_told():
    y = np.resize(["a", "b", "b"], 60)
    found = ns.datasets.from_arrays(X, y, n_test=0)
    assert "for training: 60 points (40 of b, 20 of a)" in found.meta["reading"]
    found = ns.datasets.from_arrays(X, X[:, 1], n_test=10)
    mean = found.y.mean()
    assert any(
        f"50 points (labels from {found.y.min():.4g} to {found.y.max():.4g}, mean {mean:.4g})" in line
        for line in found.meta["reading"]
    )


def test_what_is_no_file_is_told_where_to_go(tmp_path):
    with pytest.raises(TypeError, match="from_arrays"):
        ns.datasets.load(X)
    with pytest.raises(FileNotFoundError, match="is a folder; name a file"):
        ns.datasets.load(tmp_path)


def test_a_data_set_prints_in_a_few_lines():
    lines = str(ns.datasets.from_arrays(X, WORDS, name="mine")).splitlines()
    assert lines[0] == "Dataset mine: 54 training and 6 test points, d = 4, float64"
    assert len(lines) < 8


@pytest.mark.parametrize("k", [600, 512, 40, -40, -560, -900])
@pytest.mark.parametrize("standardize", [False, True])
def test_points_of_any_magnitude_give_the_same_data_set_bit_by_bit(k, standardize):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    plain, scaled = (ns.datasets.from_arrays(np.ldexp(X, e), y, standardize=standardize) for e in (0, k))
    np.testing.assert_array_equal(scaled.X, plain.X)
    np.testing.assert_array_equal(scaled.X_test, plain.X_test)
    assert scaled.trace_ratio == plain.trace_ratio


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_labels_whose_squares_leave_the_range_are_refused(size):
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match=r"labels of arrays reach .*but their squares need 1.5e-154 to"):
        ns.datasets.from_arrays(rng.standard_normal((30, 4)), size * rng.standard_normal(30))
