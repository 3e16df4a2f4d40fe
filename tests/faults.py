"""Runs that are killed, stopped, started twice, or whose disk is full; and what became of their results.

``python -m tests.faults FAULT [NAME ...] [--count N] [--seed S]``, FAULT being kills, signals, pairs, disks or rivals,
puts each run (or those that are named) to the fault N times, prints a line for each with what is wrong, and a table; it
exits with 1 where anything is. Every fault is followed by the same command once more, which must end as an undisturbed
run does, bit by bit.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from ntkspec.experiments.sweep_cells import Cell
from ntkspec.storage.sweeps import read_sweep
from ntkspec.storage.trees import opened

ROOT = Path(__file__).resolve().parents[1]
# Seconds: after which a run hangs; within which a signal ends it, and the processes of a killed one are gone.
HANG, END = 120.0, 3.0
PAGE = os.sysconf("SC_PAGE_SIZE")
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# What files of these kinds end with, and parts of a record that differ from run to run.
ENDS = {".pdf": b"%%EOF", ".html": b"</html>"}
OF_THE_RUN = {"provenance", "timings", "seconds", "forecast"}
NO_ROOM = re.compile(r"\broom\b|no space|\bdisk|\bfree\b|\bfull\b", re.IGNORECASE)

# The moment zero of a fault is that of a program's first line: what Python does before is not ours.
BEGINNING = """
import os, sys
if __name__ == "__main__":
    os.write(int(sys.argv[1]), b".")
    os.close(int(sys.argv.pop(1)))
"""
# What pip writes for the entry point MODULE:FUNCTION.
ENTRY_POINT = """
from {module} import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""
LIBRARY_CALL = """
import hashlib, warnings
import numpy as np, ntkspec as ns

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()

def gap(n, width):
    X = np.random.default_rng(0).standard_normal((n, 20))
    net = ns.TwoLayer.symmetric(20, width, "erf")
    return ns.ntk(net, X, layer="first") - ns.linear_kernel("erf", X, layer="first", trace_ratio=1.0)

warnings.showwarning = lambda message, *_: print(f"ntkspec: warning: {{message}}", file=sys.stderr)
try:
    {call}
except (ValueError, OSError) as error:
    print(f"ntkspec: error: {{error}}", file=sys.stderr)
    sys.exit(2)
"""
SAVE_KERNEL = """
    stored = ns.save_kernel(gap(2000, 300), "out/kernel.h5")
    print(stored.frobenius_squared, digest(stored.to_dense()))
"""
SPECTRAL_NORM = """
    import time
    values = np.linspace(-1, 1, 2000) ** 3

    def product(v):
        print("ntkspec: product ...", file=sys.stderr)
        time.sleep(0.005)
        return values * v

    norm = ns.spectral_norm(ns.operators.wrap(product, len(values)), checkpoint="out/products")
    print(norm.value, norm.lower, norm.upper, norm.products)
"""
TRAIN_GD = """
    from ntkspec.training import checkpoints
    checkpoints.SECONDS = 0  # a checkpoint after each step

    def step(net, now, X):
        print("ntkspec: step ...", file=sys.stderr)
        return {"output": float(now(X[:1])[0])}

    X = np.random.default_rng(0).standard_normal((500, 4))
    net, y, how = ns.TwoLayer.symmetric(4, 16, "erf"), np.sign(X[:, 0]), {"steps": [0, 2, 5, 10], "watch": [step]}
    run = ns.train_gd(net, X, y, eta1=1.0, eta2=1.0, checkpoint="out/run.h5", **how)
    print(digest(run.train, run.network.W, run.network.v))
"""
TRACK = """
    def networks():
        net = ns.FullyConnected.random(4, [16, 16], "tanh")
        for step in range(6):
            print("ntkspec: checkpoint ...", file=sys.stderr)
            yield step, net
            net = ns.train_gd(net, X, y, eta=1.0, steps=[1]).network

    X = np.random.default_rng(0).standard_normal((200, 4))
    y = np.sign(X[:, 0])
    series = ns.track(networks(), X, y, eta=1.0, path="out/track.h5")
    print(digest(series.steps, *series.numbers.values(), *series.arrays.values()))
"""


