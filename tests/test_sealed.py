"""Files prove themselves: every bit that changed is found, and older files, which prove nothing, hurt nobody."""

import fcntl
import hashlib
import io
import os
import tempfile
import time
import tracemalloc
import warnings
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkspec import storage
from ntkspec.storage import trees
from ntkspec.storage.hdf5 import FORMAT_VERSION, begun, unwritten
from ntkspec.storage.sealed import USER_BLOCK, check_seal, seal
from ntkspec.storage.sparse import Sparse

TREE = {"name": "run", "steps": np.arange(7), "pair": (1, 2.5), "noise": np.arange(5000.0), "none": None, "yes": True}
NO_SEAL = "carries no checksum: it was written by an older version"


def sealed(path, content: bytes, except_for=()):
    path.write_bytes(bytes(USER_BLOCK) + content)
    seal(path, except_for)
    return path


def older(path, tree=TREE, kind="test"):
    """A file as versions without a seal wrote it."""
    with h5py.File(path, "w") as file:
        file.attrs["ntkspec_format"], file.attrs["kind"] = FORMAT_VERSION, kind
        trees._write_node(file, "record", tree, [])
    return path


def read_older(path):
    with pytest.warns(RuntimeWarning, match=NO_SEAL) as said:
        found = storage.read(path, kind="test")
    assert said[0].filename == __file__
    return found


# --------------------------------------------------------------------------------------------------------------- seals
def test_the_seal_is_text_with_a_digest_of_all_that_follows(tmp_path):
    content = b"twenty bytes of text"
    block = sealed(tmp_path / "a", content, [(515, 4)]).read_bytes()[:USER_BLOCK]
    text = b"ntkspec seal 1: 532 bytes, except 515+4, blake2b "
    digest = hashlib.blake2b(text + content[:3] + content[7:], digest_size=32).hexdigest()
    assert block == (text + digest.encode() + b"\n").ljust(USER_BLOCK)


@pytest.mark.parametrize("except_for", [[], [(520, 20), (560, 8)]])
def test_every_flipped_bit_is_found_but_those_that_are_excepted(tmp_path, except_for):
    path = sealed(tmp_path / "a", _random().bytes(80) + bytes(20), except_for)
    excepted = {byte for offset, length in except_for for byte in range(offset, offset + length)}
    content = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for byte, value in enumerate(content):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([value ^ 1 << bit]), byte)
                if byte in excepted:
                    assert check_seal(path)
                else:
                    with pytest.raises(ValueError, match="a is damaged"):
                        check_seal(path)
            os.pwrite(file.fileno(), bytes([value]), byte)
    assert check_seal(path)


def test_every_cut_and_every_addition_is_found(tmp_path):
    path = sealed(tmp_path / "a", b"some content, and zeros" + bytes(20), [(540, 10)])
    content = path.read_bytes()
    for size in [*range(len(content)), len(content) + 1]:
        path.write_bytes(content[:size].ljust(size, b"\0"))
        with pytest.raises(ValueError, match="a is damaged"):
            check_seal(path)


@pytest.mark.parametrize("wrong", [[(511, 4)], [(530, 20)], [(520, 5), (524, 2)], [(520, -1)], [(600, 0)]])
def test_ranges_lie_within_the_file_apart_and_ascending(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"the range .* is not within the bytes from 5\d\d to 540"):
        sealed(tmp_path / "a", bytes(28), wrong)
    with pytest.raises(ValueError, match="room for about 10 ranges, not for 90"):
        sealed(tmp_path / "a", bytes(200), [(520 + 2 * k, 1) for k in range(90)])


def test_a_file_is_sealed_in_pieces_as_in_one(tmp_path):
    content = _random().bytes(5 * 2**20 + 3)
    path = sealed(tmp_path / "a", content, [(2**20, 2**21 + 1)])
    assert check_seal(path)
    for byte in (USER_BLOCK, 2**20 - 1, 3 * 2**20 + 1, 2**22, len(content) + USER_BLOCK - 1):
        with path.open("r+b", buffering=0) as file:
            found = os.pread(file.fileno(), 1, byte)
            os.pwrite(file.fileno(), bytes([found[0] ^ 1]), byte)
            with pytest.raises(ValueError, match="does not match"):
                check_seal(path)
            os.pwrite(file.fileno(), found, byte)


# ------------------------------------------------------------------------------------------------------- files of trees
def test_other_programs_read_a_sealed_file(tmp_path):
    storage.write(tmp_path / "a.h5", TREE, kind="test")
    assert check_seal(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file.userblock_size, file.attrs["kind"]) == (USER_BLOCK, "test")
        np.testing.assert_array_equal(file["record/noise"], TREE["noise"])


