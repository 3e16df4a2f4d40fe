"""Labels of every kind become the numbers that they mean, or are refused."""

import numpy as np
import pytest

from ntkspec import datasets
from ntkspec.datasets.classes import class_columns, classes_of, with_others

N = 40
X = np.random.default_rng(2).standard_normal((N, 3))
TWO = np.random.default_rng(3).permutation(N) % 2
SIGNS = 2.0 * TWO - 1
THREE = np.resize([0, 1, 2], N)
ANIMALS = np.array(["cat", "dog", "eel"])[THREE]


def load(tmp_path, y, X=X, n_test=0, **options):
    np.savez(tmp_path / "a.npz", X=X, y=y)
    return datasets.load(tmp_path / "a.npz", n_test=n_test, **options)


@pytest.mark.parametrize(
    ("labels", "meaning"),
    [
        (TWO, "+1 = 1, -1 = 0"),
        (TWO + 1, "+1 = 2, -1 = 1"),
        (3 + 4 * TWO, "+1 = 7, -1 = 3"),
        (3.0 + 4 * TWO, "+1 = 7, -1 = 3"),
        (TWO - 1, "+1 = 0, -1 = -1"),
        (SIGNS.astype("f2"), "+1 = 1, -1 = -1"),
        (TWO.astype(">u2"), "+1 = 1, -1 = 0"),
        (TWO == 1, "+1 = True, -1 = False"),
        ((TWO == 1).astype(object), "+1 = True, -1 = False"),
        (np.where(TWO, "dog", "cat"), "+1 = dog, -1 = cat"),
        (np.where(TWO, b"dog", b"cat"), "+1 = dog, -1 = cat"),
        (np.where(TWO, "dog ", " cat").astype(object), "+1 = dog, -1 = cat"),
        (np.where(TWO, "10", "9"), "+1 = 10, -1 = 9"),
        (np.where(TWO, "été", "hiver"), "+1 = été, -1 = hiver"),
        (np.where(TWO, "+", "-"), "+1 = +, -1 = -"),
        (np.where(TWO, b" + ", b"-"), "+1 = +, -1 = -"),
        (np.where(TWO, "b" * 99, "a"), f"+1 = {'b' * 40}..., -1 = a"),
        (np.eye(2)[TWO], "+1 = 1, -1 = 0"),
        (np.eye(10, dtype="u1")[3 + 4 * TWO], "+1 = 7, -1 = 3"),
        (np.eye(2, dtype=bool)[TWO], "+1 = 1, -1 = 0"),
        (TWO[:, None], "+1 = 1, -1 = 0"),
        (TWO[None], "+1 = 1, -1 = 0"),
        (TWO[:, None, None], "+1 = 1, -1 = 0"),
    ],
)
def test_two_classes_of_any_kind_become_signs(tmp_path, labels, meaning):
    data = load(tmp_path, labels)
    np.testing.assert_array_equal(data.y, SIGNS)
    assert data.meta["labels"] == meaning
    assert any(said.startswith(f"labels: {meaning}") for said in data.meta["reading"])


@pytest.mark.parametrize(
    ("labels", "classes", "chosen"),
    [
        (ANIMALS, ("eel", "cat"), (2, 0)),
        (ANIMALS, ("CAT", "Dog"), (0, 1)),
        (ANIMALS.astype("S"), ["dog", "eel"], (1, 2)),
        (THREE, (0, 2), (0, 2)),
        (THREE, ("2", "1.0"), (2, 1)),
        (THREE.astype(float), (1, 0), (1, 0)),
        (np.eye(3)[THREE], (2, 1), (2, 1)),
        (5 * THREE - 5, (-5, 5), (0, 2)),
        (THREE.astype(str), (0, "1"), (0, 1)),
    ],
)
def test_two_of_several_classes_are_chosen_and_the_others_left_out(tmp_path, labels, classes, chosen):
    data = load(tmp_path, labels, classes=classes)
    kept = np.isin(THREE, chosen)
    np.testing.assert_array_equal(data.y, np.where(THREE[kept] == chosen[0], 1, -1))
    centred = X[kept] - X[kept].mean(axis=0)
    np.testing.assert_allclose(data.X, centred * data.meta["scale"], atol=1e-12)
    (left_out,) = (said for said in data.meta["reading"] if said.startswith("set aside"))
    assert left_out.startswith(f"set aside: {N - kept.sum()} of {N} points, of other classes")


