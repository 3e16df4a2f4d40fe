"""Files that may be packed: gzip is told by its first bytes, not by its ending; no more than a limit is unpacked."""

import gzip
import zipfile
import zlib
from io import BufferedReader
from pathlib import Path

DAMAGE = (OSError, EOFError, zlib.error)
# Sixty thousand CIFAR-10 images in float64 are 1.5 GB.
LARGEST_ARCHIVE = 2_000_000_000


def opened(path: Path) -> gzip.GzipFile | BufferedReader:
    """The content of a file, whether it is packed with gzip or not."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


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
