"""Files of arrays: which of them are the points and the labels, and what is read from them."""

import io
import os
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

import array_dialects
from ntkspec import datasets, engines, storage

RNG = np.random.default_rng(8)
X = RNG.standard_normal((40, 3))
Y = RNG.standard_normal(40)
X_TEST, Y_TEST = RNG.standard_normal((8, 3)), RNG.standard_normal(8)
WORDS = np.where(Y > 0, "horse", "cat")


def standard(points):
    centred = points - points.mean(axis=0)
    return centred * np.sqrt(points.shape[1] / np.mean((centred**2).sum(axis=1)))


def save(path, **arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


def load_all(path, **options):
    return datasets.load(path, n_test=0, **options)


def read(path, meant=X, labels=Y, **options):
    """The data, once they are seen to be those points and labels."""
    data = load_all(path, **options)
    np.testing.assert_allclose(data.X, standard(meant), atol=1e-12)
    np.testing.assert_array_equal(data.y, labels)
    return data


# ------------------------------------------------------------------------------------------------ files drawn at random
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_files_as_people_write_them_are_read_as_they_are_meant(tmp_path, seed):
    meant = array_dialects.drawn(tmp_path / "folder", seed)
    assert array_dialects.verdict(meant) == "right", meant


@pytest.mark.parametrize("seed", range(27))
def test_files_with_one_thing_wrong_are_refused_in_one_line(tmp_path, seed):
    meant = array_dialects.spoiled(tmp_path / "folder", seed)
    assert array_dialects.verdict(meant).startswith("refused: "), meant.reason


# --------------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("points", "label"),
    [
        ("X", "y"),
        ("x_train", "y_train"),
        ("X_TRAIN", "Y_TRAIN"),
        ("trainX", "trainY"),
        ("train_images", "train_labels"),
        ("images", "label"),
        ("data", "target"),
        ("data", "labels"),
        ("features", "targets"),
        ("inputs", "outputs"),
        ("samples", "class"),
        ("train_set_x", "train_set_y"),
        ("x_data", "y_data"),
        ("arr_0", "arr_1"),
        ("train/X", "train/y"),
        ("images/train", "labels/train"),
        ("run 3/X", "run 3/y"),
    ],
)
@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_the_usual_names_are_found_among_others(tmp_path, ending, points, label):
    spare = {
        "classes": np.array([b"u", b"v"]),
        "weights": np.ones(40),
        "target_names": np.array([b"a", b"b"]),
        "note": np.array(b"of 2024"),
    }
    data = read(save(tmp_path / f"a.{ending}", **{points: X, label: Y}, **spare))
    assert f"points: {points} (40 x 3, float64); labels: {label} (40, float64)" in data.meta["reading"]
    assert "arrays that are not used: classes, note, target_names, weights" in data.meta["reading"]


@pytest.mark.parametrize("names", ["x_{} y_{}", "{}_images {}_labels", "{}/X {}/y", "{}X {}Y", "x{} y{}", "X/{} y/{}"])
def test_a_split_under_any_usual_names_is_used(tmp_path, names):
    points, labels = names.split()
    arrays = {points.format("train"): X, labels.format("train"): Y}
    arrays |= {points.format("test"): X_TEST, labels.format("test"): Y_TEST}
    arrays |= {points.format("val"): X_TEST + 1, labels.format("val"): Y_TEST + 1}
    data = datasets.load(save(tmp_path / "a.h5", **arrays))
    np.testing.assert_array_equal(data.y, Y)
    np.testing.assert_array_equal(data.y_test, Y_TEST)
    assert any("not used" in said and "val" in said for said in data.meta["reading"])


