"""The figure of a series of checkpoints: each quantity over steps, with its interval."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkspec.dynamics.laws import PLAIN, law_of
from ntkspec.experiments.tracking import Series
from ntkspec.experiments.tracking.verdict import FEATURES, LAZY, at_the_edge
from ntkspec.plotting import marks
from ntkspec.plotting.colours import DEEP_COLOURS
from ntkspec.plotting.files import save
from ntkspec.plotting.labels import LOSS, THETA
from ntkspec.plotting.sheets import sheet
from ntkspec.plotting.values import logarithmic, shown

_BLUE, _ORANGE, _GREEN, _BLACK, _GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#777777"
# Panels beside one another, layers with a line of their own, and checkpoints whose prediction is drawn.
ACROSS, LAYERS, PREDICTED = 3, 7, 6
# Where the middle checkpoint lies before this part of the steps, these are on a logarithmic axis.
_EARLY = 0.1
# How far above the largest loss a prediction is drawn.
_ROOM = 1.5


def save_figures(series: Series, folder: str | Path) -> list[Path]:
    """Draw the figure into the folder, as PNG and PDF; each file is whole or not there."""
    return [path for name, figure in figures(series).items() for path in save(figure, folder, name)]


def figures(series: Series) -> dict[str, Figure]:
    """The figure by its name."""
    return {"track": overview(series)}


def overview(series: Series) -> Figure:
    """A panel for each picture, three beside one another."""
    found = pictures(series)
    across = min(ACROSS, len(found))
    down = math.ceil(len(found) / across)
    figure = sheet(4.6 * across, 3.4 * down)
    axes = np.atleast_1d(figure.subplots(down, across)).ravel()
    for axis, draw in zip(axes, found.values(), strict=False):
        draw(axis)
        marks.bare(axis)
        marks.legend(axis)
    for axis in axes[len(found) :]:
        axis.remove()
    figure.suptitle(title(series), fontsize=10)
    return figure


def title(series: Series) -> str:
    """What was tracked, in a line."""
    what = [name for name in (series.dataset.get("name"), series.task.network) if name]
    rate = f", $\\eta$ = {series.task.eta:g}" if series.task.eta else ""
    law = "" if law_of(series.task.law) == PLAIN else f", {series.task.law}"
    return f"{': '.join(what) or 'Checkpoints'}, $n$ = {series.points:,}{rate}{law}"


def pictures(series: Series) -> dict[str, Callable[[Axes], None]]:
    """What can be drawn on one pair of axes, by name: what was measured."""
    drawn: dict[str, tuple[str, Callable[..., None]]] = {
        "edge": ("sharpness", _edge),
        "loss": ("loss", _loss),
        "distance": ("distance_from_start" if "distance_from_start" in series else "distance_from_previous", _distance),
        "labels": ("target_alignment", _labels),
        "label energy": ("label_energy", _energy),
        "residual": ("residual_position", _residual),
        "rank": ("effective_rank", _rank),
        "layers": ("layer_shares", _layers),
        "movement": ("movement", _movement),
        "angles": ("largest_angle", _angles),
        "linear": ("linear_gap", _linear),
        "prediction": ("prediction_error", _prediction),
    }
    return {
        name: partial(draw, series=series)
        for name, (needed, draw) in drawn.items()
        if needed in series or needed in series.arrays
    }


# ------------------------------------------------------------------------------------------------------------ pictures
def _edge(axis: Axes, series: Series) -> None:
    _line(axis, series, "sharpness", _BLUE, r"$\lambda_{\max}(\Theta)/n$")
    if math.isfinite(series.edge):
        axis.axhline(
            series.edge,
            color=_ORANGE,
            linewidth=1.2,
            linestyle="--",
            label=rf"${series.task.limit:.4g}/\eta$",
            gid=marks.MARK,
        )
        first = at_the_edge(series)
        if first:
            marks.step(axis, series.steps[first], f"at the edge from step {series.steps[first]}")
    axis.set_ylim(0, 1.12 * float(np.nanmax([*shown(series.upper("sharpness")), _near_edge(series)])))
    _over_steps(axis, series, r"largest eigenvalue over $n$")


def _near_edge(series: Series) -> float:
    """The edge, where it is not far above all that was measured."""
    return series.edge if series.edge < 4 * float(np.nanmax(series["sharpness"])) else 0.0


def _loss(axis: Axes, series: Series) -> None:
    loss, last = shown(series["loss"]), series.steps[-1]
    axis.plot(series.steps, loss, color=_BLUE, marker=_marker(series), markersize=3, label="network", zorder=3)
    ahead = series.arrays.get("ahead_losses")
    if ahead is not None:
        chosen = np.unique(np.linspace(0, len(series) - 1, PREDICTED + 1).round().astype(int))[:-1]
        for k in chosen:
            steps, predicted = _until(last, series.steps[k] + series.ahead, ahead[k])
            seen = predicted <= _ROOM * np.nanmax(loss)
            label = "kernel kept from there on" if k == chosen[0] else None
            axis.plot(steps[seen], predicted[seen], color=_ORANGE, linewidth=0.9, linestyle="--", label=label)
            axis.plot(steps[:1], predicted[:1], "o", color=_ORANGE, markersize=3, zorder=4)
    logarithmic(axis)
    _over_steps(axis, series, f"loss {LOSS}")


def _until(last: int, steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps up to the last one, and values, there between its neighbours."""
    before = steps < last
    return np.append(steps[before], last), shown(np.append(values[before], np.interp(last, steps, values)))


