"""MNIST and CIFAR-10 however their files are called and packed: read as they were meant, or refused in one line."""

import copy
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from image_files import batch, idx, of_all_classes, rows_of, standard
from ntkspec import datasets
from ntkspec.datasets.images import public

REAL = os.environ.get("NTKSPEC_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="NTKSPEC_DATA does not name the folder of the real images")
RNG = np.random.default_rng(16)
DIGITS = {
    "train": (RNG.integers(0, 256, (60, 6, 4)).astype(np.uint8), np.resize(np.arange(10), 60).astype(np.uint8)),
    "t10k": (RNG.integers(0, 256, (20, 6, 4)).astype(np.uint8), np.resize(np.arange(10)[::-1], 20).astype(np.uint8)),
}
FILES = {
    f"{part}-{kind}-ubyte": idx(array)
    for part, arrays in DIGITS.items()
    for kind, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True)
}
COLOURS = RNG.integers(0, 256, (6, 10, 32, 32, 3)).astype(np.uint8)
ROWS = np.array([rows_of(images) for images in COLOURS])
KINDS = np.array([np.roll(np.arange(10), shift) for shift in range(6)])
BATCHES = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]


def write(folder: Path, files: dict) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def digits(classes=(3, 7)):
    """What a data set of the small MNIST files must hold."""
    chosen = {part: np.isin(labels, classes) for part, (_, labels) in DIGITS.items()}
    X = [images[chosen[part]].reshape(-1, 24) for part, (images, _) in DIGITS.items()]
    y = [np.where(labels[chosen[part]] == classes[0], 1.0, -1.0) for part, (_, labels) in DIGITS.items()]
    return *standard(*X), *y


def colours(classes=(3, 7), train=slice(5)):
    """What a data set of the small CIFAR-10 files must hold."""
    images, kinds = COLOURS[train].reshape(-1, 3072), KINDS[train].ravel()
    test_images, test_kinds = COLOURS[5].reshape(10, -1), KINDS[5]
    chosen, test_chosen = np.isin(kinds, classes), np.isin(test_kinds, classes)
    y = [np.where(one == classes[0], 1.0, -1.0) for one in (kinds[chosen], test_kinds[test_chosen])]
    return *standard(images[chosen], test_images[test_chosen]), *y


def assert_holds(data, expected):
    for name, array in zip(("X", "X_test", "y", "y_test"), expected, strict=True):
        np.testing.assert_allclose(getattr(data, name), array, atol=1e-11)


def said(data) -> str:
    return "; ".join(data.meta["reading"])


@pytest.fixture(autouse=True)
def _no_data_folder(request, monkeypatch):
    if "data" not in request.keywords:
        monkeypatch.delenv("NTKSPEC_DATA", raising=False)


@pytest.fixture
def registry(monkeypatch):
    """A registry that a test may change."""
    entries = {name: copy.deepcopy(public.registry(name)) for name in ("mnist", "cifar10")}
    monkeypatch.setattr(public, "registry", entries.__getitem__)
    return entries


# ------------------------------------------------------------------------------------------------------ names of MNIST
NAMED = {
    "as published": lambda name: name,
    "Windows tools": lambda name: name.replace("-idx", ".idx"),
    "dots, packed": lambda name: name.replace("-idx", ".idx") + ".gz",
    "underscores": lambda name: name.replace("-", "_"),
    "upper case": lambda name: name.upper() + ".GZ",
    "a second download": lambda name: name + " (1).gz",
    "a second download of the archive": lambda name: name + ".gz (2)",
    "without the space": lambda name: name + "(1).gz",
    "a desktop's copy": lambda name: name + " 2.gz",
    "a folder for each": lambda name: f"{name}/{name}",
    "test for t10k": lambda name: name.replace("t10k", "test"),
    "torchvision": lambda name: f"MNIST/raw/{name}",
    "torchvision's own folder": lambda name: f"raw/{name}.gz",
    "a folder in a folder": lambda name: f"mnist/mnist/{name}",
    "all at once": lambda name: f"Mnist/Raw/{name}/{name.upper().replace('-IDX', '.idx')} (1).gz",
}
PACKED = {"plain": bytes, "packed": lambda content: gzip.compress(content, 1)}