@dataclass(frozen=True)
class Command:
    """What is run: the words of a command, or a script that calls the library.

    unfinished : names that an unfinished run may leave, so that the next one goes on. answers : whether its standard
    output says all that it found, so that it is worth something without its files.
    """

    words: str = ""
    script: str = ""
    unfinished: tuple[str, ...] = ()
    answers: bool = False

    @property
    def program(self) -> str:
        if self.script:
            return BEGINNING + LIBRARY_CALL.format(call=self.script.strip())
        with open(ROOT / "pyproject.toml", "rb") as file:
            module, function = tomllib.load(file)["project"]["scripts"]["ntkspec"].split(":")
        return BEGINNING + ENTRY_POINT.format(module=module, function=function)


# Methods are named, as which one is sooner depends on how busy the machine is.
_RUN = "--n 200 --d 8 --n-test 40 --steps 50 --output out"
_GRID = "--d 8:16:x1.4 --n 60 --width 16 --seeds 3 --output out"
COMMANDS = {
    "analyze": Command(f"analyze --width 32 --method dense {_RUN}", answers=True),
    "analyze deep": Command(f"analyze --network fc:2x32 --method dense {_RUN}", answers=True),
    "spectrum": Command("spectrum --width 32 --method dense --n 200 --d 8 --n-test 0 --output out", answers=True),
    "sweep": Command(f"sweep --quantity gap-first {_GRID}/sweep.h5"),
    "sweep 2": Command(f"sweep --quantity gap-first --processes 2 {_GRID}/sweep.h5"),
    "check": Command(f"check prop-3.4 {_GRID}"),
    "figure 1": Command(f"figure 1 --width 32 --dimensions 4 8 --panel-steps 40 {_RUN}"),
    "figure 2": Command(f"figure 2 --width 64 {_RUN}"),
    "figure 5": Command(f"figure 5 {_GRID}"),
    "figure budget": Command(f"figure budget {_GRID}"),
    "save_kernel": Command(script=SAVE_KERNEL, unfinished=("out/kernel.h5.partial",)),
    "spectral_norm": Command(script=SPECTRAL_NORM, unfinished=("out/products",), answers=True),
    "track": Command(script=TRACK, unfinished=("out/track.h5",), answers=True),
    "train_gd": Command(script=TRAIN_GD, unfinished=("out/run.h5",), answers=True),
}


