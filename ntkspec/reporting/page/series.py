"""The page of a series of checkpoints."""

import math
from collections.abc import Sequence
from typing import Any

from ntkspec.experiments.tracking import Series
from ntkspec.experiments.tracking.task import QUANTITIES
from ntkspec.objects.words import counted
from ntkspec.plotting import series as figures
from ntkspec.plotting.svg import panels
from ntkspec.reporting.page.elements import Chart, Element, Facts, Section, Table, Tile, Words, columns
from ntkspec.reporting.page.footing import provenances, symbols
from ntkspec.reporting.page.page import Content
from ntkspec.reporting.page.typeset import Given, number
from ntkspec.reporting.series import setting

_INTERVALS = (
    "Intervals hold the true value, that of the kernel of the given weights and points in exact arithmetic, rounding "
    "included. What uses random start vectors fails with at most the probability in the file, 1e-6 for each number."
)
_PLAIN = "The loss, the labels' part in the leading eigenvectors and movements are computed as they are, in float64."
_LOSS = (
    "The edge of stability is that of full-batch training on (1/2n) Σ (f − y)² at one rate, of the kernel kept fixed: "
    "2/eta of gradient descent, 2 (1 + beta)/eta of the heavy ball and 2 (1 + beta)/((1 + 2 beta) eta) of Nesterov's "
    "momentum beta; with another loss it lies elsewhere."
)


def content(series: Series, made_with: Sequence[dict[str, Any]], name: str) -> Content:
    """What the page of a series says. made_with, name : the provenance, and the file that it comes from."""
    first, *rest = series.verdict
    return Content(
        kind="track",
        headline=first,
        setting=Given(setting(series)),
        tiles=_tiles(series),
        verdict=[Words(rest)] if rest else [],
        sections=[
            _charts(series),
            _setting(series),
            Section("What the numbers promise", [Words([_INTERVALS, _PLAIN, _LOSS])]),
            symbols("Theta", "eta, t", "f, y"),
            provenances(made_with, name, "The result does not keep what it was made with."),
        ],
    )


def _tiles(series: Series) -> list[Tile]:
    """The largest eigenvalue, the distance from the start and the loss, as far as they are there."""
    found: list[Tile] = []
    last = int(series.steps[-1])
    named = {"sharpness": "largest eigenvalue over n", "distance_from_start": "distance from the start"}
    for name, label in (named | {"loss": "loss"}).items():
        if name in series and math.isfinite(series.at(name, last).value):
            found.append(Tile(number(float(series.at(name, last))), f"{label}, step {last}"))
    return found


def _charts(series: Series) -> Section:
    """All panels, and every number that was measured."""
    caption = "Each quantity over steps, with its interval where that can be seen."
    if math.isfinite(series.edge) and "sharpness" in series:
        caption += f" Dashed beside the largest eigenvalue: {series.edge_name}."
    if "ahead_losses" in series.arrays:
        caption += " Dashed beside the loss: what the kernel of a checkpoint, kept fixed, predicts."
    return Section(
        "Along the training", [Chart("track", caption, panels(figures.overview(series), "track"), _tables(series))]
    )


def _tables(series: Series) -> list[Table]:
    tables = [columns({"step": series.steps} | {name.replace("_", " "): series[name] for name in series}, "values")]
    for name in series:
        low, high = series.lower(name), series.upper(name)
        if (low < high).any():
            ends = {"step": series.steps, "value": series[name], "at least": low, "at most": high}
            tables.append(columns(ends, f"interval of {name.replace('_', ' ')}"))
    for name, what in (("layer_shares", "shares of the layers"), ("layer_movements", "movements of the layers")):
        if name in series.arrays:
            own = dict(zip(series.layers, series.arrays[name].T, strict=True))
            tables.append(columns({"step": series.steps, **own}, what))
    return tables


def _setting(series: Series) -> Section:
    task, reading = series.task, series.dataset.get("meta", {}).get("reading", ())
    facts: list[tuple[str, str]] = [
        ("network", Given(task.network or "passed from Python")),
        ("checkpoints", f"{counted(len(series), 'checkpoint')}, steps {series.steps[0]} to {series.steps[-1]}"),
        ("files", Given(f"{series.sources[0]} to {series.sources[-1]}" if any(series.sources) else "none")),
        ("law", str(task.law)),
        ("learning rate", "unknown" if task.eta is None else f"{task.eta:g}"),
        ("kernel", Given(f"layer {task.layer}, outputs {task.outputs}, {series.method or 'not formed'}")),
        ("seconds", f"{series.seconds.sum():.1f}"),
    ]
    rows: list[Element] = [Facts(facts)]
    if len(reading):
        rows.append(Words([Given(line) for line in reading]))
    rows.append(Table(["quantity", "what it is"], [[name, QUANTITIES[name]] for name in task.quantities]))
    return Section("Setting", rows)
