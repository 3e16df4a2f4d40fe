"""Tables in any dialect are read as they were meant, or refused in one line."""

import bz2
import gzip
import io
import lzma
import re
import sys

import numpy as np
import pandas as pd
import pytest

from dialects import written
from ntkspec.datasets.tables import TABLE_ENDINGS, read_table

RNG = np.random.default_rng(16)
N = 24
A, B = RNG.standard_normal((2, N))
C = RNG.permutation(np.arange(N) % 2)
X = np.column_stack([A, B])
ROWS = [f"{a!r},{b!r},{c}" for a, b, c in zip(A.tolist(), B.tolist(), C.tolist(), strict=True)]
PLAIN = "\n".join(["a,b,label", *ROWS]) + "\n"


def read(tmp_path, content, name="table.csv", **options):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, **options)


def assert_plain(source):
    np.testing.assert_array_equal(source.X, X)
    np.testing.assert_array_equal(source.y, C)


def columns(*pairs) -> str:
    """A table of named columns."""
    names, values = zip(*pairs, strict=True)
    return "\n".join([",".join(names), *(",".join(map(str, row)) for row in zip(*values, strict=True))]) + "\n"


# ---------------------------------------------------------------------------------------------------------- dialects
DIALECTS = {
    "commas": (PLAIN, ""),
    "semicolons": (PLAIN.replace(",", ";"), "semicolons"),
    "decimal commas": (PLAIN.replace(",", ";").replace(".", ","), "semicolons between values and decimal commas"),
    "tabs": (PLAIN.replace(",", "\t"), "tabs"),
    "tabs, decimal commas": (PLAIN.replace(",", "\t").replace(".", ","), "tabs between values and decimal commas"),
    "bars": (PLAIN.replace(",", "|"), "vertical bars"),
    "blanks": ("  " + PLAIN.replace(",", "   "), "blanks"),
    "blanks, decimal commas": (PLAIN.replace(",", " ").replace(".", ","), "blanks between values and decimal commas"),
    "tabs, some of them doubled": (
        PLAIN.replace(",", "\t").replace("\t", "\t\t", 9).replace("\t\t", "\t", 4),
        "blanks",
    ),
    "comma and blank": (PLAIN.replace(",", ", "), ""),
    "double quotes": (re.sub(r"[^,\n]+", r'"\g<0>"', PLAIN), ""),
    "single quotes": (re.sub(r"[^,\n]+", r"'\g<0>'", PLAIN), ""),
    "trailing commas": (PLAIN.replace("\n", ",\n"), ""),
    "trailing commas below the names": (PLAIN.replace("\n", ",\n").replace(",\n", "\n", 1), ""),
    "three empty columns of a spreadsheet": (PLAIN.replace("\n", ",,,\n"), ""),
    "empty lines": ("\n\n" + PLAIN.replace("\n", "\n\n"), ""),
    "lines of commas": (PLAIN + ",,\n,,\n", ""),
    "no last line end": (PLAIN.rstrip(), ""),
    "CRLF": (PLAIN.replace("\n", "\r\n"), ""),
    "CR": (PLAIN.replace("\n", "\r"), ""),
    "CRCRLF": (PLAIN.replace("\n", "\r\r\n"), ""),
    "# above": ("# made, by, us\n" + PLAIN, "comments left out: 1"),
    "% above and between": ("% one\n" + PLAIN.replace(ROWS[4], f"%two\n{ROWS[4]}"), "comments left out: 2"),
    "// below": (PLAIN + "// end\n", "comments left out: 1"),
    "sep=": ("sep=;\n" + PLAIN.replace(",", ";"), "semicolons"),
    "end of file of DOS": (PLAIN + "\x1a", ""),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_table_in_every_dialect(tmp_path, dialect):
    content, said = DIALECTS[dialect]
    source = read(tmp_path, content)
    assert_plain(source)
    assert said in "; ".join(source.reading)
    assert ("written with" in "; ".join(source.reading)) == (said != "" and "comments" not in said)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"]
)
def test_words_in_every_encoding(tmp_path, encoding):
    words = np.where(C > 0, "Gürteltier", "Bär")
    source = read(tmp_path, columns(("Höhe", A), ("b", B), ("label", words)).encode(encoding))
    np.testing.assert_array_equal(source.X, X)
    np.testing.assert_array_equal(source.y, words)
    assert any("encoding" in said for said in source.reading) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.txt.xz", "t.DAT", "t.tab.bz2"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_is_packed_is_told_by_its_bytes_not_its_name(tmp_path, name, pack):
    assert name.lower().endswith(TABLE_ENDINGS)
    source = read(tmp_path, pack(PLAIN.encode()), name)
    assert_plain(source)
    assert ("unpacked" in source.reading[0]) == (pack is not bytes)


