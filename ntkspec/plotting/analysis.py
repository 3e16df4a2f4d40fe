"""The figures of an analysis."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ntkspec.experiments.analyze import Analysis
from ntkspec.plotting.colours import POINT_COLOURS
from ntkspec.plotting.files import save
from ntkspec.plotting.values import logarithmic, shown

# Okabe-Ito colours, told apart in grey by lightness and by line style.
COLOURS = {"network": "#0072B2", "linear": "#D55E00", "ntk": "#000000"}
LABELS = {"network": "network", "linear": "linear model", "ntk": "NTK at initialization"}
LINES = {"network": "-", "linear": "--", "ntk": ":"}


def save_figures(analysis: Analysis, folder: str | Path) -> list[Path]:
    """Draw every figure as a PNG in the folder; each file is whole or not there."""
    figures = {
        "losses": losses(analysis),
        "outputs": outputs(analysis),
        "discrepancy": discrepancy(analysis),
        "eigenvalues": eigenvalues(analysis),
    }
    return [path for name, figure in figures.items() for path in save(figure, folder, name, kinds=("png",))]


def losses(analysis: Analysis) -> Figure:
    """Losses over steps as in Figure 1a: train solid in the left panel, test in the right one.

    Where labels are columns of classes, the part of the points that is classified rightly below.
    """
    figure, axes = _panels(analysis, len(analysis.labels), 2 if analysis.accuracies else 1)
    for axis, part in zip(axes, analysis.labels, strict=False):
        _of_models(axis, analysis, {name: analysis.losses[name][part] for name in LABELS})
        _over_steps(axis, analysis, f"{part} loss (1/2n) Σ (f − y)²")
        start = shown(analysis.losses["network"][part])[0]
        axis.set_ylim(0, 1.05 * start if start > 0 else 1)  # a diverging model leaves the panel
    if analysis.accuracies:
        for axis, part in zip(axes[len(analysis.labels) :], analysis.labels, strict=True):
            _of_models(axis, analysis, {name: analysis.accuracies[name][part] for name in LABELS})
            _over_steps(axis, analysis, f"{part} accuracy")
            axis.set_ylim(0, 1)
    axes[0].legend(frameon=False)
    return figure


def _of_models(axis, analysis: Analysis, values: dict) -> None:
    """A line for each model over steps."""
    for name in ("network", "linear", "ntk"):
        axis.plot(analysis.steps, shown(values[name]), LINES[name], color=COLOURS[name], label=LABELS[name])


def outputs(analysis: Analysis) -> Figure:
    """Outputs on single points as in Figure 1b: the first five test points (training points where there are none).

    Of several outputs, that of the point's own class.
    """
    part = "test" if "test" in analysis.labels else "train"
    figure, (axis,) = _panels(analysis, 1)
    own = own_outputs(analysis.labels[part])
    for name in ("network", "linear"):
        found = getattr(analysis.trajectories[name], part)
        values = shown(found if own is None else found[:, np.arange(len(own)), own])[:, : len(POINT_COLOURS)]
        for k, colour in zip(range(values.shape[1]), POINT_COLOURS, strict=False):
            axis.plot(analysis.steps, values[:, k], LINES[name], color=colour)
        axis.plot([], [], LINES[name], color="black", label=LABELS[name])
    what = "output" if own is None else "output of the own class"
    _over_steps(axis, analysis, f"{what} on {values.shape[1]} {part} points")
    axis.legend(frameon=False)
    return figure


def own_outputs(y: np.ndarray) -> np.ndarray | None:
    """Which of K outputs has each point's largest label, its own class; None for labels (n,)."""
    return None if y.ndim == 1 else y.argmax(axis=1)


def discrepancy(analysis: Analysis) -> Figure:
    """Mean squared differences f - g over steps, and the same over the mean square of g."""
    part = "test" if "test" in analysis.labels else "train"
    figure, axes = _panels(analysis, 2)
    styles = {"ntk-linear": "network", "network-linear": "linear", "network-ntk": "ntk"}
    titles = {"network-linear": "network − linear", "network-ntk": "network − NTK", "ntk-linear": "NTK − linear"}
    for pair, style in styles.items():
        comparison = analysis.comparisons[pair][part]
        later = analysis.steps >= 1
        for axis, values in zip(axes, (comparison.mean_squared, comparison.relative), strict=True):
            axis.plot(
                analysis.steps[later], shown(values[later]), LINES[style], color=COLOURS[style], label=titles[pair]
            )
    _over_steps(axes[0], analysis, f"mean squared difference ({part})")
    _over_steps(axes[1], analysis, f"‖f − g‖² / ‖g‖² of each f − g ({part})")
    for axis in axes:
        logarithmic(axis)
        axis.set_xlim(left=0.9)  # nothing differs before the first step
    axes[0].legend(frameon=False)
    return figure


def eigenvalues(analysis: Analysis) -> Figure:
    """The leading eigenvalues of Theta against those of Theta^lin, of a user's network the nearest linear kernel."""
    figure, (axis,) = _panels(analysis, 1)
    count = len(analysis.kernel.eigenvalues)
    for values, marker, name, label in (
        (analysis.kernel.eigenvalues, "o", "network", "Θ"),
        (analysis.kernel.eigenvalues_lin[:count], "x", "linear", "Θ^lin" if analysis.own is None else "nearest linear"),
    ):
        positive = values > 1e-9 * abs(values).max()
        index = np.arange(1, len(values) + 1)[positive]
        axis.plot(index, values[positive], marker, color=COLOURS[name], label=label, fillstyle="none", markersize=5)
    logarithmic(axis)
    axis.set_xlabel("index")
    axis.set_ylabel(f"eigenvalue ({analysis.task.trained})")
    axis.legend(frameon=False)
    return figure


def _panels(analysis: Analysis, count: int, rows: int = 1):
    figure = Figure(figsize=(5.0 * count, 3.8 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, count)).ravel()
    task, data = analysis.task, analysis.data
    name, between = analysis.dataset["name"], "\n" if count == 1 else ": "
    figure.suptitle(f"{name}{between}{task.label}, d = {data.d}, n = {data.n}", fontsize=10)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _over_steps(axis, analysis: Analysis, quantity: str) -> None:
    axis.set_xlabel("step")
    axis.set_ylabel(quantity)
    axis.set_xscale("symlog", linthresh=1, linscale=0.3)
    axis.set_xlim(0, analysis.steps[-1])
