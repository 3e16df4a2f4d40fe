"""Figures 1, 2 and 3: networks and their linear models over the steps of training."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ntkspec.experiments.deep_runs import DeepRun, relative_mse
from ntkspec.experiments.two_layer_runs import Run
from ntkspec.plotting.colours import DEEP_COLOURS, POINT_COLOURS
from ntkspec.plotting.values import logarithmic, shown

# Colour, width of the line, name.
MODELS = {
    "network": ("#0072B2", 2.2, "network"),
    "linear": ("#D55E00", 1.3, "linear model (11)"),
    "naive": ("#000000", 1.3, "naive linear model (ϑ₁ = ϑ₂ = 0)"),
}


def figure_1(main: Run, panels: dict[str, list[Run]]) -> Figure:
    """a: losses. b: outputs on five test points. c: the test discrepancy over steps for each d, a panel per title."""
    figure = Figure(figsize=(4.1 * 2, 3.6 * 2), layout="constrained")
    losses, outputs, *rest = figure.subplots(2, 2).ravel()
    _losses(losses, main, ("train", "test"))
    losses.set_title("a  losses (solid: train, dashed: test)", fontsize=9, loc="left")
    _outputs(outputs, main)
    for axis, (title, runs) in zip(rest, panels.items(), strict=True):
        _discrepancies(axis, runs)
        axis.set_title(f"c  {title}", fontsize=9, loc="left")
    low, high = zip(*(axis.get_ylim() for axis in rest), strict=True)
    for axis in rest:
        axis.set_ylim(min(low), max(high))
    figure.suptitle(_settings(main), fontsize=9)
    return figure


def one_run(run: Run) -> Figure:
    """Panels a and b of Figure 1 for any run: its losses, and its outputs on five test points."""
    figure = Figure(figsize=(8.2, 3.6), layout="constrained")
    losses, outputs = figure.subplots(1, 2)
    _losses(losses, run, ("train", "test"))
    losses.set_title("losses (solid: train, dashed: test)", fontsize=9, loc="left")
    _outputs(outputs, run)
    outputs.set_title("outputs on five test points", fontsize=9, loc="left")
    return figure


def discrepancies(panels: dict[str, list[Run]]) -> Figure:
    """Panels c of Figure 1: {title: runs}, the test discrepancy over steps for each d."""
    figure = Figure(figsize=(4.1 * len(panels), 3.6), layout="constrained")
    for axis, (title, runs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        _discrepancies(axis, runs)
        axis.set_title(title, fontsize=9, loc="left")
    return figure


def figure_2(run: Run) -> Figure:
    """Test losses of the network, its linear model and the naive one; and how far the two are from the network."""
    figure = Figure(figsize=(8.2, 3.6), layout="constrained")
    losses, distances = figure.subplots(1, 2)
    _losses(losses, run, ("test",))
    logarithmic(losses)
    losses.set_xscale("log")
    losses.set_xlim(1, run.steps[-1])
    losses.set_title("a  test losses", fontsize=9, loc="left")
    for name, found in run.discrepancies.items():
        colour, width, label = MODELS[name]
        line = ":" if name == "naive" else "-"
        distances.plot(run.steps, shown(found["test"]), line, color=colour, linewidth=width, label=f"network − {label}")
    distances.set_xscale("log")
    distances.set_xlim(1, run.steps[-1])
    distances.set_ylim(0, 1.25 * distances.get_ylim()[1])  # room for the legend
    _labelled(distances, "mean squared difference (test)")
    distances.set_title("b  distance from the network", fontsize=9, loc="left")
    figure.suptitle(_settings(run), fontsize=9)
    return figure


def figure_3(linear: DeepRun, networks: list[DeepRun]) -> Figure:
    """a: the residual in the span of the inputs and outside. b: outputs on three points. c: relative MSE."""
    figure = Figure(figsize=(12.0, 3.8), layout="constrained")
    residuals, outputs, distances = figure.subplots(1, 3)
    for run, colour in zip([linear, *networks], DEEP_COLOURS, strict=False):
        label, width = (run.setting.network, 1.8) if run is not linear else ("linear model", 1.2)
        residuals.plot(run.steps, shown(run.inside), "-", color=colour, linewidth=width, label=label)
        residuals.plot(run.steps, shown(run.outside), "--", color=colour, linewidth=width)
        for k, line in enumerate(("-", "--", ":")):
            own = label if k == 0 else None
            outputs.plot(run.steps, shown(run.outputs[:, k]), line, color=colour, linewidth=width, label=own)
        if run is not linear:
            later = run.steps >= 1
            distances.plot(run.steps[later], shown(relative_mse(run, linear)[later]), color=colour, label=label)
    residuals.set_title("a  solid: in V_lin, dashed: in its complement", fontsize=9, loc="left")
    outputs.set_title("b  outputs on three test points", fontsize=9, loc="left")
    distances.set_title("c  relative MSE from the linear model", fontsize=9, loc="left")
    for axis, quantity in (
        (residuals, f"mean square of the {linear.part} residual"),
        (outputs, "output"),
        (distances, "E |f − f^lin|² / E |f^lin|²"),
    ):
        axis.set_xscale("symlog", linthresh=1, linscale=0.3)
        axis.set_xlim(0, linear.steps[-1])
        _labelled(axis, quantity)
    distances.set_xlim(1, linear.steps[-1])
    distances.set_ylim(bottom=0)
    figure.suptitle(_deep_settings(linear, networks), fontsize=9)
    return figure


def _deep_settings(linear: DeepRun, networks: list[DeepRun]) -> str:
    setting = linear.setting
    same = len({f"{run.eta:.3g}" for run in networks}) == 1
    rates = ", ".join(
        f"η({'networks' if same else run.setting.network}) = {run.eta:.3g}"
        for run in (networks[:1] if same else networks)
    )
    batch = f"batches of {setting.batch}" if setting.batch else "full batch"
    pooled = f"pooled {setting.pool} × {setting.pool}, " if setting.pool > 1 else ""
    return (
        f"{linear.source}, {pooled}{setting.n:,} / {setting.n_test:,} points, "
        f"{setting.activation}; η(linear) = {setting.eta:.3g}, {rates}; {batch}, seed {setting.seed}"
    )


def _losses(axis, run: Run, parts) -> None:
    for name, found in run.losses.items():
        colour, width, label = MODELS[name]
        for part in parts:
            line = ":" if name == "naive" else "--" if part == "test" and len(parts) == 2 else "-"
            own = label if part == parts[0] else None
            axis.plot(run.steps, shown(found[part]), line, color=colour, linewidth=width, label=own)
    _finished(axis, run)
    _labelled(axis, "loss (1/2n) Σ (f − y)²")


def _outputs(axis, run: Run) -> None:
    for k, colour in enumerate(POINT_COLOURS):
        axis.plot(run.steps, shown(run.outputs["network"][:, k]), "-", color=colour, linewidth=1.6)
        axis.plot(run.steps, shown(run.outputs["linear"][:, k]), ":", color=colour, linewidth=1.6)
    axis.plot([], [], "-", color="black", label="network")
    axis.plot([], [], ":", color="black", label="linear model (11)")
    _finished(axis, run)
    _labelled(axis, "output")
    axis.set_title("b  outputs on five test points", fontsize=9, loc="left")


def _discrepancies(axis, runs: list[Run]) -> None:
    """Darker for larger d, each in its own line."""
    for k, run in enumerate(runs):
        shade = 0.75 * (1 - k / max(1, len(runs) - 1))
        later, setting = run.steps >= 1, run.setting
        label = f"d = {setting.d}, width {setting.width}"
        line = ("-", "--", "-.", ":")[k % 4]
        values = shown(run.discrepancies["linear"]["test"][later])
        axis.plot(run.steps[later], values, line, color=(shade, shade, shade), linewidth=1.4, label=label)
    logarithmic(axis)
    axis.set_xscale("log")
    _labelled(axis, "mean squared difference (test)")


def _finished(axis, run: Run) -> None:
    if run.finished <= run.steps[-1]:
        text = f"99 % of the linear part, step {run.finished:.0f}"
        axis.axvline(run.finished, color="grey", linewidth=0.8, linestyle=(0, (1, 2)), label=text)


def _labelled(axis, quantity: str) -> None:
    axis.set_xlabel("step")
    axis.set_ylabel(quantity)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=7)
    axis.tick_params(labelsize=8)
    if axis.get_xscale() == "linear":
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set_xlim(left=0)


def _settings(run: Run) -> str:
    setting = run.setting
    return (
        f"{setting.activation}, width {setting.width}, d = {setting.d}, {setting.n:,} / {setting.n_test:,} points, "
        f"η = {run.eta:.3g}, {np.dtype(setting.dtype).name}, seed {setting.seed}"
    )
