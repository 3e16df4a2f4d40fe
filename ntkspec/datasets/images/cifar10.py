"""CIFAR-10 from its official batches, from their archive, or from an .npz of a part of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntkspec import checks
from ntkspec.datasets import packed
from ntkspec.datasets.dataset import Dataset
from ntkspec.datasets.images import public
from ntkspec.datasets.images.batches import BATCH, read_batches
from ntkspec.datasets.images.choice import Choice, Images, Split, chosen_classes, class_numbers, image_dataset
from ntkspec.datasets.npz import read_npz
from ntkspec.engines.arrays import DTypeLike

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NUMBERS = {**{name: k for k, name in enumerate(CLASSES)}, **{str(k): k for k in range(10)}}
_SET = r"cifar[-_ ]?10(?!\d)"
PLACE = re.compile(_SET + ".*", re.IGNORECASE)
ARCHIVE = re.compile(_SET + r"(?:[-_ ]?(?:python|binary))?(?: ?\(\d+\))?\.(?:tar\.gz|tgz|tar)", re.IGNORECASE)
NPZ = re.compile(_SET + r".*\.npz", re.IGNORECASE)


def cifar10(
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
    """CIFAR-10: colour images of ten classes, centred and scaled so that the training mean of ‖x‖² is d = 3 (32/pool)².

    Parameters
    ----------
    classes : two names or numbers or more, or "all", optional
        Two of airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck (or 0 to 9), labelled +1 and -1 in
        that order; or K > 2 of them, which become K columns in that order, +1 for a class's own images and -1/(K - 1)
        for others. Default: all ten, regressed as the numbers 2 class/9 - 1, with a warning. Where the files hold two
        classes only, the larger number is +1.
    n : int, optional
        Number of training images, drawn at random with ``seed``. Default: all.
    n_test : int, optional
        Number of test images, drawn at random with ``seed``. Default: all.
    pool : int, default 1
        Average over patches of pool x pool pixels; it must divide 32 (the paper: 4).
    data_dir : str or Path, optional
        Folder of the files. Default: the folder that the environment variable NTKSPEC_DATA names.
        It holds the official batches, pickled or binary; or a folder ``cifar-10-...`` of them; or their archive
        ``cifar-10-python.tar.gz``, which is read without unpacking it; or files ``cifar10*.npz`` with x_train and
        x_test, of shape (n, 32, 32, 3) or (n, 3, 32, 32), and class_train and class_test (or y_train and y_test):
        whole numbers 0 to 9, or -1 and +1 for horse and cat. An archive with the known sha256 goes first, then
        batches, other archives, and the .npz file with the most training images of the classes.
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
        ``meta["shape"]`` is (height, width, 3) after pooling; ``name`` and ``meta["reading"]`` say which files were
        read and whether their sha256 is known.

    Raises
    ------
    FileNotFoundError
        If files are absent; the message lists the address and the sha256.
    ValueError
        If a file is damaged, a class is unknown or has no images, ``pool`` does not divide 32, or more images are
        asked for than there are.
    TypeError
        If ``dtype`` is neither float32 nor float64.

    Notes
    -----
    The pickled batches are parsed without executing them. Memory: 8 bytes a number, 1.5 GB for all images without
    pooling. Nothing is downloaded.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Examples
    --------
    A file of the same form with eight random images:

    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> rng = np.random.default_rng(0)
    >>> pixels, numbers = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), np.arange(8) % 4 + 3
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "cifar10-small.npz")
    ...     np.savez(path, x_train=pixels, y_train=numbers, x_test=pixels, y_test=numbers)
    ...     data = ns.datasets.cifar10(("cat", "dog"), pool=4, data_dir=folder)
    >>> data.X.shape, data.meta["shape"], data.meta["labels"]
    ((4, 192), (8, 8, 3), '+1 = cat, -1 = dog')

    Without files the error says what to download:

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ns.datasets.cifar10(data_dir=folder)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: ... download https://...
    """
    checks.float_dtype(dtype)
    choice = Choice(chosen_classes(classes, _NUMBERS), n, n_test, pool, seed)
    source = _read(public.data_directory(data_dir, "cifar10"), choice.wanted)
    return image_dataset(source, choice, CLASSES, dtype=dtype, center=center, standardize=standardize)


def _read(folder: Path, wanted) -> Images:
    folders = public.matching_folders(folder, PLACE)
    batches = list(dict.fromkeys(path.parent for path in public.files_in(folders, BATCH)))
    archives, npz = public.files_in(folders, ARCHIVE), public.files_in(folders, NPZ)
    official = {file["sha256"] for file in public.registry("cifar10")["files"].values()}
    known = [path for path in archives if public.sha256(path) in official]
    candidates = [*known, *batches, *(path for path in archives if path not in known)]
    if not candidates:
        return _of_npz(folder, npz, wanted)
    path, *others = (*candidates, *npz)
    return _images(path, others, Content(*read_batches(path)), "CIFAR-10" if known else None)


@dataclass(frozen=True)
class Content:
    """Training and test images of one source, and sentences on how they lie in it."""

    train: Split
    test: Split
    reading: tuple[str, ...] = ()


def _images(path: Path, others: list[Path], content: Content, known: str | None) -> Images:
    """The images under the name that their content deserves, with what there is to say; known : what they are."""
    train, test = content.train, content.test
    aside = [f"not used: {', '.join(other.name for other in others)}"] if others else []
    what = f"recognized as {known} by its sha256" if known else "not verified to be CIFAR-10: its sha256 is not known"
    sizes = f"{len(train.images)} training and {len(test.images)} test images of 32 x 32 pixels and 3 colours"
    name = known or f"CIFAR-10 from {path.name}"
    meta = {"source": name} | ({"cite": public.registry("cifar10")["cite"]} if known else {})
    return Images(train, test, name, [f"read {path}", *aside, what, *content.reading, sizes], meta)


# --------------------------------------------------------------------------------------------------------------- npz
def _of_npz(folder: Path, paths: list[Path], wanted) -> Images:
    """The file with the most training images of the classes that are wanted."""
    contents = {path: _read_npz(path) for path in paths}
    sizes = {path: _count(content.train.classes, wanted) for path, content in contents.items()}
    if not any(sizes.values()):
        there = sorted({int(one) for content in contents.values() for one in content.train.classes})
        held = ", ".join(CLASSES[one] for one in there) or "nothing"
        found = f"{len(paths)} cifar10*.npz without these classes (they hold {held})" if paths else "no cifar10*.npz"
        raise FileNotFoundError(f"{folder} has no cifar-10-batches-py and {found}: {public.how_to_get('cifar10')}")
    path = max(sizes, key=lambda one: sizes[one])
    known = public.registry("cifar10")["known_npz"].get(public.sha256(path))
    return _images(path, [other for other in paths if other != path], contents[path], known)


def _count(classes, wanted) -> int:
    """How many images are of these classes; none where one of them has none."""
    if wanted is None:
        return len(classes)
    return int(np.isin(classes, wanted).sum()) if set(wanted) <= set(classes.tolist()) else 0


def _read_npz(path: Path) -> Content:
    packed.refuse_large_zip(path, packed.LARGEST_ARCHIVE)
    arrays = {name: np.asarray(content) for name, content in read_npz(path).items()}  # a member may be mere bytes
    parts = {part: _images_and_labels(arrays, part, path) for part in ("train", "test")}
    classes, reading = _class_numbers({part: labels for part, (_, labels) in parts.items()}, path)
    first = [images.shape[1:] == (3, 32, 32) for images, _ in parts.values()]
    splits = [
        Split(images.transpose(0, 2, 3, 1) if turned else images, classes[part])
        for (part, (images, _)), turned in zip(parts.items(), first, strict=True)
    ]
    order = "the channels of the images come first" if any(first) else "the channels of the images come last"
    return Content(splits[0], splits[1], (order, reading))


def _images_and_labels(arrays: dict, part: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    images = arrays.get(f"x_{part}")
    labels = arrays.get(f"class_{part}", arrays.get(f"y_{part}"))
    if images is None or labels is None or not _is_images(images) or labels.shape[:1] != images.shape[:1]:
        raise ValueError(
            f"{path} is not a CIFAR-10 .npz: it needs x_{part} (n, 32, 32, 3) or (n, 3, 32, 32) and class_{part} or "
            f"y_{part} (n,), but holds {sorted(arrays)}"
        )
    return images, labels


def _is_images(array: np.ndarray) -> bool:
    return array.dtype.kind in "uif" and array.shape[1:] in ((32, 32, 3), (3, 32, 32))


def _class_numbers(labels: dict, path: Path) -> tuple[dict, str]:
    """Class numbers of both splits, and what the labels were: class numbers, or -1 and +1 for horse and cat."""
    found = set(np.concatenate([np.ravel(one) for one in labels.values()]).tolist())
    if found == {-1, 1}:
        cat, horse = CLASSES.index("cat"), CLASSES.index("horse")
        signs = {part: np.where(np.ravel(one) > 0, cat, horse) for part, one in labels.items()}
        return signs, "labels +1 and -1 are taken for cat and horse"
    numbers = {part: class_numbers(one, f"{part} of {path}") for part, one in labels.items()}
    return numbers, "labels are class numbers from 0 to 9"
