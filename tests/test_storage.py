import os
import tempfile
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ntkspec import storage
from ntkspec.storage.sealed import seal


@dataclass(frozen=True)
class Inner:
    value: float
    array: np.ndarray


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner | None
    inners: list[Inner]
    pair: tuple


@dataclass(frozen=True)
class Renamed:
    value: float

    stored_as = "Inner"


def same(a, b) -> bool:
    """Equal in type, order and value; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if is_dataclass(a):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b or (a != a and b != b)


def back(path, tree, types=(Inner, Outer)):
    storage.write(path, tree, kind="test")
    return storage.read(path, kind="test", types=types)


LEAVES = {
    "none": None,
    "true": True,
    "false": False,
    "int": -3,
    "large int": 2**63 - 1,
    "float": 0.1,
    "NaN": float("nan"),
    "inf": float("-inf"),
    "text": "Σ ‖x‖² ≥ 0\nsecond line",
    "empty text": "",
    "doubles": np.linspace(0, 1, 7),
    "floats": np.ones((2, 3), dtype=np.float32),
    "ints": np.arange(5),
    "bytes": np.arange(5, dtype=np.uint8),
    "bools": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "compressed": np.arange(5000.0).reshape(50, 100),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "no entries": np.zeros(0),
    "no rows": np.zeros((0, 3), dtype=np.float32),
    "no columns": np.zeros((4, 0)),
    "no dimensions": np.array(2.5),
}


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
def test_every_leaf_is_read_back_as_it_was(tmp_path, leaf):
    assert same(back(tmp_path / "a.h5", leaf), leaf)
    assert same(back(tmp_path / "a.h5", {"deep": [(leaf, leaf)]}), {"deep": [(leaf, leaf)]})


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [(np.float64(0.1), 0.1), (np.float32(0.5), 0.5), (np.int64(7), 7), (np.bool_(True), True), (np.str_("a"), "a")],
)
def test_numpy_scalars_are_read_back_as_numbers(tmp_path, scalar, expected):
    assert same(back(tmp_path / "a.h5", [scalar]), [expected])


@pytest.mark.parametrize(
    "tree",
    [
        {},
        [],
        (),
        {"a": {}, "b": [], "c": ()},
        {"z": 1, "a": 2, "m": {"z": 1, "a": 2}},
        {"with space": 1, "with.dot": 2, "Σ": 3, "train-linear": 4},
        [[[[]]], ({},), None],
        list(range(25)),
        {str(k): k for k in range(25, 0, -1)},
        Inner(1.5, np.arange(3)),
        Outer("x", None, [], ()),
        Outer("x", Inner(0.0, np.zeros(0)), [Inner(float(k), np.full(k, k)) for k in range(12)], (1, "a", None)),
        {"found": [Outer("x", None, [], (Inner(1.0, np.ones(2)),))]},
    ],
)
def test_trees_are_read_back_in_type_order_and_value(tmp_path, tree):
    assert same(back(tmp_path / "a.h5", tree), tree)


def test_same_tells_trees_apart():
    trees = [None, 0, 0.0, False, "", "0", [], (), {}, np.zeros(0), np.zeros(1), np.zeros(1, np.float32), [0], (0,)]
    trees += [{"a": 0, "b": 0}, {"b": 0, "a": 0}, Inner(0.0, np.zeros(1)), Inner(0.0, np.ones(1)), float("nan")]
    assert all(same(a, b) == (i == j) for i, a in enumerate(trees) for j, b in enumerate(trees))


KEYS = st.text(st.characters(exclude_characters="/", exclude_categories=("C",)), min_size=1).filter(
    lambda key: key.strip(".")  # "." and "/" are path syntax of HDF5
)
NUMBERS = st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_, np.complex128])
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=("Cs", "Cc")))
    | arrays.arrays(NUMBERS, arrays.array_shapes(max_dims=3, max_side=4, min_side=0)),
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.builds(Inner, inner, inner)
    ),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(TREES)
def test_random_trees_are_read_back(tree):
    with tempfile.TemporaryDirectory() as folder:
        assert same(back(Path(folder) / "a.h5", tree), tree)


# ------------------------------------------------------------------------------------------------- whole or not there
UNSTORABLE = {"good": np.arange(10.0), "bad": {1, 2}}


def test_what_cannot_be_stored_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(TypeError, match="bad is of type set"):
        storage.write(tmp_path / "a.h5", UNSTORABLE, kind="test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_stops_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    path = tmp_path / "a.h5"
    storage.write(path, {"old": 1}, kind="test")

    def stop(*arguments):
        raise error

    monkeypatch.setattr(storage.places.os, "replace", stop)
    with pytest.raises(type(error)):
        storage.write(path, {"new": 2}, kind="test")
    assert list(tmp_path.iterdir()) == [path]
    assert storage.read(path, kind="test") == {"old": 1}


def test_a_tree_that_cannot_be_stored_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    storage.write(path, {"old": 1}, kind="test")
    with pytest.raises(TypeError):
        storage.write(path, UNSTORABLE, kind="test")
    assert list(tmp_path.iterdir()) == [path]
    assert storage.read(path, kind="test") == {"old": 1}


def test_a_file_is_replaced_as_a_whole(tmp_path):
    assert back(tmp_path / "a.h5", {"old": 1, "both": 1}) == {"old": 1, "both": 1}
    assert back(tmp_path / "a.h5", {"both": 2}) == {"both": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_the_final_name_is_absent_while_writing_and_whole_afterwards(tmp_path):
    path = tmp_path / "a.txt"
    with storage.atomic_path(path) as temporary:
        temporary.write_text("content")
        assert not path.exists()
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
    assert path.read_text() == "content"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        storage.write(tmp_path / "absent" / "a.h5", {}, kind="test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        storage.write(tmp_path / "a.h5", {}, kind="test")
        after = os.umask(mask)
    finally:
        os.umask(before)
    assert after == mask
    assert (tmp_path / "a.h5").stat().st_mode & 0o777 == mode


# ------------------------------------------------------------------------------------------------------ what is refused
def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.h5 does not exist"):
        storage.read(tmp_path / "absent.h5", kind="test")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        storage.read(tmp_path, kind="test")


def test_another_kind_is_refused(tmp_path):
    storage.write(tmp_path / "a.h5", {}, kind="other")
    with pytest.raises(ValueError, match=r"a.h5 is not an ntkspec file of kind 'test'"):
        storage.read(tmp_path / "a.h5", kind="test")


def test_a_foreign_hdf5_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"a.h5 is not an ntkspec file of kind 'test'"):
        storage.read(tmp_path / "a.h5", kind="test")


def test_a_newer_format_is_refused_with_both_versions(tmp_path):
    storage.write(tmp_path / "a.h5", {}, kind="test")
    newer = storage.FORMAT_VERSION + 1
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["ntkspec_format"] = newer
    seal(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=rf"a.h5 has format {newer}, .* up to {storage.FORMAT_VERSION}; upgrade"):
        storage.read(tmp_path / "a.h5", kind="test")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_damaged(tmp_path, part):
    path = tmp_path / "a.h5"
    storage.write(path, {"noise": np.random.default_rng(0).standard_normal(3000)}, kind="test")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=r"a.h5 is damaged"):
        storage.read(path, kind="test")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_not_hdf5_is_damaged(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.h5 is damaged"):
        storage.read(tmp_path / "a.h5", kind="test")


def test_a_file_without_its_record_is_damaged(tmp_path):
    storage.write(tmp_path / "a.h5", {"a": 1}, kind="test")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["record"]
    seal(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"a.h5 is damaged"):
        storage.read(tmp_path / "a.h5", kind="test")


def test_an_unknown_dataclass_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"'Inner'.*known are \['Outer'\]"):
        back(tmp_path / "a.h5", [Inner(1.0, np.ones(2))], types=[Outer])


def test_a_dataclass_whose_fields_changed_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Changed:
        value: float
        other: float

    Changed.__name__ = "Inner"
    with pytest.raises(ValueError, match="Inner"):
        back(tmp_path / "a.h5", Inner(1.0, np.ones(2)), types=[Changed])


@pytest.mark.parametrize(
    "leaf",
    [
        np.longdouble(1),
        np.zeros(3, [("a", float)]),
        np.array([b"a"], "V1"),
        np.ma.array([1.0, 2.0], mask=[False, True]),
        IntEnum("Number", "ONE").ONE,
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, leaf):
    with pytest.raises(TypeError, match=r"leaf is of type .*, which cannot be stored"):
        storage.write(tmp_path / "a.h5", {"leaf": leaf}, kind="test")
    assert not list(tmp_path.iterdir())


def test_a_tree_without_end_is_not_written(tmp_path):
    """What an interpreter's stack holds differs from one version to the next; the rule does not."""
    shallow = deep = 0.0
    for _ in range(90):
        shallow = {"a": shallow}
    for _ in range(110):
        deep = [deep]
    storage.write(tmp_path / "a.h5", shallow, kind="test")
    assert storage.read(tmp_path / "a.h5", kind="test") == shallow
    with pytest.raises(ValueError, match="more than 100 groups deep"):
        storage.write(tmp_path / "b.h5", deep, kind="test")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("key", ["", ".", "a/b", "a\0b"])
def test_keys_that_hdf5_would_change_are_refused(tmp_path, key):
    with pytest.raises(TypeError, match="has the key"):
        storage.write(tmp_path / "a.h5", {key: 1}, kind="test")


def test_a_dataclass_that_was_renamed_keeps_its_name_in_files(tmp_path):
    storage.write(tmp_path / "a.h5", Renamed(1.5), kind="test")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["record"].attrs["type"] == "Inner"
    assert storage.read(tmp_path / "a.h5", kind="test", types=[Renamed]) == Renamed(1.5)
