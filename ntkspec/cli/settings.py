"""Settings from a TOML file: ``--config FILE`` becomes options of the command, before those are read."""

import difflib
import itertools
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import App

_OPTION = "--config"


@dataclass(frozen=True)
class Settings:
    """The words of a command, those of its file among them; ``names`` are the options that came from there."""

    words: list[str]
    path: Path | None = None
    names: frozenset[str] = frozenset()

    def place(self, name: str | None) -> str:
        """How a message about an option begins: with the file that it came from."""
        return f"{self.path}: " if name in self.names else ""


def expanded(app: App, words: Sequence[str]) -> Settings:
    """The words of a command with the settings of its file, but for those that are among the words already.

    A table such as ``[analyze]`` or ``[figure.1]`` is read by that command alone. Raises ValueError or OSError, in one
    line, for a file that cannot be read, and for a key that is no option.
    """
    given, path = _parted(words)
    if path is None:
        return Settings(given)
    command, own, _ = app.parse_commands(given)
    options = _options(own[-1])
    there = {word.partition("=")[0] for word in given if word.startswith("--")}
    added: dict[str, list[str]] = {}
    for key, value in _of_command(_read(path), app, command).items():
        names = options.get(name := key.replace("_", "-"))
        if names is None:
            raise ValueError(
                f"{path}: {key!r} is no option of {' '.join(['ntkspec', *command])}{_nearest(name, options)}"
            )
        if there.isdisjoint(names):
            added[f"--{name}"] = list(_as_words(path, name, value, names))
    return Settings([*given, *itertools.chain(*added.values())], path, frozenset(added))


def _of_command(table: dict[str, Any], app: App, command: Sequence[str]) -> dict[str, Any]:
    """What stands outside of tables of commands, and in the table of this one, which comes first."""
    own = {key: value for key, value in table.items() if not (isinstance(value, dict) and key in set(app))}
    if command and isinstance(inner := table.get(command[0]), dict):
        own |= _of_command(inner, app[command[0]], command[1:])
    return own


def _parted(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The words without the option, and its file."""
    rest, found, left = [], None, iter(words)
    for word in left:
        if word == _OPTION or word.startswith(f"{_OPTION}="):
            if found is not None:
                raise ValueError(f"{_OPTION} came twice; put all settings into one file")
            found = word.partition("=")[2] if "=" in word else next(left, "")
            if not found:
                raise ValueError(f"{_OPTION} needs a file, such as {_OPTION} settings.toml")
        else:
            rest.append(word)
    return rest, None if found is None else Path(found).expanduser()


def _options(app: App) -> dict[str, set[str]]:
    """{name: all its spellings} of the options of a command."""
    if app.default_command is None:
        return {}
    spelled = ([name for name in argument.names if name.startswith("--")]
               for argument in app.assemble_argument_collection())  # fmt: skip
    return {names[0].removeprefix("--"): set(names) for names in spelled if names and names[0] != _OPTION}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file of settings: {error}") from None


def _nearest(name: str, options: dict[str, set[str]]) -> str:
    close = difflib.get_close_matches(name, options, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(sorted(options))}"


def _as_words(path: Path, name: str, value: Any, names: set[str]) -> Iterator[str]:
    if isinstance(value, bool):
        if value or f"--no-{name}" in names:
            yield f"--{name}" if value else f"--no-{name}"
        return
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values):
        raise ValueError(f"{path}: {name} = {value!r}, but a number, a text, true, false or a list is needed")
    yield f"--{name}"
    yield from map(str, values)
