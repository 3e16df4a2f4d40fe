"""The figures of an analysis."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkspec.experiments.analyze import Analysis
from ntkspec.plotting import marks
from ntkspec.plotting.colours import POINT_COLOURS
from ntkspec.plotting.densities import whole_index
from ntkspec.plotting.files import save
from ntkspec.plotting.labels import LINEAR, RELATIVE, THETA, TO_LABELS, loss_label
from ntkspec.plotting.sheets import sheet
from ntkspec.plotting.values import logarithmic, shown

# Okabe-Ito colours, told apart in grey by lightness and by line style.
COLOURS = {"network": "#0072B2", "linear": "#D55E00", "ntk": "#000000"}
LABELS = {"network": "network", "linear": "linear model", "ntk": "NTK at initialization"}
LINES = {"network": "-", "linear": "--", "ntk": ":"}
# Letters of a title above one panel.
TITLE = 52
# Of the labels' mean square, as in the verdict; those between them would lie too close.
LEVELS = (0.01, 0.1)
# Pairs of models, and the colour and line of each.
PAIRS = {
    "ntk-linear": ("network", "NTK − linear"),
    "network-linear": ("linear", "network − linear"),
    "network-ntk": ("ntk", "network − NTK"),
}


def save_figures(analysis: Analysis, folder: str | Path) -> list[Path]:
    """Draw every figure into the folder, as PNG and PDF; each file is whole or not there."""
    return [path for name, figure in figures(analysis).items() for path in save(figure, folder, name)]


def figures(analysis: Analysis) -> dict[str, Figure]:
    """All of them by name."""
    drawn = losses, outputs, discrepancy, eigenvalues
    return {draw.__name__: draw(analysis) for draw in drawn}


def losses(analysis: Analysis) -> Figure:
    """Losses over steps as in Figure 1a: train in the left panel, test in the right one.

    Where labels are columns of classes, the part of the points that is classified rightly below.
    """
    names = [f"{part} loss" for part in analysis.labels]
    return _figure(analysis, names + [f"{part} accuracy" for part in analysis.labels if analysis.accuracies])


def outputs(analysis: Analysis) -> Figure:
    """Outputs on single points as in Figure 1b: the first five test points (training points where there are none).

    Of several outputs, that of the point's own class.
    """
    return _figure(analysis, ["outputs"])


def discrepancy(analysis: Analysis) -> Figure:
    """Mean squared differences f - g over steps, over the mean square of the labels and over that of g."""
    return _figure(analysis, ["difference", "relative difference"])


def eigenvalues(analysis: Analysis) -> Figure:
    """The leading eigenvalues of Theta against those of Theta^lin, of a user's network the nearest linear kernel."""
    return _figure(analysis, ["eigenvalues"])


def pictures(analysis: Analysis) -> dict[str, Callable[[Axes], None]]:
    """What can be drawn on one pair of axes, by name."""
    by_part: dict[str, Callable[..., None]] = {"loss": _losses}
    if analysis.accuracies:
        by_part["accuracy"] = _accuracies
    found: dict[str, Callable[[Axes], None]] = {
        f"{part} {name}": partial(draw, analysis=analysis, part=part)
        for name, draw in by_part.items()
        for part in analysis.labels
    }
    others: dict[str, Callable[..., None]] = {
        "outputs": _outputs,
        "difference": _differences,
        "relative difference": _relative,
        "eigenvalues": _leading,
    }
    return found | {name: partial(draw, analysis=analysis) for name, draw in others.items()}


def own_outputs(y: np.ndarray) -> np.ndarray | None:
    """Which of K outputs has each point's largest label, its own class; None for labels (n,)."""
    return None if y.ndim == 1 else y.argmax(axis=1)


# ------------------------------------------------------------------------------------------------------------ pictures
def _losses(axis: Axes, analysis: Analysis, part: str) -> None:
    _of_models(axis, analysis, {name: analysis.losses[name][part] for name in LABELS})
    _horizon(axis, analysis)
    _over_steps(axis, analysis, f"{part} {loss_label(analysis.recipe)}")
    start = shown(analysis.losses["network"][part])[0]
    axis.set_ylim(0, 1.05 * start if start > 0 else 1)  # a diverging model leaves the panel


def _accuracies(axis: Axes, analysis: Analysis, part: str) -> None:
    _of_models(axis, analysis, {name: analysis.accuracies[name][part] for name in LABELS})
    _horizon(axis, analysis)
    _over_steps(axis, analysis, f"{part} accuracy")
    axis.set_ylim(0, 1)