def test_every_number_is_the_nearest_float64(tmp_path):
    values = RNG.standard_normal(400) * 10.0 ** RNG.integers(-300, 300, 400)
    digits = [f"{int(v * 1e15)}.{RNG.integers(10**9):09d}e-12" for v in RNG.standard_normal(400)]
    text = columns(("a", map(repr, values.tolist())), ("b", digits), ("label", np.arange(400) % 2))
    for content in (text, text.replace(",", ";").replace(".", ",")):
        source = read(tmp_path, content)
        np.testing.assert_array_equal(source.X[:, 0], values)
        np.testing.assert_array_equal(source.X[:, 1], [float(one) for one in digits])


def test_numpy_writes_names_into_a_comment(tmp_path):
    np.savetxt(tmp_path / "points.txt", np.column_stack([C, X]), header="label a b")
    source = read_table(tmp_path / "points.txt")
    assert_plain(source)
    assert "names: from the comment above the values" in source.reading
    np.savetxt(tmp_path / "points.txt", np.column_stack([X, C]), header="the first label, of two")
    assert_plain(read_table(tmp_path / "points.txt"))
    for prose in ("run 42, ...", "two features: label", "a? b label"):  # as many words as columns
        np.savetxt(tmp_path / "points.txt", np.column_stack([X, C]), header=prose)
        source = read_table(tmp_path / "points.txt")
        assert_plain(source)
        assert "names: none, so that columns are counted from 0" in source.reading


def test_a_parquet_file_with_or_without_its_index(tmp_path):
    frame = pd.DataFrame({"a": A, "b": B, "label": C})
    for rows in (slice(None), RNG.permutation(N)):
        buffer = io.BytesIO()
        frame.iloc[rows].to_parquet(buffer)
        source = read(tmp_path, buffer.getvalue(), "table.parquet")
        np.testing.assert_array_equal(source.X, X[rows])
        np.testing.assert_array_equal(source.y, C[rows])
        assert any("set aside" in said for said in source.reading) == (not isinstance(rows, slice))


def test_a_parquet_file_of_other_types(tmp_path):
    frame = pd.DataFrame({"a": A.astype(np.float32), "b": (B > 0), "c": C.astype(np.int8), "label": pd.Categorical(C)})
    frame["label"] = np.where(C > 0, "cat", "dog")
    buffer = io.BytesIO()
    frame.astype({"label": "category", "c": "Int64"}).to_parquet(buffer)
    source = read(tmp_path, buffer.getvalue(), "table.csv")
    np.testing.assert_array_equal(source.X, np.column_stack([A.astype(np.float32), B > 0, C]))
    np.testing.assert_array_equal(source.y, frame["label"].to_numpy(str))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, None] * 12, "row 1 .from 0., column 'b': a value is missing"),
        ([1.0, np.inf] * 12, "row 1 .from 0., column 'b': a value is not finite"),
        ([[1, 2]] * 24, "column 'b' holds values of type"),
        (pd.date_range("2020", periods=24), "column 'b' holds values of type Timestamp"),
        (["one", "two"] * 12, "row 0 .from 0., column 'b': 'one' is not a number"),
    ],
)
def test_what_is_no_number_in_a_parquet_file_is_refused(tmp_path, column, message):
    buffer = io.BytesIO()
    pd.DataFrame({"a": A, "b": column, "label": C}).to_parquet(buffer)
    with pytest.raises(ValueError, match=rf"table.parquet: {message}"):
        read(tmp_path, buffer.getvalue(), "table.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    pd.DataFrame({"a": A, "label": C}).to_parquet(buffer)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pip install 'ntkspec\[parquet\]'"):
        read(tmp_path, buffer.getvalue(), "table.parquet")