@pytest.mark.parametrize("packing", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("name", NAMED.values(), ids=NAMED)
def test_files_are_found_under_the_names_that_tools_leave(tmp_path, name, packing):
    write(tmp_path, {name(one): packing(content) for one, content in FILES.items()})
    data = datasets.mnist((3, 7), data_dir=tmp_path)
    assert_holds(data, digits())
    assert data.meta["labels"] == "+1 = 3, -1 = 7"
    assert data.meta["shape"] == (6, 4, 1)
    assert "not MNIST: its content is not that of the official files" in said(data)
    assert "60 training and 20 test images of 6 x 4 pixels" in said(data)
    assert "12 images (6 of 3, 6 of 7); for testing: 4 images (2 of 3, 2 of 7)" in said(data)


@pytest.mark.parametrize(
    "other",
    ["._train-images-idx3-ubyte", "train-images-idx3-ubyte.part", "emnist-train-images-idx3-ubyte", "KMNIST/raw/{}"],
)
def test_files_that_are_no_part_of_the_set_do_not_matter(tmp_path, other):
    write(tmp_path, FILES | {other.format("train-images-idx3-ubyte"): b"something else"})
    assert_holds(datasets.mnist((3, 7), data_dir=tmp_path), digits())


def test_copies_that_agree_are_one_and_others_are_refused_by_name(tmp_path):
    write(tmp_path, FILES | {f"raw/{name} (1).gz": gzip.compress(content) for name, content in FILES.items()})
    data = datasets.mnist((3, 7), data_dir=tmp_path)
    assert_holds(data, digits())
    assert "not used: train-images-idx3-ubyte (1).gz, train-labels-idx1-ubyte (1).gz, t10k" in said(data)
    write(tmp_path, {"raw/t10k-labels-idx1-ubyte (1).gz": idx(DIGITS["t10k"][1][::-1])})
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte and .*raw/t10k-labels-idx1-ubyte \(1\).gz .*differ"):
        datasets.mnist((3, 7), data_dir=tmp_path)


# ----------------------------------------------------------------------------------------------- what the content says
def test_the_name_is_that_of_the_content(tmp_path, registry):
    for name, content in FILES.items():
        registry["mnist"]["files"][name]["content_sha256"] = hashlib.sha256(content).hexdigest()
    write(tmp_path / "a", {name + ".gz": gzip.compress(content) for name, content in FILES.items()})
    data = datasets.mnist((3, 7), data_dir=tmp_path / "a")
    assert data.name == "MNIST 3 vs 7"
    assert "LeCun" in data.meta["cite"]
    assert "recognized as MNIST by the sha256 of its content" in said(data)

    write(tmp_path / "b", FILES | {"t10k-labels-idx1-ubyte": idx(DIGITS["t10k"][1][::-1])})
    data = datasets.mnist((3, 7), data_dir=tmp_path / "b")
    assert data.name == f"idx images from {tmp_path / 'b'} 3 vs 7"
    assert "cite" not in data.meta
    assert "not MNIST: the content of t10k-labels-idx1-ubyte is not" in said(data)


def write_keras(path, shape=(-1,), **changed):
    arrays = {"x_train": DIGITS["train"][0], "y_train": DIGITS["train"][1].reshape(shape).astype(np.int64)}
    arrays |= {"x_test": DIGITS["t10k"][0], "y_test": DIGITS["t10k"][1].reshape(shape)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **(arrays | changed))


@pytest.mark.parametrize("name", ["mnist.npz", "MNIST.npz", "mnist (1).npz", "mnist/mnist.npz"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_the_npz_of_keras_is_the_same_set(tmp_path, registry, name, shape):
    for one, content in FILES.items():
        registry["mnist"]["files"][one]["content_sha256"] = hashlib.sha256(content).hexdigest()
    write_keras(tmp_path / name, shape)
    data = datasets.mnist((3, 7), data_dir=tmp_path)
    assert_holds(data, digits())
    assert data.name == "MNIST 3 vs 7"


def test_idx_files_go_before_an_npz_where_all_four_are_there(tmp_path):
    write_keras(tmp_path / "mnist.npz", x_train=DIGITS["train"][0][::-1])
    write(tmp_path, FILES)
    data = datasets.mnist((3, 7), data_dir=tmp_path)
    assert_holds(data, digits())
    assert "not used: mnist.npz" in said(data)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert "read mnist.npz" in said(datasets.mnist((3, 7), data_dir=tmp_path))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_test": DIGITS["t10k"][0][:, :5]}, "images of 5 x 4 pixels, but those for training have 6 x 4"),
        ({"x_train": DIGITS["train"][0][:7]}, "7 train images but 60 labels"),
        ({"x_train": DIGITS["train"][0] / 255}, "needs x_train .* uint8"),
        ({"x_train": DIGITS["train"][0].reshape(60, -1)}, "needs x_train .n, height, width."),
        ({"y_train": np.eye(10)[DIGITS["train"][1]]}, r"y_train .*shape \(60, 10\)"),
        ({"y_train": DIGITS["train"][1] / 10}, "y_train .*float64, but whole numbers"),
        ({"y_train": DIGITS["train"][1] + 1}, "y_train .*holds the label 10, but .* 0 to 9"),
    ],
)
def test_other_arrays_of_an_npz_are_refused(tmp_path, changed, message):
    write_keras(tmp_path / "mnist.npz", **changed)
    with pytest.raises(ValueError, match=message):
        datasets.mnist((3, 7), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", idx(DIGITS["train"][1]), "not a whole idx file of 3 dimensions"),
        ("train-labels-idx1-ubyte", idx(DIGITS["train"][0]), "not a whole idx file of 1 dim"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x03" + FILES["train-images-idx3-ubyte"][4:], "not a whole idx file"),
        ("train-images-idx3-ubyte", struct.pack(">4I", 0x803, 60, 0, 0), "not a whole idx file"),
        ("t10k-images-idx3-ubyte", idx(DIGITS["t10k"][0][:, :5]), "images of 5 x 4 pixels, but .* have 6 x 4"),
        (
            "t10k-labels-idx1-ubyte",
            idx(DIGITS["t10k"][1] + 17),
            "t10k-labels-idx1-ubyte holds the label 2., but .* 0 to 9",
        ),
        (
            "t10k-labels-idx1-ubyte",
            gzip.compress(FILES["t10k-labels-idx1-ubyte"], mtime=0)[:-3],
            "t10k-labels.* is damaged",
        ),
        ("t10k-labels-idx1-ubyte", b"\x1f\x8b", "t10k-labels.* is damaged"),
    ],
)
def test_other_content_under_a_name_of_the_set_is_refused(tmp_path, name, content, message):
    write(tmp_path, FILES | {name: content})
    with pytest.raises(ValueError, match=message):
        datasets.mnist((3, 7), data_dir=tmp_path)


def test_no_more_is_unpacked_than_the_head_of_a_file_states(tmp_path):
    bomb = gzip.compress(FILES["train-images-idx3-ubyte"] + bytes(60_000_000), 1)
    write(tmp_path, FILES | {"train-images-idx3-ubyte": bomb})
    tracemalloc.start()
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is not a whole idx file"):
        datasets.mnist((3, 7), data_dir=tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_head_that_states_more_than_the_memory_holds_is_refused_at_once(tmp_path):
    many = 2**32 - 1
    heads = {"images-idx3": struct.pack(">4I", 0x803, many, 6, 4), "labels-idx1": struct.pack(">2I", 0x801, many)}
    packed = {f"train-{kind}-ubyte": gzip.compress(head + bytes(10_000_000), 1) for kind, head in heads.items()}
    write(tmp_path, FILES | packed)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte needs 9.* GB, but .* free"):
        datasets.mnist((3, 7), data_dir=tmp_path)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(("name", "load"), [("mnist.npz", datasets.mnist), ("cifar10.npz", datasets.cifar10)])
def test_an_npz_that_unpacks_to_gigabytes_is_refused_before_it_is(tmp_path, name, load):
    with zipfile.ZipFile(tmp_path / name, "w") as file:
        file.writestr("x_train.npy", bytes(100))
    stated = struct.pack("<2I", 100, 2**32 - 9)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(struct.pack("<2I", 100, 100), stated))
    with pytest.raises(ValueError, match=f"{name} unpacks to 4295 MB, but such a file has at most 2000 MB"):
        load(data_dir=tmp_path)


# ------------------------------------------------------------------------------------------------------------- classes
def test_a_class_without_training_images_is_refused_with_those_that_are_there(tmp_path):
    few = {"train-labels-idx1-ubyte": idx(np.resize([2, 5, 8], 60))}
    write(tmp_path / "digits", FILES | few)
    with pytest.raises(ValueError, match="no training image is of class 7; the classes that are there: 2, 5, 8"):
        datasets.mnist((2, 7), data_dir=tmp_path / "digits")
    kinds = np.resize([3, 5], (6, 10))
    write(tmp_path / "colours", {name: batch(COLOURS[0], one) for name, one in zip(BATCHES, kinds, strict=True)})
    with pytest.raises(ValueError, match="no training image is of class horse; the classes that are there: cat, dog"):
        datasets.cifar10(("cat", "horse"), data_dir=tmp_path / "colours")


def test_one_class_alone_is_refused(tmp_path):
    write(tmp_path, FILES | {"train-labels-idx1-ubyte": idx(np.full(60, 4))})
    with pytest.raises(ValueError, match=r"two classes at least are needed, but .* are of these: 4$"):
        datasets.mnist(data_dir=tmp_path)


@pytest.mark.parametrize(
    "classes", ["cat", ("cat",), ("cat", "dog", "cat"), ("cat", "cat"), ("cat", 3), (), 3, (0, 1, "airplane")]
)
def test_anything_but_two_different_classes_is_refused_before_files_are_looked_for(classes):
    with pytest.raises(ValueError, match=r"classes=.*, but two different classes or more are needed"):
        datasets.cifar10(classes, data_dir="absent")


@pytest.mark.parametrize("load", [datasets.mnist, datasets.cifar10])
@pytest.mark.parametrize("dtype", ["float16", np.int64, complex, "words"])
def test_other_dtypes_are_refused_before_files_are_looked_for(load, dtype):
    with pytest.raises(TypeError, match="float32 or float64 is needed"):
        load(data_dir="absent", dtype=dtype)


def test_ten_classes_are_called_numbers_in_the_labels_and_the_reading(tmp_path):
    write(tmp_path, FILES)
    data = of_all_classes(datasets.mnist, data_dir=tmp_path)
    assert data.meta["labels"] == "ten classes are regressed as the numbers 2 class/9 - 1"
    assert data.meta["labels"] in said(data)
    with pytest.warns(UserWarning, match=r"name two with classes=\('4', '9'\) \(--classes 4 9\)") as caught:
        datasets.mnist(data_dir=tmp_path)
    assert caught[0].filename == __file__


def test_images_may_be_left_uncentred_and_be_standardized(tmp_path):
    write(tmp_path, FILES)
    raw = DIGITS["train"][0][np.isin(DIGITS["train"][1], (3, 7))].reshape(-1, 24)
    left = datasets.mnist((3, 7), data_dir=tmp_path, center=False).X
    np.testing.assert_allclose(left, raw * np.sqrt(24 / (raw.astype(float) ** 2).sum(axis=1).mean()), rtol=1e-12)
    scaled = datasets.mnist((3, 7), data_dir=tmp_path, standardize=True).X
    np.testing.assert_allclose(scaled, (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-12)


def test_columns_that_never_change_are_counted(tmp_path):
    images = DIGITS["train"][0].copy()
    images[:, 0], images[:, :, 0] = 7, 0
    write(tmp_path, FILES | {"train-images-idx3-ubyte": idx(images)})
    assert "9 of 24 pixels are constant" in said(datasets.mnist((3, 7), data_dir=tmp_path))
    assert "are constant" not in said(datasets.mnist((3, 7), data_dir=write(tmp_path / "other", FILES)))


# ------------------------------------------------------------------------------------------------- batches of CIFAR-10
def batches(protocol=2, python=3) -> dict[str, bytes]:
    """The six pickled batches."""
    if python == 2:
        return {name: batch(*one, protocol) for name, *one in zip(BATCHES, COLOURS, KINDS, strict=True)}
    return {
        name: pickle.dumps({b"labels": kinds.tolist(), b"data": rows}, protocol)
        for name, kinds, rows in zip(BATCHES, KINDS, ROWS, strict=True)
    }


def records() -> dict[str, bytes]:
    """The six binary batches."""
    joined = np.concatenate([KINDS[..., None].astype(np.uint8), ROWS], axis=2)
    return {f"{name}.bin": one.tobytes() for name, one in zip(BATCHES, joined, strict=True)}


def archive(files: dict, mode="w:gz", folder="cifar-10-batches-py/", format=tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=format) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(folder + name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


INNER = "cifar-10-batches-py/"
PLACES = [
    "",
    "cifar-10-batches-py/",
    "cifar-10-python/cifar-10-batches-py/",
    f"CIFAR10/{INNER}",
    "cifar10/",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("files", [batches(0), batches(5), batches(0, 2), records()], ids=["0", "5", "old", "bin"])
def test_batches_are_found_in_folders_in_folders(tmp_path, place, files):
    write(tmp_path, {place + name: content for name, content in files.items()})
    data = datasets.cifar10(("cat", "horse"), data_dir=tmp_path)
    assert_holds(data, colours())
    assert "not verified to be CIFAR-10" in said(data)
    assert "cite" not in data.meta
    assert data.name == f"CIFAR-10 from {(tmp_path / place).name} cat vs horse"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("cifar-10-python.tar.gz", "w:gz"),
        ("cifar-10-python (1).tar.gz", "w:gz"),
        ("cifar-10-python.tar.gz", "w"),
        ("cifar-10-python.tar", "w"),
        ("cifar-10-python.tar", "w:gz"),
        ("CIFAR-10-PYTHON.TGZ", "w:gz"),
        ("cifar10/cifar-10-binary.tar.gz", "w:gz"),
    ],
)
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_archive_is_read_where_it_lies(tmp_path, name, mode, format):
    files = {f"._{one}": b"left by a desktop" for one in BATCHES} | {
        "readme.html": b"",
        "batches.meta": b"cos\nsystem\n.",
    }
    files |= records() if "binary" in name else batches()
    write(tmp_path, {name: archive(files, mode, format=format)})
    before = sorted(tmp_path.rglob("*"))
    data = datasets.cifar10(("cat", "horse"), data_dir=tmp_path)
    assert_holds(data, colours())
    assert data.name == f"CIFAR-10 from {Path(name).name} cat vs horse"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_known_archive_is_cifar10_and_goes_before_batches(tmp_path, registry):
    content = archive(batches())
    registry["cifar10"]["files"]["cifar-10-python.tar.gz"]["sha256"] = hashlib.sha256(content).hexdigest()
    others = {INNER + name: batch(COLOURS[0][::-1], KINDS[0]) for name in BATCHES}
    write(tmp_path, others | {"cifar-10-python.tar.gz": content})
    data = datasets.cifar10(("cat", "horse"), data_dir=tmp_path)
    assert_holds(data, colours())
    assert data.name == "CIFAR-10 cat vs horse"
    assert "not used: cifar-10-batches-py; recognized as CIFAR-10 by its sha256" in said(data)
    assert "Krizhevsky" in data.meta["cite"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: archive(batches() | {"data_batch_3": "/etc/passwd"}), "data_batch_3 is a link, or there twice"),
        (
            lambda: archive(batches() | {"old/data_batch_3": batches()["data_batch_1"]}),
            "data_batch_3 is a link, or there tw",
        ),
        (lambda: archive(batches(), "w")[:40_000], "not a readable archive"),
        (lambda: archive(batches())[:-2000], "tar.gz is damaged"),
        (lambda: b"<html>not found</html>", "not a readable archive"),
        (lambda: b"", "not a readable archive"),
        (lambda: gzip.compress(bytes(7_000_000), 1), "holds more than 3 MB"),
        (
            lambda: archive(batches() | {"data_batch_2": b"cos\nsystem\n(Vtrue\ntR."}),
            "data_batch_2 is not a CIFAR-10 batch",
        ),
        (lambda: archive({f"{k}": b"" for k in range(3000)} | batches()), "data_batch_1.* is missing"),
    ],
    ids=["a link", "twice", "cut", "cut packed", "html", "empty", "a bomb", "a crafted batch", "thousands of members"],
)
def test_other_archives_are_refused_by_name(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr("ntkspec.datasets.images.batches.LARGEST_ARCHIVE", 3_000_000)
    write(tmp_path, {"cifar-10-python.tar.gz": content()})
    start = time.perf_counter()
    with pytest.raises((ValueError, FileNotFoundError), match=f"cifar-10-python.tar.gz.*{message}|{message}"):
        datasets.cifar10(("cat", "horse"), data_dir=tmp_path)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (records()["data_batch_2.bin"][:-1], "30729 bytes are no whole number of records of 3073"),
        (b"\x0a" + records()["data_batch_2.bin"][1:], "labels holds the label 10"),
    ],
)
def test_other_binary_batches_are_refused(tmp_path, content, message):
    write(tmp_path, records() | {"data_batch_2.bin": content})
    with pytest.raises(ValueError, match=f"data_batch_2.bin is not a CIFAR-10 batch .{message}"):
        datasets.cifar10(("cat", "horse"), data_dir=tmp_path)


