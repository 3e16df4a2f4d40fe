"""Files that may be packed by gzip, bzip2 or xz, which is told by their first bytes, never by their ending."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

_DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
# Browsers unpack .gz and keep the ending.
_PACKINGS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_READERS: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
# Sixty thousand CIFAR-10 images in float64 are 1.5 GB.
LARGEST_ARCHIVE = 2_000_000_000
# Tables of numbers unpack to 2 to 20 times their size; what unpacks to more than a hundred times is small, or a bomb.
MOST_TIMES, ANY_TIMES = 100, 64_000_000
_CHUNK = 1 << 20


def packing(path: Path) -> str:
    """What a file is packed with: gzip, bzip2, xz, or "" where it is not."""
    with _regular(path) as file:
        return _packing(file)


def head(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of the content of a file, fewer where it has fewer. Raises as :func:`unpacked` does."""
    content = b""
    for part in _parts(path, min(count, _CHUNK)):
        content += part
        if len(content) >= count:
            break
    return content[:count]


def unpacked(path: Path, limit: int) -> bytes:
    """The whole content of a file, which is read no further than a limit.

    Raises ValueError where it has more than ``limit`` bytes or is packed so well that nobody meant it, where it is
    damaged or changes while it is read, and for what is no regular file and could be read for ever.
    """
    size, content = path.stat().st_size, io.BytesIO()
    _require_size(path, size, size, limit)
    for part in _parts(path):
        content.write(part)
        _require_size(path, size, content.tell(), limit)
    return content.getvalue()


def _parts(path: Path, size: int = _CHUNK) -> Iterator[bytes]:
    """The content of a file in parts of so many bytes."""
    with _regular(path) as file:
        before, name = _state(file), ""
        try:
            name = _packing(file)
            with _READERS[name](file) if name else contextlib.nullcontext(file) as content:
                while part := content.read(size):
                    yield part
        except _DAMAGE as error:
            _require_same(before, _state(file), path)
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} is damaged: it is not a readable {name or 'plain'} file ({reason})") from None
        _require_same(before, _state(file), path)


def refuse_large_zip(path: Path, limit: int) -> None:
    """Refuse an .npz file that unpacks to more than ``limit`` bytes; what is no such file is left to its reader."""
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(member.file_size for member in file.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return
    if size > limit:
        raise ValueError(f"{path} unpacks to {size / 1e6:.0f} MB, but such a file has at most {limit / 1e6:.0f} MB")


def _require_size(path: Path, packed: int, content: int, limit: int) -> None:
    if content > limit:
        raise ValueError(f"{path} ({_megabytes(packed)}) holds more than {_megabytes(limit)}, which is the most here")
    if content > max(ANY_TIMES, MOST_TIMES * packed):
        raise ValueError(
            f"{path} ({_megabytes(packed)}) unpacks to more than {_megabytes(content)}, over {MOST_TIMES} times its "
            f"size; unpack it first if that is meant"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"


@contextlib.contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """The open file; a pipe without a writer does not hold the opening up."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path} is not a regular file; save what it gives in one")
        yield file


def _packing(file: BinaryIO) -> str:
    start = file.read(6)
    file.seek(0)
    return next((name for mark, name in _PACKINGS.items() if start.startswith(mark)), "")


def _state(file: BinaryIO) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _require_same(before: tuple[int, int], after: tuple[int, int], path: Path) -> None:
    if before != after:
        raise ValueError(f"{path} changed while it was read; wait until it is written")
