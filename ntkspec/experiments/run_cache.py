"""Runs that are kept in a file when they are done: what it holds is not repeated, and an interruption costs one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntkspec import storage
from ntkspec.experiments.forecast import Expected


@dataclass(frozen=True)
class Measurement:
    """How a setting becomes a run (a dataclass with the field ``setting``), and what the file of runs is called.

    kind : of the file. types : the dataclasses in it. check : refuses a setting that cannot run.
    measure : of (setting, report). forecast : what settings take one after the other.
    """

    kind: str
    types: tuple[type, ...]
    check: Callable
    measure: Callable
    forecast: Callable[[Sequence[Any]], Expected]


def kept(
    settings: Sequence[Any], path: Path, how: Measurement, *, report: Callable[[str], None] = lambda text: None
) -> list:
    """The runs of the settings, in their order, from the file or measured into it; each is written when it is done.

    Those that the file lacks are checked before the first one runs. Raises ValueError for a file that holds something
    else, or that another process writes. Where the disk is full, the runs are returned all the same, with a warning.
    """
    there = _found(path, how)
    for setting in settings:
        if setting not in there:
            how.check(setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.locked(path):
        runs, file = _found(path, how), storage.Keeper(path, how.kind)
        if missing := [setting for setting in settings if setting not in runs]:
            report(f"forecast: {how.forecast(missing)}")
        for setting in settings:
            if setting not in runs:
                runs[setting] = how.measure(setting, report=report)
                file.write(list(runs.values()))
    return [runs[setting] for setting in settings]


def _found(path: Path, how: Measurement) -> dict:
    """The runs that the file holds, by setting."""
    if not path.exists():
        return {}
    found = storage.read(path, kind=how.kind, types=how.types)
    with storage.blamed_on(path):
        return {run.setting: run for run in found}