def test_arrays_are_named_by_options(tmp_path):
    path = save(tmp_path / "a.h5", **{"b/coords": X, "b/energy": Y, "c/coords": X_TEST, "c/energy": Y_TEST, "X": X + 1})
    own = {"points": "b/coords", "label": "/b/Energy"}
    read(path, **own)
    data = datasets.load(path, **own, test_points="c/coords", test_label="c/energy")
    np.testing.assert_array_equal(data.y_test, Y_TEST)
    read(save(tmp_path / "a.npz", X=X, y=-Y, energy=Y, label=Y), label="energy")
    read(save(tmp_path / "a.npz", train_x=X + 1, train_y=Y + 1, val_x=X, val_y=Y), points="val_x")


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"X": X, "y": Y, "labels": Y}, "y and labels"),
        ({"X": X, "y": Y, "X_train": X}, "X and X_train"),
        ({"data": X, "images": X, "target": Y}, "data and images"),
        ({"a/X": X, "a/y": Y, "b/X": X, "b/y": Y}, "several groups .a, b."),
        ({"arr_0": X, "arr_1": X_TEST, "arr_2": Y, "arr_3": Y_TEST}, "'arr_0', 'arr_1', 'arr_2', 'arr_3'.*say nothing"),
        ({"X_test": X, "y_test": Y}, "'X_test', 'y_test'.*are needed"),
        ({"a": X, "b": Y}, "'a', 'b'.*are needed"),
    ],
)
def test_more_than_one_choice_or_none_is_refused_with_the_names(tmp_path, arrays, named):
    with pytest.raises(ValueError, match=rf"a.npz holds .*{named}.*--(points|label)"):
        datasets.load(save(tmp_path / "a.npz", **arrays))


def test_a_sparse_matrix_of_scipy_is_no_array_of_points(tmp_path):
    scipy.sparse.save_npz(tmp_path / "a.npz", scipy.sparse.eye_array(40).tocsr())
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(ValueError, match=r"sparse matrix of SciPy; save it with .*toarray"):
        datasets.load(tmp_path / "a.npz", label="y.npy")


def test_what_is_not_taken_is_not_read(tmp_path):
    path = save(tmp_path / "a.npz", X=X, y=Y, models=np.array([datasets.load, {}], dtype=object))
    read(path)
    path = save(tmp_path / "a.h5", X=X, y=Y)
    with h5py.File(path, "a") as file:
        file["nothing"], file["empty"] = h5py.SoftLink("/absent"), h5py.Empty("f8")
    read(path)


@pytest.mark.parametrize("name", ["nothing", "empty", "elsewhere"])
def test_a_link_to_nothing_or_an_empty_data_set_is_refused_where_it_is_needed(tmp_path, name):
    path = save(tmp_path / "a.h5", X=X)
    with h5py.File(path, "a") as file:
        target = {"nothing": h5py.SoftLink("/absent"), "empty": h5py.Empty("f8")}
        file["y"] = target.get(name, h5py.ExternalLink("absent.h5", "y"))
    reason = "a link to nothing|an empty data set|a link to 'y' in 'absent.h5', which is not followed"
    with pytest.raises(ValueError, match=rf"y of .*a.h5 is ({reason})"):
        datasets.load(path)


