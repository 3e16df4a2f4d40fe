"""What a command tells: text for people, short, whole or hardly any, or one JSON document for programs."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from cyclopts import Parameter

from ntkspec.cli.streams import say


@Parameter(name="*")
@dataclass(frozen=True)
class TellOptions:
    """How much is printed. Commands have these options for their help; :func:`telling` reads them from the words."""

    verbose: bool = False
    "print everything that was measured"
    quiet: bool = False
    "print the answer alone, and no progress"
    json: bool = False
    "print one JSON document on standard output, and all else on standard error"
    config: Path | None = None
    "a TOML file of options, such as n = 2000; those of the command come first (default: none)"


@dataclass
class Telling:
    """How a command tells, and what it has told so far, for the document."""

    how: TellOptions = field(default_factory=TellOptions)
    document: dict[str, Any] = field(default_factory=dict)


_TELLING: ContextVar[Telling] = ContextVar("telling")


def told() -> Telling:
    """That of the command which runs."""
    found = _TELLING.get(None)
    if found is None:
        found = Telling()
        _TELLING.set(found)
    return found


@contextmanager
def telling(command: Sequence[str], words: Sequence[str], version: str) -> Iterator[Telling]:
    """While a command runs with these words; its document is begun with what it is."""
    how = TellOptions(verbose="--verbose" in words, quiet="--quiet" in words, json="--json" in words)
    found = Telling(how, {"command": " ".join(command), "arguments": list(words), "version": version})
    token = _TELLING.set(found)
    try:
        yield found
    finally:
        _TELLING.reset(token)


def refuse_contradictions(how: TellOptions) -> None:
    """Raises ValueError where more than one way was asked for."""
    given = [f"--{name}" for name, value in asdict(how).items() if value]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other; pass one of them")


def tell(short: str, *, answer: str = "", whole: str = "", **document: Any) -> None:
    """Print a text: ``answer`` alone where little is asked for, ``whole`` where all is, or put the fields into the
    document."""
    now = told()
    now.document.update(document)
    if now.how.json:
        return
    text = answer if now.how.quiet else whole if now.how.verbose and whole else short
    if text:
        print(text, flush=True)


def progress(text: str) -> None:
    """Say what comes next, unless little is asked for."""
    if not told().how.quiet:
        say(text)


def stage(text: str) -> None:
    """Say which stage begins, or the forecast of all."""
    progress(text if text.startswith("forecast: ") else f"{text} ...")


def tell_files(text: str, folder: Path, names: Iterable[str]) -> None:
    """Say where the results are."""
    now = told()
    now.document.setdefault("files", []).extend(str(folder / name) for name in names)
    if text and not (now.how.json or now.how.quiet):
        print(text, flush=True)


def finished(now: Telling, code: int, error: str = "") -> None:
    """Print the document, where one was asked for."""
    if now.how.json:
        ended = {"exit_code": code} | ({"error": error} if error else {})
        print(json.dumps(now.document | ended, allow_nan=False, ensure_ascii=False, indent=1), flush=True)


# ------------------------------------------------------------------------------------------------------------- colour
_CODES = {"answer": "1", "error": "31", "warning": "33"}


def coloured(text: str, what: str, stream: TextIO | None = None) -> str:
    """The text in the colour of an answer, an error or a warning, on a terminal that shows it and wants it."""
    stream = sys.stdout if stream is None else stream
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{_CODES[what]}m{text}\x1b[0m" if text and wanted and stream.isatty() else text
