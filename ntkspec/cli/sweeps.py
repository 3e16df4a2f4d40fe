"""The commands that run over a grid of settings: sweep and check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from ntkspec.cli.options import Engine, MaybeSeveral, MaybeWhole, Output, Several, Whole, located
from ntkspec.cli.results import COMMAND, drawn, ended, held
from ntkspec.cli.telling import TellOptions, progress, tell, tell_files, told

if TYPE_CHECKING:
    from ntkspec.experiments.sweep_grid import Grid
    from ntkspec.experiments.sweep_results import Sweep
    from ntkspec.plotting.files import Figure


@Parameter(name="*")
@dataclass(frozen=True)
class GridOptions:
    """Which settings; all combinations of what is listed."""

    d: MaybeSeveral = None
    """dimensions: whole numbers, or first:last:xratio (default: 32:256:x1.5; check prop-3.4-deep: 32:162:x1.5;
    check drift: 32)"""
    n: MaybeSeveral = None
    """training points: whole numbers, or powers of d (default: d^1.5; check prop-4.1: d^1.25; check drift: 200;
    figure 5: 2000 and d^1.5)"""
    width: MaybeSeveral = None
    """neurons of two-layer networks: whole numbers, powers of d such as 2*d^1.25, or inf (default: d^1.5;
    check prop-4.1: d^0.9; check drift: 64 128 256 512 1024; figure 5: 2000 and d^1.5)"""
    network: MaybeSeveral = None
    """two-layer, or deep ones, fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, with sizes as for width: fc:3xd^1.5
    (default: two-layer; check prop-3.4-deep: fc:3xd^1.75)"""
    activation: MaybeSeveral = None
    "activations by name, those of analyze, such as erf relu gelu (default: erf)"
    distribution: MaybeSeveral = None
    "gaussian, cube (entries +1 or -1), sphere or uniform entries (default: gaussian; check prop-4.1: cube)"
    covariance: MaybeSeveral = None
    "identity, or graded, variances from 0.2 to 1.8 (default: identity)"
    seeds: MaybeWhole = None
    "how many seeds: 0, 1, 2, ... (default: 5)"
    second: Literal["rademacher", "normal"] = "rademacher"
    "initial second layer: signs or N(0, 1)"
    dtype: Literal["float32", "float64"] = "float64"
    "precision of data and network"
    parameterization: MaybeSeveral = None
    """of drifts: ntk, or mup, the maximal update parameterization of two layers, v divided by sqrt m and the first
    layer's rate times m (default: ntk)"""
    engine: Engine = "cpu"
    "where cells are computed: on the CPU, or on an NVIDIA GPU (needs CuPy)"


@Parameter(name="*")
@dataclass(frozen=True)
class PlaceOptions:
    """Where the cells run."""

    processes: Whole = 1
    "local processes, which share the cores evenly"
    scheduler: str | None = None
    "address of a Dask scheduler, such as tcp://10.0.0.1:8786 (needs ntkspec[distributed]; default: none)"


# The record of a check beside the file of its sweep.
CHECK = "check.h5"
# What runs in minutes on two cores; the other defaults are those of Grid.
_DIMENSIONS = ("32:256:x1.5",)
_USUAL: dict[str, dict] = {
    "prop-4.1": {"n": ("d^1.25",), "width": ("d^0.9",), "distribution": ("cube",)},
    "prop-3.4-deep": {"d": ("32:162:x1.5",), "network": ("fc:3xd^1.75",)},
    "drift": {"d": ("32",), "n": ("200",), "width": ("64", "128", "256", "512", "1024")},
}


def grid_of(options: GridOptions | None, quantity: tuple[str, ...], **defaults: tuple[str, ...]) -> "Grid":
    """The grid of the options; what they leave open is in ``defaults``, or in Grid."""
    from ntkspec.experiments.sweep_grid import Grid, dimensions
    from ntkspec.networks.specification import TWO_LAYER

    given = {name: value for name, value in vars(options or GridOptions()).items() if value is not None}
    settings = {"d": _DIMENSIONS} | defaults | given
    networks = settings.get("network", (TWO_LAYER,))
    if "width" in given and TWO_LAYER not in networks:
        raise ValueError(
            f"--width is that of {TWO_LAYER} networks, and {', '.join(networks)} have theirs in their names, such as "
            f"fc:3xd^1.5; leave --width out"
        )
    lists: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in settings.items()}
    return Grid(quantity=quantity, **(lists | {"d": dimensions(lists["d"])}))


def measured(grids: Sequence["Grid"], path: Path, options: PlaceOptions | None) -> "Sweep":
    """The numbers of every cell of the grids, from the file or measured into it."""
    from ntkspec.cluster.execution import Place
    from ntkspec.experiments.sweep_run import run_sweep

    place = Place(**vars(options or PlaceOptions()))
    return run_sweep(grids, path, place=place, command=COMMAND.get("ntkspec"), report=progress)


