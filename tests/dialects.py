"""Tables as people and programs write them, with what was meant: a seeded generator."""

import bz2
import gzip
import io
import lzma
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
LABEL_NAMES = [
    "label",
    "Label",
    "target",
    "TARGET",
    "class",
    "outcome",
    "species",
    "diagnosis",
    "y",
    "Y",
    "Class Label",
]
DEFECTS = [
    "missing",
    "short",
    "long",
    "word",
    "infinite",
    "thousands",
    "two labels",
    "no sign",
    "absent label",
    "one-hot",
]


@dataclass(frozen=True)
class Written:
    """A file and what was meant by it; where ``refused`` is a pattern, reading it must end in such a message."""

    content: bytes
    name: str
    X: np.ndarray
    y: np.ndarray
    refused: str = ""
    options: dict = field(default_factory=dict)
    story: str = ""


@dataclass
class Sheet:
    """Cells as text with decimal points, column by column: features, then what is put beside them."""

    columns: list[list[str]]
    names: list[str]
    label: int = -1


def written(seed: int) -> Written:
    """The table of a seed: by hand in most cases, by pandas, NumPy or pyarrow in the others."""
    rng = np.random.default_rng([16, seed])
    maker = rng.choice([by_hand] * 8 + [by_pandas, by_numpy, by_parquet])
    return maker(rng)


# ------------------------------------------------------------------------------------------------------------ meaning
def feature(rng, n: int) -> list[str]:
    """A column of numbers as text: never few whole ones, nor a count."""
    style = rng.integers(5)
    values = rng.standard_normal(n) * 10.0 ** rng.integers(-3, 4)
    if style == 0:
        return [repr(float(v)) for v in values]
    if style == 1:
        return [f"{v:.3f}" for v in values / np.abs(values).max()]
    if style == 2:
        return [f"{v:.6e}" for v in values]
    if style == 3:
        return [str(v) for v in rng.choice(np.arange(-5000, 5000), n, replace=False)]
    return [f"{v:+.2f}" for v in values / np.abs(values).max()]


def labels(rng, n: int, kind: str) -> tuple[list[str], np.ndarray]:
    """(the texts, what they mean); every class is there twice at least."""
    classes = {
        "binary": ["0", "1"],
        "signs": ["-1", "1"],
        "several": ["3", "4", "5", "9"],
        "floats": ["0.0", "1.0"],
        "words": ["cat", "dog", "Gürteltier" if rng.integers(2) else "horse"],
        "phrases": ["Iris setosa", "Iris virginica"],
        "truths": ["True", "False"],
    }
    if kind == "continuous":
        texts = [repr(float(v)) for v in rng.standard_normal(n)]
        return texts, np.array(texts, dtype=float)
    drawn = classes[kind] * 2
    texts = [*drawn, *rng.choice(classes[kind], n - len(drawn))]
    texts = [texts[j] for j in rng.permutation(n)]
    if kind == "truths":
        return texts, np.array([text == "True" for text in texts])
    return texts, np.array(texts) if kind in ("words", "phrases") else np.array(texts, dtype=float)


def ids(rng, n: int, kind: str) -> list[str]:
    """A column that tells rows apart."""
    start = int(rng.integers(2))
    if kind == "words":
        return [f"s{j:03d}" for j in rng.permutation(n)]
    return [str(j + start) for j in (rng.permutation(n) if kind == "shuffled" else range(n))]


# ------------------------------------------------------------------------------------------------------------ writers
def by_hand(rng) -> Written:
    """Any dialect, with or without names, ids and a defect."""
    n, d = int(rng.integers(14, 60)), int(rng.integers(1, 9))
    sheet, y, X, options, named = meant(rng, n, d)
    separator, decimal = [
        (",", "."),
        (";", "."),
        (";", ","),
        ("\t", "."),
        ("\t", ","),
        ("|", "."),
        (" ", "."),
        (" ", ","),
    ][rng.integers(8)]
    defect = str(rng.choice(DEFECTS)) if rng.random() < 0.25 else ""
    refused = spoil(rng, sheet, defect, decimal, named, options) if (defect, separator) != ("thousands", " ") else ""
    if not refused:
        defect = ""
    rows = [list(row) for row in zip(*sheet.columns, strict=True)]
    if decimal == ",":
        rows = [[cell.replace(".", ",") if looks_numeric(cell) else cell for cell in row] for row in rows]
    k = int(rng.integers(1, n))
    if defect == "short":
        rows[k] = rows[k][:-1]
    if defect == "long":
        rows[k] = [*rows[k], "1"]
    lines = [sheet.names, *rows] if named else rows
    quoting = str(rng.choice(["none", "all", "words"]))
    text = [line(rng, cells, separator, quoting) for cells in lines]
    story = f"{n} x {d}, {separator!r}, {decimal!r}, names={named}, quotes {quoting}, defect {defect!r}, {options}"
    if separator != " " and rng.random() < 0.2 and defect not in ("short", "long"):
        text = [one + separator for one in text]
        story += ", trailing separators"
    text = decorated(rng, text, separator)
    return packed(rng, "\n".join(text), separator, X=X, y=y, refused=refused, options=options, story=story)


