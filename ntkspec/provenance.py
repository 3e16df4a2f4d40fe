"""What a result was made with."""

import os
import platform
from datetime import UTC, datetime
from importlib import metadata

LIBRARIES = ("ntkspec", "numpy", "scipy", "numba", "h5py", "matplotlib")


def provenance(command: str) -> dict:
    """Command, time, versions and machine, as strings and numbers."""
    return {
        "command": command,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "machine": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