# --------------------------------------------------------------------------------------------------------------- runs
@dataclass(frozen=True)
class Ended:
    """How a run ended.

    code : as a shell says it, None where it hung. seconds : since its first line. stay : whether some of its processes
    outlive it by END seconds.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    stay: bool

    @property
    def crashes(self) -> list[str]:
        """What no run may do whatever happens to it."""
        found = {
            "hangs": self.code is None,
            f"crashes ({self.code})": self.code is not None and self.code > 128 and self.code - 128 not in SIGNALS,
            "traceback": "Traceback" in self.out + self.err,
            "processes stay": self.stay,
        }
        return [name for name, wrong in found.items() if wrong]


class Running:
    """A command in a session of its own, with ``folder`` as its place; its output goes to files elsewhere."""

    def __init__(self, command: Command, folder: Path):
        self.place = Path(tempfile.mkdtemp())
        self.program, self.out, self.err = (self.place / name for name in ("program.py", "out", "err"))
        self.program.write_text(command.program)
        began, child = os.pipe()
        words = [sys.executable, str(self.program), str(child), *command.words.split()]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        environment = {name: value for name, value in os.environ.items() if name != "NTKSPEC_TRACEBACK"} | one_thread
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            texts = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            own = {"cwd": folder, "env": environment, "pass_fds": [child], "start_new_session": True}
            self.process = subprocess.Popen(words, **texts, **own)
        os.close(child)
        os.read(began, 1)
        os.close(began)
        self.began = time.monotonic()

    def said(self) -> str:
        """What it has written to standard error so far."""
        return self.err.read_text(errors="replace")

    def end(self) -> Ended:
        """Wait for it, and see to its processes."""
        try:
            code = self.process.wait(HANG)
        except subprocess.TimeoutExpired:
            code = None
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        seconds, out, err = time.monotonic() - self.began, self.out.read_text(errors="replace"), self.said()
        shutil.rmtree(self.place)
        return Ended(128 - code if code is not None and code < 0 else code, out, err, seconds, self._stay())

    def processes(self) -> list[int]:
        """Those of its session that live."""
        found = []
        for place in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, _, session = place.read_text().rsplit(")", 1)[1].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found.append(int(place.parent.name))
        return found

    def _stay(self) -> bool:
        """Whether processes outlive it by END seconds; they are ended."""
        deadline = time.monotonic() + END
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(found)


def ended(command: Command, folder: Path) -> Ended:
    """Run the command to its end."""
    return Running(command, folder).end()


# ------------------------------------------------------------------------------------------------------------ results
def names(folder: Path) -> set[str]:
    """Of all files and folders; a folder's ends with a slash."""
    return {f"{path.relative_to(folder)}{'/' * path.is_dir()}" for path in folder.rglob("*")}


