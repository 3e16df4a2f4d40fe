"""The page of a sweep, and the charts over d or the width that pages of checks have too."""

import math
from collections.abc import Sequence

import numpy as np

from ntkspec.experiments.power_laws import at_distinct
from ntkspec.experiments.sweep_cells import Cell, is_drift
from ntkspec.experiments.sweep_panels import Panel, Panels
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.networks.size_laws import INFINITE
from ntkspec.plotting.labels import spoken
from ntkspec.plotting.scaling import STYLES
from ntkspec.plotting.svg import panels
from ntkspec.plotting.sweeps import figure_of
from ntkspec.reporting.page.elements import Chart, Element, Folded, Section, Table, Tile, Words, columns
from ntkspec.reporting.page.footing import promises, provenances, symbols
from ntkspec.reporting.page.page import Content
from ntkspec.spectra.showing import few

# Series that a page draws.
MOST_DRAWN = 12
FITS = (
    "Exponents are fitted in logarithms over all seeds; their 95 % intervals are the wider of Student's t on the "
    "slopes of single seeds and a bootstrap of whole seeds. They are estimates along the sizes that were measured, and "
    "say nothing beyond them."
)
MEASURED = (
    "Each number of a cell is measured for one seed of data and network. Norms are the values of proved intervals of "
    "relative width 0.1 %, which sweeps do not keep."
)
# By the first word of a quantity: what its chart shows, and what the first number of its series is.
_CHARTS = {
    "gap": "‖Theta - Theta^lin‖ in spectral and Frobenius norm, with and without the diagonal, as the axes say",
    "training": "Largest mean squared difference of network and linear model up to T",
    "budget": "Norms of F, D and R times d/n, measured and (dashes) predicted",
    "drift": "Movement up to T: ‖Theta(T) - Theta(0)‖/‖Theta(0)‖, one minus the cosine of the two kernels, and the "
    "Euclidean distance of all weights from their start over their size there",
    "data": "Ratios of Claim 3.1, which are bounded where it holds",
}
_FIRST = {
    "gap": "‖Theta - Theta^lin‖",
    "budget": "‖F‖",
    "training": "The largest difference of network and linear model on the training points",
    "drift": "‖Theta(T) - Theta(0)‖/‖Theta(0)‖",
    "data": "The spread of ‖x‖²/d over sqrt(log n / d)",
}
# By the second word of a quantity.
_LAYERS = {
    "first": " (first layer)",
    "second": " (second layer)",
    "both": " (all layers)",
    "cnn": " (convolutional, infinitely many channels)",
}


def content(sweep: Sweep, name: str) -> Content:
    """What the page of a sweep says. name : of the file that it comes from."""
    found = sweep.panels
    said = [_law_in_words(quantity, title, own) for quantity, panels in found.items() for title, own in panels.items()]
    first, *rest = said[:MOST_DRAWN] or [f"{len(sweep)} cells were measured; no exponent can be fitted to them."]
    left = [f"{len(said) - MOST_DRAWN} more series are in the tables."] if len(said) > MOST_DRAWN else []
    most = MOST_DRAWN // len(found) or 1
    return Content(
        kind="sweep",
        headline=first,
        setting=_setting(sweep),
        verdict=[Words([*rest, *left] or [FITS])],
        tiles=_tiles(found),
        sections=[
            *(Section(quantity, over_sizes(quantity, panels, most)) for quantity, panels in found.items()),
            Section("Cells", [Words(["Each cell with its numbers, as the file has them."]), Folded(_cells(sweep))]),
            promises({}, [MEASURED, FITS]),
            symbols(*symbols_of(list(found))),
            provenances(sweep.made_with, name, "This sweep does not say what it was made with."),
        ],
    )


def _setting(sweep: Sweep) -> str:
    """Of what the page is, in a line."""
    d, seeds = (sorted({getattr(cell, what) for cell in sweep}) for what in ("d", "seed"))
    points = dict.fromkeys(n for grid in sweep.grids for n in grid.n)
    networks = dict.fromkeys(network.label for grid in sweep.grids for network in grid.networks())
    sizes = [f"n = {' and '.join(points)}", " and ".join(networks)] if sweep.grids else []
    said = [
        f"{len(sweep)} cells",
        f"d = {d[0]} to {d[-1]}" if len(d) > 1 else f"d = {d[0]}",
        *sizes,
        f"seeds {few(seeds)}",
    ]
    return f"{', '.join(dict.fromkeys(cell.quantity for cell in sweep))}; {', '.join(said)}"