# -------------------------------------------------------------------------------------------------------------- formats
def test_an_npy_file_finds_its_labels_beside_it(tmp_path):
    for name, array in {"X_train": X, "y_train": Y, "X_test": X_TEST, "y_test": Y_TEST, "other": X[:5]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    data = datasets.load(tmp_path / "X_train.npy")
    np.testing.assert_array_equal(data.y, Y)
    np.testing.assert_array_equal(data.y_test, Y_TEST)


def test_the_labels_of_an_npy_file_are_another_file_or_a_column(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    np.save(tmp_path / "there/things.npy", X)
    np.save(tmp_path / "energies.npy", Y)
    read(tmp_path / "there/things.npy", label=str(tmp_path / "energies.npy"))
    monkeypatch.chdir(tmp_path)
    read("there/things.npy", label="energies.npy")
    np.save("whole.npy", np.column_stack([X[:, :1], Y, X[:, 1:]]))
    for label in (1, "1", -3, "-3"):
        read("whole.npy", label=label)
    save(tmp_path / "whole.npz", data=np.column_stack([X, Y]), y=-Y, note=np.array("text"))
    read("whole.npz", label=3)
    read("whole.npz", label=-1, points="Data")
    with pytest.raises(ValueError, match="label=4 needs a matrix with that column"):
        datasets.load("whole.npy", label=4)
    with pytest.raises(ValueError, match=r"the folder of whole.npy holds .*'whole'.*--label"):
        datasets.load("whole.npy")


def test_the_file_of_the_labels_is_not_that_of_the_points(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(ValueError, match=r"y of .* would be both the points and the labels"):
        datasets.load(tmp_path / "y.npy")
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    with pytest.raises(ValueError, match=r"X of .* would be both the points and the labels"):
        datasets.load(tmp_path / "a.npz", label="X")


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize(
    ("points", "advice"),
    [
        (X.T, r"X of .* has shape \(3, 40\), but 40 labels"),
        (np.zeros((5, 6, 3, 40)), r"shape \(5, 6, 3, 40\).*moveaxis"),
    ],
)
@pytest.mark.parametrize("column", [False, True])
def test_points_along_the_last_axis_are_refused_with_what_to_do(tmp_path, ending, points, advice, column):
    path = tmp_path / f"a.{ending}"
    save(path, X=points, y=Y[:, None] if column else Y)
    with pytest.raises(ValueError, match=advice):
        datasets.load(path)


@pytest.mark.parametrize("ending", ["npy", "npz", "h5"])
def test_the_fields_of_a_structured_array_are_features_and_labels(tmp_path, ending):
    table = np.zeros(40, dtype=[("a", "f4"), ("label", "S5"), ("b", ">f8"), ("c", "u1")])
    table["a"], table["b"], table["c"], table["label"] = X[:, 0], X[:, 1], 10 * X[:, 2] + 100, WORDS
    path = tmp_path / f"table.{ending}"
    np.save(path, table) if ending == "npy" else save(path, rows=table)
    points = np.column_stack([table["a"], table["b"], table["c"]]).astype(float)
    data = read(path, points, np.where(WORDS == "horse", 1, -1))
    assert "points: fields a, b, c; labels: field label" in data.meta["reading"]
    with pytest.raises(ValueError, match="has the fields a, label, b, c; name the one"):
        datasets.load(path, label="kind")


@pytest.mark.parametrize("row", [True, False])
def test_matlab_keeps_labels_in_rows_or_columns_and_points_in_either(tmp_path, row):
    path = save(tmp_path / "a.mat", X=X.T if row else X, y=Y[None] if row else Y[:, None], fs=44100.0)
    read(path)
    pixels = RNG.integers(0, 256, (8, 8, 3, 40), dtype=np.uint8)  # as the street view house numbers are kept
    data = load_all(save(tmp_path / "b.mat", X=pixels, y=Y[None]))
    np.testing.assert_allclose(data.X, standard(np.moveaxis(pixels, -1, 0).reshape(40, -1).astype(float)), atol=1e-12)
    assert data.meta["shape"] == (8, 8, 3)


def test_a_square_matrix_of_matlab_is_rows_and_it_is_told(tmp_path):
    data = read(save(tmp_path / "a.mat", X=X[:3], y=Y[:3]), X[:3], Y[:3])
    assert "points are the rows of (3, 3), not its columns" in data.meta["reading"]
    images = RNG.standard_normal((8, 8, 8))
    with pytest.raises(ValueError, match=r"X of .*a.mat has shape \(8, 8, 8\).*first axis or the last"):
        datasets.load(save(tmp_path / "a.mat", X=images, y=np.arange(8.0)))


def test_test_points_of_matlab_lie_as_the_training_points_do(tmp_path):
    Z = RNG.standard_normal((3, 3))
    for train, test in ((X, Z), (Z, X)):  # a square matrix says nothing of its axes, the other one does
        y, y_test = train[:, 0], test[:, 0]
        for kept in (train.T, test.T), (train, test):
            path = save(tmp_path / "a.mat", X=kept[0], y=y[None], X_test=kept[1], y_test=y_test[None])
            data = datasets.load(path)
            np.testing.assert_allclose(data.X, standard(train), atol=1e-12)
            for points, labels in ((data.X, y), (data.X_test, y_test)):  # each label is the first feature of its point
                np.testing.assert_allclose(points[:, 0] / data.meta["scale"] + train[:, 0].mean(), labels, atol=1e-12)
    path = save(tmp_path / "a.mat", X=X, y=Y[None], X_test=X[:5].T, y_test=Y[None, :5])
    with pytest.raises(ValueError, match=r"shapes \(40, 3\) and \(3, 5\); let points lie along the same axis"):
        datasets.load(path)


def test_a_table_of_a_thousand_fields_is_read(tmp_path):
    table = np.zeros(40, dtype=[(f"feature {k}", "f8") for k in range(1000)] + [("größe", "f8"), ("label", "f8")])
    table["größe"], table["label"], table["feature 7"] = X[:, 0], Y, X[:, 1]
    np.save(tmp_path / "a.npy", table)
    data = load_all(tmp_path / "a.npy", keep_constant=True)
    np.testing.assert_array_equal(np.flatnonzero(data.X.any(axis=0)), [7, 1000])
    np.testing.assert_array_equal(data.y, Y)


def test_matlab_cells_of_words_and_sparse_points_are_read(tmp_path):
    gaps = np.where(X > 0, X, 0.0)
    path = save(tmp_path / "a.mat", X=scipy.sparse.csc_matrix(gaps), y=WORDS.astype(object)[:, None])
    read(path, gaps, np.where(WORDS == "horse", 1, -1))


def test_cells_of_matlab_are_words_or_numbers_and_a_sparse_matrix_of_version_4_is_read(tmp_path):
    cells = {"words": ["bäh", "", "x" * 30], "numbers": [1.5, 2, True], "mixed": ["a", 1.5], "lists": [np.arange(2), 1]}
    path = save(tmp_path / "a.mat", **{name: np.array(cell, dtype=object) for name, cell in cells.items()})
    with storage.open_arrays(path) as arrays:
        assert arrays.read("words").ravel().tolist() == cells["words"]
        assert arrays.read("numbers").ravel().tolist() == [1.5, 2, 1]
        for name, reason in {"mixed": "words and numbers; words alone", "lists": "more than words and numbers"}.items():
            with pytest.raises(ValueError, match=f"^{name} of .*a.mat is a cell of {reason}"):
                arrays.read(name)
    gaps = np.where(X > 0, X, 0.0)
    scipy.io.savemat(path, {"X": scipy.sparse.csc_matrix(gaps)}, format="4")
    with storage.open_arrays(path) as arrays:
        np.testing.assert_array_equal(arrays.read("X"), gaps)


def test_a_matlab_file_of_version_7_3_or_none_is_refused(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"], file["y"] = X.T, Y[None]
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(head.ljust(512, b"\0") + path.read_bytes()[512:])
    with pytest.raises(ValueError, match=r"a.mat is a MATLAB 7.3 file; save it with"):
        datasets.load(path)
    path.write_bytes(b"no such file" * 20)
    with pytest.raises(ValueError, match=r"a.mat is not a readable .mat file"):
        datasets.load(path)


@pytest.mark.parametrize("dtype", ["f2", ">f2", ">f4", ">f8", "<i2", ">i8", "u1", "?", np.longdouble])
@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_every_kind_of_number_is_converted(tmp_path, ending, dtype):
    kind = np.dtype(dtype).kind
    points = (X > 0 if kind == "b" else 100 + 10 * X).astype(dtype)
    labels = (100 * Y).astype(dtype if kind == "f" else "f8")
    read(save(tmp_path / f"a.{ending}", X=points, y=labels), points.astype(float), labels.astype(float))


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (X.astype("M8[s]"), r"datetime64\[s\]"),
        (X + 1j, "complex128"),
        (X.astype(str), "words"),
        (X.astype(np.longdouble) * np.longdouble("1e400"), "beyond the range of float64"),
        (np.zeros(40, dtype=[("a", "f4"), ("b", "f4")]), "fields a, b"),
    ],
)
def test_points_that_are_no_numbers_are_refused(tmp_path, points, kind):
    with pytest.raises(ValueError, match=rf"a.npz.*{kind}"):
        datasets.load(save(tmp_path / "a.npz", X=points, y=Y), label="y")


@pytest.mark.parametrize("dtype", ["uint8", int, "bool", "float16", "complex128", object, "f", ">f8", "nonsense"])
@pytest.mark.parametrize("make", ["load", "gaussian", "sphere"])
def test_a_data_set_is_float32_or_float64(tmp_path, make, dtype):
    arguments = (save(tmp_path / "a.npz", X=X, y=Y),) if make == "load" else (30, 4)
    if dtype == "f":
        assert getattr(datasets, make)(*arguments, dtype=dtype).X.dtype == np.float32
    else:
        with pytest.raises(TypeError, match="float32 or float64 is needed"):
            getattr(datasets, make)(*arguments, dtype=dtype)


# ---------------------------------------------------------------------------------------------------- arrays of objects
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_words_are_read_whatever_numpy_wrote_them(tmp_path, protocol):
    for module in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        content = pickle.dumps(WORDS.astype(object), protocol=min(protocol, 3))
        content = content.replace(b"numpy._core.multiarray", module) if protocol < 4 else content
        with (tmp_path / "y.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (40,)})
            file.write(content if protocol < 4 else pickle.dumps(WORDS.astype(object), protocol=protocol))
        np.save(tmp_path / "X.npy", X)
        read(tmp_path / "X.npy", labels=np.where(WORDS == "horse", 1, -1))


class Crafted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"a": one}, lambda one: ("cat", one)])
@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, ending, wrap):
    trace, labels = tmp_path / "trace", np.empty(40, dtype=object)
    labels[:] = "cat"
    labels[7] = wrap(Crafted(trace))
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", labels, allow_pickle=True)
    np.savez(tmp_path / "X.npz", X=X, y=labels)
    with pytest.raises(ValueError, match=r"not a readable .*others run code.*save labels with .astype\(str\)"):
        datasets.load(tmp_path / f"X.{ending}")
    assert not trace.exists()
    np.load(tmp_path / "y.npy", allow_pickle=True)
    assert trace.exists()  # the file above would have worked