# ------------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("0,1,2", "0, 1, 2"),
        ("1,2,3", "1, 2, 3"),
        ("400,402,404", "400, 402, 404"),
        ("2021,2020,label", "2021, 2020"),
        ("0,1,label", "0, 1"),
        ("5,3,target", "5, 3"),
    ],
)
@pytest.mark.parametrize("labels", [C, np.where(C > 0, "cat", "dog")], ids=["numbers", "words"])
def test_numbers_can_be_names(tmp_path, names, said, labels):
    rows = [f"{row.rpartition(',')[0]},{label}" for row, label in zip(ROWS, labels, strict=True)]
    source = read(tmp_path, "\n".join([names, *rows]))
    np.testing.assert_array_equal(source.X, X)
    np.testing.assert_array_equal(source.y, labels)
    assert any(f"names: the numbers {said} in line 1" in one for one in source.reading)


def test_a_spectrum_has_wavelengths_as_names(tmp_path):
    spectra = RNG.uniform(0, 2, (N, 30))
    frame = pd.DataFrame(np.column_stack([spectra, C]), columns=[*np.linspace(350.5, 700.25, 30).round(2), "species"])
    source = read(tmp_path, frame.to_csv(index=False))
    np.testing.assert_array_equal(source.X, spectra)
    source = read(tmp_path, frame.iloc[:, :-1].to_csv(index=False, header=True), label=3)
    np.testing.assert_array_equal(source.X, np.delete(spectra, 3, axis=1))


@pytest.mark.parametrize(
    "table",
    [
        np.arange(60.0).reshape(20, 3),
        np.arange(60.0).reshape(20, 3) / 7,
        np.sort(RNG.standard_normal((20, 6)), axis=1),
        RNG.standard_normal((20, 4)),
        np.vstack([[3.0, 1, 2], RNG.standard_normal((19, 3))]),
        RNG.integers(0, 5, (20, 3)) * [1, -1, 1],
    ],
    ids=["a count goes on", "in sevenths", "sorted rows", "any numbers", "whole at first", "integers"],
)
def test_a_first_row_of_values_is_never_taken_for_names(tmp_path, table):
    content = "\n".join(",".join(map(repr, row)) for row in table.tolist())
    source = read(tmp_path, content, label=0)
    np.testing.assert_array_equal(np.column_stack([source.y, source.X]), table)


@pytest.mark.parametrize(
    "first", ["1,two,1", "0,n.d.,0", "0.5,y,1", "1,2,y"], ids=["typing error", "not detected", "y", "label y"]
)
def test_a_first_line_that_could_be_names_or_values_is_refused(tmp_path, first):
    rows = [row.rpartition(",")[0] + ",n" for row in ROWS] if first == "1,2,y" else ROWS
    with pytest.raises(
        ValueError, match=r"line 1: (it holds names and values|its numbers).*name.*or write # before that line"
    ):
        read(tmp_path, "\n".join([first, *rows]))


def test_a_row_of_units_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"line 2, column 'a': 'mm' is not a number"):
        read(tmp_path, PLAIN.replace("label\n", "label\nmm,mm,kg\n", 1))


# ------------------------------------------------------------------------------------------------------------- labels
@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["x", "y", "label"], 2),
        (["label", "x", "y"], 0),
        (["x", "y", "class"], 2),
        (["a", "y", "b"], 1),
        (["y", "a", "b"], 0),
        (["Species", "y", "b"], 0),
        (["a", " TARGET ", "b"], 1),
        (["class label", "a", "b"], 0),
        (["a", "diagnosis", "y"], 1),
        (["target", "class", "b"], 0),
    ],
)
def test_the_name_says_which_column_is_the_label(tmp_path, names, label):
    values = RNG.standard_normal((3, N))
    source = read(tmp_path, columns(*zip(names, values, strict=True)))
    np.testing.assert_array_equal(source.y, values[label])
    np.testing.assert_array_equal(source.X, np.delete(values, label, axis=0).T)
    assert any(f"column {names[label].strip()!r} (its name says so)" in said for said in source.reading)


