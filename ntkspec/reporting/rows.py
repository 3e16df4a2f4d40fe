"""Rows and intervals as text."""

from collections.abc import Iterable

from ntkspec.spectra.results import Estimate

WIDTH = 34


def titled(sections: dict[str, list[str]]) -> str:
    """Sections with underlined titles."""
    return "\n\n".join("\n".join([title, "-" * len(title), *lines]) for title, lines in sections.items())


def rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Names and values in two columns."""
    return [f"  {name:<{WIDTH}} {value}" for name, value in pairs]


def prepared(meta: dict) -> dict[str, list[str]]:
    """The section on how the data were read and prepared; none for data that were drawn."""
    reading = meta.get("reading", ())
    return {"Data as read and prepared": [f"  {line}" for line in reading]} if len(reading) else {}


def interval(estimate: Estimate) -> str:
    """A number, its interval, and whether that has closed."""
    state = "" if estimate.converged else ", not closed"
    return f"{estimate.value:.6g} in [{estimate.lower:.6g}, {estimate.upper:.6g}]{state}"
