"""The command rerun: a stored run once more, and its numbers beside the stored ones."""

import contextlib
import io
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ntkspec.cli.streams import Exit, say
from ntkspec.cli.telling import stage, tell

if TYPE_CHECKING:
    from ntkspec.experiments.repeating import Pair

_LEFT_OUT = {"--output": 1, "-o": 1, "--json": 0, "--quiet": 0, "--verbose": 0}
# So many numbers are shown; of more, those that differ.
ROWS = 30


@dataclass(frozen=True)
class Again:
    """What a second run found: numbers beside the stored ones, and whether the points are the same, where they could be
    others (None: they are drawn from the setting)."""

    pairs: "list[Pair]"
    same_points: bool | None = None


def rerun(file: Path, *, run: Callable[[Sequence[str]], int]) -> int:
    """Repeat a stored run, and compare each number; DIFFERS where one does not agree.

    run : a command of this program, which analyses, spectra and series are repeated by.
    """
    kind, record = _read(file)
    if kind in ("analyze", "spectrum", "track"):
        found = _by_command(file, kind, record, run)
    elif kind in ("sweep", "check"):
        found = _by_cells(file, kind, record)
    else:
        found = _by_settings(kind, record)
    if isinstance(found, int):
        return found
    apart = [pair for pair in found.pairs if not pair.agree]
    answer = f"{len(found.pairs) - len(apart)} of {len(found.pairs)} numbers agree within their intervals"
    answer += "; the points are not those of the stored run." if found.same_points is False else "."
    numbers = [{"name": pair.name, "stored": pair.before[0], "now": pair.now[0], "agree": pair.agree}
               for pair in found.pairs]  # fmt: skip
    same = {} if found.same_points is None else {"same_points": found.same_points}
    shown = found.pairs if len(found.pairs) <= ROWS else apart[:ROWS]
    left = len(apart) - len(shown)
    lines = [*_table(shown), *([f"and {left} more that differ"] if left > 0 else []), answer]
    tell("\n".join(lines), answer=answer, whole="\n".join([*_table(found.pairs), answer]), numbers=numbers, **same)
    return Exit.DIFFERS if apart else Exit.DONE


def _table(pairs: "Sequence[Pair]") -> list[str]:
    if not pairs:
        return []
    width = max(40, *(len(pair.name) + 1 for pair in pairs))
    rows = [f"{pair.name:<{width}}{pair.before[0]:>14.6g}{pair.now[0]:>14.6g}  {'agree' if pair.agree else 'DIFFER'}"
            for pair in pairs]  # fmt: skip
    return [f"{'':<{width}}{'stored':>14}{'now':>14}", *rows]


def _read(file: Path) -> tuple[str, Any]:
    """The kind of a record and what it holds. Raises ValueError for a file of another kind."""
    from ntkspec import storage
    from ntkspec.experiments.records import TYPES

    kind = storage.kind_of(file)
    if kind not in TYPES:
        raise ValueError(
            f"{file} holds no run of a command; rerun repeats what analyze, spectrum, track, sweep, check and figure "
            f"wrote"
        )
    return kind, storage.read(file, kind=kind, types=TYPES[kind])


# ---------------------------------------------------------------------------------------- analyses, spectra and series
def _by_command(file: Path, kind: str, before: dict[str, Any], run: Callable[[Sequence[str]], int]) -> Again | int:
    """The command of a record once more, into a folder that is removed; its exit code where it left nothing."""
    from ntkspec.experiments.repeating import pairs

    name = {"analyze": "analysis"}.get(kind, kind)  # of the record, in its file NAME.h5
    made = before.get("provenance", {})
    words = _words(file, (made[-1] if isinstance(made, list) else made).get("command", ""))
    say(f"repeating: {shlex.join(['ntkspec', *words])}")
    with TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            code = run([*words, "--output", folder])
        again = Path(folder) / f"{name}.h5"
        if not again.exists():
            return code or Exit.NOT_STORED
        _, now = _read(again)
    if kind == "track":
        of_points = [one.dataset.get("points") for one in (before[name], now[name])]
        return Again(pairs(before[name], now[name], now[name].dataset["dtype"]), of_points[0] == of_points[1])
    points, others = before["inputs"]["X"], now["inputs"]["X"]
    same = bool(points.shape == others.shape and (points == others).all())
    return Again(pairs(before[name], now[name], str(others.dtype)), same)


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


# ------------------------------------------------------------------------------------------------------ sweeps, checks
def _by_cells(file: Path, kind: str, record: dict[str, Any]) -> Again:
    """Every cell of the file once more; a check is judged anew where the file keeps its grid."""
    from ntkspec.experiments.repeating import pairs_of_cells, pairs_of_checks
    from ntkspec.experiments.statements import check_statement
    from ntkspec.experiments.sweep_cells import Cell
    from ntkspec.experiments.sweep_results import Sweep
    from ntkspec.experiments.sweep_run import measured_again
    from ntkspec.storage.sweeps import stored_of

    stored = stored_of(file, {**record, "provenance": []}, Cell)
    before = Sweep.stored(stored, file)
    say(f"repeating: {len(before)} cells of {file}")
    now = measured_again(list(before), report=stage)
    found = pairs_of_cells(before, now)
    if kind == "check" and before.grids:
        checks = record["checks"]
        found += pairs_of_checks(checks, check_statement(checks[0].statement, before.grids[0], now))
    return Again(found)


# ------------------------------------------------------------------------------------------------------------- figures
def _by_settings(kind: str, record: Any) -> Again:
    """Every run of a figure once more, from its setting."""
    from ntkspec.experiments.deep_runs import DEEP_COMPARISON
    from ntkspec.experiments.repeating import pairs
    from ntkspec.experiments.run_cache import Runs
    from ntkspec.experiments.two_layer_runs import COMPARISON

    how, runs = {one.kind: one for one in (COMPARISON, DEEP_COMPARISON)}[kind], Runs.of(record).runs
    for setting in runs:
        how.check(setting)
    stage(f"forecast: {how.forecast(list(runs))}")
    found = []
    for setting, run in runs.items():
        found += pairs(run, how.measure(setting, report=stage), setting.dtype)
    return Again(found)
