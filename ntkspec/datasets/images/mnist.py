"""MNIST, and other images in idx files, as archives and browsers leave them."""

import hashlib
import math
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ntkspec import checks
from ntkspec.datasets import packed
from ntkspec.datasets.dataset import Dataset
from ntkspec.datasets.images import public
from ntkspec.datasets.images.choice import Choice, Images, Split, chosen_classes, class_numbers, image_dataset
from ntkspec.datasets.npz import read_npz
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import DTypeLike

# Type code 8 is unsigned byte; 0x0803 has three dimensions, 0x0801 one.
MAGIC = {3: 0x0803, 1: 0x0801}
KINDS = {"images": 3, "labels": 1}
# Dots for dashes, "name (1).gz" and "name 2.gz" are left by tools that unpack, browsers and desktops.
_COPY = r"(?: ?\(\d+\)| \d+| copy)?"
_FILE = r"(train|t10k|test)[-_. ](images|labels)[-_. ]idx[13][-_. ]ubyte" + _COPY + r"(?:\.gz)?" + _COPY
IDX_FILE = re.compile(_FILE, re.IGNORECASE)
NPZ_FILE = re.compile(r"mnist" + _COPY + r"\.npz", re.IGNORECASE)
PLACE = re.compile("mnist|raw|" + _FILE, re.IGNORECASE)
DIGITS = tuple(map(str, range(10)))


def mnist(
    classes: Iterable[int | str] | str | None = None,
    n: int | None = None,
    n_test: int | None = None,
    pool: int = 1,
    data_dir: str | Path | None = None,
    seed: int = 0,
    dtype: DTypeLike = np.float64,
    *,
    center: bool = True,
    standardize: bool = False,
) -> Dataset:
    """MNIST: images of handwritten digits, centred and scaled so that the training mean of ‖x‖² is d = (28/pool)².

    Parameters
    ----------
    classes : two of 0 to 9 or more, or "all", optional
        Two digits, labelled +1 and -1 in that order; or K > 2 of them, which become K columns in that order, +1 for a
        digit's own images and -1/(K - 1) for others, so that columns of equally frequent digits have mean 0. Default:
        all ten, regressed as the numbers 2 digit/9 - 1, with a warning. Where the files hold two digits only, the
        larger one is +1.
    n : int, optional
        Number of training images, drawn at random with ``seed``. Default: all (60,000 before the choice of classes).
    n_test : int, optional
        Number of test images, drawn at random with ``seed``. Default: all (10,000 before the choice of classes).
    pool : int, default 1
        Average over patches of pool x pool pixels; it must divide 28.
    data_dir : str or Path, optional
        Folder of the files. Default: the folder that the environment variable NTKSPEC_DATA names.
        The four idx files, packed with gzip or not, are looked for in it and in its ``mnist``, ``raw`` or
        ``MNIST/raw``; where they are not complete, a ``mnist.npz`` with x_train, y_train, x_test and y_test.
    seed : int, default 0
        Seed of the random subsets.
    dtype : {float64, float32}, default float64
        The dtype of points and labels.
    center : bool, default True
        Subtract the mean over the training points.
    standardize : bool, default False
        Divide each feature by its standard deviation over the training points; constant features stay zero.

    Returns
    -------
    Dataset
        Pixels that never change stay in as zero columns. ``meta["shape"]`` is (height, width, 1) after pooling, and
        ``meta["reading"]`` says which files were read and whether their sha256 is that of MNIST. Other images of the
        same form (Fashion-MNIST, images of any size) are read as well, and called after their folder.

    Raises
    ------
    FileNotFoundError
        If files are absent; the message lists their addresses and sha256.
    ValueError
        If a file is damaged, two files of the same name differ, a class is unknown or has no images, ``pool`` does not
        divide the images, or more images are asked for than there are.
    TypeError
        If ``dtype`` is neither float32 nor float64.

    Notes
    -----
    Memory: 8 bytes a pixel, 0.4 GB for all images without pooling. Nothing is downloaded.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86(11), 1998.

    Examples
    --------
    A file of the same form with twelve random images:

    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> rng = np.random.default_rng(0)
    >>> pixels, digits = rng.integers(0, 256, (12, 28, 28), dtype=np.uint8), np.arange(12) % 3
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "mnist.npz")
    ...     np.savez(path, x_train=pixels, y_train=digits, x_test=pixels, y_test=digits)
    ...     data = ns.datasets.mnist((0, 2), pool=2, data_dir=folder)
    >>> data.X.shape, data.meta["shape"], data.meta["labels"]
    ((8, 196), (14, 14, 1), '+1 = 0, -1 = 2')

    Without files the error says what to download:

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ns.datasets.mnist(data_dir=folder)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: ... download https://...
    """
    checks.float_dtype(dtype)
    choice = Choice(chosen_classes(classes, {digit: int(digit) for digit in DIGITS}), n, n_test, pool, seed)
    source = _read(public.data_directory(data_dir, "mnist"))
    return image_dataset(source, choice, DIGITS, dtype=dtype, center=center, standardize=standardize)