def meant(rng, n: int, d: int):
    """(Sheet, y, X, options of read_table, whether there are names): a table whose meaning is clear."""
    kinds = ["binary", "signs", "several", "floats", "words", "phrases", "truths", "continuous"]
    kind = str(rng.choice(kinds))
    texts, y = labels(rng, n, kind)
    features = [feature(rng, n) for _ in range(d)]
    X = np.array(features, dtype=float).T
    header = str(rng.choice(["none", "label", "label", "unknown", "numbers"]))
    place = int(rng.choice([0, d, d, rng.integers(d + 1)]))
    names = [f"x{j}" for j in range(d)] if header != "numbers" else [str(400 + 2 * j) for j in range(d)]
    if header in ("label", "unknown") and d == 2 and rng.integers(2):
        names = ["x", "y"]
    name = str(rng.choice(LABEL_NAMES)) if header in ("label", "numbers") else "signal"
    if "y" in names and name.lower() == "y":
        name = "class"
    sheet = Sheet([*features[:place], texts, *features[place:]], [*names[:place], name, *names[place:]], place)
    coordinate = "y" in names and d == 2
    clear = header in ("label", "numbers") or (place in (0, d) and kind != "continuous")
    named = header != "none"
    put_ids(rng, sheet, n, named)
    options = {}
    if not clear or rng.random() < 0.15:
        options["label"] = sheet.label if rng.integers(2) else sheet.label - len(sheet.columns)
        if named and rng.integers(2):
            options["label"] = sheet.names[sheet.label] if coordinate else sheet.names[sheet.label].upper()
    return sheet, y, X, options, named


def put_ids(rng, sheet: Sheet, n: int, named: bool) -> None:
    """An index or an id in front, or an id at the end."""
    if rng.random() < 0.6:
        return
    kind = str(rng.choice(["count", "shuffled", "words"])) if named else "count"
    name = str(rng.choice(["", "Unnamed: 0", "id", "ID", "index", "patient_id"]))
    if named and name not in ("", "Unnamed: 0") and rng.integers(2):
        sheet.columns.append(ids(rng, n, kind))
        sheet.names.append(name)
    else:
        sheet.columns.insert(0, ids(rng, n, kind))
        sheet.names.insert(0, name)
        sheet.label += 1


def spoil(rng, sheet: Sheet, defect: str, decimal: str, named: bool, options: dict) -> str:
    """Put the defect into the cells; the pattern of the message that must follow, or "" where it does not apply."""
    j = int(rng.choice([k for k in range(len(sheet.columns)) if k != sheet.label]))
    is_id = sheet.names[j] in ("", "Unnamed: 0", "id", "ID", "index", "patient_id")
    row = int(rng.integers(1, len(sheet.columns[j])))
    if defect in ("short", "long"):
        return r"line \d+: \d+ values, but \d+ are needed|two columns"
    if defect == "missing":
        sheet.columns[j][row] = str(rng.choice(["NA", "NaN", "?", "null", "-", "N/A"]))
        return "a value is missing"
    if defect == "two labels" and named and not options and len(sheet.columns) > 2 and not is_id:
        sheet.names[sheet.label], sheet.names[j] = "label", "target"
        return "label and target|target and label"
    if defect == "absent label":
        options["label"] = str(rng.choice(["nothing", "99", "-99"]))
        return r"label='?(nothing|99|-99).* but"
    if is_id:
        return ""
    if defect == "word":
        sheet.columns[j][row] = str(rng.choice(["two", "n.d.", "<0.1", "3 mg"]))
        return "is not a (plain )?number|could"
    if defect == "infinite":
        sheet.columns[j][row] = str(rng.choice(["inf", "-inf", "Infinity", "1e999"]))
        return "not finite"
    if defect == "thousands":
        sheet.columns[j][row] = "1.234.567" if decimal == "," else "1 234 567.5"
        return "not a plain number"
    return ""