def _of_models(axis: Axes, analysis: Analysis, values: dict) -> None:
    """A line for each model over steps."""
    for name in ("network", "linear", "ntk"):
        axis.plot(analysis.steps, shown(values[name]), LINES[name], color=COLOURS[name], label=LABELS[name])


def _outputs(axis: Axes, analysis: Analysis) -> None:
    part = analysis.judged_part
    own = own_outputs(analysis.labels[part])
    for name in ("network", "linear"):
        found = getattr(analysis.trajectories[name], part)[:, : len(POINT_COLOURS)]
        values = shown(found if own is None else found[:, np.arange(found.shape[1]), own[: found.shape[1]]])
        for k, colour in zip(range(values.shape[1]), POINT_COLOURS, strict=False):
            axis.plot(analysis.steps, values[:, k], LINES[name], color=colour)
        axis.plot([], [], LINES[name], color="black", label=LABELS[name])
    _horizon(axis, analysis)
    what = "output" if own is None else "output of the own class"
    _over_steps(axis, analysis, f"{what} on {values.shape[1]} {part} points")


def _differences(axis: Axes, analysis: Analysis) -> None:
    _of_pairs(axis, analysis, "relative_to_labels")
    _over_steps(axis, analysis, f"{TO_LABELS} ({analysis.judged_part})")


def _relative(axis: Axes, analysis: Analysis) -> None:
    _of_pairs(axis, analysis, "relative")
    _over_steps(axis, analysis, f"{RELATIVE} ({analysis.judged_part})")


def _of_pairs(axis: Axes, analysis: Analysis, what: str) -> None:
    """A line for each pair of models from step 1 on, and the levels of the verdict."""
    later, part = analysis.steps >= 1, analysis.judged_part
    for pair, (style, label) in PAIRS.items():
        values = shown(getattr(analysis.comparisons[pair][part], what)[later])
        axis.plot(analysis.steps[later], values, LINES[style], color=COLOURS[style], label=label)
    axis.set_xlim(left=0.9)  # nothing differs before the first step
    logarithmic(axis)
    _horizon(axis, analysis)
    if axis.get_yscale() == "log":
        marks.thresholds(axis, LEVELS)


def _leading(axis: Axes, analysis: Analysis) -> None:
    count = len(analysis.kernel.eigenvalues)
    linear = LINEAR if analysis.own is None else "nearest linear"
    for values, marker, name, label in (
        (analysis.kernel.eigenvalues, "o", "network", THETA),
        (analysis.kernel.eigenvalues_lin[:count], "x", "linear", linear),
    ):
        positive = values > 1e-9 * abs(values).max()
        index = np.arange(1, len(values) + 1)[positive]
        axis.plot(index, values[positive], marker, color=COLOURS[name], label=label, fillstyle="none", markersize=5)
    logarithmic(axis)
    whole_index(axis)
    axis.set_ylabel(f"eigenvalue ({analysis.task.trained})")


def _horizon(axis: Axes, analysis: Analysis) -> None:
    """Where network and linear model part, and where linear learning ends."""
    last = analysis.steps[-1]
    agreed = analysis.comparisons["network-linear"][analysis.judged_part].agreement_to_labels[-1]
    if agreed.from_start and not agreed.to_end:
        marks.step(
            axis, agreed.until, f"within {100 * agreed.threshold:.0f} % of the labels, step {agreed.until}", "-."
        )
    finished = np.inf if analysis.modes is None else analysis.modes.steps_to_learn(0.99)
    marks.finished(axis, finished, last)


def _figure(analysis: Analysis, names: list[str]) -> Figure:
    """The pictures of these names side by side, losses above accuracies, with one legend."""
    rows = 2 if any("accuracy" in name for name in names) else 1
    count = len(names) // rows
    figure = sheet(5.0 * count, 3.8 * rows)
    axes, found = np.atleast_1d(figure.subplots(rows, count)).ravel(), pictures(analysis)
    for axis, name in zip(axes, names, strict=True):
        found[name](axis)
        marks.bare(axis)
    marks.legend(axes[0])
    task, data = analysis.task, analysis.data
    name, between = analysis.dataset["name"], "\n" if count == 1 else ": "
    trained = wrap(analysis.recipe.told, TITLE * count)
    figure.suptitle(
        "\n".join([f"{name}{between}{task.label}, $d$ = {data.d}, $n$ = {data.n:,}", *trained]), fontsize=10
    )
    return figure


def _over_steps(axis: Axes, analysis: Analysis, quantity: str) -> None:
    axis.set_xlabel("step")
    axis.set_ylabel(quantity)
    axis.set_xscale("symlog", linthresh=1, linscale=0.3)
    axis.set_xlim(0, analysis.steps[-1])
