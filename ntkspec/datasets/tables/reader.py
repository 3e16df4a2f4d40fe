"""Tables: .csv and other texts in any dialect, and Parquet."""

import contextlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from ntkspec import checks
from ntkspec.datasets.reading import Source, file_errors
from ntkspec.datasets.tables.columns import Column, roles_of, says_id, shown
from ntkspec.datasets.tables.dialects import SEPARATORS, Dialect, Lines, dialect_of, is_missing
from ntkspec.datasets.tables.headers import names_of
from ntkspec.datasets.tables.texts import COPIES, decoded, unpacked
from ntkspec.engines import engine_of

_PLAIN = (".csv", ".tsv", ".txt", ".dat", ".data", ".tab", ".parquet")
TABLE_ENDINGS = tuple(plain + packed for plain in _PLAIN for packed in ("", ".gz", ".bz2", ".xz"))
_INFINITE = {sign + word for sign in ("", "+", "-") for word in ("inf", "infinity", "1.#inf")}
# What only looks like a number: thousands, units, percent, notes behind a value.
_NEARLY = re.compile(r"[+-]?[$€£]?\s*\d[\d.,'’_\s\u00a0\u202f]*+(d[+-]?\d+|[%$€£]|(#|//|%).*)?", re.I | re.A)
# Bytes of the objects that stand for a line and for a column, as measured; and the most characters of a word.
_LINE, _COLUMN, _LONGEST = 150, 5000, 1000
# Columns of a table: each costs about 0.1 ms.
_MOST_COLUMNS = 100_000
# Numbers of a Parquet file take a few times its size; columns that repeat a value more, up to a bomb.
_MOST_TIMES, _ANY_TIMES = 1000, 256_000_000
_PLAIN_DIALECT = Dialect(",", ".")
_WORDS = ("string", "large_string", "binary")
_ABOVE = ", for the {} names in line {}; names with blanks need quotes, and lines above the table a # before them"
_MARKS = {".": "a decimal point", ",": "a decimal comma"}


@dataclass(frozen=True)
class _Table:
    """Columns of n values, the place of a row in the file in words, and sentences on how the file was read."""

    columns: list[Column]
    row: Callable[[int], str]
    reading: list[str]
    dialect: Dialect


def read_table(path: str | Path, *, label: str | int | None = None, keep_ids: bool = False) -> Source:
    """Points and labels from a table: one row a point, one column a feature or the label.

    Texts: commas, semicolons, tabs, vertical bars or blanks between values; decimal points or commas; quotes; comments
    behind #, % or //; UTF-8, UTF-16 or Latin letters; with or without a line of names. Parquet needs pyarrow. Any of
    them may be packed by gzip, bzip2 or xz, whatever the ending says.
    label : name or number (from 0, negative from the end) of the column of labels. By default the column whose name
    says so, else the last one, or a first one without a name, where it alone looks like labels (words, or 2 to 20
    whole numbers), or the last one where it alone holds words.
    Columns of ids are set aside, unless keep_ids is True: indexes without a name, whole numbers 0, 1, 2, ... in order,
    distinct values under a name such as id. Columns of true and false are features 1 and 0.
    Returns a Source: X (n, d) float64, each number the float64 nearest to what is written, y (n,) numbers, booleans or
    words, and a sentence for each decision. Cost: about ten times the size of the text in memory.
    Raises ValueError, with the line and the column, for missing and infinite values, words among features, rows of
    different lengths, thousands separators, more than 100,000 columns, and where the label is not clear.
    """
    path = Path(path).expanduser()
    with file_errors(path):
        content, reading = unpacked(path)
        table = _from_parquet(content) if content.startswith(b"PAR1") else _from_text(content)
        _refuse_absent(table)
        _refuse_mixtures(table)
        roles = roles_of(table.columns, label=label, keep_ids=keep_ids)
        _refuse_words(table, roles.features)
        X = np.column_stack([column.values.astype(np.float64) for column in roles.features])
    truths = [str(column) for column in roles.features if column.values.dtype.kind == "b"]
    said = [f"true and false read as 1 and 0: {', '.join(truths)}"] if truths else []
    reading = [*reading, *table.reading, *roles.reading, *said]
    return Source(X, roles.label.values, reading=reading, features=[str(column) for column in roles.features])