def _distance(axis: Axes, series: Series) -> None:
    named = {"distance_from_start": (_BLUE, "to the start"), "distance_from_previous": (_GREEN, "to the one before")}
    for name, (colour, label) in named.items():
        if name in series:
            _line(axis, series, name, colour, label, positive=True)
    _log_of_positive(axis)
    if axis.get_yscale() == "log" and "distance_from_start" in series:
        for level, words in ((LAZY, "lazy"), (FEATURES, "features")):
            axis.axhline(level, color=_GREY, linewidth=0.7, zorder=0.5, gid=marks.MARK)
            _beside(axis, level, words)
    _over_steps(axis, series, f"distance of {THETA}")


def _beside(axis: Axes, level: float, words: str) -> None:
    """A word at the right end of a line."""
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (2, 0), "textcoords": "offset points"}
    axis.annotate(words, (1, level), va="center", rotation=90, fontsize=7, color=_GREY, annotation_clip=True, **place)


def _labels(axis: Axes, series: Series) -> None:
    _line(axis, series, "target_alignment", _BLUE, "with the labels")
    if "alignment_with_start" in series:
        _line(axis, series, "alignment_with_start", _GREEN, f"with {THETA} at the start, centered")
    axis.set_ylim(0, 1.02)
    _over_steps(axis, series, f"alignment of {THETA}")


def _energy(axis: Axes, series: Series) -> None:
    energies = np.cumsum(series.arrays["label_energies"], axis=1)
    for k in _some(energies.shape[1]):
        what = "leading eigenvector" if k == 0 else f"{k + 1} leading eigenvectors"
        axis.plot(series.steps, energies[:, k], marker=_marker(series), markersize=3, label=what,
                  color=DEEP_COLOURS[_some(energies.shape[1]).index(k)])  # fmt: skip
    axis.set_ylim(bottom=0)
    _over_steps(axis, series, r"part of $\|y\|^2$")


def _some(count: int) -> list[int]:
    """The first, the third and the last of so many."""
    return sorted({0, min(2, count - 1), count - 1})


def _residual(axis: Axes, series: Series) -> None:
    _line(axis, series, "residual_position", _BLUE, r"of $y - f$", positive=True)
    _log_of_positive(axis)
    _over_steps(axis, series, "position in the spectrum")


def _rank(axis: Axes, series: Series) -> None:
    _line(axis, series, "effective_rank", _BLUE, r"trace over $\lambda_{\max}$")
    axis.set_ylim(bottom=0)
    _over_steps(axis, series, f"effective rank of {THETA}")


