"""One command from its words to its exit code: settings, warnings, errors, signals and the document."""

import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from cyclopts import CycloptsError
from cyclopts.exceptions import UnusedCliTokensError

import ntkspec
from ntkspec.cli import signals
from ntkspec.cli.commands import app
from ntkspec.cli.help import meant
from ntkspec.cli.results import COMMAND
from ntkspec.cli.settings import Settings, expanded
from ntkspec.cli.streams import Exit, one_line, spoken
from ntkspec.cli.telling import Telling, TellOptions, coloured, finished, refuse_contradictions, telling
from ntkspec.progress import lines, written

# How many words a command may have.
MOST_WORDS = 1000


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"ntkspec: {coloured('warning:', 'warning', sys.stderr)} {one_line(message)}", file=sys.stderr)


def _short(path: Path) -> str:
    try:
        return min(os.path.relpath(path), str(path), key=len)
    except OSError:  # the folder that the command was called in is gone
        return str(path)


def _kept(files: Sequence[Path]) -> str:
    """What is left of a run that was stopped."""
    names = [_short(path) for path in dict.fromkeys(files) if path.exists()]
    kept = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} kept, and the same command goes on"
    return kept if names else "nothing was written"


@spoken
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 after bad input, 130 after Ctrl-C. Never a bare traceback.

    SIGTERM and SIGHUP stop it as Ctrl-C does, with 143 and 129; the handlers from before come back at the end. In a
    thread that is not the main one signals are left alone.
    """
    settings, reason = Settings(list(sys.argv[1:] if arguments is None else arguments)), ""
    try:
        settings = expanded(app, settings.words)
    except (ValueError, OSError) as error:
        reason = one_line(error)
    COMMAND.set(shlex.join(["ntkspec", *settings.words]))
    with warnings.catch_warnings(), written.noted() as files, _telling(settings.words) as now, _progress(now.how):
        warnings.showwarning = _show_warning
        code, error = _refused(reason) if reason else _ended(settings, files, now.how)
        finished(now, code, error)
    return code


def _progress(how: TellOptions) -> contextlib.AbstractContextManager[None]:
    """Lines of progress where no terminal shows bars, unless little is asked for."""
    return contextlib.nullcontext() if how.quiet else lines("ntkspec: ")


def _telling(given: Sequence[str]) -> contextlib.AbstractContextManager[Telling]:
    command, *_ = app.parse_commands(given)
    return telling(command, given, ntkspec.__version__)


def _ended(settings: Settings, files: written.Files, how: TellOptions) -> tuple[int, str]:
    """Run the command; its exit code, and the error that ended it, which is printed."""
    given = settings.words
    try:
        refuse_contradictions(how)
        if len(given) > MOST_WORDS:
            raise ValueError(f"{len(given)} words came, but {MOST_WORDS} are read; take ranges such as 32:512:x1.5")
        outcome = signals.stoppable(app, given, exit_on_error=False, print_error=False, result_action="return_value")
        return int(Exit.NOT_STORED if files.behind else outcome or Exit.DONE), ""
    except CycloptsError as error:
        reason = _misread(error, settings)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        if os.environ.get("NTKSPEC_TRACEBACK"):
            raise
        reason = one_line(error)
    except KeyboardInterrupt as stop:
        reason = f"stopped; {one_line(_kept(files.names))}"
        print(f"ntkspec: {reason}", file=sys.stderr)
        return 128 + getattr(stop, "number", signals.ENDING[0]), reason
    return _refused(reason)


def _misread(error: CycloptsError, settings: Settings) -> str:
    """What is wrong with the words, and where it is told how they should be."""
    command = " ".join(["ntkspec", *(error.command_chain or ())])
    reason = meant(settings.words) or one_line(error)
    if isinstance(error, UnusedCliTokensError):
        words = " ".join(error.unused_tokens or ())
        reason = f"{command} takes options, such as --seed 1, and has no place for {words!r}."
    name = error.argument.name if error.argument else None
    return f"{settings.place(name)}{reason} See {command} --help."


def _refused(reason: str) -> tuple[int, str]:
    print(f"ntkspec: {coloured('error:', 'error', sys.stderr)} {reason}", file=sys.stderr)
    return int(Exit.REFUSED), reason
