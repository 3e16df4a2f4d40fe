"""How a kernel is measured in a process of its own; for both environments, so NumPy is all it needs."""

import time
from pathlib import Path

import numpy as np

ROWS = 64


def measure(kernel, repeats: int, path: str) -> None:
    """Writes to ``path`` what ``kernel()``, an (n, n') array, costs in a process that has its data and no more.

    first : seconds of the first call, with all that is compiled or loaded. extra : most bytes held in that call, beyond
    those before it and the kernel. seconds, cpu : best of the repeats after it (of none, of the first call), by the
    clock and by all cores together, which other processes hardly change. rows, means : of :func:`summary`.
    """
    before = memory("VmRSS")
    forget_peak()
    first, K = _timed(kernel)
    extra, further = memory("VmHWM") - before - K.nbytes, []
    for _ in range(repeats):
        del K
        again, K = _timed(kernel)
        further.append(again)
    seconds, cpu = np.min(further or [first], axis=0)
    rows, means = summary(K)
    np.savez(path, first=first[0], extra=extra, seconds=seconds, cpu=cpu, rows=rows, means=means)


def summary(K):
    """Some rows of a kernel, and the means of all."""
    return K[:: max(1, len(K) // ROWS)], K.mean(axis=1, dtype=np.float64)


def _timed(kernel):
    """(seconds, CPU seconds) and the kernel."""
    start, cpu = time.perf_counter(), time.process_time()
    K = np.asarray(kernel())
    return (time.perf_counter() - start, time.process_time() - cpu), K


def memory(name: str) -> int:
    """Bytes of an entry of /proc/self/status; getrusage would count the process that started this one."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def forget_peak() -> None:
    """VmHWM starts again from what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
