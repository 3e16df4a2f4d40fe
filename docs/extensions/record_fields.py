"""The directive `record-fields`: the fields of the dataclasses of a result file, as the code has them.

A line `module:Class` names a class. What its docstring leaves out stands below, indented: `name, name: meaning`.
"""

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
    """For each class what it is, and a table of its fields."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Read the lines; a field that the class does not have is an error."""
        classes: list[tuple[type, dict[str, str]]] = []
        for line in self.content:
            names, _, text = line.strip().partition(":")
            if line.startswith(" "):
                classes[-1][1].update(dict.fromkeys(names.split(", "), text.strip()))
            elif line:
                classes.append((getattr(importlib.import_module(names), text), {}))
        for cls, said in classes:
            if unknown := said.keys() - {field.name for field in dataclasses.fields(cls)}:
                raise self.error(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
        return [node for cls, said in classes for node in fields_of(cls, said)]


def fields_of(cls: type, further: dict[str, str]) -> list[nodes.Node]:
    """The name of a class, what it is, and its fields, by its docstring, those of its bases, and what else is said."""
    own, said = {field.name: field for field in dataclasses.fields(cls)}, {}
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        doc = inspect.getdoc(base) or ""
        summary, found = _described(_plain(" ".join(SECTION.split(doc)[0].split())), set(own))
        said |= found
    said |= further
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
    if "_SupportsArray" in text:
        return "word, number or array"
    return re.sub(r"\b(\w+\.)+(?=\w)", "", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("record-fields", RecordFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
