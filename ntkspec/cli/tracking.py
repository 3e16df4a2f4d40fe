"""The command that measures checkpoints of a training run."""

import contextlib
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntkspec.cli.data import DataOptions, dataset_of
from ntkspec.cli.networks import KernelOptions, folder_name, own_network_of, task_options
from ntkspec.cli.options import MaybeSeveral, Output, Several, Whole
from ntkspec.cli.recipes import LawOptions, law_of
from ntkspec.cli.results import COMMAND, drawn, ended, held
from ntkspec.cli.streams import Exit
from ntkspec.cli.telling import TellOptions, coloured, stage, tell, tell_files, told

if TYPE_CHECKING:
    from ntkspec.cli.own_network import NetworkFile
    from ntkspec.datasets import Dataset
    from ntkspec.experiments.network_tasks import NetworkTask
    from ntkspec.experiments.tracking import Checkpoints, Series
    from ntkspec.experiments.tracking.recorder import Recorder

# The file of the series, its page and its figures.
RECORD, PAGE, FIGURES = "track.h5", "track.html", ("track.png", "track.pdf")


def track(
    *,
    checkpoints: Several,
    data: DataOptions | None = None,
    network: KernelOptions | None = None,
    eta: float | None = None,
    law: LawOptions | None = None,
    quantities: MaybeSeveral = None,
    pairs: Whole = 10,
    prepare: bool = False,
    seed: Whole = 0,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """A training run of your own: its kernel at each checkpoint, and when it left the lazy regime or reached the edge.

    Measures the largest eigenvalue over n beside the edge of stability (2/eta of gradient descent), alignment with the
    labels, distance from the start, and more, with intervals. Prints the verdict on one screen and writes track.h5
    after each checkpoint, so that a killed command goes on, then a figure and a page with all of it, track.html.

    Parameters
    ----------
    checkpoints
        files: patterns such as 'runs/*.pt' (state_dict of PyTorch) or 'runs/*.npz' (arrays by name), or a folder; a
        step is the number after step in a file's name, or the last one, or its entry step
    eta
        learning rate of the loss (1/2n) sum (f - y)^2, twice that of PyTorch's MSELoss over K outputs (default:
        unknown)
    quantities
        edge, target_alignment, label_energy, from_start, from_previous, residual, effective_rank, layers, movement,
        angles, linear, prediction, or all (default: all but the last three)
    pairs
        leading eigenpairs of label_energy and angles
    prepare
        centre and scale the points of a file, as analyze and spectrum do (default: as they stand in the file)
    seed
        seed of the network that is made, of subsets and random start vectors
    output
        folder for the results (default: ntkspec-track/NAME, one folder for each setting)
    """
    from ntkspec.experiments.tracking.recorder import Recorder
    from ntkspec.experiments.tracking.task import TrackTask, checked_task

    start, data, network = time.perf_counter(), data or DataOptions(), network or KernelOptions()
    data = replace(data, n_test=0 if data.n_test is None else data.n_test)
    own, kernel = own_network_of(network), _kernel_task(network, seed)
    task = checked_task(
        TrackTask(
            quantities=quantities,
            eta=eta,
            layer="all" if kernel.own or network.layer == "both" else network.layer,
            outputs="full" if kernel.outputs is None else kernel.outputs,
            pairs=pairs,
            seed=seed,
            method=network.method,
            network=kernel.label,
            inputs=network.inputs,
            law=law_of(law),
        )
    )
    named = folder_name(data, kernel, "cpu", more=(task, checkpoints, prepare))
    folder = output or Path("ntkspec-track") / named
    with held(folder, [PAGE, RECORD, *FIGURES]):
        dataset = dataset_of(data, seed, as_they_are=not (prepare or data.standardize))
        run = _Run(own, kernel, dataset, seed)
        found = run.checkpoints(checkpoints)
        with contextlib.nullcontext() if own is None else own.computing():
            recorder = Recorder(
                run.points(),
                run.dataset.y,
                task,
                path=folder / RECORD,
                command=COMMAND.get("ntkspec track"),
                dataset=run.told(),
                report=stage,
            )
            return _show(run.series(found, recorder), folder, start)


def _kernel_task(network: KernelOptions, seed: int) -> "NetworkTask":
    """The network as other commands take it. Raises ValueError for one that cannot be."""
    from ntkspec.experiments.network_tasks import NetworkTask, completed_task

    return completed_task(NetworkTask(seed=seed, **task_options(network)))


class _Run:
    """The networks of a command on its data; the first one, with any weights, says what it takes."""

    def __init__(self, own: "NetworkFile | None", task: "NetworkTask", dataset: "Dataset", seed: int):
        from ntkspec.experiments.models import labelled, model_of

        self.own, self.seed, self.given = own, seed, dataset
        self.task = task if own is None else replace(task, network=own.network(dataset, seed))
        self.dataset = labelled(self.task, dataset)
        self._built_in = None if own is not None else model_of(self.task, dataset).net

    def make(self) -> Any:
        """A network of its own for each file of PyTorch."""
        return self._built_in if self.own is None else self.own.network(self.given, self.seed).net

    def checkpoints(self, where: list[str]) -> "Checkpoints":
        """The files of all patterns."""
        from ntkspec.experiments.tracking.files import checkpoints, found

        return checkpoints(self.make, [path for one in where for path in found(one)])

    def points(self) -> Any:
        """The points as the network takes them."""
        from ntkspec.experiments.own_networks import points_of

        if self.own is None:
            return self.dataset.X
        return points_of(self.task.network.net, self.dataset.X, self.task.inputs, self.dataset.meta)

    def told(self) -> dict[str, Any]:
        """What the series keeps of the points, beside their number."""
        data, digest = self.dataset, hashlib.sha256(self.dataset.X.tobytes()).hexdigest()
        known = {"name": data.name, "d": data.X.shape[1], "trace_ratio": data.trace_ratio, "meta": data.meta}
        return known | {"points": digest, "dtype": str(data.X.dtype)}

    def series(self, networks: "Checkpoints", recorder: "Recorder") -> "Series":
        """Measured, or read where it is there."""
        from ntkspec.experiments.tracking.tracker import tracked

        return tracked(networks, recorder)


def _show(series: "Series", folder: Path, start: float) -> int:
    """Print the verdict, and draw; how it ended."""
    from ntkspec.reporting.documents import series_document
    from ntkspec.reporting.series import series_answer, series_report, series_summary

    answer, short = series_answer(series), series_summary(series)
    fields = series_document(series) if told().how.json else {}
    tell(short, answer=coloured(answer, "answer"), whole=series_report(series), **fields)
    record = folder / RECORD
    if not record.exists():
        return Exit.NOT_STORED

    def draw() -> list[Path]:
        from ntkspec.plotting.series import save_figures
        from ntkspec.reporting.page import report

        return [*save_figures(series, folder), report(record).save(folder / PAGE)]

    figures = drawn(draw, record)
    names = [path.name for path in (record, *(figures or ()))]
    seconds = time.perf_counter() - start
    tell_files(f"\nwritten to {folder}: {', '.join(names)} ({seconds:.0f} s)", folder, names)
    return ended(figures, record)