def test_no_damaged_byte_of_a_record_is_read(tmp_path):
    path, random = tmp_path / "a.h5", _random()
    storage.write(path, {"eta": 0.25, "words": "erf", "weights": np.arange(4.0)}, kind="test")
    content = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for byte in range(0, len(content), 3):
            os.pwrite(file.fileno(), bytes([content[byte] ^ 1 << random.integers(8)]), byte)
            with pytest.raises(ValueError, match=r"a.h5 is damaged"):
                storage.read(path, kind="test")
            os.pwrite(file.fileno(), content[byte : byte + 1], byte)
    assert storage.read(path, kind="test")["eta"] == 0.25


def test_what_is_left_to_a_map_takes_no_memory_and_has_its_place(tmp_path):
    """Between others, too."""
    tracemalloc.start()
    with begun(tmp_path / "a.h5", "test") as file:
        file["first"] = np.arange(3)
        offset = unwritten(file, "later", (2**30,), np.dtype("u1")).id.get_offset()
        file["last"] = np.arange(10**5)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**23
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["last"], np.arange(10**5))
        assert not file["later"][-9:].any()
    assert (tmp_path / "a.h5").stat().st_size >= offset + 2**30
    assert (tmp_path / "a.h5").stat().st_blocks * 512 < 2**20
    with pytest.raises(ValueError, match=r"a.h5 is damaged: it begins with neither"):
        check_seal(tmp_path / "a.h5")
    seal(tmp_path / "a.h5", [(offset, 2**30)])
    assert check_seal(tmp_path / "a.h5")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "readinto", "truncate"]), st.integers(0, 3 * 2**16), st.integers(0, 2**17)),
        max_size=12,
    )
)
def test_a_file_with_holes_is_like_any_other(calls):
    """Against Python's own file in memory, which ours is not shorter than."""
    ours, theirs, random = Sparse(), io.BytesIO(), _random()
    for name, place, count in calls:
        content = random.bytes(count)
        if name == "truncate":
            theirs.write(bytes(max(0, place - theirs.seek(0, io.SEEK_END))))
            ours.truncate(place)
            continue
        assert ours.seek(place) == theirs.seek(place)
        found = [bytearray(content), bytearray(content)]
        counts = [getattr(file, name)(one) for file, one in zip((ours, theirs), found, strict=True)]
        assert counts[0] == counts[1]
        assert found[0] == found[1]
        assert ours.tell() == theirs.tell()
    with tempfile.TemporaryFile() as copied:
        ours.copy_to(copied, len(theirs.getvalue()))
        copied.seek(0)
        assert copied.read() == theirs.getvalue()


def test_a_file_that_is_written_is_in_use_and_not_damaged(tmp_path):
    storage.write(tmp_path / "a.h5", TREE, kind="test")
    with h5py.File(tmp_path / "a.h5", "a"), pytest.raises(ValueError, match=r"a.h5 is in use by another process"):
        storage.read(tmp_path / "a.h5", kind="test")
    assert storage.read(tmp_path / "a.h5", kind="test")["pair"] == (1, 2.5)


def test_disks_without_locks_are_read(tmp_path, monkeypatch):
    def unable(handle, how):
        raise OSError(37, "No locks available")

    storage.write(tmp_path / "a.h5", TREE, kind="test")
    monkeypatch.setattr(fcntl, "flock", unable)
    assert storage.read(tmp_path / "a.h5", kind="test")["pair"] == (1, 2.5)


# ---------------------------------------------------------------------------------------------------------- older files
def test_older_files_are_read_with_one_warning(tmp_path):
    found = read_older(older(tmp_path / "a.h5"))
    assert list(found) == list(TREE)
    np.testing.assert_array_equal(found["noise"], TREE["noise"])
    assert (found["pair"], found["none"], found["yes"], found["name"]) == ((1, 2.5), None, True, "run")


def test_a_foreign_file_is_no_older_one(tmp_path):
    older(tmp_path / "a.h5", kind="other")
    with pytest.raises(ValueError, match=r"a.h5 is not an ntkspec file of kind 'test'"):
        storage.read(tmp_path / "a.h5", kind="test")


def _bomb(record):
    """Forty groups, each twice in the one before: 2^40 ways."""
    for k in range(40):
        below = record.create_group(f"{k}")
        below.attrs["type"] = "dict"
        record[f"{k} again"] = below
        record = below


def _deep(record):
    for _ in range(500):
        record = record.create_group("a")
        record.attrs["type"] = "dict"


def _huge(record):
    record.create_dataset("huge", (2**40,), "f8").attrs["type"] = "array"


