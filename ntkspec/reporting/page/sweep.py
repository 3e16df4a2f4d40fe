"""The page of a sweep, and the charts over d that pages of checks have too."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkspec.experiments.power_laws import PowerLaw, at_distinct
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_series import Results, series
from ntkspec.networks.size_laws import INFINITE
from ntkspec.plotting.labels import spoken
from ntkspec.plotting.scaling import STYLES, law_of, sizes
from ntkspec.plotting.svg import panels
from ntkspec.plotting.sweeps import drawing_of, figure_of
from ntkspec.reporting.page.elements import Chart, Element, Folded, Section, Table, Tile, Words, columns
from ntkspec.reporting.page.footing import promises, provenance, symbols
from ntkspec.reporting.page.page import Content

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
    "gap": "(d/n) ‖Theta - Theta^lin‖ in spectral and Frobenius norm, with and without the diagonal",
    "training": "Largest mean squared difference of network and linear model up to T",
    "budget": "Norms of F, D and R times d/n, measured and (dashes) predicted",
    "data": "Ratios of Claim 3.1, which are bounded where it holds",
}
_FIRST = {
    "gap": "(d/n) ‖Theta - Theta^lin‖",
    "budget": "(d/n) ‖F‖",
    "training": "The largest difference of network and linear model on the training points",
    "data": "The spread of ‖x‖²/d over sqrt(log n / d)",
}


def content(results: Results, made_with: dict[str, Any] | None, name: str) -> Content:
    """What the page of a sweep says. made_with, name : the provenance, and the file that it comes from."""
    quantities = sorted({cell.quantity for cell in results}, key=lambda quantity: list(_CHARTS).index(_first(quantity)))
    found = {
        quantity: series({cell: own for cell, own in results.items() if cell.quantity == quantity})
        for quantity in quantities
    }
    laws = {quantity: exponents(quantity, own) for quantity, own in found.items()}
    d, seeds = (sorted({getattr(cell, what) for cell in results}) for what in ("d", "seed"))
    said = [_law_in_words(quantity, title, own) for quantity in quantities for title, own in laws[quantity].items()]
    first, *rest = said[:MOST_DRAWN] or [f"{len(results)} cells were measured; no exponent can be fitted to them."]
    left = [f"{len(said) - MOST_DRAWN} more series are in the tables."] if len(said) > MOST_DRAWN else []
    return Content(
        kind="sweep",
        headline=first,
        setting=f"{', '.join(quantities)}; {len(results)} cells, d = {d[0]} to {d[-1]}, {len(seeds)} seeds",
        verdict=[Words([*rest, *left] or [FITS])],
        tiles=_tiles(laws),
        sections=[
            *(
                Section(quantity, over_d(quantity, own, laws[quantity], MOST_DRAWN // len(quantities) or 1))
                for quantity, own in found.items()
            ),
            Section("Cells", [Folded(_cells(results))]),
            promises({}, [MEASURED, FITS]),
            symbols(*symbols_of(quantities)),
            provenance(
                made_with,
                name,
                "A file of a sweep grows cell by cell, maybe on several machines, and does not keep how.",
            ),
        ],
    )


def _first(quantity: str) -> str:
    """The word before the layer."""
    return quantity.partition("-")[0]


def exponents(quantity: str, found: dict[str, Results]) -> dict[str, dict[str, PowerLaw]]:
    """{title of a series: {what: its power law in d}}, without those that cannot be fitted."""
    drawn = drawing_of(quantity)
    return {
        title: {name: law for name in drawn.names if (law := law_of(own, name, scaled=drawn.scaled)) is not None}
        for title, own in found.items()
    }


def over_d(quantity: str, found: dict[str, Results], laws: dict[str, dict[str, PowerLaw]], most: int) -> list[Element]:
    """A chart of the first series, each a panel, with their medians in tables, and the exponents of all."""
    shown = dict(list(found.items())[:most])
    left = f" {len(found) - len(shown)} more series are not drawn." if len(found) > len(shown) else ""
    caption = f"{_CHARTS[_first(quantity)]}: medians and ranges over seeds.{left}"
    chart = Chart(
        quantity,
        caption,
        panels(figure_of(quantity, shown), quantity),
        [_medians(quantity, title, own) for title, own in shown.items()],
    )
    return [chart, *([_exponents(laws)] if any(laws.values()) else [])]


def symbols_of(quantities: Sequence[str]) -> list[str]:
    """Those of charts of these quantities."""
    split = ["F, D, R"] if any(_first(quantity) == "budget" for quantity in quantities) else []
    return ["Theta", "Theta^lin", "‖·‖, ‖·‖_F", "n, d, m", *split]


def _exponents(laws: dict[str, dict[str, PowerLaw]]) -> Table:
    rows: list[list[str | float]] = [
        [title, _called(name), *(round(value, 4) for value in (law.exponent, law.lower, law.upper))]
        for title, own in laws.items()
        for name, law in own.items()
    ]
    return Table(["series", "of", "exponent of d", "lower, 95 %", "upper, 95 %"], rows, "Fitted power laws")


def _medians(quantity: str, title: str, own: Results) -> Table:
    drawn = drawing_of(quantity)
    d = np.array([cell.d for cell in own])
    table: dict[str, np.ndarray] = {"d": np.unique(d)}
    for size in ("n", "width"):
        table[size] = at_distinct(np.median, d, np.array([getattr(cell, size) for cell in own])).astype(int)
    table["cells"] = np.unique(d, return_counts=True)[1]
    for name in drawn.names:
        _, y = sizes(own, name, scaled=drawn.scaled)
        for what, summary in (("median", np.median), ("least", np.min), ("most", np.max)):
            table[f"{_called(name)}, {what}"] = at_distinct(summary, d, y)
    return columns(table, f"{title}{', times d/n' if drawn.scaled else ''}")


def _called(name: str) -> str:
    """What the legend calls a number."""
    return spoken(STYLES[name][-1])


def _law_in_words(quantity: str, title: str, laws: dict[str, PowerLaw]) -> str:
    """How the first number of a series moves with d."""
    what, layer = _FIRST[_first(quantity)], quantity.partition("-")[2]
    where = f"for {title}{f' ({layer})' if layer else ''}"
    law = laws.get(drawing_of(quantity).names[0])
    if law is None:
        return f"{what} has no exponent {where}: a fit takes three d, two seeds and numbers above 0."
    ends = f"95 %: {law.lower:.2f} to {law.upper:.2f}"
    if law.lower <= 0 <= law.upper:
        return f"{what} neither falls nor grows for sure {where}: exponent of d {law.exponent:.2f} ({ends})."
    return f"{what} {'falls' if law.upper < 0 else 'grows'} as d^{law.exponent:.2f} ({ends}) {where}."


def _tiles(laws: dict[str, dict[str, dict[str, PowerLaw]]]) -> list[Tile]:
    tiles = []
    for quantity, own in laws.items():
        name = drawing_of(quantity).names[0]
        what = _FIRST[_first(quantity)]
        tiles += [
            Tile(f"d^{fits[name].exponent:.2f}", f"{what}, {title}") for title, fits in own.items() if name in fits
        ]
    return tiles[:3]


def _cells(results: Results) -> Table:
    names = sorted({name for numbers in results.values() for name in numbers})
    fields = ("quantity", "activation", "distribution", "covariance", "network", "d", "n", "width", "seed")

    rows = [
        [*(_of_cell(cell, field) for field in fields), *(numbers.get(name) for name in names)]
        for cell, numbers in results.items()
    ]
    return Table([*fields, *names], rows, "Every cell that was measured")


def _of_cell(cell: Cell, field: str) -> str | float:
    value = getattr(cell, field)
    return math.inf if (field, value) == ("width", INFINITE) else value
