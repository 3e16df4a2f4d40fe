"""Runs that are kept in a file when they are done: what it holds is not repeated, and an interruption costs one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ntkspec import storage
from ntkspec.experiments.forecast import Expected
from ntkspec.storage.provenance import count, provenance


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


@dataclass
class Runs:
    """What a file of runs holds. runs : by setting. made : the commands that measured them, and how many each."""

    runs: dict[Any, Any] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, tree: Any) -> "Runs":
        """Of the tree of a file; older ones are lists of runs alone."""
        tree = {"runs": tree} if isinstance(tree, list) else tree
        return cls({run.setting: run for run in tree["runs"]}, list(tree.get("provenance", [])))

    def tree(self) -> dict[str, Any]:
        """As files keep it."""
        return {"runs": list(self.runs.values()), "provenance": self.made}


def kept(
    settings: Sequence[Any],
    path: Path,
    how: Measurement,
    *,
    command: str = "",
    report: Callable[[str], None] = lambda text: None,
) -> list:
    """The runs of the settings, in their order, from the file or measured into it; each is written when it is done.

    Those that the file lacks are checked before the first one runs. Raises ValueError for a file that holds something
    else, or that another process writes. Where the disk is full, the runs are returned all the same, with a warning.
    command : the line that was called, which the file keeps.
    """
    there = _found(path, how)
    for setting in settings:
        if setting not in there.runs:
            how.check(setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.locked(path):
        found, file, made_with = _found(path, how), storage.Keeper(path, how.kind), provenance(command)
        if missing := [setting for setting in settings if setting not in found.runs]:
            report(f"forecast: {how.forecast(missing)}")
        for setting in settings:
            if setting not in found.runs:
                found.runs[setting] = how.measure(setting, report=report)
                count(found.made, made_with | {"engine": setting.engine})
                file.write(found.tree())
    return [found.runs[setting] for setting in settings]


def _found(path: Path, how: Measurement) -> Runs:
    """What the file holds."""
    if not path.exists():
        return Runs()
    tree = storage.read(path, kind=how.kind, types=how.types)
    with storage.blamed_on(path):
        return Runs.of(tree)
