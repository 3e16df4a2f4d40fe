"""Which columns of a table are labels, ids and features."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

# Names that say "label", by strength; where two of one strength stand side by side, nobody can know which is meant.
# A column y is often a coordinate, so that it comes last.
_LABELS = {
    3: "label labels target targets truelabel classlabel classlabels targetlabel targetclass groundtruth ytrue",
    2: "class classes classname classid outcome outcomes response responses species diagnosis category variety output "
    "outputs dependent dependentvariable",
    1: "y",
}
_STRENGTH = {name: strength for strength, names in _LABELS.items() for name in names.split()}
_IDS = (
    "id ids index idx row rows rowid rownum rownumber rowname rownames uuid guid uid key number no nr sample sampleid "
    "record recordid serial serialno obs observation name names file filename path identifier samplename case subject "
    "patient event eventnumber accession"
)
# A first column with another name is more often a feature: sex, rooms, region.
_FIRST = ("signal", "issignal", "background", "isbackground", "kind", "type", "truth", "flag", "tag")
_SHORTEST_RUN = 10  # rows; a shorter count can be a feature, such as five doses
_MOST_LABELS = 20  # different whole numbers


@dataclass(frozen=True)
class Column:
    """A column of a table: index (from 0), name ("" where it alone has none, None without names), values.

    values (n,) : numbers, booleans or words.
    """

    index: int
    name: str | None
    values: np.ndarray

    def __str__(self) -> str:
        return f"column {shown(self.name)}" if self.name else f"column {self.index}"

    @property
    def is_words(self) -> bool:
        """Whether its values are words."""
        return self.values.dtype.kind == "U"


@dataclass(frozen=True)
class Roles:
    """What the columns are for, with sentences on how that was decided."""

    label: Column
    features: list[Column]
    reading: list[str]


def roles_of(columns: Sequence[Column], *, label: str | int | None, keep_ids: bool) -> Roles:
    """The label: the column asked for, else the one whose name says so, else the last or first one that looks so.

    A column of ids (see _why_id) is no feature, unless keep_ids is True. Raises ValueError where no column or more
    than one can be the label.
    """
    chosen, why = _asked_for(columns, label) if label is not None else _named(columns)
    ids = _ids(columns, chosen)
    others = [column for column in columns if column is not chosen and column.index not in ids]
    if chosen is None:
        chosen, why = _named_y(others)
    if chosen is None:
        chosen, why = _guessed(others, columns)
    features = [one for one in columns if one is not chosen and (keep_ids or one.index not in ids)]
    if not features:
        raise ValueError(f"no features are left beside the labels ({chosen}){_besides(ids, columns)}")
    if label is None:
        _refuse_copies(chosen, features)
    reading = [f"labels: {chosen} ({why})"]
    reading += [
        f"among the features: {one}, though its name says label" for one in features if says_label(one.name) > 1
    ]
    if not keep_ids:
        reading += [f"set aside: {column} ({ids[column.index]})" for column in columns if column.index in ids]
    reading += [f"kept as a feature: {one} (its values repeat)" for one in features if _repeating_id(one)]
    if not keep_ids:
        reading += [f"kept as a feature: {one} (whole numbers, all different: an id?)" for one in features if _odd(one)]
    return Roles(chosen, features, reading)


# ------------------------------------------------------------------------------------------------------------ labels
def says_label(name: str | None) -> int:
    """How strongly a name says that its column is the label, from 0 (not) to 3."""
    return _STRENGTH.get(_plain(name), 0)


def _plain(name: str | None) -> str:
    return re.sub(r"[\W_]+", "", (name or "").lower())


def _asked_for(columns: Sequence[Column], label: str | int) -> tuple[Column, str]:
    """The column of that name (in any case, where one only has it) or of that number, negative from the end."""
    if isinstance(label, str):
        wanted = label.strip()
        exact = [column for column in columns if column.name == wanted]
        found = exact or [column for column in columns if (column.name or "").lower() == wanted.lower()]
        if len(found) == 1 and wanted:
            return found[0], "as asked for"
        if found and wanted:
            raise ValueError(
                f"label={label!r}, but {len(found)} columns have that name; give its number: {listed(columns)}"
            )
    if isinstance(label, bool) or not re.fullmatch(r"\s*-?\d+\s*", str(label)):
        raise ValueError(f"label={label!r}, but no column has that name; choose one of {listed(columns)}")
    number = int(label)
    if not -len(columns) <= number < len(columns):
        raise ValueError(f"label={label}, but columns are counted from 0, or from -1 backwards: {listed(columns)}")
    return columns[number], "as asked for"


def _named(columns: Sequence[Column]) -> tuple[Column | None, str]:
    strongest = max((says_label(column.name) for column in columns), default=0)
    found = [column for column in columns if says_label(column.name) == strongest]
    if strongest < 2:
        _refuse_one_hot(columns)
        return None, ""
    return _only(found), "its name says so"


def _only(found: Sequence[Column]) -> Column:
    if len(found) > 1:
        raise ValueError(
            f"{_together(found)} both say label by name; choose with --label (label=), and remove the other"
        )
    return found[0]


def _named_y(columns: Sequence[Column]) -> tuple[Column | None, str]:
    """A column y, unless x beside it makes it a coordinate; of x and y alone, y is the label."""
    names = [(column.name or "").lower() for column in columns]
    found = [column for column, name in zip(columns, names, strict=True) if name == "y"]
    if not found or ("x" in names and sorted(names) != ["x", "y"]):
        return None, ""
    return _only(found), "its name says so"


def _guessed(columns: Sequence[Column], everything: Sequence[Column]) -> tuple[Column, str]:
    """The last column or the first, where it alone looks like labels, or the last where it alone holds words.

    A first column whose name says nothing of the kind is a feature, such as sex or rooms before a price.
    """
    found = [column for column in columns if looks_like_labels(column.values)]
    for where, column in (("last", columns[-1]), ("first", columns[0])) if len(columns) > 1 else ():
        if found == [column] and (where == "last" or _may_be_first(column.name)):
            return column, f"the {where} column, and the only one that looks like labels: {_seen(column.values)}"
    if columns and columns[-1] in found and [one for one in columns if one.is_words] == [columns[-1]]:
        return columns[-1], f"the last column, and the only one of words: {_seen(columns[-1].values)}"
    seen = f"{_together(found)} look like labels" if len(found) > 1 else f"only {found[0]} looks so" if found else ""
    seen = seen or "none looks like labels (words or a few whole numbers that repeat)"
    advice = f"choose one with --label NAME-or-number (label=): {listed(everything)}"
    raise ValueError(f"no column is named as a label and {seen}; {advice}")


def _may_be_first(name: str | None) -> bool:
    """Whether a first column can be the label: it has no name, a number for one, or that of a signal."""
    return not name or name.isdigit() or _plain(name) in _FIRST


def looks_like_labels(values: np.ndarray) -> bool:
    """Whether values are words, booleans or few whole numbers (2 to 20 different ones), and repeat."""
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        return False
    different = len(np.unique(values))
    if values.dtype.kind in "iuf" and different > _MOST_LABELS:
        return False
    return 2 <= different < len(values) and (different == 2 or 2 * different <= len(values))


def _refuse_copies(label: Column, features: Sequence[Column]) -> None:
    """A feature that is named as a label too, and gives the label away, is the label written twice."""
    for column in features:
        pairs = set(zip(column.values.tolist(), label.values.tolist(), strict=True)) if says_label(column.name) else ()
        alike = len(pairs) == len(np.unique(column.values)) == len(np.unique(label.values)) < len(label.values)
        if pairs and (alike or np.array_equal(column.values, label.values)):
            raise ValueError(f"{_together([label, column])} say the same of every point; remove one of them")


def _refuse_one_hot(columns: Sequence[Column]) -> None:
    """Columns such as label_cat, label_dog with a single 1 in each row."""
    groups: dict[str, list[Column]] = {}
    for column in columns:
        stem = re.match(r"([^\W\d_]+)([\W_]+\w|\d+$)", column.name or "")
        if stem and says_label(stem[1]) and not column.is_words:
            groups.setdefault(stem[1].lower(), []).append(column)
    for group in groups.values():
        block = np.stack([column.values.astype(float) for column in group])
        if len(group) > 1 and np.isin(block, (0, 1)).all() and (block.sum(axis=0) == 1).all():
            raise ValueError(
                f"{_together(group)} are one label, one column for each class; write it into one column, "
                f"or pass arrays X (n, d) and y (n, classes) in an .npz file"
            )


# --------------------------------------------------------------------------------------------------------------- ids
def says_id(name: str | None) -> bool:
    """Whether a name says that its column tells rows apart: id, patient_id, PassengerId, ID_code, Unnamed: 0, ..."""
    part = re.search(r"([\W_][iI][dD]|[a-z]I[dD]|^Unnamed: \d+)$|^[iI][dD][\W_]", name or "", re.A)
    return _plain(name) in _IDS.split() or part is not None or name == "#"


def _ids(columns: Sequence[Column], label: Column | None) -> dict[int, str]:
    """Why columns are ids, by their index."""
    rest = [column for column in columns if column is not label and not says_label(column.name)]
    leading = len(list(takewhile(_is_unnamed, columns)))
    why = {column.index: reason for column in rest if (reason := _why_id(column, leading=column.index < leading))}
    if len(why) < len(columns) - 1:
        return why
    # Of a series t, y nothing would be left: a count that is not called an id is the feature then.
    return {index: reason for index, reason in why.items() if columns[index].name == "" or says_id(columns[index].name)}


def _is_unnamed(column: Column) -> bool:
    return column.name is not None and re.fullmatch(r"(Unnamed: \d+)?", column.name) is not None


def _why_id(column: Column, *, leading: bool) -> str:
    """Why a column tells rows apart, or "": it counts the rows, or says id by name.

    leading : it stands before the named columns, without a name, as each level of an index of pandas does.
    """
    values = column.values
    whole = column.is_words or (values.dtype.kind in "iuf" and bool((values == np.floor(values)).all()))
    if not column.is_words and (values == values[0]).all():
        return ""
    if leading:
        return "it has no name, as an index is written"
    if not whole:
        return ""
    if not column.is_words and _counts_rows(values):
        return f"whole numbers {values[0]:.0f} to {values[-1]:.0f} in order"
    if not column.is_words and column.index == 0 and column.name is None and _counts_rows(np.sort(values)):
        return f"whole numbers {values.min():.0f} to {values.max():.0f}, each once"
    if says_id(column.name) and _distinct(values):
        return "its name says id, and its values are distinct"
    return ""


def _counts_rows(values: np.ndarray) -> bool:
    return len(values) >= _SHORTEST_RUN and values[0] in (0, 1) and bool((np.diff(values.astype(float)) == 1).all())


def _distinct(values: np.ndarray) -> bool:
    return len(np.unique(values)) == len(values)


def _odd(column: Column) -> bool:
    """A first column without a name may be an id where all its whole numbers are different."""
    values = column.values
    whole = column.index == 0 and column.name is None and bool((values == np.floor(values)).all())
    return whole and len(values) >= _SHORTEST_RUN and _distinct(values)


def _repeating_id(column: Column) -> bool:
    return says_id(column.name) and not column.is_words and not _distinct(column.values)


# ------------------------------------------------------------------------------------------------------------- words
def shown(text: str) -> str:
    """A name or value in quotes, shortened."""
    return repr(str(text) if len(text) <= 40 else f"{text[:40]}...")


def listed(columns: Sequence[Column]) -> str:
    """The columns for a message: numbers and names of the first and the last ones."""
    words = [f"{column.index} {shown(column.name)}" if column.name else str(column.index) for column in columns]
    return ", ".join(words if len(words) <= 12 else [*words[:6], "...", *words[-3:]])


def _together(columns: Sequence[Column]) -> str:
    words = [shown(column.name)[1:-1] if column.name else str(column.index) for column in columns]
    words = words if len(words) < 6 else [*words[:4], "...", words[-1]]
    return f"columns {', '.join(words[:-1])} and {words[-1]}"


def _seen(values: np.ndarray) -> str:
    different = np.unique(values)
    what = "words" if values.dtype.kind == "U" else "booleans" if values.dtype.kind == "b" else "whole numbers"
    some = ", ".join(f"{one:.0f}" if values.dtype.kind == "f" else shown(str(one))[1:-1] for one in different[:3])
    return f"{len(different)} {what}, {some}{', ...' if len(different) > 3 else ''}"


def _besides(ids: dict[int, str], columns: Sequence[Column]) -> str:
    shown = ", ".join(str(columns[index]) for index in ids)
    return f" and ids ({shown}); keep ids with --keep-ids (keep_ids=True)" if ids else ""
