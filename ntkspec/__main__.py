"""The program ``ntkspec``: a signal ends it without a traceback, from its first moment to its last."""

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence

from ntkspec.cli import signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command in a process of its own; returns the exit code of :func:`ntkspec.cli.program.main`.

    There a signal ends what runs; here it ends the loading of libraries before and the exit of Python after that.
    """
    code = 1  # of a traceback
    signals.install(_start)
    atexit.register(lambda: _leave(code))  # the first one: it is called after those of all libraries
    from ntkspec import cli

    code = cli.main(arguments)
    signals.install(lambda number, frame: os._exit(code))
    return code


def _start(number: int, frame) -> None:
    if not signals.begun:  # and afterwards it is too late: the command says how it ended
        os.write(2, b"ntkspec: stopped; nothing was written\n")
        os._exit(128 + number)


def _leave(code: int) -> None:
    """End the process here: Python would take libraries apart for half a second, and hear of no signal meanwhile.

    Where what was printed does not arrive, Python ends it in its own way, which says so.
    """
    with contextlib.suppress(OSError, ValueError):
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
