"""HDF5 files of other programs: what is read, what is refused, and what stays outside."""

import fcntl
import os
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import damaged_arrays
from ntkspec import datasets, storage
from ntkspec.guarded import parts

RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 3))


def test_arrays_are_found_in_groups_and_behind_links_within_the_file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["X"], file["words"], file["group/y"] = np.arange(3.0), ["a", "bäh"], 1.0
        file["group/again"], file["group/circle"] = h5py.SoftLink("/X"), h5py.SoftLink("/group")
        file["group/up"], file["round"] = h5py.SoftLink("again"), h5py.SoftLink("/round")
        file["nothing"], file["elsewhere"] = h5py.SoftLink("/absent"), h5py.ExternalLink("absent.h5", "X")
    with storage.open_arrays(path) as arrays:
        found = ["X", "elsewhere", "group/again", "group/up", "group/y", "nothing", "round", "words"]
        assert arrays.names == found
        for name in ("X", "group/again", "group/up"):
            np.testing.assert_array_equal(arrays.read(name), np.arange(3.0))
        assert list(arrays.read("words")) == ["a", "bäh"]
        assert arrays.read("group/y") == 1.0


def kinds_of_arrays(file) -> dict:
    """Arrays of every layout and kind, by name."""
    table = np.zeros((40, 2), dtype=[("a", ">f8"), ("b", "S3"), ("c", "u2", (3,))])
    table["a"], table["b"], table["c"] = X[:, :2], b"no", np.arange(3)
    kept = {
        "big endian": X.astype(">f4"),
        "half": X.astype("f2"),
        "wide": X.astype(np.longdouble),
        "complex": X + 1j,
        "truth": X > 0,
        "table": table,
        "nothing": np.zeros((0, 3)),
        "cube": RNG.integers(0, 255, (7, 5, 3), dtype=np.uint8),
    }
    for name, array in kept.items():
        file[name] = array
    for name, options in {"gzip": {"compression": 9, "shuffle": True}, "lzf": {"compression": "lzf"}}.items():
        kept[name] = np.repeat(X, 30, axis=0)
        file.create_dataset(name, data=kept[name], chunks=(7, 2), fletcher32=True, **options)
    layout = h5py.VirtualLayout((80, 3), ">f4")
    layout[:40] = layout[40:] = h5py.VirtualSource(file["big endian"])
    file.create_virtual_dataset("virtual", layout)
    return kept | {"virtual": np.concatenate([kept["big endian"]] * 2).astype(">f4")}


def test_every_layout_and_kind_comes_bit_for_bit_in_parts_of_any_size(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        kept = kinds_of_arrays(file)
    with storage.open_arrays(path) as arrays:
        assert arrays.names == sorted(kept)
        for name, array in kept.items():
            found = arrays.read(name)
            assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes()), name
    monkeypatch.setattr(parts, "BLOCK", 1)
    monkeypatch.setattr(sys, "executable", "")  # as where Python runs within another program
    with storage.open_arrays(path) as arrays:
        for name, array in kept.items():
            assert arrays.read(name).tobytes() == array.tobytes(), name


def test_a_table_with_words_of_any_length_has_them_in_one_length(tmp_path):
    table = np.array([(1.5, "cat"), (2.5, "hörse")], dtype=[("a", "f8"), ("label", h5py.string_dtype())])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rows"] = table
    with storage.open_arrays(tmp_path / "a.h5") as arrays:
        found = arrays.read("rows")
    np.testing.assert_array_equal(found["a"], [1.5, 2.5])
    assert [word.decode() for word in found["label"]] == ["cat", "hörse"]