def test_labels_of_a_pickled_batch_are_class_numbers(tmp_path):
    write(tmp_path, batches() | {"test_batch": batch(COLOURS[5], KINDS[5] + 1)})
    with pytest.raises(ValueError, match=r"test_batch is not a CIFAR-10 batch .labels holds the label 10"):
        datasets.cifar10(("cat", "horse"), data_dir=tmp_path)


# ----------------------------------------------------------------------------------------------------- npz of CIFAR-10
def write_colours(path, labels=lambda kinds: kinds, images=lambda images: images, key="y", **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"x_train": images(COLOURS[0]), f"{key}_train": labels(KINDS[0])}
    arrays |= {"x_test": images(COLOURS[5]), f"{key}_test": labels(KINDS[5])}
    np.savez(path, **(arrays | more))


LABELLED = {
    "numbers": lambda kinds: kinds,
    "columns": lambda kinds: kinds[:, None].astype(np.uint8),
    "bytes": lambda kinds: kinds.astype(np.int8),
}


@pytest.mark.parametrize("key", ["y", "class"])
@pytest.mark.parametrize("labels", LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize("first", [False, True])
def test_class_numbers_of_an_npz_are_classes(tmp_path, key, labels, first):
    write_colours(tmp_path / "cifar10.npz", labels, lambda images: np.moveaxis(images, 3, 1) if first else images, key)
    for classes in ((3, 7), (0, 1), (9, 2)):
        data = datasets.cifar10(classes, data_dir=tmp_path)
        assert_holds(data, colours(classes, train=slice(1)))
        assert f"channels of the images come {'first' if first else 'last'}" in said(data)
        assert "class numbers" in said(data)
        assert data.meta["shape"] == (32, 32, 3)


def test_images_in_floats_are_the_same(tmp_path):
    write_colours(tmp_path / "cifar10.npz", images=lambda images: (images / 255).astype(np.float32))
    expected = colours(train=slice(1))
    for array, one in zip(expected, ("X", "X_test", "y", "y_test"), strict=True):
        np.testing.assert_allclose(getattr(datasets.cifar10((3, 7), data_dir=tmp_path), one), array, atol=1e-5)


def test_signs_are_signs_only_where_both_and_nothing_else_occur(tmp_path):
    write_colours(tmp_path / "cifar10.npz", lambda kinds: np.where(kinds < 5, 1, -1))
    data = datasets.cifar10(("horse", "cat"), data_dir=tmp_path)
    np.testing.assert_array_equal(data.y, np.where(KINDS[0] < 5, -1, 1))
    assert "labels +1 and -1 are taken for cat and horse" in said(data)
    for wrong in (lambda kinds: kinds % 3 - 1, lambda kinds: np.full(10, -1), lambda kinds: kinds - 1):
        write_colours(tmp_path / "cifar10.npz", wrong)
        with pytest.raises(ValueError, match="holds the label -1, but the ten classes have the numbers 0 to 9"):
            datasets.cifar10(("cat", "horse"), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda kinds: kinds * 10, "holds the label [1-9]0, but the ten classes"),
        (lambda kinds: np.eye(10)[kinds], r"shape \(10, 10\)"),
        (lambda kinds: np.eye(10, dtype=int)[kinds], r"shape \(10, 10\)"),
        (lambda kinds: kinds / 10, "dtype float64, but whole numbers"),
        (lambda kinds: kinds > 4, "dtype bool, but whole numbers"),
        (lambda kinds: np.array(["cat", "dog"])[kinds % 2], "dtype <U3, but whole numbers"),
        (lambda kinds: kinds[:7], "not a CIFAR-10 .npz"),
    ],
)
def test_other_labels_of_an_npz_are_refused(tmp_path, labels, message):
    write_colours(tmp_path / "cifar10.npz", labels)
    with pytest.raises(ValueError, match=f"cifar10.npz.*{message}"):
        datasets.cifar10(("cat", "horse"), data_dir=tmp_path)


