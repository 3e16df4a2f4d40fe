"""Which files a run has written: what may be said of it when it ends early."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

_FILES: ContextVar[list[Path] | None] = ContextVar("files", default=None)


@contextlib.contextmanager
def noted() -> Iterator[list[Path]]:
    """The list of the files that are written from here on, also of those that are gone again."""
    files: list[Path] = []
    token = _FILES.set(files)
    try:
        yield files
    finally:
        _FILES.reset(token)


def note(path: Path) -> None:
    """Say that a file is about to take its name; whoever reads the list looks whether it is there."""
    files = _FILES.get()
    if files is not None:
        files.append(path)
