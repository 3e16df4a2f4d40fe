"""Seals: a block of text at the front of an HDF5 file that holds a digest of all that follows."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

USER_BLOCK = 512  # bytes that HDF5 leaves to us at the front: the smallest that its format admits
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEAL = re.compile(
    rb"ntkspec seal 1: (\d{1,19}) bytes(?:, except ((?:\d{1,19}\+\d{1,19},?)+))?, blake2b [0-9a-f]{64}\n *"
)
_CHUNK = 2**20


def seal(path: str | Path, except_for: Sequence[tuple[int, int]] = ()) -> None:
    """Write the seal of a file into its first 512 bytes, which its content leaves free.

    except_for : (offset, length) of the ranges, in bytes from the start of the file, which the digest passes over;
    ascending, apart from one another and behind the block. Cost: one pass over the file, in constant memory.
    """
    with open(path, "r+b") as file:
        block = _block(file, list(except_for))
        file.seek(0)
        file.write(block)


def check_seal(path: str | Path) -> bool:
    """Whether an HDF5 file is sealed, and as it was when it was; False for one of an older version, without a seal.

    Raises ValueError for a file that is damaged: any bit that changed, in the seal too, and any byte more or less.
    Cost: one pass over what the seal covers, in constant memory.
    """
    with open(path, "rb") as file:
        found = file.read(USER_BLOCK)
        if found.startswith(_SIGNATURE):
            return False
        match = _SEAL.fullmatch(found)
        if match is None:
            begins = "it begins with neither a checksum nor the signature of HDF5"
            raise ValueError(f"{path} is damaged: {begins}; pass a file that ntkspec wrote")
        if not _holds(file, found, _ranges(match)):
            raise ValueError(f"{path} is damaged: its content does not match its checksum")
    return True


def _ranges(match: re.Match) -> list[tuple[int, int]]:
    texts = (match[2] or b"").split(b",")
    return [(int(offset), int(length)) for offset, _, length in (text.partition(b"+") for text in texts if text)]


def _holds(file: BinaryIO, block: bytes, ranges: list[tuple[int, int]]) -> bool:
    try:
        return block == _block(file, ranges)
    except ValueError:  # ranges beyond the end: the file was cut, or the seal is damaged
        return False


def _block(file: BinaryIO, ranges: list[tuple[int, int]]) -> bytes:
    """The whole user block; the digest covers its own first words too."""
    size = os.fstat(file.fileno()).st_size
    excepted = ",".join(f"{offset}+{length}" for offset, length in ranges)
    text = f"ntkspec seal 1: {size} bytes{', except ' if ranges else ''}{excepted}, blake2b "
    digest = hashlib.blake2b(text.encode(), digest_size=32)
    for start, stop in _covered(ranges, size):
        _update(digest, file, start, stop)
    block = f"{text}{digest.hexdigest()}\n".encode()
    if len(block) > USER_BLOCK:
        raise ValueError(f"a seal has room for about 10 ranges, not for {len(ranges)}")
    return block.ljust(USER_BLOCK)


def _covered(ranges: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of what lies between the ranges."""
    start = USER_BLOCK
    for offset, length in [*ranges, (size, 0)]:
        if not start <= offset <= offset + length <= size:
            raise ValueError(f"the range {offset}+{length} is not within the bytes from {start} to {size}")
        yield start, offset
        start = offset + length


def _update(digest: hashlib.blake2b, file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    while start < stop:
        chunk = file.read(min(_CHUNK, stop - start))
        if not chunk:
            raise ValueError("the file was cut while it was read")
        digest.update(chunk)
        start += len(chunk)
