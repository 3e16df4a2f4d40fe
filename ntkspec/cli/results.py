"""What a command leaves in its folder: a record first, figures of that record last."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntkspec.cli.streams import Exit, one_line, say

# The line that was called, for provenance.
COMMAND: ContextVar[str] = ContextVar("command")


@contextlib.contextmanager
def held(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """The folder, made where it is missing, while this process alone writes files of these names into it.

    Raises at once, OSError or ValueError, where one of them cannot be written or another process has the first one.
    Folders that were made and stay empty are removed.
    """
    from ntkspec import storage

    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        _make(folder)
        for name in names:
            storage.target(folder / name)
        with storage.locked(folder / names[0]):
            yield
    finally:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write to the output folder {folder}: {error.strerror or error}") from None


@dataclass(frozen=True)
class Record:
    """The file of one experiment, NAME.h5 in its folder, and beside it its figures and its page, NAME.html.

    kind, types : of the file, for :func:`ntkspec.storage.read`; figures : NAME.png and NAME.pdf without the ending.
    """

    folder: Path
    name: str
    kind: str
    types: tuple[type, ...]
    figures: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where the record lies."""
        return self.folder / f"{self.name}.h5"

    @property
    def page(self) -> Path:
        """Where its page lies."""
        return self.path.with_suffix(".html")

    @property
    def drawings(self) -> list[Path]:
        """Where its figures lie, the page last."""
        figures = (self.folder / f"{figure}.{kind}" for figure in self.figures for kind in ("png", "pdf"))
        return [*figures, self.page]

    def undrawn(self, fingerprint: str) -> dict[str, Any] | None:
        """What the file holds, where it is just that and its figures are not all there; otherwise None.

        Raises ValueError for an HDF5 file of that name that is no such record: it would be replaced.
        """
        from ntkspec import storage

        if not self.path.exists():
            return None
        try:
            found = storage.read(self.path, kind=self.kind, types=self.types)
            with storage.blamed_on(self.path):
                same = found["provenance"].get("fingerprint") == fingerprint and found[self.name] is not None
                return found if same and not all(path.exists() for path in self.drawings) else None
        except storage.OtherKind as error:
            raise ValueError(f"{error}, and would be replaced by one; move it, or choose another --output") from None
        except (ValueError, OSError) as error:
            say(f"{one_line(error)}; it is measured anew")
            return None

    def store(self, content: dict) -> str:
        """Write the file, after figures of an older one are removed; why it could not be, or nothing."""
        from ntkspec import storage

        try:
            for path in self.drawings:
                storage.target(path).unlink(missing_ok=True)  # where it is a link, what it names
            storage.write(self.path, content, kind=self.kind)
        except Exception as error:  # of the disk, and of HDF5 on a disk that is full
            return _reason(error)
        return ""


def drawn(draw: Callable[[], list[Path]], record: Path) -> list[Path] | None:
    """The files that ``draw`` makes of a record with matplotlib's own settings.

    None where that fails, after a line that says why: fonts, disks and installations fail in all ways, and the record
    is there.
    """
    from ntkspec.plotting.settings import delivered

    try:
        with delivered():
            return draw()
    except Exception as error:
        reason = _reason(error)
    kept = f"; the record {record} is kept, and the same command draws them" if record.exists() else ""
    say(f"the figures were not drawn: {reason}{kept}")
    return None


def ended(figures: list[Path] | None, record: Path) -> Exit:
    """How a command ended that drew these figures, or none, of that record."""
    if not record.exists():
        return Exit.NOT_STORED
    return Exit.NOT_DRAWN if figures is None else Exit.DONE


def _reason(error: Exception) -> str:
    """On one line; whoever looks for a fault sees where it came from.

    A library that stumbles over what a full disk left half done (Matplotlib's PDF writer) names the stumbling alone;
    the error of the system before it is told as well.
    """
    if os.environ.get("NTKSPEC_TRACEBACK"):
        raise error
    before = error.__context__
    while before is not None and not isinstance(before, OSError):
        before = before.__context__
    return one_line(error) + (f" (after: {one_line(before)})" if before else "")
