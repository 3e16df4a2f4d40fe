import gzip
import os
import pickle

import numpy as np
import pytest

from image_files import batch, idx, of_all_classes, pooled, standard
from ntkspec import TwoLayer, datasets

SYNTHETIC = [datasets.gaussian, datasets.rademacher, datasets.sphere, datasets.subgaussian]
REAL = os.environ.get("NTKSPEC_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="NTKSPEC_DATA does not name the folder of the real images")
MATRIX = np.array([[1.4, 0.5, 0.0, 0.1], [0.5, 0.6, 0.2, 0.0], [0.0, 0.2, 1.5, -0.3], [0.1, 0.0, -0.3, 0.5]])


@pytest.fixture(autouse=True)
def _no_data_folder(request, monkeypatch):
    if "data" not in request.keywords:
        monkeypatch.delenv("NTKSPEC_DATA", raising=False)


# ---------------------------------------------------------------------------------------------------------- synthetic
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", SYNTHETIC)
def test_shapes_and_dtype_are_those_asked_for(make, dtype):
    data = make(30, 4, n_test=7, dtype=dtype)
    assert [a.shape for a in (data.X, data.y, data.X_test, data.y_test)] == [(30, 4), (30,), (7, 4), (7,)]
    assert {a.dtype for a in (data.X, data.y, data.X_test, data.y_test)} == {np.dtype(dtype)}
    assert data.name == make.__name__


@pytest.mark.parametrize("make", SYNTHETIC)
def test_without_n_test_there_are_no_test_points(make):
    data = make(5, 3)
    assert data.X_test.shape == (0, 3)
    assert data.y_test.shape == (0,)


@pytest.mark.parametrize("target", ["teacher", "norm", "random"])
@pytest.mark.parametrize("make", SYNTHETIC)
def test_the_seed_decides_the_data(make, target):
    one, again, other = (make(60, 5, n_test=20, target=target, seed=seed) for seed in (3, 3, 4))
    for name in ("X", "y", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
        assert (getattr(one, name) != getattr(other, name)).any()


@pytest.mark.parametrize("covariance", [None, np.array([0.2, 1.8, 1.0, 1.0]), MATRIX], ids=["none", "vector", "matrix"])
@pytest.mark.parametrize("make", SYNTHETIC)
def test_the_empirical_covariance_approaches_the_given_one(make, covariance):
    expected = np.eye(4) if covariance is None else np.diag(covariance) if covariance.ndim == 1 else covariance
    data = make(20000, 4, covariance=covariance)
    np.testing.assert_allclose(data.X.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(data.X.T @ data.X / 20000, expected, atol=0.08)
    assert data.trace_ratio == pytest.approx(np.trace(expected @ expected) / 4, rel=1e-12)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.full(4, 2.0), "trace 8,.*d=4"),
        (2 * np.eye(4), "trace 8,.*d=4"),
        (np.full(4, np.nan), "trace nan"),
        (np.array([-1.0, 2.0, 2.0, 1.0]), "negative variance -1"),
        (np.array([[1, 2, 0, 0], [2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "negative eigenvalue -1"),
        (np.eye(4) + np.diag([0.5, 0, 0], 1), "not symmetric"),
        (np.ones(3), r"shape \(3,\)"),
        (np.eye(5), r"shape \(5, 5\)"),
    ],
)
def test_a_covariance_that_does_not_fit_is_refused(covariance, message):
    with pytest.raises(ValueError, match=message):
        datasets.gaussian(10, 4, covariance=covariance)


def test_entries_of_the_cube_are_signs():
    X = datasets.rademacher(50, 6).X
    assert set(np.unique(X)) == {-1.0, 1.0}


def test_norms_on_the_sphere_are_sqrt_d():
    np.testing.assert_allclose(np.linalg.norm(datasets.sphere(50, 6).X, axis=1), np.sqrt(6), rtol=1e-14)


@pytest.mark.parametrize("entries", ["uniform", "skewed", lambda rng, shape: rng.laplace(0, 0.5**0.5, shape)])
def test_subgaussian_entries_have_mean_0_and_variance_1(entries):
    X = datasets.subgaussian(20000, 3, entries=entries).X
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose(X.var(axis=0), 1, atol=0.08)


def test_the_named_entries_are_what_they_say():
    uniform, skewed = (datasets.subgaussian(2000, 3, entries=name).X for name in ("uniform", "skewed"))
    assert 1.7 < abs(uniform).max() <= np.sqrt(3)
    assert set(np.unique(skewed)) == {-0.5, 2.0}
    with pytest.raises(ValueError, match="entries='cauchy'"):
        datasets.subgaussian(5, 3, entries="cauchy")


@pytest.mark.parametrize("target", ["teacher", "random"])
def test_labels_of_teacher_and_random_are_signs_of_both_kinds(target):
    y = datasets.gaussian(2000, 6, target=target).y
    assert set(np.unique(y)) == {-1.0, 1.0}
    assert abs(y.mean()) < 0.1


def test_the_teacher_is_odd_in_the_data():
    """erf is odd and the teacher has no offset: among the labels of x and -x there is one of each sign."""
    drawn = datasets.rademacher(400, 4, seed=2)
    label = {tuple(x): y for x, y in zip(drawn.X, drawn.y, strict=True)}
    assert len(label) == 16
    assert all(label[tuple(-c for c in corner)] == -y for corner, y in label.items())


def test_random_labels_do_not_follow_the_data():
    data = datasets.rademacher(400, 2, target="random")
    assert len({(*x, y) for x, y in zip(data.X, data.y, strict=True)}) == 8


def test_norm_labels_are_the_norm_plus_a_relu_and_the_test_labels_have_the_same_one():
    data = datasets.gaussian(200, 5, n_test=50, target="norm")
    rest, rest_test = (
        y - np.linalg.norm(X, axis=1) / np.sqrt(5) for X, y in ((data.X, data.y), (data.X_test, data.y_test))
    )
    positive = rest > 1e-12
    a = np.linalg.lstsq(data.X[positive], rest[positive])[0]
    np.testing.assert_allclose(np.maximum(data.X @ a, 0), rest, atol=1e-12)
    np.testing.assert_allclose(np.maximum(data.X_test @ a, 0), rest_test, atol=1e-12)
    assert 0.2 < np.linalg.norm(a) < 2.5


def test_a_function_labels_training_and_test_points():
    data = datasets.sphere(20, 3, n_test=5, target=lambda X: X[:, 0] - 2 * X[:, 1])
    np.testing.assert_array_equal(data.y, data.X[:, 0] - 2 * data.X[:, 1])
    np.testing.assert_array_equal(data.y_test, data.X_test[:, 0] - 2 * data.X_test[:, 1])


@pytest.mark.parametrize("target", ["teacher", "norm"])
@pytest.mark.parametrize("make", SYNTHETIC)
def test_test_labels_follow_the_teacher_of_the_training_labels(make, target):
    split, whole = make(30, 4, n_test=20, target=target), make(50, 4, target=target)
    np.testing.assert_array_equal(np.concatenate([split.X, split.X_test]), whole.X)
    np.testing.assert_array_equal(np.concatenate([split.y, split.y_test]), whole.y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "taecher"}, "target='taecher'.*'teacher', 'norm', 'random'"),
        ({"target": lambda X: X}, r"labels of target has shape \(10, 4\)"),
        ({"target": lambda X: np.full(len(X), np.nan)}, "labels of target.*NaN"),
        ({"n_test": -1}, "n_test=-1"),
        ({"n": 0}, "n=0"),
        ({"n": 2.5}, "n=2.5"),
        ({"d": 0}, "d=0"),
    ],
)
def test_bad_settings_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.gaussian(**({"n": 10, "d": 4} | options))


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_data_and_weights_of_one_seed_are_independent(seed):
    """Regression: NumPy's default_rng([0, 0]) is default_rng(0), which the network draws from."""
    X = datasets.gaussian(100, 8, seed=seed, n_test=100).X
    W = TwoLayer.random(8, 100, "erf", seed=seed).W
    assert abs(np.corrcoef(X.ravel(), W.ravel())[0, 1]) < 0.15
    assert np.intersect1d(X, W).size == 0