def test_test_arrays_follow_the_name_of_a_training_array_that_was_asked_for(tmp_path):
    """Of two kinds of labels the one that is asked for decides the test labels too."""
    rng = np.random.default_rng(0)
    X, X_test, fine, coarse = (
        rng.standard_normal((20, 3)),
        rng.standard_normal((6, 3)),
        np.arange(26) % 2,
        np.arange(26) // 13,
    )
    arrays = {"x_train": X, "x_test": X_test, "y_train": fine[:20], "y_test": fine[20:]}
    np.savez(tmp_path / "a.npz", **arrays, class_train=coarse[:20], class_test=coarse[20:])
    for name, labels in (("y_train", fine), ("class_train", coarse)):
        data = datasets.load(tmp_path / "a.npz", label=name)
        np.testing.assert_array_equal(np.r_[data.y, data.y_test], 2.0 * labels - 1)
    with pytest.raises(ValueError, match="may both be the labels; name it with --label"):
        datasets.load(tmp_path / "a.npz")


# --------------------------------------------------------------------------------------------------- sizes before bytes
def npy(shape, descr="<f8", content=b"", version=(1, 0)) -> bytes:
    """An .npy file that says those things of itself."""
    kept = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    (np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0)(kept, header)
    return kept.getvalue() + content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy((10**6, 300)), r"an array \(1000000, 300\) needs 2400000000 bytes, but 0 bytes are there"),
        (npy((2**40, 2**40)), "needs 9671406556917033397649408 bytes"),
        (npy((-1, -40)), r"a shape \(-1, -40\)"),
        (npy((10**18,), "|S0"), "entries of 0 bytes"),
        (npy((40,), "|V1000000000"), "needs 40000000000 bytes"),
        (npy((0, 2**62)), "holds no data|not a readable"),
        (npy((40, 3), content=X.tobytes() + b"more"), "more bytes follow"),
        (npy((40, 3)).replace(b"}", b"("), "not a readable .npy file"),
        (npy((40, 3)).replace(b"(40", b"(4,"), "not a readable .npy file"),
        (b"\x93NUMPY\x09\x00" + npy((40, 3))[8:], "not a readable .npy file"),
    ],
)
def test_what_an_npy_file_declares_is_compared_with_its_bytes(tmp_path, content, reason):
    (tmp_path / "X.npy").write_bytes(content)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(ValueError, match=rf"X.npy.*({reason})|X.npy ({reason})"):
        datasets.load(tmp_path / "X.npy")


