"""Files of every kind that is read, damaged in many ways, and what becomes of each.

    python -m tests.damage --count 2500 --seed 0 [--kinds table cifar]

Each file is read by a worker process. It may be refused in one line that names it, or be read; anything else is a
failure, and so is another content of a file that ntkspec wrote, which proves itself.
"""

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import os
import pickle
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # python -m tests.damage finds its neighbours as pytest does

from damage_crafted import CRAFTED, MARKER
from damage_samples import PACKERS, READERS, SAMPLES, Sample

SECONDS, MEMORY = 5.0, 1_000_000_000
REFUSALS = (ValueError, TypeError, OSError, MemoryError)
FAILURES = ("traceback", "hang", "crash", "memory", "executed")
OUTCOMES = ("refused", "same", "different", *FAILURES)


# ------------------------------------------------------------------------------------------------------------- damages
def _flip(content: bytearray, place: int, rng) -> bytearray:
    content[place] ^= 1 << int(rng.integers(8))
    return content


def _other(content: bytearray, place: int, rng) -> bytearray:
    for k in range(place, min(len(content), place + int(rng.integers(1, 9)))):
        content[k] = int(rng.integers(256))
    return content


def _cut(content: bytearray, place: int, rng) -> bytearray:
    return content[:place]


def _zeroed(content: bytearray, place: int, rng) -> bytearray:
    end = min(len(content), place + _length(rng))
    content[place:end] = bytes(end - place)
    return content


def _lost(content: bytearray, place: int, rng) -> bytearray:
    del content[place : place + _length(rng)]
    return content


def _repeated(content: bytearray, place: int, rng) -> bytearray:
    block = content[place : place + _length(rng)]
    content[place:place] = block * int(rng.integers(1, 40))
    return content


def _swapped(content: bytearray, place: int, rng) -> bytearray:
    middle = place + _length(rng)
    end = middle + _length(rng)
    content[place:end] = content[middle:end] + content[place:middle]
    return content


def _declared(content: bytearray, place: int, rng) -> bytearray:
    """A size as files declare it: small, huge or negative, of 1 to 8 bytes in either order."""
    width, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["little", "big"]))
    bits = 8 * width
    values = (0, 1, 2**bits - 1, 2 ** (bits - 1), 2 ** (bits - 1) - 1, 2 ** int(rng.integers(bits)))
    value = values[int(rng.integers(len(values)))]
    content[place : place + width] = value.to_bytes(width, order)
    return content


def _followed(content: bytearray, place: int, rng) -> bytearray:
    return content + bytes(rng.integers(0, 256, _length(rng)).astype(np.uint8))


DAMAGES: list[Callable] = [_flip, _flip, _other, _cut, _zeroed, _lost, _repeated, _swapped, _declared, _followed]


def _length(rng) -> int:
    """Of a block: from a byte to a page, on a logarithmic scale."""
    return int(2 ** rng.uniform(0, 12))


def damaged(content: bytes, rng) -> bytes:
    """The content with one to three damages, half of them near its ends, where heads and directories are."""
    for _ in range(int(rng.integers(1, 4))):
        if not content:
            return content
        most = min(len(content), 256) if rng.random() < 0.5 else len(content)
        place = int(rng.integers(most))
        place = len(content) - 1 - place if rng.random() < 0.5 else place
        content = bytes(DAMAGES[int(rng.integers(len(DAMAGES)))](bytearray(content), place, rng))
    return content


def damage(path: Path, rng) -> None:
    """Damage a file; one that is packed also within its pack, whose checksums are then right."""
    content = path.read_bytes()
    inner = rng.random() < 0.5
    if inner and zipfile.is_zipfile(path):
        content = _zip_damaged(content, rng)
    elif inner and path.suffix in PACKERS:
        content = PACKERS[path.suffix](damaged(_UNPACK[path.suffix](content), rng))
    else:
        content = damaged(content, rng)
    path.write_bytes(content)


def _zip_damaged(content: bytes, rng) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            new.writestr(name, damaged(old.read(name), rng) if name == chosen else old.read(name))
    return out.getvalue()


