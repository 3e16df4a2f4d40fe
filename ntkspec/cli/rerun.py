"""The command rerun: a stored run once more, and its numbers beside the stored ones."""

import contextlib
import io
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ntkspec.cli.streams import Exit, say
from ntkspec.cli.telling import tell

_LEFT_OUT = {"--output": 1, "--json": 0, "--quiet": 0, "--verbose": 0}


def rerun(file: Path, *, run: Callable[[Sequence[str]], int]) -> int:
    """Repeat the command of a stored run, and compare each number; DIFFERS where one does not agree."""
    from ntkspec.experiments.repeating import pairs

    kind, before = _read(file)
    name = {"analyze": "analysis"}.get(kind, kind)  # of the record, in its file NAME.h5
    words = _words(file, before.get("provenance", {}).get("command", ""))
    say(f"repeating: {shlex.join(['ntkspec', *words])}")
    with TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            code = run([*words, "--output", folder])
        again = Path(folder) / f"{name}.h5"
        if not again.exists():
            return code or Exit.NOT_STORED
        _, now = _read(again)
    same_data = bool((before["inputs"]["X"].shape == now["inputs"]["X"].shape)
                     and (before["inputs"]["X"] == now["inputs"]["X"]).all())  # fmt: skip
    found = pairs(before[name], now[name], str(now["inputs"]["X"].dtype))
    apart = [pair for pair in found if not pair.agree]
    lines = [f"{'':<40}{'stored':>14}{'now':>14}"]
    lines += [f"{pair.name:<40}{pair.before[0]:>14.6g}{pair.now[0]:>14.6g}  {'agree' if pair.agree else 'DIFFER'}"
              for pair in found]  # fmt: skip
    answer = f"{len(found) - len(apart)} of {len(found)} numbers agree within their intervals"
    answer += "." if same_data else "; the points are not those of the stored run."
    numbers = [{"name": pair.name, "stored": pair.before[0], "now": pair.now[0], "agree": pair.agree} for pair in found]
    tell("\n".join([*lines, answer]), answer=answer, numbers=numbers, same_points=same_data)
    return Exit.DIFFERS if apart else Exit.DONE


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    """The kind of a record and what it holds. Raises ValueError for a file of another kind."""
    from ntkspec import storage
    from ntkspec.experiments.records import TYPES

    try:
        return "analyze", storage.read(file, kind="analyze", types=TYPES["analyze"])
    except storage.OtherKind as error:
        if error.found != "spectrum":
            raise ValueError(f"{error}; rerun repeats what analyze and spectrum wrote") from None
        return "spectrum", storage.read(file, kind="spectrum", types=TYPES["spectrum"])


def _words(file: Path, command: str) -> list[str]:
    """The words of a stored command without where and how it told its results."""
    program, *words = shlex.split(command) or [""]
    if program != "ntkspec" or not words:
        raise ValueError(f"{file} does not say by which command it was made, so it cannot be repeated")
    kept, left = [], iter(words)
    for word in left:
        skipped = _LEFT_OUT.get(word)
        if skipped is None and not word.startswith("--output="):
            kept.append(word)
        elif skipped:
            next(left, None)
    return kept