def test_y_is_a_coordinate_beside_x_and_the_label_of_x_alone(tmp_path):
    source = read(tmp_path, columns(("x", A), ("y", B), ("kind", C)))
    assert_plain(source)
    source = read(tmp_path, columns(("x", A), ("y", B), ("z", A * B), ("kind", C)))
    np.testing.assert_array_equal(source.y, C)
    np.testing.assert_array_equal(read(tmp_path, columns(("x", A), ("y", B))).y, B)
    source = read(tmp_path, columns(("id", range(N)), ("x", A), ("y", B)))
    np.testing.assert_array_equal(source.X, A[:, None])
    source = read(tmp_path, columns(("x", range(N)), ("y", B)))
    np.testing.assert_array_equal(source.X, np.arange(N)[:, None])
    with pytest.raises(ValueError, match=r"no column is named as a label and none looks like labels.*--label"):
        read(tmp_path, columns(("x", A), ("y", B), ("z", A * B)))


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize(
    "labels", [C, np.where(C > 0, "a", "b"), C > 0, C * 2.0 - 1, np.arange(N) % 5], ids=["01", "ab", "TF", "+-1", "0-4"]
)
@pytest.mark.parametrize("names", [["p", "q"], None], ids=["names", "no names"])
def test_without_a_name_the_last_or_first_column_is_taken_where_it_alone_looks_like_labels(
    tmp_path, place, labels, names
):
    values = [A, B]
    values.insert(place, labels)
    header = [*"pq"]
    header.insert(place, "signal")
    content = columns(*zip(header, values, strict=True))
    source = read(tmp_path, content if names else content.partition("\n")[2])
    np.testing.assert_array_equal(source.y, labels)
    np.testing.assert_array_equal(source.X, X)
    where = "first" if place == 0 else "last"
    assert any(f"the {where} column, and the only one that looks like labels" in said for said in source.reading)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([("p", C), ("q", A), ("r", C)], "columns p and r look like labels"),
        ([("p", A), ("q", C), ("r", 1 - C)], "columns q and r look like labels"),
        ([("p", A), ("q", C), ("r", B)], "only column 'q' looks so"),
        ([("p", A), ("q", B)], "none looks like labels"),
        ([("sex", np.where(C > 0, "m", "f")), ("age", A), ("charges", B)], "only column 'sex' looks so.*--label"),
        ([("rooms", np.arange(N) % 5 + 1), ("area", A), ("price", B)], "only column 'rooms' looks so.*--label"),
        ([("smokes", C > 0), ("age", A), ("years", B)], "only column 'smokes' looks so.*--label"),
        ([("label", C), ("a", A), ("target", B)], "columns label and target both say label"),
        ([("label", C), ("label", A), ("b", B)], "columns label and label both say label"),
        ([("species", C), ("a", A), ("class", 1 - C)], "columns species and class both say label"),
        ([("label", C), ("a", A), ("class", np.where(C > 0, 7, 3))], "columns label and class say the same"),
        ([("a", A), ("label_cat", C), ("label_dog", 1 - C)], "columns label_cat and label_dog are one label"),
        ([("a", A), ("y", B), ("Y", C)], "columns y and Y both say label"),
        ([("target", A), ("b", B), ("y", A)], "columns target and y say the same"),
        ([("a", A), ("y0", C), ("y1", 1 - C)], "columns y0 and y1 are one label"),
        ([("id", range(N)), ("label", C)], r"no features are left.*--keep-ids"),
    ],
)
def test_labels_that_are_not_clear_are_refused(tmp_path, table, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, columns(*table))


