"""Where results are written: names that can be, one writer at a time, files that are whole, and disks that are full."""

import errno
import fcntl
import multiprocessing
import os
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from conftest import full_disk, largest_file
from ntkspec import storage
from ntkspec.storage import places


def mounted(folder: Path, options: str):
    """A file system in memory; the test is skipped where it cannot be mounted."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A folder, and a function that makes it a disk of so many kB, and then another."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def sized(kilobytes: int, options: str = "rw"):
        subprocess.run(["umount", folder], capture_output=True)
        mounted(folder, f"size={kilobytes}k,{options}")
        return folder

    yield sized
    subprocess.run(["umount", folder], capture_output=True)


# --------------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder, ValueError, "is a folder"),
        (lambda folder: folder / "absent" / "a", FileNotFoundError, r"absent does not exist; make it first"),
        (lambda folder: "/dev/full", ValueError, "is not a regular file"),
        (lambda folder: os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.h5"), ValueError, "is not UTF-8"),
        (lambda folder: folder / ("a" * 240 + ".h5"), ValueError, "longer than 237 bytes"),
        (lambda folder: folder / ("ä" * 120 + ".h5"), ValueError, "longer than 237 bytes"),
        (lambda folder: folder / ("a" * 400), ValueError, "longer than 237 bytes"),
        (lambda folder: f"{folder}/a\0b", ValueError, "null"),
    ],
)
def test_names_that_cannot_be_written_are_refused_before_the_work(tmp_path, make, error, message):
    name = make(tmp_path)
    for begin in (storage.target, lambda name: storage.locked(name).__enter__()):
        with pytest.raises(error, match=message):
            begin(name)
    with pytest.raises(error, match=message), storage.atomic_path(name):
        pytest.fail("the work has begun")
    assert list(tmp_path.iterdir()) == []


def test_links_pipes_and_circles(tmp_path):
    (tmp_path / "round").symlink_to("about")
    (tmp_path / "about").symlink_to("round")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="leads in a circle"):
        storage.target(tmp_path / "round")
    with pytest.raises(ValueError, match="is not a regular file"):
        storage.target(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="make it first"):
        storage.target(tmp_path / "round" / "a.h5")


def test_the_longest_name_is_written(tmp_path):
    path = tmp_path / ("a" * 234 + ".h5")
    with storage.locked(path):
        storage.write(path, {"a": 1}, kind="test")
    assert list(tmp_path.iterdir()) == [path]
    assert storage.read(path, kind="test") == {"a": 1}


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.h5").symlink_to("there/a.h5")
    for k in range(2):
        storage.write(tmp_path / "link.h5", {"a": k}, kind="test")
        assert (tmp_path / "link.h5").is_symlink()
        assert storage.read(tmp_path / "there" / "a.h5", kind="test") == {"a": k}


def test_a_disk_for_reading_only_is_refused_before_the_work(disk):
    folder = disk(64, "ro")
    with pytest.raises(PermissionError, match=r"disk cannot be written to; choose another"):
        storage.target(folder / "a.h5")


# --------------------------------------------------------------------------------------------------------------- locks
def test_a_lock_follows_no_link_and_removes_nothing_that_is_none(tmp_path):
    (tmp_path / "precious").write_text("data")
    lock = tmp_path / ".a.h5.lock"
    lock.symlink_to("precious")
    with pytest.raises(ValueError, match="is a link"), storage.locked(tmp_path / "a.h5"):
        pass
    lock.unlink()
    lock.write_text("data")
    with pytest.raises(ValueError, match="holds something"), storage.locked(tmp_path / "a.h5"):
        pass
    assert (lock.read_text(), (tmp_path / "precious").read_text()) == ("data", "data")


def test_a_lock_that_a_killed_process_left_holds_nobody(tmp_path):
    (tmp_path / ".a.h5.lock").touch()
    with storage.locked(tmp_path / "a.h5"):
        assert (tmp_path / ".a.h5.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_disks_without_locks_warn_and_keep_what_may_be_in_use(tmp_path, monkeypatch):
    def unable(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    left = tmp_path / ".a.01234567.partial.h5"
    left.touch()
    monkeypatch.setattr(fcntl, "flock", unable)
    with pytest.warns(RuntimeWarning, match="cannot be locked"):
        storage.write(tmp_path / "a.h5", {"a": 1}, kind="test")
    assert storage.read(tmp_path / "a.h5", kind="test") == {"a": 1}
    assert left.exists()


def _count_alone(path, number, start, queue):
    """Add 1 to the number in a file so many times, each as soon as the lock is free; and in which words it was not."""
    start.wait()
    done, refusals = 0, set()
    while done < number:
        try:
            with storage.locked(path):
                found = int(path.read_text())
                with storage.atomic_path(path) as temporary:
                    temporary.write_text(str(found + 1))
                done += 1
        except ValueError as error:
            refusals.add(str(error).replace(str(path), "it"))
            time.sleep(1e-4)
    queue.put(refusals)


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_writers_at_once_lose_nothing(tmp_path, how):
    path, context = tmp_path / "count", multiprocessing.get_context("fork")
    path.write_text("0")
    start, queue = context.Barrier(3), context.Queue()
    kind = threading.Thread if how == "threads" else context.Process
    workers = [kind(target=_count_alone, args=(path, 20, start, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    refusals = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert int(path.read_text()) == 3 * 20
    assert set().union(*refusals) <= {"it is in use by another process; wait for it, or choose another name"}
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------------------------------ temporary files
def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    with storage.atomic_path(tmp_path / "a.h5") as running:
        others = [".a.my-notes.partial.h5", ".a.01234567.partial.txt", ".b.01234567.partial.h5", "a.partial.h5"]
        for name in [*others, ".a.01234567.partial.h5", ".a.x_yz4567.partial.h5"]:
            (tmp_path / name).touch()
        storage.write(tmp_path / "a.h5", {"a": 1}, kind="test")
        assert {entry.name for entry in tmp_path.iterdir()} == {*others, running.name, "a.h5"}


def test_a_file_is_readable_from_the_moment_it_has_its_name(tmp_path, monkeypatch):
    found, replace = [], os.replace

    def observed(temporary, path):
        replace(temporary, path)
        found.append(storage.read(path, kind="test"))

    monkeypatch.setattr(places.os, "replace", observed)
    storage.write(tmp_path / "a.h5", {"a": 1}, kind="test")
    assert found == [{"a": 1}]


# ----------------------------------------------------------------------------------------------------------- full disks
NOISE = np.random.default_rng(0).standard_normal(30_000)


def _left(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def test_disks_of_twenty_sizes_keep_the_old_file_or_hold_the_new_one(disk):
    """240 kB of noise, and an old file of 16 kB, on 40 to 420 kB."""
    outcomes: Counter = Counter()
    for kilobytes in range(40, 440, 20):
        path = disk(kilobytes) / "a.h5"
        storage.write(path, {"old": 1}, kind="test")
        try:
            storage.write(path, {"words": ["a"] * 20, "noise": NOISE}, kind="test")
            outcome = "written"
            np.testing.assert_array_equal(storage.read(path, kind="test")["noise"], NOISE)
        except OSError as error:
            outcome = errno.errorcode[error.errno], error.filename == str(path), storage.read(path, kind="test")["old"]
        outcomes[outcome] += 1
        assert _left(path.parent) == ["a.h5"]
    assert outcomes.keys() == {"written", ("ENOSPC", True, 1)}
    assert min(outcomes.values()) > 4


@pytest.mark.parametrize("size", [0, 100, 512, 3000, 10_000, 100_000])
def test_a_write_that_the_system_cuts_short_is_an_error_of_that_file(tmp_path, size):
    path = tmp_path / "a.h5"
    storage.write(path, {"old": 1}, kind="test")
    with largest_file(size), pytest.raises(OSError, match="File too large") as caught:
        storage.write(path, {"noise": NOISE}, kind="test")
    assert caught.value.filename == str(path)
    assert _left(tmp_path) == ["a.h5"]
    assert storage.read(path, kind="test") == {"old": 1}


def test_a_disk_that_is_full_at_the_last_moment_is_an_error_of_that_file(tmp_path):
    with full_disk(), pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/a.h5'"):
        storage.write(tmp_path / "a.h5", {"noise": NOISE}, kind="test")
    assert _left(tmp_path) == []


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    path = tmp_path / "a.h5"
    for mode in (0o600, 0o640, 0o664):
        storage.write(path, {"old": 1}, kind="test")
        path.chmod(mode)
        storage.write(path, {"new": 2}, kind="test")
        assert path.stat().st_mode & 0o777 == mode


def test_a_keeper_writes_where_it_was_told_to_also_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keeper = storage.Keeper("a.h5", "test")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    keeper.write({"a": 1})
    assert storage.read(tmp_path / "a.h5", kind="test") == {"a": 1}


def test_a_keeper_warns_once_until_it_has_kept_all(tmp_path):
    keeper = storage.Keeper(tmp_path / "a.h5", "test")
    for _ in range(2):
        with full_disk():
            with pytest.warns(RuntimeWarning, match=r"a.h5 could not be written \(No space left on device\)"):
                keeper.write({"a": 1})
            keeper.write({"a": 2})  # a second warning would be an error
        keeper.write({"a": 3})
        assert storage.read(tmp_path / "a.h5", kind="test") == {"a": 3}


def test_a_lock_whose_folder_is_gone_costs_no_result(tmp_path):
    (tmp_path / "folder").mkdir()
    with storage.locked(tmp_path / "folder" / "a.h5"):
        (tmp_path / "folder").rename(tmp_path / "elsewhere")
        (tmp_path / "folder").write_text("a file")  # what is below it now is no missing file, but an error
    with storage.locked(tmp_path / "elsewhere" / "a.h5"):  # what is left there holds nobody
        pass
