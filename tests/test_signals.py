"""SIGTERM and SIGHUP end a run as Ctrl-C does: with one true line, at any moment, and no process stays."""

import ast
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from ntkspec import cli, progress
from ntkspec.cli import signals
from ntkspec.cli.signals import ENDING, Stopped, stoppable
from ntkspec.experiments.sweep_cells import measure_cell

PROGRAM = Path(__file__).parent / "random_signals.py"
# How long a process may take on a busy machine until it says what is waited for, or ends.
SECONDS = 60


def handlers():
    return [signal.getsignal(number) for number in ENDING]


@pytest.fixture(autouse=True)
def _handlers_from_before():
    """What a test, or the program it is run by, has installed comes back."""
    before = handlers()
    yield
    assert handlers() == before


# ----------------------------------------------------------------------------------------------------- in one process
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_raises_what_names_it(number):
    with pytest.raises(Stopped) as stop:
        stoppable(signal.raise_signal, number)
    assert stop.value.number == number
    assert isinstance(stop.value, KeyboardInterrupt)


def test_results_and_errors_are_handed_on():
    assert stoppable(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        stoppable(divmod, 7, 0)


def test_what_is_ignored_stays_so():
    """As SIGHUP under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stoppable(signal.raise_signal, signal.SIGHUP) is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def interrupted_twice(done: list):
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.raise_signal(signal.SIGTERM)
        done.append("cleaned up")


def test_a_second_signal_waits_for_the_clean_up(monkeypatch):
    done: list[str] = []
    with pytest.raises(Stopped):
        stoppable(interrupted_twice, done)
    assert done == ["cleaned up"]
    monkeypatch.setattr(signals, "TOGETHER", 0.0)  # as if it had come later
    with pytest.raises(Stopped):
        stoppable(interrupted_twice, done)
    assert done == ["cleaned up"]


def test_an_error_that_a_library_makes_of_a_signal_is_one():
    def library():
        try:
            signal.raise_signal(signal.SIGHUP)
        except BaseException:
            raise ImportError("numpy._core.multiarray failed to import") from None

    with pytest.raises(Stopped) as stop:
        stoppable(library)
    assert stop.value.number == signal.SIGHUP


def test_a_signal_in_a_destructor_is_not_lost(capsys):
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def task():
        Dying()
        for _ in range(100 * SECONDS):  # a signal that comes just before a call that waits is seen after it
            time.sleep(0.01)

    hook = sys.unraisablehook
    with pytest.raises(Stopped):
        stoppable(task)
    assert sys.unraisablehook is hook
    assert capsys.readouterr().err == ""


def test_a_command_in_another_thread_leaves_signals_alone(capsys):
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["constants", "relu"])))
    thread.start()
    thread.join()
    assert codes == [0]
    assert capsys.readouterr().out.startswith("zeta")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("cells", [0, 2])
def test_the_line_says_what_was_written(number, code, cells, monkeypatch, capsys, tmp_path):
    def stopped(task, tasks, place):
        for cell in tasks[:cells]:
            yield cell, measure_cell(cell)
        signal.raise_signal(number)

    monkeypatch.setattr("ntkspec.cluster.execution.results", stopped)
    monkeypatch.chdir(tmp_path)
    given = ["sweep", "--quantity", "data", "--d", "4", "--n", "20", "--seeds", "3", "--output", "new/s.h5"]
    assert cli.main(given) == code
    kept = "new/s.h5 is kept, and the same command goes on" if cells else "nothing was written"
    assert capsys.readouterr().err.splitlines()[-1] == f"ntkspec: stopped; {kept}"
    assert (tmp_path / "new" / "s.h5").exists() == bool(cells)


# ----------------------------------------------------------------------------------------------------------- programs
def program(code: str, *, folder: Path | None = None) -> subprocess.Popen:
    """A Python program in a group of its own; modules in the folder come before installed ones."""
    places = [str(folder), *sys.path] if folder else sys.path
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    command = [sys.executable, *code.split()] if code.startswith("-m") else [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True)


# In short turns: a signal that comes just before a call that waits is seen after it.
WAITS = "import time\nprint('here', flush=True)\nfor _ in range(60_000): time.sleep(0.01)\n"


@pytest.mark.parametrize(
    ("module", "number"),
    [("ntkspec", signal.SIGINT), ("ntkspec.cli", signal.SIGTERM), ("ntkspec", signal.SIGHUP)],
)
def test_a_signal_while_libraries_are_loaded_is_quiet(module, number, tmp_path):
    (tmp_path / "cyclopts.py").write_text(WAITS)
    process = program(f"-m {module} constants relu", folder=tmp_path)
    assert process.stdout.readline() == "here\n"
    process.send_signal(number)
    assert process.communicate(timeout=SECONDS) == ("", "ntkspec: stopped; nothing was written\n")
    assert process.returncode == 128 + number


ENDS = f"""
import atexit, sys
from ntkspec import cli
from ntkspec.cli import signals
def main(arguments):
    signals.begun = True
    atexit.register(lambda: exec({WAITS!r}))
    return 7
cli.main = main
from ntkspec.__main__ import main
sys.exit(main([]))
"""


def test_a_signal_while_python_exits_is_quiet():
    process = program(ENDS)
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=SECONDS) == ("", "")
    assert process.returncode == 7


# The function of a task must be importable in a worker; what it prints, here its process, says that it has begun.
TASK = "import os, time\ndef task(k):\n    print(os.getpid(), flush=True)\n    time.sleep(600)\n"
POOL = """
import sys
from long_task import task
from ntkspec.cli import signals
from ntkspec.cluster import execution
def run():
    list(execution.results(task, range(4), execution.Place(2)))
if __name__ == "__main__":
    try:
        signals.stoppable(run)
    except KeyboardInterrupt as stop:
        sys.exit(128 + stop.number)
"""


@pytest.mark.parametrize(
    ("number", "everyone"),
    [
        (signal.SIGKILL, False),
        (signal.SIGINT, True),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, True, marks=pytest.mark.slow),
    ],
)
def test_workers_end_with_their_parent(number, everyone, tmp_path):
    """However it ends, and whoever else gets the signal, as a terminal sends it to all; and nobody holds the pipe."""
    (tmp_path / "long_task.py").write_text(TASK)
    process = program(POOL, folder=tmp_path)
    workers = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
    (os.killpg if everyone else os.kill)(process.pid, number)
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in error
    gone, left = psutil.wait_procs(workers, timeout=SECONDS)
    assert (len(gone), left) == (2, [])


@pytest.mark.slow
def test_random_signals_end_well():
    run = subprocess.run([sys.executable, PROGRAM, "40", "2024"], capture_output=True, text=True, check=False)
    *lines, last = run.stdout.splitlines()
    assert [line for line in lines if line.startswith("FAULT")] == []
    assert sum(ast.literal_eval(last).values()) == 40


# ------------------------------------------------------------------------------------------------------ progress bars
class Broken(io.StringIO):
    """A terminal that fails."""

    def __init__(self, error):
        super().__init__()
        self.error, self.tried = error, 0

    def isatty(self):
        return True

    def write(self, text):
        self.tried += 1
        raise self.error

    def flush(self):
        raise self.error


@pytest.mark.parametrize("error", [OSError(28, "full"), BrokenPipeError(32, "gone"), OSError(5, "hung up")])
def test_a_bar_on_a_screen_that_fails_is_silent(error, monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Broken(error))
    with progress.bar(range(3)) as bar:
        bar.start_t -= 2  # as if it took long enough to be drawn
        assert [bar.refresh() and item for item in bar] == [0, 1, 2]
    assert screen.tried > 0


def test_a_bar_without_a_screen_is_silent(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for screen in (None, closed):
        monkeypatch.setattr(sys, "stderr", screen)
        assert list(progress.bar(range(3))) == [0, 1, 2]


def test_a_bar_without_a_terminal_writes_a_line_now_and_then_where_lines_are_asked_for(monkeypatch):
    """A command in a pipe or a batch job; by a clock on which each of four products takes 6 s."""
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    clock = [0.0]

    def multiply():
        with progress.bar(total=4, text="products") as bar:
            bar._time, bar.start_t, bar.last_print_t = lambda: clock[0], clock[0], clock[0]
            for _ in range(4):
                clock[0] += 6
                bar.update(1)

    multiply()
    assert screen.getvalue() == ""
    with progress.lines("ntkspec: "):
        multiply()
        assert list(progress.bar(range(3))) == [0, 1, 2]
    expected = ["ntkspec: products: 2 of 4, about 12 s left", "ntkspec: products: 4 of 4, about 0 s left"]
    assert screen.getvalue().splitlines() == expected


def test_a_bar_says_where_the_number_in_all_has_changed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    with progress.lines("ntkspec: "), progress.bar(total=60, text="products") as bar:
        for total, said in ((0, ""), (70, ""), (112, "; forecast changed from 70 to 112")):
            bar.expect(total)
            bar.display()
            assert screen.getvalue().splitlines()[-1] == f"ntkspec: products: 0 of {total or 60}{said}"
