"""What README and docs claim, taken out of the text: commands, calls, tables."""

import ast
import contextlib
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import house

README = house.ROOT / "README.md"
PAGES = [README, *sorted((house.ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
# What stands for something of the reader's: NAME, ...
PLACEHOLDER = re.compile(r" [A-Z]{2,}\b|\.\.\.|…|<")
PROGRAMS = ("ntkspec", "python", "pip", "pytest")


def fences(text: str, *languages: str) -> Iterator[str]:
    """The blocks of code in these languages."""
    yield from (code for language, code in FENCE.findall(text) if language in languages)


def inline(text: str) -> list[str]:
    """The code within sentences."""
    return [" ".join(code.split()) for code in INLINE.findall(FENCE.sub("", text))]


@dataclass(frozen=True)
class Command:
    """The words of a command. whole : it can be run as it stands; within sentences only a part may be named."""

    words: list[str]
    whole: bool


def commands(text: str, subcommands: tuple[str, ...]) -> Iterator[Command]:
    """Every command; within sentences the program's own name is often left out."""
    lines = [(line, True) for code in fences(text, "sh") for line in code.replace("\\\n", " ").splitlines()]
    for code in inline(text):
        first, _, rest = code.partition(" ")
        lines += [(f"ntkspec {code}" if first in subcommands else code, False)] if rest else []
    for line, whole in lines:
        for words in _parts(line.split(" #")[0]):
            if words[0] in PROGRAMS and not PLACEHOLDER.search(" ".join(words)):
                yield Command(words, whole)


def _parts(line: str) -> Iterator[list[str]]:
    """The words of each command of a line; of sentences with a lone quotation mark none."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    lexer.whitespace_split, lexer.commenters = True, ""
    with contextlib.suppress(ValueError):
        for joins, words in itertools.groupby(list(lexer), lambda word: not word.strip("|;&")):
            if not joins:
                yield list(itertools.takewhile(lambda word: word != ">", words))


@dataclass(frozen=True)
class Call:
    """A call of a public function: its dotted name after ``ns.``, and the keywords."""

    name: str
    keywords: tuple[str, ...]


def calls(text: str) -> Iterator[Call]:
    """Every call of ``ns....(...)`` that no doctest runs, where it is whole Python."""
    for code in (*fences(text, "python"), *inline(text)):
        try:
            tree = ast.parse(code)
        except SyntaxError:  # a doctest, which is run, or no Python
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (name := re.fullmatch(r"ns\.([\w.]+)", ast.unparse(node.func))):
                yield Call(name[1], tuple(keyword.arg for keyword in node.keywords if keyword.arg))


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table; an empty first cell is that of the row above."""
    found, label = [], ""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            first, *others = [cell.strip() for cell in line.strip()[1:-1].split("|")]
            label = first or label
            found.append([label, *others])
        elif not line.startswith("|"):
            label = ""
    return found
