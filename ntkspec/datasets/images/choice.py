"""From images with class numbers to a data set: classes, subsets, pooling, and what is said of it."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ntkspec import checks
from ntkspec.datasets.classes import asks_for_all, class_columns, meaning_of_columns
from ntkspec.datasets.dataset import Dataset, constant_features, standardized, subset
from ntkspec.engines.arrays import ArrayLike, DTypeLike


@dataclass(frozen=True)
class Split:
    """images (n, height, width, channels), classes (n,) whole numbers from 0 to 9."""

    images: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Images:
    """Training and test images as they stand in files. name : what they are; reading : how they were found."""

    train: Split
    test: Split
    name: str
    reading: list[str] = field(default_factory=list)
    meta: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """What is taken of them: some classes, or with None all as numbers; n and n_test random ones, averages over
    pool x pool pixels."""

    wanted: tuple[int, ...] | None
    n: int | None
    n_test: int | None
    pool: int
    seed: int

    def __post_init__(self):
        checks.whole_number(self.pool, "pool", 1)
        checks.whole_number(self.seed, "seed", 0)
        for name, least in (("n", 1), ("n_test", 0)):
            if getattr(self, name) is not None:
                checks.whole_number(getattr(self, name), name, least)


def image_dataset(
    source: Images, choice: Choice, names: Sequence[str], *, dtype: DTypeLike, center: bool, standardize: bool
) -> Dataset:
    """The images chosen as a data set; ``names`` are those of the ten classes, the rest goes to ``standardized``.

    meta["reading"] says how many images of which class are there, meta["labels"] what the labels mean, meta["shape"]
    (height, width, channels) after pooling. Where no classes are named and two are there, they are +1 and -1; more are
    regressed as numbers, with a warning.
    Raises ValueError for a class without training images, a pool that does not divide, too many images asked for.
    """
    there = np.unique(source.train.classes).tolist()
    if choice.wanted is None and len(there) == 2:  # as in any file of two classes, the larger number is +1
        choice = replace(choice, wanted=(there[1], there[0]))
    labels = _labels(there, choice.wanted, names)
    X, y, counts = _taken(source.train, choice, "n", names)
    X_test, y_test, test_counts = _taken(source.test, choice, "n_test", names)
    height, width, channels = source.train.images.shape[1:]
    shape = (height // choice.pool, width // choice.pool, channels)
    reading = [*source.reading, f"labels: {labels}", f"for training: {counts}; for testing: {test_counts}"]
    if choice.pool > 1:
        before, after = f"{height} x {width}", f"{shape[0]} x {shape[1]}"
        reading.append(f"averaged over {choice.pool} x {choice.pool} pixels, from {before} to {after}")
    constant = int(constant_features(X).sum())
    if constant:
        reading.append(f"{constant} of {X.shape[1]} pixels are constant over the training images and are kept")
    meta = {**source.meta, "classes": choice.wanted or "all", "pool": choice.pool, "shape": shape}
    meta |= {"labels": labels, "reading": reading}
    if choice.wanted is None:
        _warn_of_numbers(labels, names)
    return standardized(
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        name=source.name + _title(choice.wanted, names),
        meta=meta,
        dtype=dtype,
        center=center,
        standardize=standardize,
    )


def _title(wanted: tuple[int, ...] | None, names: Sequence[str]) -> str:
    """What follows the name of the images."""
    if wanted is None:
        return ""
    if len(wanted) == len(names):
        return f", {len(names)} classes"
    return " " + (" vs " if len(wanted) == 2 else ", ").join(names[one] for one in wanted)


def _labels(there: list[int], wanted: tuple[int, ...] | None, names: Sequence[str]) -> str:
    """What the labels mean, in words. Raises ValueError where a class has no images, or only one has any."""
    found = ", ".join(names[one] for one in there) or "none"
    if wanted is None:
        if len(there) < 2:
            raise ValueError(f"two classes at least are needed, but the training images are of these: {found}")
        return f"{'ten' if len(there) == 10 else len(there)} classes are regressed as the numbers 2 class/9 - 1"
    for one in wanted:
        if one not in there:
            raise ValueError(f"no training image is of class {names[one]}; the classes that are there: {found}")
    if len(wanted) > 2:
        return meaning_of_columns([names[one] for one in wanted])
    return f"+1 = {names[wanted[0]]}, -1 = {names[wanted[1]]}"


def _warn_of_numbers(labels: str, names: Sequence[str]) -> None:
    """Classes have no order; that they are taken for numbers is never left unsaid."""
    two = (names[4], names[9]) if names[0] == "0" else (names[3], names[7])
    advice = f"name two with classes={two} (--classes {' '.join(two)}) or take classes='all' (--classes all)"
    warnings.warn(f"{labels}; {advice}", UserWarning, stacklevel=4)


def _taken(split: Split, choice: Choice, what: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, str]:
    """(X, y, how many of which class) of one split."""
    rows, y = coded(split.classes, choice.wanted)
    rows, y = subset(rows, y, getattr(choice, what), what, [choice.seed, 1 if what == "n" else 2])
    numbers, counts = np.unique(split.classes[rows], return_counts=True)
    each = ", ".join(f"{count} of {names[one]}" for one, count in zip(numbers, counts, strict=True))
    return pooled(split.images[rows], choice.pool), y, f"{len(rows)} images" + (f" ({each})" if each else "")


def coded(classes: np.ndarray, wanted: tuple[int, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """(rows, y) of the wanted classes: two become +1 and -1 in that order, more a column each; where none are named,
    all of them numbers spread on [-1, 1]."""
    if wanted is None:
        return np.arange(len(classes)), 2.0 * classes / 9 - 1.0
    rows = np.flatnonzero(np.isin(classes, wanted))
    own = classes[rows][:, None] == np.array(wanted)
    return rows, np.where(own[:, 0], 1.0, -1.0) if len(wanted) == 2 else class_columns(own.argmax(axis=1), len(wanted))


def chosen_classes(classes: Iterable[int | str] | int | str | None, names: dict[str, int]) -> tuple[int, ...] | None:
    """Two different class numbers or more from numbers or names; "all" is every one, None stays None."""
    if classes is None:
        return None
    if asks_for_all(classes):
        return tuple(sorted(set(names.values())))
    given = list(classes) if isinstance(classes, Iterable) and not isinstance(classes, str) else [classes]
    numbers = []
    for one in given:
        key = str(one).lower()
        if key not in names:
            known = ", ".join(names)
            raise ValueError(f"class {one!r} is unknown; use two or more of {known}, separated by a space, or all")
        numbers.append(names[key])
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"classes={checks.shown(given)}, but two different classes or more are needed, such as {list(names)[:2]}"
        )
    return tuple(numbers)


def class_numbers(labels: ArrayLike, what: str) -> np.ndarray:
    """Labels (n,) or (n, 1) as whole numbers from 0 to 9; ValueError where they are anything else."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{what} has shape {labels.shape} and dtype {labels.dtype}, but whole numbers (n,) are needed")
    wrong = labels[(labels < 0) | (labels > 9)]
    if len(wrong):
        raise ValueError(f"{what} holds the label {wrong[0]}, but the ten classes have the numbers 0 to 9")
    return labels.astype(np.int64)


def pooled(images: np.ndarray, size: int) -> np.ndarray:
    """Average over size x size patches of images (n, height, width, channels), then one row for each image."""
    n, height, width, channels = images.shape
    if height % size or width % size:
        raise ValueError(f"pool={size} does not divide the {height} x {width} images")
    rows, columns = height // size, width // size
    patches = images.reshape(n, rows, size, columns, size, channels)
    return patches.mean(axis=(2, 4), dtype=np.float64).reshape(n, rows * columns * channels)
