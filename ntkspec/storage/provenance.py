"""What a result was made with, and of what."""

import hashlib
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np

LIBRARIES = ("ntkspec", "numpy", "scipy", "numba", "h5py", "matplotlib", "torch", "jax")


def provenance(command: str) -> dict[str, Any]:
    """Command, time, versions and machine, as strings and numbers."""
    return {
        "command": command.encode(errors="backslashreplace").decode(),  # names of files need not be UTF-8
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "machine": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }


def count(makings: list[dict[str, Any]], made_with: dict[str, Any]) -> None:
    """One more part of a file that grows was made like that: ``measured`` says how many of them.

    A making is told from others by all but its time, which is that of the first part.
    """
    for one in makings:
        if {**one, "time": "", "measured": 0} == {**made_with, "time": "", "measured": 0}:
            one["measured"] += 1
            return
    makings.append(made_with | {"measured": 1})


def fingerprint(setting: object, arrays: Iterable[np.ndarray]) -> str:
    """32 letters that are the same for the same setting (by its repr) of this version on the same arrays.

    Each array counts with its dtype, its shape and every byte.
    """
    digest = hashlib.blake2b(repr((_version("ntkspec"), setting)).encode(), digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