# -------------------------------------------------------------------------------------------------------------- MNIST
def write_mnist(folder, *, ending=".gz", digits=tuple(range(10)), n=60, n_test=30, seed=5):
    """Small idx files with images of 6 x 4 pixels; pixel (0, 0) is the number of the image."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, arrays = np.random.default_rng(seed), {}
    for part, count in (("train", n), ("t10k", n_test)):
        images, labels = rng.integers(0, 256, (count, 6, 4)), np.resize(digits, count)
        images[:, 0, 0] = np.arange(count)
        arrays[part] = images, labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx(array)
            path = folder / f"{part}-{kind}-ubyte{ending}"
            path.write_bytes(gzip.compress(content) if ending == ".gz" else content)
    return arrays


@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("ending", [".gz", ""])
def test_mnist_is_read_packed_and_plain_and_from_its_folder(tmp_path, ending, place):
    raw = write_mnist(tmp_path / place, ending=ending)
    data = of_all_classes(datasets.mnist, data_dir=tmp_path)
    X, X_test = standard(raw["train"][0].reshape(60, 24), raw["t10k"][0].reshape(30, 24))
    np.testing.assert_allclose(data.X, X, atol=1e-12)
    np.testing.assert_allclose(data.X_test, X_test, atol=1e-12)
    np.testing.assert_allclose(data.y, 2 * raw["train"][1] / 9 - 1)
    np.testing.assert_allclose(data.y_test, 2 * raw["t10k"][1] / 9 - 1)
    assert data.name == f"idx images from {tmp_path / place}"


def test_mnist_is_found_through_the_environment(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv("NTKSPEC_DATA", str(tmp_path))
    assert of_all_classes(datasets.mnist).X.shape == (60, 24)


@pytest.mark.parametrize("classes", [(7, 3, 4), "all"])
def test_more_than_two_digits_are_columns_in_their_order(tmp_path, classes):
    raw = write_mnist(tmp_path)
    data = datasets.mnist(classes, data_dir=tmp_path)
    wanted = list(range(10)) if classes == "all" else list(classes)
    digits = raw["train"][1][np.isin(raw["train"][1], wanted)]
    np.testing.assert_array_equal(data.y == 1, digits[:, None] == np.array(wanted))
    np.testing.assert_allclose(data.y[data.y < 1], -1 / (len(wanted) - 1))
    assert data.name.endswith(", 10 classes" if classes == "all" else " 7, 3, 4")


@pytest.mark.parametrize("classes", [(4, 9), (9, 4), ("4", "9"), (0, 1)])
def test_the_first_class_is_plus_one_and_the_second_minus_one(tmp_path, classes):
    raw = write_mnist(tmp_path)
    data = datasets.mnist(classes, data_dir=tmp_path)
    first, second = map(int, classes)
    chosen = {part: np.isin(labels, (first, second)) for part, (_, labels) in raw.items()}
    for y, part in ((data.y, "train"), (data.y_test, "t10k")):
        np.testing.assert_array_equal(y, np.where(raw[part][1][chosen[part]] == first, 1, -1))
    X, X_test = standard(*(raw[part][0][chosen[part]].reshape(-1, 24) for part in ("train", "t10k")))
    np.testing.assert_allclose(data.X, X, atol=1e-12)
    np.testing.assert_allclose(data.X_test, X_test, atol=1e-12)
    assert data.name == f"idx images from {tmp_path} {first} vs {second}"


def test_the_label_of_a_digit_does_not_depend_on_which_digits_occur(tmp_path):
    raw = write_mnist(tmp_path, digits=(0, 1, 2, 7))
    np.testing.assert_allclose(of_all_classes(datasets.mnist, data_dir=tmp_path).y, 2 * raw["train"][1] / 9 - 1)


def test_mnist_is_centred_and_scaled_to_a_mean_square_norm_of_d(tmp_path):
    write_mnist(tmp_path)
    X = of_all_classes(datasets.mnist, data_dir=tmp_path).X
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-13)
    assert np.mean((X**2).sum(axis=1)) == pytest.approx(24, rel=1e-12)


def test_pooling_averages_patches(tmp_path):
    raw = write_mnist(tmp_path)
    X, X_test = standard(*(pooled(raw[part][0][..., None], 2) for part in ("train", "t10k")))
    data = of_all_classes(datasets.mnist, pool=2, data_dir=tmp_path)
    np.testing.assert_allclose(data.X, X, atol=1e-12)
    np.testing.assert_allclose(data.X_test, X_test, atol=1e-12)


def test_n_and_n_test_draw_different_images_with_their_labels(tmp_path):
    write_mnist(tmp_path)
    data = of_all_classes(datasets.mnist, n=25, n_test=12, data_dir=tmp_path)
    for X, y, count in ((data.X, data.y, 25), (data.X_test, data.y_test, 12)):
        number = X[:, 0] / data.meta["scale"]
        number, digit = number - number[0], (y + 1) * 4.5
        np.testing.assert_allclose(number, number.round(), atol=1e-9)
        assert len(set(number.round())) == count
        np.testing.assert_array_equal(number.round() % 10, (digit - digit[0]).round() % 10)
    other = of_all_classes(datasets.mnist, n=25, n_test=12, data_dir=tmp_path, seed=1)
    assert (other.y != data.y).any()
    assert (other.y_test != data.y_test).any()


def test_no_test_images_may_be_asked_for(tmp_path):
    write_mnist(tmp_path)
    assert of_all_classes(datasets.mnist, n_test=0, data_dir=tmp_path).X_test.shape == (0, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 61}, "n=61.*60"),
        ({"n_test": 31}, "n_test=31.*30"),
        ({"n": -1}, "n=-1"),
        ({"classes": (4, 12)}, "class 12 is unknown"),
        ({"classes": (4, 4)}, r"classes=\[4, 4\].*two different"),
        ({"classes": (4, 5, 4)}, r"classes=\[4, 5, 4\].*two different"),
        ({"pool": 3}, "pool=3 does not divide the 6 x 4"),
        ({"pool": 0}, "pool=0"),
        ({"seed": -1}, "seed=-1"),
        ({"n": 0}, "n=0"),
    ],
)
def test_bad_choices_of_images_are_refused(tmp_path, options, message):
    write_mnist(tmp_path)
    with pytest.raises(ValueError, match=message):
        datasets.mnist(data_dir=tmp_path, **options)


SHA_OF_LABELS = "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"


@pytest.mark.parametrize("folder", [None, "absent", "."])
def test_absent_images_raise_with_address_and_sha256(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="NTKSPEC_DATA") as caught:
        datasets.mnist(data_dir=folder and tmp_path / folder)
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz" in str(caught.value)
    assert SHA_OF_LABELS in str(caught.value)


def test_one_absent_file_is_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"no t10k-labels-idx1-ubyte.*sha256"):
        datasets.mnist(data_dir=tmp_path)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 8]) + content[middle + 8 :]


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        (".gz", lambda content: content[:-20]),
        (".gz", lambda content: content[: len(content) // 2]),
        (".gz", flipped),
        (".gz", lambda content: b"<html>not found</html>"),
        (".gz", lambda content: b""),
        ("", lambda content: content[:-1]),
        ("", lambda content: content + b"\0"),
        ("", lambda content: content[:7]),
        ("", lambda content: b"\0\0\x08\x01" + content[4:]),
        ("", lambda content: b""),
    ],
)
def test_a_damaged_idx_file_is_refused_by_name(tmp_path, ending, damage):
    write_mnist(tmp_path, ending=ending)
    path = tmp_path / f"train-images-idx3-ubyte{ending}"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.*sha256"):
        datasets.mnist(data_dir=tmp_path)


def test_as_many_labels_as_images_are_needed(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(59) % 10)))
    with pytest.raises(ValueError, match="60 train images but 59 labels"):
        datasets.mnist(data_dir=tmp_path)


@pytest.mark.data
@needs_data
def test_real_mnist_is_whole():
    data = of_all_classes(datasets.mnist, pool=2, dtype=np.float32)
    assert data.X.shape == (60000, 196)
    assert data.X_test.shape == (10000, 196)
    digits, counts = np.unique(((data.y + 1) * 4.5).round(), return_counts=True)
    np.testing.assert_array_equal(digits, range(10))
    np.testing.assert_array_equal(counts, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])


@pytest.mark.data
@needs_data
def test_real_mnist_four_against_nine():
    data = datasets.mnist((4, 9))
    assert data.X.shape == (5842 + 5949, 784)
    assert [(data.y == 1).sum(), (data.y == -1).sum()] == [5842, 5949]
    assert [(data.y_test == 1).sum(), (data.y_test == -1).sum()] == [982, 1009]
    assert data.X.var(axis=0).sum() == pytest.approx(784, rel=1e-9)


# ------------------------------------------------------------------------------------------------------------ CIFAR-10
def write_batches(folder, *, size=10):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(6)
    images, labels = rng.integers(0, 256, (6, size, 32, 32, 3)), np.resize(np.arange(10)[::-1], (6, size))
    for name, one, kinds in zip([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"], images, labels, strict=True):
        (folder / name).write_bytes(batch(one, kinds))
    return (images[:5].reshape(-1, 32, 32, 3), labels[:5].ravel()), (images[5], labels[5])


def write_npz(path, *, form="class", n=12, n_test=6, seed=7):
    """Cats and horses by turns; form "class" holds 3 and 7, form "y" holds +1 and -1."""
    rng, arrays = np.random.default_rng(seed), {}
    for part, count in (("train", n), ("test", n_test)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{form}_{part}"] = np.resize([3, 7] if form == "class" else [1, -1], count).astype(np.int8)
    np.savez(path, **arrays)
    return arrays


@pytest.mark.parametrize("place", ["", "cifar-10-batches-py"])
def test_official_batches_are_read(tmp_path, place):
    (images, labels), (images_test, labels_test) = write_batches(tmp_path / place)
    data = of_all_classes(datasets.cifar10, data_dir=tmp_path)
    X, X_test = standard(images.reshape(50, -1), images_test.reshape(10, -1))
    np.testing.assert_allclose(data.X, X, atol=1e-11)
    np.testing.assert_allclose(data.X_test, X_test, atol=1e-11)
    np.testing.assert_allclose(data.y, 2 * labels / 9 - 1)
    np.testing.assert_allclose(data.y_test, 2 * labels_test / 9 - 1)
    assert data.name == f"CIFAR-10 from {(tmp_path / place).name}"


@pytest.mark.parametrize("classes", [("cat", "horse"), ("Horse", "cat"), (3, 7), ("airplane", 9)])
def test_cifar_classes_by_name_and_number(tmp_path, classes):
    number = {"airplane": 0, "cat": 3, "horse": 7}
    first, second = (number.get(str(one).lower(), one) for one in classes)
    (images, labels), _ = write_batches(tmp_path)
    data = datasets.cifar10(classes, pool=4, data_dir=tmp_path)
    chosen = np.isin(labels, (first, second))
    np.testing.assert_array_equal(data.y, np.where(labels[chosen] == first, 1, -1))
    X = pooled(images[chosen], 4)
    np.testing.assert_allclose(data.X, standard(X, X)[0], atol=1e-11)


@pytest.mark.parametrize("form", ["class", "y"])
def test_cats_and_horses_are_read_from_both_forms_of_npz(tmp_path, form):
    arrays = write_npz(tmp_path / "cifar10_part.npz", form=form)
    data = datasets.cifar10(("cat", "horse"), data_dir=tmp_path)
    X, X_test = standard(arrays["x_train"].reshape(12, -1), arrays["x_test"].reshape(6, -1))
    np.testing.assert_allclose(data.X, X, atol=1e-11)
    np.testing.assert_allclose(data.X_test, X_test, atol=1e-11)
    np.testing.assert_array_equal(data.y, [1, -1] * 6)
    np.testing.assert_array_equal(data.y_test, [1, -1] * 3)
    np.testing.assert_array_equal(datasets.cifar10(("horse", "cat"), data_dir=tmp_path).y, [-1, 1] * 6)
    assert "cifar10_part.npz" in data.name


def test_without_classes_an_npz_of_two_has_them_as_any_file_of_two_classes(tmp_path):
    """The larger class number is +1: horse, as asking for horse and cat gives."""
    write_npz(tmp_path / "cifar10_part.npz")
    data = datasets.cifar10(data_dir=tmp_path)
    np.testing.assert_array_equal(data.y, datasets.cifar10(("horse", "cat"), data_dir=tmp_path).y)
    assert data.meta["labels"] == "+1 = horse, -1 = cat"


def test_the_npz_with_most_images_goes_first_and_the_official_batches_before_it(tmp_path):
    write_npz(tmp_path / "cifar10_a.npz", n=12)
    write_npz(tmp_path / "cifar10_b.npz", n=16)
    write_npz(tmp_path / "cifar10_c.npz", n=14)
    assert datasets.cifar10(("cat", "horse"), data_dir=tmp_path).X.shape == (16, 3072)
    write_batches(tmp_path)
    assert datasets.cifar10(("cat", "horse"), data_dir=tmp_path).X.shape == (10, 3072)


class Crafted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_crafted_batch_is_refused_and_not_run(tmp_path, protocol):
    write_batches(tmp_path)
    trace = tmp_path / "trace"
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps({"data": Crafted(trace)}, protocol))
    with pytest.raises(
        ValueError, match=r"data_batch_2 is not a CIFAR-10 batch .*system is neither a word nor a number"
    ):
        datasets.cifar10(data_dir=tmp_path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Crafted(trace), protocol))
    assert trace.exists()  # the file above would have worked


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        batch(np.zeros((4, 32, 32, 3)), range(4))[:9000],
        batch(np.zeros((4, 32, 32, 3)), range(3)),
        pickle.dumps({"data": 1, "labels": [1]}, 2),
        pickle.dumps([1, 2], 2),
    ],
    ids=["empty", "html", "truncated", "one label short", "other keys", "a list"],
)
def test_a_damaged_batch_is_refused_by_name(tmp_path, content):
    write_batches(tmp_path)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch is not a CIFAR-10 batch.*sha256"):
        datasets.cifar10(data_dir=tmp_path)


def test_a_missing_batch_is_named(tmp_path):
    write_batches(tmp_path)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4 is missing.*cifar-10-python.tar.gz.*6d958be0745778"):
        datasets.cifar10(data_dir=tmp_path)


def test_absent_cifar_raises_with_address_and_sha256(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"https://www.cs.toronto.edu/.*sha256 6d958be0745778"):
        datasets.cifar10(data_dir=tmp_path)


def test_classes_that_no_npz_holds_are_not_found(tmp_path):
    write_npz(tmp_path / "cifar10_part.npz")
    with pytest.raises(FileNotFoundError, match=r"1 cifar10\*.npz without these classes \(they hold cat, horse\)"):
        datasets.cifar10(("cat", "dog"), data_dir=tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:20000])


def garble(path):
    """A deflate stream broken in the middle."""
    x_train = np.random.default_rng(0).integers(0, 3, (40, 32, 32, 3), dtype=np.uint8)
    np.savez_compressed(path, x_train=x_train, x_test=x_train, class_train=[3] * 40, class_test=[7] * 40)
    path.write_bytes(flipped(path.read_bytes()))


def as_npy(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        garble,
        as_npy,
        lambda path: path.write_bytes(b"<html>not found</html>"),
        lambda path: np.savez(path, x_train=np.zeros((2, 32, 32, 3))),
        lambda path: np.savez(path, x_train=np.array([None]), x_test=1, class_train=1, class_test=1),
        lambda path: np.savez(path, x_train=np.zeros((2, 3072)), class_train=[3, 7], x_test=1, class_test=[3]),
        lambda path: np.savez(path, x_train=np.zeros((3, 32, 32, 3)), class_train=[3, 7], x_test=1, class_test=[3]),
    ],
    ids=["cut", "garbled", "an npy", "html", "arrays missing", "pickled objects", "flat images", "a label short"],
)
def test_a_damaged_npz_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "cifar10_part.npz"
    write_npz(path)
    damage(path)
    with pytest.raises(ValueError, match=r"cifar10_part.npz"):
        datasets.cifar10(("cat", "horse"), data_dir=tmp_path)


@pytest.mark.data
@needs_data
def test_real_cats_and_horses():
    data = datasets.cifar10(("cat", "horse"), pool=4)
    assert data.name == "JPEG-75 copy of CIFAR-10 cat vs horse"
    assert data.X.shape == (10000, 192)
    assert [(data.y == 1).sum(), (data.y == -1).sum()] == [5000, 5000]
    assert [(data.y_test == 1).sum(), (data.y_test == -1).sum()] == [1000, 1000]
    assert data.X.var(axis=0).sum() == pytest.approx(192, rel=1e-9)