# ------------------------------------------------------------------------------------------------------------- refusals
def refusals(file, other: Path) -> dict:
    """Makes arrays that are refused; why, by name."""
    with h5py.File(other, "w") as source:
        source["X"] = X
    (other.parent / "bytes").write_bytes(b"secret" * 8)
    file["X"], file["kind"], file["inner/y"] = X, np.dtype("f8"), 1.0
    file["empty"], file["nothing"], file["round"] = h5py.Empty("f8"), h5py.SoftLink("/absent"), h5py.SoftLink("round")
    file["elsewhere"], file["through"] = h5py.ExternalLink(other.name, "X"), h5py.SoftLink("/folder/X")
    file["folder"] = h5py.ExternalLink(other.name, "/")
    file.create_dataset("bytes", (48,), "u1", external=[(str(other.parent / "bytes"), 0, 48)])
    sources = {"part": (".", "X"), "apart": (other.name, "X"), "hidden": (".", "bytes")}
    for name, source in (sources | {"chain": (".", "elsewhere"), "twice": (".", "part")}).items():
        layout = h5py.VirtualLayout((50, 3), "f8")
        layout[:40] = h5py.VirtualSource(*source, (40, 3))
        file.create_virtual_dataset(name, layout)
    file["references"] = np.array([file["X"].ref], dtype=h5py.ref_dtype)
    file.create_dataset("lists", (3,), h5py.vlen_dtype("f8"))
    file["opaque"], file["nested"] = np.array([b"abc"], "V3"), np.zeros(3, [("a", [("b", "f8")])])
    file.create_dataset("unwritten", (10**6, 300), "f8")
    file.create_dataset("unwritten chunks", (10**6, 300), "f8", chunks=(100, 300), compression="gzip")[:100] = 1
    file.create_dataset("a chunk too large", (2, 2), "f8", maxshape=(None, 2), chunks=(10**8, 2), compression="gzip")
    return {
        "empty": "an empty data set",
        "absent": "is not there",
        "nothing": "is a link to nothing",
        "round": "is a link to nothing: it leads back to itself",
        "inner": "is a group, not an array",
        "kind": "is a group, not an array",
        "elsewhere": "is a link to 'X' in 'other.h5', which is not followed; copy",
        "through": "is a link to '/' in 'other.h5', which is not followed; copy",
        "bytes": "keeps its numbers in another file, '.*bytes', which is not read; copy",
        "apart": r"is put together from other files \('other.h5'\), which are not read; copy",
        "hidden": "keeps its numbers in another file, '.*bytes', which is not read",
        "chain": "is a link to 'X' in 'other.h5', which is not followed",
        "twice": "is put together from 'part', which is no plain array",
        "part": "has 150 entries, but 120 of them have a source; the others would be zeros",
        "references": "holds references",
        "lists": "holds references, lists",
        "opaque": "opaque",
        "nested": "holds compounds in compounds",
        "unwritten": r"has the shape \(1000000, 300\) \(2.4 GB\), but 0 bytes of it are stored",
        "unwritten chunks": r"\(2.4 GB\), .* parts of it were never written, and would be read as zeros",
        "a chunk too large": "but 0 bytes of it are stored: parts of it were never written",
    }


