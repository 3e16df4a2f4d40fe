"""A benchmark case: our way, the peers' ways, the machine's limit, and the check that all give the same answer."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from ntkspec.engines import cpu
from ntkspec.engines.cpu.threads import processor
from ntkspec.operators import Work
from ntkspec.storage.provenance import provenance

# Seconds before each timing: BLAS's and PyTorch's threads spin for a while after their work, on everybody's cores.
PAUSE = 0.2

# The Python of an environment with requirements-neural-tangents.txt.
PEER_PYTHON = "NTKSPEC_NEURAL_TANGENTS_PYTHON"


@dataclass
class Case:
    """``ours`` and each of ``peers`` return arrays or numbers that agree to ``tolerance`` of the largest entry.

    floor : work that no method can avoid; its time is taken at the rates measured in the same run. compare : what of an
    answer is compared, outside the timing. parts : equal parts, such as steps, of which the time of one is reported.
    rounds : how often the ways in processes of their own are started, in turns.
    """

    name: str
    ours: Callable
    peers: dict[str, Callable]
    tolerance: float
    floor: Work
    dtype: str
    compare: Callable = field(default=lambda answer: answer)
    parts: int = 1
    rounds: int = 1


@dataclass
class Timed:
    """An answer that brings its own time, from another process that has excluded its start.

    cpu : seconds of all cores together. first : seconds of the first call there, compilation included. extra : most
    bytes held in that call beyond what was there before and the answer.
    """

    answer: object
    seconds: float
    cpu: float | None = None
    first: float | None = None
    extra: int | None = None


@dataclass
class Result:
    """Seconds of one part by each way, and the floor; where a way tells them, what :class:`Timed` has beyond that."""

    name: str
    ours: float
    peers: dict[str, float]
    floor: float
    cpu: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    extra_bytes: dict[str, int] = field(default_factory=dict)


def run(case: Case, repeats: int) -> Result:
    """Best of the repeats for each way, interleaved; raises AssertionError where an answer is wrong."""
    floor = case.floor.seconds(rates(case.dtype)) / case.parts
    ways = {"ntkspec": case.ours, **case.peers}
    answers = {name: way() for name, way in ways.items()}
    timed = {name: [answer] for name, answer in answers.items() if isinstance(answer, Timed)}
    for name in case.peers:
        _check(case, name, answers["ntkspec"], answers[name])
    answers.clear()
    for _ in range(case.rounds - 1):
        for name, found in timed.items():
            found.append(ways[name]())
    best = {name: min(one.seconds for one in found) for name, found in timed.items()}
    seconds = {name: [] for name in ways if name not in best}
    for _ in range(repeats):
        for name, times in seconds.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            ways[name]()
            times.append(time.perf_counter() - start)
    best |= {name: min(times) for name, times in seconds.items()}
    best = {name: whole / case.parts for name, whole in best.items()}
    ours = best.pop("ntkspec")
    told = [{name: min(own) for name, own in _told(timed, what).items()} for what in ("cpu", "first", "extra")]
    return Result(case.name, ours, best, floor, *told)


def _told(timed: dict, what: str) -> dict:
    """What ways have told of themselves, in each round."""
    found = {name: [getattr(one, what) for one in answers] for name, answers in timed.items()}
    return {name: own for name, own in found.items() if None not in own}


def _check(case: Case, name: str, ours, theirs) -> None:
    ours, theirs = (answer.answer if isinstance(answer, Timed) else answer for answer in (ours, theirs))
    for one, other in zip(case.compare(ours), case.compare(theirs), strict=True):
        scale = np.abs(other).max()
        error = np.abs(np.asarray(one) - np.asarray(other)).max() / (scale if scale else 1)
        if not error <= case.tolerance:
            raise AssertionError(f"{case.name}: ntkspec and {name} differ by {error:.2e} > {case.tolerance:.0e}")


def elsewhere(script: str, **setting) -> dict:
    """What `script SETTING.npz RESULT.npz` finds under PEER_PYTHON: jax and neural-tangents need an older NumPy."""
    return exchange([os.environ[PEER_PYTHON], Path(__file__).with_name(script)], **setting)


def exchange(command: list, **setting) -> dict:
    """What `command SETTING.npz RESULT.npz` finds in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "setting.npz"), Path(folder, "result.npz")
        np.savez(given, **setting)
        run = subprocess.run([*command, given, found], capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(f"{command[-1]} failed: {(run.stderr.strip().splitlines() or ['no message'])[-1]}")
        with np.load(found) as result:
            return dict(result)


@cache
def rates(dtype: str):
    """This machine's limits on all cores: NumPy's matrix product for the flops, AND + popcount of words that are in
    cache, and reads of a matrix that the last cache holds and of one that it does not; passes over tiles in cache count
    as nothing."""
    time.sleep(PAUSE)
    return replace(cpu.rates(np.dtype(dtype).char), flops=_gemm_rate(dtype), entries=float("inf"))


def _gemm_rate(dtype: str, size: int = 2048) -> float:
    A = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        A @ A[::-1]
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times[1:])


def made_with(command: str) -> dict:
    """Command, versions, machine, commit and processor of a recorded run."""
    commit = said_by("git", "rev-parse", "HEAD")
    load = os.getloadavg()[2]  # of the last 15 minutes; above the cores of the machine, others took part of it
    return provenance(command) | {"commit": commit, "processor": processor(), "load": load}


def said_by(*command: str) -> str:
    """What a program writes; nothing where it is not installed or fails."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
