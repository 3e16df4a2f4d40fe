"""Files in memory whose holes take none."""

import io
from collections import defaultdict
from collections.abc import Iterator
from typing import BinaryIO

_PAGE = 2**16


class Sparse(io.RawIOBase):
    """A binary file in memory. Only pages that something was written to are kept; all others are zeros."""

    def __init__(self) -> None:
        self._pages: defaultdict[int, bytearray] = defaultdict(lambda: bytearray(_PAGE))
        self._place, self._size = 0, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Make it longer, with zeros; a shorter one is as long as it was."""
        self._size = max(self._size, self._place if size is None else size)
        return self._size

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As of any file."""
        given = memoryview(buffer).cast("B")
        given = given[: max(0, self._size - self._place)]
        for page, own, theirs in self._runs(len(given)):
            known = self._pages.get(page)
            given[theirs] = bytes(len(given[theirs])) if known is None else known[own]
        self._place += len(given)
        return len(given)

    def write(self, buffer: bytes | memoryview) -> int:  # type: ignore[override]
        """As of any file."""
        given = memoryview(buffer).cast("B")
        for page, own, theirs in self._runs(len(given)):
            self._pages[page][own] = given[theirs]
        self._place += len(given)
        self._size = max(self._size, self._place)
        return len(given)

    def _runs(self, count: int) -> Iterator[tuple[int, slice, slice]]:
        """From here on the bytes of each page: its number, their place in it, and in what is read or written."""
        done = 0
        while done < count:
            page, start = divmod(self._place + done, _PAGE)
            length = min(count - done, _PAGE - start)
            yield page, slice(start, start + length), slice(done, done + length)
            done += length

    def copy_to(self, file: BinaryIO, size: int) -> None:
        """Write its first bytes to a file that is empty, which has holes where this one has them."""
        for page in sorted(self._pages):
            file.seek(page * _PAGE)
            file.write(memoryview(self._pages[page])[: max(0, size - page * _PAGE)])
        file.truncate(size)
