"""A small analysis that gets a signal at a random moment, again and again: ``python tests/random_signals.py 100 SEED``.

Prints what is wrong, a line each, and then how often each exit code came.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

COMMAND = ["analyze", "--n", "60", "--d", "4", "--n-test", "20", "--width", "8", "--steps", "20", "--output", "out"]
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def started(folder: Path) -> subprocess.Popen:
    """The command in a folder, leader of a group of its own."""
    command = [sys.executable, "-m", "ntkspec", *COMMAND]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def faults(number: int, code: int, error: str, folder: Path) -> list[str]:
    """What is wrong about the end of a run. Before Python or the program has its handlers, a signal kills as ever."""
    found = []
    if code not in (0, 128 + number, -number):
        found.append(f"exit code {code}")
    if "Traceback" in error or "Exception ignored" in error:
        found.append("a traceback")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    if hidden := [name for name in files if Path(name).name.startswith(".")]:
        found.append(f"left: {hidden}")
    if code == 128 + number and files != set(re.findall(r"out/[\w.]+", last_line(error))):
        found.append(f"{sorted(files)} are there")
    if code == -number and (files or error):
        found.append(f"killed after {error!r}, {sorted(files)} are there")
    return found


def last_line(error: str) -> str:
    """The one in which a run says how it ended, or nothing."""
    stopped = [line for line in error.splitlines() if line.startswith("ntkspec: stopped; ")]
    return stopped[0] if len(stopped) == 1 else ""


def alive(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def run(number: int, delay: float) -> tuple[int, list[str]]:
    """Exit code and faults of a run that gets a signal after so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        process = started(Path(folder))
        time.sleep(delay)
        process.send_signal(number)
        _, error = process.communicate(timeout=300)
        found = faults(number, process.returncode, error, Path(folder))
        found += ["a process is left"] if alive(process.pid) else []
        return process.returncode, [f"{fault}; stderr ends in {error[-300:]!r}" for fault in found]


def main(count: int, seed: int) -> None:
    """Print faults and counts."""
    rng, codes = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        started(Path(folder)).communicate()
        longest = 1.1 * (time.monotonic() - start)
    for k in range(count):
        number, delay = SIGNALS[k % 3], rng.uniform(0, longest)
        code, found = run(number, delay)
        codes[code] += 1
        for fault in found:
            print(f"FAULT {signal.Signals(number).name} after {delay:.3f} s: {fault}", flush=True)
    print(dict(codes))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
