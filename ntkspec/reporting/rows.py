"""Rows and intervals as text."""

import textwrap
from collections.abc import Iterable

from ntkspec.experiments.linear_models import NearestLinear
from ntkspec.experiments.own_networks import NetworkRecord
from ntkspec.experiments.recipes import Recipe
from ntkspec.objects.words import counted
from ntkspec.spectra.results import Estimate

# Of names in rows, and of a terminal's 80 columns.
WIDTH, COLUMNS = 34, 79


def titled(sections: dict[str, list[str]]) -> str:
    """Sections with underlined titles."""
    return "\n\n".join("\n".join([title, "-" * len(title), *lines]) for title, lines in sections.items())


def rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Names and values in two columns."""
    return [f"  {name:<{WIDTH}} {value}" for name, value in pairs]


def wrapped(text: str, first: str = "") -> list[str]:
    """The text on lines of a terminal. first : what the first one begins with, under which the others are set in."""
    lines = textwrap.TextWrapper(COLUMNS, first, " " * len(first), break_long_words=False, break_on_hyphens=False)
    return lines.wrap(text)


def prepared(meta: dict) -> dict[str, list[str]]:
    """The section on how the data were read and prepared; none for data that were drawn."""
    reading = meta.get("reading", ())
    return {"Data as read and prepared": [f"  {line}" for line in reading]} if len(reading) else {}


def interval(estimate: Estimate) -> str:
    """A number, its interval, and whether that has closed."""
    state = "" if estimate.converged else ", not closed"
    return f"{estimate.value:.6g} in [{estimate.lower:.6g}, {estimate.upper:.6g}]{state}"


def own_rows(own: NetworkRecord | None) -> list[tuple[str, str]]:
    """What a network of the user's own is, and which kernels of its outputs are meant; nothing for built-in ones."""
    if own is None:
        return []
    named = f"{own.size:,} numbers in {counted(len(own.parameters), 'array')}"
    file = [("file", f"{own.path}, sha256 {own.digest[:12]}")] if own.path else []
    pairs = [*file, ("trained parameters", named), ("kernel", own.compared)]
    if own.asked != own.compared:
        pairs.append(("kernel that predicts the training", own.asked))
    return pairs


def loss_title(recipe: Recipe) -> str:
    """The loss that was made small, as a formula where it is the squared one."""
    return "(1/2n) sum (f - y)^2" if recipe.squared else f"({recipe.loss_words})"


def terms(nearest: NearestLinear) -> str:
    """The linear kernel that is nearest to that of a network."""
    count = len(nearest.norms) - 1
    norms = f", {counted(count, 'norm feature')}" if count > 0 else ""
    return f"{nearest.data:.4g} X X^T/d + {nearest.constant:.4g} 1 1^T + {nearest.identity:.4g} I{norms}"