def looks_numeric(cell: str) -> bool:
    """Whether float reads it."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def line(rng, cells: list[str], separator: str, quoting: str) -> str:
    """One line; words with the separator in them are quoted in any case."""
    quoted = [
        f'"{cell}"'
        if quoting == "all"
        or separator in cell
        or cell == ""
        or (quoting == "words" and not looks_numeric(cell.replace(",", ".")))
        else cell
        for cell in cells
    ]
    if separator == " ":
        return " " * int(rng.integers(3)) + "".join(cell + " " * int(rng.integers(1, 4)) for cell in quoted)
    return (separator + (" " if rng.integers(2) and separator != "\t" else "")).join(quoted)


def decorated(rng, text: list[str], separator: str) -> list[str]:
    """With comments, empty lines and what Excel says first."""
    mark = str(rng.choice(["#", "%", "//"]))
    if rng.random() < 0.25:
        text = [f"{mark} measured by us; do not change", *text]
    if rng.random() < 0.15:
        text.insert(len(text) // 2, f"{mark} second day")
    if rng.random() < 0.2:
        text.insert(int(rng.integers(1, len(text))), "")
    if separator in ",;\t|" and rng.random() < 0.1:
        text.append(separator * 3)
    if separator in ",;" and rng.random() < 0.1:
        text = [f"sep={separator}", *text]
    return text


def packed(rng, text: str, separator: str, **meaning) -> Written:
    """Encoded, with one kind of line ends, packed, under an ending that need not say so."""
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]))
    end = str(rng.choice(["\n", "\n", "\r\n", "\r"]))
    text = text.replace("\n", end) + (end if rng.integers(4) else "")
    content, ending = (
        text.encode(encoding),
        str(rng.choice([".tsv", ".tab"] if separator == "\t" else [".csv", ".txt", ".dat"])),
    )
    pack = str(rng.choice(["", "", *PACKERS]))
    shown = pack if rng.integers(4) else ""  # a browser may have unpacked it, or dropped the ending
    content = PACKERS[pack](content) if pack and (shown or rng.integers(2)) else content
    meaning["story"] += f", {encoding}, {end!r}, packed {pack!r} under {ending + shown}"
    return Written(content, f"table{ending}{shown}", **meaning)


def frame_of(rng):
    """(DataFrame, X, y) with a label column by name."""
    n, d = int(rng.integers(14, 60)), int(rng.integers(1, 9))
    X = rng.standard_normal((n, d))
    _, y = labels(rng, n, str(rng.choice(["binary", "words", "truths", "continuous"])))
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(d)] if rng.integers(2) else range(d))
    frame.insert(int(rng.integers(d + 1)), str(rng.choice(["label", "target", "y"])), y)
    return frame if rng.integers(2) else frame.sample(frac=1, random_state=int(rng.integers(99))), X, y


def by_pandas(rng) -> Written:
    """DataFrame.to_csv, with or without its index."""
    frame, X, y = frame_of(rng)
    rows = frame.index.to_numpy()
    index = bool(rng.integers(2))
    separator, decimal = [(",", "."), (";", ","), ("\t", ".")][rng.integers(3)]
    text = frame.to_csv(index=index, sep=separator, decimal=decimal)
    return Written(text.encode(), "frame.csv", X[rows], y[rows], story=f"pandas, {index=}, {separator!r}, {decimal!r}")


def by_numpy(rng) -> Written:
    """numpy.savetxt, with names in a comment, with other words there, or without any."""
    n, d = int(rng.integers(14, 60)), int(rng.integers(1, 9))
    X, y = rng.standard_normal((n, d)), rng.permutation(np.arange(n) % 3).astype(float)
    separator = str(rng.choice([" ", ",", "\t"]))
    names = separator.join([*(f"a{j}" for j in range(d)), "label"])
    header = str(rng.choice(["", names, "made on Monday: see the notes, page 3 (first draft)"]))
    buffer = io.BytesIO()
    np.savetxt(
        buffer, np.column_stack([X, y]), fmt=str(rng.choice(["%.18e", "%.17g"])), delimiter=separator, header=header
    )
    return Written(buffer.getvalue(), "points.txt", X, y, story=f"savetxt {separator!r} {header!r}")


def by_parquet(rng) -> Written:
    """DataFrame.to_parquet."""
    frame, X, y = frame_of(rng)
    rows = frame.index.to_numpy()
    buffer = io.BytesIO()
    frame.rename(columns=str).to_parquet(buffer)
    return Written(buffer.getvalue(), "frame.parquet", X[rows], y[rows], story="parquet")