@pytest.mark.parametrize(
    ("labels", "classes", "order"),
    [
        (ANIMALS, ("eel", "Cat", "dog"), (2, 0, 1)),
        (ANIMALS, "all", (0, 1, 2)),
        (ANIMALS, ["all"], (0, 1, 2)),
        (THREE, ("2", 1, 0.0), (2, 1, 0)),
        (np.eye(3)[THREE], "all", (0, 1, 2)),
    ],
)
def test_more_than_two_classes_are_columns_in_their_order(tmp_path, labels, classes, order):
    """+1 in the own column, and rows that sum to 0: columns of equally frequent classes have mean 0."""
    data = load(tmp_path, labels, classes=classes, n_test=3)
    assert (data.y.shape, data.y_test.shape) == ((N - 3, 3), (3, 3))
    np.testing.assert_allclose(data.y.sum(axis=1), 0, atol=1e-12)
    assert set(np.unique(data.y).tolist()) == {-0.5, 1.0}
    whole = load(tmp_path, labels, classes=classes)
    np.testing.assert_array_equal(classes_of(whole.y), np.array(order).argsort()[THREE])
    names = ", ".join(str(np.unique(labels)[k] if np.ndim(labels) == 1 else k) for k in order)
    assert whole.meta["labels"] == f"a column for each of {names}: +1 for its own points, -1/2 for others"


def test_of_more_classes_some_are_left_out_and_two_named_all_are_signs(tmp_path):
    four = np.resize([0, 1, 2, 3], N)
    data = load(tmp_path, four, classes=(0, 1, 3))
    assert data.y.shape == (30, 3)
    np.testing.assert_array_equal(load(tmp_path, TWO, classes="all").y, SIGNS)
    with pytest.raises(ValueError, match="take 40 values at 40 points: no classes"):
        load(tmp_path, np.arange(N), classes="all")


def test_labels_that_are_no_columns_of_classes_have_no_class():
    y = class_columns(THREE, 3)
    for other in (y[:, 0], 2 * y, y[:, :2], np.ones((4, 3)), SIGNS):
        assert classes_of(other) is None
    np.testing.assert_array_equal(classes_of(y.astype(np.float32)), THREE)


@pytest.mark.parametrize("low", [0.0, -1.0, -0.5])
def test_columns_of_classes_are_known_by_any_number_for_the_other_classes(low):
    y = class_columns(np.array(THREE), 3)
    found = with_others(y, low)
    np.testing.assert_array_equal(found, np.where(np.eye(3)[THREE] == 1, 1.0, low))
    np.testing.assert_array_equal(classes_of(found), THREE)
    np.testing.assert_array_equal(with_others(found, -0.5), y)
    assert classes_of(found + 0.1) is None


def test_the_order_of_the_classes_decides_the_sign(tmp_path):
    np.testing.assert_array_equal(load(tmp_path, TWO, classes=(0, 1)).y, -SIGNS)
    np.testing.assert_array_equal(load(tmp_path, TWO == 1, classes=("false", "true")).y, -SIGNS)


@pytest.mark.parametrize("labels", [np.arange(N) % 10, np.arange(N) % 3 - 1.0, (np.arange(N) % 20).astype(str)])
def test_whole_numbers_that_may_be_classes_are_numbers_with_a_warning(tmp_path, labels):
    low, high = labels.astype(float).min(), labels.astype(float).max()
    with pytest.warns(UserWarning, match=f"whole numbers {low:g} to {high:g}, taken as numbers; .*--classes") as caught:
        data = load(tmp_path, labels)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(data.y, labels.astype(float))
    assert f"labels: whole numbers {low:g} to {high:g}, taken as numbers" in data.meta["reading"]
    load(tmp_path, labels, classes=(labels[0], labels[1]))


@pytest.mark.parametrize("labels", [np.arange(N), np.arange(N) % 10 + 0.5, np.linspace(-2, 2, N)])
def test_other_numbers_are_numbers_without_a_word(tmp_path, labels):
    np.testing.assert_array_equal(load(tmp_path, labels).y, labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (ANIMALS, r"3 different words \('cat', 'dog', 'eel'\); name two or more with --classes"),
        (np.eye(3)[THREE], r"3 different one-hot classes \(0, 1, 2\); name two or more with --classes"),
        (np.eye(3)[THREE] / 2, r"y has shape \(40, 3\).*several outputs"),
        (1 - np.eye(3)[THREE], r"y has shape \(40, 3\).*several outputs"),
        (X[:, :2], r"y has shape \(40, 2\).*several outputs"),
        (np.where(np.arange(N) == 9, np.nan, SIGNS), r"first one \(nan\) in row 9"),
        (np.where(np.arange(N) == 9, np.nan, SIGNS).astype(object), r"no label in row 9 .*nan"),
        (np.where(np.arange(N) == 9, "", ANIMALS), r"no label in row 9 .*''"),
        (np.where(np.arange(N) == 9, "nan", ANIMALS), r"no label in row 9 .*'nan'"),
        (np.where(np.arange(N) == 9, None, ANIMALS.astype(object)), r"no label in row 9 .*None"),
        (np.where(np.arange(N) == 9, 5, ANIMALS.astype(object)), r"objects \(int, str\)"),
        (np.where(TWO, "Yes", "yes"), "'Yes' and 'yes', which differ in case only"),
        (np.where(np.arange(N) == 9, "DOG", np.where(TWO, "dog", "cat")), "'DOG' and 'dog', which differ in case only"),
        (np.where(TWO, "STRASSE", "straße").astype(object), "'STRASSE' and 'straße', which differ in case only"),
        (np.where(TWO, "1", "false"), r"a number and a word \('1', 'false'\)"),
        (np.where(TWO, "True", "0").astype("S"), r"a number and a word \('0', 'True'\)"),
        (np.where(TWO, "one", "1.5").astype(object), r"a number and a word \('1.5', 'one'\)"),
        (SIGNS + 1j, "dtype complex128"),
        (np.arange(N).astype("M8[D]"), "dtype datetime64"),
    ],
)
def test_labels_that_mean_nothing_are_refused(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, labels)
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat",), "two different classes"),
        ("cat dog", "two different classes"),
        (("cat", "dog", "cat"), "one came twice"),
        (("cat", "Cat"), "two different classes"),
        (("cat", "fox"), r"class 'fox' is not among the labels of .*: 'cat', 'dog', 'eel'"),
        ((0, 1), "class 0 is not among the labels"),
    ],
)
def test_classes_that_are_not_there_are_refused(tmp_path, classes, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, ANIMALS, classes=classes)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (SIGNS, np.array(["a", "b"]), "are numbers, but its test labels are words"),
        (np.eye(3)[THREE], np.eye(2), "3 one-hot columns, but its test labels 2"),
        (np.eye(2)[TWO], np.array([1, 0]), "are one-hot, but its test labels are numbers"),
        (np.where(TWO, "yes", "no"), np.array(["Yes", "No"]), r"'No', 'Yes'\) are other words than those of training"),
        (TWO, np.array([1, 2]), "test label 2 .*neither of the classes 0, 1"),
    ],
)
def test_test_labels_mean_what_training_labels_mean(tmp_path, train, test, message):
    np.savez(tmp_path / "a.npz", X=X, y=train, X_test=X[:2], y_test=test)
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path / "a.npz", classes=(0, 1) if train.ndim == 2 and train.shape[1] == 3 else None)


