"""The directive `every-refusal`: the messages with which the named rooms of the package refuse, and their cures.

A message says what came and what is needed, and behind its last semicolon what to do. What depends on the case is
written as three dots.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from tables import table

import ntkspec

ROOT = Path(ntkspec.__file__).parent
KINDS = ("ValueError", "TypeError", "FileNotFoundError", "ModuleNotFoundError", "MemoryError", "NotImplementedError")


def messages(path: Path) -> Iterator[tuple[str, str]]:
    """What the functions of a file raise with words of their own: the kind and the message."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            kind, said = ast.unparse(node.exc.func), _words(node.exc.args[0])
            if kind in KINDS and len(re.findall(r"[a-z]{2,}", said)) > 2:
                yield kind, said


def _words(node: ast.expr) -> str:
    """A literal text with its fields as three dots; empty for anything else."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return re.sub(r"…(\s*…)+", "…", "".join(parts))
    return ""


def split(message: str) -> tuple[str, str]:
    """The refusal, and what to do about it."""
    refused, _, cure = message.rpartition("; ")
    return (refused, cure) if refused else (message, "")


class EveryRefusal(Directive):
    """A table of the messages of some files and folders, by the words that they begin with."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Read the sources; each message stands once."""
        places = [ROOT / name for name in self.arguments[0].split()]
        files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
        if missing := [str(place) for place in places if not place.exists()]:
            raise self.error(f"no such room: {', '.join(missing)}")
        found = sorted({split(said) for file in files for _, said in messages(file)}, key=lambda row: row[0].lower())
        return [table(["message", "cure"], [[_plain(text) for text in row] for row in found])]


def _plain(text: str) -> str:
    return text.replace("`", "'")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("every-refusal", EveryRefusal)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