def _unpackers() -> dict[str, Callable[[bytes], bytes]]:
    import bz2
    import gzip
    import lzma

    return {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


_UNPACK = _unpackers()


# ------------------------------------------------------------------------------------------------------------- worker
def outcome(reader: str, path: Path, marker: Path) -> dict:
    """What becomes of a file that is read: the outcome, in detail, and the digest of what was read."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            found = {"outcome": "read", "detail": "", "digest": digest(READERS[reader](path))}
    except Exception as error:
        found = {"outcome": _judged(error, path), "detail": f"{type(error).__name__}: {error}"[:400]}
    return found | ({"outcome": "executed"} if marker.exists() else {})


def _judged(error: Exception, path: Path) -> str:
    """A refusal is one line that names the file, of a type that says so."""
    text = str(error)
    named = any(name in text for name in (str(path), path.name, path.stem, path.parent.name))
    return "refused" if isinstance(error, REFUSALS) and named and "\n" not in text else "traceback"


def digest(content) -> str:
    """Of arrays, numbers, words and what holds them."""
    return hashlib.blake2b(pickle.dumps(content, 5), digest_size=16).hexdigest()


def work() -> None:
    """Read the files that are named on standard input, a line each, and answer with a line each."""
    answers, quiet = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for module in ("pandas", "pyarrow.parquet", "scipy.io", "ntkspec.datasets.tables", "ntkspec.spectra.norms"):
        importlib.import_module(module)  # takes seconds, which are none of a file's
    print(file=answers, flush=True)
    for line in sys.stdin:
        reader, path, marker = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory starts anew
        start = _memory(os.getpid(), "VmRSS")
        found = outcome(reader, Path(path), Path(marker))
        peak = _memory(os.getpid(), "VmHWM") - start
        if peak > MEMORY and found["outcome"] != "executed":
            found |= {"outcome": "memory", "detail": f"{peak / 1e9:.1f} GB; {found['detail']}"}
        print(json.dumps(found), file=answers, flush=True)


def _memory(process: int, what: str) -> int:
    """Bytes, of the process's status."""
    with contextlib.suppress(OSError):
        found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        return 1024 * int(found[1]) if found else 0
    return 0


def _busy(process: int) -> float:
    """Seconds of a processor that the process has taken."""
    with contextlib.suppress(OSError):
        times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return 0.0


@dataclass
class Worker:
    """A process that reads files, started anew where one was its end."""

    process: subprocess.Popen | None = None

    def read(self, reader: str, path: Path, marker: Path, seconds: float = SECONDS) -> dict:
        """The outcome of a file, which may take ``seconds`` and one for each megabyte that it has."""
        seconds += path.stat().st_size / 1e6 if path.is_file() else 0
        if self.process is None:
            self._start()
        assert self.process is not None
        self.process.stdin.write(json.dumps([reader, str(path), str(marker)]) + "\n")
        self.process.stdin.flush()
        end, most = time.monotonic() + 10 * seconds, _memory(self.process.pid, "VmRSS") + 4 * MEMORY
        busy = _busy(self.process.pid) + seconds  # the machine may have other work
        while not select.select([self.process.stdout], [], [], 0.1)[0]:
            reached = _memory(self.process.pid, "VmRSS")
            if _busy(self.process.pid) > busy or time.monotonic() > end or reached > most:
                self.close()
                what, detail = ("memory", f"{reached / 1e9:.1f} GB") if reached > most else ("hang", f"{seconds} s")
                return {"outcome": what, "detail": detail}
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.process = None
        return {"outcome": "crash", "detail": signal.Signals(-code).name if code < 0 else f"exit {code}"}

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@contextlib.contextmanager
def working() -> Iterator[Worker]:
    """A worker that is ended at the end."""
    worker = Worker()
    try:
        yield worker
    finally:
        worker.close()


# --------------------------------------------------------------------------------------------------------------- runs
@dataclass
class Tally:
    """Outcomes by kind, and the failures in words."""

    counts: dict[str, Counter] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, kind: str, name: str, found: dict, *, own: bool = False) -> None:
        """One file more; of ntkspec's own files another content is a failure too."""
        what = found["outcome"]
        self.counts.setdefault(kind, Counter())[what] += 1
        if what in FAILURES or (own and what == "different"):
            self.failures.append(f"{kind:14} {name:34} {what:10} {found.get('detail', '')}")
            print(self.failures[-1], file=sys.stderr, flush=True)

    def __str__(self) -> str:
        rows = [f"{'kind':16}" + "".join(f"{what:>10}" for what in OUTCOMES)]
        total = sum(self.counts.values(), Counter())
        for kind, counts in [*self.counts.items(), ("all", total)]:
            rows.append(f"{kind:16}" + "".join(f"{counts[what]:10}" for what in OUTCOMES))
        return "\n".join(rows)


def fuzz(samples: list[Sample], count: int, seed: int, tally: Tally, folder: Path) -> None:
    """Damage so many files, sample by sample in turn, and read each."""
    with working() as worker:
        originals = {k: _original(sample, folder / f"original{k}", worker) for k, sample in enumerate(samples)}
        for turn in range(count):
            k, rng = turn % len(samples), np.random.default_rng([seed, turn])
            place = folder / f"case{turn}"
            shutil.copytree(folder / f"original{k}", place)
            files = sorted(path for path in place.iterdir() if path.is_file())
            damage(files[int(rng.integers(len(files)))], rng)
            found = worker.read(samples[k].reader, place / samples[k].main, place / MARKER)
            if found["outcome"] == "read":
                found["outcome"] = "same" if found["digest"] == originals[k] else "different"
            tally.add(samples[k].kind, f"{samples[k].main} {turn}", found, own=samples[k].own)
            shutil.rmtree(place)


def _original(sample: Sample, folder: Path, worker: Worker) -> str:
    """The digest of what the valid file holds; it is read from a copy, because reading may go on writing."""
    folder.mkdir()
    sample.write(folder)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    found = worker.read(sample.reader, copy / sample.main, copy / MARKER, 120)
    shutil.rmtree(copy)
    assert found["outcome"] == "read", (sample, found)
    return found["digest"]


def crafted(tally: Tally, folder: Path, kinds: list[str] | None = None) -> None:
    """Read the files that were made to do harm."""
    with working() as worker:
        for number, one in enumerate(CRAFTED):
            if kinds and one.kind not in kinds:
                continue
            place = folder / f"crafted{number}"
            place.mkdir()
            one.write(place)
            found = worker.read(one.reader, place / one.main, place / MARKER)
            found["outcome"] = "different" if found["outcome"] == "read" else found["outcome"]
            tally.add(f"{one.kind} crafted", one.name, found)
            shutil.rmtree(place)


def main() -> int:
    """The table of outcomes; 1 where there is a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", help=f"some of {sorted({one.kind for one in SAMPLES})}")
    options, tally = parser.parse_args(), Tally()
    samples = [one for one in SAMPLES if not options.kinds or one.kind in options.kinds]
    with tempfile.TemporaryDirectory() as folder:
        crafted(tally, Path(folder), options.kinds)
        fuzz(samples, options.count, options.seed, tally, Path(folder))
    print(tally)
    return int(bool(tally.failures))


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        sys.exit(main())