def _first(quantity: str) -> str:
    """The word before the layer."""
    return quantity.partition("-")[0]


def over_sizes(quantity: str, found: Panels, most: int) -> list[Element]:
    """A chart of the first panels, with their medians in tables, and the exponents of all."""
    shown = dict(list(found.items())[:most])
    left = f" {len(found) - len(shown)} more series are not drawn." if len(found) > len(shown) else ""
    chart = Chart(
        quantity,
        f"{_CHARTS[_first(quantity)]}: medians and ranges over seeds.{left}",
        panels(figure_of(quantity, shown), quantity),
        [_medians(title, own) for title, own in shown.items()],
    )
    return [chart, *([_exponents(found)] if any(own.laws for own in found.values()) else [])]


def symbols_of(quantities: Sequence[str]) -> list[str]:
    """Those of charts of these quantities."""
    firsts = set(map(_first, quantities))
    linear = ["Theta^lin"] if firsts - {"drift"} else []
    moved = ["Theta(t)", "eta, t", "T", "ntk, mup"] if "drift" in firsts else []
    return ["Theta", *linear, *moved, "‖·‖, ‖·‖_F", "n, d, m", *(["F, D, R"] if "budget" in firsts else [])]


def _exponents(found: Panels) -> Table:
    rows: list[list[str | float]] = [
        [title, _called(name), law.of, *(round(value, 4) for value in (law.exponent, law.lower, law.upper))]
        for title, own in found.items()
        for name, law in own.laws.items()
    ]
    return Table(["series", "number", "of", "exponent", "lower, 95 %", "upper, 95 %"], rows, "Fitted power laws")


def _medians(title: str, own: Panel) -> Table:
    x = np.array([getattr(cell, own.size) for cell in own.results])
    table: dict[str, np.ndarray] = {own.size: np.unique(x)}
    for size in [other for other in ("d", "n", "width") if other != own.size]:
        table[size] = at_distinct(np.median, x, np.array([getattr(cell, size) for cell in own.results])).astype(int)
    table["cells"] = np.unique(x, return_counts=True)[1]
    for name in own.names:
        _, y = own.sizes(name)
        for what, summary in (("median", np.median), ("least", np.min), ("most", np.max)):
            table[f"{_called(name)}, {what}"] = at_distinct(summary, x, y)
    return columns(table, f"{title}{', times d/n' if own.scaled else ''}")


def _called(name: str) -> str:
    """What the legend calls a number."""
    return spoken(STYLES[name][-1])


def _law_in_words(quantity: str, title: str, own: Panel) -> str:
    """How the first number of a series moves with d, or at one d with the width."""
    what = _what(quantity, own)
    where = f"for {title}{_LAYERS.get(quantity.partition('-')[2], '')}"
    law = own.laws.get(own.names[0])
    if law is None:
        return f"{what} has no exponent {where}: a fit takes three {own.symbol}, two seeds and numbers above 0."
    ends = f"95 %: {law.lower:.2f} to {law.upper:.2f}"
    if law.lower <= 0 <= law.upper:
        return f"{what} neither falls nor grows for sure {where}: exponent of {law.of} {law.exponent:.2f} ({ends})."
    return f"{what} {'falls' if law.upper < 0 else 'grows'} as {law.of}^{law.exponent:.2f} ({ends}) {where}."


def _what(quantity: str, own: Panel) -> str:
    """What the first number of a series is."""
    said = _FIRST[_first(quantity)]
    return f"(d/n) {said}" if own.scaled else said


def _tiles(found: dict[str, Panels]) -> list[Tile]:
    laws = [
        Tile(f"{own.symbol}^{own.laws[own.names[0]].exponent:.2f}", f"{_what(quantity, own)}, {title}")
        for quantity, panels in found.items()
        for title, own in panels.items()
        if own.names[0] in own.laws
    ]
    return laws[:3]


def _cells(results: Sweep) -> Table:
    names = sorted({name for numbers in results.values() for name in numbers})
    said = ["parameterization"] if any(is_drift(cell.quantity) for cell in results) else []
    fields = ("quantity", "activation", "distribution", "covariance", "network", *said, "d", "n", "width", "seed")

    rows = [
        [*(_of_cell(cell, field) for field in fields), *(numbers.get(name) for name in names)]
        for cell, numbers in results.items()
    ]
    return Table([*fields, *names], rows, "Every cell that was measured")


def _of_cell(cell: Cell, field: str) -> str | float:
    value = getattr(cell, field)
    return math.inf if (field, value) == ("width", INFINITE) else value