def _read(folder: Path) -> Images:
    folders = public.matching_folders(folder, PLACE)
    files = _found(folders)
    archives = public.files_in(folders, NPZ_FILE)
    if all(files.values()):
        arrays, read = _read_files(files)
        title = f"idx images from {files['train', 'images'][0].parent}"
        ignored = [*(copy for paths in files.values() for copy in paths[1:]), *archives]
    elif archives:
        arrays, read = _read_archive(archives[0]), [archives[0]]
        title, ignored = f"images from {archives[0]}", archives[1:]
    else:
        missing = ", ".join(_official(*key) for key, paths in files.items() if not paths)
        raise FileNotFoundError(f"{folder} has no {missing}[.gz]: {public.how_to_get('mnist')}")
    return _named(arrays, read, ignored, title)


def _named(arrays: dict, read: list[Path], ignored: list[Path], title: str) -> Images:
    """The arrays under the name that their content deserves, with what there is to say of them."""
    train, test = (Split(arrays[part, "images"][..., None], arrays[part, "labels"]) for part in ("train", "t10k"))
    others = [_official(*key) for key, array in arrays.items() if not _is_official(array, _official(*key))]
    folders = " and ".join(sorted({str(path.parent) for path in read}))
    reading = [f"read {', '.join(path.name for path in read)} in {folders}"]
    if ignored:
        reading.append(f"not used: {', '.join(path.name for path in ignored)}")
    which = "its content" if len(others) == 4 else f"the content of {', '.join(others)}"
    official = "recognized as MNIST by the sha256 of its content"
    reading.append(f"not MNIST: {which} is not that of the official files" if others else official)
    reading.append(f"{len(train.images)} training and {len(test.images)} test images of {_size(train)} pixels")
    meta = {"folder": folders} | ({} if others else {"cite": public.registry("mnist")["cite"]})
    return Images(train, test, title if others else "MNIST", reading, meta)


def _size(split: Split) -> str:
    return " x ".join(map(str, split.images.shape[1:3]))


def _official(part: str, kind: str) -> str:
    return f"{part}-{kind}-idx{KINDS[kind]}-ubyte"


def _is_official(array: np.ndarray, name: str) -> bool:
    """Whether an idx file with this array is the official one of that name."""
    content = hashlib.sha256(struct.pack(f">{1 + array.ndim}I", MAGIC[array.ndim], *array.shape))
    content.update(np.ascontiguousarray(array, dtype=np.uint8).data)
    return content.hexdigest() == public.registry("mnist")["files"][name]["content_sha256"]


# --------------------------------------------------------------------------------------------------------- idx files
def _found(folders: list[Path]) -> dict[tuple[str, str], list[Path]]:
    """For each of the four files of a set, those that stand for it, whatever they were called last."""
    files: dict[tuple[str, str], list[Path]] = {(part, kind): [] for part in ("train", "t10k") for kind in KINDS}
    for path in public.files_in(folders, IDX_FILE):
        part, kind = IDX_FILE.sub(r"\1 \2", path.name).lower().split()
        files["train" if part == "train" else "t10k", kind].append(path)
    return files


