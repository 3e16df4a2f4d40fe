"""Progress bars: one door to tqdm, silent on what takes less than a second or is watched by nobody."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


class Bar(tqdm):
    """A bar whose lock is held over a fork, so that a child process never finds it taken by a thread that is gone."""

    def expect(self, total: float) -> None:
        """Say how many there will be in all, as far as that is known now; 0 where it is not."""
        if total:
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


def bar(items: Iterable | None = None, *, total: float | None = None, text: str = "", initial: int = 0) -> Bar:
    """A tqdm bar over ``items``, or one to be updated by hand; silent where standard error cannot be written to."""
    return Bar(items, total=total, desc=text, initial=initial, delay=1.0, leave=False, disable=None, file=_Screen())