def test_what_was_taken_of_several_is_said_and_other_sets_do_not_matter(tmp_path):
    write(tmp_path, {"cifar100.npz": b"other", "cifar-100-python.tar.gz": b"other", "cifar10_notes.txt": b"other"})
    write_colours(tmp_path / "cifar10_a.npz", lambda kinds: kinds // 5)
    write_colours(tmp_path / "CIFAR-10" / "cifar-10.npz")
    data = datasets.cifar10(("cat", "horse"), data_dir=tmp_path)
    assert_holds(data, colours(train=slice(1)))
    assert data.name == "CIFAR-10 from cifar-10.npz cat vs horse"
    assert "not used: cifar10_a.npz" in said(data)
    assert "not verified to be CIFAR-10" in said(data)


# --------------------------------------------------------------------------------------------------- folders by chance
def _mnist_folder(folder: Path, rng) -> str:
    """MNIST under chance names; returns how."""
    if rng.random() < 0.15:
        name = str(rng.choice(["mnist.npz", "mnist/MNIST.npz", "mnist (2).npz"]))
        write_keras(folder / name, (-1, 1) if rng.random() < 0.5 else (-1,))
        return name
    how = []
    place = str(rng.choice(["", "mnist/", "raw/", "MNIST/raw/", "mnist/raw/"]))
    for name, content in FILES.items():
        styled = name
        for old, new in (("-idx", ".idx"), ("-", "_"), ("t10k", "test")):
            styled = styled.replace(old, new) if rng.random() < 0.3 else styled
        styled = styled.upper() if rng.random() < 0.2 else styled
        nested = f"{styled}/" if rng.random() < 0.2 else ""
        copy_, packed = str(rng.choice(["", "", " (1)", "(3)", " 2", " copy"])), rng.random() < 0.5
        ending = str(rng.choice(["", ".gz"]))
        how.append(f"{place}{nested}{styled}{copy_}{ending}")
        write(folder, {how[-1]: gzip.compress(content, 1) if packed else content})
    return ", ".join(how)


def _cifar_folder(folder: Path, rng) -> str:
    """CIFAR-10 in a chance form; returns how."""
    place, form = str(rng.choice(PLACES)), str(rng.choice(["pickles", "old", "binary", "npz"]))
    if form == "npz":
        first, labels = rng.random() < 0.5, str(rng.choice(list(LABELLED)))
        key = str(rng.choice(["y", "class"]))
        turn = (lambda images: np.moveaxis(images, -1, 1)) if first else (lambda images: images)
        joined = {
            "x_train": turn(COLOURS[:5].reshape(-1, 32, 32, 3)),
            f"{key}_train": LABELLED[labels](KINDS[:5].ravel()),
        }
        name = str(rng.choice(["cifar10.npz", "cifar-10.npz", "CIFAR10_small.npz"]))
        write_colours(folder / "cifar10" / name, LABELLED[labels], turn, key, **joined)
        return f"{name}, {labels}, {key}, channels first: {first}"
    protocol = int(rng.integers(6 if form == "pickles" else 3))
    files = records() if form == "binary" else batches(protocol, 2 if form == "old" else 3)
    if rng.random() < 0.5:
        write(folder, {place + name: content for name, content in files.items()})
        return f"{form} {protocol} in {place}"
    kind, mode = ("binary" if form == "binary" else "python"), str(rng.choice(["w", "w:gz"]))
    ending = str(rng.choice([".tar.gz", " (1).tar.gz", ".tar", ".tgz"]))
    format = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT][rng.integers(3)]
    write(folder, {f"cifar-10-{kind}{ending}": archive(files, mode, place, format)})
    return f"{form} {protocol} in cifar-10-{kind}{ending} ({mode}, {place}, format {format})"