def _read_files(files: dict) -> tuple[dict, list[Path]]:
    """The four arrays, and the files they were read from; sizes are compared before any content is unpacked."""
    shapes = {key: idx_shape(paths[0], KINDS[key[1]]) for key, paths in files.items()}
    for part in ("train", "t10k"):
        images, labels = shapes[part, "images"], shapes[part, "labels"]
        if images[0] != labels[0]:
            where = files[part, "images"][0].parent
            raise ValueError(f"{where} holds {images[0]} {part} images but {labels[0]} labels; download both again")
    _same_size(shapes["train", "images"][1:], shapes["t10k", "images"][1:], files["t10k", "images"][0])
    size = sum(map(math.prod, shapes.values()))
    checks.memory(9 * size, engine_of(), f"reading {files['train', 'images'][0]}", "take a smaller set")
    arrays = {key: _agreed(paths, KINDS[key[1]]) for key, paths in files.items()}
    for (part, kind), array in arrays.items():
        if kind == "labels":
            arrays[part, kind] = class_numbers(array, str(files[part, kind][0]))
    return arrays, [paths[0] for paths in files.values()]


def _same_size(train: tuple, test: tuple, path: Path) -> None:
    if tuple(train) != tuple(test):
        shown = [" x ".join(map(str, size)) for size in (test, train)]
        raise ValueError(f"{path} holds images of {shown[0]} pixels, but those for training have {shown[1]}")


def _agreed(paths: list[Path], dimensions: int) -> np.ndarray:
    """The content of several copies; they must agree."""
    first, others = paths[0], paths[1:]
    array = read_idx(first, dimensions)
    for other in others:
        if not np.array_equal(array, read_idx(other, dimensions)):
            raise ValueError(f"{first} and {other} stand for the same file but differ; remove one of them")
    return array


def idx_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape that the head of an idx file states; ValueError where it is no idx file of that many dimensions."""
    start = 4 + 4 * dimensions
    magic, *shape = np.frombuffer(_head(path, start).ljust(start, b"\0"), dtype=">u4").tolist()
    if magic != MAGIC[dimensions] or 0 in shape[1:]:
        raise ValueError(f"{path} is not a whole idx file of {dimensions} dimensions: {public.how_to_get('mnist')}")
    return tuple(shape)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an idx file with that many dimensions; ValueError where the file is damaged.

    At most one byte more than the head states is unpacked.
    """
    shape, start = idx_shape(path, dimensions), 4 + 4 * dimensions
    whole = start + math.prod(shape)
    content = _head(path, whole + 1)
    if len(content) != whole:
        raise ValueError(f"{path} is not a whole idx file of {dimensions} dimensions: {public.how_to_get('mnist')}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _head(path: Path, count: int) -> bytes:
    """The first bytes of a file, unpacked."""
    try:
        return packed.head(path, count)
    except ValueError as error:
        raise ValueError(f"{error}: {public.how_to_get('mnist')}") from None


# --------------------------------------------------------------------------------------------------------------- npz
def _read_archive(path: Path) -> dict:
    """The four arrays of a mnist.npz, as Keras keeps it."""
    packed.refuse_large_zip(path, packed.LARGEST_ARCHIVE)
    content = {name: np.asarray(one) for name, one in read_npz(path).items()}  # a member may be mere bytes
    arrays = {}
    for part, ending in (("train", "train"), ("t10k", "test")):
        images, labels = content.get(f"x_{ending}"), content.get(f"y_{ending}")
        if images is None or labels is None or images.ndim != 3 or images.dtype != np.uint8 or 0 in images.shape[1:]:
            raise ValueError(
                f"{path} needs x_{ending} (n, height, width) uint8 and y_{ending} (n,), but holds {sorted(content)}"
            )
        arrays[part, "images"] = images
        arrays[part, "labels"] = class_numbers(labels, f"y_{ending} of {path}")
        if len(images) != len(labels):
            raise ValueError(f"{path} holds {len(images)} {part} images but {len(labels)} labels; download it again")
    _same_size(arrays["train", "images"].shape[1:], arrays["t10k", "images"].shape[1:], path)
    return arrays
