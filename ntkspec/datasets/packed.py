"""Files that may be packed by gzip, bzip2 or xz, which is told by their first bytes, never by their ending."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
# Browsers unpack .gz and keep the ending.
_PACKINGS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
# Sixty thousand CIFAR-10 images in float64 are 1.5 GB.
LARGEST_ARCHIVE = 2_000_000_000


def packing(path: Path) -> str:
    """What a file is packed with: gzip, bzip2, xz, or "" where it is not."""
    with path.open("rb") as file:
        start = file.read(6)
    return next((name for mark, name in _PACKINGS.items() if start.startswith(mark)), "")


def opened(path: Path) -> BinaryIO:
    """The content of a file, packed or not."""
    readers: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return readers.get(packing(path), open)(path, "rb")


def unpacked(path: Path, limit: int) -> bytes:
    """The whole content of a file. Raises ValueError where it is damaged or has more than ``limit`` bytes."""
    try:
        with opened(path) as file:
            content = file.read(limit + 1)
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if len(content) > limit:
        raise ValueError(f"{path} holds more than {limit / 1e6:.0f} MB, which is more than such a file has")
    return content


def refuse_large_zip(path: Path, limit: int) -> None:
    """Refuse an .npz file that unpacks to more than ``limit`` bytes; what is no such file is left to its reader."""
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(member.file_size for member in file.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return
    if size > limit:
        raise ValueError(f"{path} unpacks to {size / 1e6:.0f} MB, but such a file has at most {limit / 1e6:.0f} MB")
