"""The directive `record-fields`: the fields of the dataclasses of a result file, as the code has them."""

import dataclasses
import importlib
import inspect
import re

from docutils import nodes
from docutils.parsers.rst import Directive
from numpydoc.docscrape import NumpyDocString
from sphinx.application import Sphinx
from tables import inline, table

SECTION = re.compile(r"\n\w+\n-{3,}")  # of numpydoc
NAMED = re.compile(r"(?:^|(?<=\. ))(\w+(?:, \w+)*) : ")


class RecordFields(Directive):
    """For each class, `module:Class` on a line of its own, its first sentence and a table of its fields."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """A definition list would hide the types: a table for each class."""
        found: list[nodes.Node] = []
        for name in self.content:
            module, _, cls = name.partition(":")
            found += fields_of(getattr(importlib.import_module(module), cls))
        return found


def fields_of(cls: type) -> list[nodes.Node]:
    """The name of a class, what it is, and its fields."""
    doc = inspect.getdoc(cls) or ""
    own = {field.name: field for field in dataclasses.fields(cls)}
    summary, said = _described(_plain(" ".join(SECTION.split(doc)[0].split())), set(own))
    for section in ("Attributes", "Parameters"):
        for entry in NumpyDocString(doc)[section]:
            said |= dict.fromkeys(re.split(r", ", entry.name), _plain(" ".join(entry.desc)))
    head = nodes.paragraph("", "", nodes.strong("", cls.__name__), nodes.Text(". "), *inline(summary))
    rows = [[f"`{name}`", _type(field.type), said.get(name, "")] for name, field in own.items()]
    if not any(row[2] for row in rows):
        return [head, table(["field", "type"], [row[:2] for row in rows])]
    return [head, table(["field", "type", "meaning"], rows)]


def _described(text: str, own: set[str]) -> tuple[str, dict[str, str]]:
    """What a text says of the whole, and of fields: `name, name : meaning.`"""
    said, marks = {}, [mark for mark in NAMED.finditer(text) if set(mark[1].split(", ")) <= own]
    starts = [*(mark.start() for mark in marks), len(text)]
    for mark, end in zip(marks, starts[1:], strict=True):
        said |= dict.fromkeys(mark[1].split(", "), text[mark.end() : end].strip())
    return text[: starts[0]].strip(), said


def _plain(text: str) -> str:
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text.replace("``", "`")).replace("\\|", "|")


def _type(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(\w+\.)+(?=\w)", "", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("record-fields", RecordFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
