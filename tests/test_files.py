import pickle

import h5py
import numpy as np
import pytest

from ntkspec import datasets

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((40, 3)) * [1, 5, 0.1] + [0, 2, -7], RNG.standard_normal(40)
X_TEST, Y_TEST = RNG.standard_normal((8, 3)), RNG.standard_normal(8)
SIGNS = np.where(np.arange(40) % 3 == 0, 1.0, -1.0)
FORMATS = ["npz", "h5", "hdf5", "csv"]


def write(path, **arrays):
    """The arrays as the ending of the path says; a .csv has columns a, b, ... and y."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                words = np.asarray(array).dtype.kind == "U"
                file[name] = np.asarray(array).astype(h5py.string_dtype() if words else np.asarray(array).dtype)
    else:
        rows = [[*map(repr, map(float, x)), str(y)] for x, y in zip(arrays["X"], arrays["y"], strict=True)]
        header = [*"abcdefghijk"[: len(arrays["X"][0])], "y"]
        path.write_text("\n".join(map(",".join, [header, *rows])) + "\n")
    return path


def write_csv(path, text):
    path.write_text(text)
    return path


def load_all(path, **options):
    """Every point for training."""
    return datasets.load(path, n_test=0, **options)


def standard(X, X_test):
    """Both centred by the training mean and scaled to a training mean of |x|^2 of d."""
    mean = X.mean(axis=0)
    scale = np.sqrt(X.shape[1] / np.mean(((X - mean) ** 2).sum(axis=1)))
    return (X - mean) * scale, (X_test - mean) * scale


# ------------------------------------------------------------------------------------------------------ what is read
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_standardized_points(tmp_path, ending):
    data = load_all(write(tmp_path / f"points.{ending}", X=X, y=Y))
    np.testing.assert_allclose(data.X, standard(X, X)[0], atol=1e-12)
    np.testing.assert_array_equal(data.y, Y)
    assert data.X_test.shape == (0, 3)
    assert data.name == f"points.{ending}"
    assert np.mean((data.X**2).sum(axis=1)) == pytest.approx(3)


@pytest.mark.parametrize("ending", ["npz", "h5", "hdf5"])
def test_given_test_points_are_used_and_scaled_as_the_training_points(tmp_path, ending):
    data = datasets.load(write(tmp_path / f"points.{ending}", X=X, y=Y, X_test=X_TEST, y_test=Y_TEST))
    for found, expected in zip((data.X, data.X_test), standard(X, X_TEST), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(data.y, Y)
    np.testing.assert_array_equal(data.y_test, Y_TEST)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_the_one_asked_for(tmp_path, dtype):
    data = datasets.load(write(tmp_path / "points.npz", X=X, y=Y), dtype=dtype)
    assert {a.dtype for a in (data.X, data.y, data.X_test, data.y_test)} == {np.dtype(dtype)}


@pytest.mark.parametrize(("options", "count"), [({}, 4), ({"n_test": 7}, 7), ({"n_test": 0}, 0)])
def test_without_test_points_a_tenth_or_n_test_is_held_out(tmp_path, options, count):
    path = write(tmp_path / "points.npz", X=X, y=Y)
    data = datasets.load(path, **options)
    assert (len(data.X), len(data.X_test)) == (40 - count, count)
    assert sorted([*data.y, *data.y_test]) == sorted(Y)
    row = dict(zip(Y, X, strict=True))
    held_out = np.array([row[y] for y in data.y_test]).reshape(-1, 3)
    np.testing.assert_allclose(data.X_test, standard(np.array([row[y] for y in data.y]), held_out)[1], atol=1e-12)


def test_n_and_n_test_draw_subsets_that_the_seed_decides(tmp_path):
    path = write(tmp_path / "points.npz", X=X, y=Y, X_test=X_TEST, y_test=Y_TEST)
    data, again, other = (datasets.load(path, n=12, n_test=5, seed=seed) for seed in (1, 1, 2))
    assert (len(set(data.y) & set(Y)), len(set(data.y_test) & set(Y_TEST))) == (12, 5)
    row = dict(zip(Y, X, strict=True))
    drawn = np.array([row[y] for y in data.y])
    np.testing.assert_allclose(data.X, standard(drawn, drawn)[0], atol=1e-12)
    np.testing.assert_array_equal(data.X, again.X)
    assert set(data.y) != set(other.y)
    assert set(data.y_test) != set(other.y_test)


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_images_are_flattened(tmp_path, ending):
    images = RNG.standard_normal((10, 5, 6, 3))
    data = load_all(write(tmp_path / f"points.{ending}", X=images, y=np.arange(10.0)))
    np.testing.assert_allclose(data.X, standard(images.reshape(10, 90), images.reshape(10, 90))[0], atol=1e-12)


def test_a_column_of_labels_and_bytes_as_pixels_are_read(tmp_path):
    pixels = RNG.integers(0, 256, (10, 5), dtype=np.uint8)
    data = load_all(write(tmp_path / "points.npz", X=pixels, y=np.arange(10.0)[:, None]))
    np.testing.assert_allclose(data.X, standard(pixels.astype(float), pixels)[0], atol=1e-12)
    np.testing.assert_array_equal(data.y, np.arange(10))


# ------------------------------------------------------------------------------------------------------------ labels
@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("names", [("cat", "horse"), ("0", "1")])
def test_two_words_become_minus_one_and_plus_one_in_alphabetical_order(tmp_path, ending, names):
    words = np.where(SIGNS > 0, names[1], names[0])
    data = load_all(write(tmp_path / f"points.{ending}", X=X, y=words))
    np.testing.assert_array_equal(data.y, SIGNS)


def test_the_meaning_of_the_signs_is_noted(tmp_path):
    path = write(tmp_path / "points.npz", X=X, y=np.where(SIGNS > 0, "horse", "cat"))
    assert load_all(path).meta["labels"] == "+1 = horse, -1 = cat"


@pytest.mark.parametrize(
    ("high", "low"), [(1, 0), (1.0, 0.0), (True, False), (9, 4), (1, -1), (-2, -3)], ids=lambda value: repr(value)
)
def test_two_whole_numbers_become_minus_one_and_plus_one(tmp_path, high, low):
    path = write(tmp_path / "points.npz", X=X, y=np.where(SIGNS > 0, high, low))
    np.testing.assert_array_equal(load_all(path).y, SIGNS)


@pytest.mark.parametrize("labels", [np.where(SIGNS > 0, 0.5, -0.25), np.arange(40), Y], ids=["two", "whole", "any"])
def test_numbers_that_are_not_two_whole_ones_stay_as_they_are(tmp_path, labels):
    path = write(tmp_path / "points.npz", X=X, y=labels)
    data = load_all(path)
    np.testing.assert_array_equal(data.y, labels)
    assert data.meta["labels"] == "numbers"


def test_test_labels_become_signs_as_the_training_labels_do(tmp_path):
    words = np.where(SIGNS > 0, "horse", "cat")
    path = write(tmp_path / "points.npz", X=X, y=words, X_test=X_TEST, y_test=np.array(["horse"] * 7 + ["cat"]))
    np.testing.assert_array_equal(datasets.load(path).y_test, [1] * 7 + [-1])


# --------------------------------------------------------------------------------------------------------------- csv
TABLE = "1,2,0.5\n3,4,0.75\n5,7,-1.5\n"


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "width,height,weight\n" + TABLE,
        "width,y,height\n1,0.5,2\n3,0.75,4\n5,-1.5,7\n",
        "Label,width,height\n0.5,1,2\n0.75,3,4\n-1.5,5,7\n",
        " TARGET ,width,height\n0.5,1,2\n0.75,3,4\n-1.5,5,7\n",
        "width,class,height\n1,0.5,2\n3,0.75,4\n5,-1.5,7\n",
        TABLE.replace("\n", "\r\n"),
        "\ufeffx1,x2,y\n" + TABLE,
        TABLE.replace(",", ", ").rstrip(),
        '"1","2","0.5"\n"3","4","0.75"\n"5","7","-1.5"\n',
        "\n" + TABLE.replace("\n", "\n\n"),
    ],
    ids=["bare", "header", "y", "Label", "TARGET", "class", "CRLF", "BOM", "spaces", "quotes", "blank lines"],
)
def test_the_same_table_is_read_from_every_style_of_csv(tmp_path, text):
    named = any(name in text.lower() for name in ("y\n", "y,", "label", "target", "class"))
    data = load_all(write_csv(tmp_path / "table.csv", text), label=None if named else -1)
    points = np.array([[1.0, 2], [3, 4], [5, 7]])
    np.testing.assert_allclose(data.X, standard(points, points)[0], atol=1e-14)
    np.testing.assert_array_equal(data.y, [0.5, 0.75, -1.5])


@pytest.mark.parametrize(
    "header", ["0,1,label\n", "2019,2020,y\n"], ids=["columns numbered as pandas does", "columns are years"]
)
def test_a_header_with_numbers_as_names_is_a_header(tmp_path, header):
    data = load_all(write_csv(tmp_path / "table.csv", header + TABLE))
    np.testing.assert_array_equal(data.y, [0.5, 0.75, -1.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE + "1,2\n", r"line 4: 2 values, but 3 are needed"),
        ("a,b,y\n" + TABLE + "1,2,3,4\n", r"line 5: 4 values, but 3 are needed"),
        ("a,b,y\n" + TABLE + "\n1,2\n", r"line 6: 2 values, but 3 are needed"),
        ("a,b,y\n1,2\n3,4\n", r"line 2: 2 values, but 3 are needed"),
        ("a,b,c\n1,2\n3,4\n", r"line 2: 2 values, but 3 are needed"),
        (TABLE + "1,two,3\n", r"line 4, column 1: 'two' is not a number"),
        ("a,b,y\n" + TABLE + "1,,3\n", r"line 5, column 'b': a value is missing"),
        ("a,b,y\n\n" + TABLE + "1,two,3\n", r"line 6, column 'b': 'two' is not a number"),
        ("1\n2\n", "it has no two columns"),
        ("a,b,y\n", "holds no data"),
        ("", "holds no data"),
        ("\n\n", "holds no data"),
        ("1 2 0.5\n3 4 0.75\n", "choose one with --label"),
        ("1;2;0.5\n3;4;0.75\n", "choose one with --label"),
    ],
)
def test_a_bad_line_of_a_csv_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"table.csv.*{message}"):
        datasets.load(write_csv(tmp_path / "table.csv", text))


@pytest.mark.parametrize("content", [b"\xff\xfe1\x002\x00", b"\x89PNG\r\n\x1a\n\0\0", b"1,2,\xe4\n"])
def test_a_csv_that_is_not_text_is_refused(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"table.csv"):
        datasets.load(path)


# --------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize("name", ["absent.npz", "absent.h5", "absent.csv", "absent"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path.name}.*does not exist, or is not a file"):
        datasets.load(tmp_path / name)


def test_test_points_in_other_units_are_told(tmp_path):
    pixels = RNG.uniform(size=(40, 3))
    for factor in (255.0, 1e200):
        path = write(tmp_path / "a.npz", X=pixels, y=Y, X_test=factor * pixels, y_test=Y)
        said = "test points are .* times as large as the training points.*other units"
        with pytest.warns(UserWarning, match=said) as caught:
            data = datasets.load(path)
        assert caught[0].filename == __file__
        moved = (factor * pixels - pixels.mean(axis=0)) * data.meta["scale"]
        times = factor * np.sqrt(np.mean((moved / factor) ** 2))
        assert data.meta["reading"][-1].startswith(f"test points are {times:.3g} times as large")
    path = write(tmp_path / "a.npz", X=pixels, y=Y, X_test=5 * pixels, y_test=Y)
    assert not any("units" in said for said in datasets.load(path).meta["reading"])


@pytest.mark.parametrize("huge", ["y", "X_test", "y_test"])
def test_numbers_beyond_float32_are_refused_not_made_infinite(tmp_path, huge):
    arrays = {"X": X, "y": Y, "X_test": X_TEST, "y_test": Y_TEST}
    path = write(tmp_path / "a.npz", **arrays | {huge: 1e40 * arrays[huge]})
    assert np.isfinite(getattr(load_all(path, dtype=np.float64), huge)).all()
    with pytest.raises(ValueError, match=r"a.npz hold numbers beyond the range of float32 \(3.4e\+38\)"):
        datasets.load(path, dtype=np.float32)


@pytest.mark.parametrize("ending", ["doc", "npz.bak", "pkl"])
def test_a_wrong_ending_is_named(tmp_path, ending):
    write_csv(tmp_path / f"points.{ending}", TABLE)
    with pytest.raises(ValueError, match=rf"ending '\.{ending.split('.')[-1]}', but one of .npz, .npy, .h5, .*.csv"):
        datasets.load(tmp_path / f"points.{ending}")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x89HDF\r\n\x1a\n no file", b"<html></html>"])
@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_a_file_that_is_something_else_is_refused(tmp_path, ending, content):
    path = tmp_path / f"points.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"points.{ending} is not a readable"):
        datasets.load(path)


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path, ending, part):
    path = write(tmp_path / f"points.{ending}", X=X, y=Y)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=rf"points.{ending} is not a readable"):
        datasets.load(path)


@pytest.mark.parametrize("every", [7, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_damaged_byte_of_an_npz_is_refused_or_harmless(tmp_path, save, every):
    path, found = tmp_path / "points.npz", set()
    save(path, X=np.arange(60).reshape(20, 3) % 7, y=np.arange(20))
    content = path.read_bytes()
    for k in range(0, len(content), every):
        path.write_bytes(content[:k] + bytes([content[k] ^ 0x55]) + content[k + 1 :])
        try:
            datasets.load(path)
        except Exception as error:
            if not (isinstance(error, ValueError) and "points.npz" in str(error)):
                found.add(repr(error))
    assert not found


def test_an_npy_file_named_npz_is_refused(tmp_path):
    with (tmp_path / "points.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(ValueError, match=r"points.npz"):
        datasets.load(tmp_path / "points.npz")


@pytest.mark.parametrize("name", ["X", "y"])
def test_pickled_objects_are_refused_and_not_run(tmp_path, name):
    trace = tmp_path / "trace"

    class Crafted:
        def __reduce__(self):
            return open, (str(trace), "w")

    arrays = {"X": X[:1], "y": Y[:1]} | {name: np.array([[Crafted()]], dtype=object)}
    np.savez(tmp_path / "points.npz", **arrays)
    with pytest.raises(ValueError, match=r"points.npz is not a readable .npz file.*run code.*open is neither"):
        datasets.load(tmp_path / "points.npz")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Crafted()))
    with pytest.raises(ValueError, match=r"pickle.npz is not a readable .npz file"):
        datasets.load(tmp_path / "pickle.npz")
    assert not trace.exists()


@pytest.mark.covering(1)
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, r"holds \['X'\], but arrays named X and y"),
        ({"y": Y}, r"holds \['y'\], but arrays named X and y"),
        ({"points_of_x": X, "Y": Y}, r"but arrays named X and y"),
        ({"X": X, "y": Y[:39]}, r"^X of .* has 40 points, but y has 39 labels; one label"),
        ({"X": X, "y": np.ones((40, 2))}, r"40 points, but y has shape \(40, 2\)"),
        ({"X": X, "y": 1.0}, r"40 points, but y has shape \(\)"),
        ({"X": np.zeros((0, 3)), "y": np.zeros(0)}, r"no data: X has shape \(0, 3\)"),
        ({"X": np.zeros((5, 0)), "y": np.arange(5.0)}, r"no data: X has shape \(5, 0\)"),
        ({"X": 3.0, "y": 1.0}, r"no data: X has shape \(\)"),
        ({"X": X, "y": np.ones(40)}, r"one label only \(1\)"),
        ({"X": X, "y": np.full(40, "cat")}, r"1 different words \('cat'\)"),
        ({"X": X, "y": np.resize(["a", "b", "c"], 40)}, r"3 different words \('a', 'b', 'c'\)"),
        ({"X": X, "y": np.resize(["a", "b", "c", "d"], 40)}, r"4 different words \('a', 'b', 'c', \.\.\.\)"),
        ({"X": X + 1j, "y": Y}, r"X of .*points.*complex128"),
        ({"X": X, "y": Y + 1j}, r"labels of .*points.*complex128"),
        ({"X": np.full((40, 3), "a"), "y": Y}, r"X of .*points"),
        ({"X": X, "y": Y, "X_test": X_TEST[:, :2], "y_test": Y_TEST}, r"2 columns, but 3 are needed"),
        (
            {"X": X, "y": Y, "X_test": X_TEST, "y_test": Y_TEST[:7]},
            r"^X_test of .* has 8 test points, but y_test has 7 labels",
        ),
        ({"X": X, "y": SIGNS, "X_test": X_TEST, "y_test": Y_TEST}, r"test label -?0\.\d+.*neither of the classes"),
    ],
)
@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_arrays_that_do_not_fit_are_refused(tmp_path, ending, arrays, message):
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(write(tmp_path / f"points.{ending}", **arrays))
    assert f"points.{ending}" in str(caught.value)


def test_a_test_label_of_a_third_class_is_named(tmp_path):
    words = np.where(SIGNS > 0, "horse", "cat")
    path = write(tmp_path / "points.npz", X=X, y=words, X_test=X_TEST, y_test=["cat"] * 7 + ["dog"])
    with pytest.raises(ValueError, match=r"test label 'dog' of .*points.npz is neither of the classes cat, horse"):
        datasets.load(path)


@pytest.mark.parametrize("missing", ["X_test", "y_test"])
def test_test_points_without_labels_or_labels_without_points_are_not_ignored(tmp_path, missing):
    arrays = {"X": X, "y": Y, "X_test": X_TEST, "y_test": Y_TEST}
    del arrays[missing]
    with pytest.raises(ValueError, match=missing):
        datasets.load(write(tmp_path / "points.npz", **arrays))


@pytest.mark.covering(1)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ending", ["npz", "h5", "hdf5"])
def test_the_first_row_with_NaN_or_infinity_is_named(tmp_path, ending, value):
    bad_X, bad_y = X.copy(), Y.copy()
    bad_X[[17, 30], [1, 0]] = value
    bad_y[[21, 33]] = value
    with pytest.raises(
        ValueError, match=rf"X of .*points.{ending} holds 2 .* first one \({value}\) in row 17, column 1"
    ):
        datasets.load(write(tmp_path / f"points.{ending}", X=bad_X, y=Y))
    with pytest.raises(ValueError, match=rf"y of .*points.{ending} holds 2 .* first one \({value}\) in row 21"):
        datasets.load(write(tmp_path / f"points.{ending}", X=X, y=bad_y))


def test_NaN_in_test_points_is_named_as_there(tmp_path):
    bad = X_TEST.copy()
    bad[5, 2] = np.nan
    with pytest.raises(ValueError, match=r"X_test of .*points.npz holds 1 .*row 5, column 2"):
        datasets.load(write(tmp_path / "points.npz", X=X, y=Y, X_test=bad, y_test=Y_TEST))


def test_constant_features_are_named_and_kept_on_demand(tmp_path):
    constant = np.column_stack([X, np.full(40, 4.0), X, np.zeros(40)])
    path = write(tmp_path / "points.npz", X=constant, y=Y)
    with pytest.raises(
        ValueError, match=r"2 of 8 features of .*points.npz are constant .*column 3, column 7.*keep_constant"
    ):
        datasets.load(path)
    data = load_all(path, keep_constant=True)
    np.testing.assert_allclose(data.X, standard(constant, constant)[0], atol=1e-12)
    np.testing.assert_array_equal(data.X[:, [3, 7]], 0)


def test_constant_features_alone_are_refused_even_on_demand(tmp_path):
    path = write(tmp_path / "points.npz", X=np.ones((40, 3)), y=Y)
    with pytest.raises(ValueError, match=r"every feature of points.npz is constant over its 40 points"):
        load_all(path, keep_constant=True)


@pytest.mark.parametrize("offset", [0.1, 1e9])
def test_a_constant_feature_of_any_size_is_a_zero_column(tmp_path, offset):
    path = write(tmp_path / "points.npz", X=np.column_stack([X, np.full(40, offset)]), y=Y)
    np.testing.assert_allclose(load_all(path, keep_constant=True).X[:, 3], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 41}, "n=41.*36 points are left after 4 were held out"),
        ({"n": 0}, "no training points"),
        ({"n": -3}, "n=-3"),
        ({"n_test": 40}, "n_test=40.*40 points"),
        ({"n_test": -1}, "n_test=-1"),
        ({"n_test": 2.5}, "n_test=2.5"),
    ],
)
def test_more_points_than_there_are_cannot_be_asked_for(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(write(tmp_path / "points.npz", X=X, y=Y), **options)


@pytest.mark.parametrize("shape", [(4, 3), (5, 4, 3)])
def test_images_keep_their_shape_for_convolutions(tmp_path, shape):
    X = np.random.default_rng(0).standard_normal((30, *shape))
    np.savez(tmp_path / "images.npz", X=X, y=np.arange(30) % 2)
    data = datasets.load(tmp_path / "images.npz")
    assert data.meta["shape"] == (*shape[:2], shape[2] if len(shape) == 3 else 1)
    assert data.X.shape[1] == np.prod(shape)