def sweep(
    *,
    grid: GridOptions | None = None,
    quantity: Several,
    place: PlaceOptions | None = None,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """Measure a grid of settings into one HDF5 file, which a later call completes.

    Prints medians over seeds and exponents of d, or of the width where there is one d (--verbose: every cell), draws
    them and writes a page, NAME.html, beside the file.

    Parameters
    ----------
    quantity
        data (norms and overlaps of the points), gap-LAYER (||Theta - Theta^lin||), budget-LAYER (its three parts),
        training-LAYER (network against linear model up to the horizon), LAYER being first, second or both; drift or
        drift-first (how far the kernel moves up to there, all layers being trained or the first one); of deep networks
        data, gap-both, training-both or drift, all layers; gap-cnn, the kernel of prop-4.1
    output
        the file (default: ntkspec-sweep.h5); cells that it holds are not measured again
    """
    settings = grid_of(grid, tuple(quantity))
    output = output or Path(f"{located('ntkspec-sweep', settings.engine)}.h5")
    if output.is_dir():
        raise ValueError(f"{output} is a folder, but a sweep goes into one file; name one in it, such as sweep.h5")
    names = [f"{output.stem}-{name}" for name in dict.fromkeys(quantity)]
    with held(output.parent, files_of(*names, record=output.name)):
        results = measured([settings], output, place)
        tell_sweep(results)
        return draw(lambda: figures_of(results, output.stem), output.parent, output.name)


def check(
    statement: Literal[
        "claim-3.1",
        "prop-3.4",
        "prop-3.4-second",
        "prop-3.4-both",
        "prop-3.4-deep",
        "prop-4.1",
        "theorem-3.2",
        "corollary-3.3",
        "theorem-3.5",
        "theorem-both",
        "drift",
    ],
    /,
    *,
    grid: GridOptions | None = None,
    place: PlaceOptions | None = None,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """Whether a statement of the paper holds on a setting: measured over d and seeds, fitted, and judged.

    Prints the verdict with its findings, and writes sweep.h5, check.h5, a figure and a page with all of it, check.html.

    Parameters
    ----------
    statement
        claim-3.1 (data), prop-3.4 (first layer), prop-3.4-second, prop-3.4-both or prop-3.4-deep (reconstructions; the
        last one with --network), prop-4.1 (convolutional networks of infinitely many channels; --width is the filter
        size), theorem-3.2 and corollary-3.3 (training the first layer), theorem-3.5 (second), theorem-both (a
        reconstruction), drift (how far the kernel moves in training, against the width, at one d)
    output
        folder for the results (default: ntkspec-check/STATEMENT); cells that it holds are not measured again
    """
    from ntkspec.experiments.statements import STATEMENTS, check_grid, check_statement
    from ntkspec.experiments.sweep_cells import Cell
    from ntkspec.reporting.check import check_report
    from ntkspec.reporting.documents import checks_document
    from ntkspec.reporting.screen import check_summary, check_verdicts
    from ntkspec.storage import Keeper
    from ntkspec.storage.provenance import provenance
    from ntkspec.storage.sweeps import Stored

    settings = grid_of(grid, (STATEMENTS[statement].quantity,), **_USUAL.get(statement, {}))
    folder = output or Path("ntkspec-check") / located(statement, settings.engine)
    check_grid(statement, settings)
    with held(folder, [*files_of(statement, record=CHECK), "sweep.h5"]):
        results = measured([settings], folder / "sweep.h5", place)
        checks = check_statement(statement, settings, results)
        whole, answer = check_report(checks) + "\n", check_verdicts(checks)
        tell(check_summary(checks) + "\n", answer=answer, whole=whole, **checks_document(checks))
        made_with = provenance(COMMAND.get("ntkspec check")) | {"engine": settings.engine}
        measurements = Stored(results, [asdict(settings)]).tree(Cell)
        record = {"checks": checks, **measurements, "provenance": made_with}
        Keeper(folder / CHECK, "check").write(record)
        return draw(lambda: figure_of(results, statement), folder, "sweep.h5", CHECK)


def tell_sweep(results: "Sweep") -> None:
    """Tell of a sweep: medians and exponents, or every cell."""
    from ntkspec.reporting.check import laws_report, sweep_report
    from ntkspec.reporting.documents import sweep_document
    from ntkspec.reporting.screen import sweep_answer, sweep_summary

    whole = "\n\n".join(part for part in (sweep_report(results), laws_report(results.laws)) if part) + "\n"
    document = sweep_document(results, results.laws) if told().how.json else {}
    tell(sweep_summary(results) + "\n", answer=sweep_answer(results), whole=whole, **document)


def files_of(*names: str, record: str) -> list[str]:
    """The files of figures of these names, the record that they are drawn from, and its page."""
    return [*(f"{name}.{kind}" for name in names for kind in ("png", "pdf")), record, f"{Path(record).stem}.html"]


def draw(figures: "Callable[[], Mapping[str, Figure]]", folder: Path, *records: str) -> int:
    """Save the figures by their names, and the page of the last record; say what lies in the folder, and return how
    that ended.

    records : the first one holds what is drawn.
    """

    def save_all() -> list[Path]:
        from ntkspec.plotting.files import save
        from ntkspec.reporting.page import report

        saved = [path for name, figure in figures().items() for path in save(figure, folder, name)]
        page = (folder / records[-1]).with_suffix(".html")
        report(folder / records[-1], page)
        return [*saved, page]

    written = drawn(save_all, folder / records[0])
    names = [*records, *(path.name for path in written or ())]
    tell_files(f"written to {folder}: {', '.join(names)}", folder, names)
    return ended(written, folder / records[0])


def figures_of(results: "Sweep", prefix: str) -> "dict[str, Figure]":
    """The figure of each quantity under its file's name."""
    from ntkspec.plotting.sweeps import figures

    return {f"{prefix}-{quantity}": figure for quantity, figure in figures(results).items()}


def figure_of(results: "Sweep", name: str) -> "dict[str, Figure]":
    """The figure of a sweep of one kind under its file's name."""
    from ntkspec.plotting.sweeps import figures

    (figure,) = figures(results).values()
    return {name: figure}
