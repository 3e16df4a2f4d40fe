"""The command line: every command calls one public function."""

import contextlib
import hashlib
import importlib
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

import ntkspec
from ntkspec.cli import signals, sweeps
from ntkspec.cli.completion import add_completion
from ntkspec.cli.figures import figure
from ntkspec.cli.help import epilogue, meant
from ntkspec.cli.options import Engine, MaybeWhole, Whole, located, or_else
from ntkspec.cli.own_network import NetworkFile, is_own, network_file
from ntkspec.cli.report import report as report_command
from ntkspec.cli.results import COMMAND, Record, drawn, ended, held
from ntkspec.cli.settings import expanded
from ntkspec.cli.streams import ENDS, Exit, one_line, say, spoken
from ntkspec.cli.telling import (
    Telling,
    TellOptions,
    coloured,
    finished,
    progress,
    refuse_contradictions,
    tell,
    tell_files,
    telling,
    told,
)
from ntkspec.progress import lines, written

if TYPE_CHECKING:
    from ntkspec.datasets import Dataset
    from ntkspec.experiments.analyze import AnalyzeTask
    from ntkspec.experiments.network_tasks import NetworkTask

IMAGES = ("mnist", "cifar10")
KINDS = {"analysis": "analyze", "spectrum": "spectrum"}
SYNTHETIC = ("gaussian", "rademacher", "sphere", "subgaussian")

# How many words a command may have.
MOST_WORDS = 1000