def check_folder(folder: Path, seed: int) -> str:
    """Make a folder of images and hold what is read to what was meant; returns how it was made."""
    rng = np.random.default_rng([16, seed])
    classes = tuple(int(one) for one in rng.permutation(10)[:2])
    if rng.random() < 0.5:
        how, load, meant = _mnist_folder(folder, rng), datasets.mnist, digits(classes)
    else:
        how, load, meant = _cifar_folder(folder, rng), datasets.cifar10, colours(classes)
    try:
        assert_holds(load(classes, data_dir=folder), meant)
    except Exception as error:
        raise AssertionError(f"{how}: {error}") from error
    return how


@pytest.mark.parametrize("seed", range(40))
def test_folders_made_by_chance_are_read_as_they_were_meant(tmp_path, seed):
    check_folder(tmp_path, seed)


# ---------------------------------------------------------------------------------------------------------- real images
@pytest.mark.data
@needs_data
def test_real_mnist_is_mnist_in_another_dress(tmp_path):
    source = Path(REAL) / "mnist"
    for path in source.glob("*-ubyte.gz"):
        name = path.name.removesuffix(".gz").replace("-idx", ".idx")
        write(tmp_path, {name: gzip.decompress(path.read_bytes())})
    data = datasets.mnist((4, 9), n=50, n_test=20, data_dir=tmp_path)
    official = datasets.mnist((4, 9), n=50, n_test=20)
    assert data.name == official.name == "MNIST 4 vs 9"
    np.testing.assert_array_equal(data.X, official.X)


@pytest.mark.data
@needs_data
def test_the_real_npz_says_what_it_is():
    data = datasets.cifar10(("cat", "horse"), n=20, n_test=20)
    assert "recognized as JPEG-75 copy of CIFAR-10 by its sha256" in said(data)
    assert "not used: cifar10_cat_horse_lossless_part.npz" in said(data)