# -------------------------------------------------------------------------------------------------------------- texts
def _from_text(content: bytes) -> _Table:
    text, reading = decoded(content)
    if text.lstrip()[:1] == "<":
        raise ValueError("it holds a web page (or XML), not a table; download the file itself")
    _require_memory(text)
    lines = Lines.of(text)
    if not lines.texts:
        raise ValueError("it holds no data")
    dialect = dialect_of(lines)
    names, start, said = names_of(lines, dialect)
    if start == len(lines.texts):
        raise ValueError("it holds no data below the names of columns")
    names, width = _fitted(lines, start, dialect, names)
    frame = _parsed(lines.texts[start:], dialect, width)
    columns = [Column(j, names[j] if names else None, _values(frame[j], dialect)) for j in range(width)]
    left = len(lines.comments) - (names is not None and start == 0)  # one of them may hold the names
    comments = [f"comments left out: {left}"] if left else []
    reading = [*reading, *dialect.sentences(), *said, *comments, *_rows_in_comments(lines, dialect, width)]
    return _Table(columns, lambda row: f"line {lines.numbers[start + row]}", reading, dialect)


def _require_memory(text: str) -> None:
    """Refuse a table that cannot be held: each copy of its text, and the objects of its lines and its columns."""
    columns = max(text.count(mark, 0, text.find("\n")) for mark in SEPARATORS)
    _require_columns(columns + 1)
    needed = COPIES * len(text) + _LINE * text.count("\n") + _COLUMN * columns
    checks.memory(needed, engine_of(), f"a table of {len(text) / 1e6:.3g} MB", "save it as .npz")


def _require_columns(columns: int) -> None:
    if columns > _MOST_COLUMNS:
        raise ValueError(
            f"it has about {columns:,} columns, but tables are read up to {_MOST_COLUMNS:,}; save points and labels as "
            f"arrays in .npz"
        )


def _rows_in_comments(lines: Lines, dialect: Dialect, width: int) -> list[str]:
    """A sentence on comments that look like rows: switched off, or rows whose first word begins with such a mark."""
    like_rows = []
    for number, comment in lines.comments:
        cells = dialect.cells(comment.lstrip("#%/"))
        if len(cells) == width and 2 * sum(map(dialect.is_number, cells)) >= width:
            like_rows.append(str(number))
    listed = ", ".join(like_rows[:3]) + (", ..." if len(like_rows) > 3 else "")
    return [f"comments with as many values as a row: {len(like_rows)} (line {listed})"] if like_rows else []


def _fitted(lines: Lines, start: int, dialect: Dialect, names: list[str] | None) -> tuple[list[str] | None, int]:
    """(names, number of columns), without empty columns at the end, which separators at the ends of lines make.

    Raises ValueError that names the first line with more or fewer values than there are columns.
    """
    texts, told = lines.texts[start:], ""
    widths = [_width(lines, row, dialect) for row in range(start, len(lines.texts))]
    needed = Counter(widths).most_common(1)[0][0]
    if names is not None:
        names = _stretched(names, needed, texts, dialect) if len(set(widths)) == 1 else names
        told = _ABOVE.format(len(names), lines.numbers[0]) if len(names) != needed and start else ""
        needed = len(names)
    for row, width in enumerate(widths, start):
        if width != needed:
            raise ValueError(f"line {lines.numbers[row]}: {width} values, but {needed} are needed{told}")
    empty = _empty_at_the_end(texts, dialect)
    while empty and (names is None or names[needed - 1] == ""):
        empty, needed = empty - 1, needed - 1
    return names and names[:needed], needed


def _stretched(names: list[str], width: int, texts: Sequence[str], dialect: Dialect) -> list[str]:
    """Names for lines of that width: without empty ones at the end, or with empty ones over columns without names."""
    filled = max((place + 1 for place, name in enumerate(names) if name), default=0)
    names = names[: max(width, filled)]
    empty = _empty_at_the_end(texts, dialect)
    if len(names) == width - 1 and not empty and _names_rows(texts, dialect):
        return ["", *names]
    return names + [""] * min(empty, width - len(names))


def _width(lines: Lines, row: int, dialect: Dialect) -> int:
    try:
        return dialect.width(lines.texts[row])
    except ValueError as error:
        raise ValueError(f"line {lines.numbers[row]}: {error}") from None


