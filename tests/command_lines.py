"""Random command lines, and what became of each: run in a child of its own that has a small machine.

``python tests/command_lines.py COUNT SEED`` runs so many, prints each, and counts how they end.
"""

import importlib
import importlib.util
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import house
from ntkspec import cli
from ntkspec.cluster import Patience, execution
from ntkspec.engines import cpu
from ntkspec.experiments.stages import Stages

# Bytes that a run may take for its data and may add to the process; seconds that it may think before it measures.
MEMORY, GROWTH, PATIENCE = 2 * 10**8, 3 * 10**8, 3.0
# Exit code of a child that came to the first measurement, or was killed.
BEGAN, KILLED = 77, -1


def listed(words: str, *others: str) -> list[str]:
    """The words, and what has spaces in it or is empty."""
    return [*words.split(), *others]


LONG, NINES = "x" * 300, "9" * 400
WHOLE = listed(f"3 4 8 20 200 0 1 -1 -5 1e9 {10**9} {10**12} {10**15} {10**18} {2**63 - 1} {2**63} {NINES} 2.5 nan")
WHOLE += listed("inf many ٣ ² 1_0 +4", "", " ", "9" * 5000)
FLOATS = listed("0.1 0.5 1 1e-300 5e-324 1e300 1e308 -1e300 1e400 nan inf -inf 0 -0.0 -1 1e-9 half 1,5 1e154 0x10")
FLOATS += ["", NINES]
SIZES = listed("10 20 d d^1.5 2*d^1.25 inf d^400 d^0 0*d d^0.0000001 1e9 x1e9 0 1 -4 d^-1 ² nan d^d 1:1e9:1 d^1e3")
SIZES += ["", f"d^{NINES}", f"{NINES}*d", str(10**12), str(2**63), "9" * 5000]
DIMENSIONS = listed("4 8 4:16:x2 8:16:x1.0000001 2:1000000000:x1.00000001 1:1e9:1 8:16:x1 8:16:x0.5 16:8:x2 ² ٣٢ 1 0")
DIMENSIONS += ["", "8:16", f"2:{NINES}:x1.5", f"8:16:x{NINES}", NINES, str(10**18), f"8:16:x1.{'0' * 30}1", "9" * 5000]
DIMENSIONS += ["2:9223372036854775807:x1.1"]
NETWORKS = listed("two-layer fc:2x8 cnn:1x4:k2 fc:512x4 fc:4x1e9 fc:4x1000000000 cnn:1000x64:k99 fc:0x4 fc:3x7 fc:2x")
NETWORKS += listed("cnn:2x4:k0 mlp fc:1000x1000000 fc:٣x4 linear fc:2xd^1.5 fc:2xinf fc:2xd^400 fc:900x2 fc:70x100")
NETWORKS += ["absent.py:make", "a_file.py", "model.py:make", "model.py:", "model.py:é", ".py:x", "folder.py:x"]
NETWORKS += ["", f"fc:{NINES}x4", f"fc:2x{NINES}", f"cnn:1x4:k{NINES}"]
ACTIVATIONS = listed("erf relu tanh leaky_relu gelu elu rleu ERF __class__", "", "é" * 50, "\n")
WORDS = ["", "x", "ü", "\n", "a\nb", "--", "-", "*", "../..", "0", "first", "identity", "cpu", "\udcff", "é" * 300]
PATHS = listed("out folder ü/ü a_file a_file/below /dev/null /dev/full /proc/1/x /proc/self/mem / . ~ locked/new -")
PATHS += ["", "a\nb", LONG, "folder/" * 200, "absent/deep/x.h5", "folder/out.h5", "\udcff"]
DATA = listed("gaussian rademacher sphere subgaussian mnist cifar10 absent.npz folder folder.npz a_file Gaussian load")
DATA += ["", LONG, "a\nb.npz", "/dev/null", "/dev/zero.npz", "\udcff.npz", "~/x.csv", ".", "a_file/x.npz"]
SCHEDULERS = listed("tcp://127.0.0.1:1 nonsense tcp:// 127.0.0.1 tcp://127.0.0.1:99999999 http://127.0.0.1:1 tcp://ü:1")
SCHEDULERS += ["", "\n", "inproc://x", "tcp://127.0.0.1:-1", "tls://127.0.0.1:1", "ws://127.0.0.1:1"]
QUANTITIES = listed("data gap-first gap-both budget-second training-both gap gap-cnn GAP-first", "", "\n")
MANY = "list of many"