def test_what_lies_elsewhere_or_nowhere_or_is_neither_numbers_nor_words_is_refused_by_name(tmp_path):
    """Files that are put together from others were read before; now they are not, since a name can be any file's."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        reasons = refusals(file, tmp_path / "other.h5")
    with storage.open_arrays(path) as arrays:
        assert {"elsewhere", "bytes", "apart", "unwritten"} <= set(arrays.names)
        for name, reason in reasons.items():
            with pytest.raises(ValueError, match=rf"^{name} of .*a.h5 .*{reason}"):
                arrays.read(name)
        np.testing.assert_array_equal(arrays.read("X"), X)


def test_bytes_of_another_file_reach_no_data_set(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (20, 5), "u1", external=[("/etc/passwd", 0, 100)])
        file["y"] = np.arange(20.0)
    with pytest.raises(ValueError, match=r"^X of .*a.h5 keeps its numbers in another file, '/etc/passwd'"):
        datasets.load(path)


def test_links_that_multiply_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file
        for _ in range(40):  # 2^40 ways to the last one
            group["b"] = group.create_group("a")
            group = group["a"]
    with pytest.raises(ValueError, match=r"a.h5 holds more than 10000 arrays and groups"):
        datasets.load(tmp_path / "a.h5")


def test_an_array_larger_than_the_free_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    damaged_arrays.save_hdf5(tmp_path / "a.h5", X=X, y=X[:, 0])
    monkeypatch.setattr(storage.arrays.engines.engine_of(), "free_memory", lambda: 900)
    with pytest.raises(ValueError, match=r"X of .*a.h5 needs 0.0 GB, but 0.0 GB are free"):
        datasets.load(tmp_path / "a.h5")


def test_a_file_that_another_process_writes_is_in_use_not_damaged(tmp_path):
    path = tmp_path / "a.h5"
    damaged_arrays.save_hdf5(path, X=X, y=X[:, 0])
    handle = os.open(path, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(ValueError, match=r"a.h5 is in use by another process, which writes it; wait for it"):
            datasets.load(path)
    finally:
        os.close(handle)
    assert len(datasets.load(path).X) == 36


# --------------------------------------------------------------------------------------------------------- the process
def stand_in(tmp_path, monkeypatch, code: str):
    """A process that reads in place of the real one."""
    script = tmp_path / "stand_in.py"
    script.write_text(f"import os, resource, signal, sys\n{code}\n")
    monkeypatch.setattr(storage.arrays, "READER", (str(script),))
    return storage.open_arrays(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"the HDF5 library crashed on it \(signal 11\)"),
        ("resource.setrlimit(resource.RLIMIT_CPU, (1, 9))\nwhile True: pass", "the HDF5 library computes without end"),
        ("sys.exit(3)", "exit code 3"),
    ],
)
def test_the_end_of_the_process_is_the_error_of_the_file(tmp_path, monkeypatch, code, reason):
    reader = stand_in(tmp_path, monkeypatch, code)
    with pytest.raises(ValueError, match=rf"a.h5 is not a readable HDF5 file: .*{reason}"), reader:
        pass


def test_a_process_that_dies_within_an_array_gives_none(tmp_path, monkeypatch):
    answers = (
        '{"names": ["X"]}',
        '{"memory": 32}',
        '{"shape": [4], "dtype": "<f8", "largest": 32, "text": false}',
        '{"bytes": 32}',
        "12345678",
    )
    code = f"sys.stdout.write({chr(10).join(answers)!r})\nsys.stdout.flush()\nos.kill(os.getpid(), signal.SIGSEGV)"
    with stand_in(tmp_path, monkeypatch, code) as arrays, pytest.raises(ValueError, match="the HDF5 library crashed"):
        arrays.read("X")


# -------------------------------------------------------------------------------------------------------------- damage
def outcome(path: Path) -> str:
    """ "read", or the refusal; any other error passes through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            datasets.load(path, label="label" if "rows" in path.name else 0 if path.suffix == ".npy" else None)
        except (ValueError, FileNotFoundError) as error:
            return str(error)
    return "read"


@pytest.mark.parametrize(
    "ending", [".npz", ".npy", *(pytest.param(ending, marks=pytest.mark.slow) for ending in (".mat", ".h5"))]
)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, ending):
    """Of 400 files, of which those of HDF5 and MATLAB take a process each."""
    refused = 0
    for name, content in damaged_arrays.damaged(400):
        if name.endswith(ending):
            path = tmp_path / name
            path.write_bytes(content)
            said = outcome(path)
            assert said == "read" or (name in said and "\n" not in said)
            refused += said != "read"
    assert refused > 5


@pytest.mark.parametrize(
    "name",  # one takes the five seconds after which the process that reads is stopped; test_sealed has another such
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "words without a size" else [])
        for name in damaged_arrays.crafted_hdf5()
    ],
)
def test_damage_on_which_the_library_hangs_crashes_or_takes_all_memory_is_one_line(tmp_path, name):
    path = tmp_path / "a.h5"
    path.write_bytes(damaged_arrays.crafted_hdf5()[name])
    assert outcome(path).startswith(("X of ", "y of ", str(path)))


def test_a_sparse_matrix_on_which_scipy_crashes_is_one_line(tmp_path):
    content = bytearray(damaged_arrays.whole()["sparse-plain.mat"])
    content[344] = 41  # of where its columns begin
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.mat is not a readable .mat file: SciPy crashed on it \(signal 11\)"):
        datasets.load(tmp_path / "a.mat")
