"""Which parameters a glob on their names means: the arguments ``parameters`` and ``layer`` of users' networks."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from ntkspec import checks

# So many names stand in a message.
SHOWN = 12


def matching(globs: object, argument: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of which one alias is a glob or matches it, in their own order. Each glob has to match one.

    names : the aliases of each name, itself among them. Raises TypeError and ValueError.
    """
    given = [globs] if isinstance(globs, str) else globs
    if not isinstance(given, list | tuple) or not given or not all(isinstance(glob, str) for glob in given):
        raise TypeError(f"{argument}={checks.shown(globs)}, but a glob on parameter names or a list of globs is needed")
    chosen = set()
    for glob in given:
        found = {name for name, shared in names.items() if any(one == glob or fnmatchcase(one, glob) for one in shared)}
        if not found:
            inside = any(one.startswith(f"{glob}.") for shared in names.values() for one in shared)
            advice = f"; did you mean '{glob}.*'?" if inside else ""
            raise ValueError(f"{argument}={glob!r} is the name of no parameter{advice}; there are {some(list(names))}")
        chosen |= found
    return [name for name in names if name in chosen]


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
