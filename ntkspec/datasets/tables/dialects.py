"""How a table is written: what separates its values, its decimal mark, its quotes and comments."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "blanks"}
# The patterns never go back over what they took (++, *+), so that a long value costs its length and not the square.
# A spreadsheet's #N/A or #REF! is a value that is missing.
_COMMENT = re.compile(r"\s*(#(?!(n/a|value!|div/0!|ref!|name\?|num!|null!))|%|//)", re.I)
_NUMBERS = {
    ".": re.compile(r"[+-]?(\d++\.?\d*+|\.\d++)(e[+-]?\d++)?", re.A | re.I),
    ",": re.compile(r"[+-]?(\d++|\d*+,\d++)(e[+-]?\d++)?", re.A | re.I),
}
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.A)
_HUNDREDS = re.compile(r"[+-]?(0|[1-9]\d{0,2})", re.A)
_UNIT = re.compile(r"(?<!\s)\s*[%€$£]$")
_SINGLE_QUOTES = re.compile(r"(?<![^,;|\s])'[^']*+'(?![^,;|\s])")
# What should have been separated: any of the separators, or a blank beside a digit.
_GLUED = re.compile(r"[,;\t|]|\d\s|\s\d")
_SAMPLE, _SAMPLE_SIZE = 400, 4_000_000  # lines, and characters of them
# What programs write where there is no value.
_MISSING = {"", "na", "n/a", "#n/a", "nan", "-nan", "+nan", "<na>", "nat", "null", "none", "nil", "?", "-", "--", "."}
_MISSING |= {"missing", "1.#qnan", "1.#ind", "-1.#ind", "#value!", "#div/0!", "#ref!", "#name?", "#num!", "#null!"}


def is_missing(cell: str) -> bool:
    """Whether a value says that there is none."""
    return cell.lower() in _MISSING


@dataclass(frozen=True)
class Dialect:
    """One way to write a table: the separator (a blank stands for runs of blanks), the decimal mark, the quotes."""

    separator: str
    decimal: str
    quote: str = '"'

    def cells(self, line: str) -> list[str]:
        """The values of a line, without blanks and quotes around them."""
        return [cell.strip() for cell in self._split(line, strict=False)]

    def width(self, line: str) -> int:
        """The number of values of a line. Raises ValueError where quotes do not match."""
        if self.quote in line or self.separator == " ":
            return len(self._split(line, strict=True))
        return line.count(self.separator) + 1

    def _split(self, line: str, *, strict: bool) -> list[str]:
        if self.separator == " ":
            line = line.replace("\t", " ").strip()
        if self.quote not in line:
            return line.split() if self.separator == " " else line.split(self.separator)
        mark = {"delimiter": self.separator, "quotechar": self.quote}
        try:
            return next(csv.reader([line], strict=strict, skipinitialspace=True, **mark))  # type: ignore[arg-type]
        except csv.Error as error:
            raise ValueError(f"quotes that do not match ({error})") from None

    def is_number(self, cell: str) -> bool:
        """Whether a value is a number: digits, one decimal mark, an exponent."""
        return bool(_NUMBERS[self.decimal].fullmatch(cell))

    def number(self, cell: str) -> float:
        """The number that such a value is."""
        return float(cell.replace(",", "."))

    def sentences(self) -> list[str]:
        """What a report says of it; nothing where commas stand between values and points in numbers."""
        said = [] if self.separator == "," else [f"{SEPARATORS[self.separator]} between values"]
        if self.decimal == "," or self.separator == ";":  # which of the two marks of a spreadsheet was meant
            said.append("decimal commas" if self.decimal == "," else "decimal points")
        return [f"written with {' and '.join(said)}"] if said else []


@dataclass(frozen=True)
class Lines:
    """The lines of a table that hold values, with their numbers in the file (from 1), and its comments.

    separator : what a spreadsheet says in a first line ``sep=;``, else None.
    """

    numbers: list[int]
    texts: list[str]
    comments: list[tuple[int, str]]
    separator: str | None

    @classmethod
    def of(cls, text: str) -> "Lines":
        """Of a file: lines that begin with #, % or // are comments, lines without any value are left out."""
        told = re.match(r'\s*"?sep=(.)"?[ \t]*(\n|$)', text, re.I)
        numbers, texts, comments = [], [], []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip(" \t,;|\"'") or (told and number == 1):
                continue
            if _COMMENT.match(line):
                comments.append((number, line.strip()))
            else:
                numbers.append(number)
                texts.append(line)
        return cls(numbers, texts, comments, told[1] if told else None)

    def sample(self) -> list[str]:
        """The first lines, and some from all over the file."""
        most = max(4, min(_SAMPLE, _SAMPLE_SIZE // max(map(len, self.texts))))
        first, step = self.texts[: max(2, most // 4)], max(1, len(self.texts) // most)
        return first + self.texts[len(first) :: step]


def dialect_of(lines: Lines) -> Dialect:
    """The way of writing under which most lines have one width and most values are numbers.

    Raises ValueError where no line has two values, or where values such as 1,234 can have decimals or thousands.
    """
    sample = lines.sample()
    single = not any('"' in line for line in sample) and any(map(_SINGLE_QUOTES.search, sample))
    separators = SEPARATORS if lines.separator is None else [lines.separator]
    choices = [Dialect(one, mark, "'" if single else '"') for one in separators for mark in _marks(one)]
    scores = [_score(one, sample) for one in choices]
    found = choices[scores.index(max(scores))]
    if max(scores) == 0:
        raise ValueError(
            "it has no two columns; values are separated by commas, semicolons, tabs, vertical bars or blanks"
        )
    _refuse_thousands(found, sample)
    return found


def _marks(separator: str) -> str:
    return "." if separator == "," else ".,"


def _score(dialect: Dialect, sample: Sequence[str]) -> float:
    """Share of the lines with the usual width, times the share of numbers; a word is half a number."""
    rows = [dialect.cells(line) for line in sample]
    rows = rows[1:] or rows  # the first may be names
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width < 2:
        return 0.0
    cells = [cell for row in rows for cell in row if not is_missing(cell)]
    clean = sum(1.0 if dialect.is_number(cell) else 0.5 * _one_value(cell, dialect) for cell in cells)
    return count / len(rows) * (0.01 + clean / max(1, len(cells)))


def _one_value(cell: str, dialect: Dialect) -> bool:
    """Whether it is a single word, or a number with its unit."""
    return not _GLUED.search(cell) or dialect.is_number(_UNIT.sub("", cell))


def _refuse_thousands(dialect: Dialect, sample: Sequence[str]) -> None:
    """Refuse numbers of which all may have thousands: 1,234, or 1.234 where German numbers below 1000 stand with it."""
    columns = [list(filter(dialect.is_number, cells)) for cells in zip(*map(dialect.cells, sample), strict=False)]
    marked = [cell for cells in columns for cell in cells if dialect.decimal in cell]
    if not marked or dialect.separator == "," or not all(map(_THOUSANDS.fullmatch, marked)):
        return
    if dialect.decimal == "," or any(map(_below_thousand, columns)):
        one = marked[0].replace(",", ".")
        raise ValueError(
            f"numbers such as {marked[0]} can have decimals or thousands; write {one}0 or {one.replace('.', '')}, "
            f"whichever is meant"
        )


def _below_thousand(cells: Sequence[str]) -> bool:
    """Whether some numbers of a column have a mark, and all the others are whole ones of three digits at most."""
    others = [cell for cell in cells if not _THOUSANDS.fullmatch(cell)]
    return 0 < len(others) < len(cells) and all(map(_HUNDREDS.fullmatch, others))
