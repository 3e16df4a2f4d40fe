"""Progress bars: one door to tqdm, silent on what takes less than a second or is watched by nobody."""

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

# A number in all that grows or shrinks by this factor is worth saying.
CHANGED = 1.25


class Bar(tqdm):
    """A bar whose lock is held over a fork, so that a child process never finds it taken by a thread that is gone."""

    total: float | None

    def expect(self, total: float) -> None:
        """Say how many there will be in all, as far as that is known now, and where that has changed; 0 where it is not
        known."""
        if not total:
            return
        before = self.total
        if before and max(total, before) > CHANGED * min(total, before):
            self.set_postfix_str(f"forecast changed from {before:.0f} to {total:.0f}", refresh=False)
        self.total = total


_lock = threading.RLock()
Bar.set_lock(_lock)
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


# Where the standard error of a Jupyter kernel comes from. Its bars are lines of text, which need no widgets.
_NOTEBOOK = "ipykernel.iostream"


class _Screen:
    """Standard error, or nothing: where it is closed, full or gone, what is drawn is lost, and never the work."""

    def __init__(self) -> None:
        self.stream = sys.stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def isatty(self) -> bool:
        """Whether anybody can watch: at a terminal, or in a notebook, whose stream calls itself none."""
        return type(self.stream).__module__ == _NOTEBOOK or self._tried("isatty") or False

    def write(self, text: str) -> int:
        """As of any stream."""
        return self._tried("write", text) or 0

    def flush(self) -> None:
        """As of any stream."""
        self._tried("flush")

    def _tried(self, name: str, *given: Any) -> Any:
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                return getattr(self.stream, name)(*given)


class _Lines(Bar):
    """A line of text in place of each drawing of the bar, for what reads standard error and is no terminal."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """What is done and how long the rest will take; nothing where the bar would be wiped away."""
        if msg is None:
            rate = self.n / max(self.format_dict["elapsed"], 1e-9)
            left = f", about {(self.total - self.n) / rate:.0f} s left" if self.total and self.n else ""
            of = f" of {self.total:.0f}" if self.total else ""
            changed = f"; {self.postfix}" if self.postfix else ""
            print(f"{_PREFIX.get()}{self.desc}: {self.n:.0f}{of}{left}{changed}", file=_Screen(), flush=True)

    def clear(self, *given: Any, **how: Any) -> None:
        """Lines stay."""


# What lines begin with, where a bar writes lines; None where it shows nothing without a terminal.
_PREFIX: ContextVar[str | None] = ContextVar("prefix", default=None)
# Seconds until the first line, and between two.
LINE_SECONDS = 10.0


@contextlib.contextmanager
def lines(prefix: str) -> Iterator[None]:
    """Where standard error is no terminal, bars write a line every ten seconds from here on."""
    token = _PREFIX.set(prefix)
    try:
        yield
    finally:
        _PREFIX.reset(token)


def bar(items: Iterable | None = None, *, total: float | None = None, text: str = "", initial: int = 0) -> Bar:
    """A tqdm bar over ``items``, or one to be updated by hand; silent where standard error cannot be written to, and
    where it is no terminal, except in :func:`lines`."""
    if _PREFIX.get() is not None and not _Screen().isatty():
        how: dict[str, Any] = {"delay": LINE_SECONDS, "mininterval": LINE_SECONDS, "maxinterval": 2 * LINE_SECONDS}
        return _Lines(
            items, total=total, desc=text, initial=initial, leave=False, miniters=1, file=io.StringIO(), **how
        )
    return Bar(items, total=total, desc=text, initial=initial, delay=1.0, leave=False, disable=None, file=_Screen())