DATA_OPTIONS = {
    "--data": DATA,
    "--n": WHOLE,
    "--d": WHOLE,
    "--n-test": WHOLE,
    "--target": ["teacher", "norm", "random", *WORDS],
    "--classes": [*WORDS, "4 9", "cat horse", "all", "1 2 3", "all all", MANY],
    "--pool": WHOLE,
    "--data-dir": PATHS,
    "--keep-constant": [None, "yes", "0"],
    "--dtype": ["float32", "float64", "float16", *WORDS],
}
KERNEL_OPTIONS = {
    "--activation": ACTIVATIONS,
    "--negative-slope": FLOATS,
    "--network": NETWORKS,
    "--width": WHOLE,
    "--layer": ["first", "second", "both", "[", "blocks.*", *WORDS],
    "--outputs": ["full", "mean", "0", "trace", "sum", "-1", NINES, *WORDS],
    "--inputs": ["flat", "nchw", "nhwc", *WORDS],
    "--second": ["rademacher", "normal", *WORDS],
    "--method": ["dense", "factored", "streamed", *WORDS],
}
COMMON = {"--seed": WHOLE, "--engine": ["cpu", "gpu", "tpu", ""], "--output": PATHS}
GRID = {
    "--d": [*DIMENSIONS, MANY],
    "--n": [*SIZES, MANY],
    "--width": [*SIZES, MANY],
    "--network": [*NETWORKS, MANY],
    "--activation": [*ACTIVATIONS, MANY],
    "--distribution": ["gaussian", "cube", "sphere", "uniform", *WORDS, MANY],
    "--covariance": ["identity", "graded", *WORDS],
    "--seeds": [*WHOLE, "100000000"],
    "--second": ["rademacher", "normal", *WORDS],
    "--dtype": ["float32", "float64", *WORDS],
    "--engine": COMMON["--engine"],
    "--processes": [*WHOLE, "100000"],
    "--scheduler": SCHEDULERS,
    "--output": PATHS,
}
RUN = DATA_OPTIONS | COMMON | {"--activation": ACTIVATIONS, "--width": WHOLE, "--steps": WHOLE, "--eta": FLOATS}
for _absent in ("--data", "--target", "--classes", "--pool", "--data-dir", "--keep-constant"):
    RUN.pop(_absent)
DEEP = RUN | {"--data": ["mnist", "cifar10", *WORDS], "--classes": DATA_OPTIONS["--classes"], "--pool": WHOLE}
DEEP = {name: values for name, values in DEEP.items() if name not in ("--d", "--width")}
RECIPE = {
    "--law": ["gd", "heavy-ball", "nesterov", "flow", *WORDS],
    "--momentum": FLOATS,
    "--loss": ["squared", "logistic", "cross-entropy", "huber", *WORDS],
    "--delta": FLOATS,
    "--batch": WHOLE,
}
COMMANDS = {
    "analyze": DATA_OPTIONS
    | KERNEL_OPTIONS
    | COMMON
    | RECIPE
    | {"--scheduler": SCHEDULERS, "--parts": WHOLE}
    | {"--eta": FLOATS, "--eta1": FLOATS, "--eta2": FLOATS, "--steps": WHOLE},
    "spectrum": DATA_OPTIONS
    | KERNEL_OPTIONS
    | COMMON
    | {"--scheduler": SCHEDULERS, "--parts": WHOLE}
    | {"--kernel": ["theta", "linear", "gap", *WORDS], "--pairs": WHOLE, "--probes": WHOLE, "--steps": WHOLE},
    "check prop-3.4": GRID,
    "check claim-3.1": GRID,
    "check theorem-3.5": GRID,
    "check prop-3.4-deep": GRID,
    "check prop-4.1": GRID,
    "check drift": GRID,
    "sweep": GRID | {"--quantity": [*QUANTITIES, MANY]},
    "figure 1": RUN | RECIPE | {"--dimensions": [*DIMENSIONS, MANY], "--panel-steps": WHOLE},
    "figure 2": RUN | RECIPE,
    "figure 3": DEEP | {"--network": [*NETWORKS, MANY], "--batch": WHOLE},
    "figure 5": GRID,
    "figure budget": GRID,
    "constants": {"--negative-slope": FLOATS},
    "doctor": {"--scheduler": SCHEDULERS},
}
# What a line begins with, so that most odd values meet settings that are small and right.
SMALL = {
    "analyze": "--n 40 --d 4 --n-test 10 --width 8 --steps 5",
    "spectrum": "--n 40 --d 4 --n-test 0 --width 8 --steps 5",
    "figure 1": "--n 40 --d 4 --n-test 10 --steps 5 --dimensions 4",
    "figure 2": "--n 40 --d 4 --n-test 10 --steps 5 --width 8",
    "figure 3": "--n 40 --n-test 10 --pool 4 --steps 5",
    "sweep": "--d 4 --n 20 --width 8 --seeds 1 --quantity data",
} | {name: "--n 20 --d 4:8:x1.4 --seeds 2" for name in COMMANDS if name.startswith(("check", "figure 5", "figure b"))}