def _layers(axis: Axes, series: Series) -> None:
    _of_layers(axis, series, series.arrays["layer_shares"])
    axis.set_ylim(bottom=0)
    _over_steps(axis, series, f"share of the trace of {THETA}")


def _movement(axis: Axes, series: Series) -> None:
    axis.plot(series.steps, shown(series["movement"]), color=_BLACK, linewidth=1.8, label="all weights")
    if len(series.layers) > 1:
        _of_layers(axis, series, series.arrays["layer_movements"])
    axis.set_ylim(bottom=0)
    _over_steps(axis, series, r"$\|w - w_0\| \,/\, \|w_0\|$")


def _angles(axis: Axes, series: Series) -> None:
    degrees = np.degrees(series.arrays["angles"])
    axis.plot(series.steps, degrees[:, :-1], color=_GREY, linewidth=0.7)
    axis.plot(series.steps, degrees[:, -1], color=_BLUE, marker=_marker(series), markersize=3, label="largest")
    low, high = (np.degrees(end("largest_angle")) for end in (series.lower, series.upper))
    axis.fill_between(series.steps, low, high, color=_BLUE, alpha=0.15, linewidth=0, label="what is known of it")
    axis.set_ylim(0, 92)
    _over_steps(axis, series, f"degrees to the {degrees.shape[1]} leading\neigenvectors at the start")


def _linear(axis: Axes, series: Series) -> None:
    _line(axis, series, "linear_gap", _BLUE, "nearest linear kernel")
    axis.set_ylim(0, 1.02)
    _over_steps(axis, series, f"relative distance of {THETA}")


def _prediction(axis: Axes, series: Series) -> None:
    _line(axis, series, "prediction_error", _BLUE, "by the kernel of the checkpoint before", positive=True)
    _log_of_positive(axis)
    _over_steps(axis, series, r"$\|f_{\mathrm{pred}} - f\|^2 \,/\, \|f - f_{\mathrm{before}}\|^2$")


# --------------------------------------------------------------------------------------------------------------- lines
def _line(axis: Axes, series: Series, name: str, colour: str, label: str, *, positive: bool = False) -> None:
    """Values over steps, and their intervals where these can be seen; ``positive`` leaves out what is zero."""
    values, low, high = (
        np.where(part > 0, part, np.nan) if positive else part
        for part in (shown(end) for end in (series[name], series.lower(name), series.upper(name)))
    )
    axis.plot(series.steps, values, color=colour, marker=_marker(series), markersize=3, label=label)
    if np.isfinite(low).any():
        axis.fill_between(series.steps, low, high, color=colour, alpha=0.25, linewidth=0)


def _of_layers(axis: Axes, series: Series, values: np.ndarray) -> None:
    """A line for each layer; of many for those that are largest at the end."""
    order = np.argsort(-np.nan_to_num(values[-1]), kind="stable")[:LAYERS]
    for colour, k in zip(DEEP_COLOURS, sorted(order.tolist()), strict=False):
        axis.plot(series.steps, shown(values[:, k]), color=colour, marker=_marker(series), markersize=3,
                  label=_layer(series.layers[k]))  # fmt: skip


def _layer(name: str) -> str:
    """A number alone says too little."""
    return f"layer {name}" if name.isdecimal() else name


def _marker(series: Series) -> str:
    """Points where they do not run together."""
    return "o" if len(series) <= 60 else ""


def _log_of_positive(axis: Axes) -> None:
    """A logarithmic axis for what is positive and spans more than a factor of five."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axis.lines])
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) and positive.max() > 5 * positive.min():
        logarithmic(axis)
    elif len(positive):
        axis.set_ylim(bottom=0)


def _over_steps(axis: Axes, series: Series, quantity: str) -> None:
    axis.set_xlabel("step")
    axis.set_ylabel(quantity)
    steps = series.steps
    if len(steps) > 2 and steps[len(steps) // 2] < _EARLY * steps[-1]:
        axis.set_xscale("symlog", linthresh=max(1, int(steps[1])), linscale=0.3)
    if steps[-1] > steps[0]:
        axis.set_xlim(steps[0], steps[-1])
