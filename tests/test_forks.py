"""A child process that is forked while other threads of its parent compute, compile or draw bars works as any other."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import numba
import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

import ntkspec as ns
from ntkspec import progress
from ntkspec.engines import cpu
from ntkspec.objects.lazy import cached_property

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of any such fork
SECONDS = 20


def in_a_child(function) -> None:
    """Run a function in a forked child; fails where it raises there, or hangs."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)  # ends a child that hangs
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@contextlib.contextmanager
def meanwhile(function):
    """Call a function again and again in another thread."""
    stop = threading.Event()

    def repeat():
        while not stop.is_set():
            function()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def norm_of_ones():
    assert float(ns.spectral_norm(np.ones((30, 30)), method="dense")) == pytest.approx(30)


def enter_and_leave():
    with cpu.one_blas_thread():
        pass


@pytest.mark.parametrize("busy", [norm_of_ones, enter_and_leave])
def test_a_child_computes_while_another_thread_of_its_parent_does(busy):
    norm_of_ones()
    with meanwhile(busy):
        for _ in range(12):
            in_a_child(norm_of_ones)
    norm_of_ones()


# BLAS has two threads here whatever the tests run with.
RESTORED = """
import os, threading
from ntkspec.engines import cpu

threads = lambda: {library["num_threads"] for library in cpu.threads._blas().info()}
assert threads() == {2}

def child(work):
    number = os.fork()
    if number == 0:
        os._exit(work())
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0

def whole():
    assert threads() == {2} and cpu.run(lambda _: threads() == {1}, range(3)) == [True] * 3 and threads() == {2}
    return 0

entered, leave = threading.Event(), threading.Event()
def hold():
    with cpu.one_blas_thread():
        entered.set()
        leave.wait()

user = threading.Thread(target=hold)
user.start()
entered.wait()
child(whole)
assert threads() == {1}
leave.set()
user.join()
assert threads() == {2}

with cpu.one_blas_thread():
    number = os.fork()
    if number:
        assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0 and threads() == {1}
if not number:
    os._exit(whole())
assert threads() == {2}
"""


def test_a_child_has_all_threads_of_blas_whoever_held_them():
    """Another thread of the parent, or the forking one itself, which leaves in the child as well."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", RESTORED], check=True, env=environment, timeout=4 * SECONDS)


def test_a_child_compiles_while_another_thread_of_its_parent_does():
    holding = threading.Event()

    def compile_slowly():
        with global_compiler_lock:
            holding.set()
            time.sleep(0.2)

    def compile_in_child():
        assert numba.njit(lambda x: x + 1)(1) == 2

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    holding.wait()
    in_a_child(compile_in_child)
    thread.join()


def test_a_child_draws_bars_while_another_thread_of_its_parent_does():
    def bars():
        with progress.bar(range(3)) as bar:
            bar.refresh()
            assert list(bar) == [0, 1, 2]

    with meanwhile(bars):
        for _ in range(12):
            in_a_child(bars)


class Slow:
    """An object with a property that waits for an event."""

    def __init__(self, event=None):
        self.event, self.looks = event, 0

    @cached_property
    def value(self):
        """The number of looks."""
        self.looks += 1
        if self.event is not None:
            self.event.wait()
        return self.looks


def test_a_child_reads_a_property_that_another_thread_of_its_parent_computes():
    event = threading.Event()
    slow = Slow(event)
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    while not slow.looks:
        time.sleep(0.001)

    def read():
        other = Slow()
        assert (other.value, other.value) == (1, 1)

    in_a_child(read)
    event.set()
    thread.join()
    assert slow.value == 1