@pytest.mark.parametrize("names", ["p,q,r\n", ""])
def test_of_several_that_look_like_labels_the_last_is_taken_where_it_alone_holds_words(tmp_path, names):
    words = np.where(C > 0, "good", "bad")
    content = columns(("p", 1 - C), ("q", A), ("r", words)).partition("\n")[2]
    source = read(tmp_path, names + content)
    np.testing.assert_array_equal(source.y, words)
    np.testing.assert_array_equal(source.X, np.column_stack([1 - C, A]))
    assert any("the last column, and the only one of words: 2 words, bad, good" in said for said in source.reading)
    with pytest.raises(ValueError, match="look like labels"):
        read(tmp_path, columns(("p", np.where(A > 0, "x", "y")), ("q", A), ("r", words)))


@pytest.mark.parametrize("label", ["b", "B", 1, -2, "1", "-2"])
def test_the_label_is_the_column_asked_for(tmp_path, label):
    source = read(tmp_path, PLAIN, label=label)
    np.testing.assert_array_equal(source.y, B)
    np.testing.assert_array_equal(source.X, np.column_stack([A, C]))
    assert "labels: column 'b' (as asked for)" in source.reading
    assert any("among the features: column 'label'" in said for said in source.reading)


def test_a_name_in_digits_comes_before_a_number(tmp_path):
    source = read(tmp_path, columns(("2", A), ("label", B), ("0", C)), label="2")
    np.testing.assert_array_equal(source.y, A)
    np.testing.assert_array_equal(read(tmp_path, columns(("2", A), ("label", B), ("0", C)), label=2).y, C)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("c", r"label='c', but no column has that name; choose one of 0 'a', 1 'b', 2 'label'"),
        (3, "label=3, but columns are counted from 0, or from -1 backwards: 0 'a'"),
        ("-4", "label=-4, but columns are counted from 0"),
        ("", "label='', but no column has that name"),
        (True, "label=True, but no column has that name"),
        (1.0, "label=1.0, but no column has that name"),
    ],
)
def test_a_label_that_is_not_there_is_refused_with_the_columns(tmp_path, label, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, PLAIN, label=label)


def test_a_name_in_two_cases_is_not_clear(tmp_path):
    table = columns(("A", A), ("a", B), ("label", C))
    np.testing.assert_array_equal(read(tmp_path, table, label="a").y, B)
    with pytest.raises(ValueError, match=r"no column has that name|2 columns have that name; give its number"):
        read(tmp_path, columns(("Ab", A), ("aB", B), ("label", C)), label="AB")


