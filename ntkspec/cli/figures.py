"""The figures of the paper, one command each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cyclopts import App, Parameter

from ntkspec.cli.help import epilogue
from ntkspec.cli.options import Engine, MaybeSeveral, MaybeWhole, Output, Whole, located, or_else
from ntkspec.cli.recipes import RecipeOptions, recipe_of
from ntkspec.cli.results import COMMAND, held
from ntkspec.cli.sweeps import (
    GridOptions,
    PlaceOptions,
    draw,
    figure_of,
    files_of,
    grid_of,
    measured,
    tell_sweep,
)
from ntkspec.cli.telling import TellOptions, stage, tell

figure = App(
    name="figure",
    help="Draw a figure of the paper as PNG and PDF, beside the HDF5 file of its numbers and its page. "
    "A second call redraws without computing.",
    help_epilogue=epilogue("figure"),
    default_parameter=Parameter(negative=()),
)


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """The setting of a figure of training."""

    activation: str | None = None
    "activation by name (default: figure 1 erf, figure 2 relu)"
    d: Whole = 50
    "dimension"
    n: Whole = 20_000
    "training points"
    n_test: Whole = 2000
    "test points"
    width: MaybeWhole = None
    "number of neurons m, an even number (default: figure 1 256, figure 2 4096)"
    steps: MaybeWhole = None
    "steps of training (default: figure 1 3000, figure 2 1000)"
    eta: float | None = None
    """learning rate of both layers (default: 5 d / (2 zeta^2 1000), so that linear learning ends near step 1,000;
    times 1 - momentum, and over the largest curvature of the loss)"""
    seed: Whole = 0
    "seed of data and network"
    dtype: Literal["float32", "float64"] = "float32"
    "precision of data and network"
    engine: Engine = "cpu"
    "where it is computed: on the CPU, or on an NVIDIA GPU (needs CuPy)"


@figure.command(name="1", help_epilogue=epilogue("figure 1"))
def figure_1(
    *,
    run: RunOptions | None = None,
    recipe: RecipeOptions | None = None,
    dimensions: MaybeSeveral = None,
    panel_steps: Whole = 1000,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """Figure 1: losses, outputs on five test points, and the discrepancy over d at fixed and at growing width.

    Parameters
    ----------
    dimensions
        values of d in panel c (default: 25 50 100 200); the learning rate is proportional to d
    panel_steps
        steps in panel c
    output
        folder (default: ntkspec-figure/1)
    """
    from ntkspec.experiments.sweep_grid import dimensions as whole_numbers
    from ntkspec.experiments.two_layer_runs import COMPARISON, over_dimensions

    main = _setting(run, recipe, activation="erf", width=256, steps=3000)
    panels = over_dimensions(main, whole_numbers(dimensions or ("25", "50", "100", "200")), panel_steps)
    settings = [main, *(setting for own in panels.values() for setting in own)]
    folder = _folder(output, "1", main.engine)
    with held(folder, _files("1")):
        runs = iter(_kept(settings, folder, "1", COMPARISON))
        first = next(runs)
        found = {title: [next(runs) for _ in own] for title, own in panels.items()}
        return _draw(lambda plots: plots.figure_1(first, found), folder, "1")


@figure.command(name="2", help_epilogue=epilogue("figure 2"))
def figure_2(
    *,
    run: RunOptions | None = None,
    recipe: RecipeOptions | None = None,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """Figure 2: a ReLU network learns a function of the norm; its linear model follows, the naive one does not.

    The width is beyond d^2, as Theorem 3.5 asks where E[phi(g)] is not 0.

    Parameters
    ----------
    output
        folder (default: ntkspec-figure/2)
    """
    from ntkspec.experiments.two_layer_runs import COMPARISON

    setting = _setting(run, recipe, activation="relu", width=4096, steps=1000, target="norm", naive=True)
    folder = _folder(output, "2", setting.engine)
    with held(folder, _files("2")):
        (run,) = _kept([setting], folder, "2", COMPARISON)
        return _draw(lambda plots: plots.figure_2(run), folder, "2")


@Parameter(name="*")
@dataclass(frozen=True)
class DeepOptions:
    """The images, and how deep networks are trained on them."""

    data: Literal["cifar10", "mnist"] = "cifar10"
    "which images; their folder is named by NTKSPEC_DATA"
    classes: MaybeSeveral = None
    "two classes, labelled +1 and -1 (default: cifar10 cat horse, mnist 4 9)"
    pool: MaybeWhole = None
    "average the images over POOL x POOL patches (default: cifar10 4, mnist 1)"
    n: Whole = 10_000
    "training points"
    n_test: MaybeWhole = None
    "test points (default: cifar10 2000, mnist 1900)"
    activation: str = "erf"
    "activation by name, an odd one: the linear model is x . delta / sqrt d"
    eta: float = 0.3
    "learning rate of the linear model; a network's is such that its own linear model is the same"
    steps: Whole = 3000
    "steps of gradient descent"
    batch: MaybeWhole = None
    "batch size, the same batches for all models; 0 is full batch (default: 256, or all of fewer points)"
    seed: Whole = 0
    "seed of the choice of images, the networks and the batches"
    dtype: Literal["float32", "float64"] = "float32"
    "precision of data and network"
    engine: Engine = "cpu"
    "where it is computed: on the CPU, or on an NVIDIA GPU (needs CuPy)"


@figure.command(name="3", help_epilogue=epilogue("figure 3"))
def figure_3(
    *,
    run: DeepOptions | None = None,
    network: MaybeSeveral = None,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """Figure 3: deep dense and convolutional networks on images learn the linear part first.

    Parameters
    ----------
    network
        networks, fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE (default: fc:4x1024 cnn:4x64:k3)
    output
        folder (default: ntkspec-figure/3)
    """
    from ntkspec.experiments.deep_runs import BATCH, DEEP_COMPARISON, DeepSetting
    from ntkspec.plotting.colours import DEEP_COLOURS
    from ntkspec.reporting.deep import deep_document, deep_table

    if network and "linear" in network:
        raise ValueError("the linear model is always there; pass networks such as fc:4x1024")
    if network and len(network) >= len(DEEP_COLOURS):
        raise ValueError(f"{len(network)} networks are too many for one figure; pass {len(DEEP_COLOURS) - 1} or fewer")
    given = vars(run or DeepOptions())
    classes, pool, n_test = {"cifar10": (("cat", "horse"), 4, 2000), "mnist": (("4", "9"), 1, 1900)}[given["data"]]
    chosen = {
        "classes": tuple(given["classes"] or classes),
        "pool": or_else(given["pool"], pool),
        "n_test": or_else(given["n_test"], n_test),
        "batch": or_else(given["batch"], BATCH if given["n"] >= BATCH else 0),
    }
    names = ["linear", *(network or ("fc:4x1024", "cnn:4x64:k3"))]
    settings = [DeepSetting(name, **(given | chosen)) for name in names]
    folder = _folder(output, "3", given["engine"])
    with held(folder, _files("3")):
        linear, *networks = _kept(settings, folder, "3", DEEP_COMPARISON)
        table = deep_table(linear, networks)
        tell(table, answer=table, networks=deep_document(linear, networks))
        return _draw(lambda plots: plots.figure_3(linear, networks), folder, "3")


@figure.command(name="5", help_epilogue=epilogue("figure 5"))
def figure_5(
    *,
    grid: GridOptions | None = None,
    place: PlaceOptions | None = None,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """Figure 5: spectral and Frobenius norm over d, at fixed n and width, and times d/n along n = d^1.5.

    Parameters
    ----------
    output
        folder (default: ntkspec-figure/5)
    """
    fixed = grid_of(grid, ("gap-first",), n=("2000",), width=("2000",))
    along = replace(fixed, n=("d^1.5",), width=("d^1.5",))
    folder = _folder(output, "5", fixed.engine)
    with held(folder, _files("5")):
        results = measured([fixed, along], folder / "figure-5.h5", place)
        tell_sweep(results)
        return draw(lambda: figure_of(results, "figure-5"), folder, "figure-5.h5")


@figure.command(name="budget", help_epilogue=epilogue("figure budget"))
def figure_budget(
    *,
    grid: GridOptions | None = None,
    place: PlaceOptions | None = None,
    output: Output = None,
    tells: TellOptions | None = None,
) -> int:
    """The budget of the gap: fluctuation, diagonal and remainder over d, measured and predicted.

    Parameters
    ----------
    output
        folder (default: ntkspec-figure/budget)
    """
    layers = [grid_of(grid, (f"budget-{layer}",)) for layer in ("first", "second")]
    folder = _folder(output, "budget", layers[0].engine)
    with held(folder, _files("budget")):
        results = measured(layers, folder / "figure-budget.h5", place)
        tell_sweep(results)
        return draw(lambda: figure_of(results, "figure-budget"), folder, "figure-budget.h5")


def _setting(options: RunOptions | None, recipe: RecipeOptions | None, **defaults):
    from ntkspec.experiments.two_layer_runs import Setting

    given = {name: value for name, value in vars(options or RunOptions()).items() if value is not None}
    if given.get("eta") == 0:
        raise ValueError("eta=0 trains nothing; leave it out for the automatic rate")
    return Setting(**(defaults | given | recipe_of(recipe)))


def _folder(output: Path | None, which: str, engine: str) -> Path:
    """The one that was asked for, or the figure's own."""
    return output or Path("ntkspec-figure") / located(which, engine)


def _files(which: str) -> list[str]:
    return files_of(f"figure-{which}", record=f"figure-{which}.h5")


def _kept(settings, folder: Path, which: str, how):
    from ntkspec.experiments.run_cache import kept

    path, command = folder / f"figure-{which}.h5", COMMAND.get("ntkspec figure")
    return kept(settings, path, how, command=command, report=stage)


def _draw(make: Callable, folder: Path, which: str) -> int:
    """``make`` is given the module of figures of training."""

    def figures():
        from ntkspec.plotting import training

        return {f"figure-{which}": make(training)}

    return draw(figures, folder, f"figure-{which}.h5")