def _huge_number(record):
    record.create_dataset("huge", (2**40,), "f8", chunks=(2**20,), compression="gzip").attrs["type"] = "float"


def _huge_piece(record):
    record.create_dataset("huge", (4,), "f8", maxshape=(None,), chunks=(2**28,)).attrs["type"] = "array"


def _unfolding(record):
    """Zeros that were deflated four times: a few bytes for 4 GB."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_chunk((2**29,))
    packed = bytes(2**22)
    for _ in range(4):
        how.set_deflate(9)
        packed = zlib.compress(packed, 9)
    data = h5py.h5d.create(record.id, b"bomb", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((2**29,)), how)
    data.write_direct_chunk((0,), packed)
    h5py.Dataset(data).attrs["type"] = "array"


def _external(record):
    record.create_dataset("elsewhere", (5,), "u1", external=[("/etc/hostname", 0, 5)]).attrs["type"] = "array"


def _virtual(record):
    layout = h5py.VirtualLayout((5,), "f8")
    layout[:] = h5py.VirtualSource("absent.h5", "x", (5,))
    record.create_virtual_dataset("elsewhere", layout).attrs["type"] = "array"


def _typed(kind):
    def change(record):
        record.create_group("odd").attrs["type"] = kind

    return change


def _said_to_be(kind, content):
    def change(record):
        record.create_dataset("odd", data=content).attrs["type"] = kind

    return change


def _linked(link):
    return lambda record: record.__setitem__("link", link)


ODD = {
    "a link to itself": lambda record: record.__setitem__("circle", record),
    "a soft link": _linked(h5py.SoftLink("/record")),
    "a link to nothing": _linked(h5py.SoftLink("/absent")),
    "an external link": _linked(h5py.ExternalLink("/etc/hostname", "/")),
    "links that double": _bomb,
    "groups in groups": _deep,
    "a declared shape": _huge,
    "a number of a declared shape": _huge_number,
    "a piece larger than the whole": _huge_piece,
    "packed many times": _unfolding,
    "bytes of another file": _external,
    "parts of another file": _virtual,
    "a type that is not known": _typed("Unknown"),
    "a type that is a number": _typed(3),
    "a type that is an array": _typed(np.zeros(9)),
    "a type that is no text": _typed(b"\xff\xfe"),
    "a leaf that is a group": _typed("float"),
    "no type": lambda record: record.create_group("odd"),
    "no list": _said_to_be("list", 3),
    "no number": _said_to_be("int", "x"),
    "no dimensions": _said_to_be("int", h5py.Empty("f8")),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
@pytest.mark.parametrize("with_seal", [False, True])
def test_odd_content_is_one_line_within_a_second(tmp_path, change, with_seal):
    """Also where somebody has sealed it: a seal is no signature."""
    path = tmp_path / "a.h5"
    if with_seal:
        with begun(path, "test") as file:
            trees._write_node(file, "record", {"noise": 1.0}, [])
            change(file["record"])
        seal(path)
    else:
        with h5py.File(older(path, {"noise": 1.0}), "a") as file:
            change(file["record"])
    start = time.process_time()
    with pytest.raises(ValueError, match=r"a.h5 (is damaged|holds a '.*', which)") as caught:
        read_older(path) if not with_seal else storage.read(path, kind="test")
    assert time.process_time() - start < 1
    assert "\n" not in str(caught.value)


@pytest.mark.slow  # five seconds of computing; tests/test_open_arrays.py stops such a process after one
def test_a_heap_of_words_that_goes_in_circles_is_damaged(tmp_path):
    """HDF5 looks for the next word of this file without end."""
    path = older(tmp_path / "a.h5", {"word": "circle"})
    content = bytearray(path.read_bytes())
    word = content.index(b"circle") - 16
    content[word : word + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.h5 is damaged: the HDF5 library computes without end on it"):
        storage.read(path, kind="test")


@pytest.mark.parametrize("count", [20, pytest.param(150, marks=pytest.mark.slow)])
def test_older_files_with_damage_are_read_or_refused_in_one_line(tmp_path, count):
    path, random = older(tmp_path / "a.h5", {"eta": 0.25, "word": "erf", "some": np.arange(4.0)}), _random()
    content, said = path.read_bytes(), []
    for byte in random.choice([k for k, value in enumerate(content) if value], count, replace=False):
        damaged = bytearray(content)
        damaged[byte] = random.integers(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", f".*{NO_SEAL}")
            try:
                storage.read(path, kind="test")
            except ValueError as error:
                said.append(str(error))
    assert len(said) > count // 3
    assert [text for text in said if not text.startswith(str(path)) or "\n" in text] == []


def _random():
    return np.random.default_rng(0)
