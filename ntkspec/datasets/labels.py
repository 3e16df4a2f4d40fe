"""Labels of every kind as numbers: words, class numbers, one-hot rows, booleans."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ntkspec import checks
from ntkspec.datasets.classes import asks_for_all, class_columns, meaning_of_columns
from ntkspec.datasets.numbers import as_numbers
from ntkspec.engines.arrays import ArrayLike
from ntkspec.objects.words import counted

FEW = 20  # at most so many whole numbers look like classes
LONGEST = 1000  # characters of a word
_MISSING = ("", "nan", "<na>", "nat")


@dataclass(frozen=True)
class Labels:
    """One label a point. values (n,): str, bool or float64; kind: "words", "booleans", "numbers" or "one-hot".

    One-hot rows are the numbers of their columns, counted from 0; ``columns`` is how many there were.
    """

    values: np.ndarray
    kind: str
    name: str
    columns: int = 1

    @property
    def categorical(self) -> bool:
        """Whether the values are classes for certain."""
        return self.kind != "numbers"


@dataclass(frozen=True)
class Coding:
    """How labels become numbers: two classes -1 and +1 in that order, more a column each in their order, or numbers as
    they are where ``classes`` is ().

    ``chosen``: points of other classes are left out; else they are refused.
    """

    classes: tuple = ()
    chosen: bool = False

    @property
    def meaning(self) -> str:
        """For a report."""
        names = list(map(_brief, self.classes))
        if len(names) > 2:
            return meaning_of_columns(names)
        return "+1 = {1}, -1 = {0}".format(*names) if names else "numbers"

    def counted(self, y: np.ndarray, y_test: np.ndarray) -> list[str]:
        """A sentence on how many points of each class, or which numbers, training and testing have."""
        parts = {"for training": y} | ({"for testing": y_test} if len(y_test) else {})
        return [
            "; ".join(
                f"{part}: {counted(len(values), 'point')} ({self._shares(values)})" for part, values in parts.items()
            )
        ]

    def _shares(self, y) -> str:
        if self.classes:
            counts = (y > 0).sum(axis=0) if y.ndim == 2 else [(y > 0).sum(), (y < 0).sum()]
            names = self.classes if y.ndim == 2 else self.classes[::-1]
            return ", ".join(f"{int(count)} of {_brief(name)}" for count, name in zip(counts, names, strict=True))
        return f"labels from {y.min():.4g} to {y.max():.4g}, mean {y.mean():.4g}"

    def applied(self, column: Labels, reading: list[str], what: str = "") -> tuple[np.ndarray | slice, np.ndarray]:
        """(index of the rows that stay, labels as float64); a sentence on points left out goes to ``reading``."""
        values = column.values
        if not self.classes:
            return slice(None), values.astype(np.float64)
        other = ~np.isin(values, self.classes)
        if other.any() and not self.chosen:
            names = ", ".join(map(str, self.classes))
            raise ValueError(
                f"{what}label {_listed(values[other][:1])} of {column.name} is neither of the classes {names}"
            )
        if other.any():
            left_out = f"{other.sum()} of {len(values)} {what}points, of other classes ({_listed(values[other])})"
            reading.append(f"set aside: {left_out}")
        rows = np.flatnonzero(~other) if other.any() else slice(None)
        if len(self.classes) == 2:
            return rows, np.where(values[rows] == self.classes[1], 1.0, -1.0)
        own = values[rows][:, None] == np.array(self.classes, dtype=values.dtype)
        return rows, class_columns(own.argmax(axis=1), len(self.classes))


# ---------------------------------------------------------------------------------------------------- one label a point
def as_labels(y: ArrayLike, n: int, name: str, what: str = "points") -> Labels:
    """Labels (n,), (n, 1), (1, n) or one-hot (n, K), of numbers, booleans or words, as a column.

    Words that are all numbers are numbers. Raises ValueError for several outputs, missing labels and other dtypes.
    """
    y = np.asarray(y)
    if y.size == n and (y.shape[:1] == (n,) or y.shape == (1, n)):
        return _plain(y.reshape(n), name)
    if y.ndim == 2 and len(y) == n and y.dtype.kind in "iubf" and _one_hot(y):
        return Labels(y.argmax(axis=1).astype(np.float64), "one-hot", name, y.shape[1])
    several = "; several outputs are not covered, choose one column" if y.ndim == 2 and len(y) == n else ""
    part = "_test" if what == "test points" else ""
    came = f"{len(y)} labels" if y.ndim == 1 else f"shape {y.shape}"
    raise ValueError(f"X{part} of {name} has {n} {what}, but y{part} has {came}; one label a point is needed{several}")


def _one_hot(y) -> bool:
    return bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def _plain(y, name: str) -> Labels:
    if y.dtype.kind == "O":
        y = _of_objects(y, name)
    if y.dtype.kind in "SUT":
        return _of_words(y, name)
    if y.dtype.kind not in "iubf":
        kind = f"fields {', '.join(y.dtype.names)}" if y.dtype.names else f"dtype {y.dtype}"
        raise ValueError(f"labels of {name} have {kind}; numbers or words are needed")
    if y.dtype.kind == "b":
        return Labels(y, "booleans", name)
    numbers = as_numbers(y, f"y of {name}")
    return Labels(checks.as_vector(numbers, f"y of {name}", len(y)), "numbers", name)


def _of_objects(y, name: str) -> np.ndarray:
    """Objects that are all words, all booleans or all numbers, as an array of them; cells of one entry count as it."""
    entries = [one.item() if isinstance(one, np.ndarray) and one.size == 1 else one for one in y]
    for row, one in enumerate(entries):
        if one is None or _missing(one):
            raise ValueError(f"y of {name} has no label in row {row} (counted from 0): {one!r}; remove that row")
    for kinds in (str | bytes, bool | np.bool_, Real):
        if all(isinstance(one, kinds) for one in entries):
            return _words(entries, name) if kinds == str | bytes else np.array(entries)
    found = ", ".join(sorted({type(one).__name__ for one in entries})[:4])
    raise ValueError(f"labels of {name} are objects ({found}); words alone or numbers alone are needed")


def _of_words(y, name: str) -> Labels:
    words = _words(y, name)
    for row, word in enumerate(words.tolist()):
        if _missing(word):
            raise ValueError(f"y of {name} has no label in row {row} (counted from 0): {word!r}; remove that row")
    if all(map(_is_number, np.unique(words).tolist())):
        return Labels(checks.as_vector(words.astype(np.float64), f"y of {name}", len(words)), "numbers", name)
    return Labels(words, "words", name)


def _words(entries, name: str) -> np.ndarray:
    """They are kept with the length of the longest."""
    words = [_decoded(one).strip() for one in entries]
    longest = max(map(len, words), default=0)
    if longest > LONGEST:
        raise ValueError(f"labels of {name} hold a word of {longest} characters, but {LONGEST} at most are read")
    return np.array(words)


def _missing(one) -> bool:
    return str(one).strip().lower() in _MISSING


def _decoded(word) -> str:
    return word.decode("utf-8", errors="backslashreplace") if isinstance(word, bytes) else str(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def require_alike(train: Labels, test: Labels) -> None:
    """Refuse test labels of another kind, or other words, which would not mean what the training labels mean."""
    if test.kind != train.kind and not {test.kind, train.kind} <= {"numbers", "booleans"}:
        raise ValueError(
            f"labels of {train.name} are {train.kind}, but its test labels are {test.kind}; make them alike"
        )
    if test.columns != train.columns:
        raise ValueError(
            f"labels of {train.name} have {train.columns} one-hot columns, but its test labels {test.columns}; the "
            f"same column must be the same class"
        )
    if test.kind == train.kind == "words" and len(test.values) and not np.isin(test.values, train.values).any():
        raise ValueError(
            f"test labels of {train.name} ({_listed(test.values)}) are other words than those of training "
            f"({_listed(train.values)}); write them alike"
        )


# --------------------------------------------------------------------------------------------------- classes or numbers
def coding(column: Labels, classes: Sequence | None, reading: list[str]) -> Coding:
    """What labels mean: the ``classes``, two (+1, -1) or more (a column each), else two that are alone there, else
    numbers.

    Of two words, booleans or whole numbers the larger becomes +1, and of the signs + and - the plus. Three or more
    whole numbers that repeat may be classes: they are taken as numbers with a warning. A sentence goes to ``reading``.
    Raises ValueError where more than two words or one-hot columns are there and ``classes`` chooses none, and where
    two words differ in case only or one of two is a number.
    """
    if classes is not None:
        found = Coding(_named(column, classes), chosen=True)
    elif column.categorical:
        found = Coding(_only_two(column, _origin(reading)))
    else:
        found = _of_numbers(column)
    said = found.meaning if found.classes else _described(column.values)
    reading.append(f"labels: {said}" + (f" ({column.kind})" if column.categorical else ""))
    return found


def _origin(reading: list[str]) -> str:
    """Which column of a table the labels are, where a reader has told so: what is refused may not be the label."""
    told = [said.removeprefix("labels: ") for said in reading if said.startswith("labels: column")]
    return f"; they are {told[0]}" if told else ""


def _only_two(column: Labels, origin: str) -> tuple:
    values = np.unique(column.values)
    if column.kind == "words":
        _refuse_other_case(values.tolist(), column.name)
    if len(values) != 2:
        kind = {"words": "words", "one-hot": "one-hot classes"}.get(column.kind, column.kind)
        advice = " name two or more with --classes (classes=), or all" if len(values) > 2 else " two classes are needed"
        raise ValueError(
            f"labels of {column.name} are {len(values)} different {kind} ({_listed(values)});{advice}{origin}"
        )
    if column.kind == "words" and sum(map(_is_number, values.tolist())) == 1:
        raise ValueError(
            f"labels of {column.name} are a number and a word ({_listed(values)}); write both as words or both as "
            f"numbers, or say which is +1 with --classes (classes=){origin}"
        )
    if set(values.tolist()) == {"+", "-"}:  # the alphabet has them the other way round
        return "-", "+"
    return tuple(values.tolist()) if column.kind != "one-hot" else tuple(map(_short, values))


def _refuse_other_case(words: list[str], name: str) -> None:
    """Yes and yes are one class for whoever wrote them."""
    seen: dict[str, str] = {}
    for word in words:
        twin = seen.setdefault(word.casefold(), word)
        if twin != word:
            raise ValueError(
                f"labels of {name} are {_brief(twin)!r} and {_brief(word)!r}, which differ in case only; write them "
                f"alike, or name two classes with --classes (classes=)"
            )


def _of_numbers(column: Labels) -> Coding:
    values = np.unique(column.values)
    whole = bool((values == np.floor(values)).all())
    if whole and len(values) == 2:
        return Coding(tuple(_short(value) for value in values))
    if whole and 2 < len(values) <= FEW and 2 * len(values) <= len(column.values):
        warnings.warn(
            f"labels of {column.name} are {_described(values)}; name two classes or more with --classes "
            f"(classes=), or all, if they are classes",
            stacklevel=5,
        )
    return Coding()


def _described(values) -> str:
    low, high = values.min(), values.max()
    if (values == np.floor(values)).all():
        return f"whole numbers {low:.15g} to {high:.15g}, taken as numbers"
    return f"numbers from {low:.6g} to {high:.6g}"


def _named(column: Labels, given) -> tuple:
    """The named classes as they stand among the values; of two the second one first."""
    classes = [given] if isinstance(given, str) else list(given)
    if asks_for_all(given):
        classes = np.unique(column.values).tolist()
        if 2 * len(classes) > len(column.values):
            values = f"{counted(len(classes), 'value')} at {counted(len(column.values), 'point')}"
            raise ValueError(f"labels of {column.name} take {values}: no classes; name some with --classes (classes=)")
        classes = classes[::-1] if len(classes) == 2 else classes
    if len(classes) < 2:
        raise ValueError(f"classes={checks.shown(classes)}, but two different classes or more are needed")
    named = [_as_it_stands(one, column) for one in classes]
    if len(set(named)) < len(named):
        raise ValueError(
            f"classes={checks.shown(classes)}, but two different classes or more are needed; one came twice"
        )
    return tuple(named[::-1]) if len(named) == 2 else tuple(named)


def _as_it_stands(given, column: Labels):
    """The value that was meant: equal, or equal but for case."""
    values, word = np.unique(column.values).tolist(), str(given).strip()
    same = [value for value in values if word == str(value) or (_is_number(word) and value == float(word))]
    same = same or [value for value in values if word.lower() == str(value).lower()]
    if len(same) != 1:
        raise ValueError(f"class {given!r} is not among the labels of {column.name}: {_listed(np.array(values), 12)}")
    return _short(same[0]) if isinstance(same[0], float) else same[0]


def _short(value: float):
    """A whole number as an int."""
    value = float(value)
    return int(value) if value.is_integer() else value


def _brief(value):
    """A class for a message: long words are cut short, which an ellipsis says."""
    return f"{value[:40]}..." if isinstance(value, str) and len(value) > 40 else value


def _listed(values, most: int = 3) -> str:
    values = np.unique(values).tolist()
    shown = [repr(_short(value) if isinstance(value, float) else _brief(value)) for value in values[:most]]
    return ", ".join(shown) + (", ..." if len(values) > most else "")