def command_line(rng: random.Random) -> list[str]:
    """A command with small settings, and one to four options that are mostly its own and take their places."""
    command = rng.choice(list(COMMANDS))
    options, words = COMMANDS[command], command.split()
    small = SMALL.get(command, "").split() if rng.random() < 0.9 else []
    given = {name: [value] for name, value in zip(small[::2], small[1::2], strict=True)}
    if command == "constants" and rng.random() < 0.9:
        words.append(rng.choice(ACTIVATIONS))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        own = options if options and rng.random() < 0.97 else COMMANDS[rng.choice(list(COMMANDS))]
        name, *values = option(rng, own)
        if name in given and rng.random() < 0.05:
            words += [name, *values]
        given[name] = values
    return [*words, *(word for name, values in given.items() for word in (name, *values))]


def option(rng: random.Random, options: dict) -> list[str]:
    """One option with one of its values (in half of the cases an ordinary one), rarely with none or with many."""
    if not options or rng.random() < 0.02:
        return [rng.choice(["--bogus", "extra", "--help", "--version", "", "-", "--"])]
    name = rng.choice(list(options))
    if rng.random() < 0.04:
        return [name]
    value = rng.choice(options[name][:3] if rng.random() < 0.4 else options[name])
    if value is None:
        return [name]
    if value == MANY:
        return [name, *rng.choice([options[name][:2], ["4"] * 300, [str(k) for k in range(2, 3000)]])]
    if " " in value.strip():
        return [name, *value.split()]
    return [f"{name}={value}"] if rng.random() < 0.1 else [name, value]


@dataclass(frozen=True)
class Outcome:
    """How a command line ended. code : that of its exit, BEGAN or KILLED. seconds : of the processor. bytes : added."""

    line: list[str]
    code: int
    out: str
    err: str
    seconds: float
    bytes: int

    @property
    def fault(self) -> str:
        """What is wrong with that; empty where nothing is."""
        told = [line for line in self.err.splitlines() if not line.startswith("ntkspec: warning:")]
        last = told[-1] if told else ""
        faults = {
            f"exit code {self.code}": self.code not in (0, 2, BEGAN),
            "a traceback": "Traceback" in self.err,
            "results beside an error": self.code == 2 and self.out != "",
            "not one line": self.code == 2 and not last.startswith("ntkspec: error: "),
            "a line too long": len(last) > 700,
            "other lines": not all(line.startswith("ntkspec: ") for line in told),
            f"{self.seconds:.1f} s": self.seconds > PATIENCE,
            f"{self.bytes / 1e6:.0f} MB": self.bytes > GROWTH,
        }
        return ", ".join(name for name, wrong in faults.items() if wrong)

    @property
    def kind(self) -> str:
        """In a word."""
        return {0: "done", BEGAN: "began to measure", 2: "refused"}.get(self.code, "fault")


def warm() -> None:
    """Import everything once, for the children; nothing that starts threads, which they would not have."""
    house.import_all()
    if importlib.util.find_spec("distributed"):
        importlib.import_module("distributed")


def outcome(line: list[str], folder: Path, *, measuring: bool = False) -> Outcome:
    """Run the line in a child of this process, in a folder of odd paths; it stops where it begins to measure."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = os.fork()
    if child == 0:
        os._exit(_in_child(line, folder, measuring))
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    out, err = ((folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
    added = max(0, used.ru_maxrss - before) * 1024
    return Outcome(line, KILLED if code < 0 else code, out, err, used.ru_utime + used.ru_stime, added)


def _in_child(line: list[str], folder: Path, measuring: bool) -> int:
    """The exit code. Data that take more than MEMORY are refused, as on a small machine."""
    code = 1
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        signal.alarm(60)
        os.chdir(folder / "here")
        os.environ.pop("NTKSPEC_DATA", None)
        os.environ.pop("NTKSPEC_TRACEBACK", None)
        cpu.free_memory = lambda: MEMORY
        Patience.__init__.__defaults__ = (0.3, *Patience.__init__.__defaults__[1:])
        if not measuring:
            Stages.__call__ = execution.results = lambda *_, **__: _began()
        code = cli.main(line)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _began():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(BEGAN)


def place(folder: Path) -> Path:
    """A folder ``here`` of paths that lie in the way."""
    here = folder / "here"
    for name in ("folder", "folder.npz", "locked"):
        (here / name).mkdir(parents=True, exist_ok=True)
    (here / "a_file").write_text("in the way")
    (here / "model.py").write_text("import ntkspec\ndef make(d):\n    return ntkspec.TwoLayer.random(d, 8, 'erf')\n")
    (here / "locked").chmod(0o500)
    return folder


def main(count: int, seed: int) -> None:
    """Run so many, and print the counts and every fault."""
    warm()
    rng, kinds = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        where = place(Path(folder))
        for _ in range(count):
            found = outcome(command_line(rng), where)
            kinds["fault" if found.fault else found.kind] += 1
            last = (found.err.splitlines() or [""])[-1]
            mark = f"FAULT ({found.fault})" if found.fault else found.kind
            short = " ".join(word if len(word) < 40 else word[:20] + "..." for word in found.line[:60])
            print(f"{mark}\t{found.seconds:.1f}\t{short!r}\t{last[:300]}", flush=True)
    print(dict(kinds))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
