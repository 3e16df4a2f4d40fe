"""An experiment of a command: measured on data, told, and left in its folder."""

import contextlib
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ntkspec.cli.data import DataOptions, dataset_of
from ntkspec.cli.own_network import NetworkFile
from ntkspec.cli.results import COMMAND, Record, drawn, ended, held
from ntkspec.cli.streams import Exit, say
from ntkspec.cli.telling import coloured, stage, tell, tell_files, told

if TYPE_CHECKING:
    from ntkspec.experiments.network_tasks import NetworkTask
    from ntkspec.experiments.spread_models import Spread

# What files of their records are called.
KINDS = {"analysis": "analyze", "spectrum": "spectrum"}


@dataclass(frozen=True)
class Texts:
    """What is told of a record: on one screen, whole, the answer alone, and as the fields of a document."""

    short: Callable[[Any], str]
    whole: Callable[[Any], str]
    answer: Callable[[Any], str]
    document: Callable[[Any], dict[str, Any]]

    def tell(self, record: Any) -> None:
        """Tell of it, as the command asks."""
        answer = self.answer(record)
        fields = self.document(record) if told().how.json else {}
        short = self.short(record)
        if short.startswith(answer):
            short = coloured(answer, "answer") + short.removeprefix(answer)
        tell(short, answer=coloured(answer, "answer"), whole=self.whole(record), **fields)


@dataclass(frozen=True)
class Job:
    """An experiment, what is told of it and its figures; ``name`` is that of its record and of the record's file.

    types : the dataclasses in it. draw : the module that draws. figures : the names of what it draws.
    """

    name: str
    measure: Callable
    texts: Texts
    types: tuple[type, ...]
    draw: str
    figures: tuple[str, ...]


def measure(
    job: Job,
    task: "NetworkTask",
    folder: Path,
    *,
    data: DataOptions,
    seed: int,
    engine: Literal["cpu", "gpu"],
    own: NetworkFile | None = None,
    spread: "Spread | None" = None,
) -> int:
    """Measure on the data and leave the record, the report and the figures, in this order.

    spread : the workers that compute, on their ``engine``; this machine keeps the data.

    Where the folder holds the record of this very setting but not its figures, they are made from it. Returns how it
    ended (:class:`ntkspec.cli.streams.Exit`).
    """
    from ntkspec import engines
    from ntkspec.experiments.devices import placed
    from ntkspec.storage.provenance import fingerprint, provenance

    start = time.perf_counter()
    device = engines.named(engine if spread is None else "cpu")
    kept = Record(folder, job.name, KINDS[job.name], job.types, job.figures)
    where = {} if spread is None else {"spread": spread}
    with held(folder, [path.name for path in (kept.path, *kept.drawings)]):
        dataset = dataset_of(data, seed)
        arrays = {name: getattr(dataset, name) for name in ("X", "y", "X_test", "y_test")}
        setting: tuple = (job.name, task, data, seed, engine)
        if own is not None:
            made = own.network(dataset, seed)
            setting += (task.outputs, task.inputs, made.digest)
            task = replace(task, network=made)
            arrays |= {str(k): engines.engine_of(W).to_host(W) for k, W in enumerate(made.net.weights)}
        same = fingerprint(setting, arrays.values())
        if (record := kept.undrawn(same)) is not None:
            say(f"{kept.path} holds this setting; only its figures are drawn")
            return _show(job, record, kept, start)
        with contextlib.nullcontext() if own is None else own.computing():
            found = job.measure(task, placed(dataset, device), report=stage, **where)
        made_with = provenance(COMMAND.get(f"ntkspec {job.name}")) | {"engine": engine, "fingerprint": same}
        made_with |= {"seconds": time.perf_counter() - start}
        inputs = {name: arrays[name] for name in ("X", "X_test")}
        record = {job.name: found, "inputs": inputs, "provenance": made_with}
        return _show(job, record, kept, start, kept.store(record))


def _show(job: Job, record: dict[str, Any], kept: Record, start: float, reason: str = "") -> int:
    """Print the report, and draw where the record could be stored (there is no reason why not)."""
    job.texts.tell(record[job.name])
    if reason:
        say(f"{kept.path} could not be written: {reason}; the report is all that is left")
        return Exit.NOT_STORED

    def draw() -> list[Path]:
        from ntkspec.reporting.page import page_of_tree

        figures = importlib.import_module(job.draw).save_figures(record[job.name], kept.folder)
        return [*figures, page_of_tree(kept.kind, record, str(kept.path)).save(kept.page)]

    figures = drawn(draw, kept.path)
    names = [path.name for path in (kept.path, *(figures or ()))]
    seconds = time.perf_counter() - start
    tell_files(f"\nwritten to {kept.folder}: {', '.join(names)} ({seconds:.0f} s)", kept.folder, names)
    return ended(figures, kept.path)
