"""Which arrays of a file are the points and which the labels, by their names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

POINTS = ("x", "xs", "data", "images?", "imgs?", "features?", "inputs?", "points", "samples", "arr0")
LABELS = ("y", "ys", "labels?", "targets?", "class", "outputs?", "arr1")
_PART = "(train(?:ing)?|tr|test(?:ing)?|te|val(?:id(?:ation)?)?|dev)"
_ROLE = re.compile(rf"{_PART}?(?:set|data)?(?:({'|'.join(POINTS)})|({'|'.join(LABELS)}))(?:set|data)?{_PART}?")
_GROUP = re.compile(rf"{_PART}(?:set|data|split)?")
_ADVICE = "name them with --points and --label (points=, label=)"
_ADVICE_FOR = {
    "points": "name it with --points (points=)",
    "labels": "name it with --label (label=): an array, a file of them, or the number of a column of the points",
    "test points": "name it with --test-points (test_points=)",
    "test labels": "name it with --test-label (test_label=)",
}
_PARTS = {"tr": "train", "te": "test", "va": "validation", "de": "validation"}


@dataclass(frozen=True)
class Entry:
    """What a name says of an array: its group, its part ("", "train", "test", "validation"), its role."""

    name: str
    group: str
    part: str
    role: str


@dataclass(frozen=True)
class Choice:
    """The names of points and labels, and of test points and labels or None."""

    points: str
    label: str
    test_points: str | None
    test_label: str | None


def entry(name: str) -> Entry | None:
    """What a name says: "X", "train_images", "test/labels", "y/train", "XTest"; None where it says nothing of it."""
    *groups, leaf = (re.sub(r"[^a-z0-9]", "", part) for part in name.lower().split("/"))
    if groups and _GROUP.fullmatch(leaf):
        groups, leaf = groups[:-1], groups[-1] + leaf
    match = _ROLE.fullmatch(leaf)
    if not match:
        return None
    before, points, _, after = match.groups()
    said = [before, after, *(found[1] for found in map(_GROUP.fullmatch, groups) if found)]
    part = next((_PARTS[word[:2]] for word in said if word), "")
    group = "/".join(group for group in groups if not _GROUP.fullmatch(group))
    return Entry(name, group, part, "points" if points else "labels")


def choose(
    names: list[str],
    path: str | Path,
    *,
    points: str | None = None,
    label: str | None = None,
    test_points: str | None = None,
    test_label: str | None = None,
) -> Choice:
    """The arrays that are meant: those that are named, the others by the usual names.

    Raises ValueError where none or more than one fits, with the names.
    """
    points, label, test_points, test_label = (
        name and present(name, names, path) for name in (points, label, test_points, test_label)
    )
    entries = [found for found in map(entry, names) if found]
    test_points, test_label = test_points or _twin(points, names), test_label or _twin(label, names)
    said = entry(points or label or "")
    if points or label:
        group, parts = (said.group, (said.part,)) if said else ("", ("", "train"))
    else:
        group, parts = _group(entries, names, path), ("", "train")
        if {"arr_1", "arr_2"} <= set(names):
            raise ValueError(f"{path} holds {listed(names)}, which say nothing; {_ADVICE}")
    here = [one for one in entries if one.group == group]
    of_training = [one for one in here if one.part in parts]
    points = points or _the("points", of_training, names, path)
    label = label or _the("labels", of_training, names, path)
    test = _test_pair([one for one in here if one.part not in parts], test_points, test_label, names, path)
    return Choice(points, label, *test)


def _twin(name: str | None, names: list[str]) -> str | None:
    """The name of the test array that belongs to a training array that was asked for by name."""
    twin = (name or "").replace("train", "test")
    return twin if twin != name and twin in names else None


def choose_points(names: list[str], path: str | Path) -> str:
    """The only array of points by the usual names, where the labels are a column of it."""
    entries = [found for found in map(entry, names) if found]
    return _the("points", [one for one in entries if one.part in ("", "train")], names, path)


def _test_pair(entries: list[Entry], points, label, names, path) -> tuple[str | None, str | None]:
    said = entry(points or label or "")
    part = said.part if said else "test"
    of_test = [one for one in entries if one.part == part]
    points = points or _the("test points", of_test, names, path, optional=True)
    label = label or _the("test labels", of_test, names, path, optional=True)
    if (points is None) != (label is None):
        raise ValueError(
            f"{path} holds only one of X_test and y_test ({points or label}); test points need both: name them with "
            f"--test-points and --test-label (test_points=, test_label=)"
        )
    return points, label


def listed(names: Iterable[str]) -> str:
    """At most eight of the names."""
    ordered = sorted(names)
    return f"{ordered[:8]}" + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else "")


def present(given: str, names: list[str], path: str | Path) -> str:
    """The name that was meant: equal, or equal but for case and a "/" at the ends; ValueError where none is."""
    wanted = given.strip("/").lower()
    same = [name for name in names if name == given] or [name for name in names if name.lower() == wanted]
    if len(same) != 1:
        raise ValueError(f"{path} holds no array {given!r}; it holds {listed(names)}")
    return same[0]


def _group(entries: list[Entry], names, path) -> str:
    """The group that holds both points and labels: the root, or the only one."""
    roles: dict[str, set] = {}
    for one in entries:
        if one.part in ("", "train"):
            roles.setdefault(one.group, set()).add(one.role)
    whole = sorted(group for group, found in roles.items() if len(found) == 2)
    if not whole:
        raise ValueError(f"{path} holds {listed(names)}, but arrays named X and y are needed, or {_ADVICE}")
    if len(whole) > 1 and whole[0]:
        raise ValueError(f"{path} holds points and labels in several groups ({', '.join(whole)}); {_ADVICE}")
    return whole[0]


def _the(role: str, entries: list[Entry], names, path, *, optional: bool = False):
    found = [one.name for one in entries if one.role == role.removeprefix("test ")]
    if len(found) > 1:
        raise ValueError(f"{path} holds {' and '.join(found)}, which may both be the {role}; {_ADVICE_FOR[role]}")
    if not found and not optional:
        raise ValueError(f"{path} holds {listed(names)}, of which none is named as the {role}; {_ADVICE_FOR[role]}")
    return found[0] if found else None
