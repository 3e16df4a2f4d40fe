"""Figures 1, 2 and 3: networks and their linear models over the steps of training."""

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ntkspec.experiments.deep_runs import DeepRun, relative_mse
from ntkspec.experiments.two_layer_runs import Run, over_dimensions
from ntkspec.plotting import marks
from ntkspec.plotting.colours import DEEP_COLOURS, POINT_COLOURS
from ntkspec.plotting.labels import formulas, loss_label
from ntkspec.plotting.sheets import sheet
from ntkspec.plotting.values import logarithmic, shown

# Colour, width of the line, name.
MODELS = {
    "network": ("#0072B2", 2.2, "network"),
    "linear": ("#D55E00", 1.3, "linear model (11)"),
    "naive": ("#000000", 1.3, "naive linear model ($\\vartheta_1 = \\vartheta_2 = 0$)"),
}


def figures(runs: list[Run] | list[DeepRun]) -> dict[str, Figure]:
    """The figure that a list of runs is of: those of Figure 1 begin with its main run, Figure 3 has a linear model.

    Raises ValueError where the runs belong to none.
    """
    deep = [run for run in runs if isinstance(run, DeepRun)]
    linear = [run for run in deep if run.setting.network == "linear"]
    if linear:
        beside = [run for run in deep if replace(run.setting, network="linear") == linear[0].setting]
        return {"figure-3": figure_3(linear[0], [run for run in beside if run is not linear[0]])}
    two_layer = [run for run in runs if isinstance(run, Run)]
    if not two_layer:
        raise ValueError("the file has no run of the linear model")
    main, *rest = two_layer
    return {"figure-2": figure_2(main)} if main.setting.naive else {"figure-1": figure_1(main, over_d(main, rest))}


def over_d(main: Run, rest: list[Run]) -> dict[str, list[Run]]:
    """The panels of Figure 1c beside its main run, of the dimensions that are there."""
    found = {run.setting: run for run in rest}
    steps = rest[0].setting.steps if rest else 1
    panels = over_dimensions(main.setting, sorted({setting.d for setting in found}), steps)
    return {title: [found[one] for one in settings if one in found] for title, settings in panels.items()}


def figure_1(main: Run, panels: dict[str, list[Run]]) -> Figure:
    """a: losses. b: outputs on five test points. c: the test discrepancy over steps for each d, a panel per title."""
    figure = sheet(4.1 * 2, 3.6 * 2)
    losses, outputs, *rest = figure.subplots(2, 2).ravel()
    _losses(losses, main, ("train", "test"))
    losses.set_title("a  losses (solid: train, dashed: test)", fontsize=9, loc="left")
    _outputs(outputs, main)
    for axis, (title, runs) in zip(rest, panels.items(), strict=True):
        _discrepancies(axis, runs)
        axis.set_title(f"c  {formulas(title)}", fontsize=9, loc="left")
    low, high = zip(*(axis.get_ylim() for axis in rest), strict=True)
    for axis in rest:
        axis.set_ylim(min(low), max(high))
    _named(*figure.axes)
    figure.suptitle(_settings(main), fontsize=9)
    return figure


def one_run(run: Run) -> Figure:
    """Panels a and b of Figure 1 for any run: its losses, and its outputs on five test points."""
    figure = sheet(8.2, 3.6)
    losses, outputs = figure.subplots(1, 2)
    _losses(losses, run, ("train", "test"))
    losses.set_title("losses (solid: train, dashed: test)", fontsize=9, loc="left")
    _outputs(outputs, run)
    outputs.set_title("outputs on five test points", fontsize=9, loc="left")
    _named(losses, outputs)
    return figure