def contents(folder: Path) -> dict[str, bytes]:
    """The numbers of all records and the bytes of all images. Raises what is raised for a file that is not whole."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".h5":
            found |= {f"{name}:{place}": value for place, value in _numbers(path).items()}
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
            found[name] = path.read_bytes()
        elif path.suffix in ENDS and not path.read_bytes().rstrip().endswith(ENDS[path.suffix]):
            raise ValueError(f"{path} has no end")
    return found


def _numbers(path: Path) -> dict[str, bytes]:
    """{where: what} of an ntkspec file, without what differs from run to run; one that warns is refused."""
    found = {}

    def add(place, node):
        if OF_THE_RUN.isdisjoint(place.split("/")):
            values = dict(node.attrs) | ({"": node[()]} if isinstance(node, h5py.Dataset) else {})
            found.update({f"{place}@{name}": _bytes(np.asarray(value)) for name, value in values.items()})

    with h5py.File(path, "r") as file:
        kind = file.attrs["kind"]
    with warnings.catch_warnings(action="error"):
        if kind == "sweep":  # processes are done in any order
            return {repr(cell): repr(sorted(own.items())).encode() for cell, own in read_sweep(path, Cell).items()}
        with opened(path, kind) as file:
            add("", file)
            file.visititems(add)
    return found


def _bytes(value: np.ndarray) -> bytes:
    content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
    return f"{value.dtype} {value.shape} ".encode() + content


def damages(folder: Path) -> list[str]:
    """What is there and not whole."""
    try:
        contents(folder)
    except Exception as error:  # whatever a library says about half a file
        return [f"half a file ({type(error).__name__}: {error})"]
    return []


def _steady(text: str) -> list[str]:
    """The lines without what differs from run to run."""
    return [re.sub(r"\d[\d.]*(e[+-]?\d+)? (s|min|h|GB)\b", "#", line) for line in text.splitlines()]


def _first(lines: list[str], others: list[str]) -> str:
    """The first line that the others have not."""
    return next((repr(line[:100]) for line in lines if line not in others), "nothing")


def _form(line: str) -> str:
    """Without numbers, and the time that is told of what takes long."""
    return re.sub(r"\d[\d.]*(e[+-]?\d+)?", "#", re.sub(r", about \d+ s\b", "", line))


@dataclass(frozen=True)
class Reference:
    """A command's undisturbed run in a new folder, and its results."""

    command: Command
    run: Ended
    names: set[str]
    contents: dict[str, bytes]
    bytes: int

    @classmethod
    def of(cls, command: Command) -> "Reference":
        with tempfile.TemporaryDirectory() as place:
            folder = prepared(command, Path(place))
            run = ended(command, folder)
            if run.code != 0:
                raise RuntimeError(f"undisturbed, {command.words or command.script} ends with {run.code}: {run.err}")
            sizes = [(folder / name).stat().st_size for name in names(folder) if not name.endswith("/")]
            size = sum(-(-size // PAGE) * PAGE for size in sizes)
            return cls(command, run, names(folder), contents(folder), size)

    def differences(self, run: Ended, folder: Path) -> list[str]:
        """In what a run that should have ended as this one did not."""
        faults = list(run.crashes)
        if run.code != 0:
            return [*faults, f"exit code {run.code} ({(run.err.splitlines() or [''])[-1][:150]})"]
        there = names(folder)
        faults += [f"not written: {name}" for name in sorted(self.names - there)]
        faults += [f"left behind: {name}" for name in sorted(there - self.names)]
        mine, other = _steady(run.out), _steady(self.run.out)
        faults += [f"another report ({_first(mine, other)} for {_first(other, mine)})"] * (mine != other)
        if found := damages(folder):
            return faults + found
        mine = contents(folder)
        other = [place for place in self.contents.keys() | mine if self.contents.get(place) != mine.get(place)]
        return faults + ([f"other numbers: {min(other)} and {len(other) - 1} others"] if other else [])

    def news(self, run: Ended) -> list[str]:
        """Lines on standard error that an undisturbed run has not; those of progress are the same but for numbers."""
        usual = {_form(line) for line in self.run.err.splitlines()}
        return [line for line in run.err.splitlines() if _form(line) not in usual]

    def unsaid(self, run: Ended) -> list[str]:
        """The lines of the report that are missing; what was written where may differ."""
        said = _steady(run.out)
        return [line for line in _steady(self.run.out) if line not in said and not line.startswith("written to")]

    def measured(self, run: Ended) -> bool:
        """Whether the run came to the last stage of progress."""
        stages = [_form(line) for line in self.run.err.splitlines() if line.startswith("ntkspec: ")]
        return not stages or stages[-1] in [_form(line) for line in run.err.splitlines()]


def prepared(command: Command, folder: Path) -> Path:
    """The folder, with one for the files of library calls, which make none."""
    if command.script or command.words.startswith("sweep"):
        (folder / "out").mkdir(exist_ok=True)
    return folder


# ------------------------------------------------------------------------------------------------------------- faults
@dataclass(frozen=True)
class Turn:
    """Which of so many."""

    number: int
    count: int
    rng: random.Random


@dataclass(frozen=True)
class Outcome:
    """kind : in a word. faults : what is wrong. where : the moment or the size."""

    kind: str
    where: str
    faults: list[str] = field(default_factory=list)


def kill(reference: Reference, folder: Path, turn: Turn) -> Outcome:
    """kill -9 of the one process at a random moment."""
    moment = turn.rng.uniform(0, reference.run.seconds)
    running = Running(reference.command, folder)
    time.sleep(moment)
    kind, faults = killed(running)
    faults += reference.differences(ended(reference.command, folder), folder)
    return Outcome(kind, f"{moment:.2f} s", faults)


def killed(running: Running) -> tuple[str, list[str]]:
    """kill -9 now: what that met, and what is wrong."""
    running.process.kill()
    run = running.end()
    return "killed" if run.code == 128 + signal.SIGKILL else "had finished", ["processes stay"] * run.stay


def stop(reference: Reference, folder: Path, turn: Turn) -> Outcome:
    """A signal at a random moment: Ctrl-C and a terminal that closes reach all processes, SIGTERM the one."""
    number, moment = turn.rng.choice(list(SIGNALS)), turn.rng.uniform(0, reference.run.seconds)
    running = Running(reference.command, folder)
    time.sleep(moment)
    sent = time.monotonic() - running.began
    with contextlib.suppress(ProcessLookupError):
        (os.kill if number == signal.SIGTERM else os.killpg)(running.process.pid, number)
    run = running.end()
    late, files = run.seconds - sent, [name for name in names(folder) if not name.endswith("/")]
    faults = run.crashes
    told = reference.news(run)
    faults += [f"exit code {run.code}"] * (run.code not in (0, SIGNALS[number]))
    faults += [f"{len(told)} lines ({' / '.join(told)[:200]})"] * (len(told) > 1)
    faults += ["ends late"] * (late > max(END, reference.run.seconds / 2))  # a machine that is busy is slow
    faults += ["says that nothing was written"] * ("nothing was written" in run.err and bool(files))
    faults += [f"again: {fault}" for fault in reference.differences(ended(reference.command, folder), folder)]
    return Outcome(f"{number.name} {run.code}", f"{moment:.2f} s", faults)


def pair(reference: Reference, folder: Path, turn: Turn) -> Outcome:
    """Two at once, one of them later by a random part of a tenth of its time."""
    first = Running(reference.command, folder)
    time.sleep(turn.rng.uniform(0, 0.1) * reference.run.seconds)
    both = [first, Running(reference.command, folder)]
    runs, faults = [running.end() for running in both], []
    for run in runs:
        told = reference.news(run)
        refused = run.code == 2 and len(told) == 1 and "in use" in told[0]
        faults += run.crashes + [f"exit code {run.code} ({told[-1:]})"] * (run.code != 0 and not refused)
        if run.code == 0:
            faults += [f"at once: {fault}" for fault in reference.differences(run, folder)]
    faults += ["none ended well"] * all(run.code != 0 for run in runs)
    faults += [f"again: {fault}" for fault in reference.differences(ended(reference.command, folder), folder)]
    return Outcome(" and ".join(sorted(str(run.code) for run in runs)), "", faults)


def full(reference: Reference, folder: Path, turn: Turn) -> Outcome:
    """A disk of one page to a bit more than two files of each name, in equal ratios."""
    pages = round(_ample(reference) ** (turn.number / max(1, turn.count - 1)))
    with small_disk(folder, pages):
        run = ended(reference.command, prepared(reference.command, folder))
        return Outcome(_kind(reference, run), f"{pages} pages", filled(reference, folder, run))


def rival(reference: Reference, folder: Path, turn: Turn) -> Outcome:
    """Another's file takes all that is left of the disk, at a random moment."""
    moment = turn.rng.uniform(0, reference.run.seconds)
    with small_disk(folder, _ample(reference)):
        running = Running(reference.command, prepared(reference.command, folder))
        time.sleep(moment)
        with taken(folder):
            run = running.end()
        return Outcome(_kind(reference, run), f"{moment:.2f} s", filled(reference, folder, run))


def _kind(reference: Reference, run: Ended) -> str:
    return f"{run.code} with a line" if run.code == 0 and reference.news(run) else f"{run.code}"


def filled(reference: Reference, folder: Path, run: Ended) -> list[str]:
    """What is wrong with a run whose disk may have been full, and with the same command on a larger one."""
    faults = run.crashes + damages(folder) + _left_on_disk(reference, folder) + _told_of_room(reference, run)
    if run.code == 0 and not reference.news(run):
        faults += reference.differences(run, folder)
    _mount("-o", f"remount,size={4 * reference.bytes + 2**20}", folder)
    again = reference.differences(ended(reference.command, folder), folder)
    return faults + [f"again: {fault}" for fault in again]


def _ample(reference: Reference) -> int:
    """Pages for two files of each name, and a bit."""
    return int(2.2 * reference.bytes / PAGE) + 16


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Meanwhile a file takes all room of the folder's disk."""
    place = folder / "of another"
    with open(place, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    try:
        yield
    finally:
        place.unlink()


def _left_on_disk(reference: Reference, folder: Path) -> list[str]:
    left = names(folder) - reference.names - set(reference.command.unfinished)
    return [f"left behind: {name}" for name in sorted(left)]


def _told_of_room(reference: Reference, run: Ended) -> list[str]:
    """What is wrong with the words and the exit code of a run whose disk may have been full."""
    told, faults = reference.news(run), []
    if run.code != 0 or told:
        faults += [f"exit code {run.code}"] * (run.code not in (0, 2, 3, 4))
        faults += [f"{len(told)} lines ({' / '.join(told)[:200]})"] * (not 1 <= len(told) <= 2)  # numbers, and figures
        faults += ["no word of room"] * (not NO_ROOM.search(" ".join(told)))
    due = run.code in (0, 3, 4) or (reference.command.answers and reference.measured(run))
    lost = reference.unsaid(run)
    return faults + ([f"the answer is lost ({len(lost)} lines: {lost[0][:100]})"] if due and lost else [])


@contextlib.contextmanager
def small_disk(folder: Path, pages: int) -> Iterator[None]:
    """The folder is a disk of so many pages meanwhile. Raises OSError where none can be mounted."""
    _mount("-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(*words) -> None:
    try:
        subprocess.run(["mount", *words], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f"no small disk can be mounted: {error.stderr.strip()}") from None


def no_small_disk() -> str:
    """Why no small disk can be mounted; empty where one can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder), 1):
                return ""
        except OSError as error:
            return str(error)


# --------------------------------------------------------------------------------------------------------------- main
@dataclass(frozen=True)
class Fault:
    """What is done to a run, how often by default, and to which ones."""

    apply: Callable[[Reference, Path, Turn], Outcome]
    count: int
    commands: tuple[str, ...] = tuple(COMMANDS)


# A script of the user's ends at a signal as the user writes it.
OF_COMMANDS = tuple(name for name, command in COMMANDS.items() if command.words)
FAULTS = {"kills": Fault(kill, 4), "signals": Fault(stop, 4, OF_COMMANDS), "pairs": Fault(pair, 1)}
FAULTS |= {"disks": Fault(full, 20), "rivals": Fault(rival, 2)}
ON_SMALL_DISKS = ("disks", "rivals")


def outcomes(fault: Fault, name: str, count: int, seed: int) -> Iterator[Outcome]:
    """Of a command, each in a new folder."""
    reference, rng = Reference.of(COMMANDS[name]), random.Random(f"{name} {seed}")
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            yield fault.apply(reference, prepared(reference.command, Path(folder)), Turn(number, count, rng))


def main() -> int:
    """Run what the words of the command line say; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("names", nargs="*", choices=[*COMMANDS, []], metavar="NAME", help=", ".join(COMMANDS))
    parser.add_argument("--count", type=int, help="faults of each run")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    fault, table, bad = FAULTS[given.fault], [], 0
    if given.fault in ON_SMALL_DISKS and (reason := no_small_disk()):
        print(reason)
        return 1
    for name in given.names or fault.commands:
        kinds, wrong, tried = Counter(), Counter(), 0
        for found in outcomes(fault, name, given.count or fault.count, given.seed):
            print(f"{name:<14} {found.where:<12} {found.kind:<16} {'; '.join(found.faults) or 'good'}", flush=True)
            kinds[found.kind] += 1
            wrong.update({_class(fault) for fault in found.faults})
            tried, bad = tried + 1, bad + bool(found.faults)
        table.append(f"{name:<14} {tried:>3}  {_counts(kinds):<50} {_counts(wrong) or 'all good'}")
    print(f"\n{given.fault:<14} {'':>3}  {'outcomes':<50} faults", *table, sep="\n")
    print(f"{bad} bad outcomes")
    return 1 if bad else 0


def _class(fault: str) -> str:
    """Without what differs from fault to fault of a kind."""
    return re.sub(r"^\d+", "several", re.split(r"[:(]", re.sub("^(again|at once): ", "", fault))[0].strip())


def _counts(counter: Counter) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