def _empty_at_the_end(texts: Sequence[str], dialect: Dialect) -> int:
    """How many columns at the end are empty in all lines."""
    least = len(texts[0])
    for line in texts:
        filled = line.rstrip(dialect.separator + " ")
        least = min(least, line.count(dialect.separator, len(filled)))
        if least == 0 or dialect.separator == " ":
            return 0
    return least


def _names_rows(texts: Sequence[str], dialect: Dialect) -> bool:
    """Whether the first values tell the lines apart, as names of rows do: words or whole numbers, not decimals."""
    first = [dialect.cells(line)[0] for line in texts]
    measured = any(dialect.is_number(cell) and not cell.isdigit() for cell in first)
    return len(set(first)) == len(first) and not measured


def _parsed(texts: Sequence[str], dialect: Dialect, width: int):
    """A frame of numbers, booleans and words; what is no number stays as it is written."""
    import pandas as pd

    # From 3.1 on, pandas rounds correctly by default, and warns of this option.
    old = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
    options = {"float_precision": "round_trip"} if old else {}
    frame = pd.read_csv(
        io.StringIO("\n".join(texts)),
        sep=r"\s+" if dialect.separator == " " else dialect.separator,
        decimal=dialect.decimal,
        quotechar=dialect.quote,
        header=None,
        index_col=False,
        usecols=range(width),
        skipinitialspace=True,
        na_filter=False,
        low_memory=False,
        **options,
    )
    if len(frame) != len(texts):
        raise ValueError(f"{len(texts)} lines make {len(frame)} rows; a value in quotes goes over lines")
    return frame


def _values(series, dialect: Dialect) -> np.ndarray:
    """Numbers or booleans where every value is one, else words."""
    if series.dtype.kind in "iufb":
        return series.to_numpy()
    cells = [str(cell).strip() for cell in series]
    longest = max(map(len, cells))
    _require_short(longest)
    if all(map(dialect.is_number, cells)):
        return np.array(list(map(dialect.number, cells)))
    if {cell.lower() for cell in cells} <= {"true", "false"}:
        return np.array([cell.lower() == "true" for cell in cells])
    checks.memory(4.0 * longest * len(cells), engine_of(), "a column of words", "write them as numbers")
    return np.array(cells)


def _require_short(length: int) -> None:
    if length > _LONGEST:
        raise ValueError(f"it holds a value of {length} characters, but numbers and words have {_LONGEST} at most")


# ------------------------------------------------------------------------------------------------------------ Parquet
def _from_parquet(content: bytes) -> _Table:
    import pandas as pd

    frame = _frame_of(content)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=[name or "" for name in frame.index.names], allow_duplicates=True)
    if frame.size == 0:
        raise ValueError("it holds no data")
    names = list(map(str, frame.columns))
    columns = [Column(j, name, _typed(frame.iloc[:, j], f"column {name!r}")) for j, name in enumerate(names)]
    return _Table(columns, _numbered, [], _PLAIN_DIALECT)


