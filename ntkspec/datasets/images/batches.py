"""CIFAR-10's official batches, pickled or binary, in a folder or in the archive as it was downloaded."""

import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ntkspec.datasets import packed
from ntkspec.datasets.images import public
from ntkspec.datasets.images.choice import Split, class_numbers
from ntkspec.datasets.pickles import read_batch

PARTS = tuple(f"data_batch_{k}" for k in range(1, 6))
TEST = "test_batch"
BATCH = re.compile("(?:" + "|".join((*PARTS, TEST)) + r")(?:\.bin)?", re.IGNORECASE)
# A pickled batch is 31 MB, four times that in the oldest protocol; the archive unpacks to 186 MB.
LARGEST_BATCH, LARGEST_ARCHIVE = 160_000_000, 600_000_000
MEMBERS = 1000
RECORD = 1 + 3072


def read_batches(source: Path) -> tuple[Split, Split]:
    """Training and test images from the folder of the batches, or from the archive that holds them.

    Raises FileNotFoundError where a batch is missing, ValueError where one is damaged.
    """
    contents = _of_folder(source) if source.is_dir() else _of_archive(source)
    ending = "" if PARTS[0] in contents else ".bin"
    train = [_read(source, contents, name + ending) for name in PARTS]
    joined = Split(np.concatenate([one.images for one in train]), np.concatenate([one.classes for one in train]))
    return joined, _read(source, contents, TEST + ending)


def _read(source: Path, contents: Mapping[str, Callable[[], bytes]], name: str) -> Split:
    if name not in contents:
        raise FileNotFoundError(f"{source / name} is missing: {public.how_to_get('cifar10')}")
    try:
        rows, numbers = (_binary if name.endswith(".bin") else read_batch)(contents[name]())
        numbers = class_numbers(numbers, "labels")
        if len(numbers) == 0:
            raise ValueError("it holds no images")
    except ValueError as error:
        raise ValueError(f"{source / name} is not a CIFAR-10 batch ({error}): {public.how_to_get('cifar10')}") from None
    return Split(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), numbers)


def _binary(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label and 3072 values."""
    if len(content) % RECORD:
        raise ValueError(f"{len(content)} bytes are no whole number of records of {RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    return records[:, 1:], records[:, 0]


def _of_folder(folder: Path) -> dict[str, Callable[[], bytes]]:
    """What reads the content of each batch in a folder."""
    files = public.files_in([folder], BATCH)
    return {path.name.lower(): partial(packed.unpacked, path, LARGEST_BATCH) for path in files}


def _of_archive(path: Path) -> dict[str, Callable[[], bytes]]:
    """What reads the content of each batch in an archive, which is unpacked in memory; links are not followed."""
    content = packed.unpacked(path, LARGEST_ARCHIVE)
    contents: dict[str, Callable[[], bytes]] = {}
    try:
        for member in _members(content):
            name = member.name.rsplit("/", 1)[-1].lower()
            if BATCH.fullmatch(name):
                if not member.isreg() or name in contents:
                    raise ValueError(f"{name} is a link, or there twice")
                contents[name] = partial(_part, content, member.offset_data, member.size)
    except Exception as error:  # tarfile lets nearly anything through that a crafted head leads to
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} is not a readable archive ({reason}): {public.how_to_get('cifar10')}") from None
    return contents


def _part(content: bytes, start: int, size: int) -> bytes:
    return content[start : start + size]


def _members(content: bytes) -> Iterator[tarfile.TarInfo]:
    """The entries of an archive; a crafted one may go round in circles."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for member, _ in zip(tar, range(MEMBERS), strict=False):
            yield member
