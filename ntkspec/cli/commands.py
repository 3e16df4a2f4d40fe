"""The command line: every command calls one public function."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from cyclopts import App, Parameter

import ntkspec
from ntkspec.cli import sweeps
from ntkspec.cli.cluster import ClusterOptions, spread_of
from ntkspec.cli.completion import add_completion
from ntkspec.cli.data import DataOptions
from ntkspec.cli.figures import figure
from ntkspec.cli.help import epilogue
from ntkspec.cli.measuring import Job, Texts, measure
from ntkspec.cli.networks import (
    KernelOptions,
    TrainingOptions,
    analyze_task,
    folder_name,
    own_network_of,
    task_options,
)
from ntkspec.cli.options import Engine, MaybeWhole, Output, Whole
from ntkspec.cli.recipes import RecipeOptions
from ntkspec.cli.report import report as report_command
from ntkspec.cli.streams import ENDS, Exit
from ntkspec.cli.telling import TellOptions, stage, tell
from ntkspec.cli.tracking import track

app = App(
    name="ntkspec",
    help="How close is a network's Neural Tangent Kernel to a linear model, and what does that say about training?",
    help_epilogue="\n\n".join(["Start with: ntkspec analyze (some minutes), or ntkspec COMMAND --help.", ENDS]),
    version=ntkspec.__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


@app.command(help_epilogue=epilogue("analyze"))
def analyze(
    *,
    data: DataOptions | None = None,
    network: KernelOptions | None = None,
    training: TrainingOptions | None = None,
    recipe: RecipeOptions | None = None,
    cluster: ClusterOptions | None = None,
    seed: Whole = 0,
    engine: Engine = "cpu",
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """How far a network is from its linear model: kernels, predictions, real training, and a verdict.

    Without options: the setting of Figure 1 (erf, width 256, d = 50, n = 20,000, x ~ N(0, I), erf teacher).
    Prints the answer on one screen and writes analysis.h5, four figures and a page with all of it, analysis.html.

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
    own = own_network_of(network)
    task, spread = check_analysis(analyze_task(network, training, recipe, seed)), spread_of(cluster, engine)
    if spread is not None:
        spread.check(task)
    folder = output or Path("ntkspec-analyze") / folder_name(data, task, engine)
    figures = ("losses", "outputs", "discrepancy", "eigenvalues")
    texts = Texts(summary, report, lambda found: str(headline(found)), analysis_document)
    job = Job("analysis", run, texts, RECORD_TYPES, "ntkspec.plotting.analysis", figures)
    return measure(job, task, folder, data=data, seed=seed, engine=engine, own=own, spread=spread)


