"""What commands say of themselves: defaults, examples, exit codes, and the names that people write."""

import dataclasses
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from cyclopts import App

from ntkspec import cli
from ntkspec.cli import sweeps
from ntkspec.cli.commands import app
from ntkspec.cli.help import EXAMPLES, OTHER_NAMES
from ntkspec.cli.streams import Exit
from ntkspec.experiments.sweep_grid import Grid


def programs(app: App = app, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command, as the words that call it."""
    found = [words] if words else []
    for name in app.resolved_commands():
        if not name.startswith("-"):
            found += programs(app[name], (*words, name))
    return found


def helped(words, capsys) -> str:
    assert cli.main([*words, "--help"]) == 0
    return capsys.readouterr().out


def told(out: str) -> dict[str, str]:
    """{option: what its row says} of a help text."""
    found: dict[str, str] = {}
    for line in re.findall(r"│ (.*) │", out):
        begins = re.match(r"(?:\*|) *--(\S+)", line)
        if begins:
            name = begins[1]
        if found or begins:
            found[name] = f"{found.get(name, '')} {line.strip()}"
    return found


@pytest.mark.parametrize("words", programs(), ids=" ".join)
def test_a_command_tells_its_defaults_an_example_and_how_it_ends(words, capsys):
    out = helped(words, capsys)
    for name, text in told(out).items():
        if name not in ("help", "version"):
            assert re.search(r"default: |\[required\]", text), f"--{name} has no default in its help"
    assert "Union[" not in out
    assert f"ntkspec {' '.join(words)}" in out.split("Examples:")[1]
    assert all(f"{int(code)} " in out.split("Exit codes:")[1] for code in Exit)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_are_lines_that_the_parser_takes(line):
    app.parse_args(shlex.split(line.split(" > ")[0])[1:], exit_on_error=False, print_error=False)


def test_there_are_examples_of_every_command_and_of_no_other():
    assert {" ".join(words) for words in programs()} == set(EXAMPLES)


def test_defaults_that_are_told_of_grids_are_those_that_they_have(capsys):
    texts = told(helped(["check"], capsys))
    defaults = {field.name: field.default for field in dataclasses.fields(Grid)} | {"d": sweeps._DIMENSIONS}
    for name, default in defaults.items():
        if name != "quantity":
            values = default if isinstance(default, tuple) else (str(default),)
            assert f"default: {' '.join(values)}" in texts[name], name
    for statement, own in sweeps._USUAL.items():
        for name, values in own.items():
            assert f"check {statement}: {values[0]}" in texts[name], (statement, name)


def test_the_page_of_commands_has_a_section_of_each():
    page = (Path(__file__).parents[1] / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"{command-help} (.+)", page)) == {" ".join(words) for words in programs()}
    for words in programs():
        assert f"{'#' * (1 + len(words))} {' '.join(words)}\n" in page


@pytest.mark.parametrize("words", [words for words in programs() if words not in (("constants",), ("doctor",))])
def test_output_has_its_short_form_wherever_it_is(words, capsys):
    assert ("--output" in (out := helped(words, capsys))) == ("--output -o PATH" in out)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_options_of_other_programs_lead_to_those_of_this_one(name, capsys):
    assert cli.main(["analyze", f"--{name}", "1"]) == 2
    assert capsys.readouterr().err == (
        f"ntkspec: error: --{name} is --{OTHER_NAMES[name]} here. See ntkspec analyze --help.\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(shell, capsys, tmp_path):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for words in programs():
        assert words[-1] in script
    for option in ("--quantity", "--activation", "--json", "theorem-3.5"):
        assert option.removeprefix("--") in script
    if program := shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([program, "-n", tmp_path / "script"], check=True)
