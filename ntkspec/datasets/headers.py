"""Whether the first line of a table holds the names of its columns."""

from collections.abc import Sequence

import numpy as np

from ntkspec.datasets.columns import says_id, says_label
from ntkspec.datasets.dialects import Dialect, Lines, is_missing

_HINT = "give every column a name with letters, or write # before that line"


def names_of(lines: Lines, dialect: Dialect) -> tuple[list[str] | None, int, list[str]]:
    """(names or None, how many lines they take, sentences); names are in the first line or in a comment above it.

    A first line of words over numbers holds names. One of numbers does where they count (0, 1, 2 or 400, 402, 404) and
    the values below are other numbers. Raises ValueError where the line could be a point as well.
    """
    first, *body = [dialect.cells(line) for line in lines.sample()]
    # R gives no name to the column of names of rows
    shift = int(all(len(row) == len(first) + 1 for row in body) and any(row[-1] for row in body))
    below = [[row[j + shift] for row in body if j + shift < len(row)] for j in range(len(first))]
    try:
        if _holds_names(first, below, dialect):
            numbers = [cell for cell in first if dialect.is_number(cell)]
            some = ", ".join(numbers if len(numbers) < 5 else [*numbers[:3], "...", numbers[-1]])
            told = f"names: the numbers {some} of line {lines.numbers[0]}, which the values below do not continue"
            return first, 1, [told] if numbers else []
    except ValueError as error:
        raise ValueError(f"line {lines.numbers[0]}: {error}; {_HINT}") from None
    names = _commented(lines, dialect)
    if len(names) == len(first):
        return names, 0, ["names: from the comment above the values"]
    return None, 0, ["names: none, so that columns are counted from 0"]


def _commented(lines: Lines, dialect: Dialect) -> list[str]:
    """Names in the last comment above the values, as NumPy's savetxt writes them; [] where it holds none."""
    above = [comment for number, comment in lines.comments if number < lines.numbers[0]]
    names = dialect.cells(above[-1].lstrip("#%/")) if above else []
    words = len(set(names)) == len(names) and not any(map(dialect.is_number, names))
    return names if words else []


def _holds_names(first: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect) -> bool:
    numbers = [j for j, cell in enumerate(first) if dialect.is_number(cell)]
    words = [j for j, cell in enumerate(first) if j not in numbers and not is_missing(cell)]
    surprising = [j for j in words if _mostly_numbers(below[j], dialect)]
    if not numbers:
        return bool(surprising) or not any(below)
    if _known_name(first, words, surprising, below) and len({first[j] for j in numbers}) == len(numbers):
        return True
    if any(first[j] in below[j] for j in words):
        return False
    unnamed = first[0] == "" and all(below[0])
    counting = _count([first[j] for j in numbers], [below[j] for j in numbers], dialect, unnamed=unnamed)
    if words and bool(surprising) != counting:
        raise ValueError(f"it holds numbers and words ({first[numbers[0]]!r}, {first[words[0]]!r})")
    return counting


def _known_name(first, words, surprising, below) -> bool:
    """Whether a word says label, or y or id over numbers; y and no are also what labels are."""
    return any(
        first[j] not in below[j]
        and (says_label(first[j]) > 1 or (j in surprising and (says_label(first[j]) or says_id(first[j]))))
        for j in words
    )


def _mostly_numbers(cells: Sequence[str], dialect: Dialect) -> bool:
    values = [cell for cell in cells if not is_missing(cell)]
    return 2 * sum(map(dialect.is_number, values)) > len(values)


def _count(first: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect, *, unnamed: bool) -> bool:
    """Whether the numbers of the first line are names: they rise or fall evenly, and the lines below do not.

    Such numbers are names where they count from 0 or 1 over values with decimals, where they lie outside the values
    of their columns, or where the first column has values and no name. Raises ValueError where they may be values.
    """
    values = np.array([dialect.number(cell) for cell in first])
    rows = np.array([[_number(cell, dialect) for cell in row] for row in zip(*below, strict=False)])
    rows = rows.reshape(-1, len(values))
    rows = rows[np.isfinite(rows).all(axis=1)]
    steps = np.diff(values)
    rising = len(steps) > 0 and bool((steps > 0).all() or (steps < 0).all())
    even = bool(np.allclose(steps, steps[:1], rtol=1e-6)) and all(map(str.isdigit, first))
    if unnamed and even:
        return True
    if not rising or len(rows) == 0 or (len(first) > 2 and _as_steep(rows, steps) > 0.5):
        return False
    fractions = sum(any(dialect.decimal in cell for cell in cells) for cells in below) >= len(first) - 1
    outside = int(((values < rows.min(axis=0)) | (values > rows.max(axis=0))).sum()) >= len(first) - 1
    counted = even and steps[0] == 1 and values[0] in (0, 1)
    if len(first) > 2 and (((even or len(first) > 4) and outside) or (counted and (fractions or len(first) > 9))):
        return True
    if (counted and (fractions or len(first) > 2)) or (even and len(first) > 5):
        raise ValueError(f"its numbers {', '.join(first[:3])} count, as names and as values may")
    return False


def _as_steep(rows, steps) -> float:
    """The share of rows that rise or fall as the first line does."""
    return float((np.diff(rows, axis=1) * np.sign(steps[0]) > 0).all(axis=1).mean())


def _number(cell: str, dialect: Dialect) -> float:
    return dialect.number(cell) if dialect.is_number(cell) else np.nan
