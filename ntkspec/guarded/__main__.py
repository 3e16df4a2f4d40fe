"""The process: ``python -m ntkspec.guarded KIND PATH`` answers a parent over pipes, with bounded memory and time.

An answer is a line of JSON. The first is {"names": ...}. Then for each name that comes in: {"memory": ...}, the bytes
that reading takes; {"shape": ..., "dtype": ..., ...}; {"bytes": ...} before each part of the array. At any time it is
{"refused": ...} or {"damaged": ...}. Of the kind "visit" all is read once, and there are no names.
"""

import contextlib
import json
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from ntkspec.guarded import hdf5, matlab
from ntkspec.guarded.parts import Content, Refused

SECONDS, RATE = 5, 20e6  # of computing for anything, and bytes that the slowest filter unpacks in a second
SPARE = 256_000_000  # bytes of memory for the library itself


def main(kind: str, path: str) -> None:
    """Answer until no more names come in."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with _answered():
        _allow(0, 0)
        _visit(path) if kind == "visit" else _serve({"hdf5": hdf5, "matlab": matlab}[kind], path)
    os._exit(0)  # the library may crash while it tidies up


def _visit(path: str) -> None:
    with hdf5.opened(path) as file:
        hdf5.visit(file, _allow)
        _answer({"names": []})


def _serve(reader: ModuleType, path: str) -> None:
    with reader.opened(path) as file:
        _answer({"names": reader.names(file)})
        for line in sys.stdin:
            with _answered():
                _send(reader.content(file, json.loads(line), _announce))


def _announce(memory: float, unpacked: float) -> None:
    _answer({"memory": memory})
    _allow(memory, unpacked)


def _send(whole: Content) -> None:
    dtype = np.lib.format.dtype_to_descr(whole.dtype)
    _answer({"shape": whole.shape, "dtype": dtype, "largest": whole.largest, "text": whole.text})
    for block in whole.blocks:
        if block.size:
            _answer({"bytes": block.nbytes})
            sys.stdout.buffer.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        _answer({"refused": str(error)})
    except MemoryError:
        _answer({"damaged": "it takes more memory than what it declares"})
    except Exception as error:  # a damaged file can raise nearly anything
        _answer({"damaged": " ".join(f"{error}".split()) or type(error).__name__})


def _answer(line: dict) -> None:
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n")
    sys.stdout.buffer.flush()


def _allow(memory: float, unpacked: float) -> None:
    """From here on take no more memory, and no more seconds of computing, than reading so many bytes does."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _limit(resource.RLIMIT_CPU, used + SECONDS + unpacked / RATE)
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as status:  # Linux has it
        _limit(resource.RLIMIT_AS, int(status.read().split()[0]) * resource.getpagesize() + SPARE + memory)


def _limit(kind: int, most: float) -> None:
    hard = resource.getrlimit(kind)[1]
    most = min(math.ceil(most), 2**62)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
