"""Whether the first line of a table holds the names of its columns."""

from collections.abc import Sequence

import numpy as np

from ntkspec.datasets.tables.columns import says_id, says_label, shown
from ntkspec.datasets.tables.dialects import Dialect, Lines, is_missing

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
    above = _commented(lines, dialect)
    fitting = len(above) == len(first)
    try:
        if not (fitting and all(map(dialect.is_number, first))) and _holds_names(first, below, dialect):
            numbers = [cell for cell in first if dialect.is_number(cell)]
            some = ", ".join(numbers if len(numbers) < 5 else [*numbers[:3], "...", numbers[-1]])
            told = f"names: the numbers {some} in line {lines.numbers[0]}, which the values below do not continue"
            return first, 1, [told] if numbers else []
    except ValueError as error:
        raise ValueError(f"line {lines.numbers[0]}: {error}; {_HINT}") from None
    if fitting:
        return above, 0, ["names: from the comment above the values"]
    return None, 0, ["names: none, so that columns are counted from 0"]


def _commented(lines: Lines, dialect: Dialect) -> list[str]:
    """Names in the last comment above the values, as NumPy's savetxt writes them; [] where it holds none."""
    above = [comment for number, comment in lines.comments if number < lines.numbers[0]]
    names = dialect.cells(above[-1].lstrip("#%/")) if above else []
    words = all(_is_name(name) and not dialect.is_number(name) for name in names)
    return names if words and len(set(names)) == len(names) else []


def _is_name(cell: str) -> bool:
    """Whether it is no prose: at most three words, none of which ends as a sentence or its parts do."""
    words = cell.split()
    return len(words) < 4 and not any(word[-1] in ",;:!?" or word.strip(".") == "" for word in words)


def _holds_names(first: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect) -> bool:
    numbers = [j for j, cell in enumerate(first) if dialect.is_number(cell)]
    words = [j for j, cell in enumerate(first) if not _is_value(cell, dialect) and not is_missing(cell)]
    words_over_numbers = [j for j in words if _share_of_values(below[j], dialect) > 0.5]
    if not numbers:
        return bool(words_over_numbers) or not any(below)
    if any(first[j] in below[j] for j in words):
        return False
    if _distinct_digits([first[j] for j in numbers]) and _known_name(first, words, words_over_numbers):
        return True
    numbers_over_words = [j for j in numbers if below[j] and _share_of_values(below[j], dialect) == 0]
    hinted = any(says_label(first[j]) or says_id(first[j]) for j in words)
    told = numbers_over_words or (first[0] == "" and all(below[0])) or (hinted and len(numbers) > 2)
    counted = sorted(set(numbers).difference(numbers_over_words))
    counting = _count([first[j] for j in counted], [below[j] for j in counted], dialect, told=bool(told))
    strange = bool(words_over_numbers or numbers_over_words or hinted)
    if counting != strange and (strange or words):
        raise ValueError(f"it holds names and values ({', '.join(map(shown, first[:4]))})")
    return counting


def _known_name(first: Sequence[str], words: Sequence[int], words_over_numbers: Sequence[int]) -> bool:
    """Whether a word says label, or y or id over numbers (y and no are also what labels are)."""
    over = [first[j] for j in words_over_numbers]
    return any(says_label(first[j]) > 1 for j in words) or any(says_label(name) or says_id(name) for name in over)


def _share_of_values(cells: Sequence[str], dialect: Dialect) -> float:
    present = [cell for cell in cells if not is_missing(cell)]
    return sum(_is_value(cell, dialect) for cell in present) / max(1, len(present))


def _is_value(cell: str, dialect: Dialect) -> bool:
    return dialect.is_number(cell) or cell.lower() in ("true", "false")


def _distinct_digits(cells: Sequence[str]) -> bool:
    return all(map(str.isdigit, cells)) and len(set(cells)) == len(cells)


def _count(first: Sequence[str], below: Sequence[Sequence[str]], dialect: Dialect, *, told: bool) -> bool:
    """Whether the numbers of the first line are names: they rise or fall evenly, and the lines below do not.

    Such numbers are names where they count from 0 or 1 over values with decimals, where they lie outside the values
    of their columns, or where what stands beside them tells. Raises ValueError where they may be names or values.
    """
    rows = np.array([[_number(cell, dialect) for cell in row] for row in zip(*below, strict=False)])
    rows = rows.reshape(-1, len(first))
    rows = rows[np.isfinite(rows).all(axis=1)]
    values, digits, several = np.array(list(map(dialect.number, first))), _distinct_digits(first), len(first) > 2
    steps = np.diff(values)
    rising = bool((steps > 0).all() or (steps < 0).all())
    if several and rising and len(rows) and _as_steep(rows, steps) > 0.5:
        return False
    even = digits and bool(np.allclose(steps, steps[:1]))
    if told and even:
        return True
    if len(first) < 2 or len(rows) == 0:
        return False
    outside = ((values < rows.min(axis=0)) | (values > rows.max(axis=0))).sum() >= len(first) - 1
    decimals = sum(_decimals(cells, dialect) > 0.9 for cells in below) >= len(first) - 1
    counted = even and steps[0] == 1 and values[0] in (0, 1)
    if several and rising and ((outside and (even or len(first) > 4)) or (counted and (decimals or len(first) > 9))):
        return True
    if (counted and (several or decimals)) or (several and digits and decimals) or (even and len(first) > 5):
        raise ValueError(f"its numbers {', '.join(first[:3])} can be names or values")
    return False


def _decimals(cells: Sequence[str], dialect: Dialect) -> float:
    return sum(dialect.decimal in cell or "e" in cell.lower() for cell in cells) / max(1, len(cells))


def _as_steep(rows: np.ndarray, steps: np.ndarray) -> float:
    """The share of rows that rise or fall as the first line does."""
    return float((np.diff(rows, axis=1) * np.sign(steps[0]) > 0).all(axis=1).mean())


def _number(cell: str, dialect: Dialect) -> float:
    return dialect.number(cell) if dialect.is_number(cell) else np.nan