def test_of_words_that_are_refused_the_column_is_named(tmp_path):
    rows = [f"{word},{a},{b}" for word, (a, b, _) in zip(ANIMALS, X, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    with pytest.raises(
        ValueError, match=r"3 different words .*name two or more.*; they are column 0 \(the first column"
    ):
        datasets.load(tmp_path / "a.csv")


def test_classes_that_differ_in_case_can_be_chosen(tmp_path):
    letters = np.array(["a", "A", "b"])[THREE]
    np.testing.assert_array_equal(load(tmp_path, letters, classes=("A", "a")).y, np.where(THREE[THREE < 2] == 1, 1, -1))


def test_chosen_classes_that_the_test_points_write_otherwise_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=ANIMALS, X_test=X[:9], y_test=np.char.capitalize(ANIMALS[:9]))
    with pytest.raises(ValueError, match=r"test labels of .*'Cat', 'Dog', 'Eel'\) are other words.*write them alike"):
        datasets.load(tmp_path / "a.npz", classes=("cat", "eel"))


def test_test_points_of_other_classes_are_left_out_too(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=ANIMALS, X_test=X[:9], y_test=ANIMALS[:9])
    data = datasets.load(tmp_path / "a.npz", classes=("cat", "eel"))
    np.testing.assert_array_equal(data.y_test, [1, -1] * 3)
    assert "set aside: 3 of 9 test points, of other classes ('dog')" in data.meta["reading"]
    assert datasets.load(tmp_path / "a.npz", classes=("cat", "eel"), n_test=4).y_test.shape == (4,)


def test_how_many_points_are_held_out_and_drawn_is_told(tmp_path):
    reading = load(tmp_path, SIGNS, n_test=None).meta["reading"]
    assert "held out: 4 random points of 40 for testing" in reading
    reading = load(tmp_path, SIGNS, n_test=10, n=20).meta["reading"]
    assert {"held out: 10 random points of 40 for testing", "n: 20 random points of 30"} <= set(reading)


def test_centring_and_scaling_of_features_can_be_chosen(tmp_path):
    points = X * [1, 30, 0.2] + [5, 0, -3]
    data = load(tmp_path, SIGNS, X=points, standardize=True)
    np.testing.assert_allclose(data.X, (points - points.mean(axis=0)) / points.std(axis=0), atol=1e-12)
    data = load(tmp_path, SIGNS, X=points, center=False)
    np.testing.assert_allclose(data.X, points * data.meta["scale"], atol=1e-12)
    assert any("not centred" in said for said in data.meta["reading"])


@pytest.mark.parametrize("dtype", [object, "U", "S"])
def test_one_long_word_among_labels_is_refused(tmp_path, dtype):
    """Each label would take as much memory as the longest."""
    words = ["cat", "horse"] * 20
    words[7] = "x" * 1001
    with pytest.raises(ValueError, match=r"^labels of .* hold a word of 1001 characters, but 1000 at most are read$"):
        load(tmp_path, np.array(words, dtype=dtype))
    words[7] = words[9] = "x" * 1000
    with pytest.raises(ValueError, match=r"labels of .* are 3 different words"):
        load(tmp_path, np.array(words, dtype=dtype))
