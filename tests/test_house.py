"""The package keeps its own rules: nothing packed or hidden, everything typed, public names documented by what runs."""

import doctest
import inspect
import re

import numpy as np
import pytest

import house
import ntkspec as ns

FILES = house.sources(house.ROOT / "ntkspec")
PUBLIC = house.public_objects()
DOCUMENTED = {name: value for name, value in PUBLIC.items() if not inspect.ismodule(value) and callable(value)}


def listed(findings):
    """The findings as lines, for the message of a failure."""
    return "\n".join(map(str, findings))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(house.ROOT)))
def test_nothing_is_packed_or_hidden_and_everything_public_is_typed(path):
    found = [finding for rule in house.BY_FILE for finding in rule(path)]
    assert not found, listed(found)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_say_what_they_take_return_and_raise(name):
    found = [*house.docstring_lacks(name, PUBLIC[name])]
    assert not found, listed(found)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_examples_of_public_names_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for library in ("jax", "torch"):
        if re.search(rf">>> import .*\b{library}\b", inspect.getdoc(DOCUMENTED[name]) or ""):
            pytest.importorskip(library, reason=f"{library} is not installed")
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    said = []
    for example in finder.find(DOCUMENTED[name], f"ns.{name}", globs={"ns": ns, "np": np}):
        runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)


THIN = '''
class Result:
    """A result."""

    def scaled(self, factor):
        """It times the factor."""
        return factor

    def __call__(self, x):
        return x

    def _own(self, x):
        return x


def outer(data, *rest, scale: float = 1.0) -> float:
    X, y = data

    def inner():
        (first, second), third = rest, scale
        return first

    for data.largest in X:
        data.seen = object.__new__(type(y))
    return inner()
'''


def test_rules_find_what_breaks_them(tmp_path):
    path = tmp_path / "thin.py"
    path.write_text(THIN)
    assert [finding.text for finding in house.packed_arguments(path)] == [
        "outer unpacks its argument 'data'",
        "outer.inner unpacks its argument 'rest'",
    ]
    assert sorted(finding.text for finding in house.hidden_state(path)) == [
        "a loop over data.largest",
        "object.__new__ instead of a constructor",
        "outer writes data.largest onto its argument",
        "outer writes data.seen onto its argument",
    ]
    assert [finding.text for finding in house.untyped(path)] == [
        "Result.scaled: factor",
        "Result.scaled: the result",
        "Result.__call__: x",
        "outer: data",
        "outer: rest",
    ]


def half(x: float) -> float:
    """Half of x.

    Parameters
    ----------
    x : float
        A number > 0.

    Returns
    -------
    float
        x / 2.

    Raises
    ------
    ValueError
        If x <= 0.

    Examples
    --------
    >>> half(1.0)
    0.5
    """
    if x <= 0:
        raise ValueError(f"{x=}, but a number > 0 is needed")
    return x / 2


@pytest.mark.parametrize("title", ["Parameters", "Returns", "Raises", "Examples"])
def test_a_section_that_is_left_out_is_found(title):
    doc = inspect.getdoc(half)
    assert not [*house._lacks_of_function(half, doc)]
    assert [*house._lacks_of_function(half, doc.replace(f"{title}\n{'-' * len(title)}", "Also"))] == [title]


def test_an_argument_that_is_not_described_is_found():
    doc = inspect.getdoc(half).replace("x : float", "y : float")
    assert [*house._lacks_of_function(half, doc)] == ["in Parameters: x"]