app = App(
    name="ntkspec",
    help="How close is a network's Neural Tangent Kernel to a linear model, and what does that say about training?",
    help_epilogue=ENDS,
    version=ntkspec.__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Which data, and how much of them."""

    data: str = "gaussian"
    "gaussian, rademacher, sphere, subgaussian, mnist, cifar10, or a file of points and labels: a table, .npz, .h5, ..."
    n: MaybeWhole = None
    "training points, a random subset of real data (default: synthetic 20000, real data all)"
    d: MaybeWhole = None
    "dimension of synthetic data (default: 50)"
    n_test: MaybeWhole = None
    "test points (default: synthetic 2000, real data all; of a file without test points a tenth is held out)"
    target: Literal["teacher", "norm", "random"] | None = None
    """labels of synthetic data: sign of a width-5 erf network, ||x||/sqrt d + ReLU(a.x), or random signs
    (default: teacher)"""
    classes: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """two classes of mnist, cifar10 or a file, labelled +1 and -1; more, or all: a column for each, as K outputs
    (default: labels as they are, ten classes as numbers)"""
    pool: MaybeWhole = None
    "average the images of mnist or cifar10 over POOL x POOL patches (default: 1)"
    data_dir: Path | None = None
    "folder of mnist or cifar10 (default: the environment variable NTKSPEC_DATA)"
    label: str | None = None
    "labels of a file: the name or number of a column, or the name of an array (default: found by the usual names)"
    points: str | None = None
    "name of the array of points in a file, such as train/X in HDF5 (default: found by the usual names)"
    test_points: str | None = None
    "name of the array of test points (default: found by the usual names)"
    test_label: str | None = None
    "name of the array of test labels (default: found by the usual names)"
    keep_ids: bool = False
    "keep indexes and ids of a table as features"
    keep_constant: bool = False
    "keep constant features of a file as zero columns instead of refusing them"
    channels: Literal["first", "last"] | None = None
    "where images of a file have their channels (default: found by the sizes)"
    center: Annotated[bool, Parameter(negative="--no-center")] = True
    "subtract the training mean of mnist, cifar10 or a file"
    standardize: bool = False
    "divide each feature of mnist, cifar10 or a file by its standard deviation"
    dtype: Literal["float32", "float64"] = "float32"
    "precision of data and network (one of your own computes in its own)"


@Parameter(name="*")
@dataclass(frozen=True)
class KernelOptions:
    """Which network, and how its kernel is multiplied."""

    activation: str = "erf"
    "identity, relu, leaky_relu, abs, erf, tanh, sigmoid, softplus, gelu, silu, elu, sin or cos"
    negative_slope: float | None = None
    "slope of leaky_relu below 0 (default: 0.01)"
    network: str = "two-layer"
    """two-layer (equation (3)), a deep one: fc:LAYERSxWIDTH, cnn:LAYERSxCHANNELS:kSIZE, such as fc:4x512, cnn:4x64:k3,
    or one of your own, FILE.py:FUNCTION: a function that returns a PyTorch module, or a JAX function with parameters"""
    width: MaybeWhole = None
    "number of neurons m of two layers, even (default: 256)"
    layer: str = "both"
    """which of two layers is trained: first, second or both; of your own network a glob on its parameters ('blocks.*',
    all of them without it)"""
    second: Literal["rademacher", "normal"] | None = None
    "initial second layer of two: signs or N(0, 1) (default: rademacher)"
    method: Literal["dense", "factored", "streamed"] | None = None
    "products by stored kernels, their factors, or on a GPU kernels in host memory (default: the fastest that fits)"
    outputs: str | None = None
    "outputs of your own network: full, mean, trace, sum or a number from 0 (default: analyze full, spectrum mean)"
    inputs: Literal["flat", "nchw", "nhwc"] = "flat"
    "how your own network takes images: flat rows of numbers, or with channels first (PyTorch) or last (Flax)"


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingOptions:
    """How the network is trained."""

    eta: float | None = None
    "learning rate of the trained layers (default: chosen from the kernel)"
    eta1: float | None = None
    "learning rate of the first layer, where it differs (default: eta)"
    eta2: float | None = None
    "learning rate of the second layer, where it differs (default: eta)"
    steps: MaybeWhole = None
    "steps of gradient descent (default: 3000, or fewer for large settings)"


@app.command(help_epilogue=epilogue("analyze"))
def analyze(
    *,
    data: DataOptions | None = None,
    network: KernelOptions | None = None,
    training: TrainingOptions | None = None,
    seed: Whole = 0,
    engine: Engine = "cpu",
    output: Path | None = None,
    tells: TellOptions | None = None,
) -> int:
    """How far a network is from its linear model: kernels, predictions, real training, and a verdict.

    Without options: the setting of Figure 1 (erf, width 256, d = 50, n = 20,000, x ~ N(0, I), erf teacher).
    Prints a report and writes analysis.h5, four figures and a page with all of it, analysis.html.

    Parameters
    ----------
    seed
        seed of data, network and random start vectors
    engine
        where it is computed: on the CPU, or on an NVIDIA GPU (needs CuPy)
    output
        folder for the results (default: ntkspec-analyze/NAME, one folder for each setting)
    """
    from ntkspec.experiments.analyze import RECORD_TYPES, check_analysis
    from ntkspec.experiments.analyze import analyze as run
    from ntkspec.experiments.headline import headline
    from ntkspec.reporting.analysis import report
    from ntkspec.reporting.documents import analysis_document
    from ntkspec.reporting.summary import summary

    data, network, training = data or DataOptions(), network or KernelOptions(), training or TrainingOptions()
    own = _own(network)
    task = check_analysis(_task(network, training, seed))
    folder = output or Path("ntkspec-analyze") / _folder_name(data, task, engine)
    figures = ("losses", "outputs", "discrepancy", "eigenvalues")
    texts = Texts(summary, report, lambda found: str(headline(found)), analysis_document)
    job = Job("analysis", run, texts, RECORD_TYPES, "ntkspec.plotting.analysis", figures)
    return _run(job, task, folder, data=data, seed=seed, engine=engine, own=own)


@app.command(help_epilogue=epilogue("spectrum"))
def spectrum(
    *,
    data: DataOptions | None = None,
    network: KernelOptions | None = None,
    kernel: Literal["theta", "linear", "gap"] = "theta",
    pairs: MaybeWhole = None,
    probes: Whole = 8,
    steps: Whole = 100,
    seed: Whole = 0,
    engine: Engine = "cpu",
    output: Path | None = None,
    tells: TellOptions | None = None,
) -> int:
    """The spectrum of a kernel: certified extreme eigenvalues, density with error bars, and where the labels lie.

    Prints a report and writes spectrum.h5, two figures and a page with all of it, spectrum.html.

    Parameters
    ----------
    kernel
        theta (the NTK at initialization), linear (that of the linear model) or gap (their difference)
    pairs
        leading eigenpairs, by magnitude (default: 20, or all of fewer points)
    probes
        random start vectors of the density
    steps
        Lanczos steps from each of them
    seed
        seed of data, network and random vectors
    engine
        where it is computed: on the CPU, or on an NVIDIA GPU (needs CuPy)
    output
        folder for the results (default: ntkspec-spectrum/NAME, one folder for each setting)
    """
    from ntkspec.experiments.spectrum import SPECTRUM_TYPES, SpectrumTask, check_spectrum, measure_spectrum
    from ntkspec.reporting.documents import spectrum_document
    from ntkspec.reporting.spectrum import spectrum_answer, spectrum_report

    data, network = data or DataOptions(), network or KernelOptions()
    own = _own(network)
    options = _of_network(network) | {"kernel": kernel, "pairs": pairs, "probes": probes, "steps": steps}
    task = check_spectrum(SpectrumTask(seed=seed, **options))
    folder = output or Path("ntkspec-spectrum") / f"{kernel}-{_folder_name(data, task, engine)}"
    figures = ("density", "eigenpairs")
    texts = Texts(spectrum_report, spectrum_report, spectrum_answer, spectrum_document)
    job = Job("spectrum", measure_spectrum, texts, SPECTRUM_TYPES, "ntkspec.plotting.spectrum", figures)
    return _run(job, task, folder, data=data, seed=seed, engine=engine, own=own)


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


def _run(
    job: Job,
    task: "NetworkTask",
    folder: Path,
    *,
    data: DataOptions,
    seed: int,
    engine: Literal["cpu", "gpu"],
    own: NetworkFile | None = None,
) -> int:
    """Measure on the data and leave the record, the report and the figures, in this order.

    Where the folder holds the record of this very setting but not its figures, they are made from it. Returns how it
    ended (:class:`ntkspec.cli.streams.Exit`).
    """
    from ntkspec import engines
    from ntkspec.experiments.devices import placed
    from ntkspec.storage.provenance import fingerprint, provenance

    start = time.perf_counter()
    device, kept = engines.named(engine), Record(folder, job.name, KINDS[job.name], job.types, job.figures)
    with held(folder, [path.name for path in (kept.path, *kept.drawings)]):
        dataset = _dataset(data, seed)
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
            found = job.measure(task, placed(dataset, device), report=lambda stage: progress(f"{stage} ..."))
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


@app.command(help_epilogue=epilogue("constants"))
def constants(name: str, /, *, negative_slope: float | None = None, tells: TellOptions | None = None) -> None:
    """Print zeta, vartheta0, vartheta1, vartheta2 and the case of Assumption 3.2 of an activation.

    Parameters
    ----------
    name
        name of the activation
    negative_slope
        slope of leaky_relu below 0 (default: 0.01)
    """
    from ntkspec.activations import activation

    act = activation(name, **({} if negative_slope is None else {"negative_slope": negative_slope}))
    values = act.constants
    labels = ("zeta", "vartheta0", "vartheta1", "vartheta2")
    numbers = [f"{label:<12}{getattr(values, label): .16g}" for label in labels]
    lines = [
        *numbers,
        f"{'computed by':<13}{values.method}, absolute error below {values.error:.0e}",
        f"{'assumption':<13}{act.assumption}",
    ]
    fields: dict[str, Any] = {
        "activation": act.name,
        "method": values.method,
        "error": values.error,
        "assumption": act.assumption,
    }
    found = {label: getattr(values, label) for label in labels}
    tell("\n".join(lines), answer="\n".join(numbers), **found, **fields)


@app.command(help_epilogue=epilogue("doctor"))
def doctor(*, tells: TellOptions | None = None) -> None:
    """Print what this installation has: versions, threads, memory, BLAS speed, data sets found."""
    from ntkspec.cli.doctor import findings

    found = dict(findings())
    lines = "\n".join(f"{label:<20}{value}" for label, value in found.items())
    tell(lines, answer=lines, findings={label: str(value) for label, value in found.items()})


app.command(sweeps.sweep, help_epilogue=epilogue("sweep"))
app.command(sweeps.check, help_epilogue=epilogue("check"))
app.command(figure)
app.command(report_command, help_epilogue=epilogue("report"))


@app.command(help_epilogue=epilogue("rerun"))
def rerun(file: Path, /, *, tells: TellOptions | None = None) -> int:
    """Repeat a stored run and compare its numbers: which agree within their intervals.

    Ends with 1 where one does not. Nothing is written. Numbers without an interval agree to 1e-3 of their size in
    float32 and 1e-6 in float64; data and networks that the command names are read again where it names them.

    Parameters
    ----------
    file
        analysis.h5 or spectrum.h5
    """
    from ntkspec.cli.rerun import rerun as repeat

    def run(words: Sequence[str]) -> int:
        return app(words, exit_on_error=False, print_error=False, result_action="return_value")

    return repeat(file, run=run)


add_completion(app)


# ------------------------------------------------------------------------------------------------ options to arguments
OF_FILES = ("label", "points", "test_points", "test_label", "keep_ids", "keep_constant", "channels")


def _task(network: KernelOptions, training: TrainingOptions, seed: int) -> "AnalyzeTask":
    from ntkspec import checks
    from ntkspec.experiments.analyze import AnalyzeTask

    eta1, eta2 = training.eta1, training.eta2
    if training.eta is not None:
        checks.learning_rate(training.eta, "eta")
        eta1 = training.eta if eta1 is None and network.layer != "second" else eta1
        eta2 = training.eta if eta2 is None and network.layer != "first" else eta2
    steps = 0 if training.steps is None else checks.whole_number(training.steps, "steps", 1)
    return AnalyzeTask(eta1=eta1, eta2=eta2, steps=steps, seed=seed, **_of_network(network))


def _own(network: KernelOptions) -> NetworkFile | None:
    """The file of a network of the user's own, which is run here; None for a built-in one."""
    return network_file(network.network, network.layer) if is_own(network.network) else None


def _of_network(network: KernelOptions) -> dict[str, Any]:
    """The arguments of a task."""
    options = vars(network) | {"own": is_own(network.network)}
    if (outputs := network.outputs) is not None:
        options["outputs"] = int(outputs) if outputs.isdecimal() else outputs
    return options


def _dataset(options: DataOptions, seed: int) -> "Dataset":
    from ntkspec import datasets

    arguments: dict[str, Any] = {"n": options.n, "n_test": options.n_test, "seed": seed, "dtype": options.dtype}
    if options.data in SYNTHETIC:
        _refuse(options, "classes", "pool", "data_dir", "center", "standardize", *OF_FILES)
        arguments |= {
            "n": or_else(options.n, 20000),
            "d": or_else(options.d, 50),
            "n_test": or_else(options.n_test, 2000),
        }
        return getattr(datasets, options.data)(**arguments, target=options.target or "teacher")
    if options.data not in IMAGES and not Path(options.data).suffix and not Path(options.data).is_dir():
        known = ", ".join((*SYNTHETIC, *IMAGES))
        raise ValueError(f"--data {options.data} is unknown; use {known}, or a file, such as points.npz or table.csv")
    _refuse(options, "d", "target")
    arguments |= {"classes": options.classes, "center": options.center, "standardize": options.standardize}
    if options.data in IMAGES:
        _refuse(options, *OF_FILES)
        where: dict[str, Any] = {"pool": or_else(options.pool, 1), "data_dir": options.data_dir}
        return getattr(datasets, options.data)(**arguments, **where)
    _refuse(options, "pool", "data_dir")
    return datasets.load(options.data, **arguments, **{name: getattr(options, name) for name in OF_FILES})


def _refuse(options: DataOptions, *names: str) -> None:
    """Options that this kind of data does not have."""
    for name in names:
        if getattr(options, name) != getattr(DataOptions, name):
            given = "no-center" if name == "center" else name.replace("_", "-")
            only = "; it is for mnist and cifar10" if name in ("pool", "data_dir") else ""
            raise ValueError(f"--{given} does not go with --data {options.data}{only}")


# ------------------------------------------------------------------------------------------------------------ output
def _folder_name(data: DataOptions, task: "NetworkTask", engine: str) -> str:
    """Readable, and different for different settings: the same command, the same folder."""
    setting = (data, task, task.outputs, task.inputs) if task.own else (data, task)
    key = hashlib.sha256(repr(setting).encode()).hexdigest()[:8]
    if task.own:
        return located(f"{Path(data.data).stem}-{Path(task.name).name.replace('.py:', '-')}-{key}", engine)
    network = task.network.replace(":", "-") if task.deep else f"m{task.width}-{task.layer}"
    return located(f"{Path(data.data).stem}-{task.activation}-{network}-{key}", engine)


# -------------------------------------------------------------------------------------------------------------- main
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
    given, reason = list(sys.argv[1:] if arguments is None else arguments), ""
    try:
        given = expanded(app, given)
    except (ValueError, OSError) as error:
        reason = one_line(error)
    COMMAND.set(shlex.join(["ntkspec", *given]))
    with warnings.catch_warnings(), written.noted() as files, _telling(given) as now, _progress(now.how):
        warnings.showwarning = _show_warning
        code, error = _refused(reason) if reason else _ended(given, files, now.how)
        finished(now, code, error)
    return code


def _progress(how: TellOptions) -> contextlib.AbstractContextManager[None]:
    """Lines of progress where no terminal shows bars, unless little is asked for."""
    return contextlib.nullcontext() if how.quiet else lines("ntkspec: ")


def _telling(given: Sequence[str]) -> contextlib.AbstractContextManager[Telling]:
    command, *_ = app.parse_commands(given)
    return telling(command, given, ntkspec.__version__)


def _ended(given: Sequence[str], files: written.Files, how: TellOptions) -> tuple[int, str]:
    """Run the command; its exit code, and the error that ended it, which is printed."""
    try:
        refuse_contradictions(how)
        if len(given) > MOST_WORDS:
            raise ValueError(f"{len(given)} words came, but {MOST_WORDS} are read; take ranges such as 32:512:x1.5")
        outcome = signals.stoppable(app, given, exit_on_error=False, print_error=False, result_action="return_value")
        return int(Exit.NOT_STORED if files.behind else outcome or Exit.DONE), ""
    except CycloptsError as error:
        see = " ".join(["ntkspec", *(error.command_chain or ()), "--help"])
        reason = f"{meant(given) or one_line(error)} See {see}."
    except (ValueError, TypeError, OSError, MemoryError) as error:
        if os.environ.get("NTKSPEC_TRACEBACK"):
            raise
        reason = one_line(error)
    except KeyboardInterrupt as stop:
        reason = f"stopped; {one_line(_kept(files.names))}"
        print(f"ntkspec: {reason}", file=sys.stderr)
        return 128 + getattr(stop, "number", signals.ENDING[0]), reason
    return _refused(reason)


def _refused(reason: str) -> tuple[int, str]:
    print(f"ntkspec: {coloured('error:', 'error', sys.stderr)} {reason}", file=sys.stderr)
    return int(Exit.REFUSED), reason
