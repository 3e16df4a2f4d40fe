"""What a page is made of: facts, tables, charts and lists, each of which writes itself as HTML."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ntkspec.reporting.page.typeset import escape, number, typeset

if TYPE_CHECKING:  # matplotlib is imported where figures are drawn
    from ntkspec.plotting.svg import Panel

# Rows of one table that a page shows, and how many of them stand open below a chart.
MOST_ROWS, OPEN_ROWS = 400, 12
# Letters of a text that stays on one line of a table, and the columns of a table that paper has room for.
SHORT, WIDE = 40, 8

Cell = str | float | int | None


class Element(Protocol):
    """A part of a section."""

    def html(self) -> str:
        """The part as HTML."""


@dataclass(frozen=True)
class Words:
    """A paragraph; or a list, where there are several."""

    lines: Sequence[str]
    kind: str = ""

    def html(self) -> str:
        """One <p>, or a <ul>."""
        if len(self.lines) == 1:
            return f'<p class="{self.kind}">{typeset(self.lines[0])}</p>'
        items = "".join(f"<li>{typeset(line)}</li>" for line in self.lines)
        return f'<ul class="{self.kind}">{items}</ul>'


@dataclass(frozen=True)
class Facts:
    """Names and values in two columns."""

    pairs: Sequence[tuple[str, str]]

    def html(self) -> str:
        """A <dl>."""
        rows = (f"<div><dt>{typeset(name)}</dt><dd>{typeset(value)}</dd></div>" for name, value in self.pairs)
        return f"<dl>{''.join(rows)}</dl>"


@dataclass(frozen=True)
class Table:
    """Rows below a head; columns of numbers stand to the right. Of long tables the first MOST_ROWS rows are shown."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def html(self) -> str:
        """A <table> in a box that scrolls, and a line on what is left out."""
        shown = self.rows[:MOST_ROWS]
        numeric = [all(not isinstance(row[k], str) for row in shown) for k in range(len(self.head))]
        caption = f"<caption>{typeset(self.caption)}</caption>" if self.caption else ""
        head = "".join(_cell("th", name, right, ' scope="col"') for name, right in zip(self.head, numeric, strict=True))
        body = "".join(
            f"<tr>{''.join(_cell('td', value, right) for value, right in zip(row, numeric, strict=True))}</tr>"
            for row in shown
        )
        label = escape(self.caption or ", ".join(self.head))
        wide = " class=wide" if len(self.head) > WIDE else ""
        rest = len(self.rows) - len(shown)
        left = f'<p class="note">{rest} more rows are in the file.</p>' if rest else ""
        return (
            f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table{wide}>{caption}'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{left}"
        )


def columns(named: Mapping[str, Iterable], caption: str = "") -> Table:
    """A table from its columns of numbers; not a number is a dash."""
    rows = zip(*(np.asarray(values).tolist() for values in named.values()), strict=True)
    return Table(list(named), list(rows), caption)


def _cell(tag: str, value: Cell, right: bool, more: str = "") -> str:
    text = typeset(value) if isinstance(value, str) else number(math.nan if value is None else value)
    short = tag == "td" and isinstance(value, str) and len(value) <= SHORT
    return f"<{tag}{more}{' class=n' if right else ' class=s' if short else ''}>{text}</{tag}>"


@dataclass(frozen=True)
class Judged:
    """Verdicts, each with what it is about and the evidence. The first word of a verdict names its colour."""

    items: Sequence[tuple[str, str, str]]

    def html(self) -> str:
        """A <ul>."""
        return f'<ul class="judged">{"".join(_judged(*item) for item in self.items)}</ul>'


def _judged(verdict: str, what: str, evidence: str) -> str:
    badge = f'<b class="{escape(verdict.split()[0])}">{escape(verdict)}</b>'
    return f"<li>{badge}<div>{typeset(what)}<span>{typeset(evidence)}</span></div></li>"


@dataclass(frozen=True)
class Folded:
    """A table behind a line that unfolds it; short ones are open."""

    table: Table

    def html(self) -> str:
        """A <details>."""
        count = len(self.table.rows)
        title = f"Numbers: {typeset(self.table.caption)} ({count} row{'s' * (count != 1)})"
        unfolded = " open" if count <= OPEN_ROWS else ""
        return f"<details{unfolded}><summary>{title}</summary>{self.table.html()}</details>"


@dataclass(frozen=True)
class Chart:
    """The panels of a figure, what they show in a sentence, and their numbers in tables."""

    name: str
    caption: str
    panels: "Sequence[Panel]"
    tables: Sequence[Table] = field(default_factory=tuple)

    def html(self) -> str:
        """A <figure>, and below it the tables, which are folded where they are long."""
        pictures = "".join(_picture(panel, f"{self.name}-{k}") for k, panel in enumerate(self.panels, 1))
        below = "".join(Folded(table).html() for table in self.tables)
        caption = f"<figcaption>{typeset(self.caption)}</figcaption>"
        return f'<figure><div class="panels">{pictures}</div>{caption}</figure>{below}'


def _picture(panel: "Panel", name: str) -> str:
    """An <svg> with a text in its place for those who do not see it."""
    says = f'<desc id="{name}-says">{escape(panel.says)}</desc>' if panel.says else ""
    described = f' aria-describedby="{name}-says"' if says else ""
    return (
        f'<svg role="img" aria-label="{escape(panel.name)}"{described} viewBox="{panel.box}" '
        f'style="max-width: {panel.width}px">{says}{panel.inner}</svg>'
    )


@dataclass(frozen=True)
class Tile:
    """A number of the verdict in large letters, and what it is."""

    value: str
    label: str

    def html(self) -> str:
        """One box."""
        return f"<div><b>{typeset(self.value)}</b><span>{typeset(self.label)}</span></div>"


@dataclass(frozen=True)
class Section:
    """A titled part of the page."""

    title: str
    parts: Sequence[Element]

    def html(self, anchor: str) -> str:
        """A <section>; anchor : its name in links."""
        inner = "".join(part.html() for part in self.parts)
        return f'<section id="{anchor}"><h2>{typeset(self.title)}</h2>{inner}</section>'
