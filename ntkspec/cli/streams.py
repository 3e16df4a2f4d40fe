"""What a command says: text that arrives where it can, and never ends the work where it cannot."""

import codecs
import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

# What the line of an error may take, and a word of it.
LONGEST_LINE, LONGEST_WORD = 600, 200
# How signs of the reports are written on a terminal that has no such letters.
_IN_ASCII = {"‖": "||", "²": "^2", "±": "+-", "ᵀ": "^T", "η": "eta", "Θ": "Theta", "−": "-", "×": "x"}


class Exit(IntEnum):
    """How a command ended. A reader of its output that goes away (``| head``) changes nothing: the end is DONE."""

    DONE = 0
    DIFFERS = 1  # of rerun: a number is not what it was; of doctor: workers have another version
    REFUSED = 2  # bad input: nothing was done
    NOT_STORED = 3  # the work was done and its report printed, but its record, or a part of it, could not be written
    NOT_DRAWN = 4  # the record is there and its report printed, but not the figures: the same command draws them
    NOT_PRINTED = 5  # all files are there, but the report could not be printed


# The same for a user.
ENDS = (
    "Exit codes: 0 done; 1 rerun found other numbers, doctor other versions; 2 refused, nothing was done; 3 the "
    "report was printed, but its record or a part of it could not be written; 4 the record is there, but not the "
    "figures, which the same command draws; 5 all is there, but the report could not be printed; 130, 143 and 129 "
    "stopped."
)


def say(text: str) -> None:
    """A line of a command about itself, on standard error."""
    print(f"ntkspec: {text}", file=sys.stderr)


def one_line(error: BaseException | Warning | str) -> str:
    """The message on one line, cut where it or a word is long; that of the system with the file's name."""
    if isinstance(error, OSError) and error.strerror:
        error = f"cannot use {error.filename}: {error.strerror}" if error.filename else error.strerror
    words = (word if len(word) <= LONGEST_WORD else _cut(word, 40) for word in str(error).split())
    line = " ".join(words) or type(error).__name__
    return line if len(line) <= LONGEST_LINE else _cut(line, LONGEST_LINE // 2)


def _cut(text: str, ends: int) -> str:
    return f"{text[:ends]}...({len(text)} characters)...{text[-ends:]}"


def spoken(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """``main`` with standard streams that take whatever is said: text that fails costs the text alone.

    Signs that an encoding lacks are written in ASCII; a closed stream, a full disk and a reader that has gone end
    nothing. Where the output is lost on other grounds than a reader's leaving, the end is NOT_PRINTED.
    Warnings are lines also where Python was told to raise them (``-W error``).
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        _fill_closed()
        with open(os.devnull, "w", encoding="utf-8") as nowhere, warnings.catch_warnings():
            out, err = _Stream(sys.stdout or nowhere), _Stream(sys.stderr or nowhere)
            if any(action == "error" for action, *_ in warnings.filters):
                warnings.simplefilter("default")
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(arguments)
                out.flush()
                if out.failure is not None and not isinstance(out.failure, BrokenPipeError):
                    say(f"the output was not printed: {one_line(out.failure)}")
                    code = code or Exit.NOT_PRINTED
                err.flush()
        return int(code)

    return run


class _Stream:
    """A text stream whose first failure is kept, and which is silent from then on, to the end of the process."""

    def __init__(self, stream: Any):
        self.stream = stream
        self.failure: OSError | None = None
        if hasattr(self.stream, "reconfigure"):
            self.stream.reconfigure(errors=_ASCII)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the text, and return its length whether or not it arrived."""
        return self._kept(self.stream.write, text) or len(text)

    def flush(self) -> None:
        """Flush the stream, or nothing once it has failed."""
        self._kept(self.stream.flush)

    def _kept(self, act: Callable, *given: str) -> int | None:
        try:
            return act(*given)
        except OSError as error:
            if self.failure is None:
                self.failure = error
                self._silence()
            return None

    def _silence(self) -> None:
        """What is left in its buffer goes nowhere: Python would complain of it at the end."""
        with contextlib.suppress(OSError):  # a stream that is no file
            place = os.open(os.devnull, os.O_WRONLY)
            os.dup2(place, self.stream.fileno())
            os.close(place)


def _fill_closed() -> None:
    """A file would take the number of a standard stream that is closed, and be written to by what speaks there."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """The handler of letters that an encoding lacks."""
    if isinstance(error, UnicodeEncodeError) and (sign := error.object[error.start]) in _IN_ASCII:
        return _IN_ASCII[sign], error.start + 1
    return codecs.backslashreplace_errors(error)


_ASCII = "ntkspec.ascii"
codecs.register_error(_ASCII, _in_ascii)