@app.command(help_epilogue=epilogue("spectrum"))
def spectrum(
    *,
    data: DataOptions | None = None,
    network: KernelOptions | None = None,
    kernel: Literal["theta", "linear", "gap"] = "theta",
    pairs: MaybeWhole = None,
    probes: Whole = 8,
    steps: Whole = 100,
    cluster: ClusterOptions | None = None,
    seed: Whole = 0,
    engine: Engine = "cpu",
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """The spectrum of a kernel: certified extreme eigenvalues, density with error bars, and where the labels lie.

    Prints sizes and eigenpairs on one screen and writes spectrum.h5, two figures and a page with all of it,
    spectrum.html.

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
    from ntkspec.reporting.screen import spectrum_summary
    from ntkspec.reporting.spectrum import spectrum_answer, spectrum_report

    data, network = data or DataOptions(), network or KernelOptions()
    own = own_network_of(network)
    options = task_options(network) | {"kernel": kernel, "pairs": pairs, "probes": probes, "steps": steps}
    task, spread = check_spectrum(SpectrumTask(seed=seed, **options)), spread_of(cluster, engine)
    if spread is not None:
        spread.check(task)
    folder = output or Path("ntkspec-spectrum") / f"{kernel}-{folder_name(data, task, engine)}"
    figures = ("density", "eigenpairs")
    texts = Texts(spectrum_summary, spectrum_report, spectrum_answer, spectrum_document)
    job = Job("spectrum", measure_spectrum, texts, SPECTRUM_TYPES, "ntkspec.plotting.spectrum", figures)
    return measure(job, task, folder, data=data, seed=seed, engine=engine, own=own, spread=spread)


@app.command(help_epilogue=epilogue("constants"))
def constants(name: str, /, *, negative_slope: float | None = None, tells: TellOptions | None = None) -> None:
    """Print zeta, vartheta0, vartheta1, vartheta2 and the case of Assumption 3.2 of an activation.

    Parameters
    ----------
    name
        name of the activation, one of those of analyze
    negative_slope
        slope of leaky_relu below 0 (default: 0.01)
    """
    from ntkspec.activations import activation

    act = activation(name, **({} if negative_slope is None else {"negative_slope": negative_slope}))
    values = act.constants
    found = {label: getattr(values, label) for label in ("zeta", "vartheta0", "vartheta1", "vartheta2")}
    # A number within the error of quadrature is not told from zero.
    numbers = [f"{label:<12}{value if abs(value) > values.error else 0.0: .16g}" for label, value in found.items()]
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
    tell("\n".join(lines), answer="\n".join(numbers), **found, **fields)


@app.command(help_epilogue=epilogue("doctor"))
def doctor(*, scheduler: str | None = None, tells: TellOptions | None = None) -> int:
    """Print what this installation has: versions, threads, memory, BLAS speed, data sets found.

    With --scheduler also what its workers have, how fast the links to them are, and what does not fit together. Ends
    with 1 where workers have another version of the package or of Python: no kernel is computed with them.

    Parameters
    ----------
    scheduler
        address of a Dask scheduler, such as tcp://10.0.0.1:8786 (needs ntkspec[distributed]; default: none)
    """
    from ntkspec.cli.doctor import findings, table, worker_findings

    if scheduler is None:
        found = list(findings())
        tell(table(found), answer=table(found), findings=dict(found))
        return Exit.DONE
    from ntkspec.cluster.machines import misfits, workers_of

    workers = workers_of(scheduler, report=stage)
    found, theirs, wrong = list(findings()), [list(worker_findings(one)) for one in workers], misfits(workers)
    told = "\n".join(f"{'error' if one.fatal else 'note'}: {one.text}" for one in wrong) or "all workers fit together"
    text = "\n\n".join([*(table(one) for one in [found, *theirs]), told])
    fields: dict[str, Any] = {"workers": [dict(one) for one in theirs], "misfits": [asdict(one) for one in wrong]}
    tell(text, answer=told, findings=dict(found), scheduler=scheduler, **fields)
    return Exit.DIFFERS if any(one.fatal for one in wrong) else Exit.DONE


app.command(track, help_epilogue=epilogue("track"))
app.command(sweeps.sweep, help_epilogue=epilogue("sweep"))
app.command(sweeps.check, help_epilogue=epilogue("check"))
app.command(figure)
app.command(report_command, help_epilogue=epilogue("report"))


@app.command(help_epilogue=epilogue("rerun"))
def rerun(file: Path, /, *, tells: TellOptions | None = None) -> int:
    """Repeat a stored run and compare its numbers: which agree within their intervals.

    Ends with 1 where one does not. Nothing is written. Numbers without an interval agree to 1e-3 of their size in
    float32 and 1e-6 in float64. Analyses, spectra and series are repeated by their stored command, which reads data and
    networks again from where it names them; cells of a sweep or check and runs of a figure by their stored settings.

    Parameters
    ----------
    file
        what analyze, spectrum, track, sweep, check or figure wrote: analysis.h5, sweep.h5, check.h5, figure-1.h5, ...
    """
    from ntkspec.cli.rerun import rerun as repeat

    def run(words: Sequence[str]) -> int:
        return app(words, exit_on_error=False, print_error=False, result_action="return_value")

    return repeat(file, run=run)


add_completion(app)
