"""The page of results that functions of the package returned: one, or a tree of them with names."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ntkspec.dynamics import Trajectory
from ntkspec.networks.protocol import is_network
from ntkspec.plotting import results as figures
from ntkspec.plotting.svg import panels
from ntkspec.reporting.page.elements import Chart, Element, Facts, Section, Tile, Words, columns
from ntkspec.reporting.page.footing import promises, provenance
from ntkspec.reporting.page.page import Content
from ntkspec.reporting.page.typeset import Given, number
from ntkspec.spectra.densities import Density
from ntkspec.spectra.results import Estimate, Spectrum
from ntkspec.spectra.showing import few

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
    drawn = [(what, leaf, _CHARTS[type(leaf)]) for what, leaf in shown if type(leaf) in _CHARTS][:MOST_DRAWN]
    lines = [(Given(what or type(leaf).__name__), Given(_in_words(leaf))) for what, leaf in shown]
    more = [Words([f"{left} more entries are not shown."])] if left > 0 else []
    charts = [
        Section(Given(what or type(leaf).__name__), make(leaf, f"result-{k}"))
        for k, (what, leaf, make) in enumerate(drawn)
    ]
    return Content(
        kind="result",
        headline=_headline(found),
        setting=f"{len(found)} {'entries' if len(found) != 1 else 'entry'}",
        tiles=[Tile(number(float(one)), name) for name, one in list(estimates.items())[:3]],
        verdict=[Facts(lines), *more],
        sections=[*charts, promises(estimates, _others(shown)), provenance(None, name, _NOT_KEPT)],
    )


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, result) of all in dictionaries and lists."""
    if isinstance(tree, dict | list | tuple):
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
def _trajectory(run: Trajectory, name: str) -> list[Element]:
    values = {f"output {k}": column for k, column in enumerate(figures.first_outputs(run).T, 1)}
    error = f"{run.method}; truncation error at most {float(np.max(run.error, initial=0.0)):.1e}"
    table = columns({"step": run.steps} | values, "outputs on the first training points")
    return [
        Chart(name, f"Outputs on the first training points: {error}.", panels(figures.trajectory(run), name), [table])
    ]


def _pairs(pairs: Spectrum, name: str) -> list[Element]:
    values = {"index": np.arange(1, len(pairs.values) + 1), "eigenvalue": pairs.values, "residual": pairs.residuals}
    table = columns(values | {"multiplicity": pairs.multiplicities}, "eigenvalues")
    return [Chart(name, "Eigenvalues, and where all others lie.", panels(figures.eigenvalues(pairs), name), [table])]


def _density(found: Density, name: str) -> list[Element]:
    shares = found.histogram(figures.BINS)
    values = {"from": shares.edges[:-1], "to": shares.edges[1:], "share": shares.mass}
    table = columns(values | {"at least": shares.lower, "at most": shares.upper}, "shares of the eigenvalues")
    return [Chart(name, f"Shares of {found.n} eigenvalues in bins.", panels(figures.density(found), name), [table])]


_CHARTS: dict[type, Callable[[Any, str], list[Element]]] = {
    Trajectory: _trajectory,
    Spectrum: _pairs,
    Density: _density,
}
