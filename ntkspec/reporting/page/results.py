"""The page of results that functions of the package returned: one, or a tree of them with names."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ntkspec.dynamics import Modes, Trajectory
from ntkspec.networks.protocol import is_network
from ntkspec.objects.notebook import Drawn
from ntkspec.objects.words import counted
from ntkspec.plotting.densities import shares_of
from ntkspec.plotting.pictures import figures_of
from ntkspec.plotting.results import first_outputs
from ntkspec.plotting.svg import panels
from ntkspec.reporting.page.elements import Chart, Facts, Section, Table, Tile, Words, columns
from ntkspec.reporting.page.footing import promises, provenance
from ntkspec.reporting.page.page import Content
from ntkspec.reporting.page.typeset import Given, number
from ntkspec.spectra.densities import Density, Histogram, Smoothed
from ntkspec.spectra.results import Estimate, Spectrum
from ntkspec.spectra.showing import few
from ntkspec.theory.budget import Budget

# Results of a tree that a page shows, and of them those that it draws.
MOST_SHOWN, MOST_DRAWN = 200, 12
_NOT_KEPT = "Results do not keep what they were made with."


def content(result: Any, name: str) -> Content:
    """What the page of results says. name : of their file; empty where there is none."""
    found = list(_leaves(result, ""))
    shown, left = found[:MOST_SHOWN], len(found) - MOST_SHOWN
    estimates: dict[str, Estimate] = {
        Given(what or "value"): leaf for what, leaf in shown if isinstance(leaf, Estimate)
    }
    drawn = [(what, leaf) for what, leaf in shown if type(leaf) in _CAPTIONS][:MOST_DRAWN]
    lines = [(Given(what or type(leaf).__name__), Given(_in_words(leaf))) for what, leaf in shown]
    more = [Words([f"{left} more entries are not shown."])] if left > 0 else []
    charts = [
        Section(Given(what or type(leaf).__name__), [_chart(leaf, f"result-{k}")])
        for k, (what, leaf) in enumerate(drawn)
    ]
    return Content(
        kind="result",
        headline=_headline(found),
        setting=counted(len(found), "entry", "entries"),
        tiles=[Tile(number(float(one)), name) for name, one in list(estimates.items())[:3]],
        verdict=[Facts(lines), *more],
        sections=[*charts, promises(estimates, _others(shown)), provenance(None, name, _NOT_KEPT)],
    )


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, result) of all in dictionaries and lists."""
    if isinstance(tree, dict | list | tuple) and not isinstance(tree, Drawn):
        for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree, 1):
            yield from _leaves(child, f"{name}, {key}" if name else str(key))
    else:
        yield name, tree


def _headline(found: list[tuple[str, Any]]) -> str:
    if len(found) != 1:
        kinds = dict.fromkeys(type(leaf).__name__ for _, leaf in found)
        return f"{len(found)} results: {', '.join(kinds)}." if found else "There is no result in it."
    what, leaf = found[0]
    words = _in_words(leaf).splitlines()[0]
    return Given(f"{what}: {words}" if what else words)


def _in_words(leaf: Any) -> str:
    if isinstance(leaf, np.ndarray):
        return f"array {leaf.shape} of {leaf.dtype.name}" + (f", {few(leaf)}" if leaf.dtype.kind in "biuf" else "")
    if is_network(leaf):
        return f"a network, {type(leaf).__name__}"
    return str(leaf)


def _others(found: list[tuple[str, Any]]) -> list[str]:
    """What holds of results that are no estimates."""
    kinds, lines = {type(leaf) for _, leaf in found}, []
    if Spectrum in kinds:
        lines.append(
            "An eigenvalue lies within its residual of each one that is listed, and all others between the ends that "
            "are given, each end except with the failure probability of the result."
        )
    if Density in kinds:
        lines.append(
            "Shares of eigenvalues are estimates with 95 % intervals, each on its own; exact where all were computed."
        )
    if Trajectory in kinds:
        lines.append("Predicted outputs carry a bound on their truncation error; rounding comes on top.")
    return lines or ["What has no interval here is as the function that returned it says."]


# -------------------------------------------------------------------------------------------------------------- charts
_CAPTIONS: dict[type, str] = {
    Trajectory: "Outputs on the first points",
    Spectrum: "Eigenvalues by size, and the bound on all others.",
    Density: "Shares of the eigenvalues in bins, their density, and how many lie above a value.",
    Histogram: "Shares of the eigenvalues in bins.",
    Smoothed: "The density of the eigenvalues, smoothed.",
    Modes: "The part of the labels' square in each mode, over the steps that the mode takes.",
    Budget: "Spectral norms of the difference Theta - Theta^lin and of its parts, measured and predicted.",
}


def _chart(leaf: Any, name: str) -> Chart:
    """All pictures of a result, and their numbers."""
    pictures = [panel for what, figure in figures_of(leaf).items() for panel in panels(figure, f"{name}-{what}")]
    return Chart(name, _caption(leaf), pictures, _tables(leaf))


def _caption(leaf: Any) -> str:
    if not isinstance(leaf, Trajectory):
        return _CAPTIONS[type(leaf)]
    error = f"truncation error at most {float(np.max(leaf.error, initial=0.0)):.1e}"
    return f"{_CAPTIONS[Trajectory]}: {leaf.method}; {error}."


def _tables(leaf: Any) -> list[Table]:
    """The numbers of the pictures, where these are not all that there are; otherwise all numbers."""
    if isinstance(leaf, Trajectory):
        return [_outputs(leaf, part) for part in leaf.parts]
    if isinstance(leaf, Spectrum):
        return [columns({"index": np.arange(1, len(leaf.values) + 1)} | leaf._columns(), "eigenvalues")]
    found = shares_of(leaf) if isinstance(leaf, Density) else leaf
    return [columns(found._columns(), _NUMBERS[type(found)])]


_NUMBERS = {
    Histogram: "shares of the eigenvalues",
    Smoothed: "smoothed density",
    Modes: "modes",
    Budget: "norms",
}


def _outputs(run: Trajectory, part: str) -> Table:
    steps, values = first_outputs(run, part)
    return columns({"step": steps} | {f"point {k}": own for k, own in enumerate(values.T)}, f"outputs, {part}")
