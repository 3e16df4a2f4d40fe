"""Tables as nodes of a page: a head, and rows of texts; what stands between backticks is code."""

import re

from docutils import nodes


def table(head: list[str], rows: list[list[str]]) -> nodes.table:
    """A table with one column for each word of the head."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group)


def _row(texts: list[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *inline(text))) for text in texts))


def inline(text: str) -> list[nodes.Node]:
    """The text, with code between backticks."""
    parts = re.split(r"`([^`]+)`", text)
    return [nodes.literal(part, part) if k % 2 else nodes.Text(part) for k, part in enumerate(parts) if part]
