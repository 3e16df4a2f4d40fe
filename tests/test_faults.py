"""What survives a kill, a twin and a full disk; ``python -m tests.faults`` does the same at random, and counts."""

import random
import time

import pytest

import faults
from faults import COMMANDS, FAULTS, Reference, Running, Turn


def kill_when(reached, running):
    """kill -9 at the moment when something is reached."""
    deadline = time.monotonic() + faults.HANG
    while not reached() and running.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert faults.killed(running) == ("killed", [])


@pytest.mark.slow
def test_what_was_measured_is_reported_on_a_full_disk_and_written_on_a_larger_one(tmp_path):
    """A run that was killed while it trained has left nothing in the way."""
    if reason := faults.no_small_disk():
        pytest.skip(reason)
    reference = Reference.of(COMMANDS["analyze"])
    with faults.small_disk(tmp_path, pages=50):
        running = Running(reference.command, tmp_path)
        kill_when(lambda: "training (50 steps)" in running.said(), running)
        run = faults.ended(reference.command, tmp_path)
        assert run.code != 0
        assert faults.filled(reference, tmp_path, run) == []


@pytest.mark.slow
def test_two_that_go_on_with_a_killed_ones_kernel_are_told_apart(tmp_path):
    """One of them finishes it, the other says that it is in use or finds it finished."""
    reference = Reference.of(COMMANDS["save_kernel"])
    folder = faults.prepared(reference.command, tmp_path)
    kill_when(lambda: any(folder.glob("out/*kernel*")), Running(reference.command, folder))
    assert faults.pair(reference, folder, Turn(0, 1, random.Random(0))).faults == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, fault in FAULTS.items() for name in fault.commands])
def test_faults_at_random_moments(kind, name):
    if kind in faults.ON_SMALL_DISKS and (reason := faults.no_small_disk()):
        pytest.skip(reason)
    bad = [found for found in faults.outcomes(FAULTS[kind], name, FAULTS[kind].count, seed=0) if found.faults]
    assert bad == []
