"""CIFAR-10 from its official python batches, or from an .npz of a part of it."""

import pickle
from pathlib import Path

import numpy as np

from ntkspec.datasets import public
from ntkspec.datasets.dataset import Dataset, pooled, signs, standardized, subset, two_classes
from ntkspec.datasets.npz import read_npz

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NUMBERS = {**{name: k for k, name in enumerate(CLASSES)}, **{str(k): k for k in range(10)}}


def cifar10(classes=None, n=None, n_test=None, pool=1, data_dir=None, seed=0, dtype=np.float64) -> Dataset:
    """CIFAR-10, centred and scaled so that the training mean of ‖x‖² is d = 3 (32/pool)².

    classes : two names or numbers, labelled +1 and -1 in that order; None keeps all ten, with y = 2 class/9 - 1.
    n, n_test : random subsets drawn with ``seed``; None keeps all. pool : averages pool x pool patches (paper: 4).
    data_dir : the folder of ``cifar-10-batches-py`` (or that folder itself), or of files ``cifar10*.npz`` with x_train
    (n, 32, 32, 3) uint8, class_train (or y_train: +1 cat, -1 horse), x_test and class_test; None reads NTKSPEC_DATA.
    The official batches go first, then the .npz with the most training images of the classes; ``name`` says which.
    Raises FileNotFoundError with the address and sha256 where files are absent, ValueError where one is damaged.
    """
    wanted = two_classes(classes, _NUMBERS)
    folder = public.data_directory(data_dir, "cifar10")
    splits, source = _read(folder, wanted)
    train, test = (_chosen(images, numbers, wanted, pool) for images, numbers in splits)
    title = f" {CLASSES[wanted[0]]} vs {CLASSES[wanted[1]]}" if wanted else ""
    meta = {"cite": public.registry("cifar10")["cite"], "classes": wanted or "all", "pool": pool, "source": source}
    meta["shape"] = (32 // pool, 32 // pool, 3)
    return standardized(
        subset(train[0], train[1], n, "n", [seed, 1]),
        subset(test[0], test[1], n_test, "n_test", [seed, 2]),
        name=source + title,
        meta=meta,
        dtype=dtype,
    )


def _chosen(images, numbers, wanted, pool):
    rows, y = signs(numbers, wanted)
    return pooled(images[rows], pool), y


def _read(folder: Path, wanted):
    """((train images, classes), (test images, classes)) and the name of what was read."""
    for batches in (folder, folder / "cifar-10-batches-py"):
        if (batches / "data_batch_1").is_file():
            return _read_batches(batches), "CIFAR-10"
    candidates = [(_read_npz(path), path) for path in sorted(folder.glob("cifar10*.npz"))]
    holding = [
        (int(np.isin(splits[0][1], wanted).sum()) if wanted else len(splits[0][1]), splits, path)
        for splits, path in candidates
        if wanted is None or set(wanted) <= set(np.unique(splits[0][1]).tolist())
    ]
    if not holding:
        found = f"{len(candidates)} cifar10*.npz without these classes" if candidates else "no cifar10*.npz"
        raise FileNotFoundError(f"{folder} has no cifar-10-batches-py and {found}: {public.how_to_get('cifar10')}")
    _, splits, path = max(holding, key=lambda entry: entry[0])
    known = public.registry("cifar10")["known_npz"]
    return splits, known.get(public.sha256(path), f"CIFAR-10 from {path.name}")


# ------------------------------------------------------------------------------------------------- official batches
def _reconstruct(kind, shape, typecode):
    """What numpy's pickles call to make an empty array before its state is set; plain arrays only."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"an array of {kind!r} is not part of a CIFAR-10 batch")
    return np.ndarray.__new__(np.ndarray, (0,), np.uint8)


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _BatchUnpickler(pickle.Unpickler):
    """Admits the three names that a CIFAR-10 batch holds, so that a crafted file cannot run code."""

    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a CIFAR-10 batch")
        return _ADMITTED[module, name]


def _read_batches(folder: Path):
    train = [_read_batch(folder / f"data_batch_{k}") for k in range(1, 6)]
    images, numbers = zip(*train, strict=True)
    return (np.concatenate(images), np.concatenate(numbers)), _read_batch(folder / "test_batch")


def _read_batch(path: Path):
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {public.how_to_get('cifar10')}")
    try:
        with path.open("rb") as file:
            batch = _BatchUnpickler(file, encoding="bytes").load()
        images, numbers = batch[b"data"], np.asarray(batch[b"labels"])
        if images.dtype != np.uint8 or images.shape != (len(numbers), 3072):
            raise ValueError(f"images of shape {images.shape} and dtype {images.dtype}")
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path} is not a CIFAR-10 batch ({error}): {public.how_to_get('cifar10')}") from None
    return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), numbers


# --------------------------------------------------------------------------------------------------------------- npz
def _read_npz(path: Path):
    arrays = read_npz(path)
    splits = []
    for part in ("train", "test"):
        images, numbers = arrays.get(f"x_{part}"), _class_numbers(arrays, part)
        if images is None or numbers is None or images.ndim != 4 or images.shape != (len(numbers), 32, 32, 3):
            raise ValueError(
                f"{path} is not a CIFAR-10 .npz: it needs x_{part} (n, 32, 32, 3) and class_{part} or y_{part} (n,), "
                f"but holds {sorted(arrays)}"
            )
        splits.append((images, numbers))
    return tuple(splits)


def _class_numbers(arrays: dict, part: str):
    if f"class_{part}" in arrays:
        return arrays[f"class_{part}"]
    y = arrays.get(f"y_{part}")
    return None if y is None else np.where(y > 0, CLASSES.index("cat"), CLASSES.index("horse"))
