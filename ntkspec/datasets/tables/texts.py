"""The text of a file, however it is packed and encoded."""

import re
from pathlib import Path

from ntkspec.datasets import packed
from ntkspec.engines import engine_of

COPIES = 12  # of a text, while it becomes numbers
_MARKS = (  # the longer first: the mark of UTF-32 begins as that of UTF-16 does
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_MINUS = re.compile(r"(?<![\w.])\u2212(?=[\d.,])")
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")


def unpacked(path: Path) -> tuple[bytes, list[str]]:
    """The bytes of the file, out of gzip, bzip2 or xz, with a sentence on that.

    Raises ValueError where the packed bytes are damaged or end too early, and where memory is too small for a table of
    that size.
    """
    try:
        name = packed.packing(path)
        content = packed.unpacked(path, engine_of().free_memory() // COPIES)
    except ValueError as error:
        raise ValueError(f"it {str(error).removeprefix(f'{path} ')}") from None
    return content, [f"unpacked from {name}"] if name else []


def decoded(content: bytes) -> tuple[str, list[str]]:
    """Text with plain line ends, with a sentence on its encoding where that is not UTF-8.

    UTF-8 and, by their marks or their zero bytes, UTF-16 and UTF-32; what is none of them is read as Windows' Latin
    letters, which leaves every number as it is. Raises ValueError where the bytes are not text.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "") or _without_mark(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise ValueError(f"it begins as {encoding} text, but is not") from None
        encoding, text = "latin-1", _latin(content)
    if _NO_TEXT.search(text, 0, 1 << 16) or "\0" in text:
        raise ValueError("it is not a text file; save the table as .csv or .parquet")
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")
    text, changed = _MINUS.subn("-", text)
    said = [] if encoding.startswith("utf-8") else [f"encoding {encoding}"]
    return text, [*said, f"minus signs of typography read as -: {changed}"] if changed else said


def _without_mark(content: bytes) -> str:
    """UTF-16 without its mark has a zero beside every Latin letter or digit."""
    start = content[: 1 << 12]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        halves = start[first::2], start[1 - first :: 2]
        if len(start) > 3 and halves[0].count(0) > 0.8 * len(halves[0]) and not halves[1].count(0):
            return name
    return "utf-8"


def _latin(content: bytes) -> str:
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")
