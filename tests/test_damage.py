"""Damaged and crafted files are refused in one line that names them, or read, at the cost of their size."""

import sys

import numpy as np
import pytest

import damage
from damage_crafted import CRAFTED, MARKER
from damage_samples import SAMPLES

# Written and read in seconds, and one of each kind of harm.
SHORT = {
    "4 GB of rows in .gz",
    "an endless quote",
    "a line of single quotes",
    "a value of digits and a letter",
    "a value of blanks",
    "a FIFO",
    "/dev/zero",
    "/proc/kcore",
    "a link to itself",
    "a sparse file of 1 TB",
    "a long word 5000 times",
    "nested lists",
    "more rows than there are",
    "REDUCE",
    "an array of objects",
    "shared labels",
    "a deep list",
    "BINBYTES8 of 2^63",
    "a size of 8 GB",
    "a base-256 size",
    "2^96 pixels",
}
OF_DATA = [one for one in SAMPLES if one.kind in ("table", "parquet", "mnist", "cifar")]


def test_some_damaged_and_crafted_files_are_refused_or_read(tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    tally = damage.Tally()
    with damage.working() as worker:
        for number, one in enumerate(one for one in CRAFTED if one.name in SHORT):
            place = tmp_path / str(number)
            place.mkdir()
            one.write(place)
            found = worker.read(one.reader, place / one.main, place / MARKER)
            tally.add(one.kind, one.name, found)
            assert found["outcome"] == "refused", (one.name, found)
    damage.fuzz(OF_DATA[:: len(OF_DATA) // 10], 15, 1, tally, tmp_path)
    assert tally.failures == []


@pytest.mark.slow
def test_2500_damaged_files_of_every_kind(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["damage", "--count", "2500"])
    assert damage.main() == 0


def test_damages_are_the_same_for_a_seed_and_differ_from_the_original():
    content = bytes(range(256)) * 8
    first, second = (damage.damaged(content, np.random.default_rng(5)) for _ in range(2))
    assert first == second != content


def test_what_becomes_of_a_file_is_told_apart(tmp_path, monkeypatch):
    """The judge itself: a refusal names the file in one line, and a marker says that something was executed."""
    path, marker = tmp_path / "one.csv", tmp_path / MARKER

    def judged(error):
        def read(path):
            raise error

        monkeypatch.setitem(damage.READERS, "load", read)
        return damage.outcome("load", path, marker)["outcome"]

    assert judged(ValueError(f"{path}: no table")) == "refused"
    assert judged(ValueError("no table")) == "traceback"
    assert judged(ValueError(f"{path}: two\nlines")) == "traceback"
    assert judged(KeyError(f"{path}")) == "traceback"
    marker.touch()
    assert judged(ValueError(f"{path}: no table")) == "executed"