def _frame_of(content: bytes):
    """The frame that a Parquet file holds; words that repeat are kept once."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise ValueError("Parquet needs pyarrow; python -m pip install 'ntkspec[parquet]'") from None
    with _arrow_errors():
        head = parquet.ParquetFile(io.BytesIO(content))
    _require_sizes(head.metadata, head.schema_arrow, len(content))
    words = [field.name for field in head.schema_arrow if str(field.type) in _WORDS]
    with _arrow_errors():
        table = parquet.ParquetFile(io.BytesIO(content), read_dictionary=words).read()
        repeated = [part.dictionary for one in table.columns for part in one.chunks if hasattr(part, "dictionary")]
        longest = max((len(str(word)) for words in repeated for word in words.to_pylist()), default=0)
    _require_short(longest)
    with _arrow_errors():
        return table.to_pandas()


@contextlib.contextmanager
def _arrow_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"it is not a readable Parquet file: {str(error) or type(error).__name__}") from None


def _require_sizes(metadata, schema, size: int) -> None:
    """Refuse what is no table, or declares far more numbers than its bytes can hold, before any page is unpacked."""
    _require_columns(metadata.num_columns)
    nested = [field for field in schema if field.type.num_fields]
    if nested:
        kind = str(nested[0].type)[:40]
        raise ValueError(f"column {nested[0].name!r} holds values of type {kind}; a value is a number or a word")
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    if sum(group.num_rows for group in groups) != metadata.num_rows or metadata.num_rows < 0:
        raise ValueError(f"it says that it has {metadata.num_rows} rows, but its parts have others")
    pages = sum(group.total_byte_size for group in groups)
    needed = max(8 * metadata.num_rows * metadata.num_columns, pages)
    if needed > max(_ANY_TIMES, _MOST_TIMES * size):
        raise ValueError(
            f"{size / 1e6:.3g} MB unpack to {needed / 1e6:.3g} MB, over {_MOST_TIMES} times the size; "
            f"save it without compression and dictionaries if that is meant"
        )
    checks.memory(4 * needed, engine_of(), f"a Parquet file of {metadata.num_rows} rows", "take fewer rows")


def _numbered(row: int) -> str:
    return f"row {row} (from 0)"


def _typed(series, column: str) -> np.ndarray:
    """Numbers, booleans or words of a column that has a type; ValueError where it holds nothing or something else."""
    absent = np.flatnonzero(series.isna())
    if len(absent):
        raise ValueError(f"{_numbered(absent[0])}, {column}: a value is missing; remove the row or fill in a value")
    if series.dtype.kind in "iuf":
        return series.to_numpy(dtype=np.float64)
    kinds = {type(one) for one in series.tolist()}
    if kinds <= {bool}:
        return series.to_numpy(dtype=bool)
    if kinds <= {int, float, bool, Decimal}:
        return series.to_numpy(dtype=np.float64)
    if kinds != {str}:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"{column} holds values of type {found}; a feature is a number, a label a number or a word")
    return _values(series, _PLAIN_DIALECT)


# ------------------------------------------------------------------------------------------------------------- checks
def _refuse_absent(table: _Table) -> None:
    """Refuse missing and infinite values, whatever the column is for."""
    for column in table.columns:
        bad = _absent(column)
        if bad.any():
            row = int(np.argmax(bad))
            missing = column.is_words and is_missing(column.values[row])
            what = "a value is missing" if missing else "a value is not finite"
            more = f" and {bad.sum() - 1} more of this column" if bad.sum() > 1 else ""
            found = f"{str(column.values[row])!r}{more}"
            raise ValueError(f"{table.row(row)}, {column}: {what} ({found}); remove the row or fill in a value")


def _absent(column: Column) -> np.ndarray:
    """Which values are missing, infinite or no number."""
    if not column.is_words:
        return ~np.isfinite(column.values)
    words = set(np.unique(column.values).tolist())
    absent = [word for word in words if is_missing(word) or word.lower() in _INFINITE]
    return np.isin(column.values, [] if words == {"+", "-"} else absent)  # two classes


def _refuse_mixtures(table: _Table) -> None:
    """Refuse values that are nearly numbers, and words in a column of numbers; ids may be anything."""
    for column in table.columns:
        if not column.is_words or says_id(column.name) or (column.index == 0 and column.name == ""):
            continue
        cells = column.values.tolist()
        words = [row for row, cell in enumerate(cells) if not table.dialect.is_number(cell)]
        nearly = [row for row in words if _NEARLY.fullmatch(cells[row])]
        if nearly:
            row = nearly[0]
            raise ValueError(
                f"{table.row(row)}, {column}: {shown(cells[row])} is not a plain number; write numbers without "
                f"thousands separators, units and notes, with {_MARKS[table.dialect.decimal]}"
            )
        if 2 * len(words) <= len(cells):
            row = words[0]
            raise ValueError(f"{table.row(row)}, {column}: {shown(cells[row])} is not a number, but others there are")
        if len(words) == len(cells) - 1:
            [row] = set(range(len(cells))).difference(words)
            raise ValueError(f"{table.row(row)}, {column}: {shown(cells[row])} is a number among words")


def _refuse_words(table: _Table, features: Sequence[Column]) -> None:
    for column in features:
        if column.is_words:
            raise ValueError(
                f"{table.row(0)}, {column}: {shown(column.values[0])} is not a number; write words as numbers (one "
                f"column of 0 and 1 for each word), remove the column, or choose it with --label (label=)"
            )
