"""Progress bars: one door to tqdm, silent on what takes less than a second or is not watched by a terminal."""

import os
import threading

from tqdm import tqdm


class _Bar(tqdm):
    """A bar whose lock is held over a fork, so that a child process never finds it taken by a thread that is gone."""


_lock = threading.RLock()
_Bar.set_lock(_lock)
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def bar(items=None, *, total=None, text: str = "", initial: int = 0):
    """A tqdm bar over ``items``, or one to be updated by hand."""
    return _Bar(items, total=total, desc=text, initial=initial, delay=1.0, leave=False, disable=None)