def test_an_npz_is_asked_for_its_sizes_first_and_only_for_the_arrays_that_are_taken(tmp_path):
    bomb = npy((10**8,), content=bytes(8))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"X": npy((40, 3), content=X.tobytes()), "y": npy((40,), content=Y.tobytes())}.items():
            archive.writestr(f"{name}.npy", content)
        archive.writestr("other.npy", bomb)
    read(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"an array \(100000000,\) needs 800000000 bytes, but 8 bytes are there"):
        datasets.load(tmp_path / "a.npz", points="other")
    whole = (tmp_path / "a.npz").read_bytes()
    place = whole.rfind(b"PK\x01\x02") + 24  # the size that the directory tells of the last array
    (tmp_path / "a.npz").write_bytes(whole[:place] + struct.pack("<I", 10**9) + whole[place + 4 :])
    with pytest.raises(ValueError, match=r"other.npy declares 1000000000 bytes, but \d+ bytes are stored"):
        datasets.load(tmp_path / "a.npz", points="other")


@pytest.mark.parametrize("ending", ["npz", "npy", "mat"])
def test_an_array_that_does_not_fit_into_the_free_memory_is_refused(tmp_path, monkeypatch, ending):
    path = tmp_path / f"X.{ending}"
    if ending == "npy":
        np.save(path, X)
        np.save(tmp_path / "y.npy", Y)
    else:
        save(path, X=X, y=Y)
    monkeypatch.setattr(engines.engine_of(), "free_memory", lambda: 900)
    with pytest.raises(ValueError, match=rf"X.{ending} needs 0.0 GB, but 0.0 GB are free; save a part of it"):
        datasets.load(path)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")


