"""MNIST from its official idx files."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ntkspec.datasets import public
from ntkspec.datasets.dataset import Dataset, pooled, signs, standardized, subset, two_classes

# Type code 8 is unsigned byte; 0x0803 has three dimensions, 0x0801 one.
MAGIC = {3: 0x0803, 1: 0x0801}


def mnist(classes=None, n=None, n_test=None, pool=1, data_dir=None, seed=0, dtype=np.float64) -> Dataset:
    """MNIST, centred and scaled so that the training mean of ‖x‖² is d = (28/pool)².

    classes : two digits, labelled +1 and -1 in that order; None keeps all ten, with y = 2 digit/9 - 1.
    n, n_test : random subsets drawn with ``seed``; None keeps all (60,000 and 10,000 before the choice of classes).
    pool : averages pool x pool patches. data_dir : the folder of the four idx files (or of a folder ``mnist`` that
    holds them), ``.gz`` or not; None reads NTKSPEC_DATA. Pixels that never change stay in as zero columns.
    Raises FileNotFoundError with the addresses and sha256 where files are absent, ValueError where one is damaged.
    """
    wanted = two_classes(classes, {str(digit): digit for digit in range(10)})
    folder = public.data_directory(data_dir, "mnist")
    train = _split(folder, "train", wanted, pool)
    test = _split(folder, "t10k", wanted, pool)
    meta = {"cite": public.registry("mnist")["cite"], "classes": wanted or "all", "pool": pool, "folder": str(folder)}
    meta["shape"] = (28 // pool, 28 // pool, 1)
    return standardized(
        subset(train[0], train[1], n, "n", [seed, 1]),
        subset(test[0], test[1], n_test, "n_test", [seed, 2]),
        name="MNIST" + (f" {wanted[0]} vs {wanted[1]}" if wanted else ""),
        meta=meta,
        dtype=dtype,
    )


def _split(folder: Path, part: str, wanted, pool: int):
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"), 3)
    digits = read_idx(_find(folder, f"{part}-labels-idx1-ubyte"), 1)
    if len(images) != len(digits):
        raise ValueError(f"{folder} holds {len(images)} {part} images but {len(digits)} labels; download both again")
    rows, y = signs(digits, wanted)
    return pooled(images[rows][..., None], pool), y


def _find(folder: Path, name: str) -> Path:
    for place in (folder, folder / "mnist", folder / "MNIST" / "raw"):
        for ending in (".gz", ""):
            if (place / (name + ending)).is_file():
                return place / (name + ending)
    raise FileNotFoundError(f"{folder} has no {name}[.gz]: {public.how_to_get('mnist')}")


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an idx file with that many dimensions; ValueError where the file is damaged."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged ({error}): {public.how_to_get('mnist')}") from None
    start = 4 + 4 * dimensions
    magic, *shape = np.frombuffer(content[:start].ljust(start, b"\0"), dtype=">u4").tolist()
    if magic != MAGIC[dimensions] or len(content) != start + math.prod(shape):
        raise ValueError(f"{path} is not a whole idx file of {dimensions} dimensions: {public.how_to_get('mnist')}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