# ---------------------------------------------------------------------------------------------------------------- ids
IDS = {
    "index of pandas": ("", range(N), "no name"),
    "index read and written again": ("Unnamed: 0", RNG.permutation(N), "no name"),
    "index of a subset": ("", np.sort(RNG.permutation(900)[:N]), "no name"),
    "names of rows": ("", [f"Mazda {j}" for j in range(N)], "no name"),
    "count from 0": ("t", range(N), "whole numbers 0 to 23 in order"),
    "count from 1, as decimals": ("t", np.arange(1.0, N + 1), "whole numbers 1 to 24 in order"),
    "shuffled": ("ID", RNG.permutation(N), "says id"),
    "large numbers": ("patient_id", 90071992 + RNG.permutation(N) * 17, "says id"),
    "words": ("uuid", [f"{j:x}-{j * j:x}" for j in range(N)], "says id"),
    "camel": ("imageID", [f"img{j}.png" for j in range(N)], "says id"),
    "Titanic's": ("PassengerId", 1 + RNG.permutation(9 * N)[:N], "says id"),
    "a bank's": ("customerId", 15000000 + RNG.permutation(9 * N)[:N], "says id"),
    "in front": ("ID_code", [f"train_{j}" for j in range(N)], "says id"),
    "two words": ("Sample Name", [f"s{j}" for j in range(N)], "says id"),
    "physics": ("eventNumber", RNG.permutation(9 * N)[:N], "says id"),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_are_set_aside_with_a_line(tmp_path, kind):
    name, values, why = IDS[kind]
    source = read(tmp_path, columns((name, values), ("a", A), ("b", B), ("label", C)))
    assert_plain(source)
    assert any("set aside" in said and why in said for said in source.reading)
    if not isinstance(values, list):
        kept = read(tmp_path, columns((name, values), ("a", A), ("b", B), ("label", C)), keep_ids=True)
        np.testing.assert_array_equal(kept.X, np.column_stack([values, X]))
        assert not any("set aside" in said for said in kept.reading)


def test_a_count_without_names_is_set_aside(tmp_path):
    assert_plain(read(tmp_path, "\n".join(f"{j},{row}" for j, row in enumerate(ROWS))))
    shuffled = zip(RNG.permutation(N) + 1, ROWS, strict=True)
    source = read(tmp_path, "\n".join(f"{j},{row}" for j, row in shuffled))
    assert_plain(source)
    assert "set aside: column 0 (whole numbers 1 to 24, each once)" in source.reading


def test_what_may_be_an_id_is_named_where_it_stays(tmp_path):
    numbers = 800000 + RNG.permutation(9 * N)[:N]
    source = read(tmp_path, "\n".join(f"{j},{row}" for j, row in zip(numbers, ROWS, strict=True)))
    np.testing.assert_array_equal(source.X, np.column_stack([numbers, X]))
    assert "kept as a feature: column 0 (whole numbers, all different: an id?)" in source.reading


def test_every_level_of_an_index_of_pandas_is_set_aside(tmp_path):
    levels = [np.repeat(range(N // 4), 4), np.tile(["a", "b", "c", "d"], N // 4)]
    frame = pd.DataFrame({"a": A, "b": B, "label": C}, index=levels)
    for table in (frame.to_csv(), pd.read_csv(io.StringIO(frame.to_csv())).to_csv(index=False)):
        source = read(tmp_path, table)
        assert_plain(source)
        assert sum("set aside" in said for said in source.reading) == 2


def test_r_leaves_out_the_name_of_the_names_of_rows(tmp_path):
    rows = [f'"{j}" {row.replace(",", " ")}' for j, row in enumerate(ROWS, 1)]
    source = read(tmp_path, "\n".join(['"a" "b" "label"', *rows]), "table.txt")
    assert_plain(source)
    assert any("set aside: column 0" in said for said in source.reading)


NO_IDS = {
    "repeating": ("patient_id", np.arange(N) // 3 * 10),
    "decimals": ("index", A + 1.33),
    "constant": ("id", np.full(N, 7)),
    "a count with a gap": ("t", [*range(12), *range(13, N + 1)]),
    "shuffled under another name": ("rank", RNG.permutation(N)),
    "an ending that is not an id": ("paid", RNG.permutation(9 * N)[:N]),
    "letters of another word": ("Idle", RNG.permutation(9 * N)[:N]),
}


@pytest.mark.parametrize("kind", NO_IDS)
def test_what_is_no_id_stays_a_feature(tmp_path, kind):
    name, values = NO_IDS[kind]
    source = read(tmp_path, columns((name, values), ("a", A), ("b", B), ("label", C)))
    np.testing.assert_array_equal(source.X, np.column_stack([values, X]))
    assert not any("set aside" in said for said in source.reading)
    assert ("kept as a feature: column 'patient_id' (its values repeat)" in source.reading) == (kind == "repeating")


# ----------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize("missing", ["", "NA", "nan", "NaN", "?", "null", "-", "None", "N/A", "#N/A"])
@pytest.mark.parametrize("column", ["a", "label"])
def test_a_missing_value_is_refused_with_line_and_column(tmp_path, missing, column):
    row = f"{missing},1,0" if column == "a" else f"1,1,{missing}"
    with pytest.raises(ValueError, match=rf"table.csv: line 8, column '{column}': a value is missing"):
        read(tmp_path, "\n".join(["# ours", "a,b,label", "", *ROWS[:4], row, *ROWS[4:]]))


@pytest.mark.parametrize("infinite", ["inf", "-Inf", "Infinity", "1e999"])
def test_an_infinite_value_is_refused_with_line_and_column(tmp_path, infinite):
    with pytest.raises(ValueError, match=r"line 26, column 'b': a value is not finite"):
        read(tmp_path, PLAIN + f"1,{infinite},0\n")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,2", "line 26: 2 values, but 3 are needed"),
        ("1,2,3,4", "line 26: 4 values, but 3 are needed"),
        ("1,two,0", "line 26, column 'b': 'two' is not a number"),
        ("1,2,two", "line 26, column 'label': 'two' is not a number"),
        ('"1,234",2,0', "line 26, column 'a': '1,234' is not a plain number.*thousands"),
        ("1 234,2,0", "line 26, column 'a': '1 234' is not a plain number"),
        ("1,2,0 # bad", "line 26, column 'label': '0 # bad' is not a plain number.*notes"),
        ("1,50%,0", "line 26, column 'b': '50%' is not a plain number"),
        ("1,1.5D+03,0", "line 26, column 'b': '1.5D.03' is not a plain number"),
        ('1,"2,0', "line 26: quotes that do not match"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, PLAIN + row + "\n")


def test_a_column_of_words_is_refused_with_what_to_do(tmp_path):
    words = np.where(C > 0, "male", "female")
    with pytest.raises(ValueError, match=r"line 2, column 'sex'.*(one column of 0 and 1 for each word)"):
        read(tmp_path, columns(("a", A), ("sex", words), ("label", C)))


def test_a_number_among_words_is_refused(tmp_path):
    words = ["3", *np.where(C > 0, "cat", "dog")[1:]]
    with pytest.raises(ValueError, match=r"line 2, column 'label': '3' is a number among words"):
        read(tmp_path, columns(("a", A), ("b", B), ("label", words)))


def test_true_and_false_are_features_and_said(tmp_path):
    source = read(tmp_path, columns(("a", A), ("smokes", np.where(B > 0, "TRUE", "false")), ("label", C)))
    np.testing.assert_array_equal(source.X, np.column_stack([A, B > 0]))
    assert "true and false read as 1 and 0: column 'smokes'" in source.reading


def test_decimals_or_thousands_nobody_knows(tmp_path):
    numbers = [f"{j},{100 + 7 * j}" for j in range(1, N + 1)]
    content = "\n".join(f"{one};{two};{c}" for one, two, c in zip(numbers, reversed(numbers), C, strict=True))
    with pytest.raises(ValueError, match="decimals or thousands"):
        read(tmp_path, content)
    source = read(tmp_path, content.replace("1,107", "0,107"))
    np.testing.assert_array_equal(source.X[:2], [[0.107, 24.268], [2.114, 23.261]])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_german_number_of_1234_among_smaller_ones_is_not_1_234(tmp_path, separator):
    counts = [950 + 7 * j for j in range(N)]
    german = [f"{count:,}".replace(",", ".") for count in counts]
    rows = [f"{one}{separator}{int(10 * a)}{separator}{c}" for one, a, c in zip(german, A, C, strict=True)]
    with pytest.raises(ValueError, match=r"1\.006 can have decimals or thousands; write 1\.0060 or 1006"):
        read(tmp_path, "\n".join(rows))
    decimals = [row.replace(f"{separator}{int(10 * a)}", f"{separator}{a:.2f}") for row, a in zip(rows, A, strict=True)]
    np.testing.assert_array_equal(read(tmp_path, "\n".join(decimals)).X[:, 0], [float(one) for one in german])


@pytest.mark.parametrize("unit", ["%", " %", " €"])
def test_units_behind_decimal_commas_are_named(tmp_path, unit):
    rows = [f"{a:.2f}{unit};{b:.2f}{unit};{c}".replace(".", ",") for a, b, c in zip(A, B, C, strict=True)]
    with pytest.raises(ValueError, match=r"line 2, column 'a': .* is not a plain number.*units.*a decimal comma"):
        read(tmp_path, "\n".join(["a;b;label", *rows]))


def test_the_minus_sign_of_typography_is_a_minus(tmp_path):
    labels = np.where(np.arange(N) % 3, -1, 1)
    table = columns(("a", A), ("b", B), ("label", labels)).replace("-", "\u2212").replace("e\u2212", "e-")
    source = read(tmp_path, table)
    np.testing.assert_array_equal(source.X, X)
    np.testing.assert_array_equal(source.y, labels)
    assert f"minus signs of typography read as -: {table.count(chr(0x2212))}" in source.reading


def test_comments_that_look_like_rows_are_told(tmp_path):
    source = read(
        tmp_path, "% from, the, lab\n" + PLAIN.replace(ROWS[2], f"# {ROWS[2]}").replace(ROWS[5], f"%{ROWS[5]}")
    )
    np.testing.assert_array_equal(source.X, np.delete(X, [2, 5], axis=0))
    assert "comments with as many values as a row: 2 (line 5, 8)" in source.reading
    assert not any("as a row" in said for said in read(tmp_path, "# from, the, lab\n" + PLAIN).reading)


@pytest.mark.parametrize("above", ["Made by\tus", "Made\tby\tus\ttoday", "one part\tanother\n@data\t"])
@pytest.mark.parametrize("names", ["a\tb\tlabel\n", ""])
def test_lines_above_a_table_are_refused_with_what_to_do(tmp_path, above, names):
    rows = "\n".join(ROWS).replace(",", "\t")
    count = above.partition("\n")[0].count("\t") + 1
    with pytest.raises(ValueError, match=rf"but {count} are needed, for the {count} names in line 1.* a # before them"):
        read(tmp_path, f"{above}\n{names}{rows}")


def test_names_with_blanks_between_values_with_blanks_are_refused(tmp_path):
    table = PLAIN.replace(",", " ").replace("a b", "long_a b c", 1)
    with pytest.raises(ValueError, match=r"line 2: 3 values, but 4 are needed, for the 4 names in line 1.*quotes"):
        read(tmp_path, table.replace(f"{ROWS[0].replace(',', ' ')}\n", f"{ROWS[1].replace(',', ' ')}\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no data"),
        (b"\n \n", "holds no data"),
        (b"# a,b,label\n", "holds no data"),
        (b"a,b,label\n", "holds no data below the names"),
        (b"1\n2\n", "no two columns"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not a text file"),
        (b"PK\x03\x04 a workbook", "not a text file"),
        (b"<!DOCTYPE html><p>1,2,3</p>", "web page"),
        (b"PAR1 and no more", "not a readable Parquet file"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:90], "not a readable gzip file"),
        (lzma.compress(PLAIN.encode())[:90], "not a readable xz file"),
        (b"BZh9 and no more", "not a readable bzip2 file"),
        (b"\xff\xfe1\x00,", "begins as utf-16 text, but is not"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"table.csv: .*{message}"):
        read(tmp_path, content)


# ---------------------------------------------------------------------------------------------------- as people write
@pytest.mark.parametrize("seed", range(60))
def test_a_table_of_the_generator_is_read_as_it_was_meant_or_refused_in_one_line(tmp_path, seed):
    table = written(seed)
    if table.refused:
        with pytest.raises(ValueError, match=table.refused) as refusal:
            read(tmp_path, table.content, table.name, **table.options)
        assert "\n" not in str(refusal.value)
    else:
        source = read(tmp_path, table.content, table.name, **table.options)
        np.testing.assert_array_equal(source.X, table.X)
        np.testing.assert_array_equal(source.y, table.y)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_more_columns_than_a_table_has_are_refused_before_they_are_parsed(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("ntkspec.datasets.tables.reader._MOST_COLUMNS", 5)
    path = tmp_path / f"wide.{kind}"
    frame = pd.DataFrame({f"c{k}": [k / 2, 1.5, 2.5] for k in range(5)} | {"label": [0, 1, 0]})
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    with pytest.raises(ValueError, match="about 6 columns, but tables are read up to 5"):
        read_table(path)
    narrow = frame.drop(columns="c0")
    narrow.to_csv(path, index=False) if kind == "csv" else narrow.to_parquet(path)
    assert read_table(path).X.shape == (3, 4)
