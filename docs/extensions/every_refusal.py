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
# Errors of Python, and the package's own that reach people.
KINDS = re.compile(
    r"(Value|Type|Attribute|FileNotFound|ModuleNotFound|Import|Memory|NotImplemented|Permission|OS)Error"
    r"|OutOfMemory|OtherKind|Refused|Unfitting"
)


def messages(path: Path) -> Iterator[str]:
    """What the functions of a file refuse with words of their own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and KINDS.fullmatch(ast.unparse(node.func)):
            said = _words(node.args[0])
            if len(re.findall(r"[a-z]{2,}", said)) > 2:
                yield said


def _words(node: ast.expr) -> str:
    """A literal text with its fields as three dots; empty for anything else."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp):
        return f"{_words(node.left)}{_words(node.right) or '…'}"
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
        places = {name: sorted(ROOT.glob(name)) for name in self.arguments[0].split()}
        if missing := [name for name, found in places.items() if not found]:
            raise self.error(f"no such room: {', '.join(missing)}")
        shown = [place for found in places.values() for place in found]
        files = [file for place in shown for file in ([place] if place.is_file() else place.rglob("*.py"))]
        found = sorted({split(said) for file in files for said in messages(file)}, key=lambda row: row[0].lower())
        return [table(["message", "cure"], [[_plain(text) for text in row] for row in found])]


def _plain(text: str) -> str:
    return text.replace("`", "'")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("every-refusal", EveryRefusal)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
