"""Which files a run has written, and which it could not: what may be said of it when it ends."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Files:
    """``names`` : what was written, also where it is gone again. ``behind`` : files whose last write failed."""

    names: list[Path] = field(default_factory=list)
    behind: set[Path] = field(default_factory=set)


_FILES: ContextVar[Files | None] = ContextVar("files", default=None)


@contextlib.contextmanager
def noted() -> Iterator[Files]:
    """What is written from here on."""
    files = Files()
    token = _FILES.set(files)
    try:
        yield files
    finally:
        _FILES.reset(token)


def note(path: Path) -> None:
    """Say that a file is about to take its name; whoever reads the names looks whether it is there."""
    files = _FILES.get()
    if files is not None:
        files.names.append(path)
        files.behind.discard(path)


def note_behind(path: Path) -> None:
    """Say that a file could not be written, and lacks what was computed, until it is written again."""
    files = _FILES.get()
    if files is not None:
        files.behind.add(path)
