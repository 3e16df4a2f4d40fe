"""The pages of files of training runs: those of Figures 1 and 2, and of Figure 3."""

import math
from collections.abc import Sequence
from dataclasses import astuple, replace

from ntkspec.experiments.deep_runs import DeepRun, relative_mse
from ntkspec.experiments.run_cache import Runs
from ntkspec.experiments.two_layer_runs import Run
from ntkspec.plotting import training as figures
from ntkspec.plotting.svg import panels
from ntkspec.reporting.page.elements import Cell, Chart, Element, Section, Table, Words, columns
from ntkspec.reporting.page.footing import promises, provenances, symbols
from ntkspec.reporting.page.page import Content
from ntkspec.reporting.page.typeset import Given
from ntkspec.reporting.rows import loss_title

# Runs of a file that a page draws.
MOST_RUNS = 6
_MEASURED = (
    "Losses and differences are measured for one seed of data and network, at the recorded steps. The linear models "
    "are computed in closed form or step by step, exact up to rounding. No number here has an interval over seeds."
)
_NOT_KEPT = "These runs do not say what they were made with."
_SYMBOLS = ("n, d, m", "eta, t", "f, y")


def content(found: Runs, name: str) -> Content:
    """What the page of runs on synthetic data says. name : of their file."""
    runs: list[Run] = list(found.runs.values())
    first = runs[0]
    sections = [_of_run(run, k) for k, run in enumerate(runs[:MOST_RUNS], 1)]
    groups = {title: own for title, own in figures.over_d(first, runs[1:]).items() if len(own) > 1}
    if groups:
        sections.append(Section("Discrepancy over d", [_over_d(groups)]))
    return Content(
        kind="runs",
        headline=_distance(first),
        setting=f"{len(runs)} run{'s' * (len(runs) != 1)}; the first: {_said(first)}",
        verdict=[Words([_distance(run) for run in runs[1:MOST_RUNS]] or [_MEASURED])],
        sections=[
            *sections,
            Section("All runs", [_table(runs)]),
            promises({}, [_MEASURED]),
            symbols(*_SYMBOLS),
            provenances(found.made, name, _NOT_KEPT),
        ],
    )


def _said(run: Run) -> str:
    setting = run.setting
    by = f", {setting.recipe.told}" if setting.recipe.told else ""
    return f"{setting.activation}, d = {setting.d}, n = {setting.n}, width {setting.width}, seed {setting.seed}{by}"


def _distance(run: Run) -> str:
    """Where network and linear model are at the last step."""
    losses = {model: parts["test"][-1] for model, parts in run.losses.items()}
    naive = f", of the naive linear model {losses['naive']:.3g}" if "naive" in losses else ""
    return (
        f"After {run.steps[-1]} steps the test loss of the network is {losses['network']:.3g}, of its linear model "
        f"{losses['linear']:.3g}{naive} ({_said(run)})."
    )


def _of_run(run: Run, k: int) -> Section:
    figure = figures.figure_2(run) if run.setting.naive else figures.one_run(run)
    values = {"step": run.steps}
    values |= {f"{model}, {part}": own for model, parts in run.losses.items() for part, own in parts.items()}
    far = {
        f"network − {model}, {part}": own for model, parts in run.discrepancies.items() for part, own in parts.items()
    }
    said = f"99 % of the linear part are learned by step {run.finished:.0f}, as the linear model's eigenvalues say."
    ends = said if math.isfinite(run.finished) else "When the linear part is learned the eigenvalues do not say here."
    chart = Chart(
        f"run-{k}",
        f"Losses {loss_title(run.setting.recipe)}, and outputs or differences on test points. {ends}",
        panels(figure, f"run-{k}"),
        [columns(values, "losses"), columns({"step": run.steps} | far, "mean squared differences")],
    )
    return Section(f"Run {k}: {_said(run)}", [chart])


def _over_d(groups: dict[str, list[Run]]) -> Element:
    caption = "Mean squared difference of network and linear model on the test points over the steps."
    return Chart("discrepancies", caption, panels(figures.discrepancies(groups), "discrepancies"))


def _table(runs: Sequence[Run]) -> Table:
    head = [
        "activation",
        "target",
        "d",
        "n",
        "width",
        "seed",
        "training",
        "eta",
        "steps",
        "99 % linear at",
        "network",
        "linear model",
    ]
    rows: list[list[Cell]] = [
        [
            *(run.setting.activation, run.setting.target, run.setting.d, run.setting.n, run.setting.width),
            *(run.setting.seed, run.setting.recipe.words, run.eta, int(run.steps[-1]), run.finished),
            *(float(run.losses[model]["test"][-1]) for model in ("network", "linear")),
        ]
        for run in runs
    ]
    return Table(head, rows, "Settings, and test losses at the last step")


# --------------------------------------------------------------------------------------------------- deep networks
def deep_content(found: Runs, name: str) -> Content:
    """What the page of deep runs on images says. name : of their file."""
    runs: list[DeepRun] = list(found.runs.values())
    groups: dict[tuple, list[DeepRun]] = {}
    for run in runs:
        groups.setdefault(astuple(replace(run.setting, network="")), []).append(run)
    whole = [own for own in groups.values() if {"linear"} < {run.setting.network for run in own}]
    sections = [_of_group(own, k) for k, own in enumerate(whole[:MOST_RUNS], 1)]
    said = [line for own in whole[:MOST_RUNS] for line in _distances(own)]
    first, *rest = said or ["There is no network beside its linear model among these runs yet."]
    return Content(
        kind="deep runs",
        headline=first,
        setting=Given(f"{runs[0].source}, {len(runs)} run{'s' * (len(runs) != 1)}"),
        verdict=[Words(rest or [_MEASURED])],
        sections=[
            *sections,
            promises({}, [_MEASURED]),
            symbols(*_SYMBOLS),
            provenances(found.made, name, _NOT_KEPT),
        ],
    )


def _split(runs: Sequence[DeepRun]) -> tuple[DeepRun, list[DeepRun]]:
    (linear,) = (run for run in runs if run.setting.network == "linear")
    return linear, [run for run in runs if run is not linear]


def _distances(runs: Sequence[DeepRun]) -> list[str]:
    linear, networks = _split(runs)
    return [
        f"After {run.steps[-1]} steps the outputs of {run.setting.network} are {relative_mse(run, linear)[-1]:.1%} "
        f"away from those of its linear model (relative mean square on the test points)."
        for run in networks
    ]


def _of_group(runs: Sequence[DeepRun], k: int) -> Section:
    linear, networks = _split(runs)
    values = {"step": linear.steps}
    for run in (linear, *networks):
        values |= {f"{run.setting.network}, in V_lin": run.inside, f"{run.setting.network}, outside": run.outside}
    far = {"step": linear.steps} | {run.setting.network: relative_mse(run, linear) for run in networks}
    chart = Chart(
        f"deep-{k}",
        f"Mean squares of the {linear.part} residual in V_lin, the span of the inputs, and outside; outputs on three "
        f"points; and the relative mean square of the difference from the linear model.",
        panels(figures.figure_3(linear, networks), f"deep-{k}"),
        [columns(values, "residuals"), columns(far, "relative mean square")],
    )
    kappas: list[list[Cell]] = [[run.setting.network, run.eta, run.kappa, run.fitted] for run in runs]
    head = ["network", "learning rate", "coefficient of X X^T/d, expanded", "fitted"]
    return Section(f"Networks on {linear.source}", [chart, Table(head, kappas, "The linear part of each kernel")])
