"""What survives a kill, a twin and a full disk; ``python -m tests.faults`` does the same at random, and counts."""

import random
import time

import pytest

import faults
from faults import COMMANDS, FAULTS, Reference, Running, Turn


@pytest.fixture(scope="module")
def analyze():
    return Reference.of(COMMANDS["analyze"])


@pytest.fixture(scope="module")
def save_kernel():
    return Reference.of(COMMANDS["save_kernel"])


def killed_when(reached, reference, folder):
    """What is wrong after a kill at the moment when something is reached."""
    running = Running(reference.command, faults.prepared(reference.command, folder))
    deadline = time.monotonic() + faults.HANG
    while not reached(running) and running.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    found = faults.killed(reference, folder, running)
    assert found.kind == "killed"
    return found.faults


def test_analyze_that_was_killed_is_run_again_as_if_nothing_had_happened(analyze, tmp_path):
    """In the middle of training, when its folder is there; nothing of the killed run stays."""
    assert killed_when(lambda running: "training (50 steps)" in running.said(), analyze, tmp_path) == []


def test_a_kernel_goes_on_after_a_kill(save_kernel, tmp_path):
    """When its unfinished file is there."""
    assert killed_when(lambda _: any(tmp_path.glob("out/*kernel*")), save_kernel, tmp_path) == []


def test_of_two_that_save_a_kernel_at_once_one_does_and_the_other_says_so(save_kernel, tmp_path):
    folder = faults.prepared(save_kernel.command, tmp_path)
    assert faults.pair(save_kernel, folder, Turn(0, 1, random.Random(0))).faults == []


def test_what_was_measured_is_reported_though_the_disk_is_full(analyze, tmp_path):
    """A disk of half the record's size; and on a larger one the same command writes all."""
    if reason := faults.no_small_disk():
        pytest.skip(reason)
    found = faults.full_at(analyze, tmp_path, pages=50)
    assert (found.faults, found.kind != "0") == ([], True)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, fault in FAULTS.items() for name in fault.commands])
def test_faults_at_random_moments(kind, name):
    if kind == "disks" and (reason := faults.no_small_disk()):
        pytest.skip(reason)
    bad = [found for found in faults.outcomes(FAULTS[kind], name, FAULTS[kind].count, seed=0) if found.faults]
    assert bad == []
