"""The host's caches, and what limits of containers (Linux control groups, version 1 and 2) and of the shell leave of
its memory and cores to a process.

Read from files below ``root``; a machine that has none of them limits nothing.
"""

import ctypes
import math
import os
import re
import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import psutil

ROOT = Path("/")
# Address space of the compiler and of BLAS; and of each thread: its stack, its heap and its buffers of BLAS.
LIBRARIES, THREAD = 160e6, 104e6
# Files of a control group that limit its memory, those that say its use, and the cache in it that is given up first.
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.high", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
# What version 1 says where there is none is the largest number of whole pages.
_NO_LIMIT = 2.0**62
# Limits of the shell by the names of /proc/self/limits (ulimit -v, ulimit -d), and what counts towards them.
_SHELL = (("Max address space", "VmSize"), ("Max data size", "VmData"))
_QUOTA = ("quota", "period")


def free_memory(threads: int = 1) -> int:
    """Bytes that this process can allocate now without swapping, for arrays that so many threads fill."""
    return int(min(psutil.virtual_memory().available, allowed_memory(threads)))


def used_memory() -> int:
    """Bytes that this process takes now, the interpreter and libraries included."""
    return int(psutil.Process().memory_info().rss)


def most_memory() -> int:
    """Bytes that this process has taken at most."""
    status = ROOT / "proc/self/status"
    if status.exists():  # getrusage counts what the parent took as well
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return max(used_memory(), 1024 * int(found[1])) if found else used_memory()
    return max(used_memory(), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def give_back_memory() -> None:
    """Hand freed memory back to the system, where the C library keeps it (glibc): milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def allowed_memory(threads: int = 0, root: Path = ROOT) -> float:
    """Bytes that this process can still allocate within its limits; infinite where it has none.

    threads : that are yet to start. The shell's limits count address space, of which libraries take more than memory,
    and end a process that has none left: LIBRARIES and THREAD stay out of what is promised; threads=0 counts neither.
    """
    groups = [left for folder in _groups("memory", root) for left in _left(folder)]
    kept = threads and LIBRARIES + threads * THREAD
    return max(0.0, min([*groups, *(left - kept for left in _left_by_the_shell(root))], default=math.inf))


@cache
def last_cache(root: Path = ROOT) -> int:
    """Bytes of the last caches of the cores that this process may run on, together; 0 where the system does not say."""
    caches = {}
    for core in os.sched_getaffinity(0):
        folders = (root / "sys/devices/system/cpu" / f"cpu{core}" / "cache").glob("index*")
        last = max(folders, key=lambda folder: _number(_text(folder / "level")) or 0.0, default=None)
        if last is not None and (size := re.fullmatch(r"(\d+)K\s*", _text(last / "size"))):
            caches[_text(last / "shared_cpu_list") or core] = 1024 * int(size[1])
    return sum(caches.values())


def allowed_cores(root: Path = ROOT) -> float:
    """Cores whose time this process may take; infinite where that is not limited."""
    return min((quota for folder in _groups("cpu", root) for quota in _quotas(folder)), default=math.inf)


def _left(folder: Path) -> Iterator[float]:
    for limit, use, given_up in _MEMORY:
        allowed = _number(_text(folder / limit))
        if allowed is None or allowed >= _NO_LIMIT:
            continue
        taken = _number(_text(folder / use))
        if taken is not None:
            yield allowed - max(0.0, taken - _table(folder / "memory.stat").get(given_up, 0.0))


def _left_by_the_shell(root: Path) -> Iterator[float]:
    limits = {
        name: line.removeprefix(name)
        for line in _lines(root / "proc/self/limits")
        for name, _ in _SHELL
        if line.startswith(name)
    }
    allowed = {name: number for name, text in limits.items() if math.isfinite(number := _number(text) or 0.0)}
    status = _table(root / "proc/self/status") if allowed else {}
    for name, taken in _SHELL:
        if name in allowed and taken in status:
            yield allowed[name] - 1024 * status[taken]


def _quotas(folder: Path) -> Iterator[float]:
    """Microseconds of a period that the group may compute, over the period: of version 2, and of version 1."""
    for text in (_text(folder / "cpu.max"), " ".join(_text(folder / f"cpu.cfs_{name}_us") for name in _QUOTA)):
        quota, period = _number(text), _number(" ".join(text.split()[1:]))
        if quota is not None and period and quota > 0:  # -1 is no limit
            yield quota / period


@cache
def _groups(controller: str, root: Path) -> list[Path]:
    """The folders of this process's control group and of those that hold it, in each hierarchy of a controller."""
    return list(_folders(controller, root))


def _folders(controller: str, root: Path) -> Iterator[Path]:
    own = {names: path for _, names, path in (line.split(":", 2) for line in _lines(root / "proc/self/cgroup"))}
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        (*_, shown, place), (kind, _, options) = before.split()[:5], after.split(maxsplit=2)
        names = [name for name in own if not name or controller in name.split(",")]
        for name in names:
            if kind == ("cgroup" if name else "cgroup2") and (not name or controller in options.split(",")):
                yield from _upwards(root / place.lstrip("/"), own[name], shown)


def _upwards(mount: Path, group: str, shown: str) -> Iterator[Path]:
    """From the folder of a group up to the mount, which shows the hierarchy from the group ``shown`` on."""
    yield mount
    path = PurePosixPath(group)
    if path.is_relative_to(shown) and ".." not in path.parts:  # else the container sees its own group as the mount
        folder = mount
        for part in path.relative_to(shown).parts:
            folder = folder / part
            yield folder


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _table(path: Path) -> dict[str, float]:
    """The whole numbers of a file by the words in front of them."""
    rows = (line.replace(":", " ").split() for line in _lines(path))
    return {row[0]: float(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _number(text: str) -> float | None:
    """The first word of a text as a number; no limit is infinite, and nothing None."""
    word = next(iter(text.split()), None)
    return None if word is None else math.inf if word in ("max", "unlimited") else float(word)
