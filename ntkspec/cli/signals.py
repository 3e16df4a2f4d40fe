"""Signals that ask a run to end: SIGTERM and SIGHUP do what Ctrl-C does."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")
ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
# Seconds in which signals are one wish: terminals, `timeout` and service managers send theirs twice.
TOGETHER = 1.0
# Whether a run has begun in this process: before that, nothing can have been written.
begun = False


class Stopped(KeyboardInterrupt):
    """What a signal raises in the main thread; ``number`` is the signal's."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def install(handler: Callable) -> dict:
    """Give a handler the signals of ENDING, but for those that are ignored, as SIGHUP is under nohup.

    Returns {signal: handler} of what it replaced: nothing in a thread that is not the main one, which has no signals.
    """
    known = {number: signal.getsignal(number) for number in ENDING}
    before = {number: former for number, former in known.items() if former not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handler)
    except ValueError:
        return {}
    return before


def stoppable(function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """function(*arguments, **options), which a signal of ENDING ends: it raises :class:`Stopped` from this call.

    So does any exception that comes after a signal, as libraries make others of it. What cleans up has TOGETHER
    seconds without another signal; a later one raises again. The handlers from before come back at the end.
    """
    global begun
    handler = _Raising()
    before = install(handler)
    begun, sys.unraisablehook = True, handler.dropped
    try:
        return handler.call(function, *arguments, **options)
    finally:
        sys.unraisablehook = handler.hook
        for number, former in before.items():
            signal.signal(number, former)


class _Raising:
    """A handler that raises while its function runs, and else remembers."""

    def __init__(self):
        self.number: int | None = None
        self.last, self.listening, self.hook = -TOGETHER, False, sys.unraisablehook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.number, now = number, time.monotonic()
        if self.listening and now - self.last >= TOGETHER:
            self.last = now
            raise Stopped(number)

    def call(self, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """The function's result; listens meanwhile."""
        try:
            self.listening = True
            if self.number is not None:  # it came before there was something to stop
                raise Stopped(self.number)
            return function(*arguments, **options)
        except Exception as error:
            if self.number is None:
                raise
            raise Stopped(self.number) from error
        finally:
            self.listening = False

    def dropped(self, unraisable: Any) -> None:
        """Raise again, in a moment, what was raised in a destructor or a callback, where Python only reports it."""
        if isinstance(unraisable.exc_value, Stopped):
            self.last = -TOGETHER
            threading.Timer(0.01, signal.pthread_kill, [threading.main_thread().ident, self.number]).start()
        else:
            self.hook(unraisable)
