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
    described = NumpyDocString(doc)
    said = {
        name.strip(): " ".join(entry.desc)
        for section in ("Attributes", "Parameters")
        for entry in described[section]
        for name in entry.name.split(",")
    }
    head = nodes.paragraph("", "", nodes.strong("", cls.__name__), nodes.Text(". "), *inline(_summary(doc)))
    rows = [
        [f"`{field.name}`", _type(field.type), _plain(said.get(field.name, ""))] for field in dataclasses.fields(cls)
    ]
    if not any(row[2] for row in rows):
        return [head, table(["field", "type"], [row[:2] for row in rows])]
    return [head, table(["field", "type", "meaning"], rows)]


def _summary(doc: str) -> str:
    """All that stands before the first section."""
    return _plain(" ".join(re.split(r"\n\w+\n-{3,}", doc)[0].split()))


def _plain(text: str) -> str:
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text.replace("``", "`")).replace("\\|", "|")


def _type(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(\w+\.)+(?=\w)", "", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("record-fields", RecordFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
