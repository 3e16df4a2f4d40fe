"""A series of checkpoints as lines of text for a terminal."""

import math

import numpy as np

from ntkspec.experiments.tracking import Series
from ntkspec.experiments.tracking.task import QUANTITIES
from ntkspec.objects.words import counted
from ntkspec.reporting.rows import interval, prepared, rows, titled, wrapped

# Of many checkpoints these are shown on one screen, and these columns.
ROWS = 12
COLUMNS = {
    "sharpness": "largest/n",
    "loss": "loss",
    "distance_from_start": "from start",
    "target_alignment": "to labels",
    "effective_rank": "eff. rank",
    "movement": "weights",
    "residual_position": "residual",
    "linear_gap": "not linear",
}
_MOST_COLUMNS = 6


def series_answer(series: Series) -> str:
    """The first two sentences of the verdict."""
    return " ".join(series.verdict[:2])


def series_summary(series: Series) -> str:
    """What ``ntkspec track`` prints by default."""
    lines = wrapped(series_answer(series))
    for sentence in series.verdict[2:]:
        lines += wrapped(sentence)
    return "\n".join([*lines, "", *wrapped(setting(series)), "", *_table(series, _some(len(series)))])


def series_report(series: Series) -> str:
    """The whole report."""
    task = series.task
    asked = [(name, QUANTITIES[name]) for name in task.quantities]
    rate = "unknown" if task.eta is None else f"{task.eta:g}, edge of stability at {series.edge_name} = {series.edge:g}"
    return titled(
        {
            setting(series): rows(
                [("law", str(task.law)), ("learning rate", rate), ("kernels", series.method or "none"), *asked]
            ),
            **prepared(series.dataset.get("meta", {})),
            "Verdict": [line for sentence in series.verdict for line in wrapped(sentence, "  ")],
            "Checkpoints": _table(series, list(range(len(series)))),
            **{name.replace("_", " "): _each(series, name) for name in series},
            **_of_layers(series),
        }
    )


def setting(series: Series) -> str:
    """What was measured, in a line."""
    names = [name for name in (series.dataset.get("name"), series.task.network) if name]
    where, first, last = f"{', '.join(names)}: " if names else "", series.steps[0], series.steps[-1]
    steps = f"steps {first} to {last}" if last > first else f"step {first}"
    coded = series.dataset.get("meta", {}).get("labels", "numbers")
    labels = "" if coded == "numbers" else f"; labels {coded}"
    return f"{where}{counted(len(series), 'checkpoint')} of {steps}, n = {series.points}{labels}"


def _some(count: int) -> list[int]:
    """The places of so many checkpoints that one screen shows."""
    return sorted({*np.linspace(0, count - 1, min(count, ROWS)).round().astype(int).tolist()})


def _table(series: Series, places: list[int]) -> list[str]:
    """A row for each of these checkpoints."""
    names = [name for name in COLUMNS if name in series][:_MOST_COLUMNS]
    lines = [f"  {'step':>8}" + "".join(f"{COLUMNS[name]:>11}" for name in names)]
    for k in places:
        lines.append(f"  {series.steps[k]:>8}" + "".join(f"{_number(series[name][k]):>11}" for name in names))
    if math.isfinite(series.edge) and "sharpness" in names:
        lines.append(f"  {series.edge_name:>8}{series.edge:>11.5g}")
    return lines


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _each(series: Series, name: str) -> list[str]:
    found = (series.at(name, int(step)) for step in series.steps)
    return rows(
        (f"step {step}", "-" if math.isnan(one.value) else interval(one) if one.upper > one.lower else f"{one:.6g}")
        for step, one in zip(series.steps, found, strict=True)
    )


def _of_layers(series: Series) -> dict[str, list[str]]:
    named = {"layer_shares": "Share of each layer in the trace", "layer_movements": "Movement of each layer"}
    return {
        title: rows(
            (layer, f"{values[0]:.4g} at the first checkpoint, {values[-1]:.4g} at the last")
            for layer, values in zip(series.layers, series.arrays[name].T, strict=True)
        )
        for name, title in named.items()
        if name in series.arrays
    }