def discrepancies(panels: dict[str, list[Run]]) -> Figure:
    """Panels c of Figure 1: {title: runs}, the test discrepancy over steps for each d."""
    figure = sheet(4.1 * len(panels), 3.6)
    for axis, (title, runs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        _discrepancies(axis, runs)
        axis.set_title(formulas(title), fontsize=9, loc="left")
    _named(*figure.axes)
    return figure


def figure_2(run: Run) -> Figure:
    """Test losses of the network, its linear model and the naive one; and how far the two are from the network."""
    figure = sheet(8.2, 3.6)
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
    marks.finished(distances, run.finished, run.steps[-1])
    distances.set_title("b  distance from the network", fontsize=9, loc="left")
    _named(losses, distances)
    figure.suptitle(_settings(run), fontsize=9)
    return figure


def figure_3(linear: DeepRun, networks: list[DeepRun]) -> Figure:
    """a: the residual in the span of the inputs and outside. b: outputs on three points. c: relative MSE."""
    figure = sheet(12.0, 3.8)
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
    residuals.set_title(r"a  solid: in $V_{\mathrm{lin}}$, dashed: in its complement", fontsize=9, loc="left")
    outputs.set_title("b  outputs on three test points", fontsize=9, loc="left")
    distances.set_title("c  relative MSE from the linear model", fontsize=9, loc="left")
    for axis, quantity in (
        (residuals, f"mean square of the {linear.part} residual"),
        (outputs, "output"),
        (distances, r"$\|f - f^{\mathrm{lin}}\|^2 \,/\, \|f^{\mathrm{lin}}\|^2$ (test)"),
    ):
        axis.set_xscale("symlog", linthresh=1, linscale=0.3)
        axis.set_xlim(0, linear.steps[-1])
        _labelled(axis, quantity)
    distances.set_xlim(1, linear.steps[-1])
    distances.set_ylim(bottom=0)
    _named(residuals)
    figure.suptitle(_deep_settings(linear, networks), fontsize=9)
    return figure


def _deep_settings(linear: DeepRun, networks: list[DeepRun]) -> str:
    setting = linear.setting
    same = len({f"{run.eta:.3g}" for run in networks}) == 1
    rates = ", ".join(
        rf"$\eta$({'networks' if same else run.setting.network}) = {run.eta:.3g}"
        for run in (networks[:1] if same else networks)
    )
    batch = f"batches of {setting.batch}" if setting.batch else "full batch"
    pooled = f"pooled {setting.pool} × {setting.pool}, " if setting.pool > 1 else ""
    return (
        f"{linear.source}, {pooled}{setting.n:,} / {setting.n_test:,} points, "
        rf"{setting.activation}; $\eta$(linear) = {setting.eta:.3g}, {rates}; {batch}, seed {setting.seed}"
    )


def _losses(axis: Axes, run: Run, parts) -> None:
    for name, found in run.losses.items():
        colour, width, label = MODELS[name]
        for part in parts:
            line = ":" if name == "naive" else "--" if part == "test" and len(parts) == 2 else "-"
            own = label if part == parts[0] else None
            axis.plot(run.steps, shown(found[part]), line, color=colour, linewidth=width, label=own)
    marks.finished(axis, run.finished, run.steps[-1])
    _labelled(axis, loss_label(run.setting.recipe))


def _outputs(axis: Axes, run: Run) -> None:
    for k, colour in enumerate(POINT_COLOURS):
        axis.plot(run.steps, shown(run.outputs["network"][:, k]), "-", color=colour, linewidth=1.6)
        axis.plot(run.steps, shown(run.outputs["linear"][:, k]), ":", color=colour, linewidth=1.6)
    axis.plot([], [], "-", color="black", label="network")
    axis.plot([], [], ":", color="black", label="linear model (11)")
    _labelled(axis, "output")
    marks.finished(axis, run.finished, run.steps[-1])
    axis.set_title("b  outputs on five test points", fontsize=9, loc="left")


def _discrepancies(axis: Axes, runs: list[Run]) -> None:
    """Darker for larger d, each in its own line."""
    for k, run in enumerate(runs):
        shade = 0.75 * (1 - k / max(1, len(runs) - 1))
        later, setting = run.steps >= 1, run.setting
        label = f"$d$ = {setting.d}, width {setting.width}"
        line = ("-", "--", "-.", ":")[k % 4]
        values = shown(run.discrepancies["linear"]["test"][later])
        axis.plot(run.steps[later], values, line, color=(shade, shade, shade), linewidth=1.4, label=label)
    logarithmic(axis)
    axis.set_xscale("log")
    _labelled(axis, "mean squared difference (test)")


def _labelled(axis: Axes, quantity: str) -> None:
    axis.set_xlabel("step")
    axis.set_ylabel(quantity)
    marks.bare(axis)
    axis.tick_params(labelsize=8)
    if axis.get_xscale() == "linear":
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set_xlim(left=0)


def _named(*axes: Axes) -> None:
    """A legend on each, once all is drawn that it may lie on."""
    for axis in axes:
        marks.legend(axis, fontsize=7)


def _settings(run: Run) -> str:
    setting = run.setting
    line = (
        f"{setting.activation}, width {setting.width}, $d$ = {setting.d}, {setting.n:,} / {setting.n_test:,} points, "
        rf"$\eta$ = {run.eta:.3g}, {np.dtype(setting.dtype).name}, seed {setting.seed}"
    )
    return "\n".join([line, *([setting.recipe.told] if setting.recipe.told else [])])