def matrix(kind: int, shape, content: bytes, name: bytes = b"") -> bytes:
    """A matrix of a .mat file, by the number of its class."""
    parts = [(6, struct.pack("<II", kind, 0)), (5, struct.pack(f"<{len(shape)}i", *shape)), (1, name)]
    return element(14, b"".join(element(*part) for part in parts) + content)


def nested(depth: int) -> bytes:
    """Cells in cells."""
    content = matrix(6, (1, 1), element(9, bytes(8)))
    for _ in range(depth):
        content = matrix(1, (1, 1), content)
    return content


CELLS = {
    "cells in cells": (matrix(1, (40, 1), 40 * nested(3), b"y"), "y of .* is a cell of more than words and numbers"),
    "cells without end": (matrix(1, (1, 1), nested(1000), b"y"), "y of .* is a cell of more than words and numbers"),
    "no cells": (matrix(1, (1, 30_000), b"", b"y"), "a.mat is not a readable .mat file: "),
    "a word of blanks": (
        matrix(1, (1, 1), matrix(4, (1, 2**30), element(4, b"")), b"y"),
        "a.mat is not a readable .mat file: it takes more memory",
    ),
    "a large matrix": (matrix(6, (2**30, 2**30), element(9, bytes(8)), b"y"), r"y of .* declares 1.15e\+18 entries"),
    "a struct": (matrix(2, (1, 1), element(5, struct.pack("<i", 8)) + element(1, bytes(8)), b"y"), "a MATLAB struct"),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("packed", [False, True])
def test_what_a_mat_file_declares_is_compared_with_its_bytes(tmp_path, name, packed):
    content, reason = CELLS[name]
    save(tmp_path / "a.mat", X=X)
    whole = (tmp_path / "a.mat").read_bytes()
    packed_content = zlib.compress(content)
    more = struct.pack("<II", 15, len(packed_content)) + packed_content if packed else content
    (tmp_path / "a.mat").write_bytes(whole + more)
    with pytest.raises(ValueError, match=reason):
        datasets.load(tmp_path / "a.mat")


def test_a_sparse_matrix_whose_entries_lie_outside_it_is_refused(tmp_path):
    path = save(tmp_path / "a.mat", X=scipy.sparse.csc_matrix(np.where(X > 0, X, 0)), y=Y)
    indices = scipy.sparse.csc_matrix(np.where(X > 0, X, 0)).indices.astype("<i4").tobytes()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(indices, b"\xff\xff\xff\x3f" + indices[4:]))
    assert path.read_bytes() != whole
    with pytest.raises(ValueError, match=r"a.mat is not a readable .mat file: "):
        datasets.load(path)
